"""Signals that are judged one by one, each by a detector of its own, instead of in the bank of levels.

Numeric fields of jsonPayload, whose values may be anything, and whatever an operator's file gives to
`learned` or to a detector of the operator's.
"""

from __future__ import annotations

import logging
import math
from functools import lru_cache
from typing import Final

import msgspec

from transforms.detect.baselines.book import DEFAULT_DETECTOR, SignalPolicy
from transforms.detect.baselines.interface import Judgement, Observation
from transforms.detect.baselines.registry import make_detector
from transforms.detect.baselines.seasons import Calendar
from transforms.detect.deviations import Deviation
from transforms.elements import MICROSECONDS, WindowSummary

OWN_DETECTOR: Final = "learned"
"""Of signals whose values may be anything: fields and metrics."""

FULL_STRENGTH: Final = 6.0
"""Strength of a score of 1; a score at the threshold has 1."""

_MINUTE_US: Final = 60 * MICROSECONDS
_LOGGER = logging.getLogger(__name__)


class SingleState(msgspec.Struct, array_like=True, gc=False):
    """Memory of one signal. `state` is what its detector wrote of itself."""

    detector: str
    state: bytes
    first_us: int
    opened_us: int = 0  # 0 while nothing is abnormal
    alarms: int = 0


def detector_of(policy: SignalPolicy, *, has_own: bool) -> str:
    """The detector of a signal. Fields and metrics have their own where the file names no other one."""
    return OWN_DETECTOR if has_own and policy.detector == DEFAULT_DETECTOR else policy.detector


def judge_single(
    memory: dict[str, SingleState],
    name: str,
    value: float,
    detector_name: str,
    policy: SignalPolicy,
    calendar: Calendar,
    summary: WindowSummary,
) -> Deviation | None:
    """Judge one value by the signal's detector, then teach it; the deviation where it is abnormal.

    What an operator's detector raises, or a state that it cannot read, costs the signal its memory and is
    logged; the job goes on.
    """
    known = memory.get(name)
    if known is not None and known.detector != detector_name:
        known = None
    observation = Observation(summary.window_start_us, value)
    try:
        detector = make_detector(
            detector_name, policy.settings, (known.state or None) if known else None, calendar
        )
        judgement = detector.score_one(observation)
        detector.learn_one(observation, judgement)
        encoded = detector.encode()
    except Exception as error:  # noqa: BLE001 - an operator's own code may raise anything
        complain(detector_name, type(error).__name__)
        memory.pop(name, None)
        return None
    state = known or SingleState(detector_name, encoded, summary.window_start_us)
    state.state = encoded
    memory[name] = state
    if judgement.label not in {"anomalous", "continuing"}:
        state.opened_us = 0
        return None
    return _deviation(name, value, judgement, state, policy, summary)


@lru_cache(maxsize=1 << 10)
def complain(detector: str, error: str) -> None:
    """Log that a detector failed; once for each kind, since it will do so in every window."""
    _LOGGER.error("detector %s raised %s: its signals begin anew", detector, error)


def strength_of(judgement: Judgement) -> float:
    """1 at the threshold, FULL_STRENGTH for a score of 1."""
    beyond = (judgement.score - judgement.threshold) / max(1e-9, 1.0 - judgement.threshold)
    return 1.0 + (FULL_STRENGTH - 1.0) * beyond


def _deviation(
    name: str,
    value: float,
    judgement: Judgement,
    state: SingleState,
    policy: SignalPolicy,
    summary: WindowSummary,
) -> Deviation | None:
    now_us = summary.window_start_us
    state.opened_us = state.opened_us or now_us
    before, is_alarm = state.alarms, judgement.label == "anomalous"
    state.alarms += is_alarm
    baseline = value if judgement.baseline is None else judgement.baseline
    is_up = value >= baseline
    if policy.direction not in {None, "both", "up" if is_up else "down"}:
        return None
    strength = strength_of(judgement) if is_alarm else 0.0
    return Deviation(
        name,
        strength,
        math.copysign(3 * strength, 1 if is_up else -1),
        is_up,
        value,
        baseline,
        baseline if judgement.band_low is None else judgement.band_low,
        baseline if judgement.band_high is None else judgement.band_high,
        (now_us + summary.window_seconds * MICROSECONDS - state.opened_us) / _MINUTE_US,
        before,
        now_us - state.first_us,
        detector=state.detector,
        reason=f"{name}: {judgement.reason}" if judgement.reason else "",
        most=policy.severity or "critical",
    )
