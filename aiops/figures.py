"""Numbers in words for people: counts, shares, durations, and how far a value is from what was expected."""

from __future__ import annotations

import math
from typing import Final, Literal

Unit = Literal["count", "share", "ms"]
_SHARES: Final = ("_rate", "_share", "_ratio")


def compact(value: float) -> str:
    """A count in few characters: 950, 12.3k, 4.56M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.1f}"


def unit_of(name: str) -> Unit:
    """The unit of the metric or signal `name`: what stands before its first dot, or else its end, says it."""
    endings = {name, name.partition(".")[0]}
    if any(ending.endswith(_SHARES) for ending in endings):
        return "share"
    return "ms" if any(ending.endswith("_ms") for ending in endings) else "count"


def figure(value: float | None, name: str) -> str:
    """A number of the metric `name`, in the unit that the name says; an en dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    unit = unit_of(name)
    if unit == "share":
        return f"{100 * value:.3g} %"
    if unit == "ms":
        return milliseconds(value)
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"


def milliseconds(value: float | None) -> str:
    """A duration: 85 ms, 2.6 s."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3g} ms" if value < 999.5 else f"{value / 1_000:.3g} s"


def expected_words(baseline: float, low: float, high: float, unit: Unit) -> str:
    """What was expected, and its band, with the unit once: "143 (116 to 177) ms"."""
    scale, name = (100.0, " %") if unit == "share" else (1.0, "")
    if unit == "ms":
        scale, name = (0.001, " s") if high >= 1_000 else (1.0, " ms")
    shown = [_short(scale * number) for number in (baseline, low, high)]
    return f"{shown[0]} ({shown[1]} to {shown[2]}){name}"


def _short(number: float) -> str:
    return f"{number:.2g}" if abs(number) < 99.5 else compact(number)


def against_expected(value: float, expected: float | None) -> str:
    """How `value` compares with what was expected: "3.2 × the expected"; empty where nothing was.

    >>> against_expected(31.4, 10), against_expected(6, 10), against_expected(3, 0)
    ('3.1 × the expected', '40 % below the expected', 'none expected')
    """
    if expected is None or not (math.isfinite(value) and math.isfinite(expected)) or expected < 0:
        return ""
    if expected == 0:
        return "none expected" if value else "as expected"
    ratio = value / expected
    if ratio >= 1_000:
        return "over 1,000 × the expected"
    if ratio >= 2:
        return f"{ratio:.2g} × the expected" if ratio < 100 else f"{ratio:.0f} × the expected"
    percent = round(100 * abs(ratio - 1))
    if percent == 0:
        return "as expected"
    return f"{percent} % {'above' if ratio > 1 else 'below'} the expected"


def span_words(seconds: float) -> str:
    """A span in two units at most: 45 s, 6 min, 2 h 10 min, 3 d 4 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    for size, unit, part_size, part in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if seconds >= size:
            whole, rest = divmod(int(seconds), size)
            return f"{whole} {unit} {rest // part_size} {part}" if rest // part_size else f"{whole} {unit}"
    return f"{seconds / 60:.0f} min"
