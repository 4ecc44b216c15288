"""The LookML project holds together: every reference resolves, no tenant sees another, and its SQL runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lookml_checks import all_fields, check_project, element_query
from lookml_project import ROOT, Project
from lookml_views import LookmlError
from sample_views import build_views_store

from pipeline.duckdb_store import DuckDBStore
from pipeline.lookml import lookml_name
from pipeline.view_columns import view_columns, view_key
from pipeline.view_meanings import MEANINGS, SHARED
from pipeline.views import duckdb_sql, view_sources
from transforms.elements import CANARY_SERVICE

PROJECT = Project()
EXPLORES = {
    f"{model.name}.{explore.name}": explore
    for model in PROJECT.models.values()
    for explore in model.explores.values()
}
ELEMENTS = {
    f"{dashboard['dashboard']}.{element['name']}": element
    for model in PROJECT.models.values()
    for dashboard in model.dashboards.values()
    for element in dashboard["elements"]
}

MUTATED = {
    "manifest": "manifest.lkml",
    "aiops": "models/aiops.model.lkml",
    "aiops_operations": "models/aiops_operations.model.lkml",
    "alerts": "views/alerts.view.lkml",
    "incidents": "views/incidents.view.lkml",
    "services view": "views/services.view.lkml",
    "generated": "views/generated/alerts.view.lkml",
    "on_call": "dashboards/on_call.dashboard.lookml",
    "services": "dashboards/services.dashboard.lookml",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBStore]:
    path = build_views_store(tmp_path_factory.mktemp("looker") / "s.duckdb")
    with DuckDBStore(str(path)) as opened:
        yield opened


def _run(store: DuckDBStore, sql: str) -> list[dict[str, Any]]:
    return store.query(duckdb_sql(sql))


# ---------------------------------------------------------------------------------------- as a whole


def test_everything_in_the_project_is_there_and_described() -> None:
    """References, links, filters, drill fields and tiles resolve; all explores are filtered by tenant."""
    check_project(PROJECT)


def test_every_view_of_the_dataset_is_in_lookml_under_its_name() -> None:
    """With the place that Terraform makes it in."""
    views = PROJECT.models["aiops"].views
    for view in view_sources():
        assert views[lookml_name(view)].sql_table_name == f"`@{{dataset}}.{view}`"


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("alerts", "sql: ${seconds_to_resolve} / 60", "sql: ${seconds_to_resolved} / 60"),
        ("alerts", "severity_rank }", "severity_ranks }"),
        ("alerts", '"false^_positive"', '"false_positive"'),
        ("alerts", "opened_time, severity", "opened_at, severity"),
        ("alerts", "drill_fields: [detail*]", "drill_fields: [details*]"),
        ("alerts", 'description: "Alerts."', 'label: "Alerts"'),
        ("alerts", "type: count\n", "typ: count\n"),
        ("alerts", "type: average", "type: mean"),
        ("alerts", "decimal_1", "decimals_1"),
        ("alerts", "aiops::services?Service", "aiops::service?Service"),
        ("alerts", "aiops::services?Service", "aiops::services?Name"),
        ("alerts", "view: +alerts", "view: +alert"),
        ("alerts", "measure: count {", "measure: status {"),
        ("incidents", "incidents.incident_id._value", "incidents.id._value"),
        ("incidents", "incident_timeline.actor&", "incident_timeline.who&"),
        ("services view", "filters: [is_behind:", "filters: [is_late:"),
        ("services view", '[health_score: "<70"]', '[health_score: "low"]'),
        ("aiops", "field: open_alerts.tenant_id", "field: open_alerts.tenant"),
        ("aiops", "user_attribute: tenant_id", "user_attribute: owner"),
        ("aiops", "${services.tenant_id} = ${anomalies.tenant_id} AND ", ""),
        ("aiops", "UNNEST(${incidents.root_causes})", "UNNEST(${incidents.causes})"),
        ("aiops", "join: services {", "join: service {"),
        ("aiops", "relationship: many_to_one", "relationship: many_to_few"),
        ("aiops", "unless: [service_windows.", "unless: [windows."),
        ("aiops", "on_call.dashboard", "oncall.dashboard"),
        ("aiops", '"@{connection}"', '"@{connections}"'),
        ("aiops_operations", "  access_filter: {", "  access_filtr: {"),
        ("on_call", "explore: open_alerts", "explore: alerts_open"),
        ("on_call", "fields: [incidents.open_count]", "fields: [incidents.open]"),
        ("on_call", "Owner: services.owner", "Owners: services.owner"),
        ("on_call", "Tenant: open_alerts.tenant_id", "Tenant: open_alerts.opened_time"),
        ("on_call", "field: services.owner", "field: services.owners"),
        ("on_call", "severity_rank desc", "severity desc, open_alerts.count desc"),
        ("on_call", "incidents.is_over: \"No\"", "incidents.is_over: \"open\""),
        ("on_call", "col: 4\n", "col: 3\n"),
        ("on_call", "width: 24", "width: 25"),
        ("on_call", "model: aiops\n", "model: aiops_operations\n"),
        ("services", "pivots: [service_windows.service]", "pivots: [services.service]"),
        ("services", "type: looker_area", "type: looker_areas"),
        ("manifest", "constant: dataset", "constant: data_set"),
        ("generated", "dimension: tenant_id", "dimension: tenant"),
    ],
)  # fmt: skip
def test_what_does_not_resolve_is_found(file: str, before: str, after: str, tmp_path: Path) -> None:
    """One wrong word anywhere fails the check."""
    copy = tmp_path / "looker"
    shutil.copytree(ROOT, copy)
    path = copy / MUTATED[file]
    text = path.read_text(encoding="utf-8")
    assert before in text, "the mutation itself is out of date"
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(LookmlError):
        check_project(Project(copy))


def test_a_circle_of_references_is_found(tmp_path: Path) -> None:
    """A field that is made of itself has no SQL."""
    copy = tmp_path / "looker"
    shutil.copytree(ROOT, copy)
    file = copy / "views" / "alerts.view.lkml"
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace("${seconds_to_resolve} / 60", "${minutes_to_resolve} / 60"), encoding="utf-8"
    )
    with pytest.raises(LookmlError, match="itself"):
        check_project(Project(copy))


# ---------------------------------------------------------------------------------------- what it reads


@pytest.mark.parametrize("view", view_sources())
def test_the_key_of_a_view_names_one_row(view: str, store: DuckDBStore) -> None:
    """Looker counts through joins by primary keys: two rows with one key would be counted once."""
    key = view_key(view)
    if key:
        keys = ", ".join(key)
        assert not store.query(f"SELECT {keys} FROM {view} GROUP BY {keys} HAVING count(*) > 1")
        assert store.query(f"SELECT {keys} FROM {view}")


def test_what_is_written_of_columns_is_of_columns_that_are_there() -> None:
    """A description that outlived its column is no description."""
    columns = {view: {column.name for column in view_columns(view)} for view in view_sources()}
    for view, meanings in MEANINGS.items():
        assert set(meanings) <= columns[view], view
    assert set(SHARED) <= set().union(*columns.values())


# -------------------------------------------------------------------------------------------- it runs


@pytest.mark.parametrize("name", EXPLORES)
def test_every_field_of_an_explore_runs(name: str, store: DuckDBStore) -> None:
    """All measures by each dimension: the SQL that Looker would make runs, and finds rows."""
    explore = EXPLORES[name]
    rows = _run(store, explore.query(all_fields(explore)))
    assert rows
    assert len(_run(store, explore.query(all_fields(explore, "measure")))) == 1


@pytest.mark.parametrize("name", ELEMENTS)
def test_every_tile_has_something_to_show(name: str, store: DuckDBStore) -> None:
    """Over the sample store, whose shop has faults, each tile of each dashboard finds rows."""
    rows = _run(store, element_query(ELEMENTS[name], PROJECT))
    assert rows
    assert len(rows) == 1 or ELEMENTS[name]["type"] != "single_value"


def _values(store: DuckDBStore, name: str, fields: list[str], filters: dict[str, str]) -> tuple[Any, ...]:
    (row,) = _run(store, EXPLORES[name].query(fields, filters))
    return tuple(row.values())


def test_measures_are_what_the_views_say(store: DuckDBStore) -> None:
    """Counted by hand in the sample: two alerts are open, of five one was false and one useful."""
    now = ["open_alerts.count", "open_alerts.serious_count", "open_alerts.waiting_count"]
    assert _values(store, "aiops.open_alerts", now, {}) == (2, 2, 0)
    of_alerts = [
        "count",
        "open_count",
        "false_positive_share",
        "mtta_minutes",
        "mttr_minutes",
        "reminder_count",
    ]
    fields = [f"alerts.{name}" for name in of_alerts]
    assert _values(store, "aiops.alerts", fields, {"alerts.tenant_id": "acme"}) == (3, 2, 0, 2, 20, 1)
    assert _values(store, "aiops_operations.alerts", fields[:3], {}) == (4, 2, 0.5)
    cost = ["gemini_cost.total_tokens_in", "gemini_cost.verified_share", "gemini_cost.cost_of_a_finding"]
    assert _values(store, "aiops_operations.gemini_cost", cost, {}) == (2_000, 0.8, 0.02)
    burn = ["slo_burn.count", "slo_burn.page_count", "services.count"]
    assert _values(store, "aiops.slo_burn", burn, {"slo_burn.tenant_id": "acme"}) == (2, 1, 1)


def test_a_measure_counts_rows_that_a_join_repeats_once(store: DuckDBStore) -> None:
    """An incident with many things on its timeline is one incident."""
    filters = {"incidents.incident_id": "incident-1"}
    explore = EXPLORES["aiops.incidents"]
    assert _values(store, "aiops.incidents", ["incidents.count"], filters) == (1,)
    rows = _run(store, explore.query(["incidents.count", "incident_timeline.kind"], filters))
    assert [row["incidents_count"] for row in rows] == [1] * 5


@pytest.mark.parametrize(
    ("name", "join"), [(name, join["name"]) for name, explore in EXPLORES.items() for join in explore.joins]
)
def test_a_join_finds_rows_and_to_one_repeats_none(name: str, join: str, store: DuckDBStore) -> None:
    """What is said of its relationship is so: else Looker would count wrong."""
    explore = EXPLORES[name]
    (relationship,) = [one["relationship"] for one in explore.joins if one["name"] == join]
    column = next(iter(explore.views[join].items))
    found = explore.expression(explore.field(column, join)) if column != "row_key" else f"{join}.tenant_id"
    joined = _run(store, f"SELECT COUNT(*) AS n, COUNT({found}) AS partners {explore.sources({join})}")[0]
    alone = _run(store, f"SELECT COUNT(*) AS n {explore.sources(set())}")[0]
    assert joined["partners"] > 0
    assert joined["n"] == alone["n"] if relationship.endswith("to_one") else joined["n"] >= alone["n"]


def test_a_tenant_finds_its_own_rows_only(store: DuckDBStore) -> None:
    """With the access filter of each explore, no other tenant is in any column."""
    for name, explore in EXPLORES.items():
        tenants = [
            f"{view}.tenant_id" for view, there in explore.views.items() if "tenant_id" in there.fields
        ]
        rows = _run(store, explore.query(tenants, {f"{explore.name}.tenant_id": "acme"}))
        assert {value for row in rows for value in row.values()} <= {"acme", None}, name


def test_no_explore_shows_the_canary(store: DuckDBStore) -> None:
    """What `aiops doctor` sends through the job is nobody's service; the ledger counts it."""
    for name, explore in EXPLORES.items():
        if "service" in explore.views[explore.name].fields:
            services = [
                row[f"{explore.name}_service"]
                for row in _run(store, explore.query([f"{explore.name}.service"]))
            ]
            assert CANARY_SERVICE not in services, name


def test_each_tile_belongs_to_a_model_that_its_readers_have() -> None:
    """Tenants have the model aiops alone: no tile of its dashboards asks another one."""
    for dashboard in PROJECT.models["aiops"].dashboards.values():
        parts = (*dashboard["elements"], *dashboard["filters"])
        assert {part["model"] for part in parts if "model" in part} == {"aiops"}
