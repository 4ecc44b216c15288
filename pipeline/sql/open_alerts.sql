-- Alerts that are open or acknowledged now, the worst first by severity_rank (4 is critical).
SELECT *,
       CASE severity WHEN 'critical' THEN 4 WHEN 'high' THEN 3 WHEN 'medium' THEN 2 ELSE 1 END
         AS severity_rank
FROM ${dataset}.alerts
WHERE status IN ('open', 'acknowledged') AND NOT is_silence
