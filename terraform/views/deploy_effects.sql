-- Each roll-out with the half hours before and after it, and what was found in the two hours after it.
WITH halves AS (
  SELECT deploy.deploy_id,
         CAST(SUM(CASE WHEN half.window_end <= deploy.deployed_at THEN half.lines ELSE 0 END) AS INT64)
           AS lines_before,
         CAST(SUM(CASE WHEN half.window_end <= deploy.deployed_at THEN half.errors ELSE 0 END) AS INT64)
           AS errors_before,
         AVG(CASE WHEN half.window_end <= deploy.deployed_at THEN half.latency_p95_ms END)
           AS latency_p95_ms_before,
         AVG(CASE WHEN half.window_end <= deploy.deployed_at THEN half.health_score END) AS health_score_before,
         CAST(SUM(CASE WHEN half.window_start >= deploy.deployed_at THEN half.lines ELSE 0 END) AS INT64)
           AS lines_after,
         CAST(SUM(CASE WHEN half.window_start >= deploy.deployed_at THEN half.errors ELSE 0 END) AS INT64)
           AS errors_after,
         AVG(CASE WHEN half.window_start >= deploy.deployed_at THEN half.latency_p95_ms END)
           AS latency_p95_ms_after,
         AVG(CASE WHEN half.window_start >= deploy.deployed_at THEN half.health_score END) AS health_score_after,
         CAST(SUM(CASE WHEN half.window_start >= deploy.deployed_at THEN half.new_patterns ELSE 0 END) AS INT64)
           AS new_patterns_after
  FROM ${dataset}.current_deploys AS deploy
  JOIN ${dataset}.current_service_windows AS half
    ON half.tenant_id = deploy.tenant_id AND half.service = deploy.service
   AND half.window_start >= deploy.deployed_at - INTERVAL 30 MINUTE
   AND half.window_start < deploy.deployed_at + INTERVAL 30 MINUTE
  GROUP BY deploy.deploy_id
),
found AS (
  SELECT deploy.deploy_id,
         COUNT(*) AS anomalies_after,
         COUNT(CASE WHEN anomaly.anomaly_type = 'deploy_regression' THEN 1 END) AS regressions
  FROM ${dataset}.current_deploys AS deploy
  JOIN ${dataset}.current_anomalies AS anomaly
    ON anomaly.tenant_id = deploy.tenant_id AND anomaly.service = deploy.service
   AND anomaly.window_end > deploy.deployed_at
   AND anomaly.window_start < deploy.deployed_at + INTERVAL 2 HOUR
  WHERE anomaly.status != 'withdrawn'
  GROUP BY deploy.deploy_id
),
blamed AS (
  SELECT roll_out.deploy_id, COUNT(DISTINCT incident.incident_id) AS incidents
  FROM ${dataset}.current_incidents AS incident, UNNEST(incident.deploys) AS roll_out
  GROUP BY roll_out.deploy_id
)
SELECT deploy.tenant_id,
       deploy.service,
       deploy.deploy_id,
       deploy.deployed_at,
       deploy.what,
       deploy.method_name,
       deploy.principal,
       COALESCE(halves.lines_before, 0) AS lines_before,
       COALESCE(halves.lines_after, 0) AS lines_after,
       halves.errors_before / NULLIF(halves.lines_before, 0) AS error_rate_before,
       halves.errors_after / NULLIF(halves.lines_after, 0) AS error_rate_after,
       halves.latency_p95_ms_before,
       halves.latency_p95_ms_after,
       halves.health_score_before,
       halves.health_score_after,
       COALESCE(halves.new_patterns_after, 0) AS new_patterns_after,
       COALESCE(found.anomalies_after, 0) AS anomalies_after,
       COALESCE(found.regressions, 0) AS regressions,
       COALESCE(blamed.incidents, 0) AS incidents
FROM ${dataset}.current_deploys AS deploy
LEFT JOIN halves ON halves.deploy_id = deploy.deploy_id
LEFT JOIN found ON found.deploy_id = deploy.deploy_id
LEFT JOIN blamed ON blamed.deploy_id = deploy.deploy_id
