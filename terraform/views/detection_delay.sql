-- For each anomaly, the seconds from the end of its window until it was stored, and from the window's start until an alert spoke of it.
WITH stored AS (
  SELECT anomaly_id, MIN(written_at) AS first_written_at
  FROM ${dataset}.anomalies
  GROUP BY anomaly_id
),
alerted AS (
  SELECT anomaly_id, event.alert_id, event.occurred_at
  FROM ${dataset}.current_alert_events AS event, UNNEST(event.anomaly_ids) AS anomaly_id
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (PARTITION BY anomaly_id ORDER BY event.occurred_at, event.alert_id) = 1
)
SELECT anomaly.tenant_id,
       anomaly.service,
       anomaly.anomaly_id,
       anomaly.anomaly_type,
       anomaly.anomaly_severity,
       anomaly.detector,
       anomaly.status,
       anomaly.window_start,
       anomaly.window_end,
       stored.first_written_at,
       (UNIX_MICROS(stored.first_written_at) - UNIX_MICROS(anomaly.window_end)) / 1000000
         AS seconds_until_stored,
       alerted.alert_id,
       alerted.occurred_at AS alerted_at,
       (UNIX_MICROS(alerted.occurred_at) - UNIX_MICROS(anomaly.window_start)) / 1000000
         AS seconds_until_alerted
FROM ${dataset}.current_anomalies AS anomaly
JOIN stored ON stored.anomaly_id = anomaly.anomaly_id
LEFT JOIN alerted ON alerted.anomaly_id = anomaly.anomaly_id
