"""Compressed messages: from their bytes to the entries in them, within bounds. No Beam here.

A message is known by its first bytes, as a file is, whatever its attributes say. It is unpacked as a
stream and given up as soon as it is too much, so that a small message cannot become a large one.
"""

from __future__ import annotations

import hashlib
import io
from typing import BinaryIO, Final, cast

from pipeline.log_files import COMPRESSIONS, EntryReader, InputError, decompress
from transforms.elements import BrokenPayload, UnpackReason

PACKED: Final = frozenset(magic[:2] for magic in COMPRESSIONS)
"""The first two bytes of a compressed message. No JSON begins so."""

MAX_UNPACKED_BYTES: Final = 64 << 20
MAX_UNPACKED_ENTRIES: Final = 200_000
MAX_RATIO: Final = 200
"""Logs become 10 to 40 times smaller, one line again and again some hundred times."""

_ALWAYS_BYTES: Final = 1 << 20  # a small message may be one line again and again


class UnpackError(ValueError):
    """The message cannot be unpacked; nothing of its content is in the text."""

    def __init__(self, reason: UnpackReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def broken(self, data: bytes, publish_time_ns: int) -> BrokenPayload:
        """What goes on in place of the message `data`, for Parse to refuse."""
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        return BrokenPayload(digest, len(data), publish_time_ns, self.reason, self.detail)


def unpack_message(data: bytes, max_entry_bytes: int, unwrap: str = "") -> list[bytes]:
    """The entries of a message that begins with one of `PACKED`: at least one, if only an empty one.

    Entries are found as EntryReader finds those of a file. Raises UnpackError, for all of the message,
    where it is broken off, damaged, or more than the bounds above.
    """
    most = min(MAX_UNPACKED_BYTES, max(_ALWAYS_BYTES, MAX_RATIO * len(data)))
    # EntryReader takes what cannot be peeked into as it is, so it does not unpack a second time.
    stream = cast("BinaryIO", _Bounded(decompress(io.BufferedReader(io.BytesIO(data))), most))
    reader = EntryReader(stream, max_entry_bytes, unwrap)
    entries: list[bytes] = []
    try:
        for batch in reader.batches():
            entries += batch
            if len(entries) > MAX_UNPACKED_ENTRIES:
                raise UnpackError(
                    "unpacks_too_large", f"more than {MAX_UNPACKED_ENTRIES} entries in a message"
                )
    except InputError as error:
        raise UnpackError("broken_compression", str(error)) from None
    if reader.damage:
        raise UnpackError("broken_compression", "the compressed data breaks off or is damaged")
    return entries or [b""]


class _Bounded:
    """A stream that is given up when more than `most` bytes have come."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream = stream
        self._most = self._left = most

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise UnpackError("unpacks_too_large", f"more than {self._most} bytes when it is unpacked")
        return block
