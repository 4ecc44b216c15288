"""Files of snapshots, one BaselineSnapshot of JSON a line, as `aiops warm-start` writes them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

import apache_beam as beam
import msgspec
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.window import TimestampedValue

from transforms.detect.baseline_state import MAX_STATE_BYTES, SnapshotError, decode_baselines
from transforms.detect.transform import snapshot_event
from transforms.elements import MICROSECONDS, BaselineSnapshot, WindowSummary

MAX_LINE_BYTES: Final = 2 * MAX_STATE_BYTES + 64 * 1024
MAX_NAME: Final = 2_000
_EARLIEST_US: Final = 946_684_800 * MICROSECONDS  # 2000
_LATEST_US: Final = 7_258_118_400 * MICROSECONDS  # 2200
_LOGGER = logging.getLogger(__name__)
_decoder = msgspec.json.Decoder(BaselineSnapshot)


class SnapshotFileError(ValueError):
    """A file of snapshots that cannot be used; the text names file, line, cause and mend."""


def check_snapshots(paths: Sequence[str], window_seconds: int) -> int:
    """How many services the files have snapshots of. Raises SnapshotFileError at the first wrong line."""
    return len(
        {(found.tenant_id, found.service) for path in paths for found in read_snapshots(path, window_seconds)}
    )


def read_snapshots(path: str, window_seconds: int) -> Iterator[BaselineSnapshot]:
    """The snapshots of services in the file, each checked; rows of single signals are passed over.

    Raises SnapshotFileError.
    """
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            yield from _read_lines(file, path, window_seconds)
    except (OSError, BeamIOError) as error:
        raise SnapshotFileError(
            f"The snapshots {path} cannot be read ({type(error).__name__}): check the path and the "
            "permissions, or leave --warm_start out to learn from nothing."
        ) from error


def _read_lines(file: BinaryIO, path: str, window_seconds: int) -> Iterator[BaselineSnapshot]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        try:
            snapshot = _read_line(line, window_seconds)
        except SnapshotError as error:
            raise SnapshotFileError(f"{path}, line {number}: {error}.") from None
        if snapshot is not None:
            yield snapshot
    if not number:
        raise SnapshotFileError(f"{path} is empty: make it with `aiops warm-start`.")


def _read_line(line: bytes, window_seconds: int) -> BaselineSnapshot | None:
    if len(line) > MAX_LINE_BYTES:
        raise SnapshotError(f"it is longer than {MAX_LINE_BYTES:,} bytes: {_MEND}")
    if not line.strip():
        return None
    try:
        snapshot = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SnapshotError(f"it is no snapshot in JSON: {_MEND}") from None
    if snapshot.signal:
        return None
    if not _EARLIEST_US <= snapshot.as_of < _LATEST_US:
        raise SnapshotError(f"its time (as_of) is not between the years 2000 and 2200: {_MEND}")
    if not 0 < len(snapshot.tenant_id) <= MAX_NAME or not 0 < len(snapshot.service) <= MAX_NAME:
        raise SnapshotError(f"it names no tenant or no service, or too long a one: {_MEND}")
    if snapshot.window_seconds != window_seconds:
        raise SnapshotError(
            f"it was learned from windows of {snapshot.window_seconds} s, and this job's have "
            f"{window_seconds}: pass --window_seconds {snapshot.window_seconds}, or leave --warm_start out"
        )
    memory = decode_baselines(snapshot.state, snapshot.state_version)
    if memory.levels.newest_us >= snapshot.as_of:
        raise SnapshotError(f"its state is newer than its time (as_of): {_MEND}")
    return snapshot


_MEND: Final = "take the file as `aiops warm-start` wrote it, or make it anew"


@dataclass(eq=False)
class ReadSnapshots(beam.PTransform):
    """→ ((tenant, service), WindowSummary) for WatchServices, at the time that each snapshot is as of.

    Only the paths travel with the graph: what is learned of thousands of services would not fit into it.
    """

    paths: Sequence[str]
    window_seconds: int

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        output_type = beam.typehints.Tuple[beam.typehints.Tuple[str, str], WindowSummary]
        read = beam.ParDo(_ReadSnapshots(self.window_seconds)).with_output_types(output_type)
        return root | "Files" >> beam.Create(list(self.paths)) | "Read" >> read


class _ReadSnapshots(beam.DoFn):
    def __init__(self, window_seconds: int) -> None:
        self._window_seconds = window_seconds

    def process(self, path: str) -> Iterator[TimestampedValue]:
        try:
            for snapshot in read_snapshots(path, self._window_seconds):
                yield snapshot_event(snapshot)
        except SnapshotFileError as error:
            # It was sound when the job started; detection goes on, and learns the rest from nothing.
            _LOGGER.error("A file of --warm_start has changed since the job started: %s", error)  # noqa: TRY400
