"""`aiops show`: what a store holds, as a table for people or as JSON for programs."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiops.cells import (
    LOG_STYLES,
    SEVERITY_STYLES,
    health_cell,
    make_table,
    number_cell,
    place_cells,
    place_names,
    severity_cell,
    text_cell,
    time_cell,
    what_cell,
)
from aiops.query import (
    LEDGER_COUNTS,
    Filters,
    Found,
    find_anomalies,
    find_dead_letters,
    find_ledger,
    find_patterns,
    find_windows,
    ledger_by_source,
    ledger_by_tenant,
    open_store,
    sum_ledger,
)
from aiops.text import escape_json_text, one_line
from pipeline.duckdb_store import Row

app = typer.Typer(
    name="show",
    help="Show anomalies, windows, patterns, dead letters or the ledger of a store.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Store = Annotated[str, typer.Option("--store", help="DuckDB file that `aiops run` filled.")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Only this tenant.")]
Service = Annotated[str | None, typer.Option("--service", help="Only this service.")]
Since = Annotated[
    str | None, typer.Option("--since", help="30m, 2h or 7d before the newest data, or an RFC 3339 time.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Rows to show; 50 in a table, all in JSON unless said.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output instead of a table.")]

DEFAULT_STORE: Final = "aiops.duckdb"
TABLE_ROWS: Final = 50
WIDE: Final = 120  # columns of a terminal from which a table shows more
_JSON_COLUMNS: Final = frozenset(
    {"severities", "statuses", "endpoints", "callers", "revisions", "fields", "ledger"}
)


@app.command()
def anomalies(
    *,
    store: Store = DEFAULT_STORE,
    tenant: Tenant = None,
    service: Service = None,
    severity: Annotated[
        str | None, typer.Option("--severity", help="At least this: low, medium, high or critical.")
    ] = None,
    anomaly_type: Annotated[
        str | None, typer.Option("--type", help="Only this type, e.g. error_spike.")
    ] = None,
    since: Since = None,
    limit: Limit = None,
    show_all: Annotated[bool, typer.Option("--all", help="Withdrawn anomalies too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show anomalies, the newest first."""
    filters = Filters(tenant, service, severity, anomaly_type, since, _limit(limit, as_json=as_json))
    with open_store(store) as opened:
        found = find_anomalies(opened, filters, withdrawn=show_all)
    if as_json:
        print_json([_plain(row) for row in found.rows])
        return
    console = Console()
    wide = console.width >= WIDE
    table = make_table("Time (UTC)", "Severity", *place_names(wide=wide), *(("Type",) if wide else ()))
    table.add_column("What happened", ratio=1, overflow="fold")
    if wide:
        table.add_column("Detector", overflow="fold")
        table.add_column("Sure", justify="right")
    for row in found.rows:
        time, kind = (
            time_cell(row["window_start"], wide=wide),
            [text_cell(row["anomaly_type"])] if wide else [],
        )
        more = [text_cell(row["detector"]), Text(f"{row['confidence_score']:.2f}")] if wide else []
        table.add_row(
            time, severity_cell(row), *place_cells(row, wide=wide), *kind, what_cell(row, wide=wide), *more
        )
    print_found(console, table, found, "anomalies", filters)
    if found.rows:
        counts = Counter(row["anomaly_severity"] for row in found.rows)
        shown = ", ".join(f"{counts[name]} {name}" for name in SEVERITY_STYLES if counts[name])
        console.print(f"Shown: {shown}.", style="dim")


