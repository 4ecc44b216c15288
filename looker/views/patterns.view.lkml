view: +top_patterns {
  dimension: share_of_lines { value_format_name: percent_1 }

  measure: count {
    type: count
    description: "Patterns by service and day, at most 100 each."
    drill_fields: [detail*]
  }
  measure: total_lines {
    type: sum
    sql: ${lines} ;;
    description: "Lines of the patterns."
    drill_fields: [detail*]
  }
  measure: total_errors {
    type: sum
    sql: ${errors} ;;
    description: "Lines of the patterns that are errors."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [day_date, service, place, pattern, exception, lines, errors, share_of_lines, example]
  }
}

view: +new_patterns {
  measure: count {
    type: count
    description: "Patterns that were new."
    drill_fields: [detail*]
  }
  measure: after_deploy_count {
    label: "After a roll-out"
    type: count
    filters: [deploy_id: "-EMPTY"]
    description: "Patterns that were new within an hour of a roll-out of their service."
    drill_fields: [detail*]
  }
  measure: total_hour_lines {
    type: sum
    sql: ${hour_lines} ;;
    description: "Lines of the patterns in their first hour."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [first_seen_time, service, severity, pattern, exception, hour_lines, hour_errors, deployed, example]
  }
}
