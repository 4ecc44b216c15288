"""Adding up patterns: shared by the stages that count them."""

from __future__ import annotations

import msgspec

from transforms.elements import PatternStats
from transforms.revisions import MAX_PATTERN_REVISIONS, add_revisions


def copy_stats(stats: PatternStats) -> PatternStats:
    """A copy that can be added to."""
    return msgspec.structs.replace(stats, examples=list(stats.examples), revisions=dict(stats.revisions))


def add_counts(into: PatternStats, other: PatternStats) -> None:
    """Add `other` to `into`, in place, but for the examples; `other` stays as it is."""
    into.count += other.count
    into.errors += other.errors
    into.severity = max(into.severity, other.severity)
    into.exception = min(filter(None, (into.exception, other.exception)), default="")
    if other.revisions:
        add_revisions(into.revisions, other.revisions, MAX_PATTERN_REVISIONS)
