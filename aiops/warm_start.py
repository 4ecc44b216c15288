"""`aiops warm-start`: what a store's history teaches, as snapshots that a job begins with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated, Final

import duckdb
import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from aiops.fetch import Copied, DryRun, MaxGib
from aiops.query import newest_event, open_store, parse_since
from aiops.show_output import Dataset
from aiops.stored_windows import LEARNED_COLUMNS, read_summaries
from pipeline.duckdb_store import DuckDBStore
from pipeline.table_reader import MOST_GIB
from transforms.detect.baseline_state import SnapshotError, decode_baselines
from transforms.detect.baselines.book import NO_BOOK, BaselineBook
from transforms.detect.baselines.book_loading import BookError
from transforms.detect.history import TrackHistory
from transforms.detect.snapshots import describe_service
from transforms.elements import DAY_US, MICROSECONDS, BaselineSnapshot, RequestStats, WindowSummary

NOT_LEARNED: Final = (
    "Not in a store, so learned anew by the job: latency of single endpoints and numeric fields. Latency of "
    "services is taken from stored percentiles, users and addresses from their stored numbers; late lines "
    "are in. `--from-snapshots` is exact where the store has snapshots."
)

SNAPSHOT_COLUMNS: Final[dict[str, tuple[str, ...]]] = {"baselines": ()}  # all of them

_SCOPE: Final = "($tenant = '' OR tenant_id = $tenant) AND ($service = '' OR service = $service)"


@dataclass
class _Learned:
    """What was learned, to be told at the end."""

    services: int = 0
    windows: int = 0
    first_us: int = 1 << 62
    newest_us: int = 0
    signals: Counter[str] = field(default_factory=Counter)
    of_other_versions: int = 0


def warm_start(
    *,
    store: Annotated[
        str, typer.Option("--store", help="DuckDB file that `aiops run` filled.")
    ] = "aiops.duckdb",
    out: Annotated[Path, typer.Option("--out", help="File to write: one snapshot of JSON a line.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Only this tenant.")] = "",
    service: Annotated[str, typer.Option("--service", help="Only this service.")] = "",
    since: Annotated[
        str,
        typer.Option(
            "--since",
            help="Learn from here on: 30m, 2h or 14d before the newest data of a store, or before now of a "
            "dataset; or an RFC 3339 time.",
        ),
    ] = "14d",
    baselines: Annotated[
        str, typer.Option("--baselines", help="File on learned detection, the same as the job's.")
    ] = "",
    from_snapshots: Annotated[
        bool,
        typer.Option("--from-snapshots", help="Take the newest snapshots as a job wrote them: exact."),
    ] = False,
    dataset: Dataset = "",
    max_gib: MaxGib = MOST_GIB,
    dry_run: DryRun = False,
) -> None:
    """Learn from what a store or a dataset holds, for `aiops run --warm_start FILE` to begin with."""
    learned, book = _Learned(), _read_book(baselines)
    with ExitStack() as stack:
        if dataset:
            since_time = parse_since(since, datetime.now(UTC))
            wanted = SNAPSHOT_COLUMNS if from_snapshots else LEARNED_COLUMNS
            copied = Copied(dataset, wanted, since_time, tenant, service)
            opened = stack.enter_context(copied.opened(max_gib=max_gib, dry_run=dry_run))
        else:
            opened = stack.enter_context(open_store(store))
            since_time = parse_since(since, newest_event(opened))
        since_us = round(since_time.timestamp() * MICROSECONDS)
        scope = {"tenant": tenant, "service": service, "since": since_us}
        found = _stored(opened, scope, learned) if from_snapshots else _learn(opened, scope, learned, book)
        try:
            _write(out, found)
        except OSError as error:
            typer.echo(
                f"Error: {out} cannot be written ({error.strerror}); name another with --out.", err=True
            )
            raise typer.Exit(1) from error
        except duckdb.Error as error:
            typer.echo(f"Error: {store} cannot be read ({type(error).__name__}).", err=True)
            raise typer.Exit(1) from error
    _tell(learned, out, from_snapshots=from_snapshots)


def _read_book(path: str) -> BaselineBook:
    from pipeline.baselines_source import read_baselines
    from pipeline.operator_files import FileUnreadableError

    try:
        return read_baselines(path)
    except (BookError, FileUnreadableError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None


def _write(out: Path, snapshots: Iterable[BaselineSnapshot]) -> None:
    part = out.with_name(f"{out.name}.part")
    with part.open("wb") as file:
        for snapshot in snapshots:
            file.write(msgspec.json.encode(snapshot) + b"\n")
    part.replace(out)


def _tell(learned: _Learned, out: Path, *, from_snapshots: bool) -> None:
    console = Console()
    if learned.of_other_versions:
        console.print(
            f"{learned.of_other_versions:,} snapshots were made by another version and left out; "
            "without --from-snapshots they are learned from the history.",
            style="yellow",
        )
    if not learned.services:
        out.unlink(missing_ok=True)
        console.print(
            "There is nothing to learn from: no "
            f"{'snapshots' if from_snapshots else 'windows'} in the store with these filters."
        )
        raise typer.Exit(1)
    signals = learned.signals
    ready = signals.total() - signals["learning"]
    days = (learned.newest_us - learned.first_us) / DAY_US
    console.print(
        f"{learned.services:,} services, {days:.1f} days, {ready:,} signals ready, "
        f"{signals['learning']:,} learning.",
        highlight=False,
    )
    if not from_snapshots:
        console.print(NOT_LEARNED, style="dim")
    console.print(
        f"Begin with it: aiops run … --warm_start {out}", markup=False, highlight=False, soft_wrap=True
    )


def _count(learned: _Learned, rows: Iterable[BaselineSnapshot]) -> None:
    for row in rows:
        if row.signal:
            learned.signals[row.status] += 1
        else:
            learned.services += 1
            learned.first_us = min(learned.first_us, row.learns_since)
            learned.newest_us = max(learned.newest_us, row.as_of)


# ----------------------------------------------------------------------------- from the history


def _learn(
    store: DuckDBStore, scope: dict[str, object], learned: _Learned, book: BaselineBook
) -> Iterator[BaselineSnapshot]:
    windows = store.query(
        "SELECT count(*) AS windows FROM current_service_windows "  # noqa: S608
        f"WHERE {_SCOPE} AND window_start >= make_timestamptz($since)",
        scope,
    )[0]["windows"]
    summaries = read_summaries(store, str(scope["tenant"]), str(scope["service"]), int(str(scope["since"])))
    with _progress(windows) as progress:
        for key, of_service in groupby(progress(summaries), lambda one: (one.tenant_id, one.service)):
            rows = learn_service(key, of_service, book)
            _count(learned, rows)
            yield from rows[:1]


def learn_service(
    key: tuple[str, str], summaries: Iterable[WindowSummary], book: BaselineBook = NO_BOOK
) -> list[BaselineSnapshot]:
    """What the windows of one service teach, in their order: its row, then those of its signals.

    Windows of another length than those that follow are forgotten. Endpoints teach no latency.
    """
    step = TrackHistory(book)
    state, seconds, end_us = step.initial(), 0, 0
    for summary in summaries:
        if summary.window_seconds != seconds:
            state, seconds = step.initial(), summary.window_seconds
        summary.endpoints = {
            name: RequestStats(stats.count, stats.errors) for name, stats in summary.endpoints.items()
        }
        for _ in step.step(state, summary, is_late=False):
            end_us = summary.window_start_us + seconds * MICROSECONDS
    return describe_service(state.baselines, key, end_us, seconds, book)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Iterable[WindowSummary]], Iterable[WindowSummary]]]:
    console = Console(stderr=True)
    columns = (TextColumn("learning"), BarColumn(), MofNCompleteColumn(), TextColumn("windows"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=total)
        yield lambda summaries: progress.track(summaries, task_id=task)


# ---------------------------------------------------------------------------- from snapshots


def _stored(store: DuckDBStore, scope: dict[str, object], learned: _Learned) -> Iterator[BaselineSnapshot]:
    columns = ", ".join(
        f"CAST(epoch_us({name}) AS BIGINT) AS {name}" if name in _TIMES else f'"{name}"'
        for name in BaselineSnapshot.__struct_fields__
    )
    where = f"WHERE {_SCOPE} AND as_of >= make_timestamptz($since)"
    services = store.query(
        f"SELECT {columns} FROM current_baselines {where} AND signal = '' ORDER BY tenant_id, service",  # noqa: S608
        scope,
    )
    signals = store.query(
        f"SELECT status, count(*) AS signals FROM current_baselines {where} AND signal != '' GROUP BY ALL",  # noqa: S608
        scope,
    )
    learned.signals.update({row["status"]: row["signals"] for row in signals})
    for row in services:
        snapshot = msgspec.convert(row, BaselineSnapshot)
        try:
            decode_baselines(snapshot.state, snapshot.state_version)
        except SnapshotError:
            learned.of_other_versions += 1
            continue
        _count(learned, [snapshot])
        yield snapshot


_TIMES: Final = frozenset({"as_of", "learns_since", "cautious_until"})
