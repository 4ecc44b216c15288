"""Signals off their level, gathered into findings: one problem is told once, not by every signal of it.

Signals of one topic (their anomaly type, their direction, and whether they speak of the service, of one of
its endpoints, or of its patterns) share one report. A report is made when the first of them alarms, when
the severity rises, and then ever more rarely while it goes on: after one hour, two more, six more. Endpoints
are not told of while the service as a whole has the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from transforms.detect.baselines.level import CALM, Judged
from transforms.detect.baselines.observations import kind_of, natural_value, split_signal
from transforms.detect.baselines.reasons import show_number
from transforms.detect.baselines.season_table import Numbers
from transforms.detect.findings import MOST_METRICS, Finding
from transforms.elements import (
    ANOMALY_SEVERITIES,
    AnomalyMetric,
    AnomalySeverity,
    AnomalyType,
    WindowSummary,
)

LEVEL: Final = "level"
REPEAT_US: Final = 60 * 60 * 1_000_000
CAUTIOUS_US: Final = 24 * REPEAT_US
"""So young a signal gives no severity above medium."""

MEDIUM_STRENGTH, HIGH_STRENGTH = 2.0, 3.0
MEDIUM_MINUTES, HIGH_MINUTES = 3, 5
HIGH_RATIO: Final = 2.0
_MINUTE_US: Final = 60 * 1_000_000

_CONFIDENCE: Final[dict[AnomalyType, float]] = {"traffic_change": 0.88, "latency_increase": 0.93}
"""At the alarm, where it is not 0.95; measured on simulated days, see docs/baselines.md."""

_PATTERNS: Final = "patterns"
_MAY_BE_HIGH: Final = frozenset({"error_rate", "latency_p50_ms", "latency_p95_ms", "lines", "requests"})


class Deviation(NamedTuple):
    """One signal that is off its level in one window."""

    name: str
    strength: float
    z: float
    is_up: bool
    value: float
    expected: float
    low: float
    high: float
    minutes: float  # since its episode began, this window included
    alarms_before: float
    age_us: float
    detector: str = LEVEL
    reason: str = ""  # in the detector's own words
    most: AnomalySeverity = "critical"  # the highest severity that an operator wants of it

    @property
    def is_alarming(self) -> bool:
        """Strong enough, and not only because of windows before this one."""
        return self.strength >= 1.0 and (self.z if self.is_up else -self.z) >= CALM

    @property
    def ratio(self) -> float:
        """How many times the larger of value and expectation is the smaller; one event stands for none."""
        least = 1.0 if kind_of(self.name).settings.family == "events" and self.value >= 1 else 1e-3
        return max(self.value, self.expected, least) / max(min(self.value, self.expected), least)


class Topic(NamedTuple):
    """What signals are told of together."""

    anomaly_type: AnomalyType
    is_up: bool
    scope: str  # "" for the service, "patterns", or an endpoint


class Report(msgspec.Struct, array_like=True, gc=False):
    """What was told of a topic."""

    rank: int
    first_us: int
    told_us: int

    def is_due(self, rank: int, now_us: int) -> bool:
        """Whether to tell again: it is worse, or was last told twice as long ago as it had then lasted."""
        return rank > self.rank or now_us - self.told_us >= max(REPEAT_US, 2 * (self.told_us - self.first_us))

    def tell(self, rank: int, now_us: int) -> None:
        self.rank, self.told_us = max(rank, self.rank), now_us


def find_deviations(
    names: Sequence[str],
    most: Sequence[AnomalySeverity],
    judged: Judged,
    observed: tuple[Numbers, Numbers],
    first_us: Numbers,
    summary: WindowSummary,
) -> list[Deviation]:
    """The signals whose episode is open, in the bank's order."""
    values, weights = observed
    found = []
    end_us = summary.window_start_us + summary.window_seconds * 1_000_000
    for place in np.flatnonzero(judged.is_open).tolist():
        name, weight = names[place], weights[place]

        def natural(number: float, name: str = name, weight: float = weight) -> float:
            return natural_value(name, float(number), float(weight))

        found.append(
            Deviation(
                name,
                float(judged.strength[place]),
                float(judged.z[place]),
                bool(judged.is_up[place]),
                natural(values[place]),
                natural(judged.expected[place]),
                natural(judged.low[place]),
                natural(judged.high[place]),
                (end_us - float(judged.opened_us[place])) / _MINUTE_US,
                float(judged.alarms_before[place]),
                summary.window_start_us - float(first_us[place]),
                most=most[place],
            )
        )
    return found


