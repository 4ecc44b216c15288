"""What must hold in the LookML project; each check says what is wrong, as LookmlError."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Final, TypeVar
from urllib.parse import parse_qs, urlsplit

from lookml_explores import Explore, condition
from lookml_project import Model, Project
from lookml_views import Field, Item, LookmlError, check_parameters

T = TypeVar("T")

COLUMNS: Final = 24  # of a dashboard
_LIQUID: Final = re.compile(r"\{\{ (?:(?P<own>value)|(?P<field>[\w.]+)\._value)(?: \| url_encode)? \}\}")


def check_project(project: Project) -> None:
    """Raise LookmlError for the first thing that is wrong."""
    for model in project.models.values():
        if model.item["connection"] not in {f"@{{{name}}}" for name in project.constants}:
            raise LookmlError(f"{model.name}: the connection is no constant")
        for view in model.views.values():
            _check_place(view.sql_table_name, project)
        for explore in model.explores.values():
            check_tenants(explore)
            check_fields(explore, project)
        for dashboard in model.dashboards.values():
            check_dashboard(dashboard, project)


def _check_place(sql_table_name: str, project: Project) -> None:
    for constant in re.findall(r"@\{(\w+)\}", sql_table_name):
        if constant not in project.constants:
            raise LookmlError(f"{sql_table_name}: there is no constant {constant}")


# ----------------------------------------------------------------------------------------- explores


def check_tenants(explore: Explore) -> None:
    """Each explore is filtered by the tenants of its user, and each join stays within a tenant."""
    filters = explore.item.get("access_filters", [])
    for one in filters:
        check_parameters("access_filter", one)
        explore.field(one["field"])
    if {"field": f"{explore.name}.tenant_id", "user_attribute": "tenant_id"} not in filters:
        raise LookmlError(f"explore {explore.name} has no access filter by tenant")
    for join in explore.joins:
        own = f"${{{join['name']}.tenant_id}} = ${{{explore.name}.tenant_id}}"
        inner = re.fullmatch(
            rf"LEFT JOIN UNNEST\(\$\{{{explore.name}\.\w+\}}\) AS {join['name']} ON TRUE", join.get("sql", "")
        )
        if not inner and own not in join.get("sql_on", ""):
            raise LookmlError(f"explore {explore.name}: the join of {join['name']} leaves the tenant")


def check_fields(explore: Explore, project: Project) -> None:
    """All fields of an explore are described and resolve, with all that they refer to."""
    if not explore.item.get("description") or not explore.item.get("label"):
        raise LookmlError(f"explore {explore.name} has no label or description")
    explore.sources(set(explore.views))
    for one in every_field(explore):
        if not one.parameters.get("description"):
            raise LookmlError(f"{one.view}.{one.name} has no description")
        explore.expression(one)
        if "order_by_field" in one.parameters:
            explore.field(one.parameters["order_by_field"], one.view)
        _check_drilling(explore, one)
        for link in one.parameters.get("links", []):
            _check_link(explore, one, link, project)
    for chosen in explore.item.get("conditionally_filter", {}).get("filters__all", []):
        for entry in chosen:
            for name, text in entry.items():
                condition(explore.field(name), explore, text)
    for name in explore.item.get("conditionally_filter", {}).get("unless", []):
        explore.field(name)


def every_field(explore: Explore) -> Iterator[Field]:
    """Fields of the explore and of its joins."""
    for view in explore.views.values():
        yield from view.fields.values()


def all_fields(explore: Explore, kind: str = "") -> list[str]:
    """Full names of the fields that people see, of one kind or of all."""
    return [
        f"{one.view}.{one.name}"
        for one in every_field(explore)
        if one.parameters.get("hidden") != "yes" and kind in {"", one.kind}
    ]


def _check_drilling(explore: Explore, one: Field) -> None:
    if one.kind != "measure":
        return
    if explore.joins and not explore.views[one.view].primary_key:
        raise LookmlError(f"{one.view}.{one.name}: Looker counts through joins by primary keys alone")
    if not list(explore.drill_fields(one)):
        raise LookmlError(f"{one.view}.{one.name} has nothing to drill into")


def _check_link(explore: Explore, one: Field, link: Item, project: Project) -> None:
    if set(link) != {"label", "url"}:
        raise LookmlError(f"{one.view}.{one.name}: a link has a label and a url")
    for match in _LIQUID.finditer(link["url"]):
        if match["field"]:
            explore.field(match["field"])
    if _LIQUID.sub("", link["url"]).count("{{"):
        raise LookmlError(f"{one.view}.{one.name}: {link['url']} has a tag that nobody knows")
    address = urlsplit(_LIQUID.sub("x", link["url"]))
    parts = address.path.strip("/").split("/")
    query = parse_qs(address.query)
    if parts[0] == "dashboards":
        model, _, name = parts[1].partition("::")
        dashboard = _there(project.models[model].dashboards, name, "dashboard")
        for given in query:
            _there({one["name"]: one for one in dashboard["filters"]}, given, f"filter of {name}")
    elif parts[0] == "explore":
        target = _there(project.models[parts[1]].explores, parts[2], "explore")
        names = [
            *query["fields"][0].split(","),
            *query["sorts"],
            *(key[2:-1] for key in query if key[:2] == "f["),
        ]
        for name in names:
            target.field(name)
    elif link["url"] != "{{ value }}":
        raise LookmlError(f"{one.view}.{one.name}: {link['url']} leads nowhere")


def _there(among: dict[str, T], name: str, kind: str) -> T:
    if name not in among:
        raise LookmlError(f"there is no {kind} {name}")
    return among[name]


# --------------------------------------------------------------------------------------- dashboards


def check_dashboard(dashboard: Item, project: Project) -> None:
    """Every tile asks for what is there, listens to filters that are there, and covers no other."""
    check_parameters("dashboard", dashboard)
    filters = {one["name"]: one for one in dashboard["filters"]}
    elements = {one["name"]: one for one in dashboard["elements"]}
    if len(filters) < len(dashboard["filters"]) or len(elements) < len(dashboard["elements"]):
        raise LookmlError(f"dashboard {dashboard['dashboard']}: two of the same name")
    for one in filters.values():
        check_parameters("filter", one)
        if one["type"] == "field_filter":
            element_explore(one, project).field(one["field"])
    heard = {name for element in elements.values() for name in element.get("listen", {})}
    if heard != set(filters):
        raise LookmlError(
            f"dashboard {dashboard['dashboard']}: {heard ^ set(filters)} is not both there and heard"
        )
    for element in elements.values():
        check_parameters("element", element)
        _check_element(element, filters, project)
    for one, other in combinations(elements.values(), 2):
        if _overlap(one, other):
            raise LookmlError(f"dashboard {dashboard['dashboard']}: {one['name']} covers {other['name']}")


def element_explore(element: Item, project: Project) -> Explore:
    """The explore of a tile or filter. Raises LookmlError."""
    model: Model = _there(project.models, element["model"], "model")
    return _there(model.explores, element["explore"], "explore")


def _check_element(element: Item, filters: dict[str, Item], project: Project) -> None:
    explore = element_explore(element, project)
    element_query(element, project)
    if not set(element.get("pivots", [])) | set(element.get("hidden_fields", [])) <= set(element["fields"]):
        raise LookmlError(f"{element['name']}: pivots or hides what is no field of it")
    for name, target in element.get("listen", {}).items():
        is_time = explore.field(target).kind == "time"
        if is_time != (filters[name]["type"] == "date_filter"):
            raise LookmlError(f"{element['name']}: {name} and {target} are of different kinds")
    if element["col"] + element["width"] > COLUMNS or min(element["row"], element["col"]) < 0:
        raise LookmlError(f"{element['name']} is beside the dashboard")


def element_query(element: Item, project: Project) -> str:
    """SQL of a tile."""
    explore = element_explore(element, project)
    sql = explore.query(element["fields"], element.get("filters"), element.get("sorts", []))
    return f"{sql}\nLIMIT {element['limit']}" if "limit" in element else sql


def _overlap(one: Item, other: Item) -> bool:
    apart: Callable[[str, str], bool] = lambda place, size: (  # noqa: E731
        one[place] + one[size] <= other[place] or other[place] + other[size] <= one[place]
    )
    return not (apart("row", "height") or apart("col", "width"))
