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

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec
import numpy as np

from transforms.detect.baselines.decay import decay_factor
from transforms.detect.baselines.interface import DAY_US, HOUR_US, MINUTE_US
from transforms.detect.baselines.season_table import AROUND, COLUMNS, HALF_HOUR_US, Numbers, SeasonTable
from transforms.detect.baselines.seasons import LONGEST_HOUR, WEEK_HOURS, Calendar

STATE_VERSION: Final = 1

SPREAD_US: Final = DAY_US
ALARM_MEMORY_US: Final = 14 * DAY_US
FORGET_US: Final = 8 * DAY_US  # a signal that was not seen for so long is forgotten

DRIFT: Final = 1.0  # of each deviation, so much is taken for chance before it is summed
CLIP: Final = 4.0  # one window adds at most so much to the sum
CALM: Final = 2.0  # a window less off than this is calm
CALM_WINDOWS: Final = 5  # an episode is over after so many calm windows
PRIOR_EVENTS: Final = 10.0  # a day is as usual until so many events (or cases) say otherwise
PRIOR_WINDOWS: Final = 10.0  # the spread is as chance has it until so many windows say otherwise
RAREST: Final = 0.02  # events a window: what never happened may still happen so often
BAND: Final = 3.0  # deviations to either side; what teaches is cut to it
SUSPICIOUS: Final = 0.5  # a window this close to an alarm teaches nothing
FOREIGN: Final = 4.0  # the variance is so many times as large where only days of another kind are known
LARGEST: Final = 1e18  # no sum of a bank comes near it
CAUTION: Final = 1.5  # a young signal must be off so many times further


class LevelSettings(msgspec.Struct, frozen=True):
    """How one signal is judged. The defaults are the product's."""

    family: Literal["events", "amounts"] = "events"
    direction: Literal["up", "down", "both"] = "both"
    seasonal: bool = False
    memory_minutes: float = 180.0  # of the level, and of how far a day is off the usual
    alarm_z: float = 6.0  # one window so many deviations off alarms
    alarm_sum: float = 12.0  # so does a sum of smaller ones (CUSUM, Page 1954)
    least_effect: float = 0.3  # a relative change below this does not matter, however sure it is
    least_events: float = 5.0  # events, or expected events, or cases, that a deviation must be made of
    least_spread: float = 1.0  # of one window's deviation, in units of chance
    learning_windows: float = 20.0
    cautious_hours: float = 24.0  # for so long an alarm must be half as strong again
    adopt_hours: float = 24.0  # what was abnormal for so long is the new normal


class _Row:
    """Rows of the bank's table: one number of each signal. Times are microseconds since 1970."""

    FIRST, SEEN, ALARM_AT, ALARMS, OPENED = range(5)
    # What normal windows teach: sums that fade, then those of the hour under way, then a plain count.
    VALUE, WEIGHT, TREND, TODAY, USUAL, SQUARES, WINDOWS, HOUR_VALUE, HOUR_WEIGHT, COUNT = range(5, 15)
    # What abnormal windows teach: those of the hour under way, and sums that fade, perhaps the new normal.
    ODD_VALUE, ODD_WEIGHT, NEW_VALUE, NEW_WEIGHT, NEW_USUAL = range(15, 20)
    # Sums of deviations, and what they are made of since one of them left zero.
    UP, DOWN, RUN_VALUE, RUN_EXPECTED, RUN_WEIGHT, RUN_WINDOWS = range(20, 26)
    # The episode that is open.
    EPISODE_WINDOWS, EPISODE_ABNORMAL, CALM = range(26, 29)
    ROWS = 29


