"""The command `aiops`. Each command lives in a module of its own; slow imports wait until they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from aiops import show
from aiops.alerts.command import app as alerts_app
from aiops.baselines import app as baselines_app
from aiops.catalog import app as catalog_app
from aiops.doctor.command import doctor
from aiops.explain import explain
from aiops.fetch import fetch
from aiops.launch import app as launch_app
from aiops.notify.command import app as notify_app
from aiops.quality import quality
from aiops.replay import app as replay_app
from aiops.report.command import report
from aiops.rules import app as rules_app
from aiops.show_baselines import baselines as show_baselines
from aiops.show_hypotheses import hypotheses
from aiops.show_incidents import incident, incidents
from aiops.show_topology import topology
from aiops.simulate.command import simulate
from aiops.warm_start import warm_start

app = typer.Typer(
    name="aiops",
    no_args_is_help=True,
    help="Find anomalies in Cloud Logging entries. Start with: aiops demo",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=_PASS_ON, add_help_option=False)
def run(context: typer.Context) -> None:
    """Read logs, find anomalies, write them to a store; aiops run --help shows all options."""
    from aiops.run import run_command

    raise typer.Exit(run_command(context.args, Console(stderr=True)))


show.app.command("baselines")(show_baselines)
for shown in (incidents, incident, topology, hypotheses):
    show.app.command()(shown)
app.add_typer(show.app, name="show", help="Show what a store holds.")
app.add_typer(alerts_app, name="alerts", help="Look at alerts, and act on them.")
app.command("quality")(quality)
app.command("report")(report)
app.add_typer(rules_app, name="rules", help="Check rules, or try them on a store.")
app.add_typer(baselines_app, name="baselines", help="Check a file on learned detection.")
app.add_typer(catalog_app, name="catalog", help="Check a service catalog.")
app.add_typer(notify_app, name="notify")
app.command("warm-start")(warm_start)
app.command("fetch")(fetch)
app.add_typer(launch_app, name="launch")
app.add_typer(replay_app, name="replay")
app.command(
    "doctor",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="All options of `aiops run` are taken too: give those that the job has.",
)(doctor)
app.command("simulate")(simulate)
app.command("explain")(explain)


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for the logs, the store and the report.")
    ] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Another seed makes other logs and faults.")] = 1,
) -> None:
    """Simulate half an hour of a small shop with faults, find them, and write a report."""
    from aiops.demo import run_demo

    raise typer.Exit(run_demo(folder, seed, Console()))


def main() -> None:
    """Entry point of the command."""
    app()
