-- Rows of failed_rows, of each failed_row_id only the last.
SELECT * FROM ${dataset}.failed_rows
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY failed_row_id, tenant_id ORDER BY revision DESC, written_at DESC) = 1
