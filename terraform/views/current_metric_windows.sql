-- Rows of metric_windows, of each tenant_id and service and series_id and window_start only the last.
SELECT * FROM ${dataset}.metric_windows
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY tenant_id, service, series_id, window_start ORDER BY revision DESC, written_at DESC) = 1
