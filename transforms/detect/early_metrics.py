"""The cautious early start of metrics: what alarms while a series is still learned.

A baseline learns for a day before it judges, and an hour of a full processor in that day would be learned
as normal. Only one thing is sure so early: half of a limit (of processor, memory, disk) or more is in use,
and never was nearly so much: it is above everything seen by a fifth of the limit, and by three times the
range of everything seen. Such a value alarms at once, since the next sample of a metric comes a minute later
or more, and is not learned.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from transforms.detect.baselines.interface import Judgement
from transforms.detect.baselines.reasons import describe_value
from transforms.elements import HOUR_US

LEAST_WINDOWS: Final = 30
LEAST_USE: Final = 0.5
LEAST_RISE: Final = 0.2
"""Of the limit, and at the same time LEAST_RANGES of all that was seen."""

LEAST_RANGES: Final = 3.0
LONGEST_HELD: Final = 60
"""Windows in a row that may be held apart; after these it is how this series is."""

SILENCE_US: Final = HOUR_US

_RESOURCE: Final = re.compile(
    r"cpu|processor|memory|\bmem\b|mem_|disk|heap|storage|volume|filesystem|inode|swap|gpu", re.I
)
_SHARE_OF_1: Final = re.compile(r"utili[sz]|ratio|fraction", re.I)
_PERCENT: Final = re.compile(r"percent|pct|usage_?rate", re.I)


class EarlyMemory(msgspec.Struct, array_like=True, gc=False):
    """`windows` were learned, `held` in a row up to the newest were held apart; the newest alarm's time."""

    windows: int = 0
    held: int = 0
    alarm_us: int = -1


def share_limit(metric_type: str, unit: str) -> float | None:
    """What a metric that says how much of a resource is in use reads when all of it is; None for others.

    Names say so: a utilization, ratio or fraction is of 1, unless the unit is "%"; a percentage or a usage
    rate of 100. What is counted in bytes, cores or calls has no limit that the job knows.
    """
    name = metric_type.rpartition("googleapis.com/")[2]
    if unit not in {"", "1", "%", "10^2.%"} or _RESOURCE.search(name) is None:
        return None
    if unit == "%" or (not unit and _PERCENT.search(name)):
        return 100.0
    return 1.0 if _SHARE_OF_1.search(name) else None


def judge_early(
    memory: EarlyMemory, time_us: int, value: float, judgement: Judgement, limit: float
) -> Judgement:
    """What to think of a value whose `judgement` is that it is still learned; mutates `memory`.

    The label is `learning` as before, or `anomalous`, or `continuing` for what was told within an hour. The
    score is the rise, as a share of the limit.
    """
    low, high = judgement.band_low, judgement.band_high
    if low is None or high is None or memory.windows < LEAST_WINDOWS or memory.held >= LONGEST_HELD:
        return _calm(memory, judgement)
    rise = value - high
    if value < LEAST_USE * limit or rise < max(LEAST_RISE * limit, LEAST_RANGES * (high - low)):
        return _calm(memory, judgement)
    memory.held += 1
    is_news = memory.alarm_us < 0 or time_us - memory.alarm_us >= SILENCE_US
    if is_news:
        memory.alarm_us = time_us
    share = min(1.0, rise / limit)
    return msgspec.structs.replace(
        judgement,
        score=share if is_news else 0.0,
        label="anomalous" if is_news else "continuing",
        deviation=share,
        reason=describe_value(value, low, high),
    )


def _calm(memory: EarlyMemory, judgement: Judgement) -> Judgement:
    memory.windows += 1
    memory.held = 0
    return judgement
