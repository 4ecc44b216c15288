-- Mean time to acknowledge (MTTA) and to resolve (MTTR) alerts, by the day they were opened (UTC), service and severity.
SELECT tenant_id,
       service,
       severity,
       CAST(opened_at AS DATE) AS opened_on,
       COUNT(*) AS alerts,
       COUNT(acknowledged_at) AS acknowledged,
       COUNT(resolved_at) AS resolved,
       AVG(seconds_to_acknowledge) AS mean_seconds_to_acknowledge,
       MAX(seconds_to_acknowledge) AS max_seconds_to_acknowledge,
       AVG(seconds_to_resolve) AS mean_seconds_to_resolve,
       MAX(seconds_to_resolve) AS max_seconds_to_resolve
FROM ${dataset}.alerts
WHERE NOT is_silence
GROUP BY tenant_id, service, severity, opened_on
