"""What is usual at this hour of the week, on the clock of the tenant.

Hours are local, so that a rhythm follows people through daylight saving. Each of the 168 slots holds the
mean of the hours it has seen, each new one weighing `weight`: exponential smoothing of one value a week.
Until an hour of the week was seen, the same hour of the days of its kind stands in, working days for a
working day and days off for a day off; the first day off of all has nothing usual.
"""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

import msgspec

from transforms.detect.baselines.interface import HOUR_US

DAY_HOURS: Final = 24
WEEK_HOURS: Final = 168
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Season(msgspec.Struct, array_like=True, gc=False):
    """Means by hour, as little-endian doubles, NaN where never seen; and the hour that is under way."""

    weekly: bytes
    hour: int = -1  # hours since 1970, UTC; -1 before the first value
    slot: int = 0  # its hour of the local week
    total: float = 0.0
    count: int = 0


class Calendar(msgspec.Struct, frozen=True):
    """The clock of a tenant, and the days on which its people rest (0 is Monday)."""

    zone: tzinfo = UTC
    days_off: frozenset[int] = frozenset({5, 6})

    def slot(self, time_us: int) -> int:
        """Hour of the local week, 0 is the hour from Monday midnight."""
        if self.zone is UTC:
            return (time_us // HOUR_US + 72) % WEEK_HOURS  # 1970 began on a Thursday
        local = (_EPOCH + timedelta(microseconds=time_us)).astimezone(self.zone)
        return local.weekday() * DAY_HOURS + local.hour


def new_season() -> Season:
    return Season(struct.pack("<d", math.nan) * WEEK_HOURS)


def usual_value(season: Season, calendar: Calendar, slot: int) -> float | None:
    """What the hours before the one under way make expect in `slot`; None when they say nothing."""
    value = _read(season.weekly, slot)
    if not math.isnan(value):
        return value
    day, hour = divmod(slot, DAY_HOURS)
    is_off = day in calendar.days_off
    alike = [
        value
        for other in range(7)
        if (other in calendar.days_off) == is_off
        and not math.isnan(value := _read(season.weekly, other * DAY_HOURS + hour))
    ]
    return sum(alike) / len(alike) if alike else None


def begin_hour(season: Season, time_us: int, slot: int, weight: float) -> None:
    """Close the hour under way when `time_us` is past it, and open that of `time_us`, which is in `slot`."""
    hour = time_us // HOUR_US
    if hour == season.hour:
        return
    if season.count:
        mean = season.total / season.count
        before = _read(season.weekly, season.slot)
        after = mean if math.isnan(before) else before + weight * (mean - before)
        begin = 8 * season.slot
        season.weekly = season.weekly[:begin] + struct.pack("<d", after) + season.weekly[begin + 8 :]
    season.hour, season.slot, season.total, season.count = hour, slot, 0.0, 0


def learn_usual(season: Season, value: float) -> None:
    """Count `value` into the hour under way."""
    season.total += value
    season.count += 1


def _read(slots: bytes, index: int) -> float:
    return struct.unpack_from("<d", slots, 8 * index)[0]  # type: ignore[no-any-return]
