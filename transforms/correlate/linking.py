"""Which anomalies are of one problem, and why. Pure.

Anomalies of one service and domain belong together. Services are linked by what they share; that they
are anomalous at the same time is asked of every link, and is never enough.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import msgspec

from transforms.correlate.state import IncidentState, TenantMemory
from transforms.correlate.symptoms import (
    CERTIFICATE_TYPE,
    SECURITY_TYPE,
    Statement,
    Symptoms,
    read_statement,
)
from transforms.correlate.traces import shared_traces
from transforms.elements import MINUTE_US, Anomaly

SAME_TROUBLE: Final = 1.0
SAME_SERVICE: Final = 0.9
SHARED_TRACES: Final = 0.95
NAMED: Final = 0.9
DEPENDENCY: Final = 0.8
SHARED_PATTERN: Final = 0.6
SHARED_REVISION: Final = 0.6
TWO_STEPS: Final = 0.5
"""How strong each link is, 0 to 1: a judgement, used for the choice of an incident and its score."""

OWN_TYPES: Final = frozenset({SECURITY_TYPE, CERTIFICATE_TYPE, "new_pattern"})
"""What no call carries from one service to another."""

SURE: Final = 0.9

LEAST_NAME: Final = 8
"""Of what was rolled out. Shorter ones, such as v1 or latest, are names that many things have."""

ACTIVE_US: Final = 3 * MINUTE_US
"""A service without an anomaly for that long is well again: what comes then is another problem."""


class Link(msgspec.Struct, frozen=True):
    """That a group belongs to another one, and why."""

    strength: float
    because: str
    ill_us: int = -1  # until when the service it leads to was ill


class Group(msgspec.Struct):
    """New anomalies of one service and domain, and what they share with others."""

    service: str
    domain: str
    statements: list[Statement]
    named: set[str]
    patterns: set[str]
    types: set[str]
    detectors: set[str]
    since_us: int  # start of the newest window: rules that look back begin earlier
    order: tuple[bool, int, str]  # of groups: by the anomaly that may open an incident; unsure ones last

    @property
    def spreads(self) -> bool:
        """Whether calls may carry it: what is only odd about a service is its own."""
        return not self.types <= OWN_TYPES


def group_anomalies(anomalies: Sequence[Anomaly], memory: TenantMemory) -> list[Group]:
    """The anomalies by service and domain; the group of the one that may open an incident comes first."""
    since_us = memory.now_us - (memory.window_us or MINUTE_US)
    groups: dict[tuple[str, str], Group] = {}
    certificates = {
        (anomaly.service, evidence.pattern_id)
        for anomaly in anomalies
        if anomaly.anomaly_type == CERTIFICATE_TYPE
        for evidence in anomaly.evidence
    }
    for anomaly in sorted(anomalies, key=lambda a: (a.window_start, a.anomaly_id)):
        key = anomaly.service, _domain_of(anomaly, certificates)
        order = not may_open(anomaly), anomaly.window_start, anomaly.anomaly_id
        group = groups.setdefault(key, Group(*key, [], set(), set(), set(), set(), since_us, order))
        statement = read_statement(anomaly, memory.seen_us, memory.topology)
        group.statements.append(statement)
        group.named |= statement.named
        group.patterns |= statement.texts
        group.types.add(anomaly.anomaly_type)
        group.detectors.add(anomaly.detector)
        group.order = min(group.order, order)
    return sorted(groups.values(), key=lambda group: group.order)


def may_open(anomaly: Anomaly) -> bool:
    """Whether it is worth an incident of its own. What is not may still join one.

    Of low severity only what is sure: five equal errors are an anomaly, and no incident.
    """
    if anomaly.below_confidence_floor:
        return False
    return anomaly.anomaly_severity != "low" or anomaly.confidence_score >= SURE


def _domain_of(anomaly: Anomaly, certificates: Collection[tuple[str, str]]) -> str:
    """A certificate that runs out for weeks must not collect whatever else happens to its service.

    `certificates` are the services and patterns that tell of one at this time.
    """
    ids = [evidence.pattern_id for evidence in anomaly.evidence]
    is_certificate = anomaly.anomaly_type == CERTIFICATE_TYPE or (
        bool(ids) and all((anomaly.service, pattern_id) in certificates for pattern_id in ids)
    )
    return CERTIFICATE_TYPE if is_certificate else ""


def link_to_incident(group: Group, incident: IncidentState, memory: TenantMemory) -> Link | None:
    """The strongest link between new anomalies and an incident; None where there is none.

    The same trouble of the same service belongs to it for as long as it takes anomalies at all; every
    other link only while the service it leads to is still ill.
    """
    if group.domain != incident.domain:
        return None
    mine = incident.symptoms.get(group.service)
    if mine is not None and not group.types.isdisjoint(mine.types):
        return Link(SAME_TROUBLE, f"the same trouble of {group.service} again", mine.last_us)
    links = [
        link
        for service, symptoms in incident.symptoms.items()
        if symptoms.last_us >= group.since_us - ACTIVE_US
        for link in _links_to(group, service, symptoms, memory, incident.started_us)
    ]
    return _strongest(links)


def _links_to(
    group: Group, service: str, symptoms: Symptoms, memory: TenantMemory, since_us: int
) -> Iterator[Link]:
    if service == group.service:
        yield Link(SAME_SERVICE, f"more of {service}, which is part of it", symptoms.last_us)
    else:
        spreads = group.spreads and not set(symptoms.types) <= OWN_TYPES
        named, texts = set(symptoms.named), set(symptoms.texts)
        for link in _links(group, service, named, texts, memory, since_us, spreads=spreads):
            yield msgspec.structs.replace(link, ill_us=symptoms.last_us)


def link_groups(one: Group, other: Group, memory: TenantMemory, since_us: int) -> Link | None:
    """The strongest link between anomalies that came at the same time."""
    if one.domain != other.domain:
        return None
    spreads = (one.spreads and other.spreads) or bool(one.detectors & other.detectors)
    links = _links(one, other.service, other.named, other.patterns, memory, since_us, spreads=spreads)
    return _strongest(list(links))


def explains(culprit: Group, group: Group, memory: TenantMemory) -> bool:
    """Whether what ails `group` may come from `culprit`, which it calls or names, and not the other way."""
    topology = memory.topology
    if culprit.service == group.service or not culprit.spreads:
        return False
    return (
        culprit.service in topology.callees(group.service)
        or any(culprit.service in topology.callees(middle) for middle in topology.callees(group.service))
        or (culprit.service in group.named and group.service not in culprit.named)
    )


def _strongest(links: Sequence[Link]) -> Link | None:
    return max(links, key=lambda link: (link.strength, link.ill_us, link.because), default=None)


def _links(
    group: Group,
    service: str,
    named: set[str],
    patterns: set[str],
    memory: TenantMemory,
    since_us: int,
    *,
    spreads: bool,
) -> Iterator[Link]:
    mine = group.service
    if service in group.named:
        yield Link(NAMED, f"errors of {mine} name {service}")
    if mine in named:
        yield Link(NAMED, f"errors of {service} name {mine}")
    if shared := shared_traces(memory.traces, mine, service, since_us):
        traces = "trace" if shared == 1 else "traces"
        yield Link(SHARED_TRACES, f"{mine} and {service} fail in {shared} common {traces}")
    if group.patterns & patterns:
        yield Link(SHARED_PATTERN, f"{mine} and {service} log the same pattern")
    rolled_out = memory.rolled_out.get(service, set()) & memory.rolled_out.get(mine, set())
    if any(len(what) >= LEAST_NAME for what in rolled_out - {service, mine}):
        yield Link(SHARED_REVISION, f"the same was rolled out to {mine} and {service}")
    if spreads:
        yield from _calls(mine, service, memory)


def _calls(mine: str, service: str, memory: TenantMemory) -> Iterator[Link]:
    topology = memory.topology
    if service in topology.callees(mine):
        yield Link(DEPENDENCY, f"{mine} calls {service}")
    elif mine in topology.callees(service):
        yield Link(DEPENDENCY, f"{service} calls {mine}")
    else:
        yield from _two_steps(mine, service, memory)


def _two_steps(mine: str, service: str, memory: TenantMemory) -> Iterator[Link]:
    """A service in between that shows nothing itself; two that are called by the same one share nothing."""
    topology = memory.topology
    for first, last in ((mine, service), (service, mine)):
        if between := topology.callees(first) & topology.callers(last):
            yield Link(TWO_STEPS, f"{first} calls {last} through {min(between)}")
            return
