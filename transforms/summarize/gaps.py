"""Zero summaries for services that fell silent while their tenant's other services went on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from transforms.elements import MICROSECONDS, WindowSummary
from transforms.summarize.merging import empty_summary

REMEMBER_US: Final = 24 * 3600 * MICROSECONDS
GAP_PANE: Final = -1
"""Pane of a zero summary: any real one of the same window revises it."""


class ServiceMark(msgspec.Struct, frozen=True, array_like=True):
    """That a service had lines in a window."""

    service: str
    window_start_us: int
    window_seconds: int
    pane_index: int


class GapState(msgspec.Struct):
    """The services of a tenant, and which of them the newest window has had so far."""

    last_seen_us: dict[str, int] = {}
    window_start_us: int = -1
    window_seconds: int = 0
    present: set[str] = set()


class FillGaps:
    """An ordered step per tenant: marks in, zero summaries out.

    A window is closed by the tenant's next window, so that the end of the input, or a drain, is
    never taken for silence; nor is a pause of the tenant as a whole. A zero summary therefore
    carries the timestamp of the window that closed its own.
    """

    state_type = GapState
    output_type = WindowSummary

    def initial(self) -> GapState:
        return GapState()

    def step(self, state: GapState, value: ServiceMark, *, is_late: bool) -> Iterator[WindowSummary]:
        if value.window_start_us > state.window_start_us:
            yield from self._close(state)
            state.window_start_us = value.window_start_us
            state.window_seconds = value.window_seconds
            state.present = set()
        if value.window_start_us == state.window_start_us:
            state.present.add(value.service)
        if not is_late:
            state.last_seen_us[value.service] = value.window_start_us

    def _close(self, state: GapState) -> Iterator[WindowSummary]:
        horizon = state.window_start_us - REMEMBER_US
        state.last_seen_us = {
            service: seen for service, seen in sorted(state.last_seen_us.items()) if seen >= horizon
        }
        for service in state.last_seen_us:
            if service not in state.present:
                summary = empty_summary("", service, state.window_start_us, state.window_seconds)
                summary.pane_index = GAP_PANE
                yield summary
