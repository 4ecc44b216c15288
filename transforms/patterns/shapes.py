"""From a line to its shape: the masked line and its id, at the speed of a dictionary look-up.

A shape is a pure function of the line, so the memos here may be dropped at any time without changing
a result; they only make a line that was seen with other digits cost one `bytes.translate` and one
look-up. All memos are bounded: a full one is emptied. Lines are handled as UTF-8, because
`bytes.translate` is several times as fast as `str.translate`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from transforms.elements import LogEntry, content_id
from transforms.patterns.mask import DIGITS_TO_ZERO, finish_mask, mask_token

MAX_SHAPE_CHARACTERS: Final = 1_000
MAX_LINE_BYTES: Final = 4_000
"""What follows in a longer line does not tell shapes apart."""

_MEMO_LINE_BYTES: Final = 200  # longer lines are mostly unlike each other: their words are not
_MEMO_LINES: Final = 1 << 16
_MEMO_TOKENS: Final = 1 << 16
_MEMO_TOKEN_BYTES: Final = 200
_MEMO_MASKED: Final = 1 << 14

Shape = tuple[str, str]
"""(shape_id, shape)"""


class _TokenMasks(dict[bytes, str]):
    """The mask of every token met lately."""

    def __missing__(self, token: bytes) -> str:
        masked = mask_token(token.decode("utf-8", "surrogatepass"))
        if len(token) <= _MEMO_TOKEN_BYTES:
            if len(self) >= _MEMO_TOKENS:
                self.clear()
            self[token] = masked
        return masked


class ShapeMiner:
    """Finds the shape of lines. Equal lines, and lines that differ in digits only, share one."""

    def __init__(self) -> None:
        self._lines: dict[bytes, Shape] = {}
        self._tokens = _TokenMasks()
        self._masked: dict[str, Shape] = {}
        self._entries: dict[str, Shape] = {}
        self._requests: dict[tuple[str, str, int], Shape] = {}

    def mine(self, entries: Iterable[LogEntry]) -> None:
        """Set `shape_id` and `shape` of every entry."""
        entry_shape = self.entry_shape
        for entry in entries:
            entry.shape_id, entry.shape = entry_shape(entry)

    def shape(self, message: str) -> Shape:
        """Id (16 hexadecimal digits) and text (at most 1,000 characters) of the shape of `message`.

        Only the first line of `message` that is not empty counts. White space is one space.
        """
        plain = message.encode("utf-8", "surrogatepass").translate(DIGITS_TO_ZERO)
        found = self._lines.get(plain)
        if found is not None:
            return found
        if b"\n" in plain:
            plain = plain.lstrip().partition(b"\n")[0]
        if len(plain) >= _MEMO_LINE_BYTES:
            return self._shape_of_tokens(_cut(plain))
        found = self._shape_of_tokens(plain)
        if len(self._lines) >= _MEMO_LINES:
            self._lines.clear()
        self._lines[plain] = found
        return found

    def entry_shape(self, entry: LogEntry) -> Shape:
        """The shape of a log entry.

        Of the record of a request: `<method> <route> <status class>` and what the proxy says of it.
        With an exception: of the first line of its message, with the exception's type behind it
        unless the line names it. Without a message: what was called. An entry that says nothing has
        the shape "".
        """
        message = entry.message
        if entry.endpoint and message.startswith(entry.endpoint):
            found = self._requests.get((message, entry.endpoint, entry.http_status))
            return self._request_shape(entry) if found is None else found
        if not entry.exception and message:
            return self.shape(message)
        if not message:
            parts = [entry.endpoint or entry.method_name, _status_class(entry.http_status), entry.exception]
        else:
            text = self.shape(message)[1]
            parts = [text, "" if entry.exception in text else entry.exception]
        return self._shape_of_name(" ".join(filter(None, parts)))

    def _request_shape(self, entry: LogEntry) -> Shape:
        # Parse wrote `<endpoint> <status> <detail>` and has masked the endpoint's ids already: the
        # route says more than a mask of it would.
        detail = entry.message.removeprefix(entry.endpoint).removeprefix(f" {entry.http_status}")
        parts = [entry.endpoint, _status_class(entry.http_status), self.shape(detail)[1] if detail else ""]
        found = self._shape_of_name(" ".join(filter(None, parts)))
        if len(self._requests) >= _MEMO_MASKED:
            self._requests.clear()
        self._requests[entry.message, entry.endpoint, entry.http_status] = found
        return found

    def _shape_of_name(self, name: str) -> Shape:
        found = self._entries.get(name)
        if found is None:
            if len(self._entries) >= _MEMO_MASKED:
                self._entries.clear()
            found = self._entries[name] = _named(name)
        return found

    def _shape_of_tokens(self, plain: bytes) -> Shape:
        masked = " ".join(map(self._tokens.__getitem__, plain.split()))
        found = self._masked.get(masked)
        if found is None:
            if len(self._masked) >= _MEMO_MASKED:
                self._masked.clear()
            found = self._masked[masked] = _named(finish_mask(masked))
        return found


def _status_class(http_status: int) -> str:
    return f"{http_status // 100}xx" if http_status else ""


def _cut(plain: bytes) -> bytes:
    if len(plain) <= MAX_LINE_BYTES:
        return plain
    return plain[:MAX_LINE_BYTES].decode("utf-8", "ignore").encode()


def _named(text: str) -> Shape:
    text = text[:MAX_SHAPE_CHARACTERS]
    return content_id(text)[:16], text
