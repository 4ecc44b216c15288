"""Which service is the cause: evidence for and against each candidate, weighed and put into words. Pure.

Every piece of evidence is a sentence and a weight in natural logarithms of odds; what a candidate has adds
up, and the scores of all candidates to one. Weights are a judgement, measured on cases that they were not
chosen on (benchmarks/RESULTS.md). docs/incidents.md explains each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from transforms.correlate.state import IncidentState, TenantMemory
from transforms.correlate.symptoms import DEPLOY_TYPE, RESOURCE_TYPE, SECURITY_TYPE, Symptoms
from transforms.correlate.traces import first_failures
from transforms.elements import MINUTE_US
from transforms.incident_elements import RootCause

STRENGTH: Final = 2.0  # times the weight of its strongest anomaly
CALLEES_WELL: Final = 1.0
CULPRIT: Final = -1.5  # a service that it calls, or that its errors name, is ill too
NAMED: Final = 1.5  # times the share of the others whose errors name it
FIRST_IN_TRACES: Final = 1.5  # times its share of the traces
OWN_LATENCY: Final = 1.0
RESOURCES: Final = 1.5
DEPLOY: Final = 1.5
SECURITY: Final = 1.0
SILENT: Final = 0.7
TRAFFIC_ONLY: Final = -1.0
FIRST: Final = 0.5  # it began before all others

MAX_CAUSES: Final = 10
LEAST_TRACES: Final = 3


class Reason(NamedTuple):
    """One piece of evidence."""

    weight: float
    text: str


def rank_causes(incident: IncidentState, memory: TenantMemory) -> list[RootCause]:
    """Candidates for the cause, the likeliest first; ties go by name."""
    firsts = _first_in_traces(incident, memory)
    scored = []
    for service in sorted({*incident.symptoms, *incident.growth}):
        reasons = list(_reasons(service, incident, memory, firsts))
        scored.append((sum(reason.weight for reason in reasons), service, reasons))
    scored.sort(key=lambda item: (-round(item[0], 9), item[1]))
    total = sum(math.exp(weight) for weight, _, _ in scored)
    return [
        _cause(service, math.exp(weight) / total, reasons, incident)
        for weight, service, reasons in scored[:MAX_CAUSES]
    ]


def _reasons(
    service: str, incident: IncidentState, memory: TenantMemory, firsts: Mapping[str, float]
) -> Iterator[Reason]:
    symptoms = incident.symptoms.get(service)
    if symptoms is not None:
        yield from _of_symptoms(symptoms)
        yield from _of_time(service, symptoms, incident)
    culprits = culprits_of(service, incident, memory)
    if culprits:
        yield Reason(CULPRIT, f"it needs {listed(culprits)}, which is ill too")
    elif symptoms is not None:
        yield from _of_those_who_need_it(service, incident, memory)
    if share := firsts.get(service):
        yield Reason(FIRST_IN_TRACES * share, f"failed first in {share:.0%} of the failing traces")
    growth = incident.growth.get(service)
    if growth and all(culprit in memory.topology.callees(service) for culprit in culprits):
        usual, now = _milliseconds(growth.usual_ms), _milliseconds(growth.now_ms)
        yield Reason(OWN_LATENCY, f"its own time, without that of its callees, grew from {usual} to {now}")
    yield from _of_deploys(service, incident)


def _of_symptoms(symptoms: Symptoms) -> Iterator[Reason]:
    yield Reason(STRENGTH * symptoms.weight, symptoms.strongest)
    if RESOURCE_TYPE in symptoms.types:
        yield Reason(RESOURCES, "its resources ran out")
    elif symptoms.resource:
        yield Reason(RESOURCES, f"it uses a resource as never before: {symptoms.resource}")
    if SECURITY_TYPE in symptoms.types:
        yield Reason(SECURITY, "it is under attack, or its rights were changed")
    if symptoms.is_silent:
        yield Reason(SILENT, "it fell silent")
    elif symptoms.is_traffic_only:
        yield Reason(TRAFFIC_ONLY, "only the number of its calls changed, which its callers decide")


def _of_those_who_need_it(service: str, incident: IncidentState, memory: TenantMemory) -> Iterator[Reason]:
    """What callers, and errors that name it, say of a service that needs nobody who is ill."""
    others = [name for name in incident.symptoms if name != service]
    naming = [name for name in others if service in incident.symptoms[name].named]
    if naming:
        yield Reason(NAMED * (0.5 + 0.5 * len(naming) / len(others)), f"errors of {listed(naming)} name it")
    ill_callers = [caller for caller in memory.topology.callers(service) if caller in incident.symptoms]
    if ill_callers:
        callees = "what it calls is well" if set(memory.topology.callees(service)) else "it calls nobody"
        yield Reason(CALLEES_WELL, f"{callees}, and those that call it ({listed(ill_callers)}) are ill")


def culprits_of(service: str, incident: IncidentState, memory: TenantMemory) -> list[str]:
    """Services that are ill by themselves, and that it calls, calls through one that is well, or names.

    Two that name each other say nothing.
    """
    symptoms = incident.symptoms.get(service)
    named = {name for name in (symptoms.named if symptoms else ()) if name in incident.symptoms}
    found = {name for name in named if service not in incident.symptoms[name].named}
    for callee in memory.topology.callees(service):
        if callee in incident.symptoms or callee in incident.growth:
            found.add(callee)
        else:
            found |= set(memory.topology.callees(callee)) & incident.symptoms.keys()
    return sorted(
        callee
        for callee in found - {service}
        if callee not in incident.symptoms
        or not incident.symptoms[callee].is_traffic_only
        or incident.symptoms[callee].is_silent
    )


def _of_time(service: str, symptoms: Symptoms, incident: IncidentState) -> Iterator[Reason]:
    others = [other.first_us for name, other in incident.symptoms.items() if name != service]
    if others and symptoms.first_us < min(others):
        minutes = round((min(others) - symptoms.first_us) / MINUTE_US)
        yield Reason(FIRST, f"it began {minutes} min before all others")


def _of_deploys(service: str, incident: IncidentState) -> Iterator[Reason]:
    symptoms = incident.symptoms.get(service)
    began_us = symptoms.first_us if symptoms else incident.started_us
    mine = [deploy for deploy in incident.deploys if deploy.service == service]
    before = [deploy for deploy in mine if deploy.deployed_at <= began_us + MINUTE_US]
    if before:
        newest = max(before, key=lambda deploy: (deploy.deployed_at, deploy.deploy_id))
        minutes = max(0, round((began_us - newest.deployed_at) / MINUTE_US))
        yield Reason(DEPLOY, f"{newest.what} was rolled out {minutes} min before it began")
    elif symptoms is not None and DEPLOY_TYPE in symptoms.types:
        yield Reason(DEPLOY, "it is worse since a revision was rolled out")


def _first_in_traces(incident: IncidentState, memory: TenantMemory) -> dict[str, float]:
    """By service, its share of the traces that began to fail, beyond what is usual."""
    from_us, to_us = incident.started_us, incident.last_us
    counts = first_failures(memory.traces, from_us, to_us)
    windows = max(1.0, (to_us - from_us) / (memory.window_us or MINUTE_US))
    excess = {}
    for service, count in counts.items():
        usual = memory.traces.usual.get(service, 0.0) * windows
        excess[service] = max(0.0, count - usual - 2 * math.sqrt(usual))
    total = sum(excess.values())
    return {service: value / total for service, value in excess.items()} if total >= LEAST_TRACES else {}


def _cause(service: str, score: float, reasons: Sequence[Reason], incident: IncidentState) -> RootCause:
    symptoms = incident.symptoms.get(service)
    strongest = sorted(reasons, key=lambda reason: (-reason.weight, reason.text))
    speaking = [reason.text for reason in strongest if reason.weight >= 0]
    against = [f"but {reason.text}" for reason in strongest if reason.weight < 0]
    mine = [deploy.what for deploy in incident.deploys if deploy.service == service]
    instances = list(symptoms.instances) if symptoms else []
    return RootCause(
        service=service,
        score=round(score, 4),
        reasons=[*speaking, *against],
        instance=instances[0] if len(instances) == 1 else "",
        revision=mine[-1] if mine else "",
        pattern_id=symptoms.pattern_id if symptoms else "",
        pattern=symptoms.pattern if symptoms else "",
        metric=symptoms.signal if symptoms else "",
    )


def listed(names: Sequence[str]) -> str:
    """At most three of the names, and how many more there are."""
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _milliseconds(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"
