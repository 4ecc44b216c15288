"""Views over the append-only tables, the same in BigQuery and in the local store.

`current_<table>` is made here: the last row of each key. All others stand in `pipeline/sql`, in what
both dialects have in common; `${dataset}` is where their tables are. `ledger_balance` counts the two
ends of the job independently, lines of logs and points of metrics each by itself.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from pipeline.tables import TABLE_KEYS, TABLES

PLACE: Final = "${dataset}."
CURRENT: Final = "current_"
_SQL_FOLDER: Final = Path(__file__).with_name("sql")

# Ends a line that the local store leaves out: how many days to read, counted from now. In BigQuery what is
# read is paid for, each time that somebody looks; a local store may be of any year.
_ON_BIGQUERY: Final = "-- on BigQuery"

# What both have under two names, and what would be another thing if it were written in one of them.
_DUCKDB_NAMES: Final = {"UNIX_MICROS": "epoch_us", "TIMESTAMP_MICROS": "make_timestamptz"}

# Columns that the key decides, although they are no part of it. Named in the partition of a
# `current_` view, a filter on them can reach the table, so that BigQuery reads the days asked for.
_DECIDED_BY_KEY: Final = {
    "anomalies": ("tenant_id", "window_start"),
    "incidents": ("tenant_id",),
    "alert_events": ("tenant_id",),
    "deploys": ("tenant_id", "deployed_at"),
    "dead_letters": ("tenant_id", "receive_minute"),
    "failed_rows": ("tenant_id",),
}


@lru_cache
def bigquery_sources() -> dict[str, str]:
    """Name → SQL of every view, each after those it reads; the comment on top says what it shows."""
    written = {path.stem: path.read_text(encoding="utf-8").rstrip("\n") for path in _SQL_FOLDER.glob("*.sql")}
    sources = {f"{CURRENT}{table}": _current_view(table) for table in TABLES} | written
    return {name: sources[name] for name in sorted(sources, key=lambda name: (_level(name, sources), name))}


@lru_cache
def view_sources() -> dict[str, str]:
    """The views as `bigquery_sources`, but of all days."""
    return {
        name: "\n".join(line for line in sql.split("\n") if not line.endswith(_ON_BIGQUERY))
        for name, sql in bigquery_sources().items()
    }


def view_level(name: str) -> int:
    """1 for a view that reads tables only, else one more than the highest of the views that it reads."""
    return _level(name, view_sources())


def view_description(name: str) -> str:
    """What the view shows, in a sentence. Raises KeyError for an unknown view."""
    return view_sources()[name].partition("\n")[0].removeprefix("-- ")


def view_statements() -> list[str]:
    """DuckDB's statements that create or replace every view, each after those it reads."""
    return [f"CREATE OR REPLACE VIEW {name} AS\n{duckdb_query(name)}" for name in view_sources()]


def view_files() -> dict[str, str]:
    """Path below the repository → content, for Terraform: every view, and the order to make them in."""
    order = {
        name: {"level": view_level(name), "description": view_description(name)} for name in view_sources()
    }
    files = {f"terraform/views/{name}.sql": f"{sql}\n" for name, sql in bigquery_sources().items()}
    return files | {"terraform/views.json": json.dumps(order, indent=2) + "\n"}


def duckdb_query(name: str) -> str:
    """The view as DuckDB takes it."""
    sql = view_sources()[name]
    if name.startswith(CURRENT):
        # Rows of one transaction have the same `written_at`; the local store knows which came last.
        sql = sql.replace("written_at DESC", "written_at DESC, rowid DESC")
    return duckdb_sql(sql)


def duckdb_sql(sql: str) -> str:
    """SQL of both dialects as DuckDB takes it; its parameters are `$name`."""
    sql = re.sub(r"@(?=[a-z])", "$", sql.replace(PLACE, ""))
    return re.sub(rf"\b({'|'.join(_DUCKDB_NAMES)})\(", lambda called: f"{_DUCKDB_NAMES[called[1]]}(", sql)


def bigquery_sql(sql: str, dataset: str) -> str:
    """SQL of both dialects over the tables of `PROJECT.DATASET`, which the caller has checked."""
    return sql.replace(PLACE, f"`{dataset}`.")


def _level(name: str, sources: dict[str, str]) -> int:
    read = re.findall(rf"{re.escape(PLACE)}(\w+)", sources[name])
    return 1 + max((_level(view, sources) for view in read if view in sources), default=0)


def _current_view(table: str) -> str:
    if table == "log_patterns":
        return _CURRENT_LOG_PATTERNS
    decided = [column for column in _DECIDED_BY_KEY.get(table, ()) if column not in TABLE_KEYS[table]]
    keys = ", ".join((*TABLE_KEYS[table], *decided))
    revision = "revision DESC, " if "revision" in TABLES[table].__struct_fields__ else ""
    return (
        f"-- Rows of {table}, of each {' and '.join(TABLE_KEYS[table])} only the last.\n"
        f"SELECT * FROM {PLACE}{table}\n"
        "WHERE TRUE\n"
        f"QUALIFY ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {revision}written_at DESC) = 1"
    )


# A late pane may coarsen patterns to fit: those of the pane before it no longer count, though no
# row of the new pane has their id. So the window's last revision is taken first.
_CURRENT_LOG_PATTERNS: Final = f"""\
-- Rows of log_patterns, of each window only those of its last revision, each pattern once.
SELECT * FROM {PLACE}log_patterns
WHERE TRUE
QUALIFY revision = MAX(revision) OVER (PARTITION BY tenant_id, service, window_start)
  AND ROW_NUMBER() OVER (
    PARTITION BY tenant_id, service, window_start, pattern_id ORDER BY revision DESC, written_at DESC
  ) = 1"""  # noqa: S608
