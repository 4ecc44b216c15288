-- Rows of deploys, of each deploy_id only the last.
SELECT * FROM ${dataset}.deploys
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY deploy_id, tenant_id, deployed_at ORDER BY revision DESC, written_at DESC) = 1
