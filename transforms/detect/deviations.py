"""Signals off their level, gathered into findings: one problem is told once, not by every signal of it.

Signals of one topic (their anomaly type, their direction, and whether they speak of the service, of one of
its endpoints, or of its patterns) share one report. A report is made when the first of them alarms, when
the severity rises, and then ever more rarely while it goes on: after one hour, two more, six more. Endpoints
are not told of while the service as a whole has the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec
import numpy as np

from transforms.detect.baselines.level import CALM, Judged
from transforms.detect.baselines.observations import kind_of, natural_value, split_signal
from transforms.detect.baselines.reasons import describe_level
from transforms.detect.baselines.season_table import Numbers
from transforms.detect.findings import MOST_METRICS, Finding
from transforms.elements import (
    ANOMALY_SEVERITIES,
    DAY_US,
    HOUR_US,
    MICROSECONDS,
    MINUTE_US,
    AnomalyMetric,
    AnomalySeverity,
    AnomalyType,
    WindowSummary,
)

LEVEL: Final = "level"
REPEAT_US: Final = HOUR_US
CAUTIOUS_US: Final = DAY_US
"""So young a signal gives no severity above medium."""

MEDIUM_STRENGTH, HIGH_STRENGTH = 2.0, 3.0
MEDIUM_MINUTES, HIGH_MINUTES = 3, 5
HIGH_RATIO: Final = 2.0

_CONFIDENCE: Final[dict[AnomalyType, float]] = {"traffic_change": 0.88, "latency_increase": 0.93}
"""At the alarm, where it is not 0.95; measured on simulated days, see docs/baselines.md."""

LEAST_AMOUNT: Final = 1e-3
"""Of an amount (milliseconds) or a share: anything less is as good as none."""

_SERVICE, _ENDPOINT, _PATTERNS = "", "endpoint", "patterns"
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
    ratio: float  # of the larger of value and expectation to the smaller; one event stands for none
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


class Topic(NamedTuple):
    """What signals are told of together."""

    anomaly_type: AnomalyType
    is_up: bool
    scope: str  # _SERVICE, which comes first, _ENDPOINT or _PATTERNS
    endpoint: str = ""


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
    end_us = summary.window_start_us + summary.window_seconds * MICROSECONDS
    found = []
    for place in np.flatnonzero(judged.is_open).tolist():
        name, value, expected = names[place], float(values[place]), float(judged.expected[place])
        natural = partial(natural_value, name, weight=float(weights[place]))
        ratio = (
            ratio_of(value, expected, 1.0)
            if kind_of(name).settings.family == "events"
            else ratio_of(natural(value), natural(expected), LEAST_AMOUNT)
        )
        found.append(
            Deviation(
                name,
                strength=float(judged.strength[place]),
                z=float(judged.z[place]),
                is_up=bool(judged.is_up[place]),
                value=natural(value),
                expected=natural(expected),
                low=natural(float(judged.low[place])),
                high=natural(float(judged.high[place])),
                ratio=ratio,
                minutes=(end_us - float(judged.opened_us[place])) / MINUTE_US,
                alarms_before=float(judged.alarms_before[place]),
                age_us=summary.window_start_us - float(first_us[place]),
                most=most[place],
            )
        )
    return found


def ratio_of(value: float, expected: float, least: float) -> float:
    """How many times the smaller of two numbers the larger one is; `least` stands for anything less."""
    return max(value, expected, least) / max(min(value, expected), least)


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
        if topic.scope == _ENDPOINT and _key(topic._replace(scope=_SERVICE, endpoint="")) in reports:
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
    anomaly_type = kind_of(deviation.name).anomaly_type
    if kind.startswith("endpoint_"):
        return Topic(anomaly_type, deviation.is_up, _ENDPOINT, key)
    return Topic(anomaly_type, deviation.is_up, _PATTERNS if kind == "pattern" else _SERVICE)


def _key(topic: Topic) -> str:
    key = f"{topic.anomaly_type} {'up' if topic.is_up else 'down'} {topic.scope}"
    return f"{key} {topic.endpoint}" if topic.scope == _ENDPOINT else key


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
        endpoint=topic.endpoint,
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
    numbers = leader.value, leader.expected, leader.low, leader.high
    return describe_level(leader.name, numbers, leader.minutes, leader.alarms_before)
