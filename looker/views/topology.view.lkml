view: +dependencies {
  measure: count {
    type: count
    description: "Who calls whom: edges of the topology."
    drill_fields: [detail*]
  }
  measure: total_requests {
    type: sum
    sql: ${requests} ;;
    description: "Calls in the last hour; of traces, those that were kept."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [caller, callee, source, requests, errors, latency_p95_ms, last_seen_time]
  }
}

view: +metric_windows {
  measure: count {
    type: count
    description: "Windows of series."
    drill_fields: [detail*]
  }
  measure: series_count {
    label: "Series"
    type: count_distinct
    sql: ${series_id} ;;
    description: "Series of metrics."
    drill_fields: [service, metric_type, statistic, count]
  }
  measure: alarm_count {
    label: "Anomalous"
    type: count
    filters: [label: "anomalous,continuing"]
    description: "Windows that are not as usual."
    drill_fields: [detail*]
  }
  measure: mean_value {
    type: average
    value_format_name: decimal_2
    sql: ${value} ;;
    description: "Mean value; choose one series, or the numbers are of different kinds."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [window_start_time, service, metric_type, statistic, instance, value, baseline, band_low, band_high, label]
  }
}
