"""Who calls whom, how often and how fast: learned, and forgotten when unused. Pure.

Three sources: access logs of a mesh, which name the caller; traces, by spans whose parent belongs to
another service or by a front (fronts.py); and what an operator configures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, KeysView, Mapping
from functools import cached_property
from operator import itemgetter
from typing import Final

import msgspec

from transforms.capped_names import OTHERS
from transforms.correlate.clues import ServiceFacts
from transforms.correlate.fronts import find_fronts
from transforms.correlate.settings import ConfiguredDependency
from transforms.elements import HOUR_US, MINUTE_US, RequestStats
from transforms.incident_elements import Dependency, DependencySource
from transforms.request_stats import add_stats
from transforms.sketches import latency_quantiles_us

MAX_EDGES: Final = 5_000
"""Of one tenant. Names of callers come from logs, so that anybody may make them up: see `expire`."""

ROW_MINUTES: Final = (5, 10)
"""An edge is written when it is five minutes old, then every ten minutes that it is used."""

SLOT_US: Final = 10 * MINUTE_US
"""Counts of an edge are kept in steps of this much: a window each would be most of a tenant's state."""

_NOBODY: Final = frozenset({"", "unknown", "-", OTHERS})


class Slot(msgspec.Struct, array_like=True):
    """Calls in the windows that begin in one step of SLOT_US."""

    windows: int  # that had any
    stats: RequestStats


class Edge(msgspec.Struct):
    """One dependency. `slots` are of the last hour, by their start; `written_us` is when its last row was."""

    source: DependencySource
    first_us: int
    last_us: int
    written_us: int = -1
    slots: dict[int, Slot] = {}


class Topology(msgspec.Struct, dict=True):
    """Edges of a tenant: caller → callee → edge. Whoever adds or drops one calls `changed`."""

    edges: dict[str, dict[str, Edge]] = {}

    def callees(self, service: str) -> KeysView[str]:
        """Services that `service` calls."""
        return self.edges.get(service, {}).keys()

    def callers(self, service: str) -> KeysView[str]:
        """Services that call `service`, by name."""
        return self._callers.get(service, {}).keys()

    @cached_property  # no field: it is not encoded
    def _callers(self) -> dict[str, dict[str, None]]:
        callers: dict[str, dict[str, None]] = {}
        for caller, callees in sorted(self.edges.items()):
            for callee in callees:
                callers.setdefault(callee, {})[caller] = None
        return callers

    def changed(self) -> None:
        """Forget what follows from the edges."""
        self.__dict__.pop("_callers", None)


def configure(topology: Topology, dependencies: Iterable[ConfiguredDependency], at_us: int) -> None:
    """Add what an operator says; it never expires, and logs may say more of it. Goes after `expire`."""
    for told in dependencies:
        if told.caller == told.callee:
            continue
        edges = topology.edges.setdefault(told.caller, {})
        edge = edges.get(told.callee)
        if edge is None:
            edges[told.callee] = Edge("configuration", at_us, at_us)
            topology.changed()
        elif edge.source == "configuration":
            edge.last_us = max(edge.last_us, at_us)


def observe(topology: Topology, facts: Mapping[str, ServiceFacts], start_us: int) -> None:
    """Learn from all services' windows that start at `start_us`."""
    for service, found in facts.items():
        for caller, stats in found.callers.items():
            _count(topology, (caller, service), stats, "mesh", start_us)
    for (caller, callee), calls in _calls_in_traces(facts).items():
        known = topology.edges.get(caller, {}).get(callee)
        if known is None or known.source != "mesh":
            _count(topology, (caller, callee), RequestStats(calls), "trace", start_us)
    calls_of = {service: set(topology.callees(service)) for service in facts}
    callers_of = {service: set(topology.callers(service)) for service in facts}
    for front, behind, traces in find_fronts(facts, calls_of, callers_of):
        _count(topology, (front, behind), RequestStats(traces), "trace", start_us)


