"""BigQuery's own analyzer accepts the SQL of every explore and of every tile."""

from __future__ import annotations

import pytest
from lookml_checks import all_fields, element_query
from test_looker import ELEMENTS, EXPLORES, PROJECT
from zetasql_engine import ZetaSql

# As in test_cloud_views: ZetaSQL compiles itself once on each machine.
pytestmark = [pytest.mark.cloud, pytest.mark.slow, pytest.mark.timeout(1_200)]


@pytest.fixture(scope="module")
def zetasql() -> ZetaSql:
    return ZetaSql(group_by_floats=True)


@pytest.mark.parametrize("name", EXPLORES)
def test_bigquery_takes_every_field_of_an_explore(name: str, zetasql: ZetaSql) -> None:
    """Each measure and dimension has a type; the joins fit."""
    explore = EXPLORES[name]
    fields = all_fields(explore)
    assert len(zetasql.query_types(explore.query(fields))) == len(fields)


@pytest.mark.parametrize("dashboard", sorted({name.split(".")[0] for name in ELEMENTS}))
def test_bigquery_takes_every_tile(dashboard: str, zetasql: ZetaSql) -> None:
    """All tiles of a dashboard in one query: the analyzer is slow to start, not to go on."""
    tiles = [tile for name, tile in ELEMENTS.items() if name.split(".")[0] == dashboard]
    counts = [f"(SELECT COUNT(*) FROM ({element_query(tile, PROJECT)})) AS {tile['name']}" for tile in tiles]
    types = zetasql.query_types(f"SELECT {', '.join(counts)}")
    assert types == {tile["name"]: "INT64" for tile in tiles}
