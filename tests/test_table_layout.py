"""Tables that exist are only ever added to, and each is laid out as its queries need."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from pipeline.table_layout import FROZEN_FILE, LAYOUTS, breaking_changes, frozen_layout
from pipeline.tables import TABLES, table_columns

FROZEN = json.loads((Path(__file__).resolve().parent.parent / FROZEN_FILE).read_text(encoding="utf-8"))


def test_tables_that_exist_are_only_added_to() -> None:
    """What BigQuery would refuse to do to a table that was made by the last release fails here first."""
    assert not breaking_changes(FROZEN, frozen_layout())


@pytest.mark.parametrize("table", TABLES)
def test_days_and_clusters_are_columns_that_bigquery_takes(table: str) -> None:
    """Days are of a required time; at most four clusters, of single values; the tenant is the first."""
    columns = {column.name: column for column in table_columns(table)}
    layout = LAYOUTS[table]
    assert (columns[layout.day_of].kind, columns[layout.day_of].mode) == ("TIMESTAMP", "REQUIRED")
    assert layout.cluster_by[0] == "tenant_id"
    assert len(layout.cluster_by) <= 4
    assert {columns[name].kind for name in layout.cluster_by} == {"STRING"}
    assert layout.keep_days >= 30, "current_ views of what is written monthly must still find a row"


def _changed(change: str) -> dict[str, dict[str, Any]]:
    now: dict[str, dict[str, Any]] = deepcopy(frozen_layout())
    columns = now["anomalies"]["columns"]
    match change:
        case "gone":
            del columns["service"]
        case "retyped":
            columns["confidence_score"] = "STRING REQUIRED"
        case "tightened":
            columns["metrics.baseline"] = "FLOAT REQUIRED"
        case "required":
            columns["urgency"] = "FLOAT REQUIRED"
        case "required inside":
            columns["evidence.weight"] = "FLOAT REQUIRED"
        case "day":
            now["anomalies"]["day_of"] = "detected_at"
        case "table":
            del now["anomalies"]
        case "nullable":
            columns["urgency"] = "FLOAT NULLABLE"
        case "relaxed":
            columns["service"] = "STRING NULLABLE"
        case "record":
            columns |= {"links": "RECORD REPEATED", "links.href": "STRING REQUIRED"}
        case "new table":
            now["novelties"] = {"day_of": "at", "columns": {"at": "TIMESTAMP REQUIRED"}}
    return now


@pytest.mark.parametrize(
    "change", ["gone", "retyped", "tightened", "required", "required inside", "day", "table"]
)
def test_a_change_that_bigquery_refuses_is_named(change: str) -> None:
    """One sentence says which column, and what to do instead."""
    (sentence,) = breaking_changes(frozen_layout(), _changed(change))
    assert sentence.startswith("anomalies")


@pytest.mark.parametrize("change", ["nullable", "relaxed", "record", "new table"])
def test_an_addition_breaks_nothing(change: str) -> None:
    """New tables, new optional columns and new lists of records can be had on a table that exists."""
    assert not breaking_changes(frozen_layout(), _changed(change))
