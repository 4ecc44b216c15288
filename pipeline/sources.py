"""Where lines come from: files of any size, standard input, or a Pub/Sub subscription."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MAX_TIMESTAMP

from pipeline.log_files import BYTES_PER_BATCH, ENTRIES_PER_BATCH, EntryReader, InputError
from pipeline.packed_messages import PACKED, UnpackError, unpack_message
from transforms.elements import NANOSECONDS, BrokenPayload, PayloadBatch

__all__ = ["READ_PROGRESS", "InputError", "ReadLogFiles", "ReadLogMessages", "match_files"]

STDIN: Final = "-"
TIMESTAMP_ATTRIBUTE: Final = "logging.googleapis.com/timestamp"
END_TIME_ATTRIBUTE: Final = "end_time"
"""Attribute of a message of metrics: the earliest end time of its points."""

MESSAGES_PER_BATCH: Final = 10_000

_LOGGER = logging.getLogger(__name__)


class ReadProgress:
    """Lines and bytes read by this process, and files that broke off; for people, not for the ledger."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.lines = 0
        self.size = 0
        self.damaged: dict[str, str] = {}  # file → why its end is missing

    def add(self, lines: int, size: int) -> None:
        with self._lock:
            self.lines += lines
            self.size += size


READ_PROGRESS: Final = ReadProgress()


@dataclass(eq=False)
class ReadLogFiles(beam.PTransform):
    """Files of LogEntries → PayloadBatch.

    `patterns` are paths or globs, local or gs://, or "-" for standard input. A file holds one JSON
    object a line, or an array as `gcloud logging read --format json` prints it, compressed or not:
    see `EntryReader`. A compressed file that breaks off is analyzed as far as it goes, and named in
    READ_PROGRESS and in the log. Building the graph raises InputError where a pattern matches nothing.

    `option` is what errors call the patterns. `unwrap` is the name of a list of entries that objects may
    be wrapped around, as the API's answers are.
    """

    patterns: list[str]
    max_line_bytes: int
    tenant_id: str = ""
    option: str = "--input"
    unwrap: str = ""

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        reader = _ReadLines(self.max_line_bytes, self.tenant_id, self.option, self.unwrap)
        return (
            root
            | "Files" >> beam.Create(match_files(self.patterns, self.option))
            | "ReadLines" >> beam.ParDo(reader).with_output_types(PayloadBatch)
        )


@dataclass(eq=False)
class ReadLogMessages(beam.PTransform):
    """A Pub/Sub subscription that a Cloud Logging sink feeds → PayloadBatch.

    The event time of a message is the LogEntry's, which the sink puts in an attribute: so the
    watermark knows how far the logs are complete. It is the time of publishing where there is none.

    A message that is compressed holds one entry or several, as a file does, see `unpack_message`;
    `unwrap` is as in ReadLogFiles.
    """

    subscription: str
    max_line_bytes: int
    tenant_id: str = ""
    timestamp_attribute: str = TIMESTAMP_ATTRIBUTE
    unwrap: str = ""

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        gather = GatherMessages(self.max_line_bytes, self.tenant_id, self.unwrap)
        return (
            root
            | "ReadFromPubSub"
            >> ReadFromPubSub(
                subscription=self.subscription,
                with_attributes=True,
                timestamp_attribute=self.timestamp_attribute,
            )
            | "GatherMessages" >> beam.ParDo(gather).with_output_types(PayloadBatch)
        )


def match_files(patterns: list[str], option: str = "--input") -> list[str]:
    """All files that `patterns` name, sorted, each once; "-" stays as it is.

    Raises InputError when a pattern matches no file: an empty run would look like a quiet one.
    """
    files = {_identity(path): path for pattern in reversed(patterns) for path in _matches(pattern, option)}
    return sorted(files.values())


def _matches(pattern: str, option: str) -> list[str]:
    if pattern == STDIN:
        return [STDIN]
    try:
        matched = [metadata.path for metadata in FileSystems.match([pattern])[0].metadata_list]
    except (BeamIOError, OSError, ValueError) as error:
        raise InputError(
            f"{option} {pattern}: cannot be looked up ({type(error).__name__}): check the name, and the "
            "credentials where it is not local"
        ) from error
    if files := [path for path in matched if not Path(path).is_dir()]:
        return files
    if matched:
        folder = pattern.rstrip("/")
        raise InputError(f"{option} {pattern}: is a folder; name its files, e.g. '{folder}/*.json'")
    raise InputError(
        f"{option} {pattern}: no such file; check the name, and quote a glob, so that the shell passes it on"
    )


