"""From the bytes of a file to the entries in it: compression, encodings, printed JSON. No Beam here."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

import pyarrow as pa

BLOCK_BYTES: Final = 1 << 16
ENTRIES_PER_BATCH: Final = 50_000
BYTES_PER_BATCH: Final = 32 << 20

# Files are known by their first bytes, not by their names: downloads are often unpacked already.
COMPRESSIONS: Final = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
_ARCHIVES: Final = {
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ\x00": "compressed with xz",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"PAR1": "a Parquet file",
    b"Obj\x01": "an Avro file",
}
_TAR_MAGIC: Final = slice(257, 262)

# An array of objects, or one object over several lines, as gcloud and jq print them.
_PRINTED_JSON: Final = re.compile(rb"\s*(?:\[\s*(?:[{\]]|\Z)|\{\s*\n)")
# A string, closed or cut off by the end of the block, or a bracket.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[{}\[\]]', re.DOTALL)
_STRING_REST: Final = re.compile(rb'(?:[^"\\]++|\\.)*+("?)', re.DOTALL)
_LONGEST_OPENING: Final = 256  # bytes from the name of a list to its bracket
_SEPARATORS: Final = b" \t\r\n\x0b\x0c\x1e,[]"


class InputError(Exception):
    """The input cannot be read; the message says what to do."""


class EntryReader:
    """The entries of one binary stream: lines, or the objects of printed JSON.

    gzip, bzip2 and zstd are decompressed, UTF-16 with a byte order mark becomes UTF-8. An entry of
    more than `max_entry_bytes` is cut to one byte more than that, enough for Parse to refuse it, so
    that memory stays bounded. After the last batch `damage` says why the stream could not be read
    to its end, or is empty. With `unwrap` the entries may also stand in the list of that name of an
    object, or of several, as the API answers: `{"timeSeries": [...], "nextPageToken": "..."}`.
    """

    def __init__(self, stream: BinaryIO, max_entry_bytes: int, unwrap: str = "") -> None:
        self._stream = stream
        self._limit = max_entry_bytes + 1
        self._unwrap = unwrap.encode()
        self.damage = ""

    def batches(self) -> Iterator[list[bytes]]:
        """Lists of up to 50,000 entries, or of about 32 MiB; blank lines are left out.

        Raises InputError where the stream holds something else than text.
        """
        batch: list[bytes] = []
        size = 0
        for entries in self._entries():
            batch += entries
            size += sum(map(len, entries))
            while len(batch) >= ENTRIES_PER_BATCH:
                yield batch[:ENTRIES_PER_BATCH]
                batch = batch[ENTRIES_PER_BATCH:]
                size = sum(map(len, batch))
            if size >= BYTES_PER_BATCH:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _entries(self) -> Iterator[list[bytes]]:
        blocks = self._blocks()
        first = next(blocks, b"")
        is_answer = bool(self._unwrap) and _list_start(self._unwrap, b"{").match(first) is not None
        if is_answer or _PRINTED_JSON.match(first):
            return split_objects(_chain(first, blocks), self._limit, self._unwrap)
        return split_lines(_chain(first, blocks), self._limit)

    def _blocks(self) -> Iterator[bytes]:
        blocks = self._read(decompress(self._stream))
        first = next(blocks, b"")
        _refuse_archive(first)
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            decoder = codecs.getincrementaldecoder("utf-16")("replace")
            for block in _chain(first, blocks):
                yield decoder.decode(block).encode()
            yield decoder.decode(b"", final=True).encode()
            return
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from blocks

    def _read(self, stream: BinaryIO) -> Iterator[bytes]:
        # What was read before the damage is still handed on: hence no exception.
        try:
            while block := stream.read(BLOCK_BYTES):
                yield block
        except OSError as error:
            self.damage = f"{error.strerror or error}"


def split_lines(blocks: Iterator[bytes], limit: int) -> Iterator[list[bytes]]:
    """The lines of each block without their line ends, cut to `limit` bytes; blank ones are left out."""
    rest = b""
    for block in blocks:
        pieces = (rest + block).split(b"\n")
        rest = pieces.pop()[:limit]
        yield [line for piece in pieces if (line := piece[:limit].strip(b"\r")) and not line.isspace()]
    if rest.strip():
        yield [rest.strip(b"\r")]


def split_objects(blocks: Iterator[bytes], limit: int, unwrap: bytes = b"") -> Iterator[list[bytes]]:
    """The outermost objects of each block, cut to `limit` bytes, whatever array they stand in.

    Anything between two objects but blanks, commas and square brackets is an entry of its own, for
    Parse to refuse. What was cut off at the end of the input is the last entry. Where an object has a
    list of the name `unwrap`, the objects in the list come out, and what stands around the list does not.
    """
    opening = _list_start(unwrap) if unwrap else None
    is_wrapped = is_rest = False  # within such a list; behind it, up to the end of its object
    depth = 0
    in_string = False
    kept = b""  # of an object, or between two, from earlier blocks
    held = b""  # a backslash whose escaped character is in the next block
    for new in blocks:
        block = held + new
        held = b"\\" if _ends_in_escape(block) else b""
        block = block[: len(block) - len(held)]
        found: list[bytes] = []
        start = 0
        position, in_string = _skip_string(block) if in_string else (0, False)
        for token in _TOKEN.finditer(block, position):
            mark = token[0]
            if mark[:1] == b'"':
                in_string = not token[1]
            elif (
                opening
                and mark == b"["
                and depth == 1
                and not is_wrapped
                and opening.search((kept + block[start : token.start()])[-_LONGEST_OPENING:])
            ):
                kept, start, depth, is_wrapped, is_rest = b"", token.end(), 0, True, False
            elif mark == b"{" or (mark == b"[" and depth):
                if not depth:
                    found.append((kept + block[start : token.start()]).strip(_SEPARATORS))
                    kept, start = b"", token.start()
                depth += 1
            elif mark in b"}]" and depth:
                depth -= 1
                if not depth:
                    if not is_rest:
                        found.append(kept + block[start : token.end()])
                    kept, start, is_rest = b"", token.end(), False
            elif mark == b"]" and is_wrapped:
                found.append((kept + block[start : token.start()]).strip(_SEPARATORS))
                kept, start, depth, is_wrapped, is_rest = b"", token.end(), 1, False, True
        kept = (kept + block[start:])[:limit]
        yield [entry[:limit] for entry in found if entry]
    if not is_rest and (entry := kept.strip(_SEPARATORS)):
        yield [entry]


def _skip_string(block: bytes) -> tuple[int, bool]:
    """Where the string ends that `block` begins in, and whether it goes on behind the block."""
    rest = _STRING_REST.match(block)
    return (rest.end(), not rest[1]) if rest else (0, True)


def _list_start(name: bytes, before: bytes = b"") -> re.Pattern[bytes]:
    """The beginning of the list `name`: up to its bracket, or with it where an object starts with it."""
    end = rb"\[" if before else rb"\Z"
    start = rb"\s*\{\s*" if before else b""
    return re.compile(start + b'"' + re.escape(name) + rb'"\s*:\s*' + end)


def _ends_in_escape(text: bytes) -> bool:
    return (len(text) - len(text.rstrip(b"\\"))) % 2 == 1


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def decompress(stream: BinaryIO) -> BinaryIO:
    """`stream` unpacked where it begins as compressed data does; one without `peek` stays as it is."""
    peek = getattr(stream, "peek", None)
    start = peek(8) if peek else b""
    for magic, codec in COMPRESSIONS.items():
        if start.startswith(magic):
            # Arrow's stream, unlike Beam's and zstandard's, says when the end is missing.
            return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), codec)
    return stream


def _refuse_archive(start: bytes) -> None:
    what = next((name for magic, name in _ARCHIVES.items() if start.startswith(magic)), "")
    if start[_TAR_MAGIC] == b"ustar":
        what = "a tar archive"
    if what:
        raise InputError(f"is {what}: unpack it, or convert it to one JSON object a line")
