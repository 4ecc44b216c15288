"""Walks of many independent signals through a bank of levels, for the tests of levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from transforms.detect.baselines.level import BankState, Judged, LevelBank, LevelSettings, Vectors
from transforms.detect.baselines.season_table import Numbers
from transforms.detect.baselines.seasons import Calendar

MONDAY_US = 1_768_780_800_000_000  # 2026-01-19T00:00:00Z
HOUR, DAY = 60, 24 * 60  # in minutes

TRAFFIC = LevelSettings(seasonal=True, least_effect=0.5, memory_minutes=20)
SHARE = LevelSettings(direction="up", least_effect=0.5)
LATENCY = LevelSettings(
    family="amounts", direction="up", seasonal=True, least_effect=0.3, least_spread=0.5, memory_minutes=60
)

Rate = Callable[[float], Numbers | float]
"""What is expected at a minute since the start, of all signals or of each."""


class Alarm(NamedTuple):
    """An episode that began at `minute` in the signal `column`."""

    minute: int
    column: int
    is_up: bool


class Walk:
    """A bank with `copies` equal signals, which are walked on minute by minute."""

    def __init__(
        self,
        settings: LevelSettings,
        copies: int = 1,
        *,
        start_us: int = MONDAY_US,
        calendar: Calendar | None = None,
        seconds: int = 60,
        seed: int = 0,
    ) -> None:
        self.start_us, self.seconds, self.calendar = start_us, seconds, calendar or Calendar()
        self.state, self.copies, self.windows = BankState(), copies, 0
        self.bank = LevelBank(self.state)
        self.bank.add_signals([f"signal {n}" for n in range(copies)], [settings] * copies, start_us)
        self.vectors = Vectors([settings] * copies, seconds)
        self.random = np.random.default_rng(seed)
        self.alarms: list[Alarm] = []

    @property
    def time_us(self) -> int:
        return self.start_us + self.windows * self.seconds * 1_000_000

    @property
    def minute(self) -> float:
        return self.windows * self.seconds / 60

    def observe(self, values: Numbers | float, weights: Numbers | float = 1.0) -> Judged:
        values, weights = (
            np.broadcast_to(np.asarray(one, dtype=float), self.copies) for one in (values, weights)
        )
        judged = self.bank.observe(self.time_us, values, weights, self.vectors, self.calendar)
        for column in np.flatnonzero(judged.is_open & (judged.opened_us == self.time_us)).tolist():
            self.alarms.append(Alarm(int(self.minute), column, bool(judged.is_up[column])))
        self.windows += 1
        return judged

    def poisson(self, rate: Rate | Numbers | float, minutes: float, exposure: float = 1.0) -> Judged:
        """Independent events at `rate` a minute, times the exposure."""
        judged = None
        for _ in range(round(minutes * 60 / self.seconds)):
            mean = (rate(self.minute) if callable(rate) else rate) * self.seconds / 60
            judged = self.observe(self.random.poisson(mean, self.copies), exposure)
        assert judged is not None
        return judged

    def alarms_since(self, minute: float) -> list[Alarm]:
        return [alarm for alarm in self.alarms if alarm.minute >= minute]


def daily(rate: float, depth: float = 0.5, weekend: float = 1.0) -> Rate:
    """A rhythm with its top at noon; `weekend` is the factor of days 6 and 7."""

    def at(minute: float) -> float:
        day = 1.0 + depth * math.sin(2 * math.pi * (minute / DAY - 0.25))
        return rate * day * (weekend if minute // DAY % 7 >= 5 else 1.0)

    return at


def minutes_of(alarms: Sequence[Alarm]) -> list[int]:
    return [alarm.minute for alarm in alarms]
