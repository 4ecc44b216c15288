"""Files of alert events, one event of JSON a line, as `aiops alerts export` writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.alert_elements import AlertEvent

MAX_LINE_BYTES: Final = 1 << 20
_decoder = msgspec.json.Decoder(AlertEvent)


class AlertFileError(ValueError):
    """A file of events that cannot be used; the text names file, line, cause and mend."""


def check_event_files(paths: Sequence[str]) -> int:
    """How many events the files hold. Raises AlertFileError at the first wrong line."""
    return sum(1 for path in paths for _ in read_events(path))


def read_events(path: str) -> Iterator[AlertEvent]:
    """The events of a file, local or gs://; a file without any is no mistake.

    Raises AlertFileError.
    """
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if line.strip() or len(line) > MAX_LINE_BYTES:
                    yield _read_line(line, path, number)
    except (OSError, BeamIOError) as error:
        raise AlertFileError(
            f"The alert events {path} cannot be read ({type(error).__name__}): check the path and the "
            "permissions, or leave --alert_events out to begin without past alerts."
        ) from error


def _read_line(line: bytes, path: str, number: int) -> AlertEvent:
    mend = "take the file as `aiops alerts export` wrote it"
    if len(line) > MAX_LINE_BYTES:
        raise AlertFileError(f"{path}, line {number}: it is longer than {MAX_LINE_BYTES:,} bytes: {mend}.")
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise AlertFileError(f"{path}, line {number}: it is no alert event in JSON: {mend}.") from None
