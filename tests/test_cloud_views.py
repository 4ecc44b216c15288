"""BigQuery's own analyzer accepts every view, and its reference engine finds what DuckDB finds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sample_views import build_views_store, plain
from zetasql_engine import Row, ZetaSql

from aiops.simulate.config import SimulationConfig
from aiops.simulate.generator import simulate
from aiops.stored_windows import LEARNED_COLUMNS
from pipeline.alert_log import EVENTS
from pipeline.dataset_copy import copy_query
from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run
from pipeline.tables import TABLES
from pipeline.views import bigquery_sources, view_sources
from transforms.elements import DAY_US

# ZetaSQL compiles itself once on each machine, which takes minutes where others work too.
pytestmark = [pytest.mark.cloud, pytest.mark.slow, pytest.mark.timeout(1_200)]

VIEWS = list(view_sources())
_DUCKDB_TYPES = {
    "VARCHAR": "STRING",
    "BIGINT": "INT64",
    "INTEGER": "INT64",
    "DOUBLE": "FLOAT64",
    "BOOLEAN": "BOOL",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
    "DATE": "DATE",
}


@pytest.fixture(scope="module")
def zetasql() -> ZetaSql:
    return ZetaSql()


@pytest.fixture(scope="module")
def sample_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_views_store(tmp_path_factory.mktemp("views") / "s.duckdb")


@pytest.mark.parametrize("view", VIEWS)
def test_both_dialects_give_a_view_the_same_columns(view: str, zetasql: ZetaSql, sample_path: Path) -> None:
    """BigQuery's analyzer accepts the view against the declared schemas; names and types are DuckDB's."""
    with DuckDBStore(str(sample_path), read_only=True) as store:
        described = store.query(f"DESCRIBE {view}")
    found = zetasql.column_types(view)
    assert list(found) == [row["column_name"] for row in described]
    for row in described:
        kind = row["column_type"]
        expected = "ARRAY" if kind.endswith("[]") else _DUCKDB_TYPES[kind]
        assert found[row["column_name"]].split("<")[0] == expected, row["column_name"]


@pytest.mark.parametrize("view", [view for view in VIEWS if bigquery_sources()[view] != view_sources()[view]])
def test_days_to_read_change_no_column(view: str, zetasql: ZetaSql) -> None:
    """What BigQuery alone is told of days is taken by its analyzer."""
    assert "INTERVAL" in bigquery_sources()[view]
    query = f"SELECT * FROM (\n{bigquery_sources()[view]}\n)"
    assert zetasql.query_types(query) == zetasql.column_types(view)


@pytest.mark.parametrize("view", VIEWS)
def test_both_engines_find_the_same_rows(view: str, zetasql: ZetaSql, sample_path: Path) -> None:
    """Over the sample store, each row and value is the same; floats but for their last digits."""
    with DuckDBStore(str(sample_path), read_only=True) as store:
        assert_same_rows(zetasql, store, view, rows_of(store))


COPIED = {"since": datetime(2001, 1, 1, tzinfo=UTC), "tenant": "", "service": ""}
QUERIES = {
    "all of alert_events": (EVENTS, {"tenant": "", "past_us": 1 << 62}),
    "past alert_events": (EVENTS, {"tenant": "", "past_us": 30 * DAY_US}),
    "acme's alert_events": (EVENTS, {"tenant": "acme", "past_us": 1 << 62}),
    **{f"copy of {table}": (copy_query(table), COPIED) for table in TABLES},
    **{
        f"what teaches of {table}": (copy_query(table, LEARNED_COLUMNS[table]), COPIED)
        for table in LEARNED_COLUMNS
    },
}


@pytest.mark.parametrize("query", QUERIES)
def test_both_engines_answer_what_commands_and_job_ask(
    query: str, zetasql: ZetaSql, sample_path: Path
) -> None:
    """BigQuery's analyzer accepts each query with its parameters, and finds the rows that DuckDB finds."""
    sql, parameters = QUERIES[query]
    with DuckDBStore(str(sample_path), read_only=True) as store:
        tables = rows_of(store)
        expected = sorted(map(plain, store.read(sql, parameters)), key=_order)
    assert sorted(map(plain, zetasql.query(sql, parameters, tables)), key=_order) == expected
    assert expected or not tables[query.rpartition(" ")[2]]


def test_both_engines_find_the_same_in_what_the_job_stores(zetasql: ZetaSql, tmp_path: Path) -> None:
    """The views over real rows of the real job, which read twenty minutes of a shop with faults."""
    shop = SimulationConfig(seed=1, duration_seconds=1200, tenants=2, rate=40.0)
    (tmp_path / "logs.ndjson").write_bytes(b"\n".join(simulate(shop)))
    run(["--input", str(tmp_path / "logs.ndjson"), "--store", str(tmp_path / "s.duckdb")])
    with DuckDBStore(str(tmp_path / "s.duckdb"), read_only=True) as store:
        tables = rows_of(store)
        assert all(tables[name] for name in ("service_windows", "anomalies", "incidents", "alert_events"))
        for view in VIEWS:
            assert_same_rows(zetasql, store, view, tables)


def rows_of(store: DuckDBStore) -> dict[str, list[Row]]:
    return {table: store.query(f"SELECT * FROM {table}") for table in TABLES}


def assert_same_rows(zetasql: ZetaSql, store: DuckDBStore, view: str, tables: dict[str, list[Row]]) -> None:
    expected = sorted(map(plain, store.query(f"SELECT * FROM {view}")), key=_order)
    found = sorted(map(plain, zetasql.run(view, tables)), key=_order)
    assert found == expected, view


def _order(row: Row) -> str:
    return repr(row)
