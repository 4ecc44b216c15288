"""The windows of a service up to one of them, and the fields of any span of these windows."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from transforms.detect.fields import (
    ENDPOINT_FIELDS,
    PATTERN_FIELDS,
    WINDOW_FIELDS,
    EndpointView,
    FieldValue,
    PatternView,
)
from transforms.detect.signals import Span, WindowSignals
from transforms.elements import MICROSECONDS

_START: Final = attrgetter("window_start_us")


class Fields(dict[str, FieldValue]):
    """Values of fields by name, computed when they are asked for."""

    def __init__(
        self, span: Span, windows: Fields | None = None, view: PatternView | EndpointView | None = None
    ) -> None:
        super().__init__()
        self.span = span
        self._windows = windows
        self._view = view

    def __missing__(self, name: str) -> FieldValue:
        value: FieldValue
        if isinstance(self._view, PatternView) and name in PATTERN_FIELDS:
            value = PATTERN_FIELDS[name].compute(self._view)
        elif isinstance(self._view, EndpointView) and name in ENDPOINT_FIELDS:
            value = ENDPOINT_FIELDS[name].compute(self._view)
        elif self._windows is not None:
            value = self._windows[name]
        else:
            value = WINDOW_FIELDS[name].compute(self.span)
        self[name] = value
        return value


class Timeline:
    """`past` windows, oldest first, and the `newest`. Fields of a span are computed once."""

    def __init__(self, past: Sequence[WindowSignals], newest: WindowSignals) -> None:
        self._windows = [*past, newest]
        self._newest_us, self._window_us = newest.window_start_us, newest.window_us
        self._fields: dict[tuple[int, int], Fields | None] = {}

    def fields(self, back: int, over_seconds: int) -> Fields | None:
        """Fields of the span that ends with the window `back` before the newest; None if it is missing."""
        key = (back, over_seconds)
        if key not in self._fields:
            span = self._span(back, over_seconds)
            self._fields[key] = None if span is None else Fields(span)
        return self._fields[key]

    def _span(self, back: int, over_seconds: int) -> Span | None:
        newest_us = self._newest_us - back * self._window_us
        span_us = max(over_seconds * MICROSECONDS, self._window_us)
        end = bisect_right(self._windows, newest_us, key=_START) if back else len(self._windows)
        begin = bisect_left(self._windows, newest_us + self._window_us - span_us, key=_START)
        if end == 0 or self._windows[end - 1].window_start_us != newest_us:
            return None
        return Span(self._windows[begin:end], self._windows[:begin], span_us)
