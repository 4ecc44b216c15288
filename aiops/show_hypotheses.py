"""`aiops show hypotheses`: what Gemini claimed and code could not confirm."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from aiops.cells import make_table, number_cell, place_cells, place_names, text_cell, time_cell
from aiops.query import Filters, open_store
from aiops.query_gemini import find_hypotheses
from aiops.show_output import (
    DEFAULT_STORE,
    WIDE,
    AsJson,
    Limit,
    Service,
    Since,
    Store,
    Tenant,
    print_found,
    print_json,
    row_limit,
)
from pipeline.duckdb_store import Row

_MOST_CHECKS: Final = 3


def hypotheses(
    *,
    store: Store = DEFAULT_STORE,
    tenant: Tenant = None,
    service: Service = None,
    reason: Annotated[
        str | None, typer.Option("--type", help="Only those not believed for this, e.g. wrong_number.")
    ] = None,
    since: Since = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Show what Gemini claimed and was not believed, the newest first. None of it is an anomaly or an alert.

    JSON: a list of rows of the table `hypotheses` (docs/tables.md).
    """
    filters = Filters(tenant, service, None, reason, since, row_limit(limit, as_json=as_json))
    with open_store(store) as opened:
        found = find_hypotheses(opened, filters)
    if as_json:
        print_json(found.rows)
        return
    console = Console()
    wide = console.width >= WIDE
    table = make_table("Time (UTC)", *place_names(wide=wide))
    table.add_column("Gemini claimed", ratio=1, overflow="fold")
    table.add_column("Not believed because", ratio=1, overflow="fold")
    for row in found.rows:
        kind = (f"{text_cell(row['anomaly_type'], 60)} ", "dim")
        claim = Text.assemble(kind, text_cell(row["description"]))
        where = place_cells(row, wide=wide)
        table.add_row(time_cell(row["window_start"], wide=wide), *where, claim, _why_not(row))
    print_found(console, table, found, "hypotheses", filters)


def _why_not(row: Row) -> Text:
    wrong = [check for check in row["checks"] if not check["holds"]]
    said = Text.assemble((f"{row['reason']} ", "bold"), text_cell(row["detail"], 200))
    for check in wrong[:_MOST_CHECKS]:
        claimed, actual = number_cell(check["claimed"]), number_cell(check["actual"])
        said.append(f"\n{text_cell(check['metric'], 60)}: claimed {claimed}, counted {actual}", "dim")
    if more := len(wrong[_MOST_CHECKS:]):
        said.append(f"\nand {more} more", "dim")
    return said
