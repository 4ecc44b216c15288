"""Windows of series merge exactly, whatever the order and the split."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.elements import NANOSECONDS, MetricPoint, MetricPoints, MetricSeries, MetricSummary
from transforms.metrics.windows import MAX_POINTS, identified, merge_summaries, summarize_points

SERIES = MetricSeries("acme", "cart", "custom/x", "GAUGE", "value")


def point(second: float, value: float | None = 1.0, minute: int = 5) -> MetricPoint:
    return MetricPoint(round(second * NANOSECONDS), value, {minute: 1})


def summarize(points: list[MetricPoint], *, by_day: bool = True) -> list[MetricSummary]:
    return summarize_points([MetricPoints(SERIES, points)], 60, by_day=by_day)


points_of_a_window = st.lists(
    st.builds(
        point,
        st.integers(0, 119),
        st.one_of(st.none(), st.floats(-1e9, 1e9)),
        st.integers(5, 7),
    ),
    min_size=1,
    max_size=30,
)


@given(points_of_a_window, st.integers(1, 5), st.randoms(use_true_random=False))
def test_any_split_and_order_gives_the_same_windows(
    points: list[MetricPoint], parts: int, source: random.Random
) -> None:
    """Copies, ties of different values and units that come and go included."""
    whole = summarize(points)
    shuffled = list(points)
    source.shuffle(shuffled)
    chunks = [shuffled[start::parts] for start in range(parts)]
    partials = [summary for chunk in chunks if chunk for summary in summarize(chunk)]
    source.shuffle(partials)
    assert msgspec.json.encode(merge_summaries(partials)) == msgspec.json.encode(whole[0])
    pairwise = partials[0]
    for partial in partials[1:]:
        pairwise = merge_summaries([partial, pairwise])
    assert msgspec.json.encode(merge_summaries([pairwise])) == msgspec.json.encode(whole[0])


def test_merging_changes_none_of_its_inputs() -> None:
    """A late pane merges the same partials again."""
    one, other = summarize([point(1)])[0], summarize([point(1), point(70)])[0]
    before = msgspec.json.encode([one, other])
    merge_summaries([one, other])
    assert msgspec.json.encode([one, other]) == before


@given(st.integers(1, 4), st.randoms(use_true_random=False))
def test_of_too_many_points_the_same_are_kept_and_all_are_counted(parts: int, source: random.Random) -> None:
    """The cap does not depend on the split either, and no receipt is lost."""
    points = [point(second / 10) for second in range(600)]
    whole = summarize(points)[0]
    source.shuffle(points)
    merged = merge_summaries([summary for n in range(parts) for summary in summarize(points[n::parts])])
    assert msgspec.json.encode(merged) == msgspec.json.encode(whole)
    part = merged.slices[0]
    assert len(part.points) == MAX_POINTS
    assert sum(part.overflow.values()) == 600 - MAX_POINTS


def test_a_stream_has_one_window_in_each_summary() -> None:
    """Bounded input has a day of them."""
    points = [point(5), point(65), point(86_400 + 5)]
    assert [len(summary.slices) for summary in summarize(points, by_day=False)] == [1, 1, 1]
    assert [len(summary.slices) for summary in summarize(points)] == [2, 1]


@pytest.mark.parametrize(("kind", "second"), [("GAUGE", 60), ("DELTA", 0), ("CUMULATIVE", 0)])
def test_what_ends_with_a_minute_belongs_to_it(kind: str, second: int) -> None:
    """A gauge of 00:01:00 belongs to the minute that begins; what was counted until then, to the last."""
    series = MetricSeries("acme", "cart", "custom/x", kind, "rate")  # type: ignore[arg-type]
    summaries = summarize_points([MetricPoints(series, [point(60)])], 60)
    assert summaries[0].window_start_us == second * 1_000_000


def test_the_id_of_a_series_is_of_its_content() -> None:
    """It differs by type, kind, statistic, instance and labels, not by tenant, service or unit."""
    same = [{"tenant_id": "b"}, {"service": "b"}, {"unit": "b"}]
    other = [
        {"metric_type": "b"},
        {"kind": "DELTA"},
        {"statistic": "rate"},
        {"instance": "b"},
        {"labels": '{"a":"b"}'},
    ]
    own = identified(SERIES).series_id
    assert {identified(msgspec.structs.replace(SERIES, **change)).series_id for change in same} == {own}
    ids = {identified(msgspec.structs.replace(SERIES, **change)).series_id for change in other}
    assert len(ids | {own}) == len(other) + 1


def test_a_unit_that_is_missing_now_and_then_does_not_split_the_series() -> None:
    """The unit that is said counts."""
    with_unit = MetricPoints(msgspec.structs.replace(SERIES, unit="By"), [point(1)])
    for batch in (
        [with_unit, MetricPoints(SERIES, [point(2)])],
        [MetricPoints(SERIES, [point(2)]), with_unit],
    ):
        (summary,) = summarize_points(batch, 60)
        assert summary.series.unit == "By"
        assert len(summary.slices[0].points) == 2
