-- Rows of dead_letters, of each dead_letter_id only the last.
SELECT * FROM ${dataset}.dead_letters
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY dead_letter_id, tenant_id, receive_minute ORDER BY revision DESC, written_at DESC) = 1
