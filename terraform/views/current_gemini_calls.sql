-- Rows of gemini_calls, of each call_id only the last.
SELECT * FROM ${dataset}.gemini_calls
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY call_id ORDER BY written_at DESC) = 1
