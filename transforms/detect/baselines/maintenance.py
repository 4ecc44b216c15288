"""When a service is being worked on: nothing is learned and nothing alarms meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Final

import msgspec

from transforms.detect.baselines.book import (
    BaselineBook,
    DatedMaintenance,
    Maintenance,
    WeeklyMaintenance,
    find_zone,
    tenant_entry,
)
from transforms.elements import DAY_US
from transforms.globs import glob_matches

UNNAMED: Final = "maintenance"
"""The note of maintenance that has none."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DATE: Final = _EPOCH.date()
_MICROSECOND: Final = timedelta(microseconds=1)


class _Span(msgspec.Struct, frozen=True, gc=False):
    start_us: int
    end_us: int
    services: tuple[str, ...]
    note: str


def maintenance_note(
    book: BaselineBook, tenant_id: str, service: str, time_us: int, end_us: int = 0
) -> str | None:
    """The note of the maintenance that `service` is in at `time_us`, None without any.

    With `end_us` the question is whether any moment from `time_us` up to there, exclusive, is in
    maintenance, as for a window. Of several the one that began first is told.
    """
    if not book.calendars:
        return None
    last_us = max(time_us, end_us - 1)
    for day in range(time_us // DAY_US, last_us // DAY_US + 1):
        for span in _spans(book, tenant_id, day):
            if (
                span.start_us <= last_us
                and time_us < span.end_us
                and any(glob_matches(glob, service) for glob in span.services)
            ):
                return span.note
    return None


@lru_cache(maxsize=1 << 12)
def _spans(book: BaselineBook, tenant_id: str, day: int) -> tuple[_Span, ...]:
    """Maintenance that touches the day of UTC, `day` days after 1970-01-01, the earliest first."""
    entry = tenant_entry(book, tenant_id)
    if not entry.maintenance:
        return ()
    zone = find_zone(entry.zone)
    begin_us, end_us = day * DAY_US, (day + 1) * DAY_US
    found = [
        span
        for maintenance in entry.maintenance
        for span in _spans_of(maintenance, zone, _EPOCH_DATE + timedelta(days=day))
        if span.start_us < end_us and begin_us < span.end_us
    ]
    return tuple(sorted(found, key=lambda span: (span.start_us, span.end_us, span.note)))


def _spans_of(maintenance: Maintenance, zone: tzinfo, day: date) -> Iterator[_Span]:
    if isinstance(maintenance, DatedMaintenance):
        yield _span(maintenance, maintenance.start, maintenance.end, zone)
        return
    # Local days are up to one off those of UTC, and what lasts past midnight began the day before.
    for offset in range(-2, 2):
        local = day + timedelta(days=offset)
        if local.weekday() in maintenance.days:
            yield _span(maintenance, *_on_day(maintenance, local), zone)


def _on_day(maintenance: WeeklyMaintenance, day: date) -> tuple[datetime, datetime]:
    midnight = datetime.combine(day, time())
    is_overnight = maintenance.end_minute <= maintenance.start_minute
    return (
        midnight + timedelta(minutes=maintenance.start_minute),
        midnight + timedelta(days=is_overnight, minutes=maintenance.end_minute),
    )


def _span(maintenance: Maintenance, start: datetime, end: datetime, zone: tzinfo) -> _Span:
    """Where the clocks change, a local time has two readings: the longer span counts."""
    return _Span(
        min(_readings_us(start, zone)),
        max(_readings_us(end, zone)),
        maintenance.services,
        maintenance.note or UNNAMED,
    )


def _readings_us(local: datetime, zone: tzinfo) -> tuple[int, int]:
    first, second = (
        (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) - _EPOCH) // _MICROSECOND for fold in (0, 1)
    )
    return first, second
