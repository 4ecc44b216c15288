"""What levels say of noise, of faults, and of days and weeks as they usually are."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pytest
from level_bench import DAY, HOUR, LATENCY, MONDAY_US, SHARE, TRAFFIC, Alarm, Rate, Walk, daily, minutes_of
from msgspec.structs import replace

from transforms.detect.baselines.level import LevelSettings
from transforms.detect.baselines.seasons import Calendar
from transforms.elements import DAY_US

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

WARM = 5 * HOUR
RATES = (0.05, 1, 5, 50, 1000)
COPIES = 20


# ------------------------------------------------------------------------------------------ noise


@pytest.mark.parametrize("rate", [0.05, 1, 5, 50, 1000])
@pytest.mark.parametrize(("settings", "exposure"), [(TRAFFIC, 1), (SHARE, 2000)])
def test_independent_events_do_not_alarm(settings: LevelSettings, exposure: float, rate: float) -> None:
    """A month of noise in all, of thirty signals over a day: not one alarm."""
    walk = Walk(settings, copies=30)
    walk.poisson(rate, DAY, exposure)
    assert walk.alarms == []


@pytest.mark.slow
def test_weeks_of_noise_do_not_alarm() -> None:
    """A year of noise in all at each rate: at most one alarm in a signal and half a year."""
    walk = Walk(TRAFFIC, copies=26 * len(RATES))
    walk.poisson(np.repeat(RATES, 26), 14 * DAY)
    alarms = np.bincount([alarm.column // 26 for alarm in walk.alarms], minlength=len(RATES))
    assert alarms.max() <= 2


@pytest.mark.parametrize("seconds", [10, 600])
@pytest.mark.parametrize("settings", [TRAFFIC, replace(SHARE, least_effect=1.0, alarm_z=7.0)])
def test_noise_does_not_alarm_in_windows_of_any_length(settings: LevelSettings, seconds: int) -> None:
    """What counts windows is not tuned to windows of a minute."""
    walk = Walk(settings, copies=30 * len(RATES), seconds=seconds)
    walk.poisson(np.repeat(RATES, 30), 4000 * seconds / 60, 2000)
    assert walk.alarms == []


def test_clumps_widen_the_spread() -> None:
    """Events that come in tens are learned as such: the same load in clumps does not go on alarming."""
    walk = Walk(TRAFFIC, copies=COPIES)
    for _ in range(2 * DAY):
        walk.observe(10.0 * walk.random.poisson(5, COPIES))
    assert len(walk.alarms_since(2 * HOUR)) <= 1
    assert walk.observe(50.0).clump.mean() == pytest.approx(np.sqrt(10), rel=0.2)


def test_latencies_with_the_noise_of_their_cases_do_not_alarm() -> None:
    """Logarithms that scatter by one over the root of the cases."""
    walk = Walk(LATENCY, copies=30)
    for _ in range(DAY):
        cases = walk.random.integers(5, 60, 30).astype(float)
        walk.observe(5.0 + walk.random.normal(size=30) / np.sqrt(cases), cases)
    assert walk.alarms == []


# ----------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("settings", "usual", "factor", "within"),
    [
        (TRAFFIC, 5, 5, 8),
        (TRAFFIC, 5, 10, 2),
        (TRAFFIC, 50, 2, 8),
        (TRAFFIC, 50, 5, 1),
        (TRAFFIC, 1000, 2, 1),
        (TRAFFIC, 50, 0, 6),
        (TRAFFIC, 50, 0.3, 8),
        (TRAFFIC, 1000, 0.5, 1),
        (SHARE, 0.05, 100, 8),
        (SHARE, 0.5, 10, 15),
        (SHARE, 5, 3, 15),
        (SHARE, 5, 10, 1),
        (SHARE, 50, 2, 8),
    ],
)
def test_a_change_of_this_size_is_found_within_so_many_windows(
    settings: LevelSettings, usual: float, factor: float, within: int
) -> None:
    """All of twenty signals with twenty noises alarm in time, in the right direction, and none before."""
    walk = Walk(settings, copies=COPIES)
    walk.poisson(usual, WARM, 2000)
    walk.poisson(usual * factor, within, 2000)
    assert walk.alarms_since(0) == walk.alarms_since(WARM)
    assert {alarm.column for alarm in walk.alarms} == set(range(COPIES))
    assert {alarm.is_up for alarm in walk.alarms} == {factor > 1}


@pytest.mark.parametrize(
    ("settings", "usual", "factor"),
    [(TRAFFIC, 1000, 1.3), (TRAFFIC, 5, 0.5), (SHARE, 5, 0.1), (SHARE, 500, 1.25)],
)
def test_a_change_that_does_not_matter_does_not_alarm(
    settings: LevelSettings, usual: float, factor: float
) -> None:
    """Below the least effect, with too few events, or in a direction that nobody asked for."""
    walk = Walk(settings, copies=COPIES)
    walk.poisson(usual, WARM, 2000)
    walk.poisson(usual * factor, HOUR, 2000)
    assert walk.alarms == []


def test_errors_that_grow_slowly_are_found() -> None:
    """A share of errors that doubles in half an hour alarms within three quarters of one."""
    walk = Walk(SHARE, copies=COPIES)
    walk.poisson(20, WARM, 2000)
    walk.poisson(lambda minute: 20 * (1 + (minute - WARM) / 30), 45, 2000)
    assert len({alarm.column for alarm in walk.alarms}) == COPIES


def test_a_latency_that_grows_is_found_and_one_that_falls_is_not() -> None:
    """Half as slow again is found within minutes, twice as fast never."""
    for shift, found in ((np.log(1.5), True), (-np.log(2), False)):
        walk = Walk(LATENCY, copies=COPIES)
        for minute in range(WARM + 30):
            mean = 4.0 + (shift if minute >= WARM else 0.0)
            walk.observe(mean + walk.random.normal(size=COPIES) / np.sqrt(60), 60.0)
        assert len({alarm.column for alarm in walk.alarms}) == COPIES * found


def test_an_episode_ends_after_five_calm_minutes_whatever_the_windows() -> None:
    """One episode, open for the calm that ends it."""
    for seconds, calm in ((10, 30), (60, 5), (600, 2)):
        walk = Walk(TRAFFIC, seconds=seconds)
        walk.poisson(6000 / seconds, 200 * seconds / 60)
        assert walk.observe(500.0).is_open.all()
        lasted = 0
        while walk.observe(100.0).is_open.all():
            lasted += 1
        assert lasted == calm - 1
        assert len(walk.alarms) == 1


# ------------------------------------------------------------------------------------------ seasons


def working_week(rate: float) -> Rate:
    """A day's rhythm; at the weekend, which comes and goes within hours, a third of it."""
    day = daily(rate, 0.6)

    def at(minute: float) -> float:
        edge = min(abs(minute % (7 * DAY) - 5 * DAY), minute % (7 * DAY), 7 * DAY - minute % (7 * DAY))
        weekend = minute % (7 * DAY) >= 5 * DAY
        share = min(1.0, edge / (6 * HOUR)) / 2
        return day(minute) * (1 - (0.5 + (share if weekend else -share)) * 2 / 3)

    return at


