"""The LookML project in `looker/` as Looker would read it: includes, refinements, fields, SQL of queries.

Without Looker. What it would refuse is refused here as far as the project uses it: parameters and types
that are not listed below are taken for mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

lkml: Any = pytest.importorskip("lkml", reason="lkml is not installed: `make setup`")

ROOT: Final = Path(__file__).resolve().parent.parent / "looker"
Item = dict[str, Any]

_FIELD: Final = {
    "name",
    "type",
    "sql",
    "label",
    "description",
    "hidden",
    "value_format_name",
    "link__all",
    "links",
}
PARAMETERS: Final = {
    "manifest": {"project_name", "constants"},
    "constant": {"name", "value", "export"},
    "model": {"connection", "label", "week_start_day", "persist_for", "includes", "explores"},
    "view": {"name", "sql_table_name", "dimensions", "dimension_groups", "measures", "sets"},
    "dimension": _FIELD | {"primary_key", "order_by_field"},
    "dimension_group": {"name", "type", "timeframes", "datatype", "convert_tz", "sql", "description"},
    "measure": _FIELD | {"filters__all", "drill_fields"},
    "set": {"name", "fields"},
    "explore": {
        "name", "label", "group_label", "description", "access_filters", "sql_always_where",
        "conditionally_filter", "joins",
    },
    "join": {"name", "type", "relationship", "sql_on", "sql", "view_label"},
    "access_filter": {"field", "user_attribute"},
    "dashboard": {
        "dashboard", "title", "description", "layout", "preferred_viewer", "refresh", "filters", "elements",
    },
    "filter": {
        "name", "title", "type", "model", "explore", "field", "default_value", "allow_multiple_values",
        "required",
    },
    "element": {
        "name", "title", "type", "model", "explore", "fields", "pivots", "sorts", "limit", "filters",
        "listen", "hidden_fields", "note_text", "row", "col", "width", "height",
    },
}  # fmt: skip
TYPES: Final = {
    "dimension": {"string", "number", "yesno"},
    "dimension_group": {"time"},
    "measure": {"count", "count_distinct", "sum", "average", "min", "max", "number"},
    "join": {"left_outer"},
    "element": {"single_value", "looker_grid", "looker_line", "looker_area", "looker_column"},
    "filter": {"field_filter", "date_filter"},
}
_FORMATS: Final = {"usd", *(f"{kind}_{digits}" for kind in ("decimal", "percent") for digits in range(5))}
_DATES: Final = {"date", "week", "month"}
_AGGREGATES: Final = {"sum": "SUM", "average": "AVG", "min": "MIN", "max": "MAX"}
REFERENCE: Final = re.compile(r"\$\{([\w.]+)\}")
_PERIOD: Final = re.compile(r"\d+ (minute|hour|day)s?")


@lru_cache
def _parse(text: str) -> Item:
    found: Item = lkml.load(text)
    return found


@lru_cache
def _parse_dashboards(text: str) -> list[Item]:
    found: list[Item] = yaml.safe_load(text)
    return found


class LookmlError(Exception):
    """Looker would refuse this, or show something else than was meant."""


def check_parameters(kind: str, item: Item) -> None:
    """Raise LookmlError for a parameter or type that is none of `kind`."""
    unknown = set(item) - PARAMETERS[kind]
    if unknown:
        raise LookmlError(f"{kind} {item.get('name', '')}: unknown parameter {', '.join(sorted(unknown))}")
    if "type" in item and item["type"] not in TYPES[kind]:
        raise LookmlError(f"{kind} {item['name']}: unknown type {item['type']}")
    if item.get("value_format_name", "usd") not in _FORMATS:
        raise LookmlError(f"{kind} {item['name']}: unknown format {item['value_format_name']}")


# ------------------------------------------------------------------------------------------ views


@dataclass(frozen=True)
class Field:
    """A dimension, one timeframe of a dimension group, or a measure."""

    view: str
    name: str
    kind: str  # dimension, time or measure
    parameters: Item
    timeframe: str = ""

    @property
    def sql(self) -> str:
        return str(self.parameters.get("sql", ""))


@dataclass
class View:
    """A view with its refinements."""

    name: str
    sql_table_name: str = ""
    items: dict[str, tuple[str, Item]] = field(default_factory=dict)  # name → (kind, parameters)
    sets: dict[str, list[str]] = field(default_factory=dict)

    def refine(self, view: Item) -> None:
        """Take over what `view` says: parameters of a field that is there are added to it."""
        check_parameters("view", view)
        self.sql_table_name = view.get("sql_table_name", self.sql_table_name)
        for kind in ("dimension", "dimension_group", "measure"):
            for item in view.get(f"{kind}s", []):
                check_parameters(kind, item)
                was_kind, was = self.items.get(item["name"], (kind, {}))
                if was_kind != kind:
                    raise LookmlError(f"{self.name}.{item['name']} is a {was_kind} and a {kind}")
                self.items[item["name"]] = kind, was | item
        for one in view.get("sets", []):
            check_parameters("set", one)
            self.sets[one["name"]] = one["fields"]

    @cached_property
    def fields(self) -> dict[str, Field]:
        found: dict[str, Field] = {}
        for name, (kind, item) in self.items.items():
            frames = item["timeframes"] if kind == "dimension_group" else [""]
            for frame in frames:
                full = f"{name}_{frame}" if frame else name
                if full in found:
                    raise LookmlError(f"{self.name}.{full} is there twice")
                found[full] = Field(self.name, full, "time" if frame else kind, item, frame)
        return found

    @property
    def primary_key(self) -> str | None:
        return next(
            (name for name, one in self.fields.items() if one.parameters.get("primary_key") == "yes"), None
        )


# ------------------------------------------------------------------------------------- the project


@dataclass
class Model:
    """A model file with what it includes."""

    name: str
    item: Item
    views: dict[str, View]
    explores: dict[str, Explore]
    dashboards: dict[str, Item]


class Project:
    """All of a folder of LookML. Raises LookmlError, or what the parser raises."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.manifest = _parse((root / "manifest.lkml").read_text(encoding="utf-8"))
        check_parameters("manifest", self.manifest)
        for constant in self.manifest["constants"]:
            check_parameters("constant", constant)
        self.constants = {constant["name"]: constant["value"] for constant in self.manifest["constants"]}
        self.models = {
            path.name.split(".")[0]: self._model(path) for path in sorted(root.glob("models/*.lkml"))
        }

    def _model(self, path: Path) -> Model:
        item = _parse(path.read_text(encoding="utf-8"))
        check_parameters("model", item)
        views: dict[str, View] = {}
        dashboards: dict[str, Item] = {}
        for pattern in item["includes"]:
            included = sorted(self.root.glob(pattern.lstrip("/")))
            if not included:
                raise LookmlError(f"{path.name} includes {pattern}, and there is no such file")
            for file in included:
                text = file.read_text(encoding="utf-8")
                if file.suffix == ".lookml":
                    for dashboard in _parse_dashboards(text):
                        dashboards[dashboard["dashboard"]] = dashboard
                else:
                    _include_views(_parse(text), views)
        explores = {explore["name"]: Explore(explore, views) for explore in item["explores"]}
        return Model(path.name.split(".")[0], item, views, explores, dashboards)


