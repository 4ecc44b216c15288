"""Snapshots of signals that have a detector of their own."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from transforms.detect.baselines.book import signal_policy, tenant_calendar
from transforms.detect.baselines.interface import Judgement, Observation
from transforms.detect.baselines.learned import LearnedDetector
from transforms.detect.baselines.registry import make_detector
from transforms.detect.singles import SingleState
from transforms.detect.watch import ServiceBaselines, Who
from transforms.elements import HOUR_US, MICROSECONDS, BaselineSnapshot, BaselineStatus


def describe_singles(
    memory: ServiceBaselines, who: Who, base: BaselineSnapshot
) -> Iterator[BaselineSnapshot]:
    """A row for each signal of `memory.singles`; `base` has what all rows of the service share.

    Of a detector that is not the product's, no more is known than whether it is alarming.
    """
    for name, single in memory.singles.items():
        row = msgspec.structs.replace(
            base,
            signal=name,
            detector=single.detector,
            status=_status(single),
            learns_since=single.first_us,
            alarms=float(single.alarms),
        )
        detector = _learned_detector(single, name, who)
        yield row if detector is None else _with_what_is_known(row, detector)


def _status(single: SingleState) -> BaselineStatus:
    return "alarming" if single.opened_us else "ready"


def _learned_detector(single: SingleState, name: str, who: Who) -> LearnedDetector | None:
    if single.detector != "learned" or not single.state:
        return None
    policy, calendar = signal_policy(*who, name), tenant_calendar(who[0], who[1])
    try:
        detector = make_detector(single.detector, policy.settings, single.state, calendar)
    except (ValueError, msgspec.DecodeError):  # of another version: it begins anew with the next window
        return None
    return detector if isinstance(detector, LearnedDetector) else None


def _with_what_is_known(row: BaselineSnapshot, detector: LearnedDetector) -> BaselineSnapshot:
    window_us, settings = row.window_seconds * MICROSECONDS, detector.settings
    # What is usual and the band do not depend on the value that is judged.
    judgement: Judgement = detector.score_one(Observation(row.as_of - window_us, 0.0))
    row = msgspec.structs.replace(row, windows=detector.state.count)
    if judgement.label == "learning":
        hours_us = detector.state.first_us + settings.learning_hours * HOUR_US - row.as_of
        missing = max(settings.learning_count - detector.state.count, math.ceil(hours_us / window_us), 1)
        return msgspec.structs.replace(row, status="learning", windows_missing=missing)
    return msgspec.structs.replace(
        row, baseline=judgement.baseline, band_low=judgement.band_low, band_high=judgement.band_high
    )
