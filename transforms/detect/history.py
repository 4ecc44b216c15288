"""The memory of a service: the windows before the one at hand, in the order of event time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

import msgspec

from transforms.detect.signals import HISTORY_WINDOWS, WindowSignals, compact, signals_of
from transforms.elements import MICROSECONDS, WindowSummary

LATE_WINDOWS: Final = 70
"""Windows that a late pane may still revise: an hour of allowed lateness and ten minutes of late lines."""

DISTINCT_WINDOWS: Final = 30
"""Earlier windows that keep their registers of distinct users and addresses, which are large."""


class WindowHistory(msgspec.Struct):
    """One window of a service with all that rules compare it with.

    `previous` is what the last revision of the same window looked like when a late pane revises it,
    else None. `past` holds up to HISTORY_WINDOWS earlier windows, oldest first, as they were on time.
    """

    summary: WindowSummary
    previous: WindowSignals | None
    past: list[WindowSignals]


class ServiceMemory(msgspec.Struct):
    """State of one (tenant, service). `windows` are on time and sorted; `revised` is by window start."""

    windows: list[WindowSignals] = []
    revised: dict[int, WindowSignals] = {}


class TrackHistory:
    """Ordered step: WindowSummary → WindowHistory, one for each pane.

    A late pane gets the same past as its window on time had, and changes nobody else's past.
    """

    state_type = ServiceMemory
    output_type = WindowHistory

    def initial(self) -> ServiceMemory:
        return ServiceMemory()

    def step(self, state: ServiceMemory, value: WindowSummary, *, is_late: bool) -> Iterator[WindowHistory]:
        start_us = value.window_start_us
        at = bisect_left(state.windows, start_us, key=_start)
        on_time = (
            state.windows[at] if at < len(state.windows) and _start(state.windows[at]) == start_us else None
        )
        since_us = start_us - HISTORY_WINDOWS * value.window_seconds * MICROSECONDS
        past = state.windows[bisect_left(state.windows, since_us, key=_start) : at]
        previous = state.revised.get(start_us, on_time)
        signals = compact(signals_of(value))
        if is_late or at < len(state.windows):
            state.revised[start_us] = signals
        else:
            state.windows.append(signals)
            _forget(state)
        yield WindowHistory(value, previous, past)


def _start(signals: WindowSignals) -> int:
    return signals.window_start_us


def _forget(state: ServiceMemory) -> None:
    """Drop what no window that may still come can look back on."""
    newest = state.windows[-1]
    if len(state.windows) > DISTINCT_WINDOWS:
        outdated = state.windows[-DISTINCT_WINDOWS - 1]
        state.windows[-DISTINCT_WINDOWS - 1] = msgspec.structs.replace(outdated, principals={}, addresses={})
    oldest_us = newest.window_start_us - (HISTORY_WINDOWS + LATE_WINDOWS) * newest.window_us
    del state.windows[: bisect_left(state.windows, oldest_us, key=_start)]
    late_us = newest.window_start_us - LATE_WINDOWS * newest.window_us
    for start_us in [start_us for start_us in state.revised if start_us < late_us]:
        del state.revised[start_us]
