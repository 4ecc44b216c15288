"""JudgeMetric: rows, judgements and anomalies of one series, and what its state may cost."""

from __future__ import annotations

import json
import random
import sys
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from transforms.coders import StructCoder
from transforms.detect.baselines.book import NO_BOOK, BaselineBook
from transforms.detect.baselines.book_loading import load_book
from transforms.detect.baselines.interface import Judgement, Observation
from transforms.detect.metrics import (
    JudgedMetric,
    JudgeMetric,
    SeriesMemory,
    anomaly_type_of,
    confidence_of,
    ledger_text,
    severity_of,
)
from transforms.elements import (
    MINUTE_US,
    NANOSECONDS,
    Buckets,
    MetricPoint,
    MetricSeries,
    MetricSlice,
    MetricSummary,
    MetricWindow,
)

GAUGE = MetricSeries("acme", "cart", "custom/queue", "GAUGE", "value", "{}", "pod-1", "1", "5e1d")
TOTAL = msgspec.structs.replace(GAUGE, kind="CUMULATIVE", statistic="rate")


class Threshold:
    """A detector that calls every value above 10 anomalous, once in a row, and counts what it learned."""

    def __init__(self, encoded: bytes | None) -> None:
        self.learned, self.was_high = msgspec.msgpack.decode(encoded) if encoded else (0, False)

    def score_one(self, observation: Observation) -> Judgement:
        high = observation.value > 10
        label = "normal" if not high else "continuing" if self.was_high else "anomalous"
        score = observation.value / 100 if high else 0.0
        return Judgement(score, label, 0.1, score, 5.0, 0.0, 10.0, "too high" if high else "")  # type: ignore[arg-type]

    def learn_one(self, observation: Observation, judgement: Judgement) -> None:
        self.learned += 1
        self.was_high = observation.value > 10

    def encode(self) -> bytes:
        return msgspec.msgpack.encode((self.learned, self.was_high))


def window(minute: int, *values: float, series: MetricSeries = GAUGE, pane: int = 0) -> MetricSummary:
    points = {}
    for number, value in enumerate(values):
        end_ns = (minute * 60 + 1 + number * 10) * NANOSECONDS
        points[end_ns] = MetricPoint(end_ns, value, {minute: 1}, 1 if series.kind == "CUMULATIVE" else 0)
    return MetricSummary(series, 60, [MetricSlice(minute * MINUTE_US, points)], pane)


def judge(
    *summaries: MetricSummary, state: SeriesMemory | None = None, book: BaselineBook = NO_BOOK
) -> list[JudgedMetric]:
    step = JudgeMetric(book)
    state = state or step.initial()
    with patch("transforms.detect.metrics.make_detector", lambda _name, _set, coded, _cal: Threshold(coded)):
        return [
            judged
            for summary in summaries
            for judged in step.step(state, summary, is_late=summary.pane_index > 0)
        ]


def test_a_window_becomes_a_row_with_its_judgement() -> None:
    """Mean, lowest and highest of its points, what is usual, and the ledger's counts."""
    (judged,) = judge(window(3, 1.0, 2.0, 6.0))
    row = judged.row
    assert (row.points, row.value, row.min, row.max) == (3, 3.0, 1.0, 6.0)
    assert (row.window_start, row.window_end) == (3 * MINUTE_US, 4 * MINUTE_US)
    assert (row.baseline, row.band_low, row.band_high, row.label) == (5.0, 0.0, 10.0, "normal")
    assert (row.instance, row.metric_type, row.statistic, row.unit) == ("pod-1", "custom/queue", "value", "1")
    assert json.loads(row.ledger) == {"180": [3, 0]}
    assert judged.anomaly is None


def test_the_mean_does_not_depend_on_the_order_of_points() -> None:
    """Sums are exact, whatever stands first."""
    values = [1e16, 1.0, -1e16, 3.0]
    means = set()
    for seed in range(10):
        random.Random(seed).shuffle(values)
        means.add(judge(window(0, *values))[0].row.value)
    assert means == {1.0}


def test_an_anomaly_names_series_value_and_reason() -> None:
    """What the detector calls anomalous is reported once; what continues is not."""
    first, second = judge(window(1, 5.0), window(2, 50.0), window(3, 60.0))[1:]
    anomaly = first.anomaly
    assert anomaly is not None
    assert second.anomaly is None
    assert (second.row.label, second.row.score) == ("continuing", 0.6)
    assert (anomaly.anomaly_type, anomaly.detector, anomaly.signal) == (
        "metric_anomaly",
        "learned",
        "custom/queue",
    )
    assert anomaly.description == "custom/queue of pod-1: too high"
    assert (anomaly.window_start, anomaly.detected_at) == (2 * MINUTE_US, 3 * MINUTE_US)
    (metric,) = anomaly.metrics
    assert (metric.value, metric.threshold, metric.baseline, metric.band_high) == (50.0, 0.1, 5.0, 10.0)
    assert (anomaly.confidence_score, anomaly.below_confidence_floor) == (0.95, False)


