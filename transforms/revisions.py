"""Lines by revision of a service, with a cap on their names; see capped_names.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from transforms.capped_names import OTHERS, names_beyond

MAX_REVISIONS: Final = 32
"""Revisions of one service in one window that keep their own count."""

MAX_PATTERN_REVISIONS: Final = 8
"""Revisions of one pattern in one window that keep their own count."""


def count_revision(into: dict[str, int], revision: str, lines: int, most: int) -> None:
    """Add `lines` of `revision` to `into`, in place, with at most `most` names and the rest."""
    into[revision] = into.get(revision, 0) + lines
    _fold(into, most)


def add_revisions(into: dict[str, int], other: Mapping[str, int], most: int) -> None:
    """Add the lines by revision of `other` to `into`, in place, with at most `most` names and the rest."""
    for revision, lines in other.items():
        into[revision] = into.get(revision, 0) + lines
    _fold(into, most)


def _fold(revisions: dict[str, int], most: int) -> None:
    for revision in names_beyond(revisions, most):
        lines = revisions.pop(revision)
        revisions[OTHERS] = revisions.get(OTHERS, 0) + lines
