-- For each service with an SLO, its error budget and how fast it burns, up to the newest window of its tenant.
-- Burn rate 1 uses the budget up in exactly the days of the objective. Two windows must agree before anybody is
-- called, and 2 % of the budget in an hour or 5 % in six are worth a page, 10 % in three days a ticket:
-- The Site Reliability Workbook (2018), chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".
WITH objectives AS (
  SELECT tenant_id, service, owner, tier, 'availability' AS kind, slo_percent, CAST(NULL AS INT64) AS slo_latency_ms,
         slo_days
  FROM ${dataset}.current_services
  WHERE slo_percent IS NOT NULL
  UNION ALL
  SELECT tenant_id, service, owner, tier, 'latency', slo_percent, slo_latency_ms, slo_days
  FROM ${dataset}.current_services
  WHERE slo_latency_ms IS NOT NULL
),
windows AS (
  SELECT tenant_id, service, window_start, lines, errors, requests, slow_requests,
         COALESCE(failed_requests, LEAST(errors, requests)) AS failed_requests,
         CASE WHEN slow_requests IS NULL THEN 0 ELSE timed_requests END AS timed_requests,
         MAX(window_end) OVER (PARTITION BY tenant_id) AS as_of
  FROM ${dataset}.current_service_windows
  WHERE service != 'aiops-canary'
    AND window_start > CURRENT_TIMESTAMP - INTERVAL 92 DAY  -- on BigQuery
),
periods AS (
  SELECT objective.*,
         one.window_start, one.as_of, one.lines, one.errors, one.requests, one.failed_requests, one.timed_requests,
         one.slow_requests,
         SUM(one.requests) OVER (PARTITION BY objective.tenant_id, objective.service, objective.kind) > 0
           AS has_requests
  FROM objectives AS objective
  JOIN windows AS one
    ON one.tenant_id = objective.tenant_id AND one.service = objective.service
   AND one.window_start >= one.as_of - INTERVAL (objective.slo_days) DAY
),
counted AS (
  SELECT *,
         CASE WHEN kind = 'latency' THEN timed_requests WHEN has_requests THEN requests ELSE lines END AS total,
         CASE WHEN kind = 'latency' THEN slow_requests WHEN has_requests THEN failed_requests ELSE errors END AS bad
  FROM periods
),
shares AS (
  SELECT tenant_id, service, owner, tier, kind, MAX(slo_percent) AS slo_percent, slo_latency_ms, slo_days, as_of,
         CASE WHEN kind = 'latency' OR has_requests THEN 'requests' ELSE 'lines' END AS measured_in,
         CAST(SUM(total) AS INT64) AS total,
         CAST(COALESCE(SUM(bad), 0) AS INT64) AS bad,
         SUM(bad) / NULLIF(SUM(total), 0) AS bad_share,
         1 - MAX(slo_percent) / 100 AS error_budget,
         SUM(CASE WHEN window_start >= as_of - INTERVAL 5 MINUTE THEN bad ELSE 0 END)
           / NULLIF(SUM(CASE WHEN window_start >= as_of - INTERVAL 5 MINUTE THEN total ELSE 0 END), 0) AS share_5m,
         SUM(CASE WHEN window_start >= as_of - INTERVAL 30 MINUTE THEN bad ELSE 0 END)
           / NULLIF(SUM(CASE WHEN window_start >= as_of - INTERVAL 30 MINUTE THEN total ELSE 0 END), 0) AS share_30m,
         SUM(CASE WHEN window_start >= as_of - INTERVAL 1 HOUR THEN bad ELSE 0 END)
           / NULLIF(SUM(CASE WHEN window_start >= as_of - INTERVAL 1 HOUR THEN total ELSE 0 END), 0) AS share_1h,
         SUM(CASE WHEN window_start >= as_of - INTERVAL 6 HOUR THEN bad ELSE 0 END)
           / NULLIF(SUM(CASE WHEN window_start >= as_of - INTERVAL 6 HOUR THEN total ELSE 0 END), 0) AS share_6h,
         SUM(CASE WHEN window_start >= as_of - INTERVAL 3 DAY THEN bad ELSE 0 END)
           / NULLIF(SUM(CASE WHEN window_start >= as_of - INTERVAL 3 DAY THEN total ELSE 0 END), 0) AS share_3d
  FROM counted
  GROUP BY tenant_id, service, owner, tier, kind, slo_latency_ms, slo_days, as_of, has_requests
),
rates AS (
  SELECT *,
         1 - bad_share / error_budget AS budget_left,
         share_5m / error_budget AS burn_rate_5m,
         share_30m / error_budget AS burn_rate_30m,
         share_1h / error_budget AS burn_rate_1h,
         share_6h / error_budget AS burn_rate_6h,
         share_3d / error_budget AS burn_rate_3d
  FROM shares
)
SELECT tenant_id, service, kind, owner, tier, slo_percent, slo_latency_ms, slo_days, measured_in, as_of, total, bad,
       bad_share, error_budget, budget_left, burn_rate_5m, burn_rate_30m, burn_rate_1h, burn_rate_6h, burn_rate_3d,
       CASE WHEN burn_rate_1h >= 0.02 * 24 * slo_days AND burn_rate_5m >= 0.02 * 24 * slo_days THEN 'page'
            WHEN burn_rate_6h >= 0.05 * 4 * slo_days AND burn_rate_30m >= 0.05 * 4 * slo_days THEN 'page'
            WHEN burn_rate_3d >= 0.10 * slo_days / 3 AND burn_rate_6h >= 0.10 * slo_days / 3 THEN 'ticket'
            ELSE '' END AS urgency
FROM rates
