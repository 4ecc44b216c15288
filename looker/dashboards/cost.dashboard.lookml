- dashboard: cost
  title: "Cost"
  description: "For operators: what Gemini costs, and what of it could be believed."
  layout: newspaper
  preferred_viewer: dashboards-next
  filters:
  - name: Tenant
    title: "Tenant"
    type: field_filter
    model: aiops_operations
    explore: gemini_cost
    field: gemini_cost.tenant_id
    allow_multiple_values: true
    required: false
  - name: Time
    title: "Time"
    type: date_filter
    default_value: "28 days"
    allow_multiple_values: true
    required: false
  elements:
  - name: cost
    title: "Cost of Gemini"
    type: single_value
    model: aiops_operations
    explore: gemini_cost
    fields: [gemini_cost.total_cost_usd]
    listen:
      Tenant: gemini_cost.tenant_id
      Time: gemini_cost.day_date
    row: 0
    col: 0
    width: 6
    height: 3
  - name: finding
    title: "Cost of a finding that held"
    type: single_value
    model: aiops_operations
    explore: gemini_cost
    fields: [gemini_cost.cost_of_a_finding]
    listen:
      Tenant: gemini_cost.tenant_id
      Time: gemini_cost.day_date
    row: 0
    col: 6
    width: 6
    height: 3
  - name: verified
    title: "Confirmed numbers"
    type: single_value
    model: aiops_operations
    explore: gemini_cost
    fields: [gemini_cost.verified_share]
    listen:
      Tenant: gemini_cost.tenant_id
      Time: gemini_cost.day_date
    row: 0
    col: 12
    width: 6
    height: 3
  - name: without_price
    title: "Answers without a price"
    type: single_value
    model: aiops_operations
    explore: gemini_cost
    fields: [gemini_cost.total_without_price]
    note_text: "More than 0: the price file lacks a model, and the cost is higher than it says."
    listen:
      Tenant: gemini_cost.tenant_id
      Time: gemini_cost.day_date
    row: 0
    col: 18
    width: 6
    height: 3
  - name: cost_by_day
    title: "Cost by day and tenant"
    type: looker_column
    model: aiops_operations
    explore: gemini_cost
    fields: [gemini_cost.day_date, gemini_cost.tenant_id, gemini_cost.total_cost_usd]
    pivots: [gemini_cost.tenant_id]
    sorts: [gemini_cost.day_date]
    limit: 500
    listen:
      Tenant: gemini_cost.tenant_id
      Time: gemini_cost.day_date
    row: 3
    col: 0
    width: 12
    height: 7
  - name: tokens
    title: "Tokens by day"
    type: looker_column
    model: aiops_operations
    explore: gemini_cost
    fields: [gemini_cost.day_date, gemini_cost.total_tokens_in, gemini_cost.total_tokens_out]
    sorts: [gemini_cost.day_date]
    limit: 500
    listen:
      Tenant: gemini_cost.tenant_id
      Time: gemini_cost.day_date
    row: 3
    col: 12
    width: 12
    height: 7
  - name: models
    title: "Models"
    type: looker_grid
    model: aiops_operations
    explore: gemini_cost
    fields: [gemini_cost.model, gemini_cost.total_requests, gemini_cost.total_failed, gemini_cost.total_cost_usd, gemini_cost.verified_share, gemini_cost.total_verified_findings, gemini_cost.cost_of_a_finding]
    sorts: [gemini_cost.total_cost_usd desc]
    limit: 50
    listen:
      Tenant: gemini_cost.tenant_id
      Time: gemini_cost.day_date
    row: 10
    col: 0
    width: 12
    height: 6
  - name: windows
    title: "What became of windows"
    type: looker_column
    model: aiops_operations
    explore: gemini_windows
    fields: [gemini_windows.day_date, gemini_windows.total_answered, gemini_windows.total_cached, gemini_windows.total_skipped, gemini_windows.total_over_budget]
    sorts: [gemini_windows.day_date]
    limit: 500
    listen:
      Tenant: gemini_windows.tenant_id
      Time: gemini_windows.day_date
    row: 10
    col: 12
    width: 12
    height: 6
  - name: hypotheses
    title: "What could not be believed, and why"
    type: looker_grid
    model: aiops_operations
    explore: hypotheses
    fields: [hypotheses.reason, hypotheses.model, hypotheses.count]
    sorts: [hypotheses.count desc]
    limit: 50
    listen:
      Tenant: hypotheses.tenant_id
      Time: hypotheses.window_start_time
    row: 16
    col: 0
    width: 12
    height: 6
  - name: dead_letters
    title: "Dead letters: what was paid for and could not be used"
    type: looker_grid
    model: aiops_operations
    explore: dead_letters
    fields: [dead_letters.stage, dead_letters.reason, dead_letters.total]
    sorts: [dead_letters.total desc]
    limit: 50
    listen:
      Tenant: dead_letters.tenant_id
      Time: dead_letters.receive_minute_time
    row: 16
    col: 12
    width: 12
    height: 6
