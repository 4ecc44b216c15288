"""Distributions of Cloud Monitoring: where buckets begin, and the number that p95 is."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

from transforms.elements import Buckets
from transforms.metrics.raw import RawBucketOptions, RawDistribution, RefusedMetric

MAX_BUCKETS: Final = 200
"""As many as Cloud Monitoring allows; a point with more is refused."""


def read_count(value: int | str) -> int:
    """A count as JSON writes it. Raises RefusedMetric where it is none."""
    count = read_integer(value)
    if count is None or count < 0:
        raise RefusedMetric("bad_distribution", "a count is no whole number from 0 to 2^63")
    return count


def read_integer(value: int | str) -> int | None:
    """A 64-bit integer, which JSON writes as a string; None where it is none."""
    if isinstance(value, str):
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
            return None
        value = int(value)
    return value if -(1 << 63) <= value < 1 << 63 else None


def read_buckets(distribution: RawDistribution) -> Buckets | None:
    """Edges and counts of `distribution`, trailing zeros cut; None where it has no buckets.

    Raises RefusedMetric where they contradict each other.
    """
    options = distribution.bucket_options
    if options is None or not distribution.bucket_counts:
        return None
    counts = [read_count(count) for count in distribution.bucket_counts]
    while counts and not counts[-1]:
        counts.pop()
    edges = _edges(options)
    if len(counts) > len(edges) + 1:
        raise RefusedMetric("bad_distribution", "more bucketCounts than bucketOptions have buckets")
    return Buckets(edges, tuple(counts)) if edges else None


def _edges(options: RawBucketOptions) -> tuple[float, ...]:
    """Finite edges, ascending. n of them make n + 1 buckets: below, between, above."""
    try:
        if options.explicit_buckets is not None:
            edges = tuple(options.explicit_buckets.bounds)
        elif options.exponential_buckets is not None:
            exponential = options.exponential_buckets
            growth, scale = exponential.growth_factor, exponential.scale
            edges = tuple(scale * growth**i for i in range(_edge_count(exponential.num_finite_buckets)))
        elif options.linear_buckets is not None:
            linear = options.linear_buckets
            numbers = range(_edge_count(linear.num_finite_buckets))
            edges = tuple(linear.offset + linear.width * i for i in numbers)
        else:
            return ()
    except OverflowError:
        edges = (math.inf,)
    is_sane = len(edges) < MAX_BUCKETS and all(map(math.isfinite, edges))
    if not is_sane or any(low >= high for low, high in pairwise(edges)):
        raise RefusedMetric("bad_distribution", "bucketOptions do not give growing finite bounds")
    return edges


def _edge_count(finite_buckets: int | str) -> int:
    count = read_count(finite_buckets)
    if not 0 < count < MAX_BUCKETS:
        raise RefusedMetric("bad_distribution", f"numFiniteBuckets is not from 1 to {MAX_BUCKETS - 1}")
    return count + 1
