"""Geometry of the timeline: buckets of time, axis ticks and SVG paths. Pure.

A chart is drawn in a box of `buckets` × 100 units that the page stretches to its width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

MOST_BUCKETS: Final = 240
_HEIGHT: Final = 100
_LEAST_HEIGHT: Final = 1.0
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

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Up to `most` round times as (percent, label)."""
        span = self.bucket_seconds * self.buckets
        step = _round_up(max(1, span // most), smallest=60)
        first = -(-int(self.start.timestamp()) // step) * step
        times = [datetime.fromtimestamp(t, UTC) for t in range(first, int(self.end.timestamp()) + 1, step)]
        form = "%H:%M" if span <= _DAY else "%m-%d %H:%M" if step < _DAY else "%Y-%m-%d"
        return [(self.percent(moment), moment.strftime(form)) for moment in times[: most + 1]]


def make_axis(start: datetime, end: datetime, window_seconds: int = 60) -> TimeAxis:
    """Axis over `start` to `end` with at most 240 buckets, none shorter than a window."""
    span = max(1, int((end - start).total_seconds()))
    bucket = _round_up(-(-span // (MOST_BUCKETS - 1)), smallest=max(60, window_seconds))
    first = int(start.timestamp()) // bucket * bucket
    buckets = max(1, -(-(int(end.timestamp()) - first) // bucket))
    return TimeAxis(datetime.fromtimestamp(first, UTC), bucket, buckets)


def _round_up(seconds: int, smallest: int) -> int:
    wanted = max(seconds, smallest)
    fitting = [step for step in _STEPS if step >= wanted]
    return fitting[0] if fitting else -(-wanted // _DAY) * _DAY


def bar_path(values: Sequence[int], top: float) -> str:
    """SVG path of one bar per value, `top` reaching 100 units; what would be invisible has none."""
    if not top:
        return ""
    bars = []
    for place, value in enumerate(values):
        height = round(_HEIGHT * min(value, top) / top, 1)
        if height >= _LEAST_HEIGHT:
            bars.append(f"M{place} {_HEIGHT}v-{height:g}h.86v{height:g}z")
    return "".join(bars)


def line_path(values: Sequence[float | None], top: float) -> str:
    """SVG path through the middles of the buckets, broken where a value is missing."""
    if not top:
        return ""
    points, pen_down = [], False
    for place, value in enumerate(values):
        if value is None:
            pen_down = False
            continue
        y = round(_HEIGHT - 94 * min(value, top) / top, 1)
        points.append(f"{'L' if pen_down else 'M'}{place + 0.5:g} {y:g}" + ("" if pen_down else "h.01"))
        pen_down = True
    return "".join(points)


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
