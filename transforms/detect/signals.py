"""What a rule can look at: one window reduced to small integers, and spans of such windows.

`WindowSignals` is what the history keeps of a window; it is a fraction of its summary, because text
and examples stay behind. A `Span` is one or more windows seen as one: sums, merged sketches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Final

import msgspec

from transforms.elements import MICROSECONDS, RequestStats, WindowSummary
from transforms.sketches import distinct_estimate, latency_quantile_us, merge_max, merge_sum

HISTORY_WINDOWS: Final = 60
"""Earlier windows of a service that rules can look back on."""

KEPT_PATTERNS: Final = 100
"""Patterns of one earlier window that are remembered: those with errors first, then the most severe."""

KEPT_ENDPOINTS: Final = 50
"""Endpoints of one earlier window that are remembered: those with the most requests."""


class PatternSignals(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Lines of one pattern in one window."""

    count: int
    errors: int
    severity: int
    is_new: bool = False


class Band(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was expected of one signal in one window, in the unit that people read."""

    baseline: float
    low: float
    high: float


class WindowSignals(msgspec.Struct, array_like=True, gc=False):
    """One service's window in integers. Never changed once it is made; spans add them up."""

    window_start_us: int
    window_seconds: int
    lines: int = 0
    errors: int = 0
    warnings: int = 0
    requests: int = 0
    request_errors: int = 0
    denials: int = 0
    slow_requests: int = 0
    deploys: int = 0
    latency_count: int = 0
    latency_sum_us: int = 0
    latency_p95_us: int = 0  # kept beside the bins: the usual latency is read for every window
    latency_bins: dict[int, int] = {}
    statuses: dict[int, int] = {}
    principals: dict[int, int] = {}
    addresses: dict[int, int] = {}
    patterns: dict[str, PatternSignals] = {}
    endpoints: dict[str, RequestStats] = {}
    bands: dict[str, Band] = {}  # by signal, those of learned detectors

    @property
    def window_us(self) -> int:
        """Length of the window."""
        return self.window_seconds * MICROSECONDS


def signals_of(summary: WindowSummary) -> WindowSignals:
    """Signals of the whole summary; shares its dicts, so the summary must not change any more."""
    return WindowSignals(
        window_start_us=summary.window_start_us,
        window_seconds=summary.window_seconds,
        lines=summary.lines,
        errors=summary.errors,
        warnings=summary.warnings,
        requests=summary.requests,
        request_errors=sum(stats.errors for stats in summary.endpoints.values()),
        denials=summary.denials,
        slow_requests=summary.slow_requests,
        deploys=len(summary.deploys),
        latency_count=summary.latency_count,
        latency_sum_us=summary.latency_sum_us,
        latency_p95_us=round(latency_quantile_us(summary.latency_bins, 0.95) or 0),
        latency_bins=summary.latency_bins,
        statuses=summary.statuses,
        principals=summary.principals,
        addresses=summary.addresses,
        patterns={
            pattern_id: PatternSignals(stats.count, stats.errors, stats.severity, stats.is_new)
            for pattern_id, stats in summary.patterns.items()
        },
        endpoints=summary.endpoints,
    )


def compact(signals: WindowSignals) -> WindowSignals:
    """The signals that the history keeps: at most KEPT_PATTERNS patterns and KEPT_ENDPOINTS endpoints.

    Which are kept depends on the counts alone, ties go by name.
    """
    patterns, endpoints = signals.patterns, signals.endpoints
    if len(patterns) <= KEPT_PATTERNS and len(endpoints) <= KEPT_ENDPOINTS:
        return signals
    if len(patterns) > KEPT_PATTERNS:
        ranked = sorted(patterns.items(), key=lambda item: (*_interest(item[1]), item[0]))
        patterns = dict(ranked[:KEPT_PATTERNS])
    if len(endpoints) > KEPT_ENDPOINTS:
        busiest = sorted(endpoints.items(), key=lambda item: (-item[1].count, item[0]))
        endpoints = dict(busiest[:KEPT_ENDPOINTS])
    return msgspec.structs.replace(signals, patterns=patterns, endpoints=endpoints)


def _interest(pattern: PatternSignals) -> tuple[int, int, int, int]:
    return (-(pattern.errors > 0), -pattern.severity, -pattern.is_new, -pattern.count)


class Span:
    """Consecutive windows of one service seen as one, and the windows before them.

    `windows` are those of the span and `before` those ahead of it, each oldest first. A window that
    is missing in between had no lines. Figures are computed when they are asked for.
    """

    def __init__(
        self, windows: Sequence[WindowSignals], before: Sequence[WindowSignals], span_us: int
    ) -> None:
        self.windows = windows
        self.before = before
        self.newest = windows[-1]
        self.span_us = span_us
        self.start_us = self.newest.window_start_us + self.newest.window_us - span_us

    def total(self, name: str) -> int:
        """Sum of the integer field `name` over the span."""
        if len(self.windows) == 1:
            return getattr(self.newest, name)  # type: ignore[no-any-return]
        return sum(map(attrgetter(name), self.windows))

    @cached_property
    def windows_before(self) -> int:
        """How many windows the service has been known for before the span, at most HISTORY_WINDOWS."""
        if not self.before:
            return 0
        return (self.start_us - self.before[0].window_start_us) // self.newest.window_us

    def usual(self, total_before: int) -> float:
        """What `total_before`, a sum over the windows before, makes in a time as long as the span."""
        if not self.windows_before:
            return 0.0
        return total_before / self.windows_before * (self.span_us / self.newest.window_us)

    @cached_property
    def latency_bins(self) -> dict[int, int]:
        return merge_bins(window.latency_bins for window in self.windows)

    @cached_property
    def statuses(self) -> dict[int, int]:
        return merge_bins(window.statuses for window in self.windows)

    @cached_property
    def distinct_principals(self) -> int:
        return distinct_estimate(_merge_registers(window.principals for window in self.windows))

    @cached_property
    def distinct_addresses(self) -> int:
        return distinct_estimate(_merge_registers(window.addresses for window in self.windows))

    def latency_ms(self, quantile: float) -> float:
        """Latency of the requests in milliseconds; 0 without requests."""
        return (latency_quantile_us(self.latency_bins, quantile) or 0.0) / 1000

    def statuses_between(self, low: int, high: int) -> int:
        """Lines with an HTTP status from `low` to `high`, inclusive."""
        return sum(count for status, count in self.statuses.items() if low <= status <= high)

    @cached_property
    def usual_latency_p95_ms(self) -> float:
        """Median of the windows' own 95th percentiles before the span; 0 when none had requests."""
        known = sorted(window.latency_p95_us for window in self.before if window.latency_count)
        return known[len(known) // 2] / 1000 if known else 0.0

    def pattern_total(self, pattern_ids: Iterable[str]) -> PatternSignals:
        """The given patterns' lines in the span, as if they were one pattern."""
        return _add_patterns(self.windows, pattern_ids)

    def pattern_before(self, pattern_ids: Iterable[str]) -> PatternSignals:
        """The given patterns' lines in all windows before the span."""
        return _add_patterns(self.before, pattern_ids)

    def endpoint(self, name: str) -> list[RequestStats]:
        """The endpoint's requests in each window of the span that has any."""
        return [window.endpoints[name] for window in self.windows if name in window.endpoints]


def _add_patterns(windows: Sequence[WindowSignals], pattern_ids: Iterable[str]) -> PatternSignals:
    ids = tuple(pattern_ids)
    count = errors = severity = 0
    is_new = False
    for window in windows:
        for pattern_id in ids:
            if (pattern := window.patterns.get(pattern_id)) is not None:
                count += pattern.count
                errors += pattern.errors
                severity = max(severity, pattern.severity)
                is_new = is_new or pattern.is_new
    return PatternSignals(count, errors, severity, is_new)


def merge_bins(parts: Iterable[dict[int, int]]) -> dict[int, int]:
    """The sum of counts by key; a lone part is given back as it is."""
    filled = [part for part in parts if part]
    if len(filled) == 1:
        return filled[0]
    merged: dict[int, int] = {}
    for part in filled:
        merge_sum(merged, part)
    return merged


def _merge_registers(parts: Iterable[dict[int, int]]) -> dict[int, int]:
    filled = [part for part in parts if part]
    if len(filled) == 1:
        return filled[0]
    merged: dict[int, int] = {}
    for part in filled:
        merge_max(merged, part)
    return merged
