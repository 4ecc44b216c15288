"""A service that stopped, against one that is quiet, closes at night, or works in batches."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from transforms.detect.silence import CHANCE, FORGET_US, Silence, SilenceMemory, watch_silence
from transforms.elements import MINUTE_US

HOUR, DAY = 60, 24 * 60
START_US = 1_768_780_800_000_000  # a Monday, 00:00 UTC


class Service:
    """Windows of a minute; `expected` is what levels know of each."""

    def __init__(self, expected: Callable[[int], float] | float, clump: float = 1.0, minute: int = 0) -> None:
        self.memory, self.minute, self.clump = SilenceMemory(), minute, clump
        self.expected = expected if callable(expected) else (lambda _, rate=expected: rate)

    def log(self, lines: int, minutes: int = 1) -> list[Silence]:
        found = []
        for _ in range(minutes):
            time_us = START_US + self.minute * MINUTE_US
            silence = watch_silence(self.memory, time_us, lines, self.expected(self.minute), self.clump)
            found += [silence] if silence else []
            self.minute += 1
        return found


@pytest.mark.parametrize(
    ("rate", "windows"), [(1000, 2), (12, 2), (6, 2), (5, 3), (1, 12), (0.5, 24), (0.1, 116)]
)
def test_a_service_that_stops_is_silent_when_chance_cannot_explain_it(rate: float, windows: int) -> None:
    """As soon as e to the minus expected lines is below CHANCE, and never after one window alone."""
    service = Service(rate)
    assert service.log(3, 100) == []
    silences = service.log(0, 300)
    assert silences[0].windows == windows == max(2, math.ceil(-math.log(CHANCE) / rate))
    assert silences[0].rate == rate
    assert [silence.windows for silence in silences] == [*range(windows, 301)]
    assert silences[0].strength >= 1
    assert {silence.began_us for silence in silences} == {START_US + 100 * MINUTE_US}


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5, 2, 10])
def test_a_quiet_service_is_not_silent(rate: float) -> None:
    """A month of windows of a Poisson process: about one chance in a hundred thousand a pause."""
    random, service = np.random.default_rng(1), Service(rate)
    silences = [service.log(int(lines)) for lines in random.poisson(rate, 30 * DAY)]
    assert not any(silences)


def test_lines_in_clumps_are_missed_later() -> None:
    """Of lines that come nine at a time, nine times as many must be missing."""
    service = Service(5.0, clump=3.0)
    service.log(9, 10)
    assert service.log(0, 100)[0].windows == math.ceil(9 * -math.log(CHANCE) / 5)


def test_where_nothing_is_expected_nothing_is_missed() -> None:
    """A night without traffic, as the hours know it, is no silence, and neither is what nobody knows yet."""
    service = Service(lambda minute: 0.0 if minute % DAY < 8 * HOUR else 20.0)
    for _ in range(3):
        assert service.log(0, 8 * HOUR) == []
        assert service.log(20, 16 * HOUR) == []
    assert Service(math.nan).log(0, DAY) == []
    assert Service(0.0).log(0, DAY) == []


def test_one_line_ends_a_silence() -> None:
    """The next pause is counted from its own beginning."""
    service = Service(10.0, minute=3 * DAY)
    service.memory.first_us = START_US
    assert service.log(0, 20)
    assert service.log(1) == []
    service.memory.pauses.clear()
    assert service.log(0, 2)[0].windows == 2


def batches(service: Service, days: int) -> list[int]:
    """Ten minutes of lines, fifty of none, each hour. Returns the minutes of alarms."""
    found = []
    for _ in range(days * 24):
        service.log(60, 10)
        found += [service.minute for _ in service.log(0, 50)[:1]]
    return found


def test_a_batch_that_rests_most_of_the_hour_is_learned_on_its_first_day() -> None:
    """Pauses of the first day and a half are its own; later ones of that length are known."""
    service = Service(10.0)
    alarms = batches(service, 5)
    assert alarms
    assert [minute for minute in alarms if minute > 2 * DAY] == []


def test_a_pause_must_be_twice_as_long_as_what_is_known() -> None:
    """A batch that stays away is told of after twice its rest."""
    service = Service(10.0)
    batches(service, 3)
    service.log(60, 10)
    assert service.log(0, 300)[0].windows == 2 * 50 + 1


def old_service(rate: float = 10.0) -> Service:
    """One that was watched for days without a pause."""
    service = Service(rate, minute=9 * HOUR)
    service.log(10, 2 * DAY)
    return service


def test_an_outage_is_not_a_habit_and_one_on_two_days_is() -> None:
    """An hour without lines alarms on the first and the second day, and is known on the third."""
    service, alarms = old_service(), []
    for _ in range(4):
        alarms.append(bool(service.log(0, 60)))
        service.log(10, 23 * HOUR)
    assert alarms == [True, True, False, False]


def test_two_outages_of_one_morning_are_one_day() -> None:
    """What comes twice within twelve hours has not come on two days."""
    service = old_service()
    for _ in range(3):
        assert service.log(0, 20)
        service.log(10, 5)
    assert {pause.times for pause in service.memory.pauses.values()} == {1}


def test_a_known_pause_is_forgotten() -> None:
    """After eight days without it, it alarms again, and its length is not taken up."""
    service = old_service()
    for _ in range(2):
        service.log(0, 60)
        service.log(10, 23 * HOUR)
    service.log(10, FORGET_US // MINUTE_US)
    assert service.log(0, 10)
    service.log(10)
    assert [(pause.windows, pause.times) for pause in service.memory.pauses.values()] == [(10, 1)]


def test_a_pause_that_hardly_alarms_is_known_at_once() -> None:
    """One that chance explains once in a hundred times and more seldom widens what is known."""
    service = old_service(1.0)
    assert service.log(0, 9) == []
    service.log(1, DAY - 9)
    assert service.log(0, 18) == []
    assert len(service.log(0)) == 1


def test_pauses_are_known_by_the_hour_they_begin_in_and_its_neighbors() -> None:
    """A pause at nine says nothing of one at noon; one that begins a little earlier is the same."""
    service = old_service()
    for _ in range(2):
        service.log(0, 60)
        service.log(10, 23 * HOUR)
    service.log(10, 23 * HOUR + 50)
    service.log(10, 3 * HOUR)
    assert service.log(0, 3)
