"""What a family of secrets is, and the scan that replaces its findings.

A family has a `hint`, a byte pattern for the common prefilter: whatever the family redacts, the hint
matches in the same text, and in any longer text that holds it between control characters. It has a
`pattern` that finds candidates and a `judge` that decides in plain code. Patterns are RE2 and judges look at
a bounded stretch, so that a hostile line costs time in proportion to its length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import re2

_UNANCHORED: Final = re2._Anchor.UNANCHORED
_ANCHORED: Final = re2._Anchor.ANCHOR_START


class Finding(NamedTuple):
    """The span to replace, its kind, and the value in the form that the keyed hash is made of."""

    start: int
    end: int
    kind: str
    value: bytes


Spans = list[tuple[int, int]]
"""Start and end of a match, then of each of its groups; (-1, -1) for a group that took no part."""

Judge = Callable[[bytes, Spans], Finding | int]
"""A finding, or, for a candidate that is none, the position to go on from."""


class BytePattern:
    """A compiled RE2 pattern, searched in bytes.

    It calls the extension module of google-re2 directly: the match objects that the package makes
    in Python cost four times the match itself.
    """

    __slots__ = ("_match",)

    def __init__(self, compiled: re2._Regexp) -> None:
        self._match = compiled._regexp.Match

    def search(self, data: bytes, start: int = 0) -> Spans | None:
        """The leftmost match that begins at `start` or later."""
        spans: Spans = self._match(_UNANCHORED, data, start, len(data))
        return None if spans[0][0] < 0 else spans

    def match(self, data: bytes, start: int) -> Spans | None:
        """The match that begins at `start`; for patterns that look at nothing before it."""
        spans: Spans = self._match(_ANCHORED, data, start, len(data))
        return None if spans[0][0] < 0 else spans


def compile_bytes(pattern: bytes) -> BytePattern:
    """Compile for bytes taken one by one, so that marks of placeholders are bytes like others."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return BytePattern(re2.compile(pattern, options))


class Family(NamedTuple):
    """One kind of thing to find; see the module's docstring."""

    hint: bytes
    pattern: BytePattern
    judge: Judge


BOUNDARY: Final = rb"(?:\A|[^0-9A-Za-z_]|\\[nrtbf]|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2})"
"""What may stand before a word: also an escape of JSON or of a URL that ends with a letter or digit."""


def replace_findings(family: Family, data: bytes, replace: Callable[[str, bytes], bytes]) -> bytes:
    """`data` with every finding replaced by `replace(kind, value)`; the same object when there is none."""
    pieces: list[bytes] = []
    kept = position = 0
    while (spans := family.pattern.search(data, position)) is not None:
        verdict = family.judge(data, spans)
        if isinstance(verdict, int):
            position = max(verdict, spans[0][0] + 1)
            continue
        pieces += [data[kept : verdict.start], replace(verdict.kind, verdict.value)]
        kept = position = verdict.end
    if not pieces:
        return data
    pieces.append(data[kept:])
    return b"".join(pieces)
