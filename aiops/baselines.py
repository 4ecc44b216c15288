"""`aiops baselines`: explain a file on learned detection, or say what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aiops.text import one_line
from transforms.detect.baselines.book import (
    OFF,
    BaselineBook,
    CalendarEntry,
    DatedMaintenance,
    FieldEntry,
    Maintenance,
    SignalEntry,
)
from transforms.detect.baselines.book_loading import BookError
from transforms.detect.baselines.book_reading import WEEKDAYS

app = typer.Typer(help="Explain a file on learned detection.", no_args_is_help=True)
_EVERY_DAY = tuple(range(7))
_TAKES = {"mean": "the mean", "max": "the highest", "sum": "the sum", "p95": "the 95th percentile"}


@app.callback()
def _commands() -> None:
    """Without a callback typer would take the only command for the app itself."""


@app.command()
def check(
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Baselines files, local or gs://; without any, what holds without one."),
    ] = None,
) -> None:
    """Say in words what the file does, per tenant and signal, or what is wrong with it, by line."""
    from pipeline.baselines_source import read_baselines
    from pipeline.operator_files import FileUnreadableError

    console = Console()
    failed = False
    for path in files or [""]:
        try:
            book = read_baselines(path)
        except BookError as error:
            failed = True
            for problem in error.problems:
                typer.echo(one_line(problem), err=True)
            continue
        except FileUnreadableError as error:
            failed = True
            typer.echo(one_line(str(error)), err=True)
            continue
        for table in explain_book(book, path or "without a file"):
            console.print(table)
    if failed:
        raise typer.Exit(1)


def explain_book(book: BaselineBook, title: str) -> Iterator[Table]:
    """Tables of calendars, signals and fields, each in the order in which entries are tried."""
    calendars = _table(f"{title}, version {book.version}", "tenant", "calendar")
    for calendar in book.calendars:
        calendars.add_row(escape(calendar.tenant), escape("\n".join(explain_calendar(calendar))))
    if all(calendar.tenant != "*" for calendar in book.calendars):
        rest = "all others" if book.calendars else "all"
        calendars.add_row(rest, escape("\n".join(explain_calendar(CalendarEntry()))))
    yield calendars
    signals = _table("", "signal", "what is done")
    for signal in book.signals:
        signals.add_row(escape(_whom(signal)), escape("\n".join(explain_signal(signal))))
    if all((entry.signal, entry.service, entry.tenant) != ("*", "*", "*") for entry in book.signals):
        rest = "all others" if book.signals else "all"
        signals.add_row(rest, "as the product does: see docs/baselines.md")
    yield signals
    if book.fields:
        fields = _table("", "field", "what it is")
        for field in book.fields:
            fields.add_row(escape(field.name), escape(explain_field(field)))
        yield fields


def _table(title: str, first: str, second: str) -> Table:
    table = Table(title=escape(title) or None, show_lines=True)
    table.add_column(first, min_width=18, max_width=36, overflow="fold")
    table.add_column(second, overflow="fold")
    return table


def explain_calendar(calendar: CalendarEntry) -> Iterator[str]:
    """The clock, the days off, the holidays and each span of maintenance, a line each."""
    days = _listed([WEEKDAYS[day] for day in calendar.days_off]) or "no day of the week"
    yield f"clock: {calendar.zone}"
    yield f"days off: {days}"
    if calendar.holidays:
        dates = ", ".join(day.isoformat() for day in calendar.holidays)
        yield f"holidays, compared with days off: {dates}"
    for maintenance in calendar.maintenance:
        yield f"nothing is learned and nothing alarms: {explain_maintenance(maintenance)}"


def explain_maintenance(maintenance: Maintenance) -> str:
    """When, of which services, and why, on the tenant's clocks."""
    services = "" if maintenance.services == ("*",) else f", {_listed(list(maintenance.services))} only"
    note = f" ({maintenance.note})" if maintenance.note else ""
    if isinstance(maintenance, DatedMaintenance):
        return f"{maintenance.start:%Y-%m-%d %H:%M} to {maintenance.end:%Y-%m-%d %H:%M}{services}{note}"
    every = _listed([WEEKDAYS[day] for day in maintenance.days])
    days = "day" if maintenance.days == _EVERY_DAY else every
    overnight = " the next day" if maintenance.end_minute <= maintenance.start_minute else ""
    start, end = _clock(maintenance.start_minute), _clock(maintenance.end_minute)
    return f"every {days}, {start} to {end}{overnight}{services}{note}"


def explain_signal(entry: SignalEntry) -> Iterator[str]:
    """How the signals are judged, a line for each thing that is set."""
    if entry.detector == OFF:
        yield "not watched"
        return
    yield f"detector: {entry.detector}"
    if entry.settings:
        yield "settings: " + ", ".join(f"{name} {_plain(value)}" for name, value in entry.settings)
    if entry.direction is not None:
        ways = {"up": "only when higher", "down": "only when lower", "both": "when higher and when lower"}
        yield f"alarms {ways[entry.direction]} than usual"
    if entry.severity is not None:
        yield f"severity: at most {entry.severity}"


def explain_field(field: FieldEntry) -> str:
    """What is read of which lines, and what of it is the signal."""
    lines = "all lines" if field.service == "*" else f"lines of services {field.service}"
    return f"{_TAKES[field.take]} in a window of {field.path}, read from {lines}"


def _whom(entry: SignalEntry) -> str:
    parts = [entry.signal if entry.signal != "*" else "every signal"]
    parts += [f"of service {entry.service}"] if entry.service != "*" else []
    parts += [f"of tenant {entry.tenant}"] if entry.tenant != "*" else []
    return "\n".join(parts)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
