"""Why a value is abnormal, in one clause for people on call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MOST_CHARACTERS: Final = 100
"""Of an endpoint's name in a sentence."""


def describe_flat(value: float, run: int, longest: int) -> str:
    return f"stands still at {show_number(value)} for {run + 1} observations; until now at most {longest + 1}"


def describe_value(value: float, low: float, high: float) -> str:
    """`low` and `high` are the lowest and highest normal values."""
    if value > high:
        return f"{show_number(value)} is above everything normal so far (highest {show_number(high)})"
    if value < low:
        return f"{show_number(value)} is below everything normal so far (lowest {show_number(low)})"
    return f"{show_number(value)} lies between usual levels, where nothing normal was seen so far"


def describe_residual(value: float, usual: float, low: float, high: float) -> str:
    """`low` and `high` bound what is normal at this hour."""
    side = "high" if value > usual else "low"
    band = f"{show_number(low)} to {show_number(high)}"
    return f"{show_number(value)} is {side} for this hour (usually {show_number(usual)}, {band})"


_SUBJECTS: Final = {
    "error_rate": "error rate",
    "latency_p50_ms": "median latency",
    "latency_p95_ms": "p95 latency",
    "latency_p99_ms": "p99 latency",
    "distinct_principals": "distinct users",
    "distinct_addresses": "distinct addresses",
    "severity": "lines of severity {}",
    "pattern": "lines of one pattern",
    "endpoint_requests": "requests to {}",
    "endpoint_error_rate": "error rate of {}",
    "endpoint_latency_ms": "latency of {}",
}


def describe_level(
    name: str, numbers: tuple[float, float, float, float], minutes: float, before: float
) -> str:
    """`numbers` are the value, what was expected, and the ends of the band; `before` counts alarms."""
    kind, _, key = name.partition(".")
    show = _shown_as(kind)
    value, expected, low, high = map(show, numbers)
    lasts = f", for {minutes:.0f} min" if minutes >= 2 else ""
    often = (
        f"; {before:.0f} earlier alarm{'s' if before >= 1.5 else ''} in two weeks" if before >= 0.5 else ""
    )
    subject = _SUBJECTS.get(kind, kind).format(key[:MOST_CHARACTERS])
    return f"{subject}: {value}, expected {expected} ({low} to {high}){lasts}{often}"


def _shown_as(kind: str) -> Callable[[float], str]:
    if kind.endswith("_ms"):
        return lambda value: f"{show_number(value)} ms"
    if kind.endswith("error_rate"):
        return lambda value: f"{min(1.0, value):.1%}"
    return show_number


def show_number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3e}"
