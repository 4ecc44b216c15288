"""Silence: a service that stopped, told apart from one that is merely quiet.

A service without lines is silent when chance can no longer explain it: with E lines expected since the last
one, and lines that come in clumps of s² (the square of the learned spread), no line at all has the
probability exp(-E / s²). Below CHANCE it is silence. What is expected follows the hour of the week, so a
night without traffic expects nothing, and is no silence.

Pauses that belong to a service are learned by the hour in which they begin: one that chance could hardly
explain but that stayed below the alarm is known at once; one that alarmed, when it has come on two days (in
the first day and a half: once). A silence must be twice as long as what is known.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from transforms.elements import DAY_US, HOUR_US

CHANCE: Final = 1e-5
LEAST_WINDOWS: Final = 2
SUSPICIOUS: Final = 1e-2
LONGER_THAN_KNOWN: Final = 2
FORGET_US: Final = 8 * DAY_US
LEARNING_US: Final = DAY_US + 12 * HOUR_US
"""A pause that ends in a service's first day and a half is its own, such as how it closes at night."""

_HOURS: Final = 24
_ENOUGH: Final = -math.log(CHANCE)
_ODD: Final = -math.log(SUSPICIOUS)


class KnownPause(msgspec.Struct, array_like=True, gc=False):
    """A pause that began at one hour of the day. `times` counts days on which it alarmed."""

    windows: int
    seen_us: int
    times: int = 0


class SilenceMemory(msgspec.Struct, array_like=True, gc=False):
    """The pause under way, and those known, by the hour of the day (UTC) in which they began."""

    first_us: int = 0  # when the service was first watched
    windows: int = 0
    began_us: int = 0
    expected: float = 0.0  # lines expected since, divided by the clump size
    last_rate: float = 0.0  # lines a window that were expected when it began
    alarmed: bool = False
    pauses: dict[int, KnownPause] = {}


class Silence(msgspec.Struct, frozen=True):
    """A service has been silent for `windows` windows, in which `missing` lines would have come."""

    windows: int
    began_us: int
    rate: float  # lines a window that were usual
    strength: float  # 1 alarms: how far beyond chance it is


def watch_silence(
    memory: SilenceMemory, time_us: int, lines: int, expected: float, clump: float
) -> Silence | None:
    """Count a window that begins at `time_us`; tell of the pause as long as it is a silence.

    `expected` are the lines that were to be expected in this window (NaN where nothing is known), `clump`
    how much more they scatter than independent events (1).
    """
    memory.first_us = memory.first_us or time_us
    if lines:
        _end_pause(memory, time_us)
        return None
    if math.isnan(expected):
        return None
    if not memory.windows:
        memory.began_us, memory.last_rate = time_us, expected
    memory.windows += 1
    memory.expected += expected / max(1.0, clump) ** 2
    known = _known_windows(memory, time_us)
    if memory.windows < max(LEAST_WINDOWS, LONGER_THAN_KNOWN * known + 1) or memory.expected < _ENOUGH:
        return None
    memory.alarmed = True
    return Silence(memory.windows, memory.began_us, memory.last_rate, memory.expected / _ENOUGH)


def _known_windows(memory: SilenceMemory, time_us: int) -> int:
    hour = memory.began_us // HOUR_US
    near = (memory.pauses.get((hour + step) % _HOURS) for step in (-1, 0, 1))
    return max(
        (
            pause.windows
            for pause in near
            if pause and pause.times != 1 and time_us - pause.seen_us < FORGET_US
        ),
        default=0,
    )


def _end_pause(memory: SilenceMemory, time_us: int) -> None:
    if memory.windows and (memory.expected >= _ODD or memory.alarmed):
        hour = memory.began_us // HOUR_US % _HOURS
        known = memory.pauses.get(hour)
        if known and time_us - known.seen_us >= FORGET_US:
            known = None
        is_new_day = known is None or time_us - known.seen_us > DAY_US // 2
        times = (known.times if known else 0) + (memory.alarmed and is_new_day)
        if time_us - memory.first_us < LEARNING_US:
            times += memory.alarmed  # as if it had come on two days
        windows = max(memory.windows, known.windows if known else 0)
        memory.pauses[hour] = KnownPause(windows, time_us, times)
    memory.windows, memory.expected, memory.alarmed = 0, 0.0, False
