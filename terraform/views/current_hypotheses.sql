-- Rows of hypotheses, of each hypothesis_id only the last.
SELECT * FROM ${dataset}.hypotheses
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY hypothesis_id ORDER BY written_at DESC) = 1
