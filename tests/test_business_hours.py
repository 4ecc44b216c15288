"""Hours of the week on the clocks of a zone: nights, days off, and the two odd days of a year."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from transforms.alert.business_hours import holds, is_within, next_minute_us
from transforms.alert.notify_policy import Hours, HoursCondition

OFFICE = Hours("office", "Europe/Berlin", (0, 1, 2, 3, 4), 9 * 60, 17 * 60 + 30, (date(2026, 12, 25),))
NIGHT = Hours("night", "America/New_York", (4,), 22 * 60, 6 * 60)
SMALL_HOURS = Hours("small", "Europe/Berlin", tuple(range(7)), 2 * 60, 3 * 60)


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("hours", "utc", "expected"),
    [
        (OFFICE, "2026-01-05T08:00", True),  # Monday, 09:00 in Berlin
        (OFFICE, "2026-01-05T07:59", False),
        (OFFICE, "2026-01-05T16:29", True),
        (OFFICE, "2026-01-05T16:30", False),
        (OFFICE, "2026-07-06T07:00", True),  # summer time
        (OFFICE, "2026-01-10T10:00", False),  # Saturday
        (OFFICE, "2026-12-25T10:00", False),  # a holiday
        (NIGHT, "2026-01-10T03:00", True),  # Friday, 22:00 in New York
        (NIGHT, "2026-01-10T10:59", True),  # Saturday, 05:59: the night began on Friday
        (NIGHT, "2026-01-10T11:00", False),
        (NIGHT, "2026-01-11T03:00", False),  # Saturday, 22:00
        (NIGHT, "2026-01-09T04:00", False),  # Thursday, 23:00
        (SMALL_HOURS, "2026-03-29T01:00", False),  # clocks go from 02:00 to 03:00: it is skipped
        (SMALL_HOURS, "2026-10-25T00:30", True),  # 02:30 comes twice
        (SMALL_HOURS, "2026-10-25T01:30", True),
        (Hours("always", "UTC"), "2026-01-10T23:59", True),
    ],
)
def test_hours_are_what_the_clocks_of_the_zone_show(hours: Hours, utc: str, expected: bool) -> None:
    """Summer time, nights over midnight, weekends and holidays are those of the zone."""
    assert is_within(hours, us(utc)) is expected
    assert holds(HoursCondition("x", inside=False), {"x": hours}, us(utc)) is not expected
    assert holds(None, {}, us(utc))


def test_hours_are_looked_at_every_minute() -> None:
    """The next look is at the next whole minute, never now."""
    assert next_minute_us(us("2026-01-05T08:00")) == us("2026-01-05T08:01")
    assert next_minute_us(us("2026-01-05T08:00") + 59_999_999) == us("2026-01-05T08:01")
