"""What is usual at this hour of the week, on the clock of the tenant.

Hours are local, so that a rhythm follows people through daylight saving. Each of the 168 slots holds the
mean of the hours it has seen, each new one weighing `weight`: exponential smoothing of one value a week.
Until an hour of the week was seen, the same hour of the days of its kind stands in, working days for a
working day and days off for a day off; the first day off of all has nothing usual.
"""

from __future__ import annotations

import math
import struct
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

import msgspec

from transforms.elements import DAY_US, HOUR_US

DAY_HOURS: Final = 24
WEEK_HOURS: Final = 168
LONGEST_HOUR: Final = 2
"""One local hour touches at most three of UTC: repeated, on clocks half an hour off."""

SATURDAY: Final = 5
SUNDAY: Final = 6
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = _EPOCH.toordinal()
_EPOCH_WEEKDAY: Final = _EPOCH.weekday()
_QUARTER_US: Final = HOUR_US // 4
_MICROSECOND: Final = timedelta(microseconds=1)


class Season(msgspec.Struct, array_like=True, gc=False):
    """Means by hour, as little-endian doubles, NaN where never seen; and the hour that is under way."""

    weekly: bytes
    hour: int = -DAY_HOURS  # hours since 1970, UTC, in which it began; long ago before the first value
    slot: int = 0  # its hour of the local week
    total: float = 0.0
    count: int = 0


class Calendar(msgspec.Struct, frozen=True):
    """The clock of a tenant, and the days on which its people rest.

    `days_off` are days of the week, 0 is Monday; `holidays` are local dates. A holiday that falls on a
    working day has the hours of a day off: of Saturday where that is one, else of the first in the week,
    else of Sunday. So it neither learns nor uses the hours of the working day.
    """

    zone: tzinfo = UTC
    days_off: frozenset[int] = frozenset({SATURDAY, SUNDAY})
    holidays: frozenset[date] = frozenset()

    def slot(self, time_us: int) -> int:
        """Hour of the local week, 0 is the hour from Monday midnight. `time_us` counts from 1970 UTC."""
        local_us = self.local_us(time_us)
        if self.holidays:
            day = local_us // DAY_US
            weekday = (day + _EPOCH_WEEKDAY) % 7
            if weekday not in self.days_off and date.fromordinal(day + _EPOCH_ORDINAL) in self.holidays:
                return self._holiday * DAY_HOURS + local_us // HOUR_US % DAY_HOURS
        return (local_us // HOUR_US + _EPOCH_WEEKDAY * DAY_HOURS) % WEEK_HOURS

    def local_us(self, time_us: int) -> int:
        """What the clocks show, as if it were UTC."""
        return time_us if self.zone is UTC else time_us + zone_offset_us(self.zone, time_us)

    @property
    def _holiday(self) -> int:
        """The day of the week whose hours a holiday has."""
        return SATURDAY if SATURDAY in self.days_off else min(self.days_off, default=SUNDAY)


def zone_offset_us(zone: tzinfo, time_us: int) -> int:
    """How far the clocks of `zone` are ahead of UTC at `time_us`, in microseconds."""
    offset_us = _quarter_offset_us(zone, time_us // _QUARTER_US)
    return _offset_us(zone, time_us) if offset_us is None else offset_us


@lru_cache(maxsize=1 << 14)
def _quarter_offset_us(zone: tzinfo, quarter: int) -> int | None:
    """The offset in a quarter of an hour, or None where the clocks change within it.

    They do not always change on the hour of UTC: Lord Howe Island is 30 minutes off.
    """
    begin_us = quarter * _QUARTER_US
    offset_us = _offset_us(zone, begin_us)
    return offset_us if offset_us == _offset_us(zone, begin_us + _QUARTER_US - 1) else None


def _offset_us(zone: tzinfo, time_us: int) -> int:
    offset = (_EPOCH + timedelta(microseconds=time_us)).astimezone(zone).utcoffset()
    return 0 if offset is None else offset // _MICROSECOND


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
    """Close the hour under way when `time_us` is past it, and open that of `time_us`, which is in `slot`.

    An hour is one of the local clock: it may begin at half past of UTC, and one that is repeated when
    daylight saving ends counts once.
    """
    hour = time_us // HOUR_US
    if slot == season.slot and hour - season.hour <= LONGEST_HOUR:
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
