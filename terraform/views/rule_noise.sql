-- How far each rule and detector can be believed: its anomalies, the alerts it had a part in, and what people said of them.
WITH counted AS (
  SELECT tenant_id, detector,
         1 AS anomalies,
         CASE WHEN status = 'withdrawn' THEN 1 ELSE 0 END AS withdrawn,
         CASE WHEN below_confidence_floor THEN 1 ELSE 0 END AS below_floor,
         0 AS alerts, 0 AS false_positives, 0 AS useful
  FROM ${dataset}.current_anomalies
  WHERE service != 'aiops-canary'
  UNION ALL
  SELECT alert.tenant_id, detector, 0, 0, 0, 1,
         CASE WHEN alert.verdict = 'false_positive' THEN 1 ELSE 0 END,
         CASE WHEN alert.verdict = 'useful' THEN 1 ELSE 0 END
  FROM ${dataset}.alerts AS alert, UNNEST(alert.detectors) AS detector
  WHERE NOT alert.is_silence
)
SELECT tenant_id,
       detector,
       CAST(SUM(anomalies) AS INT64) AS anomalies,
       CAST(SUM(withdrawn) AS INT64) AS anomalies_withdrawn,
       CAST(SUM(below_floor) AS INT64) AS anomalies_below_floor,
       CAST(SUM(alerts) AS INT64) AS alerts,
       CAST(SUM(false_positives) AS INT64) AS false_positives,
       CAST(SUM(useful) AS INT64) AS useful,
       SUM(false_positives) / NULLIF(SUM(false_positives) + SUM(useful), 0) AS false_positive_share
FROM counted
GROUP BY tenant_id, detector
