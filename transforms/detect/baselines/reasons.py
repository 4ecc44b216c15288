"""Why a value is abnormal, in one clause for people on call."""

from __future__ import annotations


def describe_flat(value: float, run: int, longest: int) -> str:
    return f"stands still at {_show(value)} for {run + 1} observations; until now at most {longest + 1}"


def describe_value(value: float, low: float, high: float) -> str:
    """`low` and `high` are the lowest and highest normal values."""
    if value > high:
        return f"{_show(value)} is above everything normal so far (highest {_show(high)})"
    if value < low:
        return f"{_show(value)} is below everything normal so far (lowest {_show(low)})"
    return f"{_show(value)} lies between usual levels, where nothing normal was seen so far"


def describe_residual(value: float, usual: float, low: float, high: float) -> str:
    """`low` and `high` bound what is normal at this hour."""
    side = "high" if value > usual else "low"
    return f"{_show(value)} is {side} for this hour (usually {_show(usual)}, {_show(low)} to {_show(high)})"


def _show(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3e}"
