"""What the points of one series say: rates of totals, percentiles of buckets. Pure, shared by stages.

A CUMULATIVE point is a running total since its start. It says something only together with the point
before it: the difference, if both count from the same start.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import Final

from transforms.elements import NANOSECONDS, Buckets, MetricPoint, MetricSeries

P95: Final = 0.95


def bucket_quantile(buckets: Buckets, quantile: float) -> float | None:
    """The quantile, interpolated within its bucket as if observations were spread evenly in it.

    In the lowest and the highest bucket, which have one end only, it is that end. None without
    observations.
    """
    edges, counts = buckets.edges, buckets.counts
    total = sum(counts)
    if not total:
        return None
    rank, below = quantile * total, 0
    for number, count in enumerate(counts):
        if count and below + count >= rank:
            if number == 0:
                return edges[0]
            if number == len(edges):
                break
            low, high = edges[number - 1], edges[number]
            return low + (high - low) * ((rank - below) / count)
        below += count
    return edges[-1]


def numbers_of(
    series: MetricSeries, points: Iterable[MetricPoint], before: MetricPoint | None
) -> list[float]:
    """The numbers of `points`, which are in order of time, `before` being the last one ahead of them.

    A point gives none where it holds no observation, and a CUMULATIVE one where it is the first of its
    series or since a reset: a new start time, or a total that fell.
    """
    if series.kind != "CUMULATIVE":
        return [point.value for point in points if point.value is not None]
    numbers = []
    for point in points:
        if before is not None and before.start_ns == point.start_ns and before.end_ns < point.end_ns:
            number = _difference(series, before, point)
            if number is not None:
                numbers.append(number)
        before = point
    return numbers


def _difference(series: MetricSeries, before: MetricPoint, point: MetricPoint) -> float | None:
    if series.statistic == "p95":
        return _p95_since(before.buckets, point.buckets)
    if before.value is None or point.value is None:
        return None
    change = point.value - before.value
    if series.statistic == "mean":
        observations = point.weight - before.weight
        return change / observations if observations > 0 else None
    return change / ((point.end_ns - before.end_ns) / NANOSECONDS) if change >= 0 else None


def _p95_since(before: Buckets | None, after: Buckets | None) -> float | None:
    if before is None or after is None or before.edges != after.edges:
        return None
    counts = tuple(new - old for new, old in zip_longest(after.counts, before.counts, fillvalue=0))
    return None if min(counts, default=0) < 0 else bucket_quantile(Buckets(after.edges, counts), P95)
