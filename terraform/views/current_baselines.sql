-- Rows of baselines, of each tenant_id and service and signal only the last.
SELECT * FROM ${dataset}.baselines
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY tenant_id, service, signal ORDER BY revision DESC, written_at DESC) = 1
