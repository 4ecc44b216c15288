-- What asking Gemini cost, and what became of the windows, by tenant and day.
SELECT tenant_id, CAST(asked_at AS DATE) AS day,
       CAST(SUM(CASE WHEN subject <> 'window' THEN 1 ELSE 0 END) AS INT64) AS requests,
       CAST(SUM(CASE WHEN subject <> 'window' AND outcome = 'failed' THEN 1 ELSE 0 END) AS INT64)
         AS failed_requests,
       CAST(SUM(tokens_in) AS INT64) AS tokens_in,
       CAST(SUM(tokens_out) AS INT64) AS tokens_out,
       SUM(cost_usd) AS cost_usd,
       CAST(SUM(CASE WHEN subject = 'window' THEN 1 ELSE 0 END) AS INT64) AS windows,
       CAST(SUM(CASE WHEN subject = 'window' AND outcome = 'answered' THEN 1 ELSE 0 END) AS INT64)
         AS windows_answered,
       CAST(SUM(CASE WHEN subject = 'window' AND outcome = 'cached' THEN 1 ELSE 0 END) AS INT64)
         AS windows_cached,
       CAST(SUM(CASE WHEN subject = 'window' AND outcome = 'failed' THEN 1 ELSE 0 END) AS INT64)
         AS windows_failed,
       CAST(SUM(CASE WHEN subject = 'window' AND reason IN ('over_budget', 'not_novel') THEN 1 ELSE 0 END)
         AS INT64) AS windows_over_budget
FROM ${dataset}.current_gemini_calls
GROUP BY tenant_id, CAST(asked_at AS DATE)
