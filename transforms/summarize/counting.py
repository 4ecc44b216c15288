"""Counting lines of one kind into a WindowSummary.

Lines that count alike are one kind: a bundle of thousands of lines has dozens of kinds, so that
the work per line is one look-up, and everything else is done once per kind.
"""

from __future__ import annotations

from typing import Final

from transforms.elements import (
    ERROR,
    MICROSECONDS,
    WARNING,
    LineKind,
    PatternStats,
    RequestStats,
    WindowSummary,
)
from transforms.request_stats import add_stats
from transforms.revisions import MAX_PATTERN_REVISIONS, MAX_REVISIONS, count_revision
from transforms.sketches import latency_bin, merge_sum

SLOW_REQUEST_US: Final = MICROSECONDS
_SERVER_ERROR: Final = 500


def is_error(kind: LineKind) -> bool:
    """Whether lines of `kind` are errors: severity ERROR and above, or HTTP 5xx."""
    return kind.severity >= ERROR or kind.http_status >= _SERVER_ERROR


def count_lines(summary: WindowSummary, kind: LineKind, latencies_us: list[int]) -> None:
    """Add len(latencies_us) lines of `kind` to the counts of `summary`; -1 is no latency."""
    lines = len(latencies_us)
    errors = lines if is_error(kind) else 0
    summary.lines += lines
    summary.errors += errors
    summary.warnings += lines if kind.severity == WARNING else 0
    summary.requests += lines if kind.is_request else 0
    summary.failed_requests += errors if kind.is_request else 0
    summary.denials += lines if kind.is_denied else 0
    summary.retimed += lines if kind.retimed else 0
    summary.severity_inferred += lines if kind.severity_inferred else 0
    merge_sum(summary.severities, {kind.severity: lines})
    if kind.http_status:
        merge_sum(summary.statuses, {kind.http_status: lines})
    if kind.revision:
        count_revision(summary.revisions, kind.revision, lines, MAX_REVISIONS)
    _count_pattern(summary, kind, lines, errors)
    _count_latencies(summary, kind, lines, errors, [latency for latency in latencies_us if latency >= 0])


def _count_pattern(summary: WindowSummary, kind: LineKind, lines: int, errors: int) -> None:
    stats = summary.patterns.setdefault(kind.shape_id, PatternStats("", 0, 0, 0, []))
    stats.count += lines
    stats.errors += errors
    stats.severity = max(stats.severity, kind.severity)
    if kind.revision:
        count_revision(stats.revisions, kind.revision, lines, MAX_PATTERN_REVISIONS)


def _count_latencies(
    summary: WindowSummary, kind: LineKind, lines: int, errors: int, latencies_us: list[int]
) -> None:
    if not (kind.endpoint or kind.peer_service or latencies_us):
        return
    bins: dict[int, int] = {}
    for index in map(latency_bin, latencies_us):
        bins[index] = bins.get(index, 0) + 1
    latency_sum = sum(latencies_us)
    counted = RequestStats(lines, errors, latency_sum, bins)
    if kind.endpoint:
        add_requests(summary.endpoints, kind.endpoint, counted)
    if kind.peer_service:
        add_requests(summary.callers, kind.peer_service, counted)
    if latencies_us:
        summary.latency_count += len(latencies_us)
        summary.latency_sum_us += latency_sum
        summary.latency_max_us = max(summary.latency_max_us, *latencies_us)
        summary.slow_requests += sum(latency > SLOW_REQUEST_US for latency in latencies_us)
        merge_sum(summary.latency_bins, bins)


def add_requests(into: dict[str, RequestStats], name: str, other: RequestStats) -> None:
    """Add `other` to the stats of `name`; `other` is never shared with `into`."""
    stats = into.get(name)
    if stats is None:
        into[name] = RequestStats(other.count, other.errors, other.latency_sum_us, dict(other.latency_bins))
        return
    add_stats(stats, other)
