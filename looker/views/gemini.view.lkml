view: +gemini_cost {
  dimension: cost_usd { value_format_name: usd }
  dimension: verified_claim_share { value_format_name: percent_1 }
  dimension: cost_usd_per_verified_finding { value_format_name: usd }

  measure: total_requests {
    type: sum
    sql: ${requests} ;;
    description: "Requests."
    drill_fields: [detail*]
  }
  measure: total_failed {
    type: sum
    sql: ${failed} ;;
    description: "Requests that failed after all attempts."
    drill_fields: [detail*]
  }
  measure: total_tokens_in {
    type: sum
    sql: ${tokens_in} ;;
    description: "Tokens of the prompts, as billed."
    drill_fields: [detail*]
  }
  measure: total_tokens_out {
    type: sum
    sql: ${tokens_out} ;;
    description: "Tokens of the answers, thoughts included, as billed."
    drill_fields: [detail*]
  }
  measure: total_cost_usd {
    type: sum
    value_format_name: usd
    sql: ${cost_usd} ;;
    description: "Cost by the price file, US dollars; models without a price cost nothing here."
    drill_fields: [detail*]
  }
  measure: total_without_price {
    type: sum
    sql: ${answered_without_price} ;;
    description: "Answered requests whose cost is not known: the price file lacks their model."
    drill_fields: [detail*]
  }
  measure: total_claims {
    type: sum
    sql: ${claims} ;;
    description: "Numbers cited in answers."
    drill_fields: [detail*]
  }
  measure: total_verified_claims {
    type: sum
    sql: ${verified_claims} ;;
    description: "Of these, those that the recount confirms."
    drill_fields: [detail*]
  }
  measure: verified_share {
    type: number
    value_format_name: percent_1
    sql: ${total_verified_claims} / NULLIF(${total_claims}, 0) ;;
    description: "Confirmed numbers over cited ones."
    drill_fields: [detail*]
  }
  measure: total_verified_findings {
    type: sum
    sql: ${verified_findings} ;;
    description: "Findings that became anomalies."
    drill_fields: [detail*]
  }
  measure: cost_of_a_finding {
    type: number
    value_format_name: usd
    sql: ${total_cost_usd} / NULLIF(${total_verified_findings}, 0) ;;
    description: "Cost of each finding that became an anomaly."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [day_date, tenant_id, model, requests, failed, tokens_in, tokens_out, cost_usd, verified_claim_share,
             verified_findings]
  }
}

view: +gemini_windows {
  measure: total_windows {
    type: sum
    sql: ${windows} ;;
    description: "Windows of services."
    drill_fields: [detail*]
  }
  measure: total_answered {
    type: sum
    sql: ${answered} ;;
    description: "Windows that were asked about."
    drill_fields: [detail*]
  }
  measure: total_cached {
    type: sum
    sql: ${cached} ;;
    description: "Windows answered by what was said of equal evidence."
    drill_fields: [detail*]
  }
  measure: total_skipped {
    type: sum
    sql: ${skipped} ;;
    description: "Windows that were not asked about."
    drill_fields: [detail*]
  }
  measure: total_over_budget {
    type: sum
    sql: ${skipped_over_budget} ;;
    description: "Windows that were not asked about because the budget was used up."
    drill_fields: [detail*]
  }

  set: detail {
    fields: [day_date, tenant_id, service, windows, answered, cached, failed, skipped, skipped_over_budget]
  }
}

view: +hypotheses {
  measure: count {
    type: count
    description: "What Gemini claimed and code could not confirm."
    drill_fields: [window_start_time, service, reason, detail, anomaly_type, description, model]
  }
}
