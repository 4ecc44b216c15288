"""The early start of metrics: a resource that is suddenly in use, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.detect.early_metrics import LEAST_WINDOWS, LONGEST_HELD, share_limit
from transforms.detect.metrics import JudgedMetric, JudgeMetric, SeriesMemory
from transforms.elements import MINUTE_US, MetricPoint, MetricSeries, MetricSlice, MetricSummary

START_US = 1_768_780_800_000_000
CPU = "custom.googleapis.com/CpuUsageRate"


class Series:
    """Windows of a minute, one point each."""

    def __init__(self, metric_type: str = CPU, unit: str = "") -> None:
        self.series = MetricSeries("t", "cart", metric_type, "GAUGE", "value", unit=unit, series_id="1")
        self.step, self.state, self.minute = JudgeMetric(), SeriesMemory(), 0

    def watch(self, *values: float) -> list[JudgedMetric]:
        judged = []
        for value in values:
            start_us = START_US + self.minute * MINUTE_US
            points = {start_us * 1000: MetricPoint(start_us * 1000, value, {0: 1})}
            summary = MetricSummary(self.series, 60, [MetricSlice(start_us, points)])
            judged += self.step.step(self.state, summary, is_late=False)
            self.minute += 1
        return judged

    def calm(self, windows: int = LEAST_WINDOWS) -> Series:
        assert not alarms(self.watch(*(1.0 + n % 5 for n in range(windows))))
        return self


def alarms(judged: list[JudgedMetric]) -> list[JudgedMetric]:
    return [one for one in judged if one.anomaly]


@pytest.mark.parametrize(
    ("metric_type", "unit", "limit"),
    [
        (CPU, "", 100.0),
        ("kubernetes.io/container/cpu/limit_utilization", "1", 1.0),
        ("compute.googleapis.com/instance/cpu/utilization", "10^2.%", 1.0),
        ("agent.googleapis.com/memory/percent_used", "%", 100.0),
        ("custom.googleapis.com/disk_used_percent", "", 100.0),
        ("custom.googleapis.com/heap_ratio", "", 1.0),
        ("custom.googleapis.com/CpuUsage", "", None),  # thousandths of a core, it may be
        ("kubernetes.io/container/memory/used_bytes", "By", None),
        ("custom.googleapis.com/cache_hit_ratio", "", None),
        ("custom.googleapis.com/PodServerLatencyP95", "s", None),
        ("custom.googleapis.com/members_percent", "", None),
    ],
)
def test_names_and_units_say_what_is_a_share_of_a_limit(
    metric_type: str, unit: str, limit: float | None
) -> None:
    """Of a resource, that is; what is not clear has no limit."""
    assert share_limit(metric_type, unit) == limit


def test_a_full_processor_alarms_in_the_first_day() -> None:
    """At once, in words, and once; when it comes back hours later it is told again."""
    series = Series().calm()
    (first, second) = series.watch(99.0, 98.0)
    assert first.anomaly is not None
    assert first.anomaly.anomaly_type == "resource_exhaustion"
    assert first.anomaly.anomaly_severity == "medium"
    assert not first.anomaly.below_confidence_floor
    assert "99 is above everything normal so far (highest 5.0" in first.anomaly.description
    assert (first.row.label, second.row.label, second.anomaly) == ("anomalous", "continuing", None)
    series.calm(180)
    assert len(alarms(series.watch(99.0, 99.0))) == 1


@pytest.mark.parametrize("value", [49.0, 5.5, 0.0])
def test_what_is_not_half_of_the_limit_waits_for_the_day_to_be_over(value: float) -> None:
    """Much more than ever, but little of what there is, is no alarm yet."""
    assert not alarms(Series().calm().watch(*[value] * 5))


def test_before_thirty_windows_nothing_is_said() -> None:
    """A service that starts is busy."""
    assert not alarms(Series().calm(LEAST_WINDOWS - 1).watch(99.0))


def test_a_series_that_is_often_high_does_not_alarm() -> None:
    """A batch job fills its processor every few minutes: that is its range."""
    series = Series()
    assert not alarms(series.watch(*(90.0 if n % 10 == 9 else 5.0 for n in range(200))))


@given(st.lists(st.floats(0.0, 100.0), min_size=LEAST_WINDOWS, max_size=80))
def test_an_alarm_is_far_above_all_that_was_seen(values: list[float]) -> None:
    """Whatever the series is like."""
    judged = Series().watch(*values)
    for place, one in enumerate(judged):
        if one.anomaly:
            before = [other.row.value or 0.0 for other in judged[:place] if other.row.label == "learning"]
            value = one.row.value or 0.0
            assert value >= 50.0
            assert value - max(before) >= 19.9
            assert value - max(before) >= 2.9 * (max(before) - min(before))


def test_an_incident_of_the_first_day_is_not_learned_and_a_new_normal_is() -> None:
    """An hour of it is how the series is."""
    series = Series().calm()
    series.watch(*[99.0] * 30)
    high = series.watch(2.0)[0].row.band_high
    assert high is not None
    assert high < 6
    series.watch(*[99.0] * (LONGEST_HELD + 2))
    high = series.watch(2.0)[0].row.band_high
    assert high is not None
    assert high > 90


def test_other_metrics_learn_for_a_day_as_before() -> None:
    """A latency or a number of bytes says nothing so early."""
    assert not alarms(Series("custom.googleapis.com/PodServerLatencyP95", "s").calm().watch(3600.0))
