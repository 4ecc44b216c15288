-- Requests to Gemini by day (UTC) and model: tokens, cost, and how many of its numbers and findings the recount confirmed.
SELECT tenant_id,
       CAST(asked_at AS DATE) AS day,
       model,
       COUNT(*) AS requests,
       COUNT(CASE WHEN outcome = 'answered' THEN 1 END) AS answered,
       COUNT(CASE WHEN outcome = 'failed' THEN 1 END) AS failed,
       CAST(SUM(windows) AS INT64) AS windows,
       CAST(SUM(tokens_in) AS INT64) AS tokens_in,
       CAST(SUM(tokens_out) AS INT64) AS tokens_out,
       SUM(cost_usd) AS cost_usd,
       COUNT(CASE WHEN outcome = 'answered' AND cost_usd IS NULL THEN 1 END) AS answered_without_price,
       CAST(SUM(claims) AS INT64) AS claims,
       CAST(SUM(verified_claims) AS INT64) AS verified_claims,
       CAST(SUM(findings) AS INT64) AS findings,
       CAST(SUM(verified_findings) AS INT64) AS verified_findings,
       SUM(verified_claims) / NULLIF(SUM(claims), 0) AS verified_claim_share,
       SUM(cost_usd) / NULLIF(SUM(verified_findings), 0) AS cost_usd_per_verified_finding,
       AVG(CASE WHEN outcome = 'answered' THEN latency_ms END) AS mean_latency_ms
FROM ${dataset}.current_gemini_calls
WHERE subject != 'window' AND model != ''
GROUP BY tenant_id, day, model
