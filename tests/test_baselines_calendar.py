"""Calendars: hours of the local week through daylight saving, holidays, and maintenance."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.detect.baselines.book import CalendarEntry, make_calendar
from transforms.detect.baselines.book_loading import load_book
from transforms.detect.baselines.maintenance import UNNAMED, maintenance_note
from transforms.detect.baselines.seasons import (
    WEEK_HOURS,
    Calendar,
    begin_hour,
    learn_usual,
    new_season,
    usual_value,
)
from transforms.elements import HOUR_US

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Asia/Kolkata", "Asia/Kathmandu",
    "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Apia", "Africa/Monrovia",
)  # fmt: skip
times = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)


def us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def utc(text: str) -> int:
    return us(datetime.fromisoformat(text).replace(tzinfo=UTC))


def slot_by_clock(zone: str, moment: datetime) -> int:
    local = moment.astimezone(ZoneInfo(zone))
    return local.weekday() * 24 + local.hour


@given(st.sampled_from(ZONES), times)
def test_a_slot_is_the_hour_that_the_clock_on_the_wall_shows(zone: str, moment: datetime) -> None:
    """In any zone, at any time from 1970 on, the slot is weekday and hour of local time."""
    assert make_calendar(CalendarEntry(zone=zone)).slot(us(moment)) == slot_by_clock(zone, moment)


@pytest.mark.parametrize(
    ("zone", "around"),
    [
        ("Europe/Berlin", "2026-03-29T01:00"),
        ("Europe/Berlin", "2026-10-25T01:00"),
        ("America/New_York", "2026-03-08T07:00"),
        ("America/New_York", "2026-11-01T06:00"),
        ("America/Havana", "2026-03-08T05:00"),
        ("Australia/Lord_Howe", "2026-04-04T15:00"),
        ("Australia/Lord_Howe", "2026-10-03T15:30"),
        ("Pacific/Chatham", "2026-04-04T14:00"),
        ("Asia/Kathmandu", "1985-12-31T18:30"),
        ("Pacific/Apia", "2011-12-30T10:00"),
        ("Africa/Monrovia", "1972-01-07T00:44"),
        ("Europe/Berlin", "2028-02-29T00:00"),
    ],
)
def test_every_minute_around_a_change_of_the_clocks_is_right(zone: str, around: str) -> None:
    """Skipped and repeated hours, half hours, skipped days and leap days: each minute has its own slot."""
    calendar = make_calendar(CalendarEntry(zone=zone, holidays=(date(1999, 1, 1),)))
    start = EPOCH + timedelta(microseconds=utc(around))
    for minutes in range(-26 * 60, 26 * 60):
        moment = start + timedelta(minutes=minutes)
        assert calendar.slot(us(moment)) == slot_by_clock(zone, moment)


def test_a_skipped_hour_has_no_time_and_a_repeated_one_two_hours() -> None:
    """Berlin, 2026: on the last Sunday of March no time is in the hour from 2, of October 2 hours are."""
    calendar = make_calendar(CalendarEntry(zone="Europe/Berlin"))

    def hours(day: str) -> list[int]:
        start = utc(day)
        return [calendar.slot(start + hour * HOUR_US) % 24 for hour in range(-1, 3)]

    assert hours("2026-03-29T00:00") == [0, 1, 3, 4]
    assert hours("2026-10-25T00:00") == [1, 2, 2, 3]


@given(
    st.sampled_from(ZONES),
    st.frozensets(st.integers(0, 6)),
    times,
    st.integers(-3, 3),
)
def test_a_holiday_has_the_hours_of_a_day_off(
    zone: str, days_off: frozenset[int], moment: datetime, distance: int
) -> None:
    """Only the local date of the holiday is moved, to the same hour of a day off; days off stay."""
    local = moment.astimezone(ZoneInfo(zone))
    holiday = local.date() + timedelta(days=distance)
    calendar = make_calendar(CalendarEntry(zone=zone, days_off=tuple(days_off), holidays=(holiday,)))
    slot = calendar.slot(us(moment))
    assert slot % 24 == local.hour
    if distance or local.weekday() in days_off:
        assert slot // 24 == local.weekday()
    else:
        assert slot // 24 == (5 if 5 in days_off else min(days_off, default=6))


def test_a_holiday_teaches_the_working_day_nothing() -> None:
    """A Friday that is a holiday leaves the hours of Fridays as they were, and is expected as a Saturday."""
    calendar = make_calendar(CalendarEntry(holidays=(date(2026, 12, 25), date(2027, 1, 1))))
    season = new_season()
    noon = utc("2026-12-11T12:00")  # a Friday
    for days, value in ((0, 100.0), (1, 5.0), (7, 100.0), (14, 6.0), (15, 6.0)):
        time_us = noon + days * 24 * HOUR_US
        begin_hour(season, time_us, calendar.slot(time_us), 1.0)
        learn_usual(season, value)
    begin_hour(season, noon + 16 * 24 * HOUR_US, 0, 1.0)
    assert usual_value(season, calendar, calendar.slot(noon + 21 * 24 * HOUR_US)) == 6.0  # New Year's Day
    assert usual_value(season, calendar, calendar.slot(noon + 28 * 24 * HOUR_US)) == 100.0


@given(st.sampled_from(ZONES), st.integers(utc("2024-01-01"), utc("2028-01-01")))
def test_an_hour_of_the_local_clock_is_learned_as_one(zone: str, start_us: int) -> None:
    """Where local hours begin at half past of UTC, one local hour is one mean."""
    calendar = make_calendar(CalendarEntry(zone=zone))
    season, closed = new_season(), []
    for minute in range(0, 24 * 60, 5):
        time_us = start_us + minute * 60_000_000
        slot, before = calendar.slot(time_us), season.slot
        begin_hour(season, time_us, slot, 0.5)
        if season.count == 0:
            closed.append(slot)
        assert season.slot == slot, before
        learn_usual(season, 1.0)
    assert all(earlier != later for earlier, later in pairwise(closed))


def test_a_calendar_without_anything_is_utc_with_weekends() -> None:
    """The default needs no zone database."""
    assert Calendar() == make_calendar(CalendarEntry())
    assert make_calendar(CalendarEntry()).zone is UTC


# -------------------------------------------------------------------------------- maintenance


def note_at(
    spans: str, moment: str, service: str = "shop", zone: str = "UTC", minutes: int = 0
) -> str | None:
    book = load_book(f"calendars: [{{tenant: 'acme-*', zone: {zone}, maintenance: [{spans}]}}]")
    time_us = utc(moment)
    return maintenance_note(book, "acme-1", service, time_us, time_us + minutes * 60_000_000)


DATED = "{from: 2026-11-22T02:00, to: 2026-11-22T04:00, services: [payment, 'db-*'], note: kernel update}"


@pytest.mark.parametrize(
    ("moment", "service", "minutes", "note"),
    [
        ("2026-11-22T07:00", "payment", 0, "kernel update"),
        ("2026-11-22T08:59", "db-1", 0, "kernel update"),
        ("2026-11-22T09:00", "db-1", 0, None),
        ("2026-11-22T06:59", "db-1", 0, None),
        ("2026-11-22T06:59", "db-1", 1, None),
        ("2026-11-22T06:59", "db-1", 2, "kernel update"),
        ("2026-11-21T06:59", "db-1", 3 * 24 * 60, "kernel update"),
        ("2026-11-22T07:00", "shop", 0, None),
    ],
)
def test_planned_maintenance_is_local_and_of_its_services(
    moment: str, service: str, minutes: int, note: str | None
) -> None:
    """From its first moment to before its last, on the tenant's clocks; a window counts if it touches it."""
    assert note_at(DATED, moment, service, "America/New_York", minutes) == note


