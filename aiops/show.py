"""`aiops show`: what a store holds, as a table for people or as JSON for programs."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from aiops import show_ledger
from aiops.cells import (
    LOG_STYLES,
    SEVERITY_STYLES,
    health_cell,
    leading_metric,
    make_table,
    metric_cells,
    number_cell,
    place_cells,
    place_names,
    severity_cell,
    text_cell,
    time_cell,
    what_cell,
)
from aiops.query import (
    Filters,
    find_anomalies,
    find_dead_letters,
    find_deploys,
    find_patterns,
    find_windows,
    open_store,
)
from aiops.show_output import (
    DEFAULT_STORE,
    WIDE,
    WIDEST,
    AsJson,
    Limit,
    Service,
    Severity,
    Since,
    Store,
    Tenant,
    plain_row,
    print_found,
    print_json,
    row_limit,
)
from aiops.text import one_line

app = typer.Typer(
    name="show",
    help="Show incidents, anomalies, windows, patterns, topology, deploys and more.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def anomalies(
    *,
    store: Store = DEFAULT_STORE,
    tenant: Tenant = None,
    service: Service = None,
    severity: Severity = None,
    anomaly_type: Annotated[
        str | None, typer.Option("--type", help="Only this type, e.g. error_spike.")
    ] = None,
    since: Since = None,
    limit: Limit = None,
    show_all: Annotated[bool, typer.Option("--all", help="Withdrawn anomalies too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show anomalies, the newest first."""
    filters = Filters(tenant, service, severity, anomaly_type, since, row_limit(limit, as_json=as_json))
    with open_store(store) as opened:
        found = find_anomalies(opened, filters, withdrawn=show_all)
    if as_json:
        print_json([plain_row(row) | {"leading_metric": leading_metric(row)} for row in found.rows])
        return
    console = Console()
    wide, widest = console.width >= WIDE, console.width >= WIDEST
    table = make_table("Time (UTC)", "Severity", *place_names(wide=wide), *(("Type",) if wide else ()))
    if widest:
        table.add_column("Value", justify="right", no_wrap=True)
        table.add_column("Expected", overflow="fold")
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
        where, numbers = place_cells(row, wide=wide), metric_cells(row) if widest else []
        table.add_row(time, severity_cell(row), *where, *kind, *numbers, what_cell(row, wide=wide), *more)
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
    filters = Filters(tenant=tenant, service=service, since=since, limit=row_limit(limit, as_json=as_json))
    with open_store(store) as opened:
        found = find_windows(opened, filters)
    if as_json:
        print_json([plain_row(row) for row in found.rows])
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
    filters = Filters(tenant, service, severity, None, since, row_limit(limit, as_json=as_json))
    with open_store(store) as opened:
        found = find_patterns(opened, filters, only_new=only_new)
    if as_json:
        print_json([plain_row(row) for row in found.rows])
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


@app.command()
def deploys(
    *,
    store: Store = DEFAULT_STORE,
    tenant: Tenant = None,
    service: Service = None,
    since: Since = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Show roll-outs that audit logs report, the newest first."""
    filters = Filters(tenant=tenant, service=service, since=since, limit=row_limit(limit, as_json=as_json))
    with open_store(store) as opened:
        found = find_deploys(opened, filters)
    if as_json:
        print_json([plain_row(row) for row in found.rows])
        return
    console = Console()
    wide = console.width >= WIDE
    table = make_table("Time (UTC)", *place_names(wide=wide))
    table.add_column("What", ratio=1, overflow="fold")
    table.add_column("By", overflow="fold")
    if wide:
        table.add_column("Method", overflow="fold")
    for row in found.rows:
        method = [text_cell(row["method_name"], 100)] if wide else []
        table.add_row(
            time_cell(row["deployed_at"], wide=wide),
            *place_cells(row, wide=wide),
            text_cell(row["what"], 200),
            text_cell(row["principal"], 100),
            *method,
        )
    print_found(console, table, found, "deploys", filters)


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
    filters = Filters(tenant=tenant, type=reason, since=since, limit=row_limit(limit, as_json=as_json))
    with open_store(store) as opened:
        found = find_dead_letters(opened, filters)
    if as_json:
        print_json([plain_row(row) for row in found.rows])
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


app.command()(show_ledger.ledger)