def test_series_of_one_service_have_anomalies_of_their_own() -> None:
    """Two pods, or mean and p95 of one distribution, never share an id."""
    others = [
        GAUGE,
        msgspec.structs.replace(GAUGE, series_id="0ther"),
        msgspec.structs.replace(GAUGE, statistic="p95"),
        msgspec.structs.replace(GAUGE, tenant_id="globex"),
    ]
    found = [judge(window(0, 50.0, series=series))[0].anomaly for series in others]
    assert len({anomaly.anomaly_id for anomaly in found if anomaly}) == 4
    assert found[2] is not None
    assert found[2].signal == "custom/queue.p95"


def test_a_late_pane_revises_the_row_and_nothing_else() -> None:
    """It reports nothing and teaches nothing; what was anomalous on time keeps its judgement."""
    state = SeriesMemory()
    judge(window(1, 5.0), window(2, 50.0), window(3, 5.0), state=state)
    before = msgspec.msgpack.encode(state)
    high, alarm, normal = judge(
        window(1, 5.0, 95.0, pane=1), window(2, 5.0, pane=1), window(3, 6.0, pane=2), state=state
    )
    assert (high.row.value, high.row.label, high.row.revision, high.anomaly) == (50.0, "continuing", 1, None)
    assert (alarm.row.value, alarm.row.label, alarm.row.score) == (5.0, "anomalous", 0.5)
    assert (normal.row.value, normal.row.label, normal.row.revision) == (6.0, "normal", 2)
    assert msgspec.msgpack.encode(state) == before


def test_a_total_gives_rates_across_windows() -> None:
    """The first point of all has none; the first of a window is compared with the last of the one before."""
    first, second = judge(window(1, 100.0, 110.0, series=TOTAL), window(2, 160.0, series=TOTAL))
    assert (first.row.points, first.row.value) == (2, 1.0)
    assert second.row.value == 1.0
    (alone,) = judge(window(1, 100.0, series=TOTAL))
    assert (alone.row.points, alone.row.value, alone.row.label) == (1, None, "no_value")
    assert json.loads(alone.row.ledger) == {"60": [1, 0]}


def test_late_points_of_a_total_are_compared_with_the_point_before_them() -> None:
    """A late pane of an earlier window has the same point before it; later windows keep their rates."""
    state = SeriesMemory()
    judge(*(window(minute, 100.0 + minute * 60, series=TOTAL) for minute in range(5)), state=state)
    (late,) = judge(window(2, 220.0, 250.0, series=TOTAL, pane=1), state=state)
    assert late.row.value == 2.0
    assert (late.row.min, late.row.max) == (1.0, 3.0)
    (following,) = judge(window(5, 400.0, series=TOTAL), state=state)
    assert following.row.value == 1.0


def test_what_is_handled_in_one_go_or_in_many_is_the_same() -> None:
    """A day of windows at once gives what a window at a time gives."""
    source = random.Random(4)
    for series in (GAUGE, TOTAL):
        alone = [window(minute, source.random() * 12, series=series) for minute in range(200)]
        together = MetricSummary(series, 60, [part for summary in alone for part in summary.slices])
        assert judge(together) == judge(*alone)


def test_of_copies_the_first_receipt_is_analyzed() -> None:
    """The others are duplicates in the minutes they came in; points beyond the cap are analyzed."""
    part = MetricSlice(0, {1: MetricPoint(1, 1.0, {7: 2, 5: 1}), 2: MetricPoint(2, 1.0)}, {5: 10})
    assert json.loads(ledger_text(part)) == {"300": [11, 0], "420": [0, 2]}


@pytest.mark.parametrize(
    ("score", "lasting", "severity"),
    [
        (0.04, 1, "low"),
        (0.119, 9, "low"),
        (0.12, 1, "medium"),
        (0.49, 9, "medium"),
        (0.5, 2, "medium"),
        (0.5, 3, "high"),
    ],
)
def test_severity_follows_the_score_and_how_long_it_has_lasted(
    score: float, lasting: int, severity: str
) -> None:
    """A single window is never high, however far off."""
    assert severity_of(Judgement(score, "anomalous", 0.04), lasting) == severity


def test_confidence_grows_with_the_score_and_is_never_certain() -> None:
    """A score that noise reaches stays below the floor."""
    assert confidence_of(0.04) == pytest.approx(0.54)
    assert confidence_of(0.2) == pytest.approx(0.7)
    assert confidence_of(1.0) == 0.95


