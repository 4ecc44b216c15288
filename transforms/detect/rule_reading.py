"""Reading each key of a rule: its type, its limits, and what a wrong value is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, get_args

from transforms.detect.conditions import suggestion
from transforms.detect.rule_model import MAX_CONDITION_CHARACTERS, MAX_LOOKBACK_SECONDS, SeverityStep
from transforms.detect.rule_yaml import Value
from transforms.elements import ANOMALY_SEVERITIES, SEVERITY_NUMBERS, AnomalyType

_DURATION: Final = re.compile(r"(\d{1,6})\s*(s|m|h)")
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_MAX_ACTIONS: Final = 10
_MAX_STEPS: Final = 8


class ReadError(ValueError):
    """A value that a key does not take. `line` is that of a nested value, else 0."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(text)
        self.line = line


def read_text(value: Value, limit: int) -> str:
    """Text of at most `limit` characters; raises ReadError."""
    if not isinstance(value.content, str):
        raise ReadError(
            "must be text" + (" in quotes" if isinstance(value.content, int | float) else ""), value.line
        )
    if len(value.content) > limit:
        raise ReadError(f"is longer than {limit} characters", value.line)
    return value.content.strip()


def read_seconds(value: Value) -> int:
    """A duration such as 90s, 5m or 1h in seconds, up to an hour; raises ReadError."""
    found = _DURATION.fullmatch(value.content.strip()) if isinstance(value.content, str) else None
    if found is None:
        raise ReadError("must be a duration such as 90s, 5m or 1h")
    seconds = int(found[1]) * _UNIT_SECONDS[found[2]]
    if not 0 < seconds <= MAX_LOOKBACK_SECONDS:
        raise ReadError("must be more than 0 and at most 1h, which is what the history holds")
    return seconds


def _read_condition(value: Value) -> str:
    return read_text(value, MAX_CONDITION_CHARACTERS)


def one_of(names: tuple[str, ...]) -> Callable[[Value], str]:
    """A reader that takes these names and raises ReadError for anything else."""

    def read(value: Value) -> str:
        if value.content not in names:
            given = value.content if isinstance(value.content, str) else ""
            raise ReadError(f"must be one of {', '.join(names)}{suggestion(given, list(names))}", value.line)
        return str(value.content)

    return read


_read_level: Final = one_of(ANOMALY_SEVERITIES)


def _read_ladder(value: Value) -> tuple[SeverityStep, ...]:
    """`high`, or a list of `{level: critical, when: ...}` that ends in a plain level."""
    if not isinstance(value.content, list):
        return (SeverityStep(_read_level(value)),)  # type: ignore[arg-type]
    if not 0 < len(value.content) <= _MAX_STEPS:
        raise ReadError(f"must have 1 to {_MAX_STEPS} steps")
    return tuple(_read_step(step) for step in value.content)


def _read_step(step: Value) -> SeverityStep:
    if not isinstance(step.content, dict):
        return SeverityStep(_read_level(step))  # type: ignore[arg-type]
    unknown = next((key for key in step.content if key not in ("level", "when")), None)
    if unknown is not None or "level" not in step.content:
        raise ReadError("steps have a level and a when, and nothing else", step.line)
    when = _read_condition(step.content["when"]) if "when" in step.content else ""
    return SeverityStep(_read_level(step.content["level"]), when)  # type: ignore[arg-type]


def _read_count(value: Value) -> int:
    if (
        isinstance(value.content, bool)
        or not isinstance(value.content, int)
        or not 0 <= value.content < 10**9
    ):
        raise ReadError("must be a whole number, 0 or more")
    return value.content


def _read_log_severity(value: Value) -> int:
    return SEVERITY_NUMBERS[one_of(tuple(SEVERITY_NUMBERS))(value)]


def _read_confidence(value: Value) -> float | str:
    if isinstance(value.content, str):
        return _read_condition(value)
    if (
        isinstance(value.content, bool)
        or not isinstance(value.content, int | float)
        or not 0 <= value.content <= 1
    ):
        raise ReadError("must be a number from 0 to 1, or a condition that gives one")
    return float(value.content)


def _read_flag(value: Value) -> bool:
    if not isinstance(value.content, bool):
        raise ReadError("must be true or false")
    return value.content


def _read_actions(value: Value) -> tuple[str, ...]:
    if not isinstance(value.content, list) or len(value.content) > _MAX_ACTIONS:
        raise ReadError(f"must be a list of at most {_MAX_ACTIONS} texts")
    return tuple(read_text(item, 500) for item in value.content)


FIELD_READERS: Final[dict[str, tuple[str, Callable[[Value], Any]]]] = {
    "description": ("description", lambda value: read_text(value, 500)),
    "type": ("type", one_of(get_args(AnomalyType))),
    "severity": ("severity", _read_ladder),
    "when": ("when", _read_condition),
    "match": ("match", lambda value: read_text(value, 1_000)),
    "per": ("per", one_of(("pattern", "endpoint"))),
    "over": ("over_seconds", read_seconds),
    "for": ("for_seconds", read_seconds),
    "repeat": ("repeat_seconds", read_seconds),
    "min_count": ("min_count", _read_count),
    "min_errors": ("min_errors", _read_count),
    "min_severity": ("min_severity", _read_log_severity),
    "signal": ("signal", lambda value: read_text(value, 64)),
    "confidence": ("confidence", _read_confidence),
    "recommended_actions": ("recommended_actions", _read_actions),
    "enabled": ("enabled", _read_flag),
}
"""Keys of a rule: the field of Rule that each sets, and how it is read."""

KEYS: Final = tuple(FIELD_READERS)
