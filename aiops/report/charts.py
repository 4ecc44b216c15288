"""Geometry of the timeline: buckets of time, axis ticks and SVG paths. Pure.

A chart is drawn in a box of twice `buckets` × 100 units that the page stretches to its width. Coordinates
are whole and relative, and what the eye cannot tell apart is left out: a page holds hundreds of charts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

MOST_BUCKETS: Final = 240
_HEIGHT: Final = 100
_REACH: Final = 94  # the highest value stays so far below the edge that its line is whole
BRIDGED: Final = 15
"""A band is drawn on over so many buckets without one."""

_DAY: Final = 86_400
_STEPS: Final = (60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, _DAY)


@dataclass(frozen=True)
class TimeAxis:
    """Equal buckets of time from `start`, which is a multiple of the bucket."""

    start: datetime
    bucket_seconds: int
    buckets: int

    @property
    def end(self) -> datetime:
        """End of the last bucket, exclusive."""
        return self.start + timedelta(seconds=self.bucket_seconds * self.buckets)

    def percent(self, moment: datetime) -> float:
        """Place of `moment` from left to right, 0 to 100; what is outside is put on the edge."""
        share = (moment - self.start).total_seconds() / (self.bucket_seconds * self.buckets)
        return round(100 * min(1.0, max(0.0, share)), 3)

    @property
    def width(self) -> int:
        """Units of a chart from left to right."""
        return 2 * self.buckets

    def bucket_of(self, moment: datetime) -> int:
        """Place of the bucket that holds `moment`; outside it is below 0 or past the last."""
        return int((moment - self.start).total_seconds() // self.bucket_seconds)

    def start_of(self, place: int) -> datetime:
        """Start of a bucket."""
        return self.start + timedelta(seconds=self.bucket_seconds * place)

    def say(self, moment: datetime) -> str:
        """A time as the axis labels it."""
        return moment.strftime("%H:%M" if self.bucket_seconds * self.buckets <= _DAY else "%m-%d %H:%M")

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Up to `most` round times as (percent, label)."""
        span = self.bucket_seconds * self.buckets
        step = _round_up(max(1, span // most), smallest=60)
        first = -(-int(self.start.timestamp()) // step) * step
        times = [datetime.fromtimestamp(t, UTC) for t in range(first, int(self.end.timestamp()) + 1, step)]
        form = "%H:%M" if span <= _DAY else "%m-%d %H:%M" if step < _DAY else "%Y-%m-%d"
        return [(self.percent(moment), moment.strftime(form)) for moment in times[: most + 1]]


def make_axis(
    start: datetime, end: datetime, window_seconds: int = 60, most_buckets: int = MOST_BUCKETS
) -> TimeAxis:
    """Axis over `start` to `end` with at most `most_buckets` (2 or more), none shorter than a window."""
    span = max(1, int((end - start).total_seconds()))
    bucket = _round_up(-(-span // (most_buckets - 1)), smallest=max(60, window_seconds))
    first = int(start.timestamp()) // bucket * bucket
    buckets = max(1, -(-(int(end.timestamp()) - first) // bucket))
    return TimeAxis(datetime.fromtimestamp(first, UTC), bucket, buckets)


def _round_up(seconds: int, smallest: int) -> int:
    wanted = max(seconds, smallest)
    fitting = [step for step in _STEPS if step >= wanted]
    return fitting[0] if fitting else -(-wanted // _DAY) * _DAY


def line_path(values: Sequence[float | None], top: float, *, tolerance: float = 0.0) -> str:
    """SVG path through the middles of the buckets, broken where a value is missing.

    A value without neighbors is drawn as wide as its bucket. Points that a straight line misses by at
    most `tolerance` hundredths of the height are left out.
    """
    runs = _runs(values, top)
    return "".join(_moves(_thinned(run if len(run) > 1 else _widened(run), tolerance)) for run in runs)


def dots_path(values: Sequence[float | None], top: float, places: Iterable[int]) -> str:
    """SVG path of the buckets `places` alone: neighbors joined, a lone one a dot (with round ends)."""
    wanted = set(places)
    runs = _runs([value if place in wanted else None for place, value in enumerate(values)], top)
    return "".join(_moves(_thinned(run, 0.0)) if len(run) > 1 else f"{_moves(run)}h.01" for run in runs)


def band_path(
    lows: Sequence[float | None], highs: Sequence[float | None], top: float, *, tolerance: float = 1.0
) -> str:
    """SVG path of the areas between `lows` and `highs`, each half a bucket wider at both ends."""
    pairs = zip(_runs(_bridged(lows), top), _runs(_bridged(highs), top), strict=True)
    areas = []
    for below, above in pairs:
        upper, lower = (_thinned(_widened(run), tolerance) for run in (above, below))
        areas.append(_moves([*upper, *reversed(lower)]) + "z")
    return "".join(areas)


def _runs(values: Sequence[float | None], top: float) -> list[list[tuple[int, int]]]:
    """Stretches of known values as points: two units a bucket, down from the top edge at 0 to 100."""
    runs: list[list[tuple[int, int]]] = []
    is_open = False
    for place, value in enumerate(values if top > 0 else ()):
        if value is None:
            is_open = False
            continue
        if not is_open:
            runs.append([])
        is_open = True
        share = min(1.0, max(0.0, value / top))
        runs[-1].append((2 * place + 1, round(_HEIGHT - _REACH * share)))
    return runs


def _bridged(values: Sequence[float | None]) -> list[float | None]:
    """Gaps of up to BRIDGED buckets filled evenly: not every window has enough cases to be judged."""
    bridged = list(values)
    known = [place for place, value in enumerate(values) if value is not None]
    for before, after in pairwise(known):
        first, last = values[before], values[after]
        if 1 < after - before <= BRIDGED + 1 and first is not None and last is not None:
            for place in range(before + 1, after):
                bridged[place] = first + (last - first) * (place - before) / (after - before)
    return bridged


def _widened(run: list[tuple[int, int]]) -> list[tuple[int, int]]:
    (first_x, first_y), (last_x, last_y) = run[0], run[-1]
    return [(first_x - 1, first_y), *run, (last_x + 1, last_y)]


def _thinned(run: list[tuple[int, int]], tolerance: float) -> list[tuple[int, int]]:
    """The fewest points that keep the line within `tolerance` (Douglas and Peucker, 1973)."""
    kept = {0, len(run) - 1}
    spans = [(0, len(run) - 1)]
    while spans:
        start, end = spans.pop()
        (x0, y0), (x1, y1) = run[start], run[end]
        furthest, most = 0, tolerance
        for place in range(start + 1, end):
            x, y = run[place]
            miss = abs(y - y0 - (y1 - y0) * (x - x0) / (x1 - x0))
            if miss > most:
                furthest, most = place, miss
        if furthest:
            kept.add(furthest)
            spans += (start, furthest), (furthest, end)
    return [run[place] for place in sorted(kept)]


def _moves(points: Sequence[tuple[int, int]]) -> str:
    """Relative moves in few characters: a minus sign separates as well as a blank."""
    (x, y), *rest = points
    text = f"M{x} {y}"
    for number, (next_x, next_y) in enumerate(rest):
        across, down = next_x - x, next_y - y
        blank = " " if number and across >= 0 else ""
        text += f"{'' if number else 'l'}{blank}{across}{'' if down < 0 else ' '}{down}"
        x, y = next_x, next_y
    return text


def stack_lanes(spans: Sequence[tuple[float, float]], lanes: int) -> list[int]:
    """A lane for each (from, to): none overlap in a lane, but what is too much shares the last."""
    free_from = [float("-inf")] * lanes
    chosen: dict[int, int] = {}
    for place in sorted(range(len(spans)), key=lambda place: spans[place]):
        start, end = spans[place]
        lane = next((lane for lane in range(lanes) if free_from[lane] <= start), lanes - 1)
        free_from[lane] = max(free_from[lane], end)
        chosen[place] = lane
    return [chosen[place] for place in range(len(spans))]
