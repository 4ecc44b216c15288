"""One signal over time and the band in which it was expected: what is off, and what was learned. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from aiops.figures import compact, expected_words, figure, milliseconds

Unit = Literal["per_minute", "count", "share", "ms"]

LEAST_SHARE: Final = 0.05
"""A chart of a share reaches at least so far: one error in a thousand lines must not look like a fault."""

CALM_BUCKETS: Final = 1
"""So many buckets within the band may lie between two that are off, and it is still one stretch."""


class Point(NamedTuple):
    """One bucket of time; `value` is None where nothing was measured, the rest where nothing was expected."""

    value: float | None = None
    baseline: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def side(self) -> int:
        """1 above the band, -1 below it, 0 within it or where one of both is not known."""
        if self.value is None or self.low is None or self.high is None:
            return 0
        return (self.value > self.high) - (self.value < self.low)

    @property
    def excess(self) -> float:
        """How far outside, in widths of the band; 0 within it."""
        if not self.side or self.value is None or self.low is None or self.high is None:
            return 0.0
        beyond = self.value - self.high if self.side > 0 else self.low - self.value
        return beyond / max(self.high - self.low, 1e-9)


@dataclass(frozen=True)
class Series:
    """What a chart draws: one point a bucket."""

    title: str
    unit: Unit
    points: Sequence[Point]

    @property
    def has_values(self) -> bool:
        return any(point.value is not None for point in self.points)

    @property
    def first_band(self) -> int | None:
        """Place of the first bucket for which something was expected."""
        return next((place for place, point in enumerate(self.points) if point.high is not None), None)

    @property
    def top(self) -> float:
        """What the highest edge of the chart stands for. A band far above all values is cut off."""
        values = [value for point in self.points for value in (point.value, point.baseline) if value]
        highs = [point.high for point in self.points if point.high]
        most = max(values, default=0.0)
        if self.unit == "share":
            most = max(most, LEAST_SHARE)
        return max(most, min(max(highs, default=0.0), 2.5 * most)) or max(highs, default=0.0)

    def shown(self, value: float | None) -> str:
        """A value in the unit of the series, without "/min"."""
        if value is None:
            return "–"
        if self.unit == "share":
            return figure(value, "_rate")
        if self.unit == "ms":
            return milliseconds(value)
        return compact(value) if self.unit == "per_minute" else figure(value, "")

    def said(self, value: float | None) -> str:
        """A value as it stands in a sentence."""
        return self.shown(value) + ("/min" if self.unit == "per_minute" and value is not None else "")

    def expected(self, point: Point) -> str:
        """What was expected of `point`: "143 (116 to 177) ms"; empty where nothing was."""
        if point.low is None or point.high is None or point.baseline is None:
            return ""
        unit = "count" if self.unit == "per_minute" else self.unit
        return expected_words(point.baseline, point.low, point.high, unit)


def learning_buckets(series: Series, others_until: int | None = None) -> int:
    """How many buckets from the first on nothing was expected yet.

    Where nothing ever was, `others_until` says how long other signals of the service were learned
    (None: nothing of it was ever learned).
    """
    if series.first_band is not None:
        return series.first_band
    return len(series.points) if others_until is None else others_until


def off_stretches(points: Sequence[Point], calm: int = CALM_BUCKETS) -> list[tuple[int, int]]:
    """Stretches [from, to) outside the band; up to `calm` buckets within it do not end one."""
    stretches: list[tuple[int, int]] = []
    for place, point in enumerate(points):
        if not point.side:
            continue
        if stretches and place - stretches[-1][1] <= calm:
            stretches[-1] = stretches[-1][0], place + 1
        else:
            stretches.append((place, place + 1))
    return stretches


def worst_place(points: Sequence[Point], loud: Sequence[int]) -> int | None:
    """The bucket to name: of the `loud` ones the one furthest outside its band, else the highest of all."""
    known = [place for place, point in enumerate(points) if point.value is not None]
    among = [place for place in loud if points[place].value is not None]
    if among:
        return max(among, key=lambda place: (points[place].excess, points[place].value or 0.0, -place))
    return max(known, key=lambda place: (points[place].value or 0.0, -place), default=None)


def loud_ranks(points: Sequence[Point], cover: Sequence[int], about: Sequence[int]) -> list[int]:
    """For each bucket the rank of the anomaly that explains why it stands out; -1 for none.

    `cover` has for each bucket the rank of the service's worst anomaly (-1: none), `about` that of
    anomalies of this very signal. A stretch outside the band takes the rank of what it touches.
    """
    ranks = list(about)
    for start, end in off_stretches(points):
        rank = max(cover[start:end])
        for place in range(start, end):
            if points[place].side:
                ranks[place] = max(ranks[place], rank)
    return [rank if point.value is not None else -1 for rank, point in zip(ranks, points, strict=True)]