@app.command()
def windows(
    *,
    store: Store = DEFAULT_STORE,
    tenant: Tenant = None,
    service: Service = None,
    since: Since = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Show what each service did in each window, the newest first."""
    filters = Filters(tenant=tenant, service=service, since=since, limit=_limit(limit, as_json=as_json))
    with open_store(store) as opened:
        found = find_windows(opened, filters)
    if as_json:
        print_json([_plain(row) for row in found.rows])
        return
    console = Console()
    wide = console.width >= WIDE
    table = make_table("Time (UTC)", *place_names(wide=wide))
    for name in ("Lines", "Errors", "Err %", *(("Warnings", "Requests", "p50 ms") if wide else ()), "p95 ms"):
        table.add_column(name, justify="right")
    for name in ("p99 ms", "Patterns", "New", "Denials", "Health") if wide else ("Health",):
        table.add_column(name, justify="right")
    for row in found.rows:
        errors = Text(f"{row['errors']:,}", "red" if row["errors"] else "")
        middle, end = [], []
        if wide:
            middle = [f"{row['warnings']:,}", f"{row['requests']:,}", number_cell(row["latency_p50_ms"])]
            counts = (f"{row[name]:,}" for name in ("distinct_patterns", "new_patterns", "denials"))
            end = [number_cell(row["latency_p99_ms"]), *counts]
        table.add_row(
            time_cell(row["window_start"], wide=wide),
            *place_cells(row, wide=wide),
            f"{row['lines']:,}",
            errors,
            f"{100 * row['error_rate']:.1f}",
            *middle,
            number_cell(row["latency_p95_ms"]),
            *end,
            health_cell(row["health_score"]),
        )
    print_found(console, table, found, "windows", filters)


@app.command()
def patterns(
    *,
    store: Store = DEFAULT_STORE,
    tenant: Tenant = None,
    service: Service = None,
    severity: Annotated[
        str | None, typer.Option("--severity", help="At least this severity of a log line, e.g. WARNING.")
    ] = None,
    since: Since = None,
    limit: Limit = None,
    only_new: Annotated[bool, typer.Option("--new", help="Only patterns never seen before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show log patterns with their counts, the most frequent first."""
    filters = Filters(tenant, service, severity, None, since, _limit(limit, as_json=as_json))
    with open_store(store) as opened:
        found = find_patterns(opened, filters, only_new=only_new)
    if as_json:
        print_json([_plain(row) for row in found.rows])
        return
    console = Console()
    wide = console.width >= WIDE
    table = make_table(*place_names(wide=wide))
    table.add_column("Lines", justify="right")
    table.add_column("Errors", justify="right")
    table.add_column("Severity")
    table.add_column("Pattern", ratio=1, overflow="fold")
    if wide:
        table.add_column("First seen", no_wrap=True)
    for row in found.rows:
        pattern = Text.assemble(("new ", "bold magenta") if row["is_new"] else "", text_cell(row["pattern"]))
        level = Text(row["severity"], LOG_STYLES.get(row["severity"], ""))
        more = [time_cell(row["first_seen"], wide=True)] if wide else []
        where = place_cells(row, wide=wide)
        table.add_row(*where, f"{row['count']:,}", f"{row['errors']:,}", level, pattern, *more)
    print_found(console, table, found, "patterns", filters)


@app.command("dead-letters")
def dead_letters(
    *,
    store: Store = DEFAULT_STORE,
    tenant: Tenant = None,
    reason: Annotated[str | None, typer.Option("--type", help="Part of the reason or of the stage.")] = None,
    since: Since = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Show payloads that could not be used, and why."""
    filters = Filters(tenant=tenant, type=reason, since=since, limit=_limit(limit, as_json=as_json))
    with open_store(store) as opened:
        found = find_dead_letters(opened, filters)
    if as_json:
        print_json([_plain(row) for row in found.rows])
        return
    console = Console()
    wide = console.width >= WIDE
    table = make_table("Received (UTC)", "Tenant", *(("Stage",) if wide else ()), "Reason")
    table.add_column("Count", justify="right")
    if wide:
        table.add_column("Bytes", justify="right")
    table.add_column("Payload", ratio=1, overflow="fold")
    for row in found.rows:
        reason_cell = Text.assemble(text_cell(row["reason"]), (f" {one_line(row['detail'], 80)}", "dim"))
        stage = [text_cell(row["stage"])] if wide else []
        size = [f"{row['payload_bytes']:,}"] if wide else []
        payload = text_cell(row["payload"], 200 if wide else 80)
        received, where = time_cell(row["receive_minute"], wide=wide), text_cell(row["tenant_id"])
        table.add_row(received, where, *stage, reason_cell, f"{row['count']:,}", *size, payload)
    print_found(console, table, found, "dead letters", filters)


@app.command()
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
        print_json(
            {
                **totals,
                "sources": sources,
                "tenants": tenants,
                "minutes": [_plain(minute) for minute in shown],
            }
        )
        return
    console = Console()
    if not minutes:
        console.print(_nothing("The ledger is empty", Filters(tenant=tenant, since=since)))
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


# ------------------------------------------------------------------------------------ output


def _limit(limit: int | None, *, as_json: bool) -> int | None:
    return limit if limit is not None or as_json else TABLE_ROWS


def print_found(console: Console, table: Table, found: Found, what: str, filters: Filters) -> None:
    if not found.rows:
        console.print(_nothing(f"No {what}", filters))
        return
    console.print(table)
    if found.total > len(found.rows):
        console.print(f"{len(found.rows):,} of {found.total:,} {what}; more with --limit.", style="dim")


def _nothing(what: str, filters: Filters) -> Text:
    given = {
        "--tenant": filters.tenant,
        "--service": filters.service,
        "--severity": filters.severity,
        "--type": filters.type,
        "--since": filters.since,
    }
    used = " ".join(f"{name} {one_line(value, 60)}" for name, value in given.items() if value is not None)
    mend = (
        f"with {used}. Leave out a filter to see more."
        if used
        else "in this store. If no logs are in it yet: `aiops run --input 'logs/*.ndjson' --store FILE`."
    )
    return Text(f"{what} {mend}")


def _plain(row: Row) -> Row:
    """`row` for JSON: columns that hold JSON text become objects."""
    return {name: _loads(value) if name in _JSON_COLUMNS else value for name, value in row.items()}


def _loads(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def print_json(value: object) -> None:
    encoded = orjson.dumps(value, option=orjson.OPT_UTC_Z | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    sys.stdout.write(escape_json_text(encoded.decode()))