_TAUGHT: Final = slice(_Row.VALUE, _Row.COUNT + 1)
_NEW: Final = slice(_Row.NEW_VALUE, _Row.NEW_USUAL + 1)
_RUN: Final = slice(_Row.RUN_VALUE, _Row.RUN_WINDOWS + 1)
_SIGNED: Final = [
    *(_Row.VALUE, _Row.TREND, _Row.TODAY, _Row.USUAL, _Row.HOUR_VALUE, _Row.ODD_VALUE),
    *(_Row.NEW_VALUE, _Row.NEW_USUAL, _Row.RUN_VALUE, _Row.RUN_EXPECTED),
]
"""Rows that hold sums of logarithms, which may be negative."""
_SUMMED: Final = [_Row.VALUE, _Row.TREND, _Row.NEW_VALUE]
_EPISODE: Final = slice(_Row.NEW_VALUE, _Row.CALM + 1)
"""All that ends with an episode."""


class BankState(msgspec.Struct, array_like=True, gc=False):
    """All memory of one service's levels. Tables are little-endian doubles, a column for each name."""

    version: int = STATE_VERSION
    names: list[str] = []
    numbers: bytes = b""
    seasonal: list[str] = []
    season: bytes = b""
    newest_us: int = -1
    hour: int = -1  # hours since 1970, UTC, in which the hour under way began
    slot: int = -1  # its hour of the local week
    half_hour: int = -1
    around: bytes = b""  # of the season around it: see SeasonTable.around


def find_damage(state: BankState) -> str:
    """Why a bank cannot go on from `state`, in a few words; "" if it can."""
    if state.version != STATE_VERSION:
        return f"its levels are of version {state.version}, not {STATE_VERSION}"
    names, seasonal = state.names, state.seasonal
    if len(set(names)) != len(names) or len(set(seasonal)) != len(seasonal) or not {*seasonal} <= {*names}:
        return "names of signals are doubled or missing"
    if len(state.numbers) != 8 * _Row.ROWS * len(names) or len(state.season) != 8 * COLUMNS * len(seasonal):
        return "its tables do not fit its signals"
    table, season = np.frombuffer(state.numbers), np.frombuffer(state.season)
    if not np.isfinite(table).all() or np.isinf(season).any():
        return "its tables hold what is no number"
    if (np.abs(table) > LARGEST).any() or (np.abs(season) > LARGEST).any():
        return "its tables hold numbers beyond all bounds"
    if (np.delete(table.reshape(_Row.ROWS, len(names)), _SIGNED, axis=0) < 0).any():
        return "its tables hold negative counts or times"
    return "" if -1 <= state.slot < WEEK_HOURS else "its hour is not of the week"


