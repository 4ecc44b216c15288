"""One window against the table: how far each signal is off, what that makes of it, what it teaches."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from transforms.detect.baselines.level_settings import Vectors
from transforms.detect.baselines.level_table import EPISODE, NEW, RUN, TAUGHT, Row
from transforms.detect.baselines.season_table import Numbers
from transforms.elements import DAY_US

ALARM_MEMORY_US: Final = 14 * DAY_US
DRIFT: Final = 1.0  # of each deviation, so much is taken for chance before it is summed
CLIP: Final = 4.0  # one window adds at most so much to the sum
CALM: Final = 2.0  # a window less off than this is calm
PRIOR_EVENTS: Final = 10.0  # a day is as usual until so many events (or cases) say otherwise
PRIOR_WINDOWS: Final = 10.0  # the spread is as chance has it until so many windows say otherwise
RAREST: Final = 0.02  # events a window: what never happened may still happen so often
BAND: Final = 3.0  # deviations to either side; what teaches is cut to it
LEARNING_BAND: Final = 10.0  # so far a window of the learning time widens the spread, however absurd it is
FADED: Final = 1e-6  # of a window's exposure: a level known from less is not known any longer
SUSPICIOUS: Final = 0.5  # a window this close to an alarm teaches nothing
FOREIGN: Final = 4.0  # the variance is so many times as large where only days of another kind are known
CAUTION: Final = 1.5  # a young signal must be off so many times further


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


class Usual(NamedTuple):
    """What is usual at a time: where `known`, about `center`, and anything from `low` to `high`.

    `stand_in` says that it is known from days of another kind only.
    """

    known: Numbers
    center: Numbers
    low: Numbers
    high: Numbers
    stand_in: Numbers


class LevelWindow:
    """One window against the table."""

    def __init__(
        self,
        table: Numbers,
        settings: Vectors,
        values: Numbers,
        weights: Numbers,
        usual: Usual,
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
        events, total = settings.is_events, table[Row.WEIGHT]
        known = total > FADED
        divisor = np.where(known, total, 1.0)
        low, rate, high = self._expected_rates(divisor)
        exposure = np.where(events, weights, 1.0)
        # Within what is usual around the hour, nothing is off: a rhythm may have steps.
        self.expected = np.where(
            self.observed, _between(self.values, low * exposure, high * exposure), rate * exposure
        )
        self.roots = _root(np.where(events, self.expected, 0.0))
        self.chance = np.sqrt(np.where(self.observed, weights, 1.0))
        raw = np.where(
            events, _deviance(self.values, self.expected), (self.values - self.expected) * self.chance
        )
        variance = (table[Row.SQUARES] + PRIOR_WINDOWS * settings.least_variance) / (
            table[Row.WINDOWS] + PRIOR_WINDOWS
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
        level = table[Row.VALUE] / divisor
        # Twice the mean less the mean of means: the lag of a mean behind a trend, taken back (Brown, 1963).
        trended = np.where(events, np.maximum(0.0, 2 * level - table[Row.TREND] / divisor), level)
        today, normal = table[Row.TODAY], table[Row.USUAL]
        self.factor = np.where(events, (today + PRIOR_EVENTS) / (normal + PRIOR_EVENTS), 1.0)
        self.offset = np.where(events, 0.0, (today - normal) / (table[Row.WEIGHT] + PRIOR_EVENTS))

        def rate(usual_rate: Numbers) -> Numbers:
            return np.asarray(np.where(usual.known, usual_rate * self.factor + self.offset, trended))

        return rate(usual.low), rate(usual.center), rate(usual.high)

    # --------------------------------------------------------------------------------- judging

    def judge(self) -> Judged:
        table, settings = self.table, self.settings
        self._add_to_sums()
        up, down = table[Row.UP], table[Row.DOWN]
        learning = table[Row.COUNT] < settings.learning_windows
        by_window = np.abs(self.z) / settings.alarm_z
        by_sum = np.maximum(up, down) / settings.alarm_sum
        is_up = np.where(by_window >= by_sum, self.z > 0, up > down)
        strength = np.zeros_like(self.z)
        suspicious = (np.maximum(by_window, by_sum) >= SUSPICIOUS) & ~learning
        if suspicious.any():  # mostly none is, and the rest need not be computed
            strength = self._strength(by_window, by_sum) * suspicious
        alarms_before = np.maximum(0.0, table[Row.ALARMS] - (table[Row.OPENED] > 0))  # not its own episode
        if (strength >= 1.0).any() or table[Row.OPENED].any():
            self._follow_episodes(strength)
        return Judged(
            strength=strength,
            z=self.z,
            clump=self.clump,
            expected=self.expected,
            low=self.low,
            high=self.high,
            is_up=is_up,
            is_open=table[Row.OPENED] > 0,
            opened_us=table[Row.OPENED].copy(),
            learning=learning,
            alarms_before=alarms_before,
        )

    def _strength(self, by_window: Numbers, by_sum: Numbers) -> Numbers:
        """How far beyond an alarm; 0 where the deviation is too small to matter, however sure it is."""
        table, settings = self.table, self.settings
        is_events, weight = settings.is_events, table[Row.RUN_WEIGHT]
        divisor = np.where(is_events | (weight <= 0), 1.0, weight)
        run_value, run_expected = table[Row.RUN_VALUE] / divisor, table[Row.RUN_EXPECTED] / divisor
        window = by_window * _matters(settings, self.z > 0, self.values, self.expected, self.weights)
        run = by_sum * _matters(settings, table[Row.UP] > table[Row.DOWN], run_value, run_expected, weight)
        is_young = self.time_us - table[Row.FIRST] < settings.cautious_us
        return np.asarray(np.maximum(window, run) * self.seen / np.where(is_young, CAUTION, 1.0))

    def _add_to_sums(self) -> None:
        table, settings = self.table, self.settings
        up, down = table[Row.UP], table[Row.DOWN]
        led_up = up >= down
        step = _between(self.z, -CLIP, CLIP)
        drift = np.where(self.seen, DRIFT, 0.0)
        most = 2.0 * settings.alarm_sum
        table[Row.UP] = up = _between(up + step - drift, 0.0, most)
        table[Row.DOWN] = down = _between(down - step - drift, 0.0, most)
        # A run begins where a sum leaves zero, and anew where the other sum takes the lead.
        goes_on = ((up > 0) | (down > 0)) & ((led_up == (up >= down)) | ~self.seen)
        scale = np.where(settings.is_events, 1.0, self.weights)
        added = np.stack([self.values * scale, self.expected * scale, self.weights, np.ones_like(scale)])
        table[RUN] = table[RUN] * goes_on + added * (self.seen & ((up > 0) | (down > 0)))

    def _follow_episodes(self, strength: Numbers) -> None:
        table, time_us = self.table, self.time_us
        was_open = table[Row.OPENED] > 0
        is_new = (strength >= 1.0) & ~was_open
        is_calm = np.abs(self.z) < CALM
        calm = np.where(self.seen, np.where(is_calm, table[Row.CALM] + 1, 0.0), table[Row.CALM])
        table[Row.CALM] = calm * was_open
        over = table[Row.CALM] >= self.settings.calm_windows
        table[EPISODE] *= ~over
        table[Row.OPENED] = np.where(over, 0.0, np.where(is_new, time_us, table[Row.OPENED]))
        faded = np.maximum(0.0, 1.0 - (time_us - table[Row.ALARM_AT]) / ALARM_MEMORY_US)
        table[Row.ALARMS] = np.where(is_new, table[Row.ALARMS] * faded + 1.0, table[Row.ALARMS])
        table[Row.ALARM_AT] = np.where(is_new, time_us, table[Row.ALARM_AT])
        counted = self.seen & (table[Row.OPENED] > 0)
        table[Row.EPISODE_WINDOWS] += counted
        table[Row.EPISODE_ABNORMAL] += counted & ~is_calm

    # -------------------------------------------------------------------------------- learning

    def learn(self, judged: Judged) -> None:
        """A normal window teaches; one of an open episode is kept apart, as what may be the new normal."""
        table, settings, weights = self.table, self.settings, self.weights
        teaches = self.observed & ~judged.is_open & (judged.strength < SUSPICIOUS)
        scale = np.where(settings.is_events, 1.0, weights)
        trusted = judged.learning | ~self.seen
        amount = np.where(trusted, self.values, _between(self.values, self.low, self.high)) * scale
        # Of all that is usual around the hour, what comes nearest: a step at an hour's edge is no trend.
        usual_amount = (self.expected - self.offset) / self.factor * scale * self.usual.known
        most = np.where(judged.learning, LEARNING_BAND, BAND) * self.spread
        squares = np.minimum(np.abs(self.raw), most) ** 2
        weight = table[Row.WEIGHT] + weights
        level = (table[Row.VALUE] + amount) / np.where(weight > 0, weight, 1.0)
        compared, knows_hour = teaches & self.seen, teaches & self.usual.known
        table[TAUGHT] += np.stack(
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
        table[Row.SEEN] = np.where(happened, self.time_us, table[Row.SEEN])
        apart = self.observed & ~teaches
        if apart.any():
            value = self.values * scale
            table[Row.ODD_VALUE : Row.ODD_WEIGHT + 1] += np.stack([value, weights]) * apart
            table[NEW] += np.stack([value, weights, usual_amount]) * (apart & judged.is_open)
            self._adopt()

    def _adopt(self) -> None:
        """What was abnormal for long enough, and most of the time, is the new normal."""
        table = self.table
        lasted = (table[Row.OPENED] > 0) & (self.time_us - table[Row.OPENED] >= self.settings.adopt_us)
        proven = lasted & (2 * table[Row.EPISODE_ABNORMAL] >= table[Row.EPISODE_WINDOWS])
        if not proven.any():
            return
        value, weight, usual = table[NEW]
        for row, new in (
            (Row.VALUE, value),
            (Row.WEIGHT, weight),
            (Row.TREND, value),
            (Row.TODAY, value * self.usual.known),
            (Row.USUAL, usual),
        ):
            table[row] = np.where(proven, new, table[row])
        table[EPISODE] *= ~proven
        table[Row.OPENED] *= ~proven


_ZERO: Final = np.zeros(1)


def _deviance(counts: Numbers, expected: Numbers) -> Numbers:
    """Signed root of the Poisson deviance: about normal, also for the small counts of rare events.

    Source: McCullagh & Nelder, "Generalized Linear Models" (1989), 2.4.
    """
    mean = np.maximum(expected, RAREST)
    surplus = counts * np.log(np.where(counts > 0, counts, mean) / mean) - (counts - mean)
    return np.asarray(np.sign(counts - mean) * np.sqrt(np.maximum(0.0, 2.0 * surplus)))


def _root(counts: Numbers) -> Numbers:
    return np.asarray(np.sqrt(np.maximum(counts, 0.0) + 0.375))


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
