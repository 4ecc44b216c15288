view: +alert_noise {
  measure: total_anomalies {
    type: sum
    sql: ${anomalies} ;;
    description: "Anomalies, withdrawn ones included."
    drill_fields: [detail*]
  }
  measure: total_alerts {
    type: sum
    sql: ${alerts} ;;
    description: "Alerts that were opened."
    drill_fields: [detail*]
  }
  measure: total_reminders {
    type: sum
    sql: ${reminders} ;;
    description: "Times that alerts were repeated or escalated."
    drill_fields: [detail*]
  }
  measure: anomalies_for_each_alert {
    type: number
    value_format_name: decimal_1
    sql: ${total_anomalies} / NULLIF(${total_alerts}, 0) ;;
    description: "Anomalies over alerts: how much grouping spares people."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [day_date, service, anomalies, anomalies_withdrawn, alerts, alerts_inhibited, incidents, reminders,
             false_positives, useful]
  }
}

view: +rule_noise {
  dimension: false_positive_share { value_format_name: percent_1 }

  measure: total_anomalies {
    type: sum
    sql: ${anomalies} ;;
    description: "Anomalies of the rule or detector, withdrawn ones included."
    drill_fields: [detail*]
  }
  measure: total_alerts {
    type: sum
    sql: ${alerts} ;;
    description: "Alerts that it had a part in."
    drill_fields: [detail*]
  }
  measure: total_false_positives {
    type: sum
    sql: ${false_positives} ;;
    description: "Of these alerts, those that people called false."
    drill_fields: [detail*]
  }
  measure: total_useful {
    type: sum
    sql: ${useful} ;;
    description: "Of these alerts, those that people called useful."
    drill_fields: [detail*]
  }
  measure: false_share_of_judged {
    type: number
    value_format_name: percent_1
    sql: ${total_false_positives} / NULLIF(${total_false_positives} + ${total_useful}, 0) ;;
    description: "False alerts over those that somebody judged."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [tenant_id, detector, anomalies, anomalies_withdrawn, anomalies_below_floor, alerts, false_positives,
             useful, false_positive_share]
  }
}
