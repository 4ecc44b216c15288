"""What each column of a view holds: its type as DuckDB finds it, its meaning, and which columns name a row.

A column that a view takes from a table has the table's description; what a view computes is described
here. `tests/test_cloud_views.py` holds the types to BigQuery's analyzer.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import duckdb

from pipeline.tables import TABLE_KEYS, TABLES, Column, Kind, Mode, duckdb_ddl, table_columns
from pipeline.view_meanings import MEANINGS, SHARED
from pipeline.views import CURRENT, PLACE, view_sources, view_statements

VIEW_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "alert_noise": ("tenant_id", "service", "day"),
    "alerts": ("alert_id",),
    "deploy_effects": ("deploy_id",),
    "detection_delay": ("anomaly_id",),
    "gemini_cost": ("tenant_id", "day", "model"),
    "gemini_windows": ("tenant_id", "service", "day"),
    "incident_timeline": (),  # two things of a kind may happen at a time
    "ledger_balance": ("tenant_id", "source", "receive_minute"),
    "new_patterns": ("tenant_id", "service", "pattern_id", "window_start"),
    "open_alerts": ("alert_id",),
    "response_times": ("tenant_id", "service", "severity", "opened_on"),
    "rule_noise": ("tenant_id", "detector"),
    "service_health": ("tenant_id", "service"),
    "slo_burn": ("tenant_id", "service", "kind"),
    "top_patterns": ("tenant_id", "service", "day", "pattern_id"),
}
"""What names one row of a view that is written; `current_` views have the key of their table."""

_KINDS: Final[dict[str, Kind]] = {
    "VARCHAR": "STRING",
    "BIGINT": "INTEGER",
    "INTEGER": "INTEGER",
    "DOUBLE": "FLOAT",
    "BOOLEAN": "BOOLEAN",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
    "DATE": "DATE",
}


def view_key(view: str) -> tuple[str, ...]:
    """Columns that name one row of `view`; empty where none do."""
    return TABLE_KEYS[view.removeprefix(CURRENT)] if view.startswith(CURRENT) else VIEW_KEYS[view]


@lru_cache
def view_columns(view: str) -> tuple[Column, ...]:
    """Columns of `view` in their order, each with a description.

    Raises KeyError for an unknown view, or naming a column that nobody has described.
    """
    if view.startswith(CURRENT):
        return table_columns(view.removeprefix(CURRENT))
    return tuple(_column(view, name, kind) for name, kind in _types()[view])


def _column(view: str, name: str, duckdb_kind: str) -> Column:
    meaning = MEANINGS.get(view, {}).get(name) or _meaning_in_tables(view, name) or SHARED.get(name)
    if meaning is None:
        raise KeyError(
            f"column {name} of view {view} has no description: write it in pipeline/view_meanings.py"
        )
    mode: Mode = "REPEATED" if duckdb_kind.endswith("[]") else "NULLABLE"
    return Column(name, _KINDS[duckdb_kind.removesuffix("[]")], mode, meaning)


def _meaning_in_tables(view: str, name: str) -> str | None:
    columns = (column for table in _tables_read(view) for column in table_columns(table))
    return next((column.description for column in columns if column.name == name), None)


@lru_cache
def _types() -> dict[str, list[tuple[str, str]]]:
    with duckdb.connect() as connection:
        for statement in (*map(duckdb_ddl, TABLES), *view_statements()):
            connection.execute(statement)
        return {
            view: [(row[0], row[1]) for row in connection.execute(f"DESCRIBE {view}").fetchall()]
            for view in view_sources()
        }


@lru_cache
def _tables_read(view: str) -> tuple[str, ...]:
    """Tables that `view` reads, also by way of other views, in the order in which it names them."""
    found: dict[str, None] = {}
    for name in re.findall(rf"{re.escape(PLACE)}(\w+)", view_sources()[view]):
        found.update(dict.fromkeys([name] if name in TABLES else _tables_read(name)))
    return tuple(found)
