- dashboard: services
  title: "My services"
  description: "For owners: health, SLO, windows, patterns, and what roll-outs did."
  layout: newspaper
  preferred_viewer: dashboards-next
  refresh: 5 minutes
  filters:
  - name: Owner
    title: "Owner"
    type: field_filter
    model: aiops
    explore: service_health
    field: services.owner
    allow_multiple_values: true
    required: false
    default_value: "{{ _user_attributes['owner'] }}"
  - name: Service
    title: "Service"
    type: field_filter
    model: aiops
    explore: service_health
    field: service_health.service
    allow_multiple_values: true
    required: false
  - name: Tenant
    title: "Tenant"
    type: field_filter
    model: aiops
    explore: service_health
    field: service_health.tenant_id
    allow_multiple_values: true
    required: false
  - name: Time
    title: "Time"
    type: date_filter
    default_value: "1 day"
    allow_multiple_values: true
    required: false
  elements:
  - name: health
    title: "Health of my services"
    type: looker_grid
    model: aiops
    explore: service_health
    fields: [service_health.tenant_id, service_health.service, service_health.health_score, service_health.hour_lines, service_health.hour_error_rate, service_health.latency_p95_ms, service_health.open_alerts, service_health.worst_open_severity, service_health.last_deployed_time, services.tier]
    sorts: [service_health.health_score]
    limit: 100
    listen:
      Tenant: service_health.tenant_id
      Service: service_health.service
      Owner: services.owner
    row: 0
    col: 0
    width: 14
    height: 6
  - name: slo
    title: "SLO"
    type: looker_grid
    model: aiops
    explore: slo_burn
    fields: [slo_burn.tenant_id, slo_burn.service, slo_burn.kind, slo_burn.slo_percent, slo_burn.budget_left, slo_burn.burn_rate_1h, slo_burn.burn_rate_6h, slo_burn.burn_rate_3d, slo_burn.urgency]
    sorts: [slo_burn.budget_left]
    limit: 100
    listen:
      Tenant: slo_burn.tenant_id
      Service: slo_burn.service
      Owner: services.owner
    row: 0
    col: 14
    width: 10
    height: 6
  - name: lines
    title: "Lines"
    type: looker_area
    model: aiops
    explore: service_windows
    fields: [service_windows.window_start_minute, service_windows.service, service_windows.total_lines]
    pivots: [service_windows.service]
    sorts: [service_windows.window_start_minute]
    limit: 2000
    listen:
      Tenant: service_windows.tenant_id
      Service: service_windows.service
      Owner: services.owner
      Time: service_windows.window_start_time
    row: 6
    col: 0
    width: 12
    height: 6
  - name: errors
    title: "Errors over lines"
    type: looker_line
    model: aiops
    explore: service_windows
    fields: [service_windows.window_start_minute, service_windows.service, service_windows.error_share]
    pivots: [service_windows.service]
    sorts: [service_windows.window_start_minute]
    limit: 2000
    listen:
      Tenant: service_windows.tenant_id
      Service: service_windows.service
      Owner: services.owner
      Time: service_windows.window_start_time
    row: 6
    col: 12
    width: 12
    height: 6
  - name: latency
    title: "Latency: 95th percentile, ms"
    type: looker_line
    model: aiops
    explore: service_windows
    fields: [service_windows.window_start_minute, service_windows.service, service_windows.max_latency_p95_ms]
    pivots: [service_windows.service]
    sorts: [service_windows.window_start_minute]
    limit: 2000
    listen:
      Tenant: service_windows.tenant_id
      Service: service_windows.service
      Owner: services.owner
      Time: service_windows.window_start_time
    row: 12
    col: 0
    width: 12
    height: 6
  - name: failed_requests
    title: "Failed requests over requests"
    type: looker_line
    model: aiops
    explore: service_windows
    fields: [service_windows.window_start_minute, service_windows.service, service_windows.failed_request_share]
    pivots: [service_windows.service]
    sorts: [service_windows.window_start_minute]
    limit: 2000
    listen:
      Tenant: service_windows.tenant_id
      Service: service_windows.service
      Owner: services.owner
      Time: service_windows.window_start_time
    row: 12
    col: 12
    width: 12
    height: 6
  - name: open_alerts
    title: "Open alerts"
    type: looker_grid
    model: aiops
    explore: open_alerts
    fields: [open_alerts.severity, open_alerts.status, open_alerts.opened_time, open_alerts.service, open_alerts.summary, open_alerts.runbook, incidents.title, open_alerts.alert_id]
    sorts: [open_alerts.opened_time desc]
    limit: 50
    hidden_fields: [open_alerts.alert_id]
    listen:
      Tenant: open_alerts.tenant_id
      Service: open_alerts.service
      Owner: services.owner
    row: 18
    col: 0
    width: 12
    height: 6
  - name: deploys
    title: "Roll-outs and their effect"
    type: looker_grid
    model: aiops
    explore: deploy_effects
    fields: [deploy_effects.deployed_time, deploy_effects.service, deploy_effects.what, deploy_effects.error_rate_before, deploy_effects.error_rate_after, deploy_effects.latency_p95_ms_before, deploy_effects.latency_p95_ms_after, deploy_effects.anomalies_after, deploy_effects.incidents]
    sorts: [deploy_effects.deployed_time desc]
    limit: 50
    listen:
      Tenant: deploy_effects.tenant_id
      Service: deploy_effects.service
      Owner: services.owner
      Time: deploy_effects.deployed_time
    row: 18
    col: 12
    width: 12
    height: 6
  - name: new_patterns
    title: "New patterns"
    type: looker_grid
    model: aiops
    explore: new_patterns
    fields: [new_patterns.first_seen_time, new_patterns.service, new_patterns.severity, new_patterns.pattern, new_patterns.hour_lines, new_patterns.deployed]
    sorts: [new_patterns.first_seen_time desc]
    limit: 100
    listen:
      Tenant: new_patterns.tenant_id
      Service: new_patterns.service
      Owner: services.owner
      Time: new_patterns.first_seen_time
    row: 24
    col: 0
    width: 12
    height: 7
  - name: top_patterns
    title: "Frequent patterns"
    type: looker_grid
    model: aiops
    explore: top_patterns
    fields: [top_patterns.service, top_patterns.pattern, top_patterns.total_lines, top_patterns.total_errors]
    sorts: [top_patterns.total_lines desc]
    limit: 100
    listen:
      Tenant: top_patterns.tenant_id
      Service: top_patterns.service
      Owner: services.owner
      Time: top_patterns.day_date
    row: 24
    col: 12
    width: 12
    height: 7
  - name: anomalies
    title: "Anomalies"
    type: looker_grid
    model: aiops
    explore: anomalies
    fields: [anomalies.window_start_time, anomalies.service, anomalies.anomaly_severity, anomalies.anomaly_type, anomalies.description]
    sorts: [anomalies.window_start_time desc]
    limit: 100
    filters:
      anomalies.status: "-withdrawn"
    listen:
      Tenant: anomalies.tenant_id
      Service: anomalies.service
      Owner: services.owner
      Time: anomalies.window_start_time
    row: 31
    col: 0
    width: 24
    height: 6
