"""`aiops show topology`: who calls whom, how often, how well and how fast."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiops.cells import make_table, number_cell, text_cell, time_cell
from aiops.query import Filters, Found, open_store
from aiops.query_incidents import find_dependencies, reach_of
from aiops.show_output import (
    DEFAULT_STORE,
    WIDE,
    AsJson,
    Limit,
    Since,
    Store,
    Tenant,
    print_found,
    print_json,
    row_limit,
)
from aiops.text import one_line
from pipeline.duckdb_store import Row

_ILL_SHARE: Final = 0.05
_DIRECTIONS: Final = {
    "upstream": "Upstream: who calls it, and who calls them",
    "downstream": "Downstream: whom it calls, and whom they call",
}


def topology(
    *,
    store: Store = DEFAULT_STORE,
    tenant: Tenant = None,
    service: Annotated[
        str | None, typer.Option("--service", help="Only what leads to this service and away from it.")
    ] = None,
    since: Since = None,
    limit: Limit = None,
    unused: Annotated[bool, typer.Option("--all", help="Edges that nobody used for a day too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which service calls which: from mesh logs, traces and configuration. Figures are of an hour.

    JSON: a list of rows of the table `dependencies` (docs/tables.md), each with `error_share` (0 to 1, or
    null) and `is_used`; with --service also `direction` (upstream, downstream) and `steps` (1 is direct).
    """
    filters = Filters(tenant=tenant, service=service, since=since, limit=row_limit(limit, as_json=as_json))
    with open_store(store) as opened:
        edges = find_dependencies(opened, filters, unused=unused)
    if service is not None:
        edges = reach_of(edges, service)
    found = Found(edges[: filters.limit], len(edges))
    if as_json:
        print_json(found.rows)
        return
    console = Console()
    wide = console.width >= WIDE
    if service is None or not found.rows:
        print_found(console, _table(found.rows, wide=wide), found, "dependencies", filters)
        return
    for direction, words in _DIRECTIONS.items():
        rows = [row for row in found.rows if row["direction"] == direction]
        console.print(Text(words, "bold"))
        if rows:
            console.print(_table(rows, wide=wide))
        else:
            console.print(Text("nobody that is known", "dim"))
        console.print()
    if found.total > len(found.rows):
        console.print(f"{len(found.rows):,} of {found.total:,} dependencies; more with --limit.", style="dim")


def _table(rows: list[Row], *, wide: bool) -> Table:
    table = make_table()
    table.add_column("Caller → callee", ratio=1, overflow="fold")
    table.add_column("Source")
    for name in ("Per min", "Err %", "p50 ms", "p95 ms"):
        table.add_column(name, justify="right")
    table.add_column("Last seen (UTC)" if wide else "Seen", no_wrap=True)
    several = len({row["tenant_id"] for row in rows}) > 1
    for row in rows:
        place = f"{one_line(row['tenant_id'], 60)} " if several else ""
        inset = "  " * min(row.get("steps", 1) - 1, 6)
        names = f"{inset}{one_line(row['caller'], 60)} → {one_line(row['callee'], 60)}"
        table.add_row(
            Text.assemble((place, "dim"), (names, "" if row["is_used"] else "dim")),
            text_cell(row["source"] if wide else row["source"].replace("configuration", "config")),
            number_cell(row["requests_per_minute"]),
            _share_cell(row["error_share"]),
            number_cell(row["latency_p50_ms"]),
            number_cell(row["latency_p95_ms"]),
            time_cell(row["last_seen"], wide=wide),
        )
    return table


def _share_cell(share: float | None) -> Text:
    if share is None:
        return Text("–", "dim")
    return Text(f"{100 * share:.1f}", "bold red" if share >= _ILL_SHARE else "")
