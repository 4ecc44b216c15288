-- How much noise reaches people, by day (UTC) and service: anomalies, alerts and incidents, and what people said of alerts.
WITH counted AS (
  SELECT tenant_id, service, CAST(window_start AS DATE) AS day,
         1 AS anomalies, CASE WHEN status = 'withdrawn' THEN 1 ELSE 0 END AS withdrawn,
         0 AS alerts, 0 AS in_incidents, 0 AS inhibited, 0 AS reminders, 0 AS false_positives, 0 AS useful,
         CAST(NULL AS STRING) AS incident_id
  FROM ${dataset}.current_anomalies
  WHERE service != 'aiops-canary'
  UNION ALL
  SELECT tenant_id, service, CAST(opened_at AS DATE), 0, 0,
         1, CASE WHEN incident_id != '' THEN 1 ELSE 0 END, CASE WHEN is_inhibited THEN 1 ELSE 0 END,
         reminders, CASE WHEN verdict = 'false_positive' THEN 1 ELSE 0 END,
         CASE WHEN verdict = 'useful' THEN 1 ELSE 0 END, NULLIF(incident_id, '')
  FROM ${dataset}.alerts
  WHERE NOT is_silence
)
SELECT tenant_id,
       service,
       day,
       CAST(SUM(anomalies) AS INT64) AS anomalies,
       CAST(SUM(withdrawn) AS INT64) AS anomalies_withdrawn,
       CAST(SUM(alerts) AS INT64) AS alerts,
       CAST(SUM(inhibited) AS INT64) AS alerts_inhibited,
       CAST(SUM(reminders) AS INT64) AS reminders,
       CAST(SUM(false_positives) AS INT64) AS false_positives,
       CAST(SUM(useful) AS INT64) AS useful,
       COUNT(DISTINCT incident_id) AS incidents,
       SUM(anomalies) / NULLIF(SUM(alerts), 0) AS anomalies_per_alert,
       SUM(in_incidents) / NULLIF(COUNT(DISTINCT incident_id), 0) AS alerts_per_incident
FROM counted
GROUP BY tenant_id, service, day
