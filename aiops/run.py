"""`aiops run`: the job itself, with progress while it reads files, and a summary at the end."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from aiops.run_summary import print_summary
from aiops.text import visible_text
from pipeline.alert_files import AlertFileError
from pipeline.bigquery_client import BigQueryError
from pipeline.bigquery_sink import ROW_COUNTS
from pipeline.catalog_source import CatalogError
from pipeline.failed_rows import FailedRowsError
from pipeline.main import run_job
from pipeline.operator_files import FileUnreadableError
from pipeline.options import make_parser, parse_options
from pipeline.prices_source import PricesError
from pipeline.settings import OptionsError, Settings
from pipeline.snapshot_files import SnapshotFileError
from pipeline.sources import READ_PROGRESS, STDIN, InputError
from pipeline.store import StoreError
from transforms.clock import wall_clock_us
from transforms.detect.baselines.book_loading import BookError
from transforms.detect.rule_loading import RulesError
from transforms.job_log import JsonLines

EXPECTED: Final = (
    *(OptionsError, InputError, StoreError, RulesError, BookError, BigQueryError, FailedRowsError),
    *(FileUnreadableError, SnapshotFileError, CatalogError, AlertFileError, PricesError),
)
STOPPED: Final[dict[int, int]] = {signal.SIGINT: 130, signal.SIGTERM: 143}


class _Stop:
    """The signal that asked the run to end, once there was one."""

    signal_number: int | None = None


def run_command(arguments: list[str], console: Console) -> int:
    """Run the job with `arguments` as they stand on the command line; returns the exit code."""
    if not arguments or {"-h", "--help"} & set(arguments):
        make_parser("aiops run").print_help()
        return 0 if arguments else 2
    try:
        with _logs_shown() as handler:
            settings, options = parse_options(arguments)
            if settings.log_format == "json":
                handler.setFormatter(JsonLines())
            _say_what_starts(settings, console)
            started_us = wall_clock_us()
            READ_PROGRESS.damaged.clear()
            ROW_COUNTS.clear()
            with signals_raised() as stop:
                try:
                    with reading_progress(console):
                        run_job(settings, options)
                except BaseException:
                    # Beam makes a RuntimeError of whatever a signal raises in its steps.
                    if stop.signal_number is None:
                        raise
                    _say_how_to_go_on(settings, console)
                    return STOPPED[stop.signal_number]
        return print_summary(settings, started_us, console)
    except EXPECTED as error:
        console.print(_error(str(error)), soft_wrap=True)
        return 2


def _say_what_starts(settings: Settings, console: Console) -> None:
    if settings.is_streaming:
        names = " and ".join(filter(None, (settings.input_subscription, settings.metrics_subscription)))
        console.print(
            f"Reading {names} into {settings.dataset or settings.store}. Results of a minute come "
            "once newer ones show that it is over. Ctrl-C stops.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    elif STDIN in settings.input + settings.metrics and sys.stdin is not None and sys.stdin.isatty():
        console.print("Reading standard input; Ctrl-D ends it.")


def _say_how_to_go_on(settings: Settings, console: Console) -> None:
    mend = (
        "Windows that were not over are not stored, and Pub/Sub does not send their messages again."
        if settings.is_streaming
        else "What is stored is not complete: run again over the same input, and every row counts once."
    )
    console.print(Text.assemble(("aiops run: ", "bold yellow"), f"stopped. {mend}"), soft_wrap=True)


def _error(message: str) -> Text:
    return Text.assemble(("aiops run: ", "bold red"), visible_text(message))


@contextmanager
def _logs_shown() -> Iterator[logging.Handler]:
    """Our own log lines on standard error, and of Beam's only what ends the process."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("aiops run: %(levelname)s: %(message)s"))
    loggers = {name: logging.getLogger(name) for name in ("apache_beam", "pipeline", "transforms")}
    before = {name: logger.level for name, logger in loggers.items()}
    loggers["apache_beam"].setLevel(logging.CRITICAL)
    for name in ("pipeline", "transforms"):
        loggers[name].setLevel(logging.INFO)
        loggers[name].addHandler(handler)
        loggers[name].propagate = False
    try:
        yield handler
    finally:
        for name, logger in loggers.items():
            logger.setLevel(before[name])
            logger.removeHandler(handler)
            logger.propagate = True


@contextmanager
def signals_raised() -> Iterator[_Stop]:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt and are remembered; only in the main thread."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
        stop.signal_number = number
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in STOPPED}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def reading_progress(console: Console) -> Iterator[None]:
    """Show what was read so far as long as the body runs, on a terminal only; then, how much in all."""
    started = time.monotonic()
    lines_before = READ_PROGRESS.lines
    if console.is_terminal:
        with _ticking(console, started, lines_before):
            yield
    else:
        yield
    lines, seconds = READ_PROGRESS.lines - lines_before, time.monotonic() - started
    console.print(f"Read {lines:,} lines in {seconds:.1f} s.", highlight=False)


@contextmanager
def _ticking(console: Console, started: float, lines_before: int) -> Iterator[None]:
    done = threading.Event()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def update() -> None:
            while not done.wait(0.2):
                lines = READ_PROGRESS.lines - lines_before
                rate = lines / max(time.monotonic() - started, 0.001)
                progress.update(task, description=f"{lines:,} lines read, {rate:,.0f} per second")

        ticker = threading.Thread(target=update, daemon=True)
        ticker.start()
        try:
            yield
        finally:
            done.set()
            ticker.join()
