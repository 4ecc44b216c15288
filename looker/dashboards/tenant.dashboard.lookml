- dashboard: tenant
  title: "Our services at a glance"
  description: "For tenants: what is open, how well services do, how quickly alerts were dealt with."
  layout: newspaper
  preferred_viewer: dashboards-next
  refresh: 5 minutes
  filters:
  - name: Time
    title: "Time"
    type: date_filter
    default_value: "7 days"
    allow_multiple_values: true
    required: false
  elements:
  - name: open_alerts
    title: "Open alerts"
    type: single_value
    model: aiops
    explore: open_alerts
    fields: [open_alerts.count]
    row: 0
    col: 0
    width: 6
    height: 3
  - name: open_incidents
    title: "Open incidents"
    type: single_value
    model: aiops
    explore: incidents
    fields: [incidents.open_count]
    row: 0
    col: 6
    width: 6
    height: 3
  - name: mtta
    title: "MTTA (minutes)"
    type: single_value
    model: aiops
    explore: alerts
    fields: [alerts.mtta_minutes]
    listen:
      Time: alerts.opened_time
    row: 0
    col: 12
    width: 6
    height: 3
  - name: mttr
    title: "MTTR (minutes)"
    type: single_value
    model: aiops
    explore: alerts
    fields: [alerts.mttr_minutes]
    listen:
      Time: alerts.opened_time
    row: 0
    col: 18
    width: 6
    height: 3
  - name: alerts_now
    title: "What is open"
    type: looker_grid
    model: aiops
    explore: open_alerts
    fields: [open_alerts.severity, open_alerts.status, open_alerts.opened_time, open_alerts.service, open_alerts.summary, open_alerts.owner, open_alerts.alert_id]
    sorts: [open_alerts.opened_time desc]
    limit: 50
    hidden_fields: [open_alerts.alert_id]
    row: 3
    col: 0
    width: 14
    height: 6
  - name: health
    title: "Health of services"
    type: looker_grid
    model: aiops
    explore: service_health
    fields: [service_health.service, service_health.health_score, service_health.hour_error_rate, service_health.latency_p95_ms, service_health.open_alerts]
    sorts: [service_health.health_score]
    limit: 100
    row: 3
    col: 14
    width: 10
    height: 6
  - name: incidents
    title: "Incidents"
    type: looker_grid
    model: aiops
    explore: incidents
    fields: [incidents.opened_time, incidents.severity, incidents.status, incidents.title, incidents.affected_services, incidents.minutes, incidents.incident_id]
    sorts: [incidents.opened_time desc]
    limit: 50
    hidden_fields: [incidents.incident_id]
    listen:
      Time: incidents.opened_time
    row: 9
    col: 0
    width: 14
    height: 6
  - name: slo
    title: "SLO"
    type: looker_grid
    model: aiops
    explore: slo_burn
    fields: [slo_burn.service, slo_burn.kind, slo_burn.slo_percent, slo_burn.budget_left, slo_burn.burn_rate_3d]
    sorts: [slo_burn.budget_left]
    limit: 100
    row: 9
    col: 14
    width: 10
    height: 6
  - name: alerts_by_day
    title: "Alerts by day and severity"
    type: looker_column
    model: aiops
    explore: alerts
    fields: [alerts.opened_date, alerts.severity, alerts.count]
    pivots: [alerts.severity]
    sorts: [alerts.opened_date]
    limit: 500
    listen:
      Time: alerts.opened_time
    row: 15
    col: 0
    width: 12
    height: 6
  - name: received
    title: "Lines received by hour"
    type: looker_area
    model: aiops
    explore: ledger_balance
    fields: [ledger_balance.receive_minute_hour, ledger_balance.source, ledger_balance.total_received]
    pivots: [ledger_balance.source]
    sorts: [ledger_balance.receive_minute_hour]
    limit: 1000
    listen:
      Time: ledger_balance.receive_minute_time
    row: 15
    col: 12
    width: 12
    height: 6
