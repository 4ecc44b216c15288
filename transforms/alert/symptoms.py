"""What an alert needs to know of an anomaly."""

from __future__ import annotations

from typing import Final

import msgspec

from transforms.alert.settings import AlertSettings, GroupLabel
from transforms.elements import (
    CANARY_DETECTOR,
    CANARY_SERVICE,
    Anomaly,
    AnomalySeverity,
    AnomalyType,
)
from transforms.fingerprints import fingerprint_of, subject_pattern

STORM: Final = "storm"
"""Group of all that comes beyond the most fingerprints of a tenant; other groups have a `=` in their key."""

STORM_SERVICE: Final = "_storm"

MOST_PATTERNS: Final = 20
MOST_TEXT: Final = 500
_MOST_ACTIONS: Final = 5
_RESERVED: Final = "%,="


class Symptom(msgspec.Struct, frozen=True, array_like=True):
    """One anomaly, or many that were combined, as far as an alert cares.

    `count` anomalies came with this fingerprint in the minute; `more_ids` are those beside
    `anomaly_id`. An empty fingerprint stands for many different ones in one group, of which a storm
    left nothing but their number and highest severity.
    """

    anomaly_id: str
    revision: int
    tenant_id: str
    group_key: str
    fingerprint: str
    service: str
    endpoint: str
    anomaly_type: AnomalyType
    severity: AnomalySeverity  # as the detector says; the catalog weighs it later
    detector: str
    signal: str
    pattern_ids: list[str]
    description: str
    example: str
    recommended_actions: list[str]
    detected_at: int
    is_withdrawn: bool = False
    count: int = 1
    more_ids: list[str] = []

    @property
    def is_canary(self) -> bool:
        """Whether `aiops doctor` may be waiting for it."""
        return self.service == CANARY_SERVICE and self.detector == CANARY_DETECTOR

    @property
    def order(self) -> tuple[int, str, int]:
        """Place among the symptoms of a group, whatever order they come in."""
        return self.detected_at, self.anomaly_id, self.revision


def symptom_of(anomaly: Anomaly, settings: AlertSettings) -> Symptom:
    """What an alert needs of `anomaly`. Below the confidence floor it counts as withdrawn."""
    pattern = subject_pattern(anomaly)
    pattern_ids = [pattern] if pattern else [evidence.pattern_id for evidence in anomaly.evidence]
    examples = [example.message for evidence in anomaly.evidence for example in evidence.examples]
    labels: dict[GroupLabel, str] = {
        "service": anomaly.service,
        "type": anomaly.anomaly_type,
        "endpoint": anomaly.endpoint,
        "detector": anomaly.detector,
        "pattern": pattern,
    }
    # Nobody is told of canaries: what is no canary must not stand in one alert with them.
    group_by = ("service",) if anomaly.service == CANARY_SERVICE else settings.group_by
    return Symptom(
        anomaly_id=anomaly.anomaly_id,
        revision=anomaly.revision,
        tenant_id=anomaly.tenant_id,
        group_key=",".join(f"{label}={_quote(labels[label])}" for label in group_by),
        fingerprint=fingerprint_of(anomaly),
        service=anomaly.service,
        endpoint=anomaly.endpoint,
        anomaly_type=anomaly.anomaly_type,
        severity=anomaly.anomaly_severity,
        detector=anomaly.detector,
        signal=anomaly.signal,
        pattern_ids=pattern_ids[:MOST_PATTERNS],
        description=anomaly.description[:MOST_TEXT],
        example=examples[0][:MOST_TEXT] if examples else "",
        recommended_actions=[action[:MOST_TEXT] for action in anomaly.recommended_actions[:_MOST_ACTIONS]],
        detected_at=anomaly.detected_at,
        is_withdrawn=anomaly.status == "withdrawn" or anomaly.below_confidence_floor,
    )


def _quote(value: str) -> str:
    # Names come from whoever writes the logs: two groups must not share a key.
    if value.isprintable() and not any(letter in value for letter in _RESERVED):
        return value
    return "".join(_quote_letter(letter) for letter in value)


def _quote_letter(letter: str) -> str:
    return f"%{ord(letter):02X}" if letter in _RESERVED or not letter.isprintable() else letter
