"""The memory of a service: the windows before the one at hand, in the order of event time.

Rules look back on windows as they were; learned detectors have a memory of their own, which is kept
beside them, so that both see each window once and in the same order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

import msgspec

from transforms.detect.baselines.book import BaselineBook
from transforms.detect.findings import Finding
from transforms.detect.signals import HISTORY_WINDOWS, Band, WindowSignals, compact, signals_of
from transforms.detect.watch import ServiceBaselines, watch_window
from transforms.elements import MICROSECONDS, WindowSummary

NO_BOOK: Final = BaselineBook()
"""Nothing set by an operator: the defaults."""

LATE_WINDOWS: Final = 70
"""Windows that a late pane may still revise: an hour of allowed lateness and ten minutes of late lines."""

DISTINCT_WINDOWS: Final = 30
"""Earlier windows that keep their registers of distinct users and addresses, which are large."""


class WindowHistory(msgspec.Struct):
    """One window of a service with all that rules compare it with.

    `previous` is what the last revision of the same window looked like when a late pane revises it,
    else None. `past` holds up to HISTORY_WINDOWS earlier windows, oldest first, as they were on time.
    `findings` are those of learned detectors, `bands` what they expected of the window.
    """

    summary: WindowSummary
    previous: WindowSignals | None
    past: list[WindowSignals]
    findings: list[Finding] = []
    bands: dict[str, Band] = {}


class ServiceMemory(msgspec.Struct):
    """State of one (tenant, service). `windows` are on time and sorted; `revised` is by window start."""

    windows: list[WindowSignals] = []
    revised: dict[int, WindowSignals] = {}
    baselines: ServiceBaselines = msgspec.field(default_factory=ServiceBaselines)


class TrackHistory:
    """Ordered step: WindowSummary → WindowHistory, one for each pane.

    A late pane gets the same past as its window on time had, and changes nobody else's past. It
    teaches learned detectors nothing, nor do they judge it: what they found on time stands.
    """

    state_type = ServiceMemory
    output_type = WindowHistory

    def __init__(self, book: BaselineBook = NO_BOOK) -> None:
        self._book = book

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
            yield WindowHistory(value, previous, past, bands=on_time.bands if on_time else {})
            return
        findings, bands = watch_window(state.baselines, value, self._book)
        state.windows.append(msgspec.structs.replace(signals, bands=bands))
        _forget(state)
        yield WindowHistory(value, previous, past, findings, bands)


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
