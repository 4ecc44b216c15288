"""`aiops run`: the job itself, with progress while it reads files."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.main import run_job
from pipeline.options import OptionsError, make_parser, parse_options
from pipeline.sources import READ_PROGRESS, InputError
from pipeline.store import StoreError


def run_command(arguments: list[str], console: Console) -> int:
    """Run the job with `arguments` as they stand on the command line; returns the exit code."""
    if not arguments or {"-h", "--help"} & set(arguments):
        make_parser("aiops run").print_help()
        return 0 if arguments else 2
    try:
        settings, options = parse_options(arguments)
        if settings.runner != "DirectRunner":
            run_job(settings, options)
            return 0
        if settings.is_streaming:
            console.print(
                f"Reading {settings.input_subscription} into {settings.store}. Results of a minute come "
                "once newer logs show that it is over. Ctrl-C stops."
            )
        with reading_progress(console):
            run_job(settings, options)
    except (OptionsError, InputError, StoreError) as error:
        console.print(f"[bold red]aiops run:[/] {error}", highlight=False, soft_wrap=True)
        return 2
    return 0


@contextmanager
def reading_progress(console: Console) -> Iterator[None]:
    """Show what was read so far, as long as the body runs."""
    done = threading.Event()
    started = time.monotonic()
    lines_before = READ_PROGRESS.lines
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
    console.print(
        f"Read {READ_PROGRESS.lines - lines_before:,} lines in {time.monotonic() - started:.1f} s.",
        highlight=False,
    )
