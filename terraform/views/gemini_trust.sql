-- What share of Gemini's findings and claims the recount confirmed, by tenant, day, model and prompt.
SELECT tenant_id, CAST(asked_at AS DATE) AS day, model, prompt_version,
       CAST(SUM(findings) AS INT64) AS findings,
       CAST(SUM(verified_findings) AS INT64) AS verified_findings,
       CAST(SUM(claims) AS INT64) AS claims,
       CAST(SUM(verified_claims) AS INT64) AS verified_claims,
       SUM(verified_claims) / NULLIF(SUM(claims), 0) AS verified_share
FROM ${dataset}.current_gemini_calls
WHERE subject <> 'window' AND outcome = 'answered'
GROUP BY tenant_id, CAST(asked_at AS DATE), model, prompt_version