def _identity(path: str) -> str:
    # Links and ./ lead to the same file, whose lines must not count twice.
    return path if path == STDIN or "://" in path else os.path.realpath(path)


class _ReadLines(beam.DoFn):
    def __init__(self, max_line_bytes: int, tenant_id: str, option: str, unwrap: str) -> None:
        self._max_line_bytes = max_line_bytes
        self._tenant_id = tenant_id
        self._option = option
        self._unwrap = unwrap

    def process(self, path: str) -> Iterator[PayloadBatch]:
        name = "standard input" if path == STDIN else path
        with open_file(path, self._option) as stream:
            reader = EntryReader(stream, self._max_line_bytes, self._unwrap)
            try:
                for lines in reader.batches():
                    READ_PROGRESS.add(len(lines), sum(map(len, lines)))
                    yield PayloadBatch(lines, tenant_id=self._tenant_id)
            except InputError as error:
                raise InputError(f"{self._option} {name}: {error}") from None
        if reader.damage:
            READ_PROGRESS.damaged[name] = reader.damage
            _LOGGER.warning(
                "%s is damaged or incomplete: %s. What comes before was read.", name, reader.damage
            )


@contextmanager
def open_file(path: str, option: str = "--input") -> Iterator[BinaryIO]:
    """The bytes of `path` as they are stored; "-" is standard input. Raises InputError."""
    if path == STDIN:
        if sys.stdin is None:
            raise InputError(f"{option} -: standard input is closed; pipe something into it")
        yield sys.stdin.buffer  # not closed: it belongs to the process
        return
    try:
        stream = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    except (BeamIOError, OSError) as error:
        cause = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(f"{option} {path}: cannot be read ({cause}); check that you may read it") from error
    with stream:
        yield stream


class GatherMessages(beam.DoFn):
    """Gathers the messages of a bundle, because most of the cost of Beam Python is per element.

    The batch carries the earliest timestamp of its messages, so that it holds the watermark for
    all of them wherever the runner does not fuse the steps that follow.
    """

    def __init__(self, max_line_bytes: int, tenant_id: str = "", unwrap: str = "") -> None:
        self._max_line_bytes = max_line_bytes
        self._tenant_id = tenant_id
        self._unwrap = unwrap
        self._earliest = MAX_TIMESTAMP
        self._payloads: list[bytes] = []
        self._publish_times: list[int] = []
        self._broken: list[BrokenPayload] = []
        self._size = 0

    def start_bundle(self) -> None:
        self._start_batch()

    def process(self, message: PubsubMessage, timestamp=beam.DoFn.TimestampParam):  # type: ignore[no-untyped-def]
        data = message.data
        if data[:2] in PACKED:
            self._unpack(data, _publish_time_ns(message))
        else:
            self._payloads.append(data)
            self._publish_times.append(_publish_time_ns(message))
            self._size += len(data)
        self._earliest = min(self._earliest, timestamp)
        if len(self._payloads) >= MESSAGES_PER_BATCH or self._size >= BYTES_PER_BATCH:
            for batch in self._batches():
                yield TimestampedValue(batch, self._earliest)
            self._start_batch()

    def finish_bundle(self) -> Iterator[beam.utils.windowed_value.WindowedValue]:
        for batch in self._batches():
            yield beam.transforms.window.GlobalWindows.windowed_value(batch, self._earliest)
        self._start_batch()

    def _start_batch(self) -> None:
        self._earliest = MAX_TIMESTAMP
        self._payloads = []
        self._publish_times = []
        self._broken = []
        self._size = 0

    def _unpack(self, data: bytes, publish_time_ns: int) -> None:
        try:
            entries = unpack_message(data, self._max_line_bytes, self._unwrap)
        except UnpackError as error:
            self._broken.append(error.broken(data, publish_time_ns))
            return
        self._payloads += entries
        self._publish_times += [publish_time_ns] * len(entries)
        self._size += sum(map(len, entries))

    def _batches(self) -> Iterator[PayloadBatch]:
        broken = self._broken
        for start in range(0, max(len(self._payloads), bool(broken)), ENTRIES_PER_BATCH):
            chosen = slice(start, start + ENTRIES_PER_BATCH)
            payloads, times = self._payloads[chosen], self._publish_times[chosen]
            READ_PROGRESS.add(len(payloads) + len(broken), sum(map(len, payloads)))
            yield PayloadBatch(payloads, times, self._tenant_id, broken)
            broken = []


def _publish_time_ns(message: PubsubMessage) -> int:
    published = message.publish_time
    return int(published.timestamp() * NANOSECONDS) if published is not None else 0
