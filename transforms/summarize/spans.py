"""Spans of a few traces of a window: who called whom, where no access log says so.

All services keep the traces with the smallest hash, so that those that share a trace keep the same ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from hashlib import blake2b
from heapq import nsmallest
from typing import Final

from transforms.elements import LogEntry

MAX_SPAN_TRACES: Final = 16
MAX_TRACE_SPANS: Final = 16

Spans = dict[str, dict[str, str]]
"""Trace → span → its parent, "" where no line names one."""


@lru_cache(maxsize=1 << 14)
def trace_hash(trace_id: str) -> bytes:
    """What traces are ordered by: nothing that the sender of a trace can choose at will."""
    return blake2b(trace_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def spans_of(entries: Iterable[LogEntry]) -> Spans:
    """The spans that `entries` name, of the traces with the smallest hash."""
    entries = list(entries)
    traces = _smallest({entry.trace_id for entry in entries if entry.span_id} - {""})
    spans: Spans = {trace_id: {} for trace_id in traces}
    for entry in entries:
        if entry.trace_id in traces and entry.span_id:
            _add_span(spans[entry.trace_id], entry.span_id, entry.parent_span_id)
    return {trace_id: _fit(found) for trace_id, found in sorted(spans.items())}


def keep_spans(into: Spans, other: Spans) -> None:
    """Add `other` to `into`, and keep the traces with the smallest hash."""
    for trace_id, spans in other.items():
        merged = dict(into.get(trace_id, {}))
        for span_id, parent in spans.items():
            _add_span(merged, span_id, parent)
        into[trace_id] = _fit(merged)
    for trace_id in into.keys() - _smallest(into.keys()):
        del into[trace_id]


def _smallest(trace_ids: Collection[str]) -> set[str]:
    if len(trace_ids) <= MAX_SPAN_TRACES:
        return set(trace_ids)
    return set(nsmallest(MAX_SPAN_TRACES, trace_ids, key=trace_hash))


def _add_span(spans: dict[str, str], span_id: str, parent: str) -> None:
    spans[span_id] = max(parent, spans.get(span_id, ""))


def _fit(spans: dict[str, str]) -> dict[str, str]:
    return dict(sorted(spans.items())[:MAX_TRACE_SPANS])
