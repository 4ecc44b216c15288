"""`aiops simulate`: entries of a shop with faults, to a file, standard output or Pub/Sub."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from aiops.simulate.config import DEFAULT_START, SimulationConfig
from aiops.simulate.faults import write_truth
from aiops.simulate.generator import deliveries, truth
from aiops.simulate.output import in_real_time, open_output, pace, publish, write_lines
from aiops.simulate.plans import parse_duration
from aiops.simulate.world import Delivery

PROGRESS_SECONDS: Final = 2.0
_TOPIC: Final = re.compile(r"projects/[^/\s]+/topics/[^/\s]+")


def simulate(
    *,
    seed: Annotated[
        int, typer.Option(help="Another seed gives another run; the same seed the same bytes.")
    ] = 1,
    start: Annotated[str, typer.Option(help="Event time of the first entry, RFC 3339.")] = DEFAULT_START,
    duration: Annotated[str, typer.Option(help="Length of the run, like 90s, 30m, 12h or 3d.")] = "30m",
    tenants: Annotated[int, typer.Option(help="How many tenants (projects).")] = 3,
    first_tenant: Annotated[
        int, typer.Option(help="Number of the first tenant: 2 leaves acme-shop out, and so on.")
    ] = 1,
    services: Annotated[int, typer.Option(help="How many services each tenant has; 12 make one shop.")] = 12,
    rate: Annotated[
        float, typer.Option(help="User requests a minute and tenant on an average working day.")
    ] = 300.0,
    faults: Annotated[
        str,
        typer.Option(
            help="default, none, random:N, random:N:TYPE+TYPE or a list like "
            "errors@payment+10m/5m,latency@cart+20m/5m."
        ),
    ] = "default",
    out: Annotated[
        str, typer.Option(help="File (.gz and .zst are compressed) or - for standard output.")
    ] = "-",
    truth_file: Annotated[
        str, typer.Option("--truth", help="Write what is injected to this file, as JSON lines.")
    ] = "",
    to_topic: Annotated[
        str, typer.Option(help="Publish to projects/PROJECT/topics/TOPIC rather than write.")
    ] = "",
    rate_per_second: Annotated[
        float, typer.Option(help="Most entries a second; 0 for as fast as can be.")
    ] = 0.0,
    copies: Annotated[float, typer.Option(help="Share of entries delivered twice, 0 to 1.")] = 0.0,
    malformed: Annotated[float, typer.Option(help="Share of lines that are damaged, 0 to 1.")] = 0.0,
    late: Annotated[
        float, typer.Option(help="Share of entries received 11 to 30 minutes late, 0 to 1.")
    ] = 0.0,
    out_of_order: Annotated[bool, typer.Option("--out-of-order", help="In the order of receipt.")] = False,
    quiet_nights: Annotated[
        bool, typer.Option("--quiet-nights", help="No user requests from 23 to 5 of each tenant's day.")
    ] = False,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Start now, and send each entry when it is due.")
    ] = False,
) -> None:
    """Simulate the logs of a small shop with injected faults.

    The grammar of --faults and what every fault does: docs/simulator.md.
    """
    try:
        config = SimulationConfig(
            seed=seed,
            start=start,
            duration_seconds=parse_duration(duration),
            tenants=tenants,
            first_tenant=first_tenant,
            services=services,
            rate=rate,
            faults=faults,
            copies=copies,
            malformed=malformed,
            late=late,
            out_of_order=out_of_order,
            quiet_nights=quiet_nights,
        )
        if realtime:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            config = replace(config, start=now, out_of_order=True)
        if to_topic and not _TOPIC.fullmatch(to_topic):
            raise ValueError("--to-topic is not a topic: give projects/PROJECT/topics/TOPIC")
        if rate_per_second < 0:
            raise ValueError("--rate-per-second is negative: give 0 or more")
        planned = truth(config)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        if truth_file:
            Path(truth_file).write_bytes(write_truth(planned))
        entries: Iterable[Delivery] = deliveries(config)
        if realtime:
            entries = in_real_time(entries)
        if rate_per_second:
            entries = pace(entries, rate_per_second)
        _send(entries, out, to_topic, _reporter(config))
    except BrokenPipeError:
        # The reader, like `head`, has had enough; the interpreter must not flush into the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except KeyboardInterrupt:
        _say("\nStopped. What was written so far is whole lines.")
        raise typer.Exit(130) from None
    except OSError as error:
        _say(f"Cannot write: {error.strerror or error}. Choose another --out or --truth.")
        raise typer.Exit(1) from None


def _send(entries: Iterable[Delivery], out: str, to_topic: str, progress: Callable[[int, int], None]) -> None:
    started = time.monotonic()
    if to_topic:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        try:
            count = publish(entries, to_topic, progress)
        except (GoogleAPIError, GoogleAuthError, TimeoutError) as error:
            # Google's errors name the topic and the cause, never a message.
            _say(f"Pub/Sub refused: {error}. Check the topic, the credentials and PUBSUB_EMULATOR_HOST.")
            raise typer.Exit(1) from None
    else:
        with open_output(out) as file:
            count = write_lines(entries, file, progress)
    seconds = max(time.monotonic() - started, 1e-9)
    _say(f"{count:,} entries in {seconds:.1f} s ({count / seconds:,.0f} per second)")


def _reporter(config: SimulationConfig) -> Callable[[int, int], None]:
    """Says on stderr how far a long run is, every few seconds."""
    last = time.monotonic()

    def report(count: int, at_ns: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            done = (at_ns / 1e9 - config.start_second) / config.duration_seconds
            _say(f"{done:4.0%}  {count:,} entries")

    return report


def _say(text: str) -> None:
    print(text, file=sys.stderr)