def _calls_in_traces(facts: Mapping[str, ServiceFacts]) -> dict[tuple[str, str], int]:
    owner: dict[tuple[str, str], str] = {}
    for service, found in sorted(facts.items()):
        for trace_id, spans in found.spans.items():
            for span_id in spans:
                owner.setdefault((trace_id, span_id), service)
    calls: dict[tuple[str, str], int] = {}
    for service, found in sorted(facts.items()):
        for trace_id, spans in found.spans.items():
            for parent in spans.values():
                caller = owner.get((trace_id, parent), service) if parent else service
                if caller != service:
                    calls[caller, service] = calls.get((caller, service), 0) + 1
    return calls


def _count(
    topology: Topology, names: tuple[str, str], stats: RequestStats, source: DependencySource, start_us: int
) -> None:
    caller, callee = names
    if caller in _NOBODY or caller == callee or not stats.count:
        return
    edges = topology.edges.setdefault(caller, {})
    edge = edges.get(callee)
    if edge is None:
        edge = edges[callee] = Edge(source, start_us, start_us)
        topology.changed()
    if source == "mesh" or edge.source == "configuration":
        edge.source = source
    edge.first_us, edge.last_us = min(edge.first_us, start_us), max(edge.last_us, start_us)
    _add_calls(edge, stats, start_us)


def _add_calls(edge: Edge, stats: RequestStats, start_us: int) -> None:
    at_us = start_us - start_us % SLOT_US
    slot = edge.slots.get(at_us)
    if slot is None:
        kept = {begin: slot for begin, slot in edge.slots.items() if begin > at_us - HOUR_US}
        slot = kept[at_us] = Slot(0, RequestStats())
        edge.slots = kept
    slot.windows += 1
    add_stats(slot.stats, stats)


def expire(topology: Topology, services: Collection[str], now_us: int, unused_us: int) -> None:
    """Drop edges that were not seen for `unused_us`, and beyond MAX_EDGES those that say least.

    Those of callers that are no `services` (whose windows nobody has seen) go first, then those unused for
    longest, then the youngest: names that a log's writer makes up do not drive out what is known.
    """
    found = [
        (caller in services, edge.last_us, -edge.first_us, caller, callee)
        for caller, callees in topology.edges.items()
        for callee, edge in callees.items()
    ]
    used = [item for item in found if item[1] >= now_us - unused_us]
    kept = used if len(used) <= MAX_EDGES else sorted(used, reverse=True)[:MAX_EDGES]
    if len(kept) == len(found):
        return
    edges: dict[str, dict[str, Edge]] = {}
    for *_, caller, callee in sorted(kept, key=itemgetter(3, 4)):
        edges.setdefault(caller, {})[callee] = topology.edges[caller][callee]
    topology.edges = edges
    topology.changed()


def rows_due(topology: Topology, tenant_id: str, end_us: int, window_us: int) -> Iterator[Dependency]:
    """Rows of the edges that are due at `end_us`, the end of the newest window, which is `window_us` long."""
    young, usual = (minutes * MINUTE_US for minutes in ROW_MINUTES)
    for caller, callees in topology.edges.items():
        for callee, edge in callees.items():
            is_first = edge.written_us < 0
            since_us = edge.first_us + young if is_first else edge.written_us + usual
            # A window that begins when the last row was written is not in that row.
            if end_us >= since_us and (is_first or (edge.slots and edge.last_us >= edge.written_us)):
                edge.written_us = end_us
                yield _row(tenant_id, (caller, callee), edge, end_us, window_us)


def _row(tenant_id: str, names: tuple[str, str], edge: Edge, end_us: int, window_us: int) -> Dependency:
    total = RequestStats()
    for slot in edge.slots.values():
        add_stats(total, slot.stats)
    minutes = sum(slot.windows for slot in edge.slots.values()) * window_us / MINUTE_US
    quantiles = latency_quantiles_us(total.latency_bins, (0.5, 0.95))
    p50_ms, p95_ms = (value / 1000 for value in quantiles) if quantiles else (None, None)
    return Dependency(
        tenant_id=tenant_id,
        caller=names[0],
        callee=names[1],
        source=edge.source,
        revision=end_us // MINUTE_US,
        as_of=end_us,
        first_seen=edge.first_us,
        last_seen=edge.last_us,
        requests=total.count,
        errors=total.errors if edge.source == "mesh" else None,
        requests_per_minute=total.count / minutes if minutes else 0.0,
        latency_p50_ms=p50_ms,
        latency_p95_ms=p95_ms,
    )
