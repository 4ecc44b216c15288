"""The product's detector: one configuration for every signal, no model of its distribution.

A value is abnormal when it is far from everything normal (novelty.py), or when what is left of it after
the hour's usual value is (seasons.py), or when a lively signal stands still (flatness.py). docs/baselines.md
gives the formulas, what they rest on, and what they measured.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from transforms.detect.baselines.cells import LARGEST_VALUE
from transforms.detect.baselines.flatness import Flatness, flat_limit, learn_run
from transforms.detect.baselines.interface import Judgement, Label, Observation
from transforms.detect.baselines.novelty import (
    Measured,
    Novelty,
    NoveltySettings,
    learn_value,
    measure_value,
    new_novelty,
)
from transforms.detect.baselines.reasons import describe_flat, describe_residual, describe_value
from transforms.detect.baselines.seasons import (
    Calendar,
    Season,
    begin_hour,
    learn_usual,
    new_season,
    usual_value,
)
from transforms.elements import DAY_US, HOUR_US

STATE_VERSION: Final = 1
RESIDUAL_RANGES: Final = 2.0
"""A residual is at most the signal's range, to either side of the usual value: its range is twice that."""

FLAT_SCORE: Final = 2.0
"""A flat line scores this many thresholds: an alarm, but no page on its own."""


class LearnedSettings(msgspec.Struct, frozen=True):
    """The defaults are the product's, for every signal. Hours and days are event time."""

    novelty: NoveltySettings = NoveltySettings()
    learning_hours: float = 24.0
    learning_count: int = 100  # observations; learning lasts until both are reached
    silence_hours: float = 8.0  # after an alarm, only a score `louder` times as high is one
    louder: float = 2.0
    fatigue: float = 0.5  # the score is divided by 1 + fatigue × recent alarms
    fatigue_days: float = 14.0  # an alarm counts e**-(age / this)
    hour_weight: float = 0.5  # of the latest day or week in what is usual for an hour
    calendar: Calendar = Calendar()


class LearnedState(msgspec.Struct, array_like=True, gc=False):
    """All memory of one signal. `version` stands first, so that it can be read before the rest."""

    version: int
    values: Novelty
    residuals: Novelty
    season: Season
    flatness: Flatness
    first_us: int = -1
    newest_us: int = -1
    count: int = 0
    alarm_us: int = -1
    alarm_score: float = 0.0
    alarms: float = 0.0  # decayed count, as of `alarm_us`


def new_state() -> LearnedState:
    return LearnedState(STATE_VERSION, new_novelty(), new_novelty(), new_season(), Flatness())


class StateVersionError(ValueError):
    """The state was written by another version of the detector."""


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(LearnedState)


