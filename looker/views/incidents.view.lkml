view: +incidents {
  dimension: severity_rank {
    type: number
    hidden: yes
    sql: CASE ${severity} WHEN 'critical' THEN 4 WHEN 'high' THEN 3 WHEN 'medium' THEN 2 ELSE 1 END ;;
    description: "4 for critical, 3 for high, 2 for medium, 1 for low: to sort by."
  }
  dimension: severity { order_by_field: severity_rank }
  dimension: title {
    link: {
      label: "What happened, in order"
      url: "/explore/aiops/incidents?fields=incident_timeline.occurred_time,incident_timeline.kind,incident_timeline.event,incident_timeline.service,incident_timeline.what,incident_timeline.actor&f[incidents.incident_id]={{ incidents.incident_id._value | url_encode }}&sorts=incident_timeline.occurred_time"
    }
  }
  dimension: is_over {
    type: yesno
    sql: ${status} = 'closed' ;;
    description: "Whether it is closed."
  }
  dimension: minutes {
    type: number
    value_format_name: decimal_0
    sql: (UNIX_MICROS(${closed_raw}) - UNIX_MICROS(${started_raw})) / 60000000 ;;
    description: "Minutes from its first window to its end; null while it is not closed."
  }

  measure: count {
    type: count
    description: "Incidents."
    drill_fields: [detail*]
  }
  measure: open_count {
    label: "Open"
    type: count
    filters: [is_over: "no"]
    description: "Incidents that are not closed."
    drill_fields: [detail*]
  }
  measure: mean_minutes {
    type: average
    value_format_name: decimal_0
    sql: ${minutes} ;;
    description: "Mean length of those that are closed, in minutes."
    drill_fields: [detail*, minutes]
  }
  measure: mean_anomalies {
    type: average
    value_format_name: decimal_1
    sql: ${anomaly_count} ;;
    description: "Mean number of anomalies that an incident brings together."
    drill_fields: [detail*, anomaly_count]
  }

  set: detail {
    fields: [opened_time, severity, status, title, affected_services, anomaly_count, summary, incident_id]
  }
}

view: +incidents__root_causes {
  dimension: score { value_format_name: decimal_2 }
}
