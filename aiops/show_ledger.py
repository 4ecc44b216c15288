"""`aiops show ledger`: whether every line received is accounted for."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiops.cells import make_table, text_cell, time_cell
from aiops.query import (
    LEDGER_COUNTS,
    Filters,
    find_ledger,
    ledger_by_source,
    ledger_by_tenant,
    open_store,
    sum_ledger,
)
from aiops.show_output import (
    DEFAULT_STORE,
    TABLE_ROWS,
    WIDE,
    AsJson,
    Limit,
    Since,
    Store,
    Tenant,
    nothing_found,
    plain_row,
    print_json,
)
from aiops.text import one_line
from pipeline.duckdb_store import Row


def ledger(
    *,
    store: Store = DEFAULT_STORE,
    tenant: Tenant = None,
    since: Since = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Show whether every line and metric point was analyzed, late, duplicate, filtered or dead-lettered."""
    with open_store(store) as opened:
        minutes = find_ledger(opened, Filters(tenant=tenant, since=since))
    totals = sum_ledger(minutes)
    if as_json:
        shown = minutes[-limit:] if limit else minutes
        tenants = ledger_by_tenant(minutes)
        sources = ledger_by_source(minutes)
        rows = [plain_row(minute) for minute in shown]
        print_json({**totals, "sources": sources, "tenants": tenants, "minutes": rows})
        return
    console = Console()
    if not minutes:
        console.print(nothing_found("The ledger is empty", Filters(tenant=tenant, since=since)))
        return
    wide = console.width >= WIDE
    table = _ledger_table("Tenant", wide=wide)
    for row in ledger_by_tenant(minutes):
        _add_ledger_row(table, Text.assemble(text_cell(row["tenant_id"]), _of_source(row)), row)
    table.add_section()
    for row in ledger_by_source(minutes):
        _add_ledger_row(table, Text.assemble(("all", "bold"), _of_source(row)), row)
    console.print(table)
    _print_unbalanced(console, [minute for minute in minutes if not minute["balanced"]], limit or TABLE_ROWS)


def _of_source(row: Row) -> Text:
    # Lines go without saying.
    return Text(" points" if row["source"] == "metrics" else "", "dim")


def _ledger_table(*first: str, wide: bool) -> Table:
    table = make_table(*first)
    names = LEDGER_COUNTS if wide else ("received", "analyzed", "late", "dup.", "filt.", "dead")
    for name in names:
        table.add_column(name.replace("_", " ").capitalize(), justify="right")
    table.add_column("Balanced" if wide else "OK", overflow="fold")
    return table


def _add_ledger_row(table: Table, first: Text, row: Row) -> None:
    balance = Text("yes", "green") if row["balanced"] else Text(f"no ({row['difference']:+,})", "bold red")
    table.add_row(first, *(f"{row[name]:,}" for name in LEDGER_COUNTS), balance)


def _print_unbalanced(console: Console, minutes: list[Row], limit: int) -> None:
    if not minutes:
        console.print("Every line received is accounted for.", style="green")
        return
    console.print(
        f"Minutes that do not balance: {len(minutes):,} (received minus the rest). A run that was stopped "
        "early leaves such minutes: run it again over the same input. If they stay, lines were lost: report "
        "it with this table.",
        style="bold red",
    )
    wide = console.width >= WIDE
    table = _ledger_table("Received (UTC)", wide=wide)
    for minute in minutes[:limit]:
        first = Text.assemble(
            time_cell(minute["receive_minute"], wide=wide),
            f" {one_line(minute['tenant_id'], 60)}",
            _of_source(minute),
        )
        _add_ledger_row(table, first, minute)
    console.print(table)