def test_the_second_day_of_a_rhythm_does_not_alarm() -> None:
    """One day is enough to know the hours."""
    walk, day = Walk(TRAFFIC, copies=3 * COPIES), daily(1, 0.8)
    walk.poisson(lambda minute: day(minute) * np.repeat([2, 20, 200], COPIES), 2 * DAY)
    assert walk.alarms == []


@pytest.mark.slow
def test_the_first_weekend_and_the_monday_after_do_not_alarm() -> None:
    """Days of another kind stand in with their shape, and how the day goes is followed."""
    walk, week = Walk(TRAFFIC, copies=2 * COPIES, start_us=MONDAY_US + 3 * DAY_US), working_week(1)
    walk.poisson(lambda minute: week(minute + 3 * DAY) * np.repeat([5, 50], COPIES), 5 * DAY)
    assert walk.alarms == []


@pytest.mark.slow
def test_weeks_of_days_and_weekends_do_not_alarm() -> None:
    """Twenty signals for three weeks."""
    walk = Walk(TRAFFIC, copies=COPIES)
    walk.poisson(working_week(60), 21 * DAY)
    assert walk.alarms == []


@pytest.mark.parametrize(
    ("zone", "opens_at"),
    [("UTC", 8 * HOUR + 35), ("Asia/Kolkata", 8 * HOUR), ("America/New_York", 7 * HOUR + 50)],
)
def test_a_service_that_closes_at_night_alarms_on_its_first_day_only(zone: str, opens_at: int) -> None:
    """The first opening and closing are news; that the next days have the same steps is no alarm."""
    calendar = Calendar(zone=ZoneInfo(zone), days_off=frozenset())
    local_us = calendar.local_us(MONDAY_US) - MONDAY_US

    def rate(minute: float) -> float:
        local = (minute + local_us / 60_000_000) % DAY
        return 60.0 if opens_at <= local < opens_at + 12 * HOUR else 0.0

    walk = Walk(TRAFFIC, copies=COPIES, calendar=calendar)
    walk.poisson(rate, 4 * DAY)
    assert walk.alarms
    assert [alarm for alarm in walk.alarms if alarm.minute >= 1.2 * DAY] == []


def test_a_surge_is_found_within_the_rhythm() -> None:
    """Three times the usual of the hour alarms at the top of the day and at night."""
    for hour in (4, 12):
        walk = Walk(TRAFFIC, copies=COPIES)
        rate = daily(100, 0.8)
        walk.poisson(rate, 3 * DAY + hour * HOUR)
        walk.poisson(lambda minute, rate=rate: 3 * rate(minute), 5)
        assert len({alarm.column for alarm in walk.alarms_since(3 * DAY)}) == COPIES


def surge(walk: Walk, rate: Rate, minutes: int) -> list[Alarm]:
    since = walk.minute
    walk.poisson(lambda minute: 4 * rate(minute), minutes)
    return walk.alarms_since(since)


