-- Rows of anomalies, of each anomaly_id only the last.
SELECT * FROM ${dataset}.anomalies
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY anomaly_id, tenant_id, window_start ORDER BY revision DESC, written_at DESC) = 1
