view: +services {
  dimension: runbook {
    link: {
      label: "Open the runbook"
      url: "{{ value }}"
    }
  }

  measure: count {
    type: count
    description: "Services that the catalog was asked about."
    drill_fields: [service, owner, tier, channel, runbook, slo_percent, slo_latency_ms, slo_days]
  }
}

view: +service_health {
  dimension: service {
    link: {
      label: "Service"
      url: "/dashboards/aiops::services?Service={{ value | url_encode }}"
    }
  }
  dimension: health_score { value_format_name: decimal_0 }
  dimension: error_rate { value_format_name: percent_2 }
  dimension: hour_error_rate { value_format_name: percent_2 }
  dimension: is_behind {
    type: yesno
    sql: ${seconds_behind_tenant} > 300 ;;
    description: "Whether its newest window is more than five minutes behind its tenant's."
  }

  measure: count {
    type: count
    description: "Services."
    drill_fields: [detail*]
  }
  measure: ill_count {
    label: "Ill"
    type: count
    filters: [health_score: "<70"]
    description: "Services whose health is below 70 in their newest window."
    drill_fields: [detail*]
  }
  measure: behind_count {
    label: "Behind"
    type: count
    filters: [is_behind: "yes"]
    description: "Services that have sent nothing for more than five minutes while their tenant has."
    drill_fields: [detail*]
  }
  measure: lowest_health {
    type: min
    value_format_name: decimal_0
    sql: ${health_score} ;;
    description: "Lowest health of a service in its newest window."
    drill_fields: [detail*]
  }
  measure: total_open_alerts {
    type: sum
    sql: ${open_alerts} ;;
    description: "Open alerts of the services."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [service, health_score, hour_lines, hour_error_rate, latency_p95_ms, open_alerts, worst_open_severity,
             last_deployed_time, window_end_time]
  }
}

view: +service_windows {
  measure: count {
    type: count
    description: "Windows."
    drill_fields: [detail*]
  }
  measure: total_lines {
    type: sum
    sql: ${lines} ;;
    description: "Lines analyzed."
    drill_fields: [detail*]
  }
  measure: total_errors {
    type: sum
    sql: ${errors} ;;
    description: "Lines that are errors."
    drill_fields: [detail*]
  }
  measure: error_share {
    type: number
    value_format_name: percent_2
    sql: ${total_errors} / NULLIF(${total_lines}, 0) ;;
    description: "Errors over lines."
    drill_fields: [detail*]
  }
  measure: total_requests {
    type: sum
    sql: ${requests} ;;
    description: "Requests."
    drill_fields: [detail*]
  }
  measure: total_failed_requests {
    type: sum
    sql: ${failed_requests} ;;
    description: "Requests that failed."
    drill_fields: [detail*]
  }
  measure: failed_request_share {
    type: number
    value_format_name: percent_2
    sql: ${total_failed_requests} / NULLIF(${total_requests}, 0) ;;
    description: "Requests that failed over all requests."
    drill_fields: [detail*]
  }
  measure: mean_latency_p50_ms {
    type: average
    value_format_name: decimal_0
    sql: ${latency_p50_ms} ;;
    description: "Mean of the windows' medians."
    drill_fields: [detail*]
  }
  measure: mean_latency_p95_ms {
    type: average
    value_format_name: decimal_0
    sql: ${latency_p95_ms} ;;
    description: "Mean of the windows' 95th percentiles."
    drill_fields: [detail*]
  }
  measure: max_latency_p95_ms {
    type: max
    value_format_name: decimal_0
    sql: ${latency_p95_ms} ;;
    description: "Highest 95th percentile of a window."
    drill_fields: [detail*]
  }
  measure: lowest_health {
    type: min
    value_format_name: decimal_0
    sql: ${health_score} ;;
    description: "Lowest health of a window."
    drill_fields: [detail*]
  }
  measure: total_new_patterns {
    type: sum
    sql: ${new_patterns} ;;
    description: "Patterns seen for the first time."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [window_start_time, service, lines, errors, requests, failed_requests, latency_p95_ms, health_score,
             new_patterns]
  }
}

view: +slo_burn {
  dimension: slo_percent { value_format_name: decimal_2 }
  dimension: bad_share { value_format_name: percent_3 }
  dimension: error_budget { value_format_name: percent_3 }
  dimension: budget_left { value_format_name: percent_1 }
  dimension: burn_rate_5m { value_format_name: decimal_1 }
  dimension: burn_rate_30m { value_format_name: decimal_1 }
  dimension: burn_rate_1h { value_format_name: decimal_1 }
  dimension: burn_rate_6h { value_format_name: decimal_1 }
  dimension: burn_rate_3d { value_format_name: decimal_1 }

  measure: count {
    type: count
    description: "Promises: one of availability and one of latency for each service that has them."
    drill_fields: [detail*]
  }
  measure: page_count {
    label: "Worth a page"
    type: count
    filters: [urgency: "page"]
    description: "Promises whose budget burns so fast that somebody should be called."
    drill_fields: [detail*]
  }
  measure: used_up_count {
    label: "Used up"
    type: count
    filters: [budget_left: "<=0"]
    description: "Promises without any budget left."
    drill_fields: [detail*]
  }
  measure: least_budget_left {
    type: min
    value_format_name: percent_1
    sql: ${budget_left} ;;
    description: "Share of the error budget that is left, where the least is."
    drill_fields: [detail*]
  }
  measure: highest_burn_rate_1h {
    type: max
    value_format_name: decimal_1
    sql: ${burn_rate_1h} ;;
    description: "Highest burn rate of the last hour."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [service, kind, slo_percent, slo_latency_ms, slo_days, budget_left, burn_rate_1h, burn_rate_6h,
             burn_rate_3d, urgency, owner]
  }
}
