"""Numbers that operators read from the fields of lines: exact per window, whatever the order or the split.

Values are integers in millionths, so that sums do not depend on the order of adding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate
from typing import Final, Literal

from transforms.elements import FieldStats, Measures
from transforms.sketches import bin_value, latency_bin, merge_sum

MILLION: Final = 1_000_000
LARGEST_MEASURE: Final = 1 << 62
"""Millionths; a value further from zero counts as this one, 4.6 trillion."""

_WORD: Final = 1 << 62
Take = Literal["mean", "max", "sum", "p95"]


def count_measures(fields: dict[str, FieldStats], lines: Iterable[Measures]) -> None:
    """Add the measures of lines to `fields`, in place."""
    values: defaultdict[str, list[int]] = defaultdict(list)
    for measures in lines:
        for name, value in measures:
            values[name].append(value)
    merge_fields(fields, {name: _stats_of(numbers) for name, numbers in values.items()})


def merge_fields(into: dict[str, FieldStats], other: dict[str, FieldStats]) -> None:
    """Add the fields of `other` to `into`, in place; nothing of `other` is shared with the result."""
    for name, added in other.items():
        stats = into.get(name)
        if stats is None:
            into[name] = FieldStats(*_numbers(added), dict(added.bins))
            continue
        total = field_sum(stats) + field_sum(added)
        stats.count += added.count
        stats.sum_high, stats.sum_low = divmod(total, _WORD)
        stats.smallest = min(stats.smallest, added.smallest)
        stats.largest = max(stats.largest, added.largest)
        merge_sum(stats.bins, added.bins)


def field_sum(stats: FieldStats) -> int:
    """Sum of the values in millionths. It takes two numbers, because one encodes to 64 bits."""
    return stats.sum_high * _WORD + stats.sum_low


def field_value(stats: FieldStats, take: Take) -> float:
    """What of the values of a window is asked for, in the unit of the field. There must be a value."""
    if take == "mean":
        return field_sum(stats) / (stats.count * MILLION)
    if take == "max":
        return stats.largest / MILLION
    return field_sum(stats) / MILLION if take == "sum" else field_quantile(stats, 0.95)


def field_quantile(stats: FieldStats, q: float) -> float:
    """The `q` quantile (0 to 1) of the values, within 2 % of itself, in the unit of the field."""
    rank = q * (stats.count - 1)
    zeros = stats.count - sum(stats.bins.values())
    counts = sorted([*stats.bins.items(), (-0.5, zeros)])  # zero stands between what is below and above it
    up_to = accumulate(count for _, count in counts)
    index = next(index for (index, _), below in zip(counts, up_to, strict=True) if below > rank)
    return min(max(_value_of(index), stats.smallest), stats.largest) / MILLION


def _stats_of(values: list[int]) -> FieldStats:
    high, low = divmod(sum(values), _WORD)
    bins: dict[int, int] = {}
    for value in values:
        if value:
            index = _bin_of(value)
            bins[index] = bins.get(index, 0) + 1
    return FieldStats(len(values), low, high, min(values), max(values), bins)


def _bin_of(value: int) -> int:
    """Bins of positive values are DDSketch's; those of negative ones the same below -1."""
    return latency_bin(value) if value > 0 else -1 - latency_bin(-value)


def _value_of(index: float) -> float:
    if index == -0.5:
        return 0.0
    return bin_value(int(index)) if index >= 0 else -bin_value(-1 - int(index))


def _numbers(stats: FieldStats) -> tuple[int, int, int, int, int]:
    return stats.count, stats.sum_low, stats.sum_high, stats.smallest, stats.largest
