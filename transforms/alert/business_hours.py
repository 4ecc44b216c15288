"""Whether a moment is within hours of the week, on the clocks of a time zone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from transforms.alert.notify_policy import Hours, HoursCondition
from transforms.elements import MINUTE_US

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def is_within(hours: Hours, now_us: int) -> bool:
    """Whether the clocks show a time within `hours`.

    It is what clocks show that counts: an hour that is skipped in spring is missed, one that comes
    twice in autumn counts twice.
    """
    local = (_EPOCH + timedelta(microseconds=now_us)).astimezone(_zone(hours.zone))
    minute = local.hour * 60 + local.minute
    today, yesterday = local.date(), local.date() - timedelta(days=1)
    begins_today = today.weekday() in hours.days and today not in hours.holidays
    began_yesterday = yesterday.weekday() in hours.days and yesterday not in hours.holidays
    if hours.start_minute < hours.end_minute:
        return begins_today and hours.start_minute <= minute < hours.end_minute
    return (begins_today and minute >= hours.start_minute) or (began_yesterday and minute < hours.end_minute)


def holds(condition: HoursCondition | None, hours: Mapping[str, Hours], now_us: int) -> bool:
    """Whether `condition` holds; no condition always does. Raises KeyError for unknown hours."""
    return condition is None or is_within(hours[condition.name], now_us) == condition.inside


def any_holds(conditions: Iterable[HoursCondition], hours: Mapping[str, Hours], now_us: int) -> bool:
    return any(holds(condition, hours, now_us) for condition in conditions)


def next_minute_us(now_us: int) -> int:
    """When hours may next begin or end: they are of whole minutes in every zone of today."""
    return (now_us // MINUTE_US + 1) * MINUTE_US


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
