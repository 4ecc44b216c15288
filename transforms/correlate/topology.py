"""Who calls whom, how often and how fast: learned, and forgotten when unused. Pure.

Three sources: access logs of a mesh, which name the caller; spans of traces, whose parent belongs to
another service; and what an operator configures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from transforms.correlate.clues import ServiceFacts
from transforms.correlate.settings import HOUR_US, MINUTE_US, ConfiguredDependency
from transforms.elements import RequestStats
from transforms.incident_elements import Dependency, DependencySource
from transforms.sketches import latency_quantiles_us, merge_sum

MAX_EDGES: Final = 5_000
"""Of one tenant. Names of callers come from logs: beyond it, those unused for longest are dropped."""

ROW_MINUTES: Final = (5, 10)
"""An edge is written when it is five minutes old, then every ten minutes that it is used."""

_NOBODY: Final = frozenset({"", "unknown", "-"})


class Edge(msgspec.Struct):
    """One dependency. Counts are of the last hour, by window start; `written_us` is when its last row was."""

    source: DependencySource
    first_us: int
    last_us: int
    written_us: int = -1
    windows: dict[int, RequestStats] = {}


class Topology(msgspec.Struct):
    """Edges of a tenant: caller → callee → edge."""

    edges: dict[str, dict[str, Edge]] = {}

    def callees(self, service: str) -> Iterable[str]:
        """Services that `service` calls."""
        return self.edges.get(service, {})

    def callers(self, service: str) -> list[str]:
        """Services that call `service`, by name."""
        return [caller for caller, callees in sorted(self.edges.items()) if service in callees]

    def neighbors(self, service: str) -> set[str]:
        return {*self.callees(service), *self.callers(service)}


def configure(topology: Topology, dependencies: Iterable[ConfiguredDependency], at_us: int) -> None:
    """Add what an operator says; it never expires, and logs may say more of it."""
    for told in dependencies:
        edges = topology.edges.setdefault(told.caller, {})
        edge = edges.get(told.callee)
        if edge is None:
            edges[told.callee] = Edge("configuration", at_us, at_us)
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
                caller = owner.get((trace_id, parent), service)
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
    if source == "mesh" or edge.source == "configuration":
        edge.source = source
    edge.first_us, edge.last_us = min(edge.first_us, start_us), max(edge.last_us, start_us)
    edge.windows[start_us] = stats
    edge.windows = {at: kept for at, kept in sorted(edge.windows.items()) if at > edge.last_us - HOUR_US}


def expire(topology: Topology, now_us: int, unused_us: int) -> None:
    """Drop edges that were not seen for `unused_us`, and those unused for longest beyond MAX_EDGES."""
    found = [
        (edge.last_us, caller, callee)
        for caller, callees in topology.edges.items()
        for callee, edge in callees.items()
    ]
    kept = sorted((item for item in found if item[0] >= now_us - unused_us), reverse=True)[:MAX_EDGES]
    if len(kept) == len(found):
        return
    edges: dict[str, dict[str, Edge]] = {}
    for _, caller, callee in sorted(kept, key=lambda item: item[1:]):
        edges.setdefault(caller, {})[callee] = topology.edges[caller][callee]
    topology.edges = edges


def rows_due(topology: Topology, tenant_id: str, end_us: int) -> Iterator[Dependency]:
    """Rows of the edges that are due at `end_us`, the end of the newest window."""
    young, usual = (minutes * MINUTE_US for minutes in ROW_MINUTES)
    for caller, callees in topology.edges.items():
        for callee, edge in callees.items():
            since_us = edge.first_us + young if edge.written_us < 0 else edge.written_us + usual
            if (
                end_us >= since_us
                and (edge.windows or edge.written_us < 0)
                and edge.last_us > edge.written_us
            ):
                edge.written_us = end_us
                yield _row(tenant_id, caller, callee, edge, end_us)


def _row(tenant_id: str, caller: str, callee: str, edge: Edge, end_us: int) -> Dependency:
    bins: dict[int, int] = {}
    for stats in edge.windows.values():
        merge_sum(bins, stats.latency_bins)
    requests = sum(stats.count for stats in edge.windows.values())
    quantiles = latency_quantiles_us(bins, (0.5, 0.95))
    p50_ms, p95_ms = (value / 1000 for value in quantiles) if quantiles else (None, None)
    return Dependency(
        tenant_id=tenant_id,
        caller=caller,
        callee=callee,
        source=edge.source,
        revision=end_us // MINUTE_US,
        as_of=end_us,
        first_seen=edge.first_us,
        last_seen=edge.last_us,
        requests=requests,
        errors=sum(stats.errors for stats in edge.windows.values()),
        requests_per_minute=requests / max(1, len(edge.windows)),
        latency_p50_ms=p50_ms,
        latency_p95_ms=p95_ms,
    )
