"""Where entries go: a file, standard output, or a Pub/Sub topic."""

from __future__ import annotations

import contextlib
import gzip
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from aiops.simulate.world import Delivery

if TYPE_CHECKING:
    from google.cloud.pubsub_v1.publisher.futures import Future

TIMESTAMP_ATTRIBUTE: Final = "logging.googleapis.com/timestamp"
MOST_IN_FLIGHT: Final = 20_000  # messages that wait for Pub/Sub's answer
PUBLISH_SECONDS: Final = 60.0  # to wait for one answer
_CHUNK: Final = 2000


@contextlib.contextmanager
def open_output(name: str) -> Iterator[BinaryIO]:
    """Standard output for `-`, else a file, compressed if it is named .gz or .zst.

    A .gz holds no time and no name: the same run gives the same bytes.
    """
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif name.endswith(".gz"):
        with Path(name).open("wb") as raw, gzip.GzipFile("", "wb", 5, raw, mtime=0) as file:
            yield cast("BinaryIO", file)
    elif name.endswith(".zst"):
        import zstandard

        with zstandard.open(name, "wb") as compressed:
            yield cast("BinaryIO", compressed)
    else:
        with Path(name).open("wb") as plain:
            yield plain


def write_lines(entries: Iterable[Delivery], file: BinaryIO, progress: Callable[[int, int], None]) -> int:
    """Write one entry a line. Returns how many; `progress` hears (entries, event time in ns)."""
    count, chunk = 0, []
    for _, at, line in entries:
        chunk.append(line)
        if len(chunk) == _CHUNK:
            file.write(b"\n".join(chunk) + b"\n")
            count += _CHUNK
            chunk.clear()
            progress(count, at)
    if chunk:
        file.write(b"\n".join(chunk) + b"\n")
    return count + len(chunk)


def pace(entries: Iterable[Delivery], per_second: float) -> Iterator[Delivery]:
    """The entries, at most `per_second` of them a second."""
    started = time.monotonic()
    for number, entry in enumerate(entries):
        ahead = number / per_second - (time.monotonic() - started)
        if ahead > 0.01:
            time.sleep(ahead)
        yield entry


def in_real_time(entries: Iterable[Delivery]) -> Iterator[Delivery]:
    """The entries, each when its time has come."""
    for entry in entries:
        ahead = entry[0] / 1e9 - time.time()
        if ahead > 0.01:
            time.sleep(ahead)
        yield entry


def publish(entries: Iterable[Delivery], topic: str, progress: Callable[[int, int], None]) -> int:
    """Publish each entry as a log sink does, its event time as an attribute. Returns how many.

    PUBSUB_EMULATOR_HOST is respected. At most MOST_IN_FLIGHT messages wait for an answer, so that
    a slow topic slows the simulator rather than filling the memory. What has been handed over is
    waited for even if the entries end in an error or an interrupt.

    Raises google.api_core.exceptions.GoogleAPIError, or TimeoutError, when Pub/Sub refuses.
    """
    from google.cloud import pubsub_v1

    from aiops.simulate.entries import Clock

    client = pubsub_v1.PublisherClient(
        pubsub_v1.types.BatchSettings(max_messages=1000, max_bytes=4_000_000, max_latency=0.05)
    )
    waiting: deque[Future] = deque()
    clock, count = Clock(), 0
    try:
        for _, at, line in entries:
            waiting.append(client.publish(topic, line, **{TIMESTAMP_ATTRIBUTE: clock.text(at)}))
            count += 1
            if len(waiting) >= MOST_IN_FLIGHT:
                waiting.popleft().result(PUBLISH_SECONDS)
            if count % _CHUNK == 0:
                progress(count, at)
    finally:
        while waiting:
            waiting.popleft().result(PUBLISH_SECONDS)
        client.stop()
    return count
