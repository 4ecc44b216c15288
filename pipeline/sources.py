"""Where lines come from: files of any size, standard input, or a Pub/Sub subscription."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MAX_TIMESTAMP

from transforms.elements import NANOSECONDS, PayloadBatch

STDIN: Final = "-"
TIMESTAMP_ATTRIBUTE: Final = "logging.googleapis.com/timestamp"
BLOCK_BYTES: Final = 16 << 20
LINES_PER_BATCH: Final = 50_000
BYTES_PER_BATCH: Final = 32 << 20
MESSAGES_PER_BATCH: Final = 10_000


class ReadProgress:
    """Lines and bytes read by this process so far; for a progress display, not for the ledger."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.lines = 0
        self.size = 0

    def add(self, lines: int, size: int) -> None:
        with self._lock:
            self.lines += lines
            self.size += size


READ_PROGRESS: Final = ReadProgress()


class InputError(Exception):
    """The input cannot be read; the message says what to do."""


@dataclass(eq=False)
class ReadLogFiles(beam.PTransform):
    """Files of newline-delimited LogEntries → PayloadBatch.

    `patterns` are paths or globs, local or gs://, or "-" for standard input; .gz, .bz2 and .zst
    are decompressed. Blank lines are skipped. A line of more than `max_line_bytes` is cut to one
    byte more than that, enough for Parse to refuse it, so that no line needs unbounded memory.
    """

    patterns: list[str]
    max_line_bytes: int
    tenant_id: str = ""

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        reader = _ReadLines(self.max_line_bytes, self.tenant_id)
        return (
            root
            | "Files" >> beam.Create(match_files(self.patterns))
            | "ReadLines" >> beam.ParDo(reader).with_output_types(PayloadBatch)
        )


@dataclass(eq=False)
class ReadLogMessages(beam.PTransform):
    """A Pub/Sub subscription that a Cloud Logging sink feeds → PayloadBatch.

    The event time of a message is the LogEntry's, which the sink puts in an attribute: so the
    watermark knows how far the logs are complete.
    """

    subscription: str
    tenant_id: str = ""

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        return (
            root
            | "ReadFromPubSub"
            >> ReadFromPubSub(
                subscription=self.subscription, with_attributes=True, timestamp_attribute=TIMESTAMP_ATTRIBUTE
            )
            | "GatherMessages" >> beam.ParDo(GatherMessages(self.tenant_id)).with_output_types(PayloadBatch)
        )


def match_files(patterns: list[str]) -> list[str]:
    """All files that `patterns` name, sorted and without repetition; "-" stays as it is.

    Raises InputError when a pattern matches nothing: an empty run would look like a quiet one.
    """
    files: set[str] = set()
    for pattern in patterns:
        if pattern == STDIN:
            files.add(STDIN)
            continue
        matched = [metadata.path for metadata in FileSystems.match([pattern])[0].metadata_list]
        if not matched:
            raise InputError(
                f"--input {pattern}: no such file; quote a glob, so that the shell leaves it alone"
            )
        files.update(matched)
    return sorted(files)


def read_batches(stream: IO[bytes], max_line_bytes: int) -> Iterator[list[bytes]]:
    """Lists of up to 50,000 non-blank lines (or 32 MiB) of `stream`, without their line ends."""
    rest = b""
    lines: list[bytes] = []
    size = 0
    while block := stream.read(BLOCK_BYTES):
        READ_PROGRESS.add(block.count(b"\n"), len(block))
        pieces = (rest + block).split(b"\n")
        rest = pieces.pop()[: max_line_bytes + 1]
        for piece in pieces:
            if line := piece[: max_line_bytes + 1].strip(b"\r"):
                lines.append(line)
                size += len(line)
                if len(lines) >= LINES_PER_BATCH or size >= BYTES_PER_BATCH:
                    yield lines
                    lines, size = [], 0
    if line := rest.strip(b"\r"):
        lines.append(line)
    if lines:
        yield lines


class _ReadLines(beam.DoFn):
    def __init__(self, max_line_bytes: int, tenant_id: str) -> None:
        self._max_line_bytes = max_line_bytes
        self._tenant_id = tenant_id

    def process(self, path: str) -> Iterator[PayloadBatch]:
        # Nothing is closed on standard input: it belongs to the process.
        stream = sys.stdin.buffer if path == STDIN else FileSystems.open(path)
        try:
            for lines in read_batches(stream, self._max_line_bytes):
                yield PayloadBatch(lines, tenant_id=self._tenant_id)
        finally:
            if path != STDIN:
                stream.close()


class GatherMessages(beam.DoFn):
    """Gathers the messages of a bundle, because most of the cost of Beam Python is per element.

    The batch carries the earliest timestamp of its messages, so that it holds the watermark for
    all of them wherever the runner does not fuse the steps that follow.
    """

    def __init__(self, tenant_id: str = "") -> None:
        self._tenant_id = tenant_id
        self._earliest = MAX_TIMESTAMP
        self._payloads: list[bytes] = []
        self._publish_times: list[int] = []

    def start_bundle(self) -> None:
        self._start_batch()

    def process(self, message: PubsubMessage, timestamp=beam.DoFn.TimestampParam):  # type: ignore[no-untyped-def]
        self._payloads.append(message.data)
        self._publish_times.append(_publish_time_ns(message))
        self._earliest = min(self._earliest, timestamp)
        if len(self._payloads) >= MESSAGES_PER_BATCH:
            yield TimestampedValue(self._batch(), self._earliest)
            self._start_batch()

    def finish_bundle(self) -> Iterator[beam.utils.windowed_value.WindowedValue]:
        if self._payloads:
            yield beam.transforms.window.GlobalWindows.windowed_value(self._batch(), self._earliest)
        self._start_batch()

    def _start_batch(self) -> None:
        self._earliest = MAX_TIMESTAMP
        self._payloads = []
        self._publish_times = []

    def _batch(self) -> PayloadBatch:
        READ_PROGRESS.add(len(self._payloads), sum(map(len, self._payloads)))
        return PayloadBatch(self._payloads, self._publish_times, self._tenant_id)


def _publish_time_ns(message: PubsubMessage) -> int:
    published = message.publish_time
    return int(published.timestamp() * NANOSECONDS) if published is not None else 0
