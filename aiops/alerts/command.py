"""`aiops alerts`: the commands that look; those that act are in `act.py`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console

from aiops.alerts.act import Id, add_commands
from aiops.alerts.acting import ActionError, find_alert, read_views, report_errors
from aiops.alerts.tables import event_row, print_alert, print_alerts, print_silences, view_row
from aiops.query import Filters, open_tables, parse_since
from aiops.show_output import (
    DEFAULT_STORE,
    AsJson,
    Dataset,
    Limit,
    Service,
    Severity,
    Since,
    Store,
    Tenant,
    nothing_found,
    print_json,
    row_limit,
)
from aiops.text import one_line
from transforms.alert.view import AlertView
from transforms.alert_elements import AlertStatus
from transforms.clock import wall_clock_us
from transforms.elements import ANOMALY_SEVERITIES, CANARY_SERVICE, MICROSECONDS, SEVERITY_RANKS

app = typer.Typer(name="alerts", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_alerts(
    *,
    store: Store = DEFAULT_STORE,
    dataset: Dataset = "",
    tenant: Tenant = None,
    service: Service = None,
    severity: Severity = None,
    status: Annotated[
        str | None, typer.Option("--status", help="Only this: open, acknowledged, resolved, false_positive.")
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Only services of this owner.")] = None,
    since: Since = None,
    limit: Limit = None,
    show_all: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    silences: Annotated[bool, typer.Option("--silences", help="Silences by matchers instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the alerts that are open or acknowledged, the newest first; canaries only with --service."""
    _refuse_unknown("--severity", severity, ANOMALY_SEVERITIES)
    _refuse_unknown("--status", status, get_args(AlertStatus))
    with open_tables(store, dataset) as opened:
        views = list(read_views(opened, tenant).values())
    clock = wall_clock_us()
    found = [
        view
        for view in views
        if view.is_silence is silences
        and (show_all or status is not None or _is_current(view, clock))
        and (view.service != CANARY_SERVICE if service is None else view.service == service)
        and owner in (None, view.last.owner)
        and status in (None, view.status)
        and (severity is None or SEVERITY_RANKS[view.severity] >= SEVERITY_RANKS[severity])
    ]
    if since is not None and views:
        newest = datetime.fromtimestamp(max(view.updated_at for view in views) / MICROSECONDS, UTC)
        start = parse_since(since, newest).timestamp() * MICROSECONDS
        found = [view for view in found if view.updated_at >= start]
    shown = found[: row_limit(limit, as_json=as_json)]
    if as_json:
        print_json([view_row(view, clock) for view in shown])
        return
    console = Console()
    what = "silences" if silences else "alerts" if show_all or status else "open alerts"
    if not shown:
        over = (
            "" if show_all or not any(view.is_silence is silences for view in views) else " (--all has more)"
        )
        console.print(nothing_found(f"No {what}{over}", Filters(tenant, service, severity, since=since)))
        return
    (print_silences if silences else print_alerts)(console, shown, clock)
    if len(shown) < len(found):
        console.print(f"{len(shown):,} of {len(found):,} {what}; more with --limit.", style="dim")


def _is_current(view: AlertView, clock_us: int) -> bool:
    return view.is_active and not (view.is_silence and (view.last.silenced_until or 0) <= clock_us)


def _refuse_unknown(option: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(known)}", param_hint=option)


@app.command("show")
def show_alert(
    alert: Id,
    *,
    store: Store = DEFAULT_STORE,
    dataset: Dataset = "",
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Show all that is known of an alert or a silence, and who did what when."""
    with open_tables(store, dataset) as opened, report_errors():
        view = find_alert(read_views(opened, tenant).values(), alert, silences=True)
    clock = wall_clock_us()
    if as_json:
        print_json(view_row(view, clock) | {"events": [event_row(event) for event in view.events]})
        return
    print_alert(Console(), view, clock)


@app.command("export")
def export(
    out: Annotated[Path, typer.Option("--out", help="File to write: one event of JSON a line.")],
    *,
    store: Store = DEFAULT_STORE,
    dataset: Dataset = "",
    tenant: Tenant = None,
) -> None:
    """Write the events that a job without state begins with: aiops run … --alert_events FILE."""
    from pipeline.alert_log import PAST_DAYS, stored_events, write_events

    with open_tables(store, dataset) as opened, report_errors():
        events = stored_events(opened, tenant, past_days=PAST_DAYS)
        part = out.with_name(f"{out.name}.part")
        try:
            with part.open("wb") as file:
                count = write_events(events, file)
            part.replace(out)
        except OSError as error:
            raise ActionError(f"{out} cannot be written ({error.strerror}); name another --out") from error
    typer.echo(f"{count:,} events in {one_line(str(out))}")


add_commands(app)
