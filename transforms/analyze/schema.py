"""The shape of an answer: what the model is told it must be, and what code reads of it. Pure."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from transforms.gemini_elements import FailReason

MOST_FINDINGS: Final = 20
MOST_ANSWER_CHARACTERS: Final = 200_000

FOUND_BY_GEMINI: Final = (
    "error_spike",
    "latency_increase",
    "unusual_pattern",
    "resource_exhaustion",
    "security_incident",
    "performance_degradation",
    "traffic_change",
    "new_pattern",
    "certificate_expiry",
    "deploy_regression",
)
"""Anomaly types that a window can show: silence has no lines to cite, and metrics are not shown."""

METRICS: Final = (
    "lines",
    "errors",
    "warnings",
    "requests",
    "denials",
    "error_rate",
    "latency_p50_ms",
    "latency_p95_ms",
    "usual_lines",
    "usual_error_rate",
    "usual_latency_p95_ms",
    "pattern_count",
    "pattern_errors",
    "pattern_age_minutes",
)
"""What a claim can be about; those that begin with pattern_ name a pattern too."""


class Claim(msgspec.Struct, frozen=True):
    """One number: the `metric` of `window` (and of `pattern`) is `value`."""

    metric: str
    value: float
    window: str
    pattern: str = ""


class ClaimedFinding(msgspec.Struct, frozen=True):
    """One anomaly as the model claims it. Nothing of it is believed yet."""

    anomaly_type: str
    severity: str
    service: str
    window: str
    description: str
    confidence: float
    recommended_actions: list[str]
    analysis: str
    pattern_ids: list[str]
    claims: list[Claim]


class Answer(msgspec.Struct, frozen=True):
    findings: list[ClaimedFinding]


class ClaimedNarrative(msgspec.Struct, frozen=True):
    """What the model says of an incident."""

    what: str
    likely_cause: str
    cause: str  # service, one of the candidates
    next_checks: list[str]


class BadAnswerError(Exception):
    """The answer cannot be read; `reason` is bad_json or wrong_schema."""

    def __init__(self, reason: FailReason) -> None:
        super().__init__(reason)
        self.reason = reason


_TEXT: Final = {"type": "STRING"}
_TEXTS: Final = {"type": "ARRAY", "items": _TEXT}

RESPONSE_SCHEMA: Final[dict[str, Any]] = {
    "type": "OBJECT",
    "required": ["findings"],
    "properties": {
        "findings": {
            "type": "ARRAY",
            "maxItems": MOST_FINDINGS,
            "items": {
                "type": "OBJECT",
                "required": list(ClaimedFinding.__struct_fields__),
                "properties": {
                    "anomaly_type": {"type": "STRING", "enum": list(FOUND_BY_GEMINI)},
                    "severity": {"type": "STRING", "enum": ["low", "medium", "high", "critical"]},
                    "service": _TEXT,
                    "window": _TEXT,
                    "description": _TEXT,
                    "confidence": {"type": "NUMBER", "minimum": 0, "maximum": 1},
                    "recommended_actions": _TEXTS,
                    "analysis": _TEXT,
                    "pattern_ids": _TEXTS,
                    "claims": {
                        "type": "ARRAY",
                        "items": {
                            "type": "OBJECT",
                            "required": ["metric", "value", "window"],
                            "properties": {
                                "metric": {"type": "STRING", "enum": list(METRICS)},
                                "value": {"type": "NUMBER"},
                                "window": _TEXT,
                                "pattern": _TEXT,
                            },
                        },
                    },
                },
            },
        }
    },
}
"""OpenAPI as Vertex AI takes it."""

NARRATIVE_SCHEMA: Final[dict[str, Any]] = {
    "type": "OBJECT",
    "required": list(ClaimedNarrative.__struct_fields__),
    "properties": {"what": _TEXT, "likely_cause": _TEXT, "cause": _TEXT, "next_checks": _TEXTS},
}


def read_answer(text: str) -> list[ClaimedFinding]:
    """Findings of an answer. Raises BadAnswerError."""
    return _read(text, Answer).findings


def read_narrative(text: str) -> ClaimedNarrative:
    """The narrative of an answer. Raises BadAnswerError."""
    return _read(text, ClaimedNarrative)


T = TypeVar("T")


def _read(text: str, wanted: type[T]) -> T:
    if len(text) > MOST_ANSWER_CHARACTERS:
        raise BadAnswerError("wrong_schema")
    try:
        return msgspec.json.decode(text.encode("utf-8", "replace"), type=wanted)
    except msgspec.ValidationError:
        raise BadAnswerError("wrong_schema") from None
    except (msgspec.DecodeError, RecursionError):
        raise BadAnswerError("bad_json") from None
