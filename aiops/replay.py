"""`aiops replay`: send again what could not be written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import track

from aiops.text import visible_text
from transforms.clock import wall_clock_us

if TYPE_CHECKING:
    from pipeline.replay import ReplayCounts
    from transforms.elements import FailedRow

T = TypeVar("T")
app = typer.Typer(help="Send again what could not be written.", no_args_is_help=True)


@app.callback()
def _commands() -> None:
    """Without a callback typer would take the only command for the app itself."""


@app.command("failed-rows")
def failed_rows(
    dataset: Annotated[str, typer.Option(help="BigQuery dataset of the job: PROJECT.DATASET.")],
    files: Annotated[
        list[str] | None,
        typer.Option(help="The folder of --failed_rows, or files or globs in it, local or gs://."),
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the rows; send none.")] = False,
) -> None:
    """Send rows that BigQuery did not take again: those of files, then those of the table failed_rows.

    Each goes with the insert id of then, and views show a row once: a replay can be repeated. Files whose
    rows are taken are renamed to *.replayed. Exit codes: 0 nothing is left, 1 rows stay, 2 it cannot start.
    """
    from pipeline.bigquery_client import check_dataset
    from pipeline.bigquery_insert import RowInserter
    from pipeline.failed_rows import find_failed_rows
    from pipeline.replay import ReplayCounts, read_failed_table, replay_file, replay_table

    counts = ReplayCounts()
    with _reported():
        check_dataset(dataset)
        paths = [path for pattern in files or () for path in find_failed_rows(pattern)]
        pages = read_failed_table(dataset)
        if dry_run:
            _count(paths, pages, counts)
            typer.echo(f"Would send {_in_words(counts.taken)}.")
        else:
            with closing(RowInserter(dataset)) as inserter:
                for path in _shown(paths, "files"):
                    replay_file(path, inserter, counts)
                for rows in _shown(pages, "the table failed_rows"):
                    replay_table(rows, inserter, counts, wall_clock_us())
            typer.echo(f"Sent {_in_words(counts.taken)}.")
    _tell_what_stays(counts)


def _shown(parts: Iterable[T], what: str) -> Iterable[T]:
    """`parts`, with their progress on a terminal."""
    console = Console(stderr=True)
    return track(parts, what, console=console, transient=True, disable=not console.is_terminal)


def _count(paths: Iterable[str], pages: Iterable[list[FailedRow]], counts: ReplayCounts) -> None:
    from pipeline.failed_rows import read_failed_rows

    for path in paths:
        rows, damaged = read_failed_rows(path)
        counts.taken.update(row.table_name for row in rows)
        counts.damaged.update({path: damaged} if damaged else {})
    for rows in pages:
        counts.taken.update(row.table_name for row in rows)


def _in_words(taken: Counter[str]) -> str:
    by_table = ", ".join(f"{rows:,} {visible_text(table)}" for table, rows in sorted(taken.items()) if rows)
    return f"{taken.total():,} rows" + (f" ({by_table})" if by_table else "")


def _tell_what_stays(counts: ReplayCounts) -> None:
    for (table, reason), rows in sorted(counts.left.items()):
        typer.echo(f"Not taken: {rows:,} rows of {visible_text(table)}: {reason}", err=True)
    for path, lines in sorted(counts.damaged.items()):
        typer.echo(f"Damaged: {lines:,} lines of {visible_text(path)} are no failed rows", err=True)
    if counts.left or counts.damaged:
        raise typer.Exit(1)


@contextmanager
def _reported() -> Iterator[None]:
    from pipeline.bigquery_client import BigQueryError
    from pipeline.failed_rows import FailedRowsError

    try:
        yield
    except (BigQueryError, FailedRowsError) as error:
        typer.echo(f"Error: {visible_text(str(error))}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        typer.echo("Stopped; run it again, every row counts once.", err=True)
        raise typer.Exit(130) from None
