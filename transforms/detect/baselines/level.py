"""Level, spread and season of many signals of one service at once, and how far a window is off.

One bank holds all signals of a service, a column of numbers each, so that a window costs some dozens of
vector operations instead of a Python loop over signals. docs/baselines.md gives the formulas and
what they measured.

Two families of signals:

- `events`: a count of events over an exposure, both zero or more: requests in a window (exposure 1),
  errors among lines (exposure: lines). Counts of independent events are Poisson, whose square root has the
  same spread at every level (Anscombe, 1948), so that chance is known before anything was learned.
- `amounts`: the logarithm of something positive (a latency quantile), known from `weight` cases.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, Generic, NamedTuple, TypeVar

import numpy as np

from transforms.detect.baselines.decay import decay_factor
from transforms.detect.baselines.level_settings import LevelSettings, Vectors
from transforms.detect.baselines.level_table import NEW, STATE_VERSION, BankState, Row, find_damage
from transforms.detect.baselines.level_window import ALARM_MEMORY_US, CALM, Judged, LevelWindow, Usual
from transforms.detect.baselines.season_table import AROUND, COLUMNS, HALF_HOUR_US, Numbers, SeasonTable
from transforms.detect.baselines.seasons import LONGEST_HOUR, Calendar
from transforms.elements import DAY_US, HOUR_US

__all__ = [
    "CALM",
    "BankState",
    "Judged",
    "Known",
    "LevelBank",
    "LevelSettings",
    "Vectors",
    "find_damage",
]

SPREAD_US: Final = DAY_US
FORGET_US: Final = 8 * DAY_US  # a signal that was not seen for so long is forgotten


N = TypeVar("N")


class Known(NamedTuple, Generic[N]):
    """What is known of each signal, or of one; `expected`, `low`, `high` are as in `Judged`, NaN if unknown.

    `hours` counts the hours of the week that were seen, NaN where hours do not matter.
    """

    first_us: N
    windows: N
    is_learning: N
    is_open: N
    alarms: N
    expected: N
    low: N
    high: N
    hours: N


class LevelBank:
    """The levels of one service. Decode, observe, encode."""

    def __init__(self, state: BankState) -> None:
        if state.version != STATE_VERSION:
            raise ValueError(f"levels were written in format {state.version}, not {STATE_VERSION}")
        self._state = state
        self.names = state.names
        self._table = np.frombuffer(state.numbers).reshape(Row.ROWS, len(state.names)).copy()
        means = np.frombuffer(state.season).reshape(len(state.seasonal), COLUMNS).copy()
        self._season = SeasonTable(means)

    @property
    def first_us(self) -> Numbers:
        """When each signal was first seen."""
        return np.asarray(self._table[Row.FIRST])

    @property
    def windows(self) -> Numbers:
        """How many windows taught each signal."""
        return np.asarray(self._table[Row.COUNT])

    def encode(self) -> None:
        """Write the numbers back into the state."""
        self._state.numbers = self._table.tobytes()
        self._state.season = self._season.numbers.tobytes()

    def add_signals(self, names: Sequence[str], settings: Sequence[LevelSettings], time_us: int) -> None:
        """Begin columns for `names`, which the bank has not yet."""
        state = self._state
        columns = np.zeros((Row.ROWS, len(names)))
        columns[Row.FIRST] = columns[Row.SEEN] = time_us
        self._table = np.concatenate([self._table, columns], axis=1)
        seasonal = [name for name, setting in zip(names, settings, strict=True) if setting.seasonal]
        if seasonal:
            added = SeasonTable.empty(len(seasonal)).numbers
            self._season = SeasonTable(np.concatenate([self._season.numbers, added]))
            state.seasonal = [*state.seasonal, *seasonal]
            state.around = b""
        state.names = self.names = [*state.names, *names]

    def forget_signals(self, time_us: int, always: Collection[str] = ()) -> None:
        """Drop the columns of signals that were not seen for FORGET_US, but not those named in `always`."""
        is_kept = np.array([name in always for name in self.names], dtype=bool)
        self._keep(is_kept | (self._table[Row.SEEN] >= time_us - FORGET_US))

    def _keep(self, keep: Numbers) -> None:
        if keep.all():
            return
        state = self._state
        names = [name for name, kept in zip(self.names, keep, strict=True) if kept]
        rows = [name in names for name in state.seasonal]
        self._season = SeasonTable(self._season.numbers[rows])
        state.seasonal = [name for name, kept in zip(state.seasonal, rows, strict=True) if kept]
        self._table = self._table[:, keep]
        state.names = self.names = names
        state.around = b""

    def merge_signals(self, merged: Mapping[str, str]) -> None:
        """Of each pair of names (old to new), count what was learned of the old one to the new one.

        For counts of parts over the same whole: patterns that became one. Of their hours, those of the new
        one stay.
        """
        state = self._state
        dropped = []
        for old, new in sorted(merged.items()):
            if old not in self.names or old == new:
                continue
            if new in self.names:
                self._add_up(self.names.index(new), self.names.index(old))
                dropped.append(old)
            else:
                state.names = self.names = [new if name == old else name for name in self.names]
                state.seasonal = [new if name == old else name for name in state.seasonal]
        self.drop_signals(dropped)

    def _add_up(self, into: int, other: int) -> None:
        """Let column `into` say what both columns together do: the sum of their rates."""
        one, two = self._table[:, into].copy(), self._table[:, other].copy()
        more, less = (one, two) if one[Row.WEIGHT] >= two[Row.WEIGHT] else (two, one)
        for weight, values in ((Row.WEIGHT, [Row.VALUE, Row.TREND]), (Row.NEW_WEIGHT, [Row.NEW_VALUE])):
            if less[weight] > 0:
                more[values] += less[values] * (more[weight] / less[weight])
        more[Row.FIRST], more[Row.SEEN] = (
            min(one[Row.FIRST], two[Row.FIRST]),
            max(one[Row.SEEN], two[Row.SEEN]),
        )
        self._table[:, into] = more

    def follow_settings(self, settings: Sequence[LevelSettings]) -> None:
        """Begin or forget the hours of signals whose `seasonal` has changed; all hours are seen anew."""
        state = self._state
        wanted = [name for name, setting in zip(self.names, settings, strict=True) if setting.seasonal]
        rows = dict(zip(state.seasonal, self._season.numbers, strict=True))
        season = SeasonTable.empty(len(wanted))
        for place, name in enumerate(wanted):
            if name in rows:
                season.numbers[place] = rows[name]
        self._season, state.seasonal, state.around = season, wanted, b""

    def observe(
        self, time_us: int, values: Numbers, weights: Numbers, settings: Vectors, calendar: Calendar
    ) -> Judged:
        """Judge a window by those before it, then learn it. A weight of 0 says: nothing was observed.

        `values` are events, or logarithms of amounts; `weights` are exposures, or cases.
        """
        self._begin_hour(time_us, settings, calendar)
        self._decay(time_us, settings)
        window = LevelWindow(self._table, settings, values, weights, self._usual(calendar, time_us), time_us)
        judged = window.judge()
        window.learn(judged)
        self._state.newest_us = max(time_us, self._state.newest_us)
        return judged

    def drop_signals(self, names: Iterable[str]) -> None:
        """Forget these signals, such as those that another detector is to judge."""
        dropped = set(names)
        self._keep(np.array([name not in dropped for name in self.names], dtype=bool))

    def skip(self, time_us: int, settings: Vectors, calendar: Calendar) -> None:
        """Let a window pass of which nothing is to be learned, such as one of planned maintenance."""
        self._begin_hour(time_us, settings, calendar)
        self._decay(time_us, settings)
        self._state.newest_us = max(time_us, self._state.newest_us)

    def describe(self, weights: Numbers, settings: Vectors, calendar: Calendar) -> Known[Numbers]:
        """What is known as of the newest window, for windows of these exposures or cases; changes nothing."""
        table, time_us = self._table, self._state.newest_us
        usual = self._usual(calendar, time_us)
        usual = usual._replace(low=usual.center, high=usual.center)
        window = LevelWindow(table, settings, np.zeros_like(weights), weights, usual, time_us)
        faded = np.maximum(0.0, 1.0 - (time_us - table[Row.ALARM_AT]) / ALARM_MEMORY_US)
        hours = np.full(len(self.names), np.nan)
        if self._state.seasonal:
            hours[self._seasonal_columns()] = self._season.hours_known()
        return Known(
            first_us=self.first_us,
            windows=self.windows,
            is_learning=table[Row.COUNT] < settings.learning_windows,
            is_open=table[Row.OPENED] > 0,
            alarms=table[Row.ALARMS] * faded,
            expected=np.where(window.seen, window.expected, np.nan),
            low=np.where(window.seen, window.low, np.nan),
            high=np.where(window.seen, window.high, np.nan),
            hours=hours,
        )

    def _decay(self, time_us: int, settings: Vectors) -> None:
        passed_us = max(0, time_us - self._state.newest_us) if self._state.newest_us >= 0 else 0
        level = settings.fading(passed_us)
        self._table[Row.VALUE : Row.USUAL + 1] *= level
        self._table[NEW] *= level
        self._table[Row.SQUARES : Row.WINDOWS + 1] *= decay_factor(passed_us, SPREAD_US)

    def _usual(self, calendar: Calendar, time_us: int) -> Usual:
        state = self._state
        numbers = np.full((4, len(self.names)), np.nan)
        if state.seasonal:
            # What is known of the hours around changes twice an hour: it is kept meanwhile.
            local_us = calendar.local_us(time_us)
            half_hour = local_us // HALF_HOUR_US
            if state.half_hour != half_hour or len(state.around) != 8 * AROUND * len(state.seasonal):
                state.half_hour = half_hour
                state.around = self._season.around(calendar, time_us).tobytes()
            earlier, later, low, high, stand_in = np.frombuffer(state.around).reshape(AROUND, -1)
            share = (local_us + HALF_HOUR_US) % HOUR_US / HOUR_US
            line = earlier + share * (later - earlier)
            columns = self._seasonal_columns()
            numbers[:, columns] = line, low, high, stand_in
        known = ~np.isnan(numbers[0])
        center, low, high, stand_in = np.where(known, numbers, 0.0)
        return Usual(known, center, low, high, stand_in > 0)

    def _seasonal_columns(self) -> list[int]:
        return list(_columns(tuple(self.names), tuple(self._state.seasonal)))

    def _begin_hour(self, time_us: int, settings: Vectors, calendar: Calendar) -> None:
        """What is usual changes when an hour is over: the one under way has no say in it."""
        state, table = self._state, self._table
        hour, slot = time_us // HOUR_US, calendar.slot(time_us)
        if slot == state.slot and hour - state.hour <= LONGEST_HOUR:
            return
        if state.seasonal and state.hour >= 0:
            columns = self._seasonal_columns()
            normal, normal_weight, odd, odd_weight = table[
                [Row.HOUR_VALUE, Row.HOUR_WEIGHT, Row.ODD_VALUE, Row.ODD_WEIGHT]
            ][:, columns]
            is_odd = odd_weight > normal_weight
            is_young = time_us - table[Row.FIRST, columns] < DAY_US + HOUR_US
            means, odd_means = _mean(normal, normal_weight), _mean(odd, odd_weight)
            self._season.learn(state.slot, np.where(is_odd, np.where(is_young, odd_means, np.nan), means))
            if is_odd.any():
                self._season.learn_odd(
                    state.slot, np.where(is_odd, odd_means, np.nan), settings.is_events[columns]
                )
        table[Row.HOUR_VALUE : Row.HOUR_WEIGHT + 1] = table[Row.ODD_VALUE : Row.ODD_WEIGHT + 1] = 0.0
        state.hour, state.slot = hour, slot


def _mean(value: Numbers, weight: Numbers) -> Numbers:
    return np.asarray(np.where(weight > 0, value / np.where(weight > 0, weight, 1.0), np.nan))


@lru_cache(maxsize=1024)
def _columns(names: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[int, ...]:
    places = {name: place for place, name in enumerate(names)}
    return tuple(places[name] for name in wanted)
