view: +alerts {
  dimension: severity_rank {
    type: number
    hidden: yes
    sql: CASE ${severity} WHEN 'critical' THEN 4 WHEN 'high' THEN 3 WHEN 'medium' THEN 2 ELSE 1 END ;;
    description: "4 for critical, 3 for high, 2 for medium, 1 for low: to sort by."
  }
  dimension: severity { order_by_field: severity_rank }
  dimension: service {
    link: {
      label: "Service"
      url: "/dashboards/aiops::services?Service={{ value | url_encode }}"
    }
  }
  dimension: runbook {
    link: {
      label: "Open the runbook"
      url: "{{ value }}"
    }
  }
  dimension: minutes_to_acknowledge {
    type: number
    value_format_name: decimal_1
    sql: ${seconds_to_acknowledge} / 60 ;;
    description: "From the opening to the first acknowledgment, in minutes."
  }
  dimension: minutes_to_resolve {
    type: number
    value_format_name: decimal_1
    sql: ${seconds_to_resolve} / 60 ;;
    description: "From the opening to the end, in minutes."
  }

  measure: count {
    type: count
    description: "Alerts."
    drill_fields: [detail*]
  }
  measure: open_count {
    label: "Open"
    type: count
    filters: [status: "open,acknowledged"]
    description: "Alerts that are not over."
    drill_fields: [detail*]
  }
  measure: acknowledged_count {
    label: "Acknowledged"
    type: count
    filters: [seconds_to_acknowledge: "NOT NULL"]
    description: "Alerts that somebody took on."
    drill_fields: [detail*]
  }
  measure: false_positive_count {
    label: "False positives"
    type: count
    filters: [verdict: "false^_positive"]
    description: "Alerts that people called false."
    drill_fields: [detail*]
  }
  measure: judged_count {
    label: "Judged"
    type: count
    filters: [verdict: "-EMPTY"]
    description: "Alerts that people called useful or false."
    drill_fields: [detail*]
  }
  measure: false_positive_share {
    type: number
    value_format_name: percent_1
    sql: ${false_positive_count} / NULLIF(${judged_count}, 0) ;;
    description: "False alerts over those that somebody judged."
    drill_fields: [detail*, verdict]
  }
  measure: mtta_minutes {
    label: "MTTA (minutes)"
    type: average
    value_format_name: decimal_1
    sql: ${minutes_to_acknowledge} ;;
    description: "Mean time from the opening to the first acknowledgment; alerts without one do not count."
    drill_fields: [detail*, minutes_to_acknowledge]
  }
  measure: mttr_minutes {
    label: "MTTR (minutes)"
    type: average
    value_format_name: decimal_1
    sql: ${minutes_to_resolve} ;;
    description: "Mean time from the opening to the end; alerts that are open do not count."
    drill_fields: [detail*, minutes_to_resolve]
  }
  measure: reminder_count {
    label: "Reminders"
    type: sum
    sql: ${reminders} ;;
    description: "Times that alerts were repeated or escalated."
    drill_fields: [detail*, reminders]
  }

  set: detail {
    fields: [opened_time, severity, status, service, summary, owner, runbook, incident_id, alert_id]
  }
}

view: +open_alerts {
  dimension: severity { order_by_field: severity_rank }
  dimension: severity_rank { hidden: yes }
  dimension: service {
    link: {
      label: "Service"
      url: "/dashboards/aiops::services?Service={{ value | url_encode }}"
    }
  }
  dimension: runbook {
    link: {
      label: "Open the runbook"
      url: "{{ value }}"
    }
  }
  dimension: is_taken {
    type: yesno
    sql: ${status} = 'acknowledged' ;;
    description: "Whether somebody is at it."
  }
  dimension: minutes_open {
    type: number
    value_format_name: decimal_0
    sql: (UNIX_MICROS(CURRENT_TIMESTAMP) - UNIX_MICROS(${opened_raw})) / 60000000 ;;
    description: "Minutes since it was opened."
  }

  measure: count {
    type: count
    description: "Open alerts."
    drill_fields: [detail*]
  }
  measure: serious_count {
    label: "High or critical"
    type: count
    filters: [severity: "high,critical"]
    description: "Open alerts of severity high or critical."
    drill_fields: [detail*]
  }
  measure: waiting_count {
    label: "Nobody is at it"
    type: count
    filters: [is_taken: "no", is_silenced: "no", is_inhibited: "no"]
    description: "Open alerts that nobody acknowledged, without silenced ones and those another alert speaks for."
    drill_fields: [detail*]
  }
  measure: longest_open_minutes {
    type: max
    value_format_name: decimal_0
    sql: ${minutes_open} ;;
    description: "Minutes since the oldest open alert was opened."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [severity, status, opened_time, service, summary, example, recommended_actions, owner, runbook,
             incident_id, alert_id]
  }
}
