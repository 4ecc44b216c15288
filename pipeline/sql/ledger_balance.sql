-- Both ends of the job, by tenant, source and receive minute: what came in is read from ledger, what became of it from where it ended up.
WITH windows AS (
  SELECT tenant_id, 'logs' AS source, ledger FROM ${dataset}.current_service_windows
  UNION ALL
  SELECT tenant_id, 'metrics', ledger FROM ${dataset}.current_metric_windows
),
-- `ledger` is compact JSON, {"1767261600":[600,0],…}: JSON functions that take a key from a row differ too much.
minutes_of_windows AS (
  SELECT tenant_id, source, minute
  FROM windows, UNNEST(REGEXP_EXTRACT_ALL(ledger, '"-?[0-9]+":[[][0-9]+,[0-9]+[]]')) AS minute
),
counted AS (
  SELECT tenant_id, source, receive_minute, received, late, filtered,
         0 AS analyzed, 0 AS duplicate, 0 AS dead_lettered
  FROM ${dataset}.current_ledger
  UNION ALL
  SELECT tenant_id, source,
         TIMESTAMP_MICROS(CAST(REGEXP_EXTRACT(minute, '-?[0-9]+') AS INT64) * 1000000), 0, 0, 0,
         CAST(REPLACE(REGEXP_EXTRACT(minute, '[[][0-9]+'), '[', '') AS INT64),
         CAST(REPLACE(REGEXP_EXTRACT(minute, '[0-9]+[]]'), ']', '') AS INT64), 0
  FROM minutes_of_windows
  UNION ALL
  SELECT tenant_id, CASE stage WHEN 'parse_metrics' THEN 'metrics' ELSE 'logs' END, receive_minute,
         0, 0, 0, 0, 0, count
  FROM ${dataset}.current_dead_letters
  WHERE stage NOT IN ('parse_commands', 'publish_alerts')
),
minutes AS (
  SELECT tenant_id, source, receive_minute,
         CAST(SUM(received) AS INT64) AS received, CAST(SUM(analyzed) AS INT64) AS analyzed,
         CAST(SUM(late) AS INT64) AS late, CAST(SUM(duplicate) AS INT64) AS duplicate,
         CAST(SUM(filtered) AS INT64) AS filtered, CAST(SUM(dead_lettered) AS INT64) AS dead_lettered
  FROM counted
  GROUP BY tenant_id, source, receive_minute
)
SELECT *, received - analyzed - late - duplicate - filtered - dead_lettered AS difference,
       received = analyzed + late + duplicate + filtered + dead_lettered AS balanced
FROM minutes
