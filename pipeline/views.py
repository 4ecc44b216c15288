"""Views over the append-only tables: the last row of each key, and the balance of the ledger.

DuckDB's SQL. `ledger_balance` counts the two ends independently: what came in is read from
`ledger`, what became of it from the tables where it ended up. Lines of logs and points of metrics
balance each by itself. Commands of people and events that found no topic are no lines.
"""

from __future__ import annotations

from typing import Final

from pipeline.tables import TABLE_KEYS, TABLES

_LAST_FIRST: Final = "written_at DESC, rowid DESC"


def current_view(table: str) -> str:
    """CREATE VIEW `current_<table>`: of the rows with the same key, the last revision."""
    keys = ", ".join(TABLE_KEYS[table])
    last_first = (
        f"revision DESC, {_LAST_FIRST}" if "revision" in TABLES[table].__struct_fields__ else _LAST_FIRST
    )
    return (
        f"CREATE OR REPLACE VIEW current_{table} AS SELECT * FROM {table} "  # noqa: S608
        f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {last_first}) = 1"
    )


# A late pane may coarsen patterns to fit: those of the pane before it no longer count, though no
# row of the new pane has their id. So the window's last revision is taken first.
CURRENT_LOG_PATTERNS: Final = """
CREATE OR REPLACE VIEW current_log_patterns AS
WITH last_panes AS (
  SELECT *, rowid AS written FROM log_patterns
  QUALIFY rank() OVER (PARTITION BY tenant_id, service, window_start ORDER BY revision DESC) = 1
)
SELECT * EXCLUDE (written) FROM last_panes
QUALIFY row_number() OVER (
  PARTITION BY tenant_id, service, window_start, pattern_id ORDER BY written_at DESC, written DESC
) = 1
"""

LEDGER_BALANCE: Final = """
CREATE OR REPLACE VIEW ledger_balance AS
WITH windows AS (
  SELECT tenant_id, 'logs' AS source, CASE WHEN json_valid(ledger) THEN ledger ELSE '{}' END AS ledger
  FROM current_service_windows
  UNION ALL
  SELECT tenant_id, 'metrics', CASE WHEN json_valid(ledger) THEN ledger ELSE '{}' END
  FROM current_metric_windows
),
counted AS (
  SELECT tenant_id, source, receive_minute, received, late, filtered,
         0 AS analyzed, 0 AS duplicate, 0 AS dead_lettered
  FROM current_ledger
  UNION ALL
  SELECT windows.tenant_id, windows.source, make_timestamptz(CAST(minute.key AS BIGINT) * 1000000), 0, 0, 0,
         CAST(minute.value ->> 0 AS BIGINT), CAST(minute.value ->> 1 AS BIGINT), 0
  FROM windows, json_each(windows.ledger) AS minute
  UNION ALL
  SELECT tenant_id, CASE stage WHEN 'parse_metrics' THEN 'metrics' ELSE 'logs' END, receive_minute,
         0, 0, 0, 0, 0, "count"
  FROM current_dead_letters
  WHERE stage NOT IN ('parse_commands', 'publish_alerts')
),
minutes AS (
  SELECT tenant_id, source, receive_minute,
         CAST(sum(received) AS BIGINT) AS received, CAST(sum(analyzed) AS BIGINT) AS analyzed,
         CAST(sum(late) AS BIGINT) AS late, CAST(sum(duplicate) AS BIGINT) AS duplicate,
         CAST(sum(filtered) AS BIGINT) AS filtered, CAST(sum(dead_lettered) AS BIGINT) AS dead_lettered
  FROM counted
  GROUP BY tenant_id, source, receive_minute
)
SELECT *, received - analyzed - late - duplicate - filtered - dead_lettered AS difference,
       received = analyzed + late + duplicate + filtered + dead_lettered AS balanced
FROM minutes
"""

GEMINI_TRUST: Final = """
CREATE OR REPLACE VIEW gemini_trust AS
SELECT tenant_id, date_trunc('day', asked_at) AS day, model, prompt_version,
       CAST(sum(findings) AS BIGINT) AS findings, CAST(sum(verified_findings) AS BIGINT) AS verified_findings,
       CAST(sum(claims) AS BIGINT) AS claims, CAST(sum(verified_claims) AS BIGINT) AS verified_claims,
       sum(verified_claims) / nullif(sum(claims), 0) AS verified_share
FROM current_gemini_calls
WHERE subject <> 'window' AND outcome = 'answered'
GROUP BY ALL
"""

GEMINI_SPENDING: Final = """
CREATE OR REPLACE VIEW gemini_spending AS
SELECT tenant_id, date_trunc('day', asked_at) AS day,
       count(*) FILTER (WHERE subject <> 'window') AS requests,
       count(*) FILTER (WHERE subject <> 'window' AND outcome = 'failed') AS failed_requests,
       CAST(sum(tokens_in) AS BIGINT) AS tokens_in, CAST(sum(tokens_out) AS BIGINT) AS tokens_out,
       sum(cost_usd) AS cost_usd,
       count(*) FILTER (WHERE subject = 'window') AS windows,
       count(*) FILTER (WHERE subject = 'window' AND outcome = 'answered') AS windows_answered,
       count(*) FILTER (WHERE subject = 'window' AND outcome = 'cached') AS windows_cached,
       count(*) FILTER (WHERE subject = 'window' AND outcome = 'failed') AS windows_failed,
       count(*) FILTER (WHERE subject = 'window' AND reason IN ('over_budget', 'not_novel'))
         AS windows_over_budget
FROM current_gemini_calls
GROUP BY ALL
"""


def view_statements() -> list[str]:
    """Statements that create or replace every view, each after those it reads."""
    views = [CURRENT_LOG_PATTERNS if table == "log_patterns" else current_view(table) for table in TABLE_KEYS]
    return [*views, LEDGER_BALANCE, GEMINI_TRUST, GEMINI_SPENDING]