def _include_views(content: Item, views: dict[str, View]) -> None:
    if set(content) != {"views"}:
        raise LookmlError(f"a file of views holds {', '.join(sorted(content))}")
    for view in content["views"]:
        name = view["name"].removeprefix("+")
        if view["name"] == name:
            views[name] = View(name)
        elif name not in views:
            raise LookmlError(f"{name} is refined before there is such a view")
        views[name].refine(view)


# ------------------------------------------------------------------------------ explores and queries


class Explore:
    """An explore over `views`: fields by name, and the SQL of queries."""

    def __init__(self, item: Item, views: dict[str, View]) -> None:
        check_parameters("explore", item)
        self.item, self.name = item, item["name"]
        self.joins: list[Item] = item.get("joins", [])
        for join in self.joins:
            check_parameters("join", join)
        names = [self.name, *(join["name"] for join in self.joins)]
        missing = [name for name in names if name not in views]
        if missing:
            raise LookmlError(f"explore {self.name}: there is no view {', '.join(missing)}")
        self.views = {name: views[name] for name in names}
        self.fans_out = any(join["relationship"] == "one_to_many" for join in self.joins)

    def field(self, name: str, within: str = "") -> Field:
        """The field `view.name`, or `name` of the view `within`. Raises LookmlError."""
        view, _, short = name.rpartition(".")
        found = self.views.get(view or within)
        if found is None or short not in found.fields:
            raise LookmlError(
                f"explore {self.name}: there is no field {name}" + (f" in {within}" if within else "")
            )
        return found.fields[short]

    def drill_fields(self, measure: Field) -> Iterator[Field]:
        """What a click on `measure` lists."""
        view = self.views[measure.view]
        for name in measure.parameters.get("drill_fields", []):
            if name.endswith("*"):
                if name[:-1] not in view.sets:
                    raise LookmlError(f"{measure.view}.{measure.name}: there is no set {name}")
                yield from (self.field(one, view.name) for one in view.sets[name[:-1]])
            else:
                yield self.field(name, view.name)

    # -------------------------------------------------------------------------------------- SQL

    def resolve(self, sql: str, view: str, seen: tuple[str, ...] = ()) -> str:
        """`sql` of the view with its references replaced. Raises LookmlError, also for a circle."""

        def replaced(match: re.Match[str]) -> str:
            name = match[1]
            if name == "TABLE":
                return view
            one = self.field(name, view)
            full = f"{one.view}.{one.name}"
            if full in seen:
                raise LookmlError(f"{full} refers to itself")
            return self.expression(one, (*seen, full))

        return REFERENCE.sub(replaced, sql)

    def expression(self, one: Field, seen: tuple[str, ...] = ()) -> str:
        """SQL of a field, as Looker makes it of its parameters."""
        sql = self.resolve(one.sql, one.view, seen)
        if one.kind == "time":  # Looker goes on to cut it to the minute, the week and so on
            return f"CAST({sql} AS DATE)" if one.timeframe in _DATES else sql
        if one.kind == "dimension":
            return f"({sql})" if re.search(r"\s", sql) else sql
        return self._aggregate(one, sql)

    def _aggregate(self, one: Field, sql: str) -> str:
        kind = one.parameters["type"]
        if kind == "number":
            return f"({sql})"
        conditions = [
            condition(self.field(name, one.view), self, text)
            for chosen in one.parameters.get("filters__all", [])
            for entry in chosen
            for name, text in entry.items()
        ]
        if kind == "count":
            sql = self._row_key(one)
        if conditions:
            sql = f"CASE WHEN {' AND '.join(conditions)} THEN {sql} END"
        if kind in {"count", "count_distinct"}:
            # Joins may repeat rows of the view; Looker then counts its keys.
            is_repeated = self.fans_out or one.view != self.name
            distinct = "DISTINCT " if kind == "count_distinct" or is_repeated else ""
            return f"COUNT({distinct}{sql})"
        return f"{_AGGREGATES[kind]}({sql})"

    def _row_key(self, one: Field) -> str:
        key = self.views[one.view].primary_key
        return self.expression(self.field(key, one.view)) if key else "1"

    def query(
        self, fields: Iterable[str], filters: dict[str, str] | None = None, sorts: Iterable[str] = ()
    ) -> str:
        """SELECT of `fields`, by their full names, grouped by those that are no measures.

        As Looker does it, with the joins that are needed; `${dataset}` stands open.
        """
        found = {name: self.field(name) for name in fields}
        filtered = {name: self.field(name) for name in filters or {}}
        columns = [f"{self.expression(one)} AS {name.replace('.', '_')}" for name, one in found.items()]
        where = [condition(one, self, (filters or {})[name]) for name, one in filtered.items()]
        if "sql_always_where" in self.item:
            where.append(self.resolve(self.item["sql_always_where"], self.name))
        groups = [str(n) for n, one in enumerate(found.values(), 1) if one.kind != "measure"]
        sql = (
            f"SELECT {', '.join(columns)}\n{self.sources({one.view for one in (found | filtered).values()})}"
        )
        sql += f"\nWHERE {' AND '.join(where)}" if where else ""
        sql += f"\nGROUP BY {', '.join(groups)}" if groups else ""
        return sql + _order(sorts, list(found))

    def sources(self, needed: set[str]) -> str:
        """FROM, and the joins of the views that are `needed`."""
        lines = [f"FROM {self._table(self.name)}"]
        for join in self.joins:
            on = self.resolve(join.get("sql") or join["sql_on"], join["name"])
            if join["name"] in needed:
                lines.append(on if "sql" in join else f"LEFT JOIN {self._table(join['name'])} ON {on}")
        return "\n".join(lines)

    def _table(self, view: str) -> str:
        place = self.views[view].sql_table_name.strip().strip("`")
        return f"{place.replace('@{dataset}', '${dataset}')} AS {view}"


