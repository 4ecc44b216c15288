"""`aiops notify`: tell people of alerts, check a policy, look after what could not be sent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiops.text import one_line
from transforms.clock import wall_clock_us

app = typer.Typer(
    help="Tell people and services of alerts, by a policy file.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_State = Annotated[Path, typer.Option("--state", help="SQLite file that remembers what was told.")]
_DEFAULT_STATE = Path("notify.sqlite")


@app.callback(invoke_without_command=True)
def notify(
    context: typer.Context,
    *,
    policy: Annotated[str, typer.Option(help="Policy file (local or gs://): see docs/notify.md.")] = "",
    subscription: Annotated[
        str, typer.Option(help="Subscription to alert events: projects/P/subscriptions/S.")
    ] = "",
    store: Annotated[str, typer.Option(help="Or a local DuckDB store that no job is writing to.")] = "",
    state: _State = _DEFAULT_STATE,
    commands: Annotated[
        str,
        typer.Option(
            help="Topic of commands, where repeats and escalations are logged: projects/P/topics/T; "
            "{tenant} in it stands for the tenant. With --store they go into the store."
        ),
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="Tell what is due now, then end.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be sent now; send and keep nothing.")
    ] = False,
) -> None:
    """Tell people and services of alerts, by a policy file, until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    from aiops.notify.session import Request, run_session

    request = Request(policy, subscription, store, str(state), commands, once=once, dry_run=dry_run)
    raise typer.Exit(run_session(request, Console(), Console(stderr=True)))


@app.command()
def check(
    file: Annotated[str, typer.Argument(help="Policy file, local or gs://.")],
) -> None:
    """Say in words whom a policy tells of what, or what is wrong with it, by line."""
    from aiops.notify.explain import explain_policy
    from aiops.notify.policy_reading import PolicyError
    from aiops.notify.session import read_policy
    from pipeline.operator_files import FileUnreadableError

    console = Console()
    try:
        policy = read_policy(file)
    except PolicyError as error:
        for problem in error.problems:
            typer.echo(one_line(problem), err=True)
        raise typer.Exit(1) from None
    except FileUnreadableError as error:
        typer.echo(one_line(str(error)), err=True)
        raise typer.Exit(1) from None
    for table in explain_policy(policy, file):
        console.print(table)


@app.command("try")
def try_channel(
    channel: Annotated[str, typer.Argument(help="Name of a channel of the policy.")],
    policy: Annotated[str, typer.Option(help="Policy file, local or gs://.")],
) -> None:
    """Send a made-up alert to one channel and its end after it, to see that it arrives."""
    from aiops.notify.session import try_one

    raise typer.Exit(try_one(policy, channel, Console(), Console(stderr=True)))


@app.command()
def failed(state: _State = _DEFAULT_STATE) -> None:
    """List what could not be sent, and messages that could not be read."""
    from aiops.notify.session import open_state
    from aiops.notify.wording import time_text

    outbox = open_state(state)
    table = Table("id", "when", "channel", "alert", "what", "why", title="Not sent")
    letters = outbox.failed()
    for letter in letters:
        cells = [letter.dead_id, time_text(letter.failed_us), letter.channel or "(not read)"]
        cells += [letter.alert_id, letter.kind, letter.reason]
        table.add_row(*(Text(one_line(cell, 200)) for cell in cells))
    outbox.close()
    Console().print(table if letters else "Everything was sent.")


@app.command()
def retry(
    notice_id: Annotated[str, typer.Argument(help="Id that `failed` lists, its beginning, or 'all'.")],
    state: _State = _DEFAULT_STATE,
) -> None:
    """Send again what could not be sent; a running `aiops notify` does so within a second."""
    from aiops.notify.session import open_state

    if not notice_id.strip():
        raise typer.BadParameter("give an id that `aiops notify failed` lists, or all")
    outbox = open_state(state)
    again, late = outbox.retry("" if notice_id == "all" else notice_id, wall_clock_us())
    outbox.close()
    for letter in again:
        typer.echo(f"{letter.dead_id}: will be sent to {letter.channel} again")
    for letter in late:
        typer.echo(f"{letter.dead_id}: the alert {one_line(letter.alert_id, 64)} is over by now; not sent")
    if not again and not late:
        typer.echo(
            f"There is no notice {one_line(notice_id, 80)} to retry; see: aiops notify failed", err=True
        )
        raise typer.Exit(1)
