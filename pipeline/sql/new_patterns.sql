-- Log patterns in the window that showed them for the first time, the hour that followed, and the roll-out before it.
WITH appeared AS (
  SELECT * FROM ${dataset}.current_log_patterns WHERE is_new
),
hours AS (
  SELECT appeared.tenant_id, appeared.service, appeared.pattern_id, appeared.window_start,
         CAST(SUM(later.count) AS INT64) AS hour_lines, CAST(SUM(later.errors) AS INT64) AS hour_errors
  FROM appeared
  JOIN ${dataset}.current_log_patterns AS later
    ON later.tenant_id = appeared.tenant_id AND later.service = appeared.service
   AND later.pattern_id = appeared.pattern_id
   AND later.window_start >= appeared.window_start
   AND later.window_start < appeared.window_start + INTERVAL 1 HOUR
  GROUP BY appeared.tenant_id, appeared.service, appeared.pattern_id, appeared.window_start
),
roll_outs AS (
  SELECT appeared.tenant_id, appeared.service, appeared.pattern_id, appeared.window_start,
         deploy.deploy_id, deploy.what, deploy.deployed_at,
         ROW_NUMBER() OVER (
           PARTITION BY appeared.tenant_id, appeared.service, appeared.pattern_id, appeared.window_start
           ORDER BY deploy.deployed_at DESC, deploy.deploy_id
         ) AS newest_first
  FROM appeared
  JOIN ${dataset}.current_deploys AS deploy
    ON deploy.tenant_id = appeared.tenant_id AND deploy.service = appeared.service
   AND deploy.deployed_at <= appeared.first_seen
   AND deploy.deployed_at > appeared.first_seen - INTERVAL 1 HOUR
)
SELECT appeared.tenant_id,
       appeared.service,
       appeared.pattern_id,
       appeared.pattern,
       appeared.severity,
       appeared.exception,
       appeared.example,
       appeared.first_seen,
       appeared.window_start,
       appeared.count AS lines,
       appeared.errors,
       hours.hour_lines,
       hours.hour_errors,
       roll_outs.deploy_id,
       roll_outs.what AS deployed,
       roll_outs.deployed_at
FROM appeared
JOIN hours
  ON hours.tenant_id = appeared.tenant_id AND hours.service = appeared.service
 AND hours.pattern_id = appeared.pattern_id AND hours.window_start = appeared.window_start
LEFT JOIN roll_outs
  ON roll_outs.tenant_id = appeared.tenant_id AND roll_outs.service = appeared.service
 AND roll_outs.pattern_id = appeared.pattern_id AND roll_outs.window_start = appeared.window_start
 AND roll_outs.newest_first = 1
