"""From the lines of one bundle to one partial WindowSummary per tenant, service and window."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from operator import itemgetter
from typing import Any, Final

import msgspec

from transforms.elements import (
    MICROSECONDS,
    MINUTE_NS,
    NANOSECONDS,
    DeployEvent,
    Example,
    LineKind,
    LogEntry,
    PatternStats,
    TraceError,
    WindowSummary,
)
from transforms.measures import count_measures
from transforms.sketches import distinct_add
from transforms.summarize.counting import count_lines, is_error
from transforms.summarize.deduplicate import list_lines
from transforms.summarize.merging import add_pattern, empty_summary, fit, keep_deploys, keep_trace
from transforms.summarize.spans import spans_of

MAX_EXAMPLE_CHARACTERS: Final = 500

_MIX: Final = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: Fibonacci hashing
_MASK: Final = (1 << 63) - 1  # tables hold signed integers


def summarize_entries(
    entries: Iterable[LogEntry], window_seconds: int, *, drop_copies: bool = False
) -> list[WindowSummary]:
    """One partial summary for each tenant, service and window of `entries`, in that order.

    With `drop_copies` lines are listed, not counted: `deduplicate.count_listed` counts them once
    the copies of all bundles have met.
    """
    partials: dict[tuple[str, str, int], tuple[WindowSummary, list[LogEntry]]] = {}
    for group, members in _group(entries, window_seconds * NANOSECONDS).items():
        tenant_id, service, window_number = window = group[:3]
        if window not in partials:
            start_us = window_number * window_seconds * MICROSECONDS
            partials[window] = empty_summary(tenant_id, service, start_us, window_seconds), []
        summary, lines = partials[window]
        lines += members
        _add_kind(summary, LineKind._make(group[3:]), members, drop_copies=drop_copies)
    for summary, lines in partials.values():
        if not drop_copies:
            _count_receipts(summary, lines)
            if measured := [entry.measures for entry in lines if entry.measures]:
                count_measures(summary.fields, measured)
        _keep_samples(summary, lines)
    return [fit(summary) for _, (summary, _) in sorted(partials.items(), key=itemgetter(0))]


def _group(entries: Iterable[LogEntry], window_ns: int) -> dict[tuple[Any, ...], list[LogEntry]]:
    # One flat tuple is the key (tenant, service, window, then the fields of LineKind): this loop is
    # the only Python that runs once per line.
    groups: defaultdict[tuple[Any, ...], list[LogEntry]] = defaultdict(list)
    for entry in entries:
        group = (
            entry.tenant_id,
            entry.service,
            entry.event_time_ns // window_ns,
            entry.shape_id,
            entry.endpoint,
            entry.severity,
            entry.http_status,
            entry.peer_service,
            entry.revision,
            entry.is_request,
            entry.is_denied,
            entry.severity_inferred,
            entry.retimed,
        )
        groups[group].append(entry)
    return groups


def _add_kind(summary: WindowSummary, kind: LineKind, entries: list[LogEntry], *, drop_copies: bool) -> None:
    _keep_example(summary, kind, entries)
    if drop_copies:
        list_lines(summary, kind, entries)
    else:
        count_lines(summary, kind, [entry.latency_us for entry in entries])
    if is_error(kind):
        for entry in entries:
            if entry.trace_id:
                # Some platforms write a request's record with its start as the time, some with its end.
                # Either way, with its latency added, a caller fails after what it called.
                failed_us = entry.event_time_ns // 1000 + max(0, entry.latency_us)
                error = TraceError(failed_us, kind.shape_id, entry.span_id)
                keep_trace(summary.traces, entry.trace_id, error)


def _keep_samples(summary: WindowSummary, entries: list[LogEntry]) -> None:
    """What does not change when a copy of a line is added: distinct values and deploys."""
    for registers, values in (
        (summary.instances, {entry.instance for entry in entries}),
        (summary.principals, {entry.principal for entry in entries}),
        (summary.addresses, {entry.remote_ip for entry in entries}),
    ):
        values.discard("")
        for value in values:
            distinct_add(registers, value)
    summary.spans = spans_of(entries)
    summary.deploys = keep_deploys(
        DeployEvent(entry.event_time_ns // 1000, entry.method_name, entry.deploy, entry.principal)
        for entry in entries
        if entry.deploy
    )


def _count_receipts(summary: WindowSummary, entries: list[LogEntry]) -> None:
    minutes = [entry.receive_time_ns // MINUTE_NS for entry in entries]
    for minute in dict.fromkeys(minutes):  # few: counting each is faster than a Counter of all
        summary.ledger.setdefault(minute, [0, 0])[0] += minutes.count(minute)


def _keep_example(summary: WindowSummary, kind: LineKind, entries: list[LogEntry]) -> None:
    orders = [entry.event_time_ns * _MIX & _MASK for entry in entries]
    smallest = min(orders)
    entry = entries[orders.index(smallest)]
    example = _example(smallest, entry)
    if orders.count(smallest) > 1:
        ties = [entry for order, entry in zip(orders, entries, strict=True) if order == smallest]
        example = min((_example(smallest, tie) for tie in ties), key=msgspec.structs.astuple)
    exception = min({entry.exception for entry in entries} - {""}, default="")
    add_pattern(summary.patterns, kind.shape_id, PatternStats(entry.shape, 0, 0, 0, [example], exception))


def _example(order: int, entry: LogEntry) -> Example:
    return Example(
        order,
        entry.event_time_ns // 1000,
        entry.insert_id,
        entry.message[:MAX_EXAMPLE_CHARACTERS],
        entry.trace_id,
        entry.instance,
    )
