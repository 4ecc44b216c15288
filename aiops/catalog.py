"""`aiops catalog`: explain a service catalog, or say what is wrong with it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aiops.text import one_line
from transforms.alert.catalog import CatalogEntry, ServiceCatalog

app = typer.Typer(help="Explain a service catalog.", no_args_is_help=True)
_WEIGHS = {
    "": "",
    "tier-1": "severity one step up, low stays low",
    "tier-2": "severity as found",
    "tier-3": "severity one step down, security incidents never",
    "tier-4": "severity two steps down, security incidents never",
}


@app.callback()
def _commands() -> None:
    """Without a callback typer would take the only command for the app itself."""


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(help="Service catalogs, local or gs://.")],
) -> None:
    """Say in words what the file holds, in the order in which entries are tried, or what is wrong with it."""
    from pipeline.catalog_source import CatalogError, read_catalog
    from pipeline.operator_files import FileUnreadableError

    console = Console()
    failed = False
    for path in files:
        try:
            catalog = read_catalog(path)
        except CatalogError as error:
            failed = True
            for problem in error.problems:
                typer.echo(one_line(problem), err=True)
        except FileUnreadableError as error:
            failed = True
            typer.echo(one_line(str(error)), err=True)
        else:
            console.print(explain_catalog(catalog, path))
    if failed:
        raise typer.Exit(1)


def explain_catalog(catalog: ServiceCatalog, title: str) -> Table:
    """A row for each entry: whom it is for, and a line for each thing that it says."""
    version = f", version {catalog.version}" if catalog.version else ", empty"
    table = Table(title=escape(f"{title}{version}"), show_lines=True)
    table.add_column("service", min_width=18, max_width=36, overflow="fold")
    table.add_column("what holds for it", overflow="fold")
    for entry in catalog.entries:
        table.add_row(escape(_whom(entry)), escape("\n".join(explain_entry(entry)) or "nothing is said"))
    rest = "all others" if catalog.entries else "all"
    if all((entry.service, entry.tenant) != ("*", "*") for entry in catalog.entries):
        table.add_row(rest, "no owner, no runbook, severity as found")
    return table


def explain_entry(entry: CatalogEntry) -> list[str]:
    """What an entry says, a line for each thing."""
    objective = entry.slo
    promises = []
    if objective is not None and objective.availability_percent is not None:
        promises.append(f"{objective.availability_percent:g} % of requests do well")
    if objective is not None and objective.latency_ms is not None:
        promises.append(f"within {objective.latency_ms:,} ms")
    if objective is not None:
        promises.append(f"over {objective.window_days} days")
    said = {
        "owner": entry.owner,
        "tier": f"{entry.tier}: {_WEIGHS[entry.tier]}" if entry.tier else "",
        "channel": entry.channel,
        "runbook": entry.runbook,
        "SLO": ", ".join(promises),
        "calls": ", ".join(entry.calls),
    }
    return [f"{name}: {text}" for name, text in said.items() if text]


def _whom(entry: CatalogEntry) -> str:
    service = entry.service if entry.service != "*" else "every service"
    return service if entry.tenant == "*" else f"{service}\nof tenant {entry.tenant}"
