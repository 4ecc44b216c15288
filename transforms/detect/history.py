"""The memory of a service: the windows before the one at hand, in the order of event time.

Rules look back on windows as they were; learned detectors have a memory of their own, which is kept
beside them, so that both see each window once and in the same order.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

import msgspec

from transforms.detect.baseline_state import (
    STATE_VERSION,
    SnapshotError,
    decode_baselines,
    learned_windows,
)
from transforms.detect.baselines.book import NO_BOOK, BaselineBook
from transforms.detect.findings import Finding
from transforms.detect.signals import HISTORY_WINDOWS, Band, WindowSignals, compact, signals_of
from transforms.detect.snapshots import describe_service
from transforms.detect.watch import ServiceBaselines, watch_window
from transforms.elements import MICROSECONDS, BaselineSnapshot, WindowSummary

_LOGGER = logging.getLogger(__name__)

LATE_US: Final = 70 * 60 * MICROSECONDS
"""So far back a late pane may revise a window: an hour of allowed lateness and ten minutes of late lines."""

DISTINCT_WINDOWS: Final = 30
"""Earlier windows that keep their registers of distinct users and addresses, which are large."""


class WindowHistory(msgspec.Struct):
    """One window of a service with all that rules compare it with.

    `previous` is what the last revision of the same window looked like when a late pane revises it,
    else None. `past` holds up to HISTORY_WINDOWS earlier windows, oldest first, as they were on time.
    `findings` are those of learned detectors, `bands` what they expected of the window. `snapshots` say
    what is learned, now and then.
    """

    summary: WindowSummary
    previous: WindowSignals | None
    past: list[WindowSignals]
    findings: list[Finding] = []
    bands: dict[str, Band] = {}
    snapshots: list[BaselineSnapshot] = []


class ServiceMemory(msgspec.Struct):
    """State of one (tenant, service). `windows` are on time and sorted; `revised` is by window start.

    `snapshot_us` is what the last snapshot was as of, `warm_us` what the one was as of that was begun with.
    """

    windows: list[WindowSignals] = []
    revised: dict[int, WindowSignals] = {}
    baselines: ServiceBaselines = msgspec.field(default_factory=ServiceBaselines)
    snapshot_us: int = -1
    warm_us: int = -1


class TrackHistory:
    """Ordered step: WindowSummary → WindowHistory, one for each pane.

    A late pane gets the same past as its window on time had, and changes nobody else's past. It
    teaches learned detectors nothing, nor do they judge it: what they found on time stands.

    The window that ends an hour of event time (or whatever `snapshot_us` says; 0: never) brings
    snapshots of what is learned, and the first one after it where that window is missing. A value that
    is a snapshot itself is what to begin with: see `_begin_with`.
    """

    state_type = ServiceMemory
    output_type = WindowHistory

    def __init__(self, book: BaselineBook = NO_BOOK, snapshot_us: int = 0) -> None:
        self._book = book
        self._snapshot_us = snapshot_us
        self._not_taken = 0

    def initial(self) -> ServiceMemory:
        return ServiceMemory()

    def step(self, state: ServiceMemory, value: WindowSummary, *, is_late: bool) -> Iterator[WindowHistory]:
        if value.snapshot:
            self._begin_with(state, value, is_late=is_late)
            return
        start_us = value.window_start_us
        at = bisect_left(state.windows, start_us, key=_start)
        on_time = (
            state.windows[at] if at < len(state.windows) and _start(state.windows[at]) == start_us else None
        )
        since_us = start_us - HISTORY_WINDOWS * value.window_seconds * MICROSECONDS
        past = state.windows[bisect_left(state.windows, since_us, key=_start) : at]
        previous = state.revised.get(start_us, on_time)
        signals = compact(signals_of(value))
        if is_late or at < len(state.windows) or start_us < state.warm_us:
            state.revised[start_us] = signals
            yield WindowHistory(value, previous, past, bands=on_time.bands if on_time else {})
            return
        snapshots = self._snapshots_before(state, value)
        findings, bands = watch_window(state.baselines, value, self._book, past)
        state.windows.append(msgspec.structs.replace(signals, bands=bands))
        _forget(state)
        snapshots += self._snapshots_after(state, value)
        yield WindowHistory(value, previous, past, findings, bands, snapshots)

    def _snapshots_before(self, state: ServiceMemory, value: WindowSummary) -> list[BaselineSnapshot]:
        """Those that the window did not bring which would have ended the hour."""
        if not self._snapshot_us or not state.windows:
            return []
        newest = state.windows[-1]
        end_us = newest.window_start_us + newest.window_us
        if end_us <= state.snapshot_us or not self._passes(end_us - 1, value.window_start_us):
            return []
        return self._take_snapshots(state, value, end_us)

    def _snapshots_after(self, state: ServiceMemory, value: WindowSummary) -> list[BaselineSnapshot]:
        end_us = value.window_start_us + value.window_seconds * MICROSECONDS
        if not self._snapshot_us or not self._passes(value.window_start_us, end_us):
            return []
        return self._take_snapshots(state, value, end_us)

    def _take_snapshots(
        self, state: ServiceMemory, value: WindowSummary, as_of_us: int
    ) -> list[BaselineSnapshot]:
        state.snapshot_us = as_of_us
        key = value.tenant_id, value.service
        return describe_service(state.baselines, key, as_of_us, value.window_seconds, self._book)

    def _passes(self, from_us: int, to_us: int) -> bool:
        return from_us // self._snapshot_us < to_us // self._snapshot_us

    def _begin_with(self, state: ServiceMemory, value: WindowSummary, *, is_late: bool) -> None:
        """Go on from a snapshot, unless this key knows more, or has seen a window that is newer.

        It takes the place of what windows before it have taught: they are part of it.
        """
        try:
            baselines = decode_baselines(value.snapshot.decode("ascii", "replace"), STATE_VERSION)
        except SnapshotError:  # files are checked at the start: this one changed since
            baselines = ServiceBaselines()
        if is_late or learned_windows(baselines) <= learned_windows(state.baselines):
            self._not_taken += 1
            if self._not_taken & (self._not_taken - 1) == 0:  # 1, 2, 4, …: a line for each could be thousands
                _LOGGER.warning(
                    "%d snapshots of --warm_start were not taken so far: their services have learned more, "
                    "or newer windows, already.",
                    self._not_taken,
                )
            return
        state.baselines = baselines
        state.warm_us = state.snapshot_us = value.window_start_us


def _start(signals: WindowSignals) -> int:
    return signals.window_start_us


def _forget(state: ServiceMemory) -> None:
    """Drop what no window that may still come can look back on."""
    newest = state.windows[-1]
    if len(state.windows) > DISTINCT_WINDOWS:
        outdated = state.windows[-DISTINCT_WINDOWS - 1]
        state.windows[-DISTINCT_WINDOWS - 1] = msgspec.structs.replace(outdated, principals={}, addresses={})
    oldest_us = newest.window_start_us - HISTORY_WINDOWS * newest.window_us - LATE_US
    del state.windows[: bisect_left(state.windows, oldest_us, key=_start)]
    late_us = newest.window_start_us - LATE_US
    for start_us in [start_us for start_us in state.revised if start_us < late_us]:
        del state.revised[start_us]