class LearnedDetector:
    """See the module. One object serves one signal; it may be decoded and encoded for every observation."""

    def __init__(self, settings: LearnedSettings, state: LearnedState | None = None) -> None:
        self.settings = settings
        self.state = state or new_state()

    def encode(self) -> bytes:
        return _encoder.encode(self.state)

    def is_learning(self, time_us: int) -> bool:
        """Whether nothing can be judged yet at `time_us`."""
        state, settings = self.state, self.settings
        return (
            state.first_us < 0
            or state.count < settings.learning_count
            or time_us - state.first_us < settings.learning_hours * HOUR_US
        )

    def score_one(self, observation: Observation) -> Judgement:
        time_us, value = observation.event_time_us, _bounded(observation.value)
        threshold = self.settings.novelty.threshold
        found = self._measure(time_us, value)
        low, high = self._band(found.usual)
        if self.is_learning(time_us):
            return Judgement(0.0, "learning", threshold, found.deviation, found.usual, low, high)
        score = self._alarm_score(time_us, found.news)
        if score >= threshold:
            label: Label = "anomalous"
        elif found.deviation >= threshold:
            label = "continuing"
        else:
            return Judgement(score, "normal", threshold, found.deviation, found.usual, low, high)
        reason = self._describe(found, value)
        return Judgement(score, label, threshold, found.deviation, found.usual, low, high, reason)

    def learn_one(self, observation: Observation, judgement: Judgement) -> None:
        state, settings, time_us = self.state, self.settings, observation.event_time_us
        if time_us <= state.newest_us:
            return
        learning = self.is_learning(time_us)
        value = _bounded(observation.value)
        found = self._measure(time_us, value)
        begin_hour(state.season, time_us, settings.calendar.slot(time_us), settings.hour_weight)
        if found.of_residual is not None:
            learns_residuals = learning or self._learns_residuals(time_us)
            learn_value(state.residuals, settings.novelty, found.of_residual, learning=learns_residuals)
        learn_value(state.values, settings.novelty, found.of_value, learning=learning)
        if learning or found.deviation < settings.novelty.threshold:
            learn_usual(state.season, value)
        learn_run(state.flatness, value, learning=learning)
        if judgement.label == "anomalous":
            state.alarms = self._recent_alarms(time_us) + 1.0
            state.alarm_us, state.alarm_score = time_us, judgement.score
        state.first_us = time_us if state.first_us < 0 else state.first_us
        state.newest_us = time_us
        state.count += 1

    def _measure(self, time_us: int, value: float) -> _Found:
        state, settings = self.state, self.settings
        of_value = measure_value(state.values, settings.novelty, time_us, value)
        usual = self._usual(time_us)
        of_residual = None
        if usual is not None:
            scale = RESIDUAL_RANGES * of_value.size
            of_residual = measure_value(state.residuals, settings.novelty, time_us, value - usual, scale)
            if self._learns_residuals(time_us):
                of_residual = Measured(time_us, value - usual, of_residual.size)
        flat_news = flat_deviation = 0.0
        if value == state.flatness.value and (limit := flat_limit(state.flatness)) is not None:
            run = state.flatness.run + 1
            score = FLAT_SCORE * settings.novelty.threshold
            flat_news, flat_deviation = score * (run == limit), score * (run >= limit)
        return _Found(usual, of_value, of_residual, flat_news, flat_deviation)

    def _usual(self, time_us: int) -> float | None:
        """Hours count from the next one on: the hour under way has no say in what is usual."""
        season, settings = self.state.season, self.settings
        return usual_value(season, settings.calendar, settings.calendar.slot(time_us))

    def _learns_residuals(self, time_us: int) -> bool:
        """A day to learn what is usual, and another to learn how far from it is normal."""
        return time_us - self.state.first_us < 2 * self.settings.learning_hours * HOUR_US

    def _alarm_score(self, time_us: int, news: float) -> float:
        state, settings = self.state, self.settings
        if not state.alarms:
            return news
        score = news / (1.0 + settings.fatigue * self._recent_alarms(time_us))
        is_silent = time_us - state.alarm_us < settings.silence_hours * HOUR_US
        return 0.0 if is_silent and score < settings.louder * state.alarm_score else score

    def _recent_alarms(self, time_us: int) -> float:
        age_days = max(0, time_us - self.state.alarm_us) / DAY_US
        return self.state.alarms * math.exp(-age_days / self.settings.fatigue_days)

    def _band(self, usual: float | None) -> tuple[float | None, float | None]:
        """Lowest and highest normal value, for this hour where that is known."""
        values, residuals = self.state.values, self.state.residuals
        low, high = values.low, values.high
        if low > high:
            return None, None
        if usual is not None and residuals.known_range:
            narrow_low, narrow_high = max(low, usual + residuals.low), min(high, usual + residuals.high)
            if narrow_low <= narrow_high:
                return narrow_low, narrow_high
        return low, high

    def _describe(self, found: _Found, value: float) -> str:
        state = self.state
        if found.flat_deviation == found.deviation:
            return describe_flat(value, state.flatness.run + 1, state.flatness.longest)
        if found.of_value.deviation == found.deviation or found.usual is None:
            return describe_value(value, state.values.low, state.values.high)
        low, high = found.usual + state.residuals.low, found.usual + state.residuals.high
        return describe_residual(value, found.usual, low, high)


class _Found(msgspec.Struct, frozen=True, gc=False):
    """One value, measured in three ways. `of_residual` is None where nothing is usual yet."""

    usual: float | None
    of_value: Measured
    of_residual: Measured | None
    flat_news: float
    flat_deviation: float

    @property
    def news(self) -> float:
        of_residual = self.of_residual.news if self.of_residual else 0.0
        return max(self.of_value.news, of_residual, self.flat_news)

    @property
    def deviation(self) -> float:
        of_residual = self.of_residual.deviation if self.of_residual else 0.0
        return max(self.of_value.deviation, of_residual, self.flat_deviation)


def decode_detector(encoded: bytes, settings: LearnedSettings) -> LearnedDetector:
    """The detector whose `encode` gave `encoded`. Raises StateVersionError for another version's state."""
    if len(encoded) < 2 or encoded[1] != STATE_VERSION:
        raise StateVersionError(
            f"the baseline's state is not of version {STATE_VERSION}: drop it and let it be learned again"
        )
    return LearnedDetector(settings, _decoder.decode(encoded))


def _bounded(value: float) -> float:
    if math.isnan(value):
        raise ValueError("a signal's value is NaN: leave such an observation out")
    return min(max(value, -LARGEST_VALUE), LARGEST_VALUE)
