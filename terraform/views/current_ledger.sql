-- Rows of ledger, of each tenant_id and source and receive_minute only the last.
SELECT * FROM ${dataset}.ledger
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY tenant_id, source, receive_minute ORDER BY revision DESC, written_at DESC) = 1
