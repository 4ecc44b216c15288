view: +anomalies {
  dimension: severity_rank {
    type: number
    hidden: yes
    sql: CASE ${anomaly_severity} WHEN 'critical' THEN 4 WHEN 'high' THEN 3 WHEN 'medium' THEN 2 ELSE 1 END ;;
    description: "4 for critical, 3 for high, 2 for medium, 1 for low: to sort by."
  }
  dimension: anomaly_severity { order_by_field: severity_rank }
  dimension: confidence_score { value_format_name: decimal_2 }

  measure: count {
    type: count
    description: "Anomalies, withdrawn ones included."
    drill_fields: [detail*]
  }
  measure: holding_count {
    label: "Holding"
    type: count
    filters: [status: "-withdrawn", below_confidence_floor: "no"]
    description: "Anomalies that hold, and are sure enough to be told of."
    drill_fields: [detail*]
  }
  measure: service_count {
    label: "Services"
    type: count_distinct
    sql: CONCAT(${tenant_id}, '|', ${service}) ;;
    description: "Services that show them."
    drill_fields: [service, count]
  }
  measure: mean_confidence {
    type: average
    value_format_name: decimal_2
    sql: ${confidence_score} ;;
    description: "Mean confidence."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [window_start_time, service, anomaly_severity, anomaly_type, description, detector, confidence_score,
             recommended_actions, anomaly_id]
  }
}

view: +anomalies__metrics {
  dimension: value { value_format_name: decimal_2 }
  dimension: baseline { value_format_name: decimal_2 }
  dimension: deviation { value_format_name: decimal_1 }
}

view: +detection_delay {
  dimension: minutes_until_alerted {
    type: number
    value_format_name: decimal_1
    sql: ${seconds_until_alerted} / 60 ;;
    description: "From the start of the window until an alert spoke of it, in minutes; null without one."
  }

  measure: count {
    type: count
    description: "Anomalies."
    drill_fields: [detail*]
  }
  measure: mean_seconds_until_stored {
    type: average
    value_format_name: decimal_0
    sql: ${seconds_until_stored} ;;
    description: "Mean time from the end of the window until it was stored."
    drill_fields: [detail*]
  }
  measure: max_seconds_until_stored {
    type: max
    value_format_name: decimal_0
    sql: ${seconds_until_stored} ;;
    description: "The longest time from the end of the window until it was stored."
    drill_fields: [detail*]
  }
  measure: mean_minutes_until_alerted {
    type: average
    value_format_name: decimal_1
    sql: ${minutes_until_alerted} ;;
    description: "Mean time from the start of the window until an alert spoke of it; those without one do not count."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [window_start_time, service, anomaly_type, anomaly_severity, detector, seconds_until_stored,
             minutes_until_alerted, alert_id, anomaly_id]
  }
}
