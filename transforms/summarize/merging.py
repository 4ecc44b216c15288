"""Adding two summaries of the same tenant, service and window.

`merge_summaries` is associative and commutative with `empty_summary` as its neutral element:
integers are added, registers take the maximum, kept samples are those with the smallest hash, and
what has too many names is coarsened to the first level at which the union fits, or keeps those with
the smallest hashes and the sum of all others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from transforms.capped_names import OTHERS, names_beyond
from transforms.coarsening import LAST_ENDPOINT_LEVEL, LAST_LEVEL, coarsen, coarsen_endpoint
from transforms.elements import (
    DeployEvent,
    Example,
    PatternStats,
    RequestStats,
    TraceError,
    WindowSummary,
    content_id,
)
from transforms.measures import merge_fields
from transforms.pattern_stats import add_counts, copy_stats
from transforms.revisions import MAX_REVISIONS, add_revisions
from transforms.sketches import merge_max, merge_sum
from transforms.summarize.counting import add_requests
from transforms.summarize.deduplicate import merge_line
from transforms.summarize.spans import keep_spans, trace_hash

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(WindowSummary)

MAX_SHAPES: Final = 5_000
MAX_ENDPOINTS: Final = 200
MAX_CALLERS: Final = 200
MAX_TRACES: Final = 32
MAX_DEPLOYS: Final = 32


def merge_summaries(into: WindowSummary, other: WindowSummary) -> WindowSummary:
    """Add `other` to `into` in place; `other` stays as it is and shares nothing with the result."""
    for field in (
        "lines",
        "errors",
        "warnings",
        "requests",
        "failed_requests",
        "denials",
        "retimed",
        "severity_inferred",
        "latency_count",
        "latency_sum_us",
        "slow_requests",
    ):
        setattr(into, field, getattr(into, field) + getattr(other, field))
    into.latency_max_us = max(into.latency_max_us, other.latency_max_us)
    for field in ("severities", "statuses", "latency_bins"):
        merge_sum(getattr(into, field), getattr(other, field))
    for field in ("principals", "addresses", "instances"):
        merge_max(getattr(into, field), getattr(other, field))
    add_revisions(into.revisions, other.revisions, MAX_REVISIONS)
    for minute, (analyzed, duplicate) in other.ledger.items():
        counts = into.ledger.setdefault(minute, [0, 0])
        counts[0] += analyzed
        counts[1] += duplicate
    for trace_id, error in other.traces.items():
        keep_trace(into.traces, trace_id, error)
    keep_spans(into.spans, other.spans)
    into.deploys = keep_deploys([*into.deploys, *other.deploys])
    for identity, record in other.distinct_lines.items():
        merge_line(into.distinct_lines, identity, record)
    into.line_kinds.update(other.line_kinds)
    merge_fields(into.fields, other.fields)
    _merge_names(into, other)
    return fit(into)


def empty_summary(
    tenant_id: str = "", service: str = "", window_start_us: int = 0, window_seconds: int = 0
) -> WindowSummary:
    """A summary of no lines; its dicts are its own."""
    return WindowSummary(tenant_id, service, window_start_us, window_seconds)


def copy_summary(summary: WindowSummary) -> WindowSummary:
    """A summary equal to `summary` that shares nothing mutable with it."""
    return _DECODER.decode(_ENCODER.encode(summary))


def drop_lone_revision(summary: WindowSummary) -> WindowSummary:
    """`summary` without the revisions of its patterns where the window has fewer than two.

    What the window says of its revision is then all there is to know. `summary` itself, which may
    be revised by later lines, stays as it is.
    """
    if len(summary.revisions) > 1 or not any(stats.revisions for stats in summary.patterns.values()):
        return summary
    patterns = {key: msgspec.structs.replace(stats, revisions={}) for key, stats in summary.patterns.items()}
    return msgspec.structs.replace(summary, patterns=patterns)


def sort_summary(summary: WindowSummary) -> WindowSummary:
    """Put all dicts of `summary` in the order of their keys, in place: equal summaries, equal bytes."""
    for stats in (*summary.endpoints.values(), *summary.callers.values()):
        stats.latency_bins = dict(sorted(stats.latency_bins.items()))
    for pattern in summary.patterns.values():
        if len(pattern.revisions) > 1:
            pattern.revisions = dict(sorted(pattern.revisions.items()))
    for field_stats in summary.fields.values():
        field_stats.bins = dict(sorted(field_stats.bins.items()))
    for field in summary.__struct_fields__:
        value = getattr(summary, field)
        if isinstance(value, dict):
            setattr(summary, field, dict(sorted(value.items())))
    return summary


def _merge_names(into: WindowSummary, other: WindowSummary) -> None:
    for caller, stats in other.callers.items():
        add_requests(into.callers, caller, stats)
    endpoints, patterns = other.endpoints, other.patterns
    if into.endpoint_level < other.endpoint_level:
        into.endpoint_level = other.endpoint_level
        into.endpoints = _coarse_endpoints(into.endpoints, into.endpoint_level)
    elif other.endpoint_level < into.endpoint_level:
        endpoints = _coarse_endpoints(endpoints, into.endpoint_level)
    if into.pattern_level < other.pattern_level:
        into.pattern_level = other.pattern_level
        into.patterns = _coarse_patterns(into.patterns, into.pattern_level)
    elif other.pattern_level < into.pattern_level:
        patterns = _coarse_patterns(patterns, into.pattern_level)
    for endpoint, stats in endpoints.items():
        add_requests(into.endpoints, endpoint, stats)
    for shape_id, pattern in patterns.items():
        add_pattern(into.patterns, shape_id, pattern)


def add_pattern(into: dict[str, PatternStats], key: str, other: PatternStats) -> None:
    """Add `other` to the stats of `key`; `other` is never shared with `into`."""
    stats = into.get(key)
    if stats is None:
        into[key] = copy_stats(other)
        return
    add_counts(stats, other)
    keep_example(stats, *other.examples)


def keep_example(stats: PatternStats, *candidates: Example) -> None:
    """Of the example that `stats` has and `candidates`, keep the one with the smallest hash."""
    stats.examples = sorted({*stats.examples, *candidates}, key=msgspec.structs.astuple)[:1]


def keep_deploys(deploys: Iterable[DeployEvent]) -> list[DeployEvent]:
    """The first MAX_DEPLOYS roll-outs, each once."""
    return sorted(set(deploys), key=msgspec.structs.astuple)[:MAX_DEPLOYS]


def keep_trace(traces: dict[str, TraceError], trace_id: str, error: TraceError) -> None:
    """Keep the first error of a trace, for the MAX_TRACES traces with the smallest hash.

    The hash is of the trace id alone, so that all services keep the same traces.
    """
    known = traces.get(trace_id)
    traces[trace_id] = error if known is None else min(known, error, key=msgspec.structs.astuple)
    if len(traces) > MAX_TRACES:
        del traces[max(traces, key=trace_hash)]


def fit(summary: WindowSummary) -> WindowSummary:
    """Coarsen shapes and endpoints of `summary` in place until they are within the limits; cap its callers.

    Nothing is left out: many names become fewer names with the same counts. Lines that are only
    listed yet are left alone, because they refer to their shapes.
    """
    if summary.distinct_lines:
        return summary
    while len(summary.patterns) > MAX_SHAPES and summary.pattern_level < LAST_LEVEL:
        summary.pattern_level += 1
        summary.patterns = _coarse_patterns(summary.patterns, summary.pattern_level)
    while len(summary.endpoints) > MAX_ENDPOINTS and summary.endpoint_level < LAST_ENDPOINT_LEVEL:
        summary.endpoint_level += 1
        summary.endpoints = _coarse_endpoints(summary.endpoints, summary.endpoint_level)
    for caller in names_beyond(summary.callers, MAX_CALLERS):
        add_requests(summary.callers, OTHERS, summary.callers.pop(caller))
    return summary


def _coarse_patterns(patterns: dict[str, PatternStats], level: int) -> dict[str, PatternStats]:
    coarse: dict[str, PatternStats] = {}
    for stats in patterns.values():
        text = coarsen(stats.text, level)
        add_pattern(coarse, content_id(text)[:16], msgspec.structs.replace(stats, text=text))
    return coarse


def _coarse_endpoints(endpoints: dict[str, RequestStats], level: int) -> dict[str, RequestStats]:
    coarse: dict[str, RequestStats] = {}
    for endpoint, stats in endpoints.items():
        add_requests(coarse, coarsen_endpoint(endpoint, level), stats)
    return coarse
