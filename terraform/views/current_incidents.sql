-- Rows of incidents, of each incident_id only the last.
SELECT * FROM ${dataset}.incidents
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY incident_id, tenant_id ORDER BY revision DESC, written_at DESC) = 1