def test_a_poisoned_hour_does_not_blind_the_next_day() -> None:
    """The same surge alarms again a day later, and the day between is as usual."""
    walk, rate = Walk(TRAFFIC, copies=COPIES), daily(100, 0.5)
    walk.poisson(rate, 2 * DAY + 10 * HOUR)
    assert len(surge(walk, rate, HOUR)) == COPIES
    walk.poisson(rate, 23 * HOUR)
    assert len(surge(walk, rate, 5)) == COPIES
    assert len(walk.alarms) == 2 * COPIES


def test_an_anomaly_does_not_widen_the_band() -> None:
    """What is expected after an hour of a surge is what was expected before it."""
    walk = Walk(TRAFFIC, copies=COPIES)
    before = walk.poisson(100, DAY)
    surge(walk, lambda _: 100.0, HOUR)
    walk.poisson(100, 30)
    after = walk.observe(100.0)
    assert after.high.mean() == pytest.approx(before.high.mean(), rel=0.1)
    assert after.low.mean() == pytest.approx(before.low.mean(), rel=0.1)


def test_an_absurd_window_at_the_beginning_is_outgrown_in_a_day() -> None:
    """A window of errors, while all is learned, blinds for hours, not for weeks."""
    walk = Walk(SHARE)
    walk.poisson(20, 10, 2000)
    walk.observe(1000, 2000)
    walk.poisson(20, 25 * HOUR, 2000)
    assert walk.alarms == []
    walk.poisson(100, 5, 2000)
    assert len(walk.alarms) == 1


def test_what_lasts_a_day_is_the_new_normal() -> None:
    """With a memory that is long enough: an episode of a day, and then none; the next days neither."""
    walk = Walk(replace(TRAFFIC, memory_minutes=24 * 60.0, seasonal=False), copies=COPIES)
    walk.poisson(100, 3 * DAY)
    assert walk.poisson(250, 23 * HOUR).is_open.all()
    assert not walk.poisson(250, 2 * HOUR).is_open.any()
    walk.poisson(250, DAY)
    assert len(walk.alarms) == COPIES


def test_what_outlasts_the_memory_is_no_episode_any_more() -> None:
    """Without anything normal for five times the memory nothing is known to be abnormal."""
    walk = Walk(TRAFFIC, copies=COPIES)
    walk.poisson(100, DAY)
    assert walk.poisson(300, HOUR).is_open.all()
    assert not walk.poisson(300, 2 * HOUR).is_open.any()
    assert len(walk.alarms) == COPIES


@pytest.mark.slow
def test_odd_hours_of_two_days_are_how_the_hour_goes() -> None:
    """A batch that begins to run each night alarms on the first nights, and is learned in the week."""
    walk = Walk(TRAFFIC, copies=5)
    walk.poisson(lambda minute: 500.0 if minute % DAY < HOUR and minute > DAY else 50.0, 9 * DAY)
    days = {minute // DAY for minute in minutes_of(walk.alarms)}
    assert {1, 2} <= days <= {1, 2, 3, 4, 7}  # the Monday before had none


# ----------------------------------------------------------------------------------------- settings


def test_a_young_signal_must_be_off_half_as_far_again() -> None:
    """In the first day a deviation of six deviations is not enough, later it is."""
    for minutes, found in ((WARM, False), (DAY + WARM, True)):
        walk = Walk(replace(TRAFFIC, seasonal=False, memory_minutes=180))
        for _ in range(minutes):
            walk.observe(100.0)
        assert bool(walk.observe(175.0).strength[0] >= 1) == found


def test_nothing_alarms_while_it_learns() -> None:
    """For `learning_windows` windows whatever comes is normal, and says so."""
    walk = Walk(replace(SHARE, learning_windows=30))
    for minute in range(30):
        judged = walk.observe(5.0 if minute != 25 else 500.0, 1000.0)
        assert judged.learning.all()
        assert not judged.is_open.any()
    assert not walk.observe(5.0, 1000.0).learning.any()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, True),
        ({"direction": "down"}, False),
        ({"direction": "up"}, True),
        ({"least_effect": 3.0}, False),
        ({"least_events": 400.0}, False),
        ({"alarm_z": 40.0, "alarm_sum": 1000.0}, False),
        ({"least_spread": 10.0}, False),
        ({"learning_windows": 400.0}, False),
        ({"cautious_hours": 0.0}, True),
    ],
)
def test_each_setting_decides(changes: dict[str, object], found: bool) -> None:
    """Three times the usual 100 alarms by the defaults, and not where a setting says that it is nothing."""
    walk = Walk(replace(TRAFFIC, **changes))
    walk.poisson(100, WARM)
    walk.poisson(300, 2)
    assert bool(walk.alarms) == found


@pytest.mark.parametrize("name", ["memory_minutes", "alarm_z", "alarm_sum", "least_spread"])
def test_settings_that_divide_are_not_zero(name: str) -> None:
    """The error names the setting and the mend."""
    with pytest.raises(ValueError, match=f"{name} must be more than 0"):
        LevelSettings(**{name: 0.0})
