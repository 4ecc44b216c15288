-- Rows of service_windows, of each tenant_id and service and window_start only the last.
SELECT * FROM ${dataset}.service_windows
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY tenant_id, service, window_start ORDER BY revision DESC, written_at DESC) = 1
