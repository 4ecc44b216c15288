"""`aiops show incidents` and `aiops show incident`: a hundred anomalies as one problem with a cause."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiops.cells import SEVERITY_STYLES, make_table, text_cell, time_cell
from aiops.incident_story import lasting_words, look_further, print_owner, print_story
from aiops.query import Filters, open_store
from aiops.query_incidents import find_actions, find_incident, find_incidents, find_owners
from aiops.show_output import (
    DEFAULT_STORE,
    WIDE,
    AsJson,
    Limit,
    Severity,
    Since,
    Store,
    Tenant,
    print_found,
    print_json,
    row_limit,
)
from aiops.text import one_line
from pipeline.duckdb_store import Row

ID_CHARACTERS = 8


def incidents(
    *,
    store: Store = DEFAULT_STORE,
    tenant: Tenant = None,
    service: Annotated[
        str | None, typer.Option("--service", help="Only where this service is affected or the cause.")
    ] = None,
    severity: Severity = None,
    status: Annotated[
        Literal["open", "updated", "quiet", "closed"] | None,
        typer.Option("--status", help="Only this status."),
    ] = None,
    active: Annotated[bool, typer.Option("--active", help="Only those that are not closed.")] = False,
    since: Since = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Show incidents, those that are not closed first, of each the newest first.

    JSON: a list of rows of the table `incidents` (docs/tables.md), each as it last stood.
    """
    filters = Filters(tenant, service, severity, None, since, row_limit(limit, as_json=as_json))
    with open_store(store) as opened:
        found = find_incidents(opened, filters, status=status, active=active)
    if as_json:
        print_json(found.rows)
        return
    console = Console()
    wide = console.width >= WIDE
    kind = " ".join(word for word in ("active" if active else "", status or "", "incidents") if word)
    print_found(console, _table(found.rows, wide=wide), found, kind, filters)
    if found.rows:
        counts = Counter(row["severity"] for row in found.rows)
        shown = ", ".join(f"{counts[name]} {name}" for name in SEVERITY_STYLES if counts[name])
        console.print(f"Shown: {shown}. The story of one: aiops show incident ID", style="dim")


def _table(rows: list[Row], *, wide: bool) -> Table:
    table = make_table("ID", "Since (UTC)", "Severity", *(("Status", "Tenant") if wide else ()))
    table.add_column("What happened", ratio=1, overflow="fold")
    if wide:
        table.add_column("Services", justify="right")
        table.add_column("Anomalies", justify="right")
        table.add_column("Lasted", no_wrap=True)
    for row in rows:
        style = "" if row["status"] == "closed" else SEVERITY_STYLES.get(row["severity"], "")
        services, count = len(row["affected_services"]), row["anomaly_count"]
        what = text_cell(row["title"], 200)
        if not wide:
            place = f"\n{one_line(row['tenant_id'], 60)} · {row['status']} · {count:,} anomal"
            what.append(f"{place}{'y' if count == 1 else 'ies'}", "dim")
        table.add_row(
            text_cell(row["incident_id"][:ID_CHARACTERS]),
            time_cell(row["started_at"], wide=wide),
            Text(row["severity"], style),
            *((Text(row["status"]), text_cell(row["tenant_id"], 60)) if wide else ()),
            what,
            *((f"{services:,}", f"{count:,}", lasting_words(row)) if wide else ()),
        )
    return table


def incident(
    incident_id: Annotated[
        str, typer.Argument(metavar="ID", help="Its id, or as much of its beginning as no other shares.")
    ],
    *,
    store: Store = DEFAULT_STORE,
    tenant: Tenant = None,
    show_all: Annotated[bool, typer.Option("--all", help="All anomalies, not the first 30 alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell one incident: what, since when, why, who feels it, and what to do next.

    JSON: the row of the table `incidents` (docs/tables.md), and `recommended_actions` and `commands`, lists
    of text.
    """
    with open_store(store) as opened:
        row = _the_one(find_incident(opened, incident_id, tenant), incident_id)
        actions = find_actions(opened, [row])[row["incident_id"]]
        owner = find_owners(opened, [row]).get(row["incident_id"])
    commands = look_further(row, store)
    if as_json:
        print_json({**row, "owner": owner, "recommended_actions": actions, "commands": commands})
        return
    print_owner(Console(), owner)
    print_story(Console(), row, actions, commands, show_all=show_all)


def _the_one(found: list[Row], prefix: str) -> Row:
    """The incident that was meant. Says which there are, and ends with code 1, where that is not clear."""
    if len(found) == 1 or (found and found[0]["incident_id"] == prefix.strip().lower()):
        return found[0]
    said = one_line(prefix, 40)
    if not found:
        typer.echo(f"Error: no incident's id begins with {said!r}; see `aiops show incidents`.", err=True)
    else:
        typer.echo(f"Error: several incidents' ids begin with {said!r}; give more of it:", err=True)
        for row in found:
            title = one_line(f"{row['tenant_id']} {row['title']}", 60)
            typer.echo(f"  {one_line(row['incident_id'], 40)}  {title}", err=True)
    raise typer.Exit(1)
