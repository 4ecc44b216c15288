"""One series of a metric over time: numbers out of points, a detector that looks at them, anomalies.

The pure core of DetectMetricAnomalies. How a judgement becomes an anomaly stands at the end.
"""

from __future__ import annotations

import hashlib
import math
import struct
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Final

import msgspec

from transforms.detect.baselines.book import (
    NO_BOOK,
    OFF,
    BaselineBook,
    signal_policy,
    tenant_calendar,
)
from transforms.detect.baselines.interface import Detector, Judgement, Observation
from transforms.detect.baselines.maintenance import maintenance_note
from transforms.detect.baselines.registry import make_detector
from transforms.detect.early_metrics import EarlyMemory, judge_early, share_limit
from transforms.detect.findings import CONFIDENCE_FLOOR
from transforms.detect.singles import complain, detector_of
from transforms.elements import (
    ANOMALY_SEVERITIES,
    MICROSECONDS,
    Anomaly,
    AnomalyMetric,
    AnomalySeverity,
    AnomalyType,
    Buckets,
    MetricPoint,
    MetricSeries,
    MetricSlice,
    MetricSummary,
    MetricWindow,
    content_id,
)
from transforms.rates import numbers_of

NO_VALUE: Final = "no_value"
DETECTOR: Final = "learned"

KEPT_ENDS: Final = 16
"""Windows of a CUMULATIVE series whose last point is remembered, for the rate of the next one's first.
A late pane of an older window has no rate for its first point."""

MEDIUM_THRESHOLDS: Final = 3.0
HIGH_SCORE: Final = 0.5
HIGH_WINDOWS: Final = 3
LONGEST_LASTING: Final = 1_000_000

NEAR_LIMIT: Final = 0.9