def report_deviations(
    reports: dict[str, Report], deviations: Sequence[Deviation], now_us: int
) -> list[Finding]:
    """Findings of the topics that are due; mutates `reports`, which holds what was told of open topics."""
    topics: dict[Topic, list[Deviation]] = {}
    for deviation in deviations:
        topics.setdefault(_topic(deviation), []).append(deviation)
    open_keys = {_key(topic) for topic in topics}
    for key in [key for key in reports if key not in open_keys]:
        del reports[key]
    findings = []
    for topic in sorted(topics):
        if topic.scope and _key(topic._replace(scope="")) in reports:
            continue
        alarming = [deviation for deviation in topics[topic] if deviation.is_alarming]
        if not alarming:
            continue
        severity = max((_severity(deviation) for deviation in alarming), key=ANOMALY_SEVERITIES.index)
        rank = ANOMALY_SEVERITIES.index(severity)
        report = reports.get(_key(topic))
        if report and not report.is_due(rank, now_us):
            continue
        reports.setdefault(_key(topic), Report(rank, now_us, now_us)).tell(rank, now_us)
        findings.append(_finding(topic, alarming, severity))
    return findings


def _topic(deviation: Deviation) -> Topic:
    kind, key = split_signal(deviation.name)
    scope = _PATTERNS if kind == "pattern" else key if kind.startswith("endpoint_") else ""
    return Topic(kind_of(deviation.name).anomaly_type, deviation.is_up, scope)


def _key(topic: Topic) -> str:
    return f"{topic.anomaly_type} {'up' if topic.is_up else 'down'} {topic.scope}"


def _severity(deviation: Deviation) -> AnomalySeverity:
    return min(_own_severity(deviation), deviation.most, key=ANOMALY_SEVERITIES.index)


def _own_severity(deviation: Deviation) -> AnomalySeverity:
    if (
        deviation.strength >= HIGH_STRENGTH
        and deviation.minutes >= HIGH_MINUTES
        and deviation.ratio >= HIGH_RATIO
        and deviation.name in _MAY_BE_HIGH
        and deviation.age_us >= CAUTIOUS_US
    ):
        return "high"
    if deviation.strength >= MEDIUM_STRENGTH or deviation.minutes >= MEDIUM_MINUTES:
        return "medium"
    return "low"


def confidence_of(leader: Deviation, anomaly_type: AnomalyType) -> float:
    """How likely the finding is a fault, from the share that was one; docs/baselines.md says where.

    Of levels by type, nearly sure at twice the alarm. Other detectors were not measured: half at the alarm.
    """
    beyond = max(0.0, leader.strength - 1.0)
    if leader.detector != LEVEL:
        return round(min(0.95, 0.5 + 0.15 * beyond), 3)
    least = _CONFIDENCE.get(anomaly_type, 0.95)
    return round(least + (0.99 - least) * min(1.0, beyond), 3)


def _finding(topic: Topic, alarming: list[Deviation], severity: AnomalySeverity) -> Finding:
    alarming.sort(key=lambda deviation: (-deviation.strength, deviation.name))
    leader = alarming[0]
    return Finding(
        detector=leader.detector,
        signal=leader.name,
        anomaly_type=topic.anomaly_type,
        severity=severity,
        confidence=confidence_of(leader, topic.anomaly_type),
        description=leader.reason or _describe(leader),
        metrics=[_metric(deviation) for deviation in alarming[:MOST_METRICS]],
        endpoint=topic.scope if topic.scope != _PATTERNS else "",
        pattern_ids=tuple(
            key for kind, key in (split_signal(deviation.name) for deviation in alarming) if kind == "pattern"
        ),
    )


def _metric(deviation: Deviation) -> AnomalyMetric:
    return AnomalyMetric(
        deviation.name,
        deviation.value,
        baseline=deviation.expected,
        band_low=deviation.low,
        band_high=deviation.high,
        deviation=deviation.z,
    )


def _describe(leader: Deviation) -> str:
    kind, key = split_signal(leader.name)
    subject = f"{kind} of {key}" if key else kind
    side = "above" if leader.is_up else "below"
    lasts = f", for {leader.minutes:.0f} min" if leader.minutes >= 2 else ""
    before = (
        f"; alarmed about {leader.alarms_before:.0f} times in two weeks" if leader.alarms_before >= 1 else ""
    )
    return (
        f"{subject} is {show_number(leader.value)}, {side} the {show_number(leader.expected)} expected "
        f"({show_number(leader.low)} to {show_number(leader.high)}){lasts}{before}"
    )
