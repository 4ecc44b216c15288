-- Rows of log_patterns, of each window only those of its last revision, each pattern once.
SELECT * FROM ${dataset}.log_patterns
WHERE TRUE
QUALIFY revision = MAX(revision) OVER (PARTITION BY tenant_id, service, window_start)
  AND ROW_NUMBER() OVER (
    PARTITION BY tenant_id, service, window_start, pattern_id ORDER BY revision DESC, written_at DESC
  ) = 1
