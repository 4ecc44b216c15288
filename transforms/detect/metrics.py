"""One series of a metric over time: numbers out of points, a detector that looks at them, anomalies.

The pure core of DetectMetricAnomalies. How a judgement becomes an anomaly stands at the end.
"""

from __future__ import annotations

import hashlib
import math
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Final

import msgspec

from transforms.detect.baselines.interface import Detector, Judgement, Observation
from transforms.detect.baselines.learned import LearnedDetector, LearnedSettings, decode_detector
from transforms.elements import (
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

CONFIDENCE_FLOOR: Final = 0.7
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

DetectorFactory = Callable[[bytes], Detector]
"""The detector of one series, from what its `encode` gave, or from nothing for a new one."""

_LEARNED: Final = LearnedSettings()


def learned_detector(encoded: bytes) -> Detector:
    """The product's detector with its defaults."""
    return decode_detector(encoded, _LEARNED) if encoded else LearnedDetector(_LEARNED)


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

    def __init__(
        self, make_detector: DetectorFactory = learned_detector, confidence_floor: float = CONFIDENCE_FLOOR
    ) -> None:
        self._make_detector = make_detector
        self._confidence_floor = confidence_floor

    def initial(self) -> SeriesMemory:
        return SeriesMemory()

    def step(self, state: SeriesMemory, value: MetricSummary, *, is_late: bool) -> Iterator[JudgedMetric]:
        detector = self._make_detector(state.detector)
        for part in value.slices:
            numbers = _numbers(state, value.series, part)
            number = math.fsum(sorted(numbers)) / len(numbers) if numbers else None
            judgement = None
            if number is not None:
                observation = Observation(part.window_start_us, number)
                judgement = detector.score_one(observation)
                if is_late:
                    judgement = _late_judgement(state, part.window_start_us, judgement)
                else:
                    detector.learn_one(observation, judgement)
                    _remember(state, part.window_start_us, judgement)
            row = _row(value, part, numbers, number, judgement)
            anomaly = None
            if judgement is not None and judgement.label == "anomalous" and not is_late:
                anomaly = metric_anomaly(row, judgement, state.lasting, self._confidence_floor)
            yield JudgedMetric(row, anomaly)
        if not is_late:
            state.detector = detector.encode()


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
    row: MetricWindow, judgement: Judgement, lasting: int, confidence_floor: float = CONFIDENCE_FLOOR
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
            row.tenant_id, row.service, "", DETECTOR, signal, row.series_id, row.window_start
        ),
        revision=row.revision,
        status="open",
        tenant_id=row.tenant_id,
        service=row.service,
        endpoint="",
        anomaly_type=anomaly_type_of(row),
        anomaly_severity=severity_of(judgement, lasting),
        description=f"{signal}{where}: {judgement.reason}",
        detector=DETECTOR,
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
    """resource_exhaustion for a utilization at 90 % of its limit or more and above what is usual.

    A utilization is a metric whose name says so; its limit is 100 where the unit is "%", else 1.
    """
    limit = 100.0 if row.unit == "%" else 1.0
    value = row.value or 0.0
    is_high = value >= NEAR_LIMIT * limit and (row.baseline is None or value > row.baseline)
    return "resource_exhaustion" if is_high and "utiliz" in row.metric_type.lower() else "metric_anomaly"