class WindowEnd(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last point of a window, of its buckets the counts and a hash of the edges."""

    window_start_us: int
    point: MetricPoint
    edges_id: str = ""
    counts: tuple[int, ...] = ()


class SeriesMemory(msgspec.Struct, array_like=True, gc=False):
    """State of one series: at most 4 KiB. `ends` are sorted by window."""

    detector: bytes = b""
    ends: list[WindowEnd] = []
    lasting: int = 0  # windows in a row, up to the newest, that deviate by the threshold or more
    alarm_us: int = -1  # start of the newest window that was anomalous, and its judgement
    alarm: Judgement | None = None
    detector_name: str = ""
    early: EarlyMemory = msgspec.field(default_factory=EarlyMemory)


class JudgedMetric(msgspec.Struct, frozen=True, gc=False):
    """A window of a series, and the anomaly that it shows."""

    row: MetricWindow
    anomaly: Anomaly | None = None


class JudgeMetric:
    """Ordered step: MetricSummary → JudgedMetric, one for each window and pane.

    A late pane revises the window's row and nothing else: it teaches the detector nothing, and reports
    no anomaly. A window that was anomalous on time keeps its judgement.
    """

    state_type = SeriesMemory
    output_type = JudgedMetric

    def __init__(self, book: BaselineBook = NO_BOOK, confidence_floor: float = CONFIDENCE_FLOOR) -> None:
        self._book = book
        self._confidence_floor = confidence_floor

    def initial(self) -> SeriesMemory:
        return SeriesMemory()

    def step(self, state: SeriesMemory, value: MetricSummary, *, is_late: bool) -> Iterator[JudgedMetric]:
        judge = _Judge(self._book, state, value)
        for part in value.slices:
            numbers = _numbers(state, value.series, part)
            number = math.fsum(sorted(numbers)) / len(numbers) if numbers else None
            judgement = None if number is None else judge.judge(part.window_start_us, number, is_late=is_late)
            row = _row(value, part, numbers, number, judgement)
            anomaly = None
            if judgement is not None and judgement.label == "anomalous" and not is_late:
                anomaly = judge.anomaly(row, judgement, self._confidence_floor)
            yield JudgedMetric(row, anomaly)
        if not is_late:
            judge.keep()


class _Judge:
    """The detector of one series, as the operator's file has it, for the windows of one element."""

    def __init__(self, book: BaselineBook, state: SeriesMemory, summary: MetricSummary) -> None:
        series = summary.series
        self._book, self._state, self._series = book, state, series
        self._window_us = summary.window_seconds * MICROSECONDS
        self._policy = signal_policy(book, series.tenant_id, series.service, f"metric.{series.metric_type}")
        self._name = detector_of(self._policy, has_own=True)
        self._detector: Detector | None = None
        if state.detector_name != self._name:
            state.detector, state.detector_name, state.early = b"", self._name, EarlyMemory()
        self._limit = share_limit(series.metric_type, series.unit) if self._name == DETECTOR else None
        if self._name != OFF:
            calendar = tenant_calendar(book, series.tenant_id)
            with self._guarded():
                self._detector = make_detector(
                    self._name, self._policy.settings, state.detector or None, calendar
                )

    def judge(self, start_us: int, number: float, *, is_late: bool) -> Judgement | None:
        """None where nothing is to be judged: in planned maintenance, or when the file turns it off."""
        series, state = self._series, self._state
        end_us = start_us + self._window_us
        if maintenance_note(self._book, series.tenant_id, series.service, start_us, end_us) is not None:
            return None
        judgement = None
        with self._guarded():
            if self._detector is None:
                return None
            observation = Observation(start_us, number)
            judgement = self._detector.score_one(observation)
            if is_late:
                return _late_judgement(state, start_us, judgement)
            is_learned = True
            if self._limit is not None and judgement.label == "learning":
                judgement = judge_early(state.early, start_us, number, judgement, self._limit)
                is_learned = judgement.label == "learning"
            if is_learned:
                self._detector.learn_one(observation, judgement)
            _remember(state, start_us, judgement)
        return judgement

    def anomaly(self, row: MetricWindow, judgement: Judgement, confidence_floor: float) -> Anomaly | None:
        """The anomaly, unless the operator does not want this direction."""
        is_up = judgement.baseline is None or (row.value or 0.0) >= judgement.baseline
        if self._policy.direction not in {None, "both", "up" if is_up else "down"}:
            return None
        anomaly = metric_anomaly(row, judgement, self._state.lasting, confidence_floor, self._name)
        most = self._policy.severity or anomaly.anomaly_severity
        severity = min(anomaly.anomaly_severity, most, key=ANOMALY_SEVERITIES.index)
        return msgspec.structs.replace(anomaly, anomaly_severity=severity)

    def keep(self) -> None:
        """Write the detector's memory into the state."""
        with self._guarded():
            self._state.detector = self._detector.encode() if self._detector else b""

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - an operator's own code may raise anything
            complain(self._name, type(error).__name__)
            self._detector = None


def _late_judgement(state: SeriesMemory, start_us: int, judgement: Judgement) -> Judgement:
    if start_us == state.alarm_us and state.alarm is not None:
        return state.alarm
    if judgement.label == "anomalous":  # which would say that it was reported
        return msgspec.structs.replace(judgement, label="continuing")
    return judgement


def _remember(state: SeriesMemory, start_us: int, judgement: Judgement) -> None:
    is_abnormal = judgement.deviation >= judgement.threshold and judgement.label != "learning"
    state.lasting = min(state.lasting + 1, LONGEST_LASTING) if is_abnormal else 0
    if judgement.label == "anomalous":
        state.alarm_us = start_us
        state.alarm = msgspec.structs.replace(judgement, reason="")


# ------------------------------------------------------------------------------------- numbers


def _numbers(state: SeriesMemory, series: MetricSeries, part: MetricSlice) -> list[float]:
    points = sorted(part.points.values(), key=attrgetter("end_ns"))
    if series.kind != "CUMULATIVE" or not points:
        return numbers_of(series, points, None)
    ends = state.ends
    at = bisect_left(ends, part.window_start_us, key=attrgetter("window_start_us"))
    numbers = numbers_of(series, points, _last_point(ends[at - 1], points[0]) if at else None)
    is_known = at < len(ends) and ends[at].window_start_us == part.window_start_us
    ends[at : at + is_known] = [_window_end(part.window_start_us, points[-1])]
    # Counts of buckets are large: a late pane before the newest window has no p95 for its first point.
    del ends[: -1 if series.statistic == "p95" else -KEPT_ENDS]
    return numbers


def _window_end(start_us: int, point: MetricPoint) -> WindowEnd:
    kept = msgspec.structs.replace(point, receipts={}, buckets=None)
    if point.buckets is None:
        return WindowEnd(start_us, kept)
    return WindowEnd(start_us, kept, _edges_id(point.buckets), point.buckets.counts)


def _last_point(end: WindowEnd, following: MetricPoint) -> MetricPoint:
    """The point that `end` was made of, with its buckets if `following` has the same edges."""
    buckets = following.buckets
    if not end.edges_id or buckets is None or _edges_id(buckets) != end.edges_id:
        return end.point
    return msgspec.structs.replace(end.point, buckets=Buckets(buckets.edges, end.counts))


def _edges_id(buckets: Buckets) -> str:
    packed = struct.pack(f"<{len(buckets.edges)}d", *buckets.edges)
    return hashlib.blake2b(packed, digest_size=8).hexdigest()


def _row(
    summary: MetricSummary,
    part: MetricSlice,
    numbers: list[float],
    number: float | None,
    judgement: Judgement | None,
) -> MetricWindow:
    series = summary.series
    return MetricWindow(
        tenant_id=series.tenant_id,
        service=series.service,
        series_id=series.series_id,
        window_start=part.window_start_us,
        window_end=part.window_start_us + summary.window_seconds * MICROSECONDS,
        revision=summary.pane_index,
        instance=series.instance,
        metric_type=series.metric_type,
        statistic=series.statistic,
        labels=series.labels,
        unit=series.unit,
        points=len(part.points) + sum(part.overflow.values()),
        value=number,
        min=min(numbers, default=None),
        max=max(numbers, default=None),
        baseline=judgement.baseline if judgement else None,
        band_low=judgement.band_low if judgement else None,
        band_high=judgement.band_high if judgement else None,
        score=judgement.score if judgement else 0.0,
        label=judgement.label if judgement else NO_VALUE,
        ledger=ledger_text(part),
    )


def ledger_text(part: MetricSlice) -> str:
    """JSON of the receive minutes (seconds since 1970) of the slice's points: [analyzed, duplicate].

    Of copies of a point the first received is analyzed, the others are duplicates.
    """
    counts: dict[int, list[int]] = {minute: [count, 0] for minute, count in part.overflow.items()}
    for point in part.points.values():
        for rank, minute in enumerate(sorted(point.receipts)):
            count = counts.setdefault(minute, [0, 0])
            count[0] += rank == 0
            count[1] += point.receipts[minute] - (rank == 0)
    by_second = {str(minute * 60): counts[minute] for minute in sorted(counts)}
    return msgspec.json.encode(by_second).decode()


# ----------------------------------------------------------------------------------- anomalies


def metric_anomaly(
    row: MetricWindow,
    judgement: Judgement,
    lasting: int,
    confidence_floor: float = CONFIDENCE_FLOOR,
    detector: str = DETECTOR,
) -> Anomaly:
    """The anomaly of `row`, which `judgement` calls anomalous; `row.value` is a number.

    `lasting` counts the windows in a row, this one included, that deviate by the threshold or more.
    """
    value = row.value or 0.0
    signal = row.metric_type if row.statistic in {"value", "rate"} else f"{row.metric_type}.{row.statistic}"
    confidence = confidence_of(judgement.score)
    where = f" of {row.instance}" if row.instance else ""
    return Anomaly(
        anomaly_id=content_id(
            row.tenant_id, row.service, "", detector, signal, row.series_id, row.window_start
        ),
        revision=row.revision,
        status="open",
        tenant_id=row.tenant_id,
        service=row.service,
        endpoint="",
        anomaly_type=anomaly_type_of(row),
        anomaly_severity=severity_of(judgement, lasting),
        description=f"{signal}{where}: {judgement.reason}",
        detector=detector,
        signal=signal,
        rules_version="",
        window_start=row.window_start,
        window_end=row.window_end,
        confidence_score=confidence,
        below_confidence_floor=confidence < confidence_floor,
        metrics=[
            AnomalyMetric(
                signal,
                value,
                threshold=judgement.threshold,
                baseline=judgement.baseline,
                band_low=judgement.band_low,
                band_high=judgement.band_high,
                deviation=judgement.deviation,
            )
        ],
        evidence=[],
        recommended_actions=[
            f"Compare {row.metric_type} of {row.service} with what was deployed or changed just before.",
            "Look at the logs and the other metrics of the service in the same minutes.",
        ],
        gemini_analysis="",
        detected_at=row.window_end,
    )


def severity_of(judgement: Judgement, lasting: int) -> AnomalySeverity:
    """Low up to 3 thresholds, medium above; high from a score of 0.5 that has lasted for 3 windows."""
    if judgement.score >= HIGH_SCORE and lasting >= HIGH_WINDOWS:
        return "high"
    return "low" if judgement.score < MEDIUM_THRESHOLDS * judgement.threshold else "medium"


def confidence_of(score: float) -> float:
    """0.5 + score, at most 0.95: noise hardly ever scores 0.2 (docs/baselines.md), which gives 0.7."""
    return min(0.95, 0.5 + score)


def anomaly_type_of(row: MetricWindow) -> AnomalyType:
    """resource_exhaustion for a share of a limit that is at 90 % or more, and above what is usual.

    What is such a share stands at `share_limit`; any other utilization is one too, of 100 where the unit
    is "%", else of 1.
    """
    limit = share_limit(row.metric_type, row.unit)
    if limit is None and "utiliz" in row.metric_type.lower():
        limit = 100.0 if row.unit == "%" else 1.0
    value = row.value or 0.0
    is_high = limit is not None and value >= NEAR_LIMIT * limit
    return "resource_exhaustion" if is_high and value > (row.baseline or 0.0) else "metric_anomaly"
