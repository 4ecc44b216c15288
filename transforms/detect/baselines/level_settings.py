"""How signals are judged by their levels: one signal's settings, and those of a bank column by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np

from transforms.detect.baselines.season_table import Numbers
from transforms.elements import HOUR_US, MINUTE_US


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

    def __post_init__(self) -> None:
        for name in ("memory_minutes", "alarm_z", "alarm_sum", "least_spread"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0")


CALM_SECONDS: Final = 300
LEAST_CALM_WINDOWS: Final = 2


class Vectors:
    """The settings of a bank's signals, column by column, for windows of `window_seconds`.

    Of all numbers that count windows, only those depend on their length which stand for a time: how long it
    must be calm. The others (`learning_windows`, PRIOR_WINDOWS, RAREST) say how many observations something
    takes, and so the same for windows of any length.
    """

    def __init__(self, settings: Sequence[LevelSettings], window_seconds: int = 60) -> None:
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
        self.calm_windows = max(LEAST_CALM_WINDOWS, CALM_SECONDS // window_seconds)
        self.learning_windows = column("learning_windows")
        self.cautious_us = column("cautious_hours") * HOUR_US
        self.adopt_us = column("adopt_hours") * HOUR_US
        # A logarithm grows by log(1 + effect); to first order that is what 2 (g - 1) / (g + 1) gives.
        self.least_difference = 2 * (self.grows - 1) / (self.grows + 1)

    def fading(self, passed_us: int) -> Numbers:
        """What is left of a level's sums after `passed_us`; nearly always asked for the same time."""
        known = self._fading  # threads share this object: look at it once
        if known[0] != passed_us:
            known = self._fading = passed_us, np.exp(-passed_us / self._memory_us)
        return known[1]
