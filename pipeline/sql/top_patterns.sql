-- The 100 most frequent log patterns of each service and day (UTC), with their share of its lines.
WITH days AS (
  SELECT *,
         CAST(window_start AS DATE) AS day,
         ROW_NUMBER() OVER (
           PARTITION BY tenant_id, service, pattern_id, CAST(window_start AS DATE) ORDER BY window_start DESC
         ) AS newest_first,
         CASE severity WHEN 'EMERGENCY' THEN 8 WHEN 'ALERT' THEN 7 WHEN 'CRITICAL' THEN 6 WHEN 'ERROR' THEN 5
                       WHEN 'WARNING' THEN 4 WHEN 'NOTICE' THEN 3 WHEN 'INFO' THEN 2 WHEN 'DEBUG' THEN 1
                       ELSE 0 END AS severity_rank
  FROM ${dataset}.current_log_patterns
),
totals AS (
  SELECT tenant_id, service, day, pattern_id,
         MAX(CASE WHEN newest_first = 1 THEN pattern END) AS pattern,
         MAX(CASE WHEN newest_first = 1 THEN exception END) AS exception,
         MAX(CASE WHEN newest_first = 1 THEN example END) AS example,
         CAST(SUM(count) AS INT64) AS lines,
         CAST(SUM(errors) AS INT64) AS errors,
         COUNT(*) AS windows,
         MAX(severity_rank) AS severity_rank,
         MIN(first_seen) AS first_seen,
         MAX(is_new) AS is_new
  FROM days
  GROUP BY tenant_id, service, day, pattern_id
),
ranked AS (
  SELECT *,
         lines / NULLIF(SUM(lines) OVER (PARTITION BY tenant_id, service, day), 0) AS share_of_lines,
         ROW_NUMBER() OVER (PARTITION BY tenant_id, service, day ORDER BY lines DESC, pattern_id) AS place
  FROM totals
)
SELECT tenant_id, service, day, place, pattern_id, pattern, exception, example, lines, share_of_lines, errors,
       windows, severity_rank, first_seen, is_new
FROM ranked
WHERE place <= 100
