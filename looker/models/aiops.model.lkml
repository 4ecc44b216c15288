# For everybody: each explore shows the rows of the tenants in the user attribute tenant_id, and nothing else.
connection: "@{connection}"
label: "AIOps"
week_start_day: monday
persist_for: "1 minute"

include: "/views/generated/*.view.lkml"
include: "/views/*.view.lkml"
include: "/dashboards/on_call.dashboard.lookml"
include: "/dashboards/services.dashboard.lookml"
include: "/dashboards/tenant.dashboard.lookml"

explore: open_alerts {
  group_label: "AIOps: now"
  label: "Open alerts"
  description: "What is open or acknowledged now, with owner and runbook, and the incident that it is part of."
  access_filter: {
    field: open_alerts.tenant_id
    user_attribute: tenant_id
  }
  join: services {
    type: left_outer
    relationship: many_to_one
    sql_on: ${services.tenant_id} = ${open_alerts.tenant_id} AND ${services.service} = ${open_alerts.service} ;;
  }
  join: incidents {
    type: left_outer
    relationship: many_to_one
    sql_on: ${incidents.tenant_id} = ${open_alerts.tenant_id} AND ${incidents.incident_id} = ${open_alerts.incident_id} ;;
  }
}

explore: service_health {
  group_label: "AIOps: now"
  label: "Health of services"
  description: "Each service in its newest window and its last hour, with its open alerts and its SLO."
  access_filter: {
    field: service_health.tenant_id
    user_attribute: tenant_id
  }
  join: services {
    type: left_outer
    relationship: one_to_one
    sql_on: ${services.tenant_id} = ${service_health.tenant_id} AND ${services.service} = ${service_health.service} ;;
  }
  join: slo_burn {
    view_label: "SLO"
    type: left_outer
    relationship: one_to_many
    sql_on: ${slo_burn.tenant_id} = ${service_health.tenant_id} AND ${slo_burn.service} = ${service_health.service} ;;
  }
}

explore: ledger_balance {
  group_label: "AIOps: now"
  label: "Ledger"
  description: "Both ends of the job by minute: what came in, and what became of it."
  access_filter: {
    field: ledger_balance.tenant_id
    user_attribute: tenant_id
  }
}

explore: incidents {
  group_label: "AIOps: now"
  label: "Incidents"
  description: "What hangs together: title, cause and effect, and what happened in which order."
  access_filter: {
    field: incidents.tenant_id
    user_attribute: tenant_id
  }
  join: incident_timeline {
    view_label: "Timeline"
    type: left_outer
    relationship: one_to_many
    sql_on: ${incident_timeline.tenant_id} = ${incidents.tenant_id} AND ${incident_timeline.incident_id} = ${incidents.incident_id} ;;
  }
  join: incidents__root_causes {
    view_label: "Causes"
    relationship: one_to_many
    sql: LEFT JOIN UNNEST(${incidents.root_causes}) AS incidents__root_causes ON TRUE ;;
  }
}

explore: anomalies {
  group_label: "AIOps: history"
  label: "Anomalies"
  description: "What rules, learned detectors and Gemini found, with the numbers that it rests on."
  sql_always_where: ${anomalies.service} != 'aiops-canary' ;;
  access_filter: {
    field: anomalies.tenant_id
    user_attribute: tenant_id
  }
  join: services {
    type: left_outer
    relationship: many_to_one
    sql_on: ${services.tenant_id} = ${anomalies.tenant_id} AND ${services.service} = ${anomalies.service} ;;
  }
  join: anomalies__metrics {
    view_label: "Numbers"
    relationship: one_to_many
    sql: LEFT JOIN UNNEST(${anomalies.metrics}) AS anomalies__metrics ON TRUE ;;
  }
}