class Judged(NamedTuple):
    """What one window says of each signal. `strength` 1 alarms.

    `expected`, `low` and `high` are in the unit of the value: events, or logarithms of amounts.
    `learning` are those that know too little to alarm.
    """

    strength: Numbers
    z: Numbers
    clump: Numbers  # what a deviation usually is, in units of chance: 1 for independent events
    expected: Numbers
    low: Numbers
    high: Numbers
    is_up: Numbers
    is_open: Numbers
    opened_us: Numbers
    learning: Numbers
    alarms_before: Numbers


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
        self._table = np.frombuffer(state.numbers).reshape(_Row.ROWS, len(state.names)).copy()
        means = np.frombuffer(state.season).reshape(len(state.seasonal), COLUMNS).copy()
        self._season = SeasonTable(means)

    @property
    def first_us(self) -> Numbers:
        """When each signal was first seen."""
        return np.asarray(self._table[_Row.FIRST])

    @property
    def windows(self) -> Numbers:
        """How many windows taught each signal."""
        return np.asarray(self._table[_Row.COUNT])

    def encode(self) -> None:
        """Write the numbers back into the state."""
        self._state.numbers = self._table.tobytes()
        self._state.season = self._season.numbers.tobytes()

    def add_signals(self, names: Sequence[str], settings: Sequence[LevelSettings], time_us: int) -> None:
        """Begin columns for `names`, which the bank has not yet."""
        state = self._state
        columns = np.zeros((_Row.ROWS, len(names)))
        columns[_Row.FIRST] = columns[_Row.SEEN] = time_us
        self._table = np.concatenate([self._table, columns], axis=1)
        seasonal = [name for name, setting in zip(names, settings, strict=True) if setting.seasonal]
        if seasonal:
            added = SeasonTable.empty(len(seasonal)).numbers
            self._season = SeasonTable(np.concatenate([self._season.numbers, added]))
            state.seasonal = [*state.seasonal, *seasonal]
            state.around = b""
        state.names = self.names = [*state.names, *names]

    def forget_signals(self, time_us: int) -> None:
        """Drop the columns of signals that were not seen for FORGET_US."""
        self._keep(self._table[_Row.SEEN] >= time_us - FORGET_US)

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

        For counts of parts over the same whole, which are not seasonal: patterns that became one.
        """
        places = {name: place for place, name in enumerate(self.names)}
        dropped = []
        for old, new in sorted(merged.items()):
            if old not in places:
                continue
            if new in places:
                self._table[_SUMMED, places[new]] += self._table[_SUMMED, places[old]]
                dropped.append(places[old])
            else:
                self.names[places[old]] = new
                places[new] = places.pop(old)
        if dropped:
            self._table = np.delete(self._table, dropped, axis=1)
            gone = set(dropped)
            self.names = [name for place, name in enumerate(self.names) if place not in gone]
        self._state.names = self.names

    def observe(
        self, time_us: int, values: Numbers, weights: Numbers, settings: Vectors, calendar: Calendar
    ) -> Judged:
        """Judge a window by those before it, then learn it. A weight of 0 says: nothing was observed.

        `values` are events, or logarithms of amounts; `weights` are exposures, or cases.
        """
        self._begin_hour(time_us, settings, calendar)
        self._decay(time_us, settings)
        window = _Window(self._table, settings, values, weights, self._usual(calendar, time_us), time_us)
        judged = window.judge()
        window.learn(judged)
        self._state.newest_us = time_us
        return judged

    def drop_signals(self, names: Iterable[str]) -> None:
        """Forget these signals, such as those that another detector is to judge."""
        dropped = set(names)
        self._keep(np.array([name not in dropped for name in self.names], dtype=bool))

    def skip(self, time_us: int, settings: Vectors, calendar: Calendar) -> None:
        """Let a window pass of which nothing is to be learned, such as one of planned maintenance."""
        self._begin_hour(time_us, settings, calendar)
        self._decay(time_us, settings)
        self._state.newest_us = time_us

    def describe(self, weights: Numbers, settings: Vectors, calendar: Calendar) -> Known[Numbers]:
        """What is known as of the newest window, for windows of these exposures or cases; changes nothing."""
        table, time_us = self._table, self._state.newest_us
        usual = self._usual(calendar, time_us)
        usual = usual._replace(low=usual.center, high=usual.center)
        window = _Window(table, settings, np.zeros_like(weights), weights, usual, time_us)
        faded = np.maximum(0.0, 1.0 - (time_us - table[_Row.ALARM_AT]) / ALARM_MEMORY_US)
        hours = np.full(len(self.names), np.nan)
        if self._state.seasonal:
            hours[self._seasonal_columns()] = self._season.hours_known()
        return Known(
            first_us=self.first_us,
            windows=self.windows,
            is_learning=table[_Row.COUNT] < settings.learning_windows,
            is_open=table[_Row.OPENED] > 0,
            alarms=table[_Row.ALARMS] * faded,
            expected=np.where(window.seen, window.expected, np.nan),
            low=np.where(window.seen, window.low, np.nan),
            high=np.where(window.seen, window.high, np.nan),
            hours=hours,
        )

    def _decay(self, time_us: int, settings: Vectors) -> None:
        passed_us = max(0, time_us - self._state.newest_us) if self._state.newest_us >= 0 else 0
        level = settings.fading(passed_us)
        self._table[_Row.VALUE : _Row.USUAL + 1] *= level
        self._table[_NEW] *= level
        self._table[_Row.SQUARES : _Row.WINDOWS + 1] *= decay_factor(passed_us, SPREAD_US)

    def _usual(self, calendar: Calendar, time_us: int) -> _Usual:
        state = self._state
        numbers = np.full((4, len(self.names)), np.nan)
        if state.seasonal:
            # What is known of the hours around changes twice an hour: it is kept meanwhile.
            local_us = calendar.local_us(time_us)
            half_hour = local_us // HALF_HOUR_US
            if state.half_hour != half_hour or not state.around:
                state.half_hour = half_hour
                state.around = self._season.around(calendar, time_us).tobytes()
            earlier, now, later, stand_in = np.frombuffer(state.around).reshape(AROUND, -1)
            share = (local_us + HALF_HOUR_US) % HOUR_US / HOUR_US
            line = earlier + share * (later - earlier)
            columns = self._seasonal_columns()
            numbers[:, columns] = line, np.minimum(line, now), np.maximum(line, now), stand_in
        known = ~np.isnan(numbers[0])
        center, low, high, stand_in = np.where(known, numbers, 0.0)
        return _Usual(known, center, low, high, stand_in > 0)

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
                [_Row.HOUR_VALUE, _Row.HOUR_WEIGHT, _Row.ODD_VALUE, _Row.ODD_WEIGHT]
            ][:, columns]
            is_odd = odd_weight > normal_weight
            is_young = time_us - table[_Row.FIRST, columns] < DAY_US + HOUR_US
            means, odd_means = _mean(normal, normal_weight), _mean(odd, odd_weight)
            self._season.learn(state.slot, np.where(is_odd, np.where(is_young, odd_means, np.nan), means))
            if is_odd.any():
                self._season.learn_odd(
                    state.slot, np.where(is_odd, odd_means, np.nan), settings.is_events[columns]
                )
        table[_Row.HOUR_VALUE : _Row.HOUR_WEIGHT + 1] = table[_Row.ODD_VALUE : _Row.ODD_WEIGHT + 1] = 0.0
        state.hour, state.slot = hour, slot


def _mean(value: Numbers, weight: Numbers) -> Numbers:
    return np.asarray(np.where(weight > 0, value / np.where(weight > 0, weight, 1.0), np.nan))


@lru_cache(maxsize=1024)
def _columns(names: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[int, ...]:
    places = {name: place for place, name in enumerate(names)}
    return tuple(places[name] for name in wanted)


class Vectors:
    """The settings of a bank's signals, column by column."""

    def __init__(self, settings: Sequence[LevelSettings]) -> None:
        def column(name: str) -> Any:
            return np.array([getattr(setting, name) for setting in settings], dtype=float)

        self.is_events = np.array([setting.family == "events" for setting in settings], dtype=bool)
        self.wants_up = np.array([setting.direction != "down" for setting in settings], dtype=bool)
        self.wants_down = np.array([setting.direction != "up" for setting in settings], dtype=bool)
        self.alarm_z, self.alarm_sum = column("alarm_z"), column("alarm_sum")
        self.grows, self.least_events = 1.0 + column("least_effect"), column("least_events")
        self.least_variance = column("least_spread") ** 2
        self._memory_us = column("memory_minutes") * MINUTE_US
        self._fading: tuple[int, Numbers] = 0, np.ones(len(settings))
        self.learning_windows = column("learning_windows")
        self.cautious_us = column("cautious_hours") * HOUR_US
        self.adopt_us = column("adopt_hours") * HOUR_US
        # A logarithm grows by log(1 + effect); to first order that is what 2 (g - 1) / (g + 1) gives.
        self.least_difference = 2 * (self.grows - 1) / (self.grows + 1)

    def fading(self, passed_us: int) -> Numbers:
        """What is left of a level's sums after `passed_us`; nearly always asked for the same time."""
        if self._fading[0] != passed_us:
            self._fading = passed_us, np.exp(-passed_us / self._memory_us)
        return self._fading[1]


