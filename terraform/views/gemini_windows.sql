-- What became of each service's windows at Gemini, by day (UTC): asked about, answered from the cache, left out and why.
SELECT tenant_id,
       service,
       CAST(window_start AS DATE) AS day,
       COUNT(*) AS windows,
       COUNT(CASE WHEN outcome = 'answered' THEN 1 END) AS answered,
       COUNT(CASE WHEN outcome = 'cached' THEN 1 END) AS cached,
       COUNT(CASE WHEN outcome = 'failed' THEN 1 END) AS failed,
       COUNT(CASE WHEN outcome = 'skipped' THEN 1 END) AS skipped,
       COUNT(CASE WHEN outcome = 'skipped' AND reason = 'over_budget' THEN 1 END) AS skipped_over_budget
FROM ${dataset}.current_gemini_calls
WHERE subject = 'window'
GROUP BY tenant_id, service, day
