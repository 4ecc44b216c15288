-- Rows of dependencies, of each tenant_id and caller and callee only the last.
SELECT * FROM ${dataset}.dependencies
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY tenant_id, caller, callee ORDER BY revision DESC, written_at DESC) = 1
