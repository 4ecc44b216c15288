"""The queries that the docs show run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sample_views import build_views_store

from pipeline.duckdb_store import DuckDBStore
from pipeline.views import PLACE, duckdb_sql

PAGE = Path(__file__).resolve().parent.parent / "docs" / "queries.md"
QUERIES = [
    query.replace("`acme-prod.aiops`.", PLACE)
    for query in re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
]
OF_THE_LAST_DAY = "CURRENT_TIMESTAMP"


@pytest.fixture(scope="module")
def sample_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_views_store(tmp_path_factory.mktemp("queries") / "s.duckdb")


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_a_query_of_the_docs_finds_rows(number: int, sample_path: Path) -> None:
    """Over the sample store; what asks for the last day is only run."""
    with DuckDBStore(str(sample_path), read_only=True) as store:
        rows = store.query(duckdb_sql(QUERIES[number]))
    assert rows or OF_THE_LAST_DAY in QUERIES[number]


@pytest.mark.cloud
@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_bigquery_takes_the_queries_of_the_docs() -> None:
    """BigQuery's own analyzer has no complaint."""
    from zetasql_engine import ZetaSql

    zetasql = ZetaSql(group_by_floats=True)
    assert all(zetasql.query_types(query) for query in QUERIES)
