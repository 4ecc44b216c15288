view: +deploy_effects {
  dimension: error_rate_before { value_format_name: percent_2 }
  dimension: error_rate_after { value_format_name: percent_2 }
  dimension: latency_p95_ms_before { value_format_name: decimal_0 }
  dimension: latency_p95_ms_after { value_format_name: decimal_0 }
  dimension: health_score_before { value_format_name: decimal_0 }
  dimension: health_score_after { value_format_name: decimal_0 }
  dimension: is_worse {
    type: yesno
    sql: ${regressions} > 0 OR ${incidents} > 0 ;;
    description: "Whether an anomaly blames it, or an incident names it."
  }

  measure: count {
    type: count
    description: "Roll-outs."
    drill_fields: [detail*]
  }
  measure: worse_count {
    label: "Made it worse"
    type: count
    filters: [is_worse: "yes"]
    description: "Roll-outs that an anomaly blames, or an incident names."
    drill_fields: [detail*]
  }
  measure: change_failure_share {
    type: number
    value_format_name: percent_1
    sql: ${worse_count} / NULLIF(${count}, 0) ;;
    description: "Roll-outs that made something worse over all roll-outs."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [deployed_time, service, what, principal, error_rate_before, error_rate_after, latency_p95_ms_before,
             latency_p95_ms_after, new_patterns_after, anomalies_after, incidents]
  }
}