class _Usual(NamedTuple):
    """What is usual at a time: where `known`, about `center`, and anything from `low` to `high`.

    `stand_in` says that it is known from days of another kind only.
    """

    known: Numbers
    center: Numbers
    low: Numbers
    high: Numbers
    stand_in: Numbers


class _Window:
    """One window against the table."""

    def __init__(
        self,
        table: Numbers,
        settings: Vectors,
        values: Numbers,
        weights: Numbers,
        usual: _Usual,
        time_us: int,
    ) -> None:
        self.table, self.settings, self.time_us = table, settings, time_us
        self.values, self.weights = values, weights
        self.observed = weights > 0
        self.usual = usual
        self._measure()

    def _measure(self) -> None:
        """How far the window is off, in units of what it usually is."""
        table, settings, weights = self.table, self.settings, self.weights
        events, total = settings.is_events, table[_Row.WEIGHT]
        known = total > 0
        divisor = np.where(known, total, 1.0)
        low, rate, high = self._expected_rates(divisor)
        exposure = np.where(events, weights, 1.0)
        # Within what is usual around the hour, nothing is off: a rhythm may have steps.
        self.expected = np.where(
            self.observed, _between(self.values, low * exposure, high * exposure), rate * exposure
        )
        self.roots = _root(self.expected)
        self.chance = np.sqrt(np.where(self.observed, weights, 1.0))
        raw = np.where(
            events, _deviance(self.values, self.expected), (self.values - self.expected) * self.chance
        )
        variance = (table[_Row.SQUARES] + PRIOR_WINDOWS * settings.least_variance) / (
            table[_Row.WINDOWS] + PRIOR_WINDOWS
        )
        variance = np.maximum(settings.least_variance, variance)
        self.clump = np.sqrt(variance)
        variance = variance * np.where(self.usual.stand_in & events, FOREIGN, 1.0)
        self.spread = np.sqrt(variance * (1.0 + weights / divisor))
        self.seen = known & self.observed
        self.raw = raw * self.seen
        self.z = self.raw / self.spread
        half = BAND * self.spread
        low_root = np.maximum(self.roots - half / 2, _root(_ZERO))
        self.low = np.where(
            events, np.maximum(low_root * low_root - 0.375, 0.0), self.expected - half / self.chance
        )
        self.high = np.where(events, (self.roots + half / 2) ** 2 - 0.375, self.expected + half / self.chance)

    def _expected_rates(self, divisor: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """By the level and its trend; where the hour's usual value is known, by that and how the day goes.

        Lowest, middle and highest.
        """
        table, events, usual = self.table, self.settings.is_events, self.usual
        level = table[_Row.VALUE] / divisor
        # Twice the mean less the mean of means: the lag of a mean behind a trend, taken back (Brown, 1963).
        trended = np.where(events, np.maximum(0.0, 2 * level - table[_Row.TREND] / divisor), level)
        today, normal = table[_Row.TODAY], table[_Row.USUAL]
        factor = np.where(events, (today + PRIOR_EVENTS) / (normal + PRIOR_EVENTS), 1.0)
        offset = np.where(events, 0.0, (today - normal) / (table[_Row.WEIGHT] + PRIOR_EVENTS))

        def rate(usual_rate: Numbers) -> Numbers:
            return np.asarray(np.where(usual.known, usual_rate * factor + offset, trended))

        return rate(usual.low), rate(usual.center), rate(usual.high)

    # --------------------------------------------------------------------------------- judging

    def judge(self) -> Judged:
        table, settings = self.table, self.settings
        self._add_to_sums()
        up, down = table[_Row.UP], table[_Row.DOWN]
        learning = table[_Row.COUNT] < settings.learning_windows
        by_window = np.abs(self.z) / settings.alarm_z
        by_sum = np.maximum(up, down) / settings.alarm_sum
        is_up = np.where(by_window >= by_sum, self.z > 0, up > down)
        strength = np.zeros_like(self.z)
        if ((np.maximum(by_window, by_sum) >= SUSPICIOUS) & ~learning).any():
            strength = self._strength(by_window, by_sum) * ~learning
        alarms_before = table[_Row.ALARMS].copy()
        if (strength >= 1.0).any() or table[_Row.OPENED].any():
            self._follow_episodes(strength)
        return Judged(
            strength=strength,
            z=self.z,
            clump=self.clump,
            expected=self.expected,
            low=self.low,
            high=self.high,
            is_up=is_up,
            is_open=table[_Row.OPENED] > 0,
            opened_us=table[_Row.OPENED].copy(),
            learning=learning,
            alarms_before=alarms_before,
        )

    def _strength(self, by_window: Numbers, by_sum: Numbers) -> Numbers:
        """How far beyond an alarm; 0 where the deviation is too small to matter, however sure it is."""
        table, settings = self.table, self.settings
        is_events, weight = settings.is_events, table[_Row.RUN_WEIGHT]
        divisor = np.where(is_events | (weight <= 0), 1.0, weight)
        run_value, run_expected = table[_Row.RUN_VALUE] / divisor, table[_Row.RUN_EXPECTED] / divisor
        window = by_window * _matters(settings, self.z > 0, self.values, self.expected, self.weights)
        run = by_sum * _matters(settings, table[_Row.UP] > table[_Row.DOWN], run_value, run_expected, weight)
        is_young = self.time_us - table[_Row.FIRST] < settings.cautious_us
        return np.asarray(np.maximum(window, run) * self.seen / np.where(is_young, CAUTION, 1.0))

    def _add_to_sums(self) -> None:
        table, settings = self.table, self.settings
        up, down = table[_Row.UP], table[_Row.DOWN]
        led_up = up >= down
        step = _between(self.z, -CLIP, CLIP)
        drift = np.where(self.seen, DRIFT, 0.0)
        most = 2.0 * settings.alarm_sum
        table[_Row.UP] = up = _between(up + step - drift, 0.0, most)
        table[_Row.DOWN] = down = _between(down - step - drift, 0.0, most)
        # A run begins where a sum leaves zero, and anew where the other sum takes the lead.
        goes_on = ((up > 0) | (down > 0)) & ((led_up == (up >= down)) | ~self.seen)
        scale = np.where(settings.is_events, 1.0, self.weights)
        added = np.stack([self.values * scale, self.expected * scale, self.weights, np.ones_like(scale)])
        table[_RUN] = table[_RUN] * goes_on + added * (self.seen & ((up > 0) | (down > 0)))

    def _follow_episodes(self, strength: Numbers) -> None:
        table, time_us = self.table, self.time_us
        was_open = table[_Row.OPENED] > 0
        is_new = (strength >= 1.0) & ~was_open
        is_calm = np.abs(self.z) < CALM
        table[_Row.CALM] = np.where(self.seen, np.where(is_calm, table[_Row.CALM] + 1, 0.0), table[_Row.CALM])
        over = was_open & (table[_Row.CALM] >= CALM_WINDOWS)
        table[_EPISODE] *= ~over
        table[_Row.OPENED] = np.where(over, 0.0, np.where(is_new, time_us, table[_Row.OPENED]))
        faded = np.maximum(0.0, 1.0 - (time_us - table[_Row.ALARM_AT]) / ALARM_MEMORY_US)
        table[_Row.ALARMS] = np.where(is_new, table[_Row.ALARMS] * faded + 1.0, table[_Row.ALARMS])
        table[_Row.ALARM_AT] = np.where(is_new, time_us, table[_Row.ALARM_AT])
        counted = self.seen & (table[_Row.OPENED] > 0)
        table[_Row.EPISODE_WINDOWS] += counted
        table[_Row.EPISODE_ABNORMAL] += counted & ~is_calm

    # -------------------------------------------------------------------------------- learning

    def learn(self, judged: Judged) -> None:
        """A normal window teaches; one of an open episode is kept apart, as what may be the new normal."""
        table, settings, weights = self.table, self.settings, self.weights
        teaches = self.observed & ~judged.is_open & (judged.strength < SUSPICIOUS)
        scale = np.where(settings.is_events, 1.0, weights)
        trusted = judged.learning | ~self.seen
        amount = np.where(trusted, self.values, _between(self.values, self.low, self.high)) * scale
        usual_amount = self.usual.center * weights
        most = np.where(judged.learning, np.inf, BAND * self.spread)
        squares = np.minimum(np.abs(self.raw), most) ** 2
        weight = table[_Row.WEIGHT] + weights
        level = (table[_Row.VALUE] + amount) / np.where(weight > 0, weight, 1.0)
        compared, knows_hour = teaches & self.seen, teaches & self.usual.known
        table[_TAUGHT] += np.stack(
            [
                amount * teaches,
                weights * teaches,
                level * weights * teaches,
                amount * knows_hour,
                usual_amount * knows_hour,
                squares * compared,
                compared,
                amount * teaches,
                weights * teaches,
                teaches,
            ]
        )
        happened = self.observed & ~(settings.is_events & (self.values == 0))
        table[_Row.SEEN] = np.where(happened, self.time_us, table[_Row.SEEN])
        apart = self.observed & ~teaches
        if apart.any():
            value = self.values * scale
            table[_Row.ODD_VALUE : _Row.ODD_WEIGHT + 1] += np.stack([value, weights]) * apart
            table[_NEW] += np.stack([value, weights, usual_amount]) * (apart & judged.is_open)
            self._adopt()

    def _adopt(self) -> None:
        """What was abnormal for long enough, and most of the time, is the new normal."""
        table = self.table
        lasted = (table[_Row.OPENED] > 0) & (self.time_us - table[_Row.OPENED] >= self.settings.adopt_us)
        proven = lasted & (2 * table[_Row.EPISODE_ABNORMAL] >= table[_Row.EPISODE_WINDOWS])
        if not proven.any():
            return
        value, weight, usual = table[_NEW]
        for row, new in (
            (_Row.VALUE, value),
            (_Row.WEIGHT, weight),
            (_Row.TREND, value),
            (_Row.TODAY, value),
            (_Row.USUAL, usual),
        ):
            table[row] = np.where(proven, new, table[row])
        table[_EPISODE] *= ~proven
        table[_Row.OPENED] *= ~proven


_ZERO: Final = np.zeros(1)


def _deviance(counts: Numbers, expected: Numbers) -> Numbers:
    """Signed root of the Poisson deviance: about normal, also for the small counts of rare events.

    Source: McCullagh & Nelder, "Generalized Linear Models" (1989), 2.4.
    """
    mean = np.maximum(expected, RAREST)
    surplus = counts * np.log(np.maximum(counts, 1e-300) / mean) - (counts - mean)
    return np.asarray(np.sign(counts - mean) * np.sqrt(np.maximum(0.0, 2.0 * surplus)))


def _root(counts: Numbers) -> Numbers:
    return np.asarray(np.sqrt(counts + 0.375))


def _between(numbers: Numbers, low: Any, high: Any) -> Numbers:
    return np.asarray(np.minimum(np.maximum(numbers, low), high))


def _matters(
    settings: Vectors, is_up: Numbers, values: Numbers, expected: Numbers, cases: Numbers
) -> Numbers:
    """Whether a deviation is large enough in itself, and in a direction that is asked for."""
    more, less = np.maximum(values, expected), np.minimum(values, expected)
    of_events = (more + 1.0 >= settings.grows * (less + 1.0)) & (more >= settings.least_events)
    of_amounts = (more - less >= settings.least_difference) & (cases >= settings.least_events)
    wanted = np.where(is_up, settings.wants_up, settings.wants_down)
    return np.asarray(np.where(settings.is_events, of_events, of_amounts) & wanted)
