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
from transforms.detect.deviations import LEAST_AMOUNT, Deviation, ratio_of
from transforms.elements import MICROSECONDS, MINUTE_US, WindowSummary
from transforms.job_log import Said

OWN_DETECTOR: Final = "learned"
"""Of signals whose values may be anything: fields and metrics."""

FULL_STRENGTH: Final = 6.0
"""Strength of a score of 1; a score at the threshold has 1."""

Z_OF_STRENGTH: Final = 3.0
"""Deviations that an alarm of strength 1 is told with: other detectors have no such unit."""

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

    What an operator's detector raises or says that makes no sense, or a state that it cannot read, costs
    the signal its memory and is logged; the job goes on.
    """
    known = memory.get(name)
    if known is None or known.detector != detector_name:
        known = SingleState(detector_name, b"", summary.window_start_us)
    observation = Observation(summary.window_start_us, value)
    try:
        detector = make_detector(detector_name, policy.settings, known.state or None, calendar)
        judgement = detector.score_one(observation)
        _check(judgement)
        detector.learn_one(observation, judgement)
        encoded = detector.encode()
        if not isinstance(encoded, bytes):
            raise TypeError("encode gave no bytes")
    except Exception as error:  # noqa: BLE001 - an operator's own code may raise anything
        complain(detector_name, type(error).__name__)
        memory.pop(name, None)
        return None
    known.state = encoded
    memory[name] = known
    if judgement.label not in {"anomalous", "continuing"}:
        known.opened_us = 0
        return None
    return _deviation(name, value, judgement, known, policy, summary)


def _check(judgement: Judgement) -> None:
    """Raises TypeError or ValueError for what is no judgement: an operator's code may say anything."""
    if not isinstance(judgement, Judgement):
        raise TypeError("score_one gave no Judgement")
    numbers = (judgement.score, judgement.threshold, judgement.deviation)
    known = (judgement.baseline, judgement.band_low, judgement.band_high)
    for number in (*numbers, *(number for number in known if number is not None)):
        if not math.isfinite(number):
            raise ValueError("a number of the judgement is not finite")


@lru_cache(maxsize=1 << 10)
def complain(detector: str, error: str) -> None:
    """Log that a detector failed; once for each kind, since it will do so in every window."""
    _LOGGER.error(Said("A detector failed: its signals begin anew", detector=detector, error=error))


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
        strength=strength,
        z=math.copysign(Z_OF_STRENGTH * strength, 1 if is_up else -1),
        is_up=is_up,
        value=value,
        expected=baseline,
        low=baseline if judgement.band_low is None else judgement.band_low,
        high=baseline if judgement.band_high is None else judgement.band_high,
        ratio=ratio_of(value, baseline, LEAST_AMOUNT),
        minutes=(now_us + summary.window_seconds * MICROSECONDS - state.opened_us) / MINUTE_US,
        alarms_before=before,
        age_us=now_us - state.first_us,
        detector=state.detector,
        reason=f"{name}: {judgement.reason}" if judgement.reason else "",
        most=policy.severity or "critical",
    )