explore: alerts {
  group_label: "AIOps: history"
  label: "Alerts"
  description: "Every alert as it stands, with the times of its life: MTTA, MTTR, verdicts, reminders."
  sql_always_where: NOT ${alerts.is_silence} ;;
  access_filter: {
    field: alerts.tenant_id
    user_attribute: tenant_id
  }
  join: services {
    type: left_outer
    relationship: many_to_one
    sql_on: ${services.tenant_id} = ${alerts.tenant_id} AND ${services.service} = ${alerts.service} ;;
  }
  join: incidents {
    type: left_outer
    relationship: many_to_one
    sql_on: ${incidents.tenant_id} = ${alerts.tenant_id} AND ${incidents.incident_id} = ${alerts.incident_id} ;;
  }
}

explore: service_windows {
  group_label: "AIOps: history"
  label: "Windows of services"
  description: "Lines, errors, requests, latency and health by window: choose a time, it is large."
  sql_always_where: ${service_windows.service} != 'aiops-canary' ;;
  conditionally_filter: {
    filters: [service_windows.window_start_date: "1 day"]
    unless: [service_windows.window_start_time]
  }
  access_filter: {
    field: service_windows.tenant_id
    user_attribute: tenant_id
  }
  join: services {
    type: left_outer
    relationship: many_to_one
    sql_on: ${services.tenant_id} = ${service_windows.tenant_id} AND ${services.service} = ${service_windows.service} ;;
  }
}

explore: slo_burn {
  group_label: "AIOps: history"
  label: "SLO"
  description: "Error budgets of services, and how fast they burn."
  persist_for: "15 minutes" # it reads three months of windows
  access_filter: {
    field: slo_burn.tenant_id
    user_attribute: tenant_id
  }
  join: services {
    type: left_outer
    relationship: many_to_one
    sql_on: ${services.tenant_id} = ${slo_burn.tenant_id} AND ${services.service} = ${slo_burn.service} ;;
  }
}

explore: deploy_effects {
  group_label: "AIOps: history"
  label: "Roll-outs"
  description: "Roll-outs with the half hours before and after them, and what was found."
  access_filter: {
    field: deploy_effects.tenant_id
    user_attribute: tenant_id
  }
  join: services {
    type: left_outer
    relationship: many_to_one
    sql_on: ${services.tenant_id} = ${deploy_effects.tenant_id} AND ${services.service} = ${deploy_effects.service} ;;
  }
}

explore: top_patterns {
  group_label: "AIOps: logs"
  label: "Frequent patterns"
  description: "The 100 most frequent log patterns of each service and day."
  sql_always_where: ${top_patterns.service} != 'aiops-canary' ;;
  access_filter: {
    field: top_patterns.tenant_id
    user_attribute: tenant_id
  }
  join: services {
    type: left_outer
    relationship: many_to_one
    sql_on: ${services.tenant_id} = ${top_patterns.tenant_id} AND ${services.service} = ${top_patterns.service} ;;
  }
}

explore: new_patterns {
  group_label: "AIOps: logs"
  label: "New patterns"
  description: "Log patterns that were seen for the first time, and the roll-out before them."
  sql_always_where: ${new_patterns.service} != 'aiops-canary' ;;
  access_filter: {
    field: new_patterns.tenant_id
    user_attribute: tenant_id
  }
  join: services {
    type: left_outer
    relationship: many_to_one
    sql_on: ${services.tenant_id} = ${new_patterns.tenant_id} AND ${services.service} = ${new_patterns.service} ;;
  }
}

explore: metric_windows {
  group_label: "AIOps: history"
  label: "Metrics"
  description: "Series of metrics by window, with what was expected of them: choose a time, it is large."
  conditionally_filter: {
    filters: [metric_windows.window_start_date: "1 day"]
    unless: [metric_windows.window_start_time]
  }
  access_filter: {
    field: metric_windows.tenant_id
    user_attribute: tenant_id
  }
  join: services {
    type: left_outer
    relationship: many_to_one
    sql_on: ${services.tenant_id} = ${metric_windows.tenant_id} AND ${services.service} = ${metric_windows.service} ;;
  }
}

explore: dependencies {
  group_label: "AIOps: logs"
  label: "Who calls whom"
  description: "The topology, from mesh logs, traces and the catalog."
  access_filter: {
    field: dependencies.tenant_id
    user_attribute: tenant_id
  }
}