@pytest.mark.parametrize(
    ("moment", "note"),
    [
        ("2026-11-22T02:00", UNNAMED),  # a Sunday
        ("2026-11-22T04:00", None),
        ("2026-11-23T02:00", None),
        ("2026-11-29T03:59", UNNAMED),
    ],
)
def test_weekly_maintenance_comes_again(moment: str, note: str | None) -> None:
    """On its days, at its hours, with a word of its own where none is given."""
    assert note_at("{every: sunday, from: '02:00', to: '04:00'}", moment) == note


@pytest.mark.parametrize(
    ("moment", "note"),
    [("2026-11-21T22:59", None), ("2026-11-21T23:00", UNNAMED), ("2026-11-22T00:59", UNNAMED),
     ("2026-11-22T01:00", None), ("2026-11-20T23:30", None)],
)  # fmt: skip
def test_maintenance_may_last_past_midnight(moment: str, note: str | None) -> None:
    """A span that ends earlier in the day than it begins ends on the next day."""
    assert note_at("{every: saturday, from: '23:00', to: '01:00'}", moment) == note


@given(st.sampled_from(ZONES), st.integers(utc("2024-01-01") // 60_000_000, utc("2028-01-01") // 60_000_000))
def test_the_whole_day_leaves_no_gap(zone: str, minute: int) -> None:
    """00:00 to 24:00 of every day is always, whatever the clocks do."""
    book = load_book(
        f"calendars: [{{zone: {zone}, maintenance: [{{every: day, from: 00:00, to: '24:00'}}]}}]"
    )
    assert maintenance_note(book, "t", "s", minute * 60_000_000) == UNNAMED


@given(st.sampled_from(ZONES), times.filter(lambda moment: moment.year > 2000))
def test_weekly_maintenance_holds_at_every_time_that_the_clock_shows(zone: str, moment: datetime) -> None:
    """Whenever the clock on the wall is within the span, it is maintenance."""
    local = moment.astimezone(ZoneInfo(zone))
    spans = "[{every: tuesday, from: '01:30', to: '03:15'}]"
    book = load_book(f"calendars: [{{zone: {zone}, maintenance: {spans}}}]")
    if local.weekday() == 1 and 90 <= local.hour * 60 + local.minute < 195:
        assert maintenance_note(book, "t", "s", us(moment)) == UNNAMED


@pytest.mark.parametrize(
    ("day", "first", "last"),
    [
        ("2026-03-29", "2026-03-29T00:30", "2026-03-29T01:29"),
        ("2026-10-25", "2026-10-25T00:30", "2026-10-25T01:59"),
    ],
)
def test_where_the_clocks_change_the_longer_reading_counts(day: str, first: str, last: str) -> None:
    """Maintenance over a repeated hour lasts through both; one in a skipped hour is not lost."""
    end = "03:30" if day == "2026-03-29" else "03:00"
    span = f"{{from: {day}T02:30, to: {day}T{end}}}"
    assert note_at(span, first, zone="Europe/Berlin") == UNNAMED
    assert note_at(span, last, zone="Europe/Berlin") == UNNAMED
    after = (datetime.fromisoformat(last) + timedelta(minutes=1)).isoformat()
    assert note_at(span, after, zone="Europe/Berlin") is None


def test_other_tenants_and_empty_books_are_never_in_maintenance() -> None:
    """Only the tenant's own calendar counts."""
    book = load_book(f"calendars: [{{tenant: acme, maintenance: [{DATED}]}}]")
    assert maintenance_note(book, "acme", "payment", utc("2026-11-22T02:00")) == "kernel update"
    assert maintenance_note(book, "other", "payment", utc("2026-11-22T02:00")) is None
    assert maintenance_note(load_book(""), "acme", "payment", utc("2026-11-22T02:00")) is None


def test_a_week_has_as_many_slots_as_hours() -> None:
    """Every hour of a week without changes of the clocks has a slot of its own."""
    calendar = make_calendar(CalendarEntry(zone="Asia/Kathmandu"))
    slots = {calendar.slot(utc("2026-06-01") + hour * HOUR_US) for hour in range(WEEK_HOURS)}
    assert slots == set(range(WEEK_HOURS))
