"""What people do to alerts: a command, applied to the log of a store, or sent to the job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from aiops.text import one_line
from pipeline.alert_commands import check_command, redact_command
from pipeline.alert_log import stored_events
from pipeline.alert_messages import MessageError
from pipeline.alert_store import apply_commands
from pipeline.duckdb_store import DuckDBStore, StoreError
from pipeline.table_reader import TableReader
from transforms.alert.view import AlertView, fold_events
from transforms.alert_elements import AlertCommand, AlertEvent
from transforms.redact.redactor import Redactor

ID_CHARACTERS = 32
_SHOWN_MATCHES = 5


class ActionError(Exception):
    """Nothing was done; the message says why and what to do."""


@contextmanager
def report_errors() -> Iterator[None]:
    """What goes wrong is printed in one line and ends the command with code 1."""
    try:
        yield
    except (ActionError, StoreError) as error:
        typer.echo(f"Error: {one_line(str(error))}", err=True)
        raise typer.Exit(1) from error


def find_alert(views: Iterable[AlertView], prefix: str, *, silences: bool = False) -> AlertView:
    """The one alert (or silence) whose id begins with `prefix`. Raises ActionError."""
    what = "alert or silence" if silences else "alert"
    wanted = prefix.strip().lower()
    candidates = [view for view in views if silences or not view.is_silence]
    found = [view for view in candidates if view.alert_id.startswith(wanted)] if wanted else []
    if len(found) == 1:
        return found[0]
    if not found:
        raise ActionError(f"no {what} begins with {prefix!r}; `aiops alerts list --all` has all of them")
    shown = ", ".join(view.alert_id[: len(wanted) + 4] for view in found[:_SHOWN_MATCHES])
    more = ", …" if len(found) > _SHOWN_MATCHES else ""
    raise ActionError(f"{len(found)} ids begin with {prefix!r} ({shown}{more}); write more of it")


def read_views(reader: TableReader, tenant: str | None = None) -> dict[str, AlertView]:
    """All alerts and silences, the one opened last first. Raises StoreError or BigQueryError."""
    return fold_events(stored_events(reader, tenant))


def apply_to_store(path: str, command: AlertCommand, redactor: Redactor, clock_us: int) -> list[AlertEvent]:
    """Apply `command` to the alerts of the store at `path` and append what follows, in one transaction.

    The events are those of the job's own state machine, after what the log says of the past; an
    impossible command gives the event `rejected`, which is kept as well. Raises ActionError for a
    command that cannot be used, and StoreError.
    """
    if not Path(path).is_file():
        raise StoreError(f"There is no store at {path}. Name another with --store.")
    try:
        check_command(command)
    except MessageError as error:
        raise ActionError(error.detail) from None
    command = redact_command(command, command.tenant_id, redactor)
    with DuckDBStore(path) as store:
        return apply_commands(store, [command], clock_us)


def answer_of(events: Iterable[AlertEvent], command_id: str) -> AlertEvent | None:
    """The event that answers the command; None where a copy of it was known."""
    return next((event for event in events if event.command_id == command_id), None)
