"""How far a number is from everything normal, and when something abnormal has become normal.

Distance to the nearest earlier value divided by the range of earlier values: the nearest-neighbor
outlier score of Ramaswamy, Rastogi and Shim (SIGMOD 2000) with k = 1, made free of units by the range.
It needs no assumption about the distribution, finds values in a gap between two usual levels as well as
beyond them, and its one threshold means the same for every signal: a share of its usual range.

What is novel is held apart from what is normal. It becomes normal only by the rules of `learn_value`.
"""

from __future__ import annotations

import math

import msgspec

from transforms.detect.baselines.cells import Cells
from transforms.elements import DAY_US, HOUR_US


class NoveltySettings(msgspec.Struct, frozen=True):
    """When something abnormal is over, and when it has become normal."""

    threshold: float = 0.04  # share of the usual range
    quiet_hours: float = 12.0  # an episode is over when nothing novel was seen for so long
    adopt_hours: float = 24.0  # an episode that lasted so long is the new normal
    forget_days: float = 35.0  # what was not seen for one to two such spans is forgotten: a month is kept
    minimum_range: float = 0.0  # in the signal's unit: a smaller range counts as this one


class Novelty(msgspec.Struct, array_like=True, gc=False):
    """Memory of one number. Times are event times in microseconds, 0 for never."""

    known: Cells
    known_before: Cells  # what was known in the span of `forget_days` before this one
    open_episode: Cells
    once: Cells  # novel in an earlier episode
    twice: Cells  # novel in two earlier episodes
    span_start_us: int = 0
    episode_start_us: int = 0
    last_novel_us: int = 0
    episode_count: int = 0  # observations since the episode began
    episode_novel: int = 0  # of these, novel ones

    @property
    def low(self) -> float:
        return min(self.known.low, self.known_before.low)

    @property
    def high(self) -> float:
        return max(self.known.high, self.known_before.high)

    @property
    def known_range(self) -> float:
        """Highest minus lowest known value, at least one cell; 0 when nothing is known."""
        return max(self.high - self.low, 0.0)


def new_novelty() -> Novelty:
    return Novelty(Cells(), Cells(), Cells(), Cells(), Cells())


class Measured(msgspec.Struct, frozen=True, gc=False):
    """One number against a memory.

    `news` and `deviation` are shares of `size`, 0 to 1: how far it is from everything that was seen
    lately, the open episode included, and from everything normal.
    """

    time_us: int
    value: float
    size: float  # the range that was measured with, in the signal's unit
    news: float = 0.0
    deviation: float = 0.0


def measure_value(
    memory: Novelty, settings: NoveltySettings, time_us: int, value: float, scale: float = 0.0
) -> Measured:
    """How novel `value` is; not at all while nothing is known. `scale` is a least range."""
    size = max(memory.known_range, scale, settings.minimum_range)
    distance = memory.known.distance(value)
    if distance > 0.0 and memory.known_before:
        distance = min(distance, memory.known_before.distance(value))
    if distance in (0.0, math.inf):
        return Measured(time_us, value, size)
    if distance >= settings.threshold * size >= memory.twice.distance(value):
        return Measured(time_us, value, size)
    news = distance
    if memory.open_episode and not _is_over(memory, settings, time_us):
        news = min(news, memory.open_episode.distance(value))
    return Measured(time_us, value, size, min(1.0, news / size), min(1.0, distance / size))


def learn_value(memory: Novelty, settings: NoveltySettings, measured: Measured, *, learning: bool) -> None:
    """Remember a value that was measured against this memory.

    A value that is not novel is normal. A novel one becomes normal when it is close to a value seen
    before in the same episode, and the episode has lasted for `adopt_hours` with at least half of its
    observations novel; or when it is close to what two earlier episodes, each over, had shown. While
    `learning`, everything is normal.
    """
    time_us = measured.time_us
    if not memory.span_start_us:
        memory.span_start_us = time_us
    elif time_us - memory.span_start_us >= settings.forget_days * DAY_US:
        _forget(memory, time_us)
    if memory.episode_start_us and _is_over(memory, settings, time_us):
        _close_episode(memory, settings.threshold * measured.size)
    novel = measured.deviation >= settings.threshold and not learning
    if novel and not memory.episode_start_us:
        memory.episode_start_us = time_us
    if memory.episode_start_us:
        memory.episode_count += 1
        memory.episode_novel += novel
    if not novel:
        memory.known.add(measured.value)
        return
    if _has_lasted(memory, settings, time_us) and measured.news < settings.threshold:
        memory.known.add(measured.value)
    memory.open_episode.add(measured.value)
    memory.last_novel_us = time_us


def _is_over(memory: Novelty, settings: NoveltySettings, time_us: int) -> bool:
    return time_us - memory.last_novel_us > settings.quiet_hours * HOUR_US


def _has_lasted(memory: Novelty, settings: NoveltySettings, time_us: int) -> bool:
    lasted = time_us - memory.episode_start_us >= settings.adopt_hours * HOUR_US
    return lasted and 2 * memory.episode_novel >= memory.episode_count


def _close_episode(memory: Novelty, tolerance: float) -> None:
    shown = list(memory.open_episode.values())
    for value in [value for value in shown if memory.once.distance(value) <= tolerance]:
        memory.twice.add(value)
    for value in shown:
        memory.once.add(value)
    memory.open_episode.clear()
    memory.episode_start_us = memory.last_novel_us = 0
    memory.episode_count = memory.episode_novel = 0


def _forget(memory: Novelty, time_us: int) -> None:
    memory.known_before, memory.known = memory.known, Cells()
    memory.once.clear()
    memory.twice.clear()
    memory.span_start_us = time_us
