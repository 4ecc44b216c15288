- dashboard: on_call
  title: "On call: now"
  description: "What is open, who is at it, what is ill, and whether the job itself is well."
  layout: newspaper
  preferred_viewer: dashboards-next
  refresh: 1 minute
  filters:
  - name: Tenant
    title: "Tenant"
    type: field_filter
    model: aiops
    explore: open_alerts
    field: open_alerts.tenant_id
    allow_multiple_values: true
    required: false
  - name: Owner
    title: "Owner"
    type: field_filter
    model: aiops
    explore: open_alerts
    field: services.owner
    allow_multiple_values: true
    required: false
  elements:
  - name: waiting
    title: "Nobody is at it"
    type: single_value
    model: aiops
    explore: open_alerts
    fields: [open_alerts.waiting_count]
    note_text: "Open, not acknowledged, not silenced, and no other alert speaks for them."
    listen:
      Tenant: open_alerts.tenant_id
      Owner: services.owner
    row: 0
    col: 0
    width: 4
    height: 3
  - name: serious
    title: "High or critical"
    type: single_value
    model: aiops
    explore: open_alerts
    fields: [open_alerts.serious_count]
    listen:
      Tenant: open_alerts.tenant_id
      Owner: services.owner
    row: 0
    col: 4
    width: 4
    height: 3
  - name: open_incidents
    title: "Open incidents"
    type: single_value
    model: aiops
    explore: incidents
    fields: [incidents.open_count]
    listen:
      Tenant: incidents.tenant_id
    row: 0
    col: 8
    width: 4
    height: 3
  - name: ill
    title: "Ill services"
    type: single_value
    model: aiops
    explore: service_health
    fields: [service_health.ill_count]
    listen:
      Tenant: service_health.tenant_id
      Owner: services.owner
    row: 0
    col: 12
    width: 4
    height: 3
  - name: behind
    title: "Services that fell silent"
    type: single_value
    model: aiops
    explore: service_health
    fields: [service_health.behind_count]
    listen:
      Tenant: service_health.tenant_id
      Owner: services.owner
    row: 0
    col: 16
    width: 4
    height: 3
  - name: last_received
    title: "Minutes since the last line"
    type: single_value
    model: aiops
    explore: ledger_balance
    fields: [ledger_balance.minutes_since_last]
    note_text: "More than a few: the job itself is unwell, and all other tiles are old."
    listen:
      Tenant: ledger_balance.tenant_id
    row: 0
    col: 20
    width: 4
    height: 3
  - name: alerts_now
    title: "Open alerts"
    type: looker_grid
    model: aiops
    explore: open_alerts
    fields: [open_alerts.severity, open_alerts.status, open_alerts.opened_time, open_alerts.tenant_id, open_alerts.service, open_alerts.summary, services.owner, open_alerts.runbook, incidents.title, open_alerts.alert_id, open_alerts.severity_rank]
    sorts: [open_alerts.severity_rank desc, open_alerts.opened_time]
    limit: 100
    hidden_fields: [open_alerts.severity_rank, open_alerts.alert_id]
    listen:
      Tenant: open_alerts.tenant_id
      Owner: services.owner
    row: 3
    col: 0
    width: 24
    height: 7
  - name: incidents_now
    title: "Open incidents, the worst first"
    type: looker_grid
    model: aiops
    explore: incidents
    fields: [incidents.severity, incidents.tenant_id, incidents.title, incidents.opened_time, incidents.affected_services, incidents.anomaly_count, incidents.incident_id, incidents.severity_rank]
    sorts: [incidents.severity_rank desc, incidents.opened_time desc]
    limit: 50
    filters:
      incidents.is_over: "No"
    hidden_fields: [incidents.severity_rank, incidents.incident_id]
    listen:
      Tenant: incidents.tenant_id
    row: 10
    col: 0
    width: 14
    height: 7
  - name: health
    title: "Health of services, the worst first"
    type: looker_grid
    model: aiops
    explore: service_health
    fields: [service_health.tenant_id, service_health.service, service_health.health_score, service_health.hour_error_rate, service_health.latency_p95_ms, service_health.open_alerts, service_health.last_deployed_time]
    sorts: [service_health.health_score]
    limit: 50
    listen:
      Tenant: service_health.tenant_id
      Owner: services.owner
    row: 10
    col: 14
    width: 10
    height: 7
  - name: newest_anomalies
    title: "Newest anomalies"
    type: looker_grid
    model: aiops
    explore: anomalies
    fields: [anomalies.window_start_time, anomalies.tenant_id, anomalies.service, anomalies.anomaly_severity, anomalies.anomaly_type, anomalies.description, anomalies.confidence_score]
    sorts: [anomalies.window_start_time desc]
    limit: 50
    filters:
      anomalies.status: "-withdrawn"
      anomalies.below_confidence_floor: "No"
      anomalies.window_start_time: 1 day
    listen:
      Tenant: anomalies.tenant_id
      Owner: services.owner
    row: 17
    col: 0
    width: 14
    height: 7
  - name: burning
    title: "Error budgets that burn"
    type: looker_grid
    model: aiops
    explore: slo_burn
    fields: [slo_burn.tenant_id, slo_burn.service, slo_burn.kind, slo_burn.urgency, slo_burn.budget_left, slo_burn.burn_rate_1h, slo_burn.burn_rate_6h]
    sorts: [slo_burn.burn_rate_1h desc]
    limit: 50
    filters:
      slo_burn.urgency: "-EMPTY"
    listen:
      Tenant: slo_burn.tenant_id
      Owner: services.owner
    row: 17
    col: 14
    width: 10
    height: 7
  - name: deploys
    title: "Roll-outs of the last day"
    type: looker_grid
    model: aiops
    explore: deploy_effects
    fields: [deploy_effects.deployed_time, deploy_effects.tenant_id, deploy_effects.service, deploy_effects.what, deploy_effects.error_rate_before, deploy_effects.error_rate_after, deploy_effects.is_worse]
    sorts: [deploy_effects.deployed_time desc]
    limit: 50
    filters:
      deploy_effects.deployed_time: 1 day
    listen:
      Tenant: deploy_effects.tenant_id
      Owner: services.owner
    row: 24
    col: 0
    width: 14
    height: 6
  - name: ledger
    title: "Ledger: received, and what is missing"
    type: looker_line
    model: aiops
    explore: ledger_balance
    fields: [ledger_balance.receive_minute_minute, ledger_balance.total_received, ledger_balance.total_difference]
    sorts: [ledger_balance.receive_minute_minute]
    limit: 500
    filters:
      ledger_balance.receive_minute_time: 3 hours
    note_text: "The difference is 0 but for the newest minutes, which are still on their way."
    listen:
      Tenant: ledger_balance.tenant_id
    row: 24
    col: 14
    width: 10
    height: 6
