"""Numbers out of points: percentiles of buckets, rates of totals, resets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.elements import NANOSECONDS, Buckets, MetricPoint, MetricSeries
from transforms.rates import bucket_quantile, numbers_of

EDGES = (1.0, 2.0, 4.0)


def series(statistic: str = "rate", kind: str = "CUMULATIVE") -> MetricSeries:
    return MetricSeries("acme", "cart", "custom/x", kind, statistic)  # type: ignore[arg-type]


def total(second: int, value: float | None, start: int = 0, weight: int = 0) -> MetricPoint:
    return MetricPoint(second * NANOSECONDS, value, {}, start, weight)


def histogram(second: int, *counts: int, edges: tuple[float, ...] = EDGES) -> MetricPoint:
    return MetricPoint(second * NANOSECONDS, None, {}, 1, 0, Buckets(edges, counts))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((), None),
        ((0, 0), None),
        ((7,), 1.0),  # all below the first edge
        ((0, 0, 0, 3), 4.0),  # all above the last
        ((0, 10), 1.95),
        ((0, 0, 10), 3.9),
        ((95, 5), 1.0),  # the rank is the last of the lowest bucket
        ((0, 90, 10), 3.0),  # half-way through the second of the finite ones
    ],
)
def test_p95_is_interpolated_within_its_bucket(counts: tuple[int, ...], expected: float | None) -> None:
    """A bucket without an end on one side gives the end that it has."""
    found = bucket_quantile(Buckets(EDGES, counts), 0.95)
    assert found == (None if expected is None else pytest.approx(expected))


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=4), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_higher_quantile_is_not_lower(counts: list[int], one: float, other: float) -> None:
    """Quantiles grow with their rank, and stay between the edges."""
    buckets = Buckets(EDGES, tuple(counts))
    low, high = (bucket_quantile(buckets, q) for q in sorted((one, other)))
    if sum(counts):
        assert low is not None
        assert high is not None
        assert EDGES[0] <= low <= high <= EDGES[-1]


def test_a_total_gives_the_rate_between_consecutive_points() -> None:
    """The first point of a series gives none; one from an earlier window counts as the point before."""
    points = [total(60, 100), total(120, 220), total(130, 220)]
    assert numbers_of(series(), points, None) == [2.0, 0.0]
    assert numbers_of(series(), points, total(50, 0)) == [10.0, 2.0, 0.0]


@pytest.mark.parametrize("after", [total(120, 50, start=90), total(120, 50), total(60, 200)])
def test_a_reset_gives_no_rate(after: MetricPoint) -> None:
    """A new start time, a total that fell and a time that did not move begin anew."""
    following = MetricPoint(180 * NANOSECONDS, 110, {}, after.start_ns)
    assert numbers_of(series(), [after], total(60, 100)) == []
    if after.end_ns > 60 * NANOSECONDS and after.value == 50:
        assert numbers_of(series(), [after, following], total(60, 100)) == [1.0]


def test_a_running_distribution_gives_the_mean_and_p95_of_what_came_in_between() -> None:
    """Ten observations with a sum of 30 have a mean of 3; no observation has none."""
    points = [total(60, 100.0, weight=50), total(120, 130.0, weight=60), total(180, 130.0, weight=60)]
    assert numbers_of(series("mean"), points, None) == [3.0]
    counts = [histogram(60, 5, 5), histogram(120, 5, 15), histogram(180, 5, 15)]
    assert numbers_of(series("p95"), counts, None) == [pytest.approx(1.95)]


def test_buckets_that_changed_or_shrank_give_no_percentile() -> None:
    """Counts of other edges are not comparable."""
    other = histogram(120, 5, 15, edges=(1.0, 3.0, 9.0))
    assert numbers_of(series("p95"), [histogram(60, 5, 5), other], None) == []
    assert numbers_of(series("p95"), [histogram(60, 5, 5), histogram(120, 9, 1)], None) == []


def test_a_gauge_is_taken_as_it_is() -> None:
    """Points without a number are left out."""
    points = [total(60, 5.0), total(70, None), total(80, -1.0)]
    assert numbers_of(series("value", "GAUGE"), points, total(50, 9.0)) == [5.0, -1.0]
