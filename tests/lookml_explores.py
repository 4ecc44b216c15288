"""Explores of LookML: fields by name, and the SQL of a query as Looker would make it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from lookml_views import Field, Item, LookmlError, View, check_parameters

_RELATIONSHIPS: Final = {"many_to_one", "one_to_one", "one_to_many"}
_DATES: Final = {"date", "week", "month"}
_AGGREGATES: Final = {"sum": "SUM", "average": "AVG", "min": "MIN", "max": "MAX"}
_PERIOD: Final = re.compile(r"\d+ (minute|hour|day)s?")
_REFERENCE: Final = re.compile(r"\$\{([\w.]+)\}")


class Explore:
    """An explore over `views`: fields by name, and the SQL of queries."""

    def __init__(self, item: Item, views: dict[str, View]) -> None:
        check_parameters("explore", item)
        self.item, self.name = item, item["name"]
        self.joins: list[Item] = item.get("joins", [])
        for join in self.joins:
            check_parameters("join", join)
            if join.get("relationship") not in _RELATIONSHIPS:
                raise LookmlError(f"explore {self.name}: the relationship of {join['name']} is not said")
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

        return _REFERENCE.sub(replaced, sql)

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
