-- Rows of services, of each tenant_id and service only the last.
SELECT * FROM ${dataset}.services
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY tenant_id, service ORDER BY revision DESC, written_at DESC) = 1
