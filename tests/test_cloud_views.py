"""BigQuery's own analyzer accepts every view, and its reference engine finds what DuckDB finds."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_views import build_views_store, plain
from zetasql_engine import Row, ZetaSql

from pipeline.alert_log import EVENTS
from pipeline.duckdb_store import DuckDBStore
from pipeline.tables import TABLES
from pipeline.views import view_sources

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


@pytest.mark.parametrize("view", VIEWS)
def test_both_engines_find_the_same_rows(view: str, zetasql: ZetaSql, sample_path: Path) -> None:
    """Over the sample store, each row and value is the same; floats but for their last digits."""
    with DuckDBStore(str(sample_path), read_only=True) as store:
        assert_same_rows(zetasql, store, view)


DAY_US = 86_400_000_000
QUERIES = {
    "events": (EVENTS, {"tenant": "", "past_us": 1 << 62}),
    "past events": (EVENTS, {"tenant": "", "past_us": 30 * DAY_US}),
    "events of a tenant": (EVENTS, {"tenant": "acme", "past_us": 1 << 62}),
}


@pytest.mark.parametrize("query", QUERIES)
def test_both_engines_answer_what_commands_and_job_ask(
    query: str, zetasql: ZetaSql, sample_path: Path
) -> None:
    """BigQuery's analyzer accepts each query with its parameters, and finds the rows that DuckDB finds."""
    sql, parameters = QUERIES[query]
    with DuckDBStore(str(sample_path), read_only=True) as store:
        tables = {table: store.query(f"SELECT * FROM {table}") for table in TABLES}
        expected = sorted(map(plain, store.read(sql, parameters)), key=_order)
    assert sorted(map(plain, zetasql.query(sql, parameters, tables)), key=_order) == expected != []


def test_both_engines_find_the_same_in_the_demo(zetasql: ZetaSql, tmp_path: Path) -> None:
    """The views over what the demo finds: real rows of the real job."""
    from rich.console import Console

    from aiops.demo import run_demo

    assert run_demo(tmp_path, 1, Console(quiet=True)) == 0
    (path,) = tmp_path.glob("*.duckdb")
    with DuckDBStore(str(path), read_only=True) as store:
        for view in VIEWS:
            assert_same_rows(zetasql, store, view)


def assert_same_rows(zetasql: ZetaSql, store: DuckDBStore, view: str) -> None:
    tables = {table: store.query(f"SELECT * FROM {table}") for table in TABLES}
    expected = sorted(map(plain, store.query(f"SELECT * FROM {view}")), key=_order)
    found = sorted(map(plain, zetasql.run(view, tables)), key=_order)
    assert found == expected, view


def _order(row: Row) -> str:
    return repr(row)
