view: +ledger_balance {
  dimension: is_imbalanced {
    type: yesno
    sql: NOT ${balanced} ;;
    description: "Whether the two ends of the job differ in that minute."
  }

  measure: minutes {
    type: count
    description: "Minutes of tenants and sources."
    drill_fields: [detail*]
  }
  measure: imbalanced_minutes {
    type: count
    filters: [is_imbalanced: "yes"]
    description: "Minutes in which the two ends of the job differ; the newest ones are still on their way."
    drill_fields: [detail*]
  }
  measure: total_received {
    type: sum
    sql: ${received} ;;
    description: "Lines or points received."
    drill_fields: [detail*]
  }
  measure: total_difference {
    type: sum
    sql: ${difference} ;;
    description: "Received less all that became of it."
    drill_fields: [detail*]
  }
  measure: total_late {
    type: sum
    sql: ${late} ;;
    description: "Lines or points that came too late to be analyzed."
    drill_fields: [detail*]
  }
  measure: total_dead_lettered {
    type: sum
    sql: ${dead_lettered} ;;
    description: "Lines or points that could not be used."
    drill_fields: [detail*]
  }
  measure: minutes_since_last {
    type: min
    value_format_name: decimal_0
    sql: (UNIX_MICROS(CURRENT_TIMESTAMP) - UNIX_MICROS(${receive_minute_raw})) / 60000000 ;;
    description: "Minutes since the job counted something received: its heartbeat, as far as tables show it."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [receive_minute_time, tenant_id, source, received, analyzed, late, duplicate, filtered, dead_lettered,
             difference]
  }
}

view: +dead_letters {
  measure: total {
    type: sum
    sql: ${count} ;;
    description: "Payloads that could not be used."
    drill_fields: [receive_minute_time, tenant_id, stage, reason, detail, count, payload]
  }
}

view: +failed_rows {
  measure: count {
    type: count
    description: "Rows that BigQuery refused, those that it took later included."
    drill_fields: [detail*]
  }
  measure: waiting_count {
    label: "Waiting"
    type: count
    filters: [status: "failed"]
    description: "Rows that BigQuery refused and that nobody has replayed."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [failed_time, tenant_id, table_name, reason, detail, status, failed_row_id]
  }
}

view: +baselines {
  # What a detector remembers is of no use to people.
  dimension: state { hidden: yes }
  dimension: state_version { hidden: yes }

  measure: signal_count {
    label: "Signals"
    type: count
    description: "Signals of services that are watched."
    drill_fields: [detail*]
  }
  measure: learning_count {
    label: "Learning"
    type: count
    filters: [status: "learning"]
    description: "Signals that cannot alarm yet."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [service, signal, detector, status, windows, windows_missing, baseline, band_low, band_high]
  }
}
