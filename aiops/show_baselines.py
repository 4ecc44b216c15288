"""`aiops show baselines`: what was learned of each service and signal, and what is still missing."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiops.cells import make_table, number_cell, place_cells, place_names, text_cell, time_cell
from aiops.query import Filters, find_baselines, open_store
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
from transforms.detect.baselines.seasons import WEEK_HOURS

_STYLES: Final = {"learning": "yellow", "ready": "green", "alarming": "bold red"}


def baselines(
    *,
    store: Store = DEFAULT_STORE,
    tenant: Tenant = None,
    service: Service = None,
    signal: Annotated[
        str | None, typer.Option("--signal", help="Only these signals; * stands for any text.")
    ] = None,
    status: Annotated[
        Literal["learning", "ready", "alarming"] | None, typer.Option("--status", help="Only this status.")
    ] = None,
    since: Since = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Show what is learned of each service; with --service, --signal or --status of its signals."""
    filters = Filters(tenant=tenant, service=service, since=since, limit=row_limit(limit, as_json=as_json))
    of_services = not (service or signal or status or as_json)
    with open_store(store) as opened:
        found = find_baselines(opened, filters, signal="" if of_services else signal, status=status)
    if as_json:
        print_json(found.rows)
        return
    console = Console()
    wide = console.width >= WIDE
    table = make_table(*place_names(wide=wide), *(() if of_services else ("Signal",)), "Status")
    if of_services:
        _add_services(table, found.rows, wide=wide)
    else:
        _add_signals(table, found.rows, wide=wide)
    print_found(console, table, found, "services" if of_services else "baselines", filters)
    if found.rows and of_services:
        console.print("Its signals: aiops show baselines --service NAME.", style="dim")


def _add_services(table: Table, rows: list[Row], *, wide: bool) -> None:
    names = ("Signals", "Learning", "Alarming", "Windows") if wide else ("Signals", "Learning")
    for name in names:
        table.add_column(name, justify="right")
    for name in ("Missing", *(("Learns since (UTC)",) if wide else ()), "As of (UTC)"):
        table.add_column(name, overflow="fold", no_wrap="UTC" in name)
    for row in rows:
        counts = [f"{row['signals']:,}", f"{row['signals_learning']:,}"]
        more = [f"{row['signals_alarming']:,}", f"{row['windows']:,}"] if wide else []
        since = [time_cell(row["learns_since"], wide=True)] if wide else []
        times = (*since, time_cell(row["as_of"], wide=wide))
        missing = _missing(row, wide=wide)
        table.add_row(*place_cells(row, wide=wide), _status(row), *counts, *more, missing, *times)


def _add_signals(table: Table, rows: list[Row], *, wide: bool) -> None:
    for name in ("Usual", "Low", "High", *(("Windows", "Alarms") if wide else ())):
        table.add_column(name, justify="right")
    for name in ("Missing", *(("Learns since (UTC)", "As of (UTC)") if wide else ())):
        table.add_column(name, overflow="fold", no_wrap="UTC" in name)
    for row in rows:
        band = [number_cell(row[name]) for name in ("baseline", "band_low", "band_high")]
        counts = [f"{row['windows']:,}", f"{row['alarms']:.1f}"] if wide else []
        times = [time_cell(row[name], wide=True) for name in ("learns_since", "as_of")] if wide else []
        signal = text_cell(row["signal"], 80) if row["signal"] else Text("(the service)", "dim")
        missing = _missing(row, wide=wide)
        table.add_row(*place_cells(row, wide=wide), signal, _status(row), *band, *counts, missing, *times)


def _status(row: Row) -> Text:
    return Text(row["status"], _STYLES.get(row["status"], ""))


def _missing(row: Row, *, wide: bool) -> Text:
    """What it has not learned yet, in words."""
    parts = []
    if row["windows_missing"]:
        parts.append(f"{row['windows_missing']:,} windows")
    elif row["cautious_until"] is not None:
        moment = time_cell(row["cautious_until"], wide=wide)
        parts.append(f"cautious until {moment}" if wide else f"careful to {moment}")
    if row["hours_known"] is not None and row["hours_known"] < WEEK_HOURS:
        parts.append(f"{WEEK_HOURS - row['hours_known']} {'hours of the week' if wide else 'h'}")
    return Text(", ".join(parts) or "–")
