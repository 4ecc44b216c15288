"""How BigQuery lays tables out: days of which column, clustered by what, kept how long.

Part of the contract with tables that exist: BigQuery changes neither the column of the days nor a
column's type in place, and adds no REQUIRED column. `tests/golden_state/tables_v1.json` holds what
tables were made with; `python -m pipeline.generate --freeze` renews it at a release, never in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from pipeline.tables import TABLES, Column, table_columns

FROZEN_FILE: Final = "tests/golden_state/tables_v1.json"


class Layout(msgspec.Struct, frozen=True):
    """A table with a partition for each day of `day_of`, clustered by `cluster_by`; days expire."""

    day_of: str
    cluster_by: tuple[str, ...]
    keep_days: int


_OF_SERVICES: Final = ("tenant_id", "service")

LAYOUTS: Final[dict[str, Layout]] = {
    "service_windows": Layout("window_start", _OF_SERVICES, 400),
    "log_patterns": Layout("window_start", (*_OF_SERVICES, "pattern_id"), 90),
    "metric_windows": Layout("window_start", (*_OF_SERVICES, "series_id"), 90),
    "anomalies": Layout("window_start", (*_OF_SERVICES, "anomaly_id"), 400),
    "incidents": Layout("opened_at", ("tenant_id", "incident_id"), 800),
    "alert_events": Layout("occurred_at", (*_OF_SERVICES, "alert_id"), 800),
    "dependencies": Layout("as_of", ("tenant_id", "caller", "callee"), 90),
    "hypotheses": Layout("window_start", _OF_SERVICES, 400),
    "gemini_calls": Layout("asked_at", ("tenant_id", "subject", "outcome"), 400),
    "deploys": Layout("deployed_at", _OF_SERVICES, 800),
    "baselines": Layout("as_of", (*_OF_SERVICES, "signal"), 30),
    "dead_letters": Layout("receive_minute", ("tenant_id", "stage", "reason"), 30),
    "failed_rows": Layout("failed_at", ("tenant_id", "table_name", "reason"), 90),
    "ledger": Layout("receive_minute", ("tenant_id", "source"), 400),
    "services": Layout("as_of", _OF_SERVICES, 400),
}


def table_summary(table: str) -> str:
    """What one row is, in a sentence: the first line of the Struct's docstring."""
    return (TABLES[table].__doc__ or "").split("\n", 1)[0].split(" Table `")[0]


def layouts_file() -> dict[str, dict[str, object]]:
    """Content of `terraform/tables.json`: what Terraform makes of each table beside its columns."""
    return {
        table: {"description": table_summary(table), **msgspec.to_builtins(LAYOUTS[table])}
        for table in TABLES
    }


def frozen_layout() -> dict[str, dict[str, object]]:
    """Content of FROZEN_FILE: of each table the column of its days, and type and mode of every column."""
    return {
        table: {"day_of": LAYOUTS[table].day_of, "columns": _flat(table_columns(table))} for table in TABLES
    }


def breaking_changes(frozen: dict[str, dict[str, object]], now: dict[str, dict[str, object]]) -> list[str]:
    """What BigQuery would refuse to do to tables that were made as `frozen`; a sentence each."""
    found = []
    for table, made in frozen.items():
        if table not in now:
            found.append(f"{table}: the table is gone; keep it, its rows are somebody's history")
            continue
        if made["day_of"] != now[table]["day_of"]:
            found.append(f"{table}: the column of its days changed; that takes a new table")
        found += _changed_columns(table, made["columns"], now[table]["columns"])
    return found


def _changed_columns(table: str, before: object, after: object) -> Iterable[str]:
    old, new = msgspec.convert(before, dict[str, str]), msgspec.convert(after, dict[str, str])
    for name, kind in old.items():
        if name not in new:
            yield f"{table}.{name}: the column is gone; keep it, and fill it with its default"
        elif new[name] not in {kind, kind.replace(" REQUIRED", " NULLABLE")}:
            yield f"{table}.{name}: was {kind}, is {new[name]}; name the new one anew"
    for name in new.keys() - old.keys():
        parent = name.rpartition(".")[0]
        if new[name].endswith(" REQUIRED") and (not parent or parent in old):
            yield f"{table}.{name}: is new and REQUIRED; BigQuery adds only `| None` and lists"


def _flat(columns: Iterable[Column], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for column in columns:
        name = prefix + column.name
        found[name] = f"{column.kind} {column.mode}"
        found |= _flat(column.fields, f"{name}.")
    return found
