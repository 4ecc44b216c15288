"""From the points of one bundle to mergeable windows of series. Merging is exact and in any order."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from operator import attrgetter
from typing import Final

import msgspec

from transforms.elements import (
    DAY_US,
    MICROSECONDS,
    NANOSECONDS,
    MetricPoint,
    MetricPoints,
    MetricSeries,
    MetricSlice,
    MetricSummary,
    content_id,
)

MAX_POINTS: Final = 240
"""Points that a window of a series keeps, which is 2.5 s apart in the longest window. Of more, those with
the smallest hashes of their times are kept; the others are counted only."""


_MIX: Final = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: Fibonacci hashing
_MASK: Final = (1 << 64) - 1


def summarize_points(
    batch: Iterable[MetricPoints], window_seconds: int, *, by_day: bool = False
) -> list[MetricSummary]:
    """Summaries of the points, one for each series and window; with `by_day` one for each series and day,
    which holds all windows of that day.
    """
    summaries: dict[tuple[str, str, str, int], MetricSummary] = {}
    for points in batch:
        series = identified(points.series)
        slices: dict[int, MetricSlice] = {}
        for point in points.points:
            start_us = window_start_us(series, point, window_seconds)
            if start_us not in slices:
                slices[start_us] = MetricSlice(start_us)
            _add_point(slices[start_us], point)
        for start_us, part in slices.items():
            group_us = start_us // DAY_US if by_day else start_us
            key = (series.tenant_id, series.service, series.series_id, group_us)
            summary = MetricSummary(series, window_seconds, [part])
            known = summaries.get(key)
            summaries[key] = summary if known is None else _extended(known, summary)
    return [_tidied(summary) for summary in summaries.values()]


@lru_cache(maxsize=16_384)
def identified(series: MetricSeries) -> MetricSeries:
    """`series` with its id, which depends on neither tenant, service nor unit."""
    series_id = content_id(series.metric_type, series.kind, series.statistic, series.instance, series.labels)[
        :16
    ]
    return msgspec.structs.replace(series, series_id=series_id)


def window_start_us(series: MetricSeries, point: MetricPoint, window_seconds: int) -> int:
    """Start of the window that `point` belongs to.

    A gauge belongs where it was measured. What is measured over an interval belongs to the window that
    holds the interval's last moment: one that ends at 10:01:00 sharp is about the minute before.
    """
    end_ns = point.end_ns if series.kind == "GAUGE" else point.end_ns - 1
    return end_ns // (window_seconds * NANOSECONDS) * window_seconds * MICROSECONDS


def merge_summaries(summaries: Iterable[MetricSummary]) -> MetricSummary:
    """The sum of summaries of one series; changes none of them. Order and grouping make no difference."""
    first, *others = summaries
    merged = MetricSummary(first.series, first.window_seconds, _copies(first.slices), first.pane_index)
    for other in others:
        merged = _extended(merged, MetricSummary(other.series, other.window_seconds, _copies(other.slices)))
    return _tidied(merged)


def _copies(slices: list[MetricSlice]) -> list[MetricSlice]:
    return [MetricSlice(part.window_start_us, dict(part.points), dict(part.overflow)) for part in slices]


def _extended(summary: MetricSummary, other: MetricSummary) -> MetricSummary:
    """`summary` with the slices of `other`, whose own it takes over; not tidied."""
    # Exporters may leave the unit out now and then; which one counts must not depend on the order.
    summary.series = max(summary.series, other.series, key=attrgetter("unit"))
    summary.slices += other.slices
    return summary


def _tidied(summary: MetricSummary) -> MetricSummary:
    """Slices of one window become one, in order of time; points in order of time, at most MAX_POINTS."""
    by_start: dict[int, MetricSlice] = {}
    for part in summary.slices:
        known = by_start.setdefault(part.window_start_us, part)
        if known is not part:
            for point in part.points.values():
                _add_point(known, point)
            for minute, count in part.overflow.items():
                known.overflow[minute] = known.overflow.get(minute, 0) + count
    summary.slices = [by_start[start_us] for start_us in sorted(by_start)]
    for part in summary.slices:
        _fit(part)
    return summary


def _add_point(part: MetricSlice, point: MetricPoint) -> None:
    known = part.points.get(point.end_ns)
    part.points[point.end_ns] = point if known is None else _one_of(known, point)


def _one_of(first: MetricPoint, second: MetricPoint) -> MetricPoint:
    """Of two points of one time, one with the receipts of both; which one does not depend on the order."""
    receipts = dict(first.receipts)
    for minute, count in second.receipts.items():
        receipts[minute] = receipts.get(minute, 0) + count
    in_order = dict(sorted(receipts.items()))
    return msgspec.structs.replace(min(first, second, key=_content), receipts=in_order)


def _content(point: MetricPoint) -> tuple[object, ...]:
    buckets = (point.buckets.edges, point.buckets.counts) if point.buckets else ((), ())
    value = 0.0 if point.value is None else point.value
    # 0.0 and -0.0 are equal, but not the same bytes
    return point.value is None, value, math.copysign(1.0, value), point.start_ns, point.weight, buckets


def _fit(part: MetricSlice) -> None:
    times = sorted(part.points)
    if len(times) > MAX_POINTS:
        kept = set(sorted(times, key=_order)[:MAX_POINTS])
        for end_ns in times:
            if end_ns not in kept:
                for minute, count in part.points[end_ns].receipts.items():
                    part.overflow[minute] = part.overflow.get(minute, 0) + count
        times = [end_ns for end_ns in times if end_ns in kept]
    part.points = {end_ns: part.points[end_ns] for end_ns in times}
    part.overflow = dict(sorted(part.overflow.items()))


def _order(end_ns: int) -> int:
    return end_ns * _MIX & _MASK
