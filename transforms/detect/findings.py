"""From what a detector found to the Anomaly that people read: severity, confidence, words, evidence.

One place for every learned detector. docs/baselines.md says what severity and confidence mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from transforms.detect.signals import PatternSignals
from transforms.elements import (
    MICROSECONDS,
    WARNING,
    Anomaly,
    AnomalyMetric,
    AnomalySeverity,
    AnomalyType,
    Evidence,
    PatternStats,
    WindowSummary,
    content_id,
)

CONFIDENCE_FLOOR: Final = 0.7
MOST_METRICS: Final = 5
MOST_EVIDENCE: Final = 5
MOST_EXAMPLES: Final = 3


class Finding(msgspec.Struct, frozen=True):
    """What a detector has to say of one window of a service."""

    detector: str
    signal: str
    anomaly_type: AnomalyType
    severity: AnomalySeverity
    confidence: float
    description: str
    metrics: list[AnomalyMetric]
    endpoint: str = ""
    pattern_ids: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    subject_id: str = ""  # tells it from others of the signal and window, where no pattern does
    evidence: list[Evidence] = []  # empty: the patterns as the window has them


def make_anomaly(summary: WindowSummary, finding: Finding, confidence_floor: float) -> Anomaly:
    """The anomaly of `finding` in the window of `summary`. Its id is that of design.md."""
    window_end = summary.window_start_us + summary.window_seconds * MICROSECONDS
    subject_id = finding.subject_id or (finding.pattern_ids[0] if finding.pattern_ids else "")
    return Anomaly(
        anomaly_id=content_id(
            summary.tenant_id,
            summary.service,
            finding.endpoint,
            finding.detector,
            finding.signal,
            subject_id,
            summary.window_start_us,
        ),
        revision=summary.pane_index,
        status="open",
        tenant_id=summary.tenant_id,
        service=summary.service,
        endpoint=finding.endpoint,
        anomaly_type=finding.anomaly_type,
        anomaly_severity=finding.severity,
        description=finding.description,
        detector=finding.detector,
        signal=finding.signal,
        rules_version="",
        window_start=summary.window_start_us,
        window_end=window_end,
        confidence_score=finding.confidence,
        below_confidence_floor=finding.confidence < confidence_floor,
        metrics=finding.metrics[:MOST_METRICS],
        evidence=finding.evidence or find_evidence(summary, finding.pattern_ids, summary.patterns),
        recommended_actions=list(finding.actions),
        gemini_analysis="",
        detected_at=window_end,
    )


def find_evidence(
    summary: WindowSummary,
    pattern_ids: Collection[str],
    counted: Mapping[str, PatternStats] | Mapping[str, PatternSignals],
) -> list[Evidence]:
    """The patterns it is about, else those of warnings and errors, else all; those with most errors first.

    `counted` has the counts to tell of, texts and examples are those of `summary`.
    """
    known = counted.keys() & summary.patterns.keys()
    ids = (
        known.intersection(pattern_ids) or {key for key in known if counted[key].severity >= WARNING} or known
    )

    def rank(key: str) -> tuple[int, int, int, str]:
        found = counted[key]
        return -found.errors, -found.severity, -found.count, key

    def make(key: str) -> Evidence:
        stats = summary.patterns[key]
        return Evidence(key, stats.text, counted[key].count, list(stats.examples[:MOST_EXAMPLES]))

    return [make(key) for key in sorted(ids, key=rank)[:MOST_EVIDENCE]]
