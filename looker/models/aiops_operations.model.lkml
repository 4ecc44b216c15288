# For operators: how well the job does, and what it costs. Give tenants no role with this model.
connection: "@{connection}"
label: "AIOps operations"
week_start_day: monday
persist_for: "5 minutes"

include: "/views/generated/*.view.lkml"
include: "/views/*.view.lkml"
include: "/dashboards/quality.dashboard.lookml"
include: "/dashboards/cost.dashboard.lookml"

explore: detection_delay {
  group_label: "AIOps: quality"
  label: "Detection delay"
  description: "How long it took from a window to the store, and to the first alert."
  sql_always_where: ${detection_delay.service} != 'aiops-canary' ;;
  access_filter: {
    field: detection_delay.tenant_id
    user_attribute: tenant_id
  }
}

explore: alert_noise {
  group_label: "AIOps: quality"
  label: "Noise"
  description: "Anomalies, alerts, incidents and reminders by day and service."
  access_filter: {
    field: alert_noise.tenant_id
    user_attribute: tenant_id
  }
}

explore: rule_noise {
  group_label: "AIOps: quality"
  label: "Rules and detectors"
  description: "How far each rule and detector can be believed, by what people said of its alerts."
  access_filter: {
    field: rule_noise.tenant_id
    user_attribute: tenant_id
  }
}

explore: alerts {
  group_label: "AIOps: quality"
  label: "Response"
  description: "MTTA, MTTR, verdicts and reminders of all alerts."
  sql_always_where: NOT ${alerts.is_silence} ;;
  access_filter: {
    field: alerts.tenant_id
    user_attribute: tenant_id
  }
}

explore: baselines {
  group_label: "AIOps: quality"
  label: "What is learned"
  description: "Signals of services: what is usual, and what cannot alarm yet."
  sql_always_where: ${baselines.service} != 'aiops-canary' ;;
  access_filter: {
    field: baselines.tenant_id
    user_attribute: tenant_id
  }
}

explore: dead_letters {
  group_label: "AIOps: the job"
  label: "Dead letters"
  description: "Payloads that could not be used, redacted, and why."
  access_filter: {
    field: dead_letters.tenant_id
    user_attribute: tenant_id
  }
}

explore: failed_rows {
  group_label: "AIOps: the job"
  label: "Failed rows"
  description: "Rows that BigQuery refused, kept whole until they are replayed."
  access_filter: {
    field: failed_rows.tenant_id
    user_attribute: tenant_id
  }
}

explore: gemini_cost {
  group_label: "AIOps: Gemini"
  label: "Cost of Gemini"
  description: "Requests by day and model: tokens, cost, and what the recount confirmed."
  access_filter: {
    field: gemini_cost.tenant_id
    user_attribute: tenant_id
  }
}

explore: gemini_windows {
  group_label: "AIOps: Gemini"
  label: "What Gemini was asked"
  description: "What became of windows: asked about, answered from the cache, left out and why."
  access_filter: {
    field: gemini_windows.tenant_id
    user_attribute: tenant_id
  }
}

explore: hypotheses {
  group_label: "AIOps: Gemini"
  label: "Hypotheses"
  description: "What Gemini claimed and the recount could not confirm."
  access_filter: {
    field: hypotheses.tenant_id
    user_attribute: tenant_id
  }
}
