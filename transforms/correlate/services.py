"""What is usual of each service's own latency: its time minus that of the services it calls. Pure.

A delay on the wire shows in the caller only: its callees are as fast as ever, its own time grows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from transforms.correlate.clues import ServiceFacts
from transforms.elements import RequestStats

LEAST_WINDOWS: Final = 5
LEAST_REQUESTS: Final = 5
MEMORY_WINDOWS: Final = 60
MOST_GROWN: Final = 120
"""After so many windows of growth without a calm one, that is how it is."""

FLOOR_US: Final = 1_000  # below a millisecond nobody waits longer
LEAST_SPREAD: Final = 0.15  # of the logarithm: means of a window vary by this much for no reason
LEAST_GROWTH: Final = 1.5
MOST_DEVIATIONS: Final = 3.0


class OwnLatency(msgspec.Struct, array_like=True):
    """Mean and spread of the logarithm of a service's own latency, over its calm windows."""

    windows: int = 0
    mean: float = 0.0
    variance: float = 0.0
    grown: int = 0  # windows beyond it since the last calm one


class Growth(msgspec.Struct, frozen=True):
    """That a service's own latency grew: means of a request, and how unusual that is."""

    usual_ms: float
    now_ms: float
    deviations: float


def own_latencies_us(facts: Mapping[str, ServiceFacts]) -> dict[str, float]:
    """Mean own time of a request, by service, where at least LEAST_REQUESTS tell it.

    A service of which no callers and no callees are known is left out: its time may be anybody's. Calls
    that are made at once count twice: the result is never below zero.
    """
    spent: dict[str, int] = {}
    for found in facts.values():
        for caller, stats in found.callers.items():
            spent[caller] = spent.get(caller, 0) + stats.latency_sum_us
    own = {}
    for service, found in facts.items():
        count, total = _served(found)
        if count >= LEAST_REQUESTS and (found.callers or service in spent):
            own[service] = max(0, total - spent.get(service, 0)) / count
    return own


def _served(facts: ServiceFacts) -> tuple[int, int]:
    """Requests and their time: as the mesh tells it, else as the service does."""
    timed: list[RequestStats] = [stats for stats in facts.callers.values() if stats.latency_sum_us]
    if timed:
        return sum(stats.count for stats in timed), sum(stats.latency_sum_us for stats in timed)
    return facts.latency_count, facts.latency_sum_us


def growth_of(usual: OwnLatency | None, own_us: float) -> Growth | None:
    """How far `own_us` is beyond what is usual; None where it is not, or too little is known."""
    if usual is None or usual.windows < LEAST_WINDOWS:
        return None
    value = math.log(own_us + FLOOR_US)
    spread = math.sqrt(usual.variance + LEAST_SPREAD**2)
    deviations = (value - usual.mean) / spread
    if deviations < MOST_DEVIATIONS or value - usual.mean < math.log(LEAST_GROWTH):
        return None
    return Growth((math.exp(usual.mean) - FLOOR_US) / 1000, own_us / 1000, deviations)


def learn_own(usual: OwnLatency, own_us: float) -> None:
    """Count a calm window. Source of the update: Welford, with a bound on its memory."""
    value = math.log(own_us + FLOOR_US)
    usual.grown = 0
    usual.windows = min(usual.windows + 1, MEMORY_WINDOWS)
    step = (value - usual.mean) / usual.windows
    usual.variance += ((value - usual.mean) * (value - usual.mean - step) - usual.variance) / usual.windows
    usual.mean += step


def learn_grown(usual: OwnLatency) -> None:
    """Count a window whose own latency grew; what lasts begins to be learned anew."""
    usual.grown += 1
    if usual.grown > MOST_GROWN:
        usual.windows, usual.mean, usual.variance, usual.grown = 0, 0.0, 0.0, 0
