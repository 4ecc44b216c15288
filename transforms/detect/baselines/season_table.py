"""What is usual at an hour of the week, for many signals of one service at once.

The same as seasons.py says for one signal: the mean of the hours seen, each new week weighing
HOUR_WEIGHT; until an hour of the week was seen, the same hour of the days of its kind stands in, and where
there is none, that of any day: its shape is better than none, and how the day goes is followed apart.
Between the middles of two hours the usual value goes in a straight line; but a day may have steps, such as a
service that opens at ten to eight, so whatever is usual within an hour of the time is as usual.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from transforms.detect.baselines.seasons import DAY_HOURS, WEEK_HOURS, Calendar
from transforms.elements import HOUR_US

HOUR_WEIGHT: Final = 0.5
HALF_HOUR_US: Final = HOUR_US // 2

LOG_2: Final = math.log(2)

Numbers = NDArray[Any]
"""float64, one for each signal; NaN where nothing is known."""

AROUND: Final = 5
"""Rows of what `SeasonTable.around` says."""

COLUMNS: Final = WEEK_HOURS + DAY_HOURS
"""An hour of the week each, then an hour of the day each, for hours that were mostly abnormal."""


class SeasonTable:
    """Means by hour of the local week, a row for each signal, NaN where never seen.

    An hour that was mostly abnormal teaches nothing the first time: its mean is kept apart. When the same
    hour of another day is abnormal in the same way, it is how this hour goes, and is learned.
    """

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        self.means, self._odd = numbers[:, :WEEK_HOURS], numbers[:, WEEK_HOURS:]

    @classmethod
    def empty(cls, signals: int) -> SeasonTable:
        return cls(np.full((signals, COLUMNS), np.nan))

    def around(self, calendar: Calendar, time_us: int) -> Numbers:
        """(AROUND, signals): what is usual in the middle of the hour before `time_us`, and of the one after;
        the least and the most that is usual from an hour before to an hour after; and 1 where only days of
        another kind are known. The first four are NaN where nothing is.
        """
        now, stand_in = self._at(calendar, calendar.slot(time_us))
        earlier, later, before, after = (
            np.where(np.isnan(means), now, means)
            for means, _ in (
                self._at(calendar, calendar.slot(time_us + step_us))
                for step_us in (-HALF_HOUR_US, HALF_HOUR_US, -HOUR_US, HOUR_US)
            )
        )
        low, high = (edge(edge(before, now), after) for edge in (np.fmin, np.fmax))
        return np.stack([earlier, later, low, high, stand_in])

    def learn(self, slot: int, means: Numbers) -> None:
        """Count an hour that is over; NaN in `means` says that a signal had none."""
        known = self.means[:, slot]
        updated = np.where(np.isnan(known), means, known + HOUR_WEIGHT * (means - known))
        self.means[:, slot] = np.where(np.isnan(means), known, updated)

    def learn_odd(self, slot: int, means: Numbers, is_events: Numbers) -> None:
        """Keep an hour that was mostly abnormal, or learn it where it is like that of another day."""
        hour = slot % DAY_HOURS
        before = self._odd[:, hour].copy()
        proven = ~np.isnan(before) & ~np.isnan(means) & _alike(means, before, is_events)
        self._odd[:, hour] = np.where(np.isnan(means), before, means)
        self.learn(slot, np.where(proven, means, np.nan))

    def hours_known(self) -> Numbers:
        """How many hours of the week each signal was seen in."""
        return np.asarray((~np.isnan(self.means)).sum(axis=1))

    def _at(self, calendar: Calendar, slot: int) -> tuple[Numbers, Numbers]:
        known = self.means[:, slot]
        missing = np.isnan(known)
        if not missing.any():
            return known, np.zeros_like(known)
        alike = self._mean_of(_slots_alike(calendar, slot))
        foreign = missing & np.isnan(alike)
        if foreign.any():
            alike = np.where(foreign, self._mean_of(_slots_of_hour(slot)), alike)
        return np.where(missing, alike, known), foreign.astype(float)

    def _mean_of(self, slots: Sequence[int]) -> Numbers:
        means = self.means[:, slots]
        seen = ~np.isnan(means)
        counts = seen.sum(axis=1)
        sums = np.where(seen, means, 0.0).sum(axis=1)
        return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))


def _slots_alike(calendar: Calendar, slot: int) -> Sequence[int]:
    day, hour = divmod(slot, DAY_HOURS)
    is_off = day in calendar.days_off
    return [other * DAY_HOURS + hour for other in range(7) if (other in calendar.days_off) == is_off]


def _slots_of_hour(slot: int) -> Sequence[int]:
    return range(slot % DAY_HOURS, WEEK_HOURS, DAY_HOURS)


def _alike(one: Numbers, other: Numbers, is_events: Numbers) -> Numbers:
    """Within a factor of two, give or take an event; logarithms, as far apart."""
    more, less = np.maximum(one, other), np.minimum(one, other)
    return np.asarray(np.where(is_events, more + 1.0 <= 2.0 * (less + 1.0), more - less <= LOG_2))