def row_of(metric_type: str, value: float, unit: str = "", baseline: float | None = None) -> MetricWindow:
    row = judge(window(0, value))[0].row
    return msgspec.structs.replace(row, metric_type=metric_type, unit=unit, baseline=baseline)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("compute.googleapis.com/instance/cpu/utilization", 0.95, "10^2.%"), "resource_exhaustion"),
        (("kubernetes.io/container/memory/limit_utilization", 0.9, "1", 0.5), "resource_exhaustion"),
        (("agent.googleapis.com/cpu/utilization", 95.0, "%"), "resource_exhaustion"),
        (("agent.googleapis.com/cpu/utilization", 0.95, "%"), "metric_anomaly"),
        (("compute.googleapis.com/instance/cpu/utilization", 0.5, "10^2.%"), "metric_anomaly"),
        (("compute.googleapis.com/instance/cpu/utilization", 0.91, "10^2.%", 0.99), "metric_anomaly"),
        (("custom/success_percent", 99.0, "%"), "metric_anomaly"),
    ],
)
def test_a_utilization_near_its_limit_is_resource_exhaustion(row: tuple[Any, ...], expected: str) -> None:
    """By name and unit; a fall, or a percentage of something else, is not."""
    assert anomaly_type_of(row_of(*row)) == expected


def state_after(windows: int, value_at: Any) -> bytes:
    """Encoded state of the product's detector after `windows` minutes of a series."""
    step, coder = JudgeMetric(), StructCoder(SeriesMemory)
    state = step.initial()
    for minute in range(windows):
        list(step.step(state, value_at(minute), is_late=False))
    return coder.encode(state)


def test_the_state_of_a_series_stays_within_4_kib() -> None:
    """A lively gauge, a total, and 200 buckets of large counts, each after a week of hours."""
    source = random.Random(5)
    p95 = msgspec.structs.replace(TOTAL, statistic="p95")
    edges = tuple(1.5**i for i in range(199))
    running = [1 << 33] * 200

    def gauge(hour: int) -> MetricSummary:
        return window(hour * 60, source.lognormvariate(0, 2))

    def total(hour: int) -> MetricSummary:
        return window(hour * 60, 1e15 + hour * 1e9 + source.random() * 1e8, series=TOTAL)

    def histogram(hour: int) -> MetricSummary:
        for number in range(200):
            running[number] += source.randrange(1000)
        end_ns = (hour * 3600 + 1) * NANOSECONDS
        point = MetricPoint(end_ns, None, {hour: 1}, 1, 0, Buckets(edges, tuple(running)))
        return MetricSummary(p95, 60, [MetricSlice(hour * 3600 * 1_000_000, {end_ns: point})])

    sizes = [len(state_after(400, value_at)) for value_at in (gauge, total, histogram)]
    assert max(sizes) <= 4096, sizes


def test_the_learned_detector_finds_a_spike_after_a_day_of_learning() -> None:
    """The product's own detector behind the step: quiet while it learns, then one anomaly."""
    source = random.Random(6)
    step = JudgeMetric()
    state = step.initial()
    found = []
    for minute in range(0, 36 * 60, 10):
        value = 100.0 if minute == 35 * 60 else 10 + source.random()
        found += list(step.step(state, window(minute, value), is_late=False))
    assert {judged.row.label for judged in found[: 24 * 6]} == {"learning"}
    anomalies = [judged.anomaly for judged in found if judged.anomaly]
    assert [anomaly.window_start for anomaly in anomalies] == [35 * 60 * MINUTE_US]
    assert anomalies[0].anomaly_severity == "medium"
    assert "above everything normal" in anomalies[0].description
    assert sys.getsizeof(state.detector) < 4096


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("signals: [{signal: metric.custom/*, severity: low}]", [("anomalous", "low")]),
        ("signals: [{signal: metric.custom/*, direction: down}]", [("anomalous", None)]),
        ("signals: [{signal: metric.custom/queue, detector: 'off'}]", [("no_value", None)]),
        (
            "calendars: [{tenant: acme, maintenance: [{every: day, from: '00:00', to: '01:00'}]}]",
            [("no_value", None)],
        ),
        ("signals: [{signal: metric.other/*, detector: 'off'}]", [("anomalous", "medium")]),
    ],
)
def test_an_operators_file_decides_how_a_metric_is_judged(
    text: str, expected: list[tuple[str, str | None]]
) -> None:
    """Severity, direction, switching off and maintenance hold for metrics as for signals of logs."""
    judged = judge(window(3, 40.0), book=load_book(text, "baselines.yaml"))
    found = [(one.row.label, one.anomaly.anomaly_severity if one.anomaly else None) for one in judged]
    assert found == expected


def test_a_detector_that_raises_costs_its_series_the_judgement_only() -> None:
    """The row is written without a judgement, and the job goes on."""

    def broken(*_: object) -> Threshold:
        raise RuntimeError

    step = JudgeMetric()
    with patch("transforms.detect.metrics.make_detector", broken):
        (judged,) = step.step(step.initial(), window(3, 40.0), is_late=False)
    assert (judged.row.value, judged.row.label, judged.anomaly) == (40.0, "no_value", None)
