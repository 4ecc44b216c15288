"""Lines by revision of a service. Names come from whoever writes the logs, so their number is capped.

Beyond the cap the revisions with the smallest hashes keep their own counts, and the lines of all
others are counted under OTHER_REVISIONS. What is kept of the union of many parts is kept in each of
them, so the result is the same in any order and split, and no line is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Final

MAX_REVISIONS: Final = 32
"""Revisions of one service in one window that keep their own count."""

MAX_PATTERN_REVISIONS: Final = 8
"""Revisions of one pattern in one window that keep their own count."""

OTHER_REVISIONS: Final = "*"
"""Under this name the lines of all further revisions are counted."""


def count_revision(into: dict[str, int], revision: str, lines: int, most: int) -> None:
    """Add `lines` of `revision` to `into`, in place, with at most `most` names and the rest."""
    into[revision] = into.get(revision, 0) + lines
    if len(into) > most:
        _fold(into, most)


def add_revisions(into: dict[str, int], other: Mapping[str, int], most: int) -> None:
    """Add the lines by revision of `other` to `into`, in place, with at most `most` names and the rest."""
    for revision, lines in other.items():
        into[revision] = into.get(revision, 0) + lines
    if len(into) > most:
        _fold(into, most)


def _fold(revisions: dict[str, int], most: int) -> None:
    named = sorted(revisions.keys() - {OTHER_REVISIONS}, key=lambda name: (_revision_hash(name), name))
    for revision in named[most:]:
        lines = revisions.pop(revision)
        revisions[OTHER_REVISIONS] = revisions.get(OTHER_REVISIONS, 0) + lines


@lru_cache(maxsize=1024)
def _revision_hash(revision: str) -> bytes:
    return blake2b(revision.encode("utf-8", "surrogatepass"), digest_size=8).digest()
