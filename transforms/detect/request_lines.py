"""What a service logs for each request, learned from its last calm windows; invariants.py judges.

The memory is a table of counts: a row for each of the last MEMORY_WINDOWS calm windows with lines, a column
for each of the requests (all, by endpoint, by caller), the errors, and the patterns. Windows without lines,
and pauses of whatever length, are no rows: they neither teach nor alarm, nor does data that comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from transforms.capped_names import OTHERS
from transforms.detect.invariants import ALARM_Z
from transforms.detect.request_line_table import (
    ALL,
    ERRORS,
    MOST,
    BrokenInvariants,
    RequestLinesMemory,
    Table,
)
from transforms.elements import MICROSECONDS, MINUTE_US, RequestStats, WindowSummary

MOST_POOLED: Final = 10
"""Suspicious windows in a row that are judged together, so that few requests a window suffice. When no alarm
came of so many, the service has changed its ways, and learns."""

ADOPT_WINDOWS: Final = 120
"""What was missing in so many windows in a row is the new normal."""

SUSPICIOUS_EVENTS: Final = 1.0
"""One request without its lines keeps a window from being learned, if that is surprising."""

CALM_US: Final = 2 * MINUTE_US
"""After which an episode is over, when calm windows were seen meanwhile: one may be calm by chance."""

PAUSE_US: Final = 5 * MINUTE_US
"""What is known of a problem before a pause of so long says nothing of what comes after it."""

LARGEST: Final = 10_000_000
"""Squares of larger counts would not add up exactly."""


def watch_request_lines(memory: RequestLinesMemory, summary: WindowSummary) -> BrokenInvariants | None:
    """Judge a window by the calm ones before it, then learn it where it is calm; mutates `memory`."""
    now_us = summary.window_start_us
    if not summary.lines or summary.pattern_level:
        return None
    end_us = now_us + summary.window_seconds * MICROSECONDS
    if _is_over(memory, now_us):
        _close(memory)
    memory.newest_us = end_us
    table = Table(memory)
    table.follow(summary.patterns)
    window = _count(summary)
    is_suspicious = bool(table.judge(window, SUSPICIOUS_EVENTS))
    if is_suspicious and memory.waiting >= (ADOPT_WINDOWS if memory.opened_us else MOST_POOLED):
        _close(memory)
        is_suspicious = False
    if not is_suspicious:
        memory.calm += 1
        if not memory.opened_us or _is_over(memory, end_us):
            _close(memory)
            table.learn(window, summary)
        table.encode()
        return None
    memory.suspicious_us, memory.calm = end_us, 0
    if memory.waiting < MOST_POOLED:
        for name in window.keys() & {ALL, ERRORS, *memory.names}:
            memory.pooled[name] = memory.pooled.get(name, 0) + window[name]
    memory.waiting += 1
    table.encode()
    is_pooled = memory.waiting <= MOST_POOLED
    pool = memory.pooled if is_pooled else window
    found = [missing for missing in table.judge(pool) if missing.z >= ALARM_Z]
    if not found:
        return None
    memory.opened_us = memory.opened_us or now_us
    return table.describe(found, pool, memory.waiting if is_pooled else 1, summary)


def _is_over(memory: RequestLinesMemory, time_us: int) -> bool:
    """Whether what is open, or waits, is over at `time_us`: calm for CALM_US, or unknown for PAUSE_US."""
    is_calm = memory.calm > 0 and time_us - memory.suspicious_us >= CALM_US
    return is_calm or time_us - memory.newest_us >= PAUSE_US


def _close(memory: RequestLinesMemory) -> None:
    memory.pooled, memory.waiting, memory.opened_us, memory.report, memory.calm = {}, 0, 0, None, 0


def _count(summary: WindowSummary) -> dict[str, int]:
    counts = {ALL: summary.requests, ERRORS: summary.errors}
    counts |= {f"E{name}": stats.count for name, stats in _largest(summary.endpoints, "E")}
    counts |= {f"Q{name}": stats.count for name, stats in _largest(summary.callers, "Q")}
    counts |= {f"P{key}": stats.count for key, stats in summary.patterns.items()}
    return {name: min(count, LARGEST) for name, count in counts.items() if count}


def _largest(parts: Mapping[str, RequestStats], kind: str) -> list[tuple[str, RequestStats]]:
    named = [part for part in parts.items() if part[0] != OTHERS]
    return sorted(named, key=lambda part: (-part[1].count, part[0]))[: MOST[kind]]
