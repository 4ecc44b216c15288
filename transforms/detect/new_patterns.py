"""Novelty: a pattern that the service never logged before, and that is more than an odd line.

New lines of code run for the first time on any day, so a new pattern alone is no anomaly. It is one when it
keeps coming: enough lines within WATCH_US of the first, by severity. How easily a service shows new
patterns is learned: with N of them in the last day, the lines asked for grow by the square root of N.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from transforms.elements import DAY_US, ERROR, MICROSECONDS, WARNING, PatternStats, WindowSummary

WATCH_US: Final = 10 * 60 * MICROSECONDS
LEAST_LINES: Final = {ERROR: 3, WARNING: 5, 0: 20}
"""Lines within WATCH_US that a new pattern needs, by the severity from which on it holds."""

LEAST_SHARE: Final = 0.02
"""Of the service's lines: below WARNING, a pattern that makes less of them is not told of."""

MOST_WATCHED: Final = 200


class NewPattern(msgspec.Struct, array_like=True, gc=False):
    """A pattern under watch."""

    first_us: int
    count: int = 0
    errors: int = 0
    lines: int = 0  # of the service since
    told: bool = False


class NewPatternMemory(msgspec.Struct, array_like=True, gc=False):
    """Patterns under watch by id, and how many new ones lately (a count that fades over a day)."""

    watched: dict[str, NewPattern] = {}
    lately: float = 0.0
    newest_us: int = 0


class Emerged(msgspec.Struct, frozen=True):
    """A new pattern that keeps coming. `strength` 1 is just enough."""

    pattern_id: str
    count: int
    errors: int
    severity: int
    first_us: int
    strength: float


def watch_new_patterns(memory: NewPatternMemory, summary: WindowSummary) -> list[Emerged]:
    """Count a window; tell of each new pattern once, the one with the most lines first."""
    now_us = summary.window_start_us
    memory.lately *= math.exp(-max(0, now_us - memory.newest_us) / DAY_US)
    memory.newest_us = now_us
    _follow_merges(memory, summary)
    new = [key for key, found in summary.patterns.items() if found.is_new and key not in memory.watched]
    new.sort(key=lambda key: (-summary.patterns[key].severity, -summary.patterns[key].count, key))
    for pattern_id in new[: max(0, MOST_WATCHED - len(memory.watched))]:
        memory.watched[pattern_id] = NewPattern(now_us)
    emerged = []
    for pattern_id in sorted(memory.watched):
        watched = memory.watched[pattern_id]
        if now_us - watched.first_us > WATCH_US:
            memory.lately += 1.0
            del memory.watched[pattern_id]
            continue
        watched.lines += summary.lines
        stats = summary.patterns.get(pattern_id)
        if stats is None:
            continue
        watched.count += stats.count
        watched.errors += stats.errors
        strength = _strength(memory, watched, stats)
        if strength >= 1.0 and not watched.told:
            watched.told = True
            emerged.append(
                Emerged(pattern_id, watched.count, watched.errors, stats.severity, watched.first_us, strength)
            )
    return sorted(emerged, key=lambda found: (-found.count, found.pattern_id))


def _follow_merges(memory: NewPatternMemory, summary: WindowSummary) -> None:
    """What was watched as several patterns and is one now goes on as one, unless it was known before."""
    for old, new in sorted(summary.merged_patterns.items()):
        one = memory.watched.pop(old, None)
        if one is None:
            continue
        stats, other = summary.patterns.get(new), memory.watched.get(new)
        if other is None:
            if stats is None or stats.first_seen_us < one.first_us:
                continue
            other = memory.watched[new] = NewPattern(one.first_us)
        other.first_us = min(other.first_us, one.first_us)
        other.count += one.count
        other.errors += one.errors
        other.lines = max(other.lines, one.lines)
        other.told = other.told or one.told


def _strength(memory: NewPatternMemory, watched: NewPattern, stats: PatternStats) -> float:
    level = next(level for level in LEAST_LINES if stats.severity >= level or not level)
    if level < WARNING and watched.count < LEAST_SHARE * watched.lines:
        return 0.0
    lately = round(memory.lately, 1)  # what has faded to nothing must not ask for one line more
    return watched.count / (LEAST_LINES[level] * math.sqrt(1.0 + lately))
