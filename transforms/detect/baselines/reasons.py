"""Why a value is abnormal, in one clause for people on call."""

from __future__ import annotations


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


def show_number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3e}"
