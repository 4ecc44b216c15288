"""`aiops launch`: the job on Dataflow, from the flex template."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer
from rich.console import Console

from aiops.cells import make_table, text_cell, time_cell
from aiops.text import visible_text

if TYPE_CHECKING:
    from aiops.dataflow_jobs import Job, Place

app = typer.Typer(no_args_is_help=True, help="Start, list and stop the job on Dataflow.")

_NAME: Final = r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?"
Project = Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", help="Project that the job runs in.")]
Region = Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_REGION", help="Region, e.g. europe-west1.")]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="Name or id of the job.")]


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="All options of `aiops run` are taken too, and checked before the job starts.",
)
def start(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the job: a-z, 0-9 and -.")],
    project: Project,
    region: Region,
    template: Annotated[str, typer.Option(help="The template that templates/build.sh made: gs://…")],
    *,
    update: Annotated[bool, typer.Option("--update", help="Replace the running job of that name.")] = False,
    validate_only: Annotated[bool, typer.Option("--validate-only", help="Check, start nothing.")] = False,
    service_account: Annotated[str, typer.Option(help="Service account of the workers.")] = "",
    machine_type: Annotated[str, typer.Option(help="Machine type of the workers.")] = "",
    max_workers: Annotated[int, typer.Option(min=0, help="Most workers; 0 leaves it to Dataflow.")] = 0,
    subnetwork: Annotated[str, typer.Option(help="regions/R/subnetworks/S.")] = "",
    public_ips: Annotated[bool, typer.Option("--public-ips", help="Workers with public addresses.")] = False,
    temp_location: Annotated[str, typer.Option(help="Folder for temporary files: gs://…")] = "",
    kms_key: Annotated[str, typer.Option(help="Key of your own for state: projects/…/cryptoKeys/K.")] = "",
) -> None:
    """Start the job, or replace the running one without losing what it knows."""
    import re

    from aiops.dataflow_jobs import Workers, job_parameters, start_job
    from pipeline.options import parse_options
    from pipeline.settings import OptionsError

    if not re.fullmatch(_NAME, name):
        raise typer.BadParameter("use a-z, 0-9 and -, beginning with a letter", param_hint="NAME")
    if not template.startswith("gs://"):
        raise typer.BadParameter("must look like gs://BUCKET/aiops.json", param_hint="--template")
    try:
        settings, _ = parse_options([*context.args, "--runner=DataflowRunner"], "aiops launch start")
    except OptionsError as error:
        typer.echo(f"Error: {visible_text(str(error))}", err=True)
        raise typer.Exit(2) from None
    workers = Workers(
        service_account, machine_type, max_workers, subnetwork, public_ips, temp_location, kms_key
    )
    with _reported():
        job = start_job(
            _place(project, region), name, template, job_parameters(settings), workers,
            update=update, validate_only=validate_only,
        )  # fmt: skip
    if validate_only:
        typer.echo("Dataflow would start it.")
        return
    typer.echo(f"{'Replacing' if update else 'Started'} {name}, job {job.job_id}")
    typer.echo(f"https://console.cloud.google.com/dataflow/jobs/{region}/{job.job_id}?project={project}")


@app.command("list")
def list_command(
    project: Project,
    region: Region,
    *,
    ended: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """The jobs of a region, the newest first."""
    from aiops.dataflow_jobs import list_jobs

    with _reported():
        jobs = list_jobs(_place(project, region), ended=ended)
    if as_json:
        for job in jobs:
            typer.echo(orjson.dumps(job, option=orjson.OPT_UTC_Z).decode())
        return
    if not jobs:
        typer.echo("No jobs." if ended else "No active jobs; --all shows those that have ended.")
        return
    _print_jobs(jobs)


@app.command()
def drain(job: JobName, project: Project, region: Region) -> None:
    """Stop taking in, finish what is in flight, write all windows, then end. Takes minutes; loses nothing."""
    _end(job, project, region, how="drain")


@app.command()
def stop(
    job: JobName,
    project: Project,
    region: Region,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Cancel at once: open windows are lost, and what was learned since the last snapshot."""
    if not yes:
        typer.confirm(
            "Lines that are acknowledged and not written yet get lost; `drain` loses none. Stop?",
            abort=True,
        )
    _end(job, project, region, how="stop")


def _end(job: str, project: str, region: str, *, how: str) -> None:
    from aiops.dataflow_jobs import end_job

    with _reported():
        ended = end_job(_place(project, region), job, drain=how == "drain")
    done = "Draining" if how == "drain" else "Stopping"
    typer.echo(f"{done} {ended.name}, job {ended.job_id}")


def _place(project: str, region: str) -> Place:
    from aiops.dataflow_jobs import Place

    return Place(project, region)


def _print_jobs(jobs: list[Job]) -> None:
    table = make_table("Name", "State", "Started (UTC)", "Id")
    for job in jobs:
        started = time_cell(job.created_at, wide=True) if job.created_at else ""
        table.add_row(text_cell(job.name, 100), job.state.lower(), started, text_cell(job.job_id, 100))
    Console().print(table)


@contextmanager
def _reported() -> Iterator[None]:
    from aiops.dataflow_jobs import LaunchError

    try:
        yield
    except LaunchError as error:
        typer.echo(f"Error: {visible_text(str(error))}", err=True)
        raise typer.Exit(1) from error
