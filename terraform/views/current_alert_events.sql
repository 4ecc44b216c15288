-- Rows of alert_events, of each alert_id and sequence only the last.
SELECT * FROM ${dataset}.alert_events
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY alert_id, sequence, tenant_id ORDER BY written_at DESC) = 1
