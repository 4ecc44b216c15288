"""Views of LookML with their refinements, and the parameters that the project may use.

What Looker would refuse is refused here as far as the project uses it: parameters, types and formats that
are not listed are taken for mistakes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

Item = dict[str, Any]

_FIELD: Final = {
    "name", "type", "sql", "label", "description", "hidden", "value_format_name", "links",
}  # fmt: skip
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
        "conditionally_filter", "joins", "persist_for",
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
