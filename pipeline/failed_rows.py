"""Files of rows that BigQuery did not take: one FailedRow of JSON a line, local or gs://."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.elements import FailedRow, content_id

SUFFIX: Final = ".ndjson"
REPLAYED_SUFFIX: Final = ".replayed"

_GLOB: Final = frozenset("*?[")
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(FailedRow)


class FailedRowsError(OSError):
    """A folder or file of failed rows cannot be used; the message names the cause and the mend."""


class FailedRowsFile(NamedTuple):
    """What a file holds. A line that is none, as where writing broke off, is counted as damaged."""

    rows: list[FailedRow]
    damaged_lines: int


def write_failed_rows(folder: str, rows: Iterable[FailedRow]) -> str:
    """Write `rows` to a file of `folder`, made where it is missing; returns its path.

    The name comes from the ids of the rows: the same rows are the same file. Raises FailedRowsError.
    """
    by_id = {row.failed_row_id: row for row in rows}
    ids = sorted(by_id)
    path = FileSystems.join(folder, content_id(*ids) + SUFFIX)
    content = b"".join(_encoder.encode(by_id[row_id]) + b"\n" for row_id in ids)
    try:
        with FileSystems.create(path, "application/x-ndjson", CompressionTypes.UNCOMPRESSED) as file:
            file.write(content)
    except (OSError, BeamIOError) as error:
        raise FailedRowsError(
            f"Rows that BigQuery did not take cannot be written to {folder} ({type(error).__name__}): "
            "make the folder or bucket, or mend its permissions (--failed_rows)."
        ) from error
    return path


def find_failed_rows(pattern: str) -> list[str]:
    """Paths of the files that `pattern` names: a folder, a path or a glob. Those replayed are left out.

    Raises FailedRowsError.
    """
    names_files = pattern.endswith(SUFFIX) or not _GLOB.isdisjoint(pattern)
    try:
        (match,) = FileSystems.match([pattern if names_files else FileSystems.join(pattern, "*")])
    except (OSError, BeamIOError, ValueError) as error:
        raise FailedRowsError(f"{pattern} cannot be looked up ({type(error).__name__}).") from error
    return sorted(found.path for found in match.metadata_list if found.path.endswith(SUFFIX))


def read_failed_rows(path: str) -> FailedRowsFile:
    """The rows of a file, in its order. Raises FailedRowsError where it cannot be read."""
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            lines = [line for line in file.read().split(b"\n") if line.strip()]
    except (OSError, BeamIOError) as error:
        raise FailedRowsError(f"{path} cannot be read ({type(error).__name__}).") from error
    rows, damaged = [], 0
    for line in lines:
        try:
            rows.append(_decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            damaged += 1
    return FailedRowsFile(rows, damaged)


def mark_replayed(path: str) -> None:
    """Rename the file, so that it is not taken again. Raises FailedRowsError."""
    try:
        FileSystems.rename([path], [path + REPLAYED_SUFFIX])
    except (OSError, BeamIOError) as error:
        raise FailedRowsError(
            f"{path} was replayed, but cannot be renamed ({type(error).__name__}): move it away."
        ) from error
