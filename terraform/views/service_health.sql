-- Each service in its newest window, its last hour up to then, and its open alerts.
WITH windows AS (
  SELECT *,
         ROW_NUMBER() OVER (PARTITION BY tenant_id, service ORDER BY window_start DESC) AS newest_first,
         MAX(window_start) OVER (PARTITION BY tenant_id, service) AS newest_start,
         MAX(window_end) OVER (PARTITION BY tenant_id) AS tenant_newest_end
  FROM ${dataset}.current_service_windows
  WHERE service != 'aiops-canary'
    AND window_start > CURRENT_TIMESTAMP - INTERVAL 3 DAY  -- on BigQuery
),
hours AS (
  SELECT tenant_id, service,
         CAST(SUM(lines) AS INT64) AS hour_lines,
         CAST(SUM(errors) AS INT64) AS hour_errors,
         SUM(errors) / NULLIF(SUM(lines), 0) AS hour_error_rate,
         MAX(latency_p95_ms) AS hour_max_latency_p95_ms,
         MIN(health_score) AS hour_min_health_score,
         CAST(SUM(new_patterns) AS INT64) AS hour_new_patterns
  FROM windows
  WHERE window_start > newest_start - INTERVAL 1 HOUR
  GROUP BY tenant_id, service
),
open_now AS (
  SELECT tenant_id, service, COUNT(*) AS open_alerts, MAX(severity_rank) AS worst_rank,
         MIN(opened_at) AS oldest_open_alert_at
  FROM ${dataset}.open_alerts
  GROUP BY tenant_id, service
),
roll_outs AS (
  SELECT tenant_id, service, MAX(deployed_at) AS last_deployed_at
  FROM ${dataset}.current_deploys
  GROUP BY tenant_id, service
)
SELECT windows.tenant_id,
       windows.service,
       windows.window_start,
       windows.window_end,
       (UNIX_MICROS(windows.tenant_newest_end) - UNIX_MICROS(windows.window_end)) / 1000000
         AS seconds_behind_tenant,
       windows.lines,
       windows.errors,
       windows.error_rate,
       windows.requests,
       windows.latency_p50_ms,
       windows.latency_p95_ms,
       windows.latency_p99_ms,
       windows.distinct_instances,
       windows.health_score,
       hours.hour_lines,
       hours.hour_errors,
       hours.hour_error_rate,
       hours.hour_max_latency_p95_ms,
       hours.hour_min_health_score,
       hours.hour_new_patterns,
       COALESCE(open_now.open_alerts, 0) AS open_alerts,
       CASE open_now.worst_rank WHEN 4 THEN 'critical' WHEN 3 THEN 'high' WHEN 2 THEN 'medium'
                                WHEN 1 THEN 'low' ELSE '' END AS worst_open_severity,
       open_now.oldest_open_alert_at,
       roll_outs.last_deployed_at
FROM windows
JOIN hours ON hours.tenant_id = windows.tenant_id AND hours.service = windows.service
LEFT JOIN open_now ON open_now.tenant_id = windows.tenant_id AND open_now.service = windows.service
LEFT JOIN roll_outs ON roll_outs.tenant_id = windows.tenant_id AND roll_outs.service = windows.service
WHERE windows.newest_first = 1
