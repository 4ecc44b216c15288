- dashboard: quality
  title: "Quality of detection"
  description: "For operators: delay, noise, false positives by rule, MTTA and MTTR."
  layout: newspaper
  preferred_viewer: dashboards-next
  filters:
  - name: Tenant
    title: "Tenant"
    type: field_filter
    model: aiops_operations
    explore: alerts
    field: alerts.tenant_id
    allow_multiple_values: true
    required: false
  - name: Time
    title: "Time"
    type: date_filter
    default_value: "28 days"
    allow_multiple_values: true
    required: false
  elements:
  - name: mtta
    title: "MTTA (minutes)"
    type: single_value
    model: aiops_operations
    explore: alerts
    fields: [alerts.mtta_minutes]
    listen:
      Tenant: alerts.tenant_id
      Time: alerts.opened_time
    row: 0
    col: 0
    width: 6
    height: 3
  - name: mttr
    title: "MTTR (minutes)"
    type: single_value
    model: aiops_operations
    explore: alerts
    fields: [alerts.mttr_minutes]
    listen:
      Tenant: alerts.tenant_id
      Time: alerts.opened_time
    row: 0
    col: 6
    width: 6
    height: 3
  - name: false_positives
    title: "False positives of those judged"
    type: single_value
    model: aiops_operations
    explore: alerts
    fields: [alerts.false_positive_share]
    listen:
      Tenant: alerts.tenant_id
      Time: alerts.opened_time
    row: 0
    col: 12
    width: 6
    height: 3
  - name: delay
    title: "Minutes until alerted"
    type: single_value
    model: aiops_operations
    explore: detection_delay
    fields: [detection_delay.mean_minutes_until_alerted]
    note_text: "From the start of the window that shows it."
    listen:
      Tenant: detection_delay.tenant_id
      Time: detection_delay.window_start_time
    row: 0
    col: 18
    width: 6
    height: 3
  - name: response
    title: "MTTA and MTTR by day"
    type: looker_line
    model: aiops_operations
    explore: alerts
    fields: [alerts.opened_date, alerts.mtta_minutes, alerts.mttr_minutes]
    sorts: [alerts.opened_date]
    limit: 500
    listen:
      Tenant: alerts.tenant_id
      Time: alerts.opened_time
    row: 3
    col: 0
    width: 12
    height: 6
  - name: delay_by_day
    title: "Detection delay by day"
    type: looker_line
    model: aiops_operations
    explore: detection_delay
    fields: [detection_delay.window_start_date, detection_delay.mean_seconds_until_stored, detection_delay.mean_minutes_until_alerted]
    sorts: [detection_delay.window_start_date]
    limit: 500
    note_text: "Rows of a replay were stored long after their windows: their delay is no delay of the job."
    listen:
      Tenant: detection_delay.tenant_id
      Time: detection_delay.window_start_time
    row: 3
    col: 12
    width: 12
    height: 6
  - name: rules
    title: "Rules and detectors, the least believed first"
    type: looker_grid
    model: aiops_operations
    explore: rule_noise
    fields: [rule_noise.detector, rule_noise.total_anomalies, rule_noise.total_alerts, rule_noise.total_false_positives, rule_noise.total_useful, rule_noise.false_share_of_judged]
    sorts: [rule_noise.false_share_of_judged desc, rule_noise.total_alerts desc]
    limit: 100
    note_text: "Of all time: verdicts are rare."
    listen:
      Tenant: rule_noise.tenant_id
    row: 9
    col: 0
    width: 12
    height: 8
  - name: noise
    title: "Anomalies, alerts and reminders by day"
    type: looker_column
    model: aiops_operations
    explore: alert_noise
    fields: [alert_noise.day_date, alert_noise.total_anomalies, alert_noise.total_alerts, alert_noise.total_reminders]
    sorts: [alert_noise.day_date]
    limit: 500
    listen:
      Tenant: alert_noise.tenant_id
      Time: alert_noise.day_date
    row: 9
    col: 12
    width: 12
    height: 8
  - name: noisy_services
    title: "Noisy services"
    type: looker_grid
    model: aiops_operations
    explore: alert_noise
    fields: [alert_noise.service, alert_noise.total_alerts, alert_noise.anomalies_for_each_alert, alert_noise.total_reminders]
    sorts: [alert_noise.total_alerts desc]
    limit: 50
    listen:
      Tenant: alert_noise.tenant_id
      Time: alert_noise.day_date
    row: 17
    col: 0
    width: 12
    height: 6
  - name: learning
    title: "What cannot alarm yet"
    type: looker_grid
    model: aiops_operations
    explore: baselines
    fields: [baselines.service, baselines.signal_count, baselines.learning_count]
    sorts: [baselines.learning_count desc]
    limit: 50
    listen:
      Tenant: baselines.tenant_id
    row: 17
    col: 12
    width: 12
    height: 6
  - name: failed_rows
    title: "Rows that BigQuery refused"
    type: looker_grid
    model: aiops_operations
    explore: failed_rows
    fields: [failed_rows.table_name, failed_rows.reason, failed_rows.count, failed_rows.waiting_count]
    sorts: [failed_rows.waiting_count desc]
    limit: 50
    note_text: "Until they are replayed, all other tiles lack them."
    listen:
      Tenant: failed_rows.tenant_id
      Time: failed_rows.failed_time
    row: 23
    col: 0
    width: 24
    height: 5