def _order(sorts: Iterable[str], names: list[str]) -> str:
    wanted = []
    for sort in sorts:
        name, _, direction = sort.partition(" ")
        if name not in names:
            raise LookmlError(f"sorted by {name}, which is no field of the query")
        if direction not in {"", "asc", "desc"}:
            raise LookmlError(f"sorted {direction}")
        wanted.append(f"{names.index(name) + 1} {direction}".strip())
    return f"\nORDER BY {', '.join(wanted)}" if wanted else ""


def condition(one: Field, explore: Explore, text: str) -> str:
    """SQL of Looker's filter expression `text` on a field, as far as the project uses them."""
    sql = explore.expression(one)
    kind = "time" if one.kind == "time" else one.parameters.get("type")
    if kind == "time" and _PERIOD.fullmatch(text):
        return f"{sql} IS NOT NULL"  # the sample is of another day
    if kind == "yesno" and text.lower() in {"yes", "no"}:
        return sql if text.lower() == "yes" else f"NOT COALESCE({sql}, FALSE)"
    if kind == "number" and text == "NOT NULL":
        return f"{sql} IS NOT NULL"
    if kind == "number" and re.fullmatch(r"(<|<=|>|>=)-?\d+", text):
        return f"{sql} {text}"
    if kind == "string":
        return _text_condition(sql, text)
    raise LookmlError(f"{one.view}.{one.name}: cannot be filtered by {text!r}")


def _text_condition(sql: str, text: str) -> str:
    if text == "-EMPTY":
        return f"COALESCE({sql}, '') != ''"
    if re.search(r"(?<!\^)[%_]|[\"']", text):
        raise LookmlError(f"{text!r}: % and _ are wild, write ^% and ^_")
    names = [f"'{name.strip().replace('^', '')}'" for name in text.removeprefix("-").split(",")]
    return f"{sql} {'NOT ' if text.startswith('-') else ''}IN ({', '.join(names)})"
