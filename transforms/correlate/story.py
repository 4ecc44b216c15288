"""An incident as people read it: title, summary, chain of effects, traces. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from transforms.correlate.life import mean_strength
from transforms.correlate.root_cause import listed, rank_causes
from transforms.correlate.state import IncidentState, TenantMemory
from transforms.elements import MINUTE_US
from transforms.incident_elements import EffectStep, Incident, RootCause, TraceSample

MAX_TRACES: Final = 5
MAX_EFFECTS: Final = 50
CLEAR_SCORE: Final = 0.5
"""From here on a cause is named as such, below as the likeliest."""


def make_incident(incident: IncidentState, memory: TenantMemory, tenant_id: str) -> Incident:
    """The row of the incident as it stands."""
    causes = rank_causes(incident, memory)
    cause = causes[0].service if causes else ""
    affected = [cause, *sorted(incident.symptoms.keys() - {cause})] if cause else []
    effects = chain_of_effects(incident, memory, cause)
    closed = incident.status == "closed"
    return Incident(
        incident_id=incident.incident_id,
        revision=incident.revision,
        status=incident.status,
        tenant_id=tenant_id,
        severity=incident.severity,
        title=_title(incident, causes),
        summary=_summary(incident, causes, affected),
        correlation_score=round(mean_strength(list(incident.joins.values())), 4),
        anomaly_count=incident.count,
        anomalies=list(incident.members),
        affected_services=[name for name in affected if name in incident.symptoms],
        root_causes=causes,
        effects=effects,
        trace_samples=_traces(incident, memory),
        deploys=list(incident.deploys),
        deploy_count=len(incident.deploys) + incident.deploys_left_out,
        started_at=incident.started_us,
        opened_at=incident.opened_us,
        updated_at=incident.updated_us,
        closed_at=incident.updated_us if closed else None,
    )


def _title(incident: IncidentState, causes: Sequence[RootCause]) -> str:
    if not causes:
        return "All its anomalies were withdrawn"
    cause = causes[0].service
    symptoms = incident.symptoms.get(cause)
    what = symptoms.strongest if symptoms else causes[0].reasons[0]
    others = len(incident.symptoms.keys() - {cause})
    also = f" (and {others} more service{'s' if others > 1 else ''})" if others else ""
    return f"{cause}: {what}{also}"


def _summary(incident: IncidentState, causes: Sequence[RootCause], affected: Sequence[str]) -> str:
    if not causes:
        return "Late lines showed that none of its anomalies holds."
    cause = causes[0]
    minutes = max(1, round((incident.last_us - incident.started_us) / MINUTE_US))
    word = "The cause is" if cause.score >= CLEAR_SCORE else "The likeliest cause is"
    parts = [f"{word} {cause.service} (score {cause.score:.2f}): {'; '.join(cause.reasons[:3])}."]
    if others := [name for name in affected if name != cause.service]:
        parts.append(f"Also affected: {listed(others)}.")
    plural = "anomaly" if incident.count == 1 else "anomalies"
    parts.append(f"{incident.count} {plural} in {minutes} min.")
    return " ".join(parts)


def chain_of_effects(incident: IncidentState, memory: TenantMemory, cause: str) -> list[EffectStep]:
    """From the cause to those who call or name it, and on, as far as they are ill; the nearest first."""
    steps: list[EffectStep] = []
    reached, frontier = {cause}, [cause]
    while frontier and len(steps) < MAX_EFFECTS:
        callee = frontier.pop(0)
        callers = memory.topology.callers(callee)
        for name, symptoms in sorted(incident.symptoms.items()):
            if name in reached or not (name in callers or callee in symptoms.named):
                continue
            reached.add(name)
            frontier.append(name)
            how = f"{name} calls {callee}" if name in callers else f"errors of {name} name {callee}"
            steps.append(EffectStep(callee, name, symptoms.first_us, f"{how}: {symptoms.strongest}"))
    return steps[:MAX_EFFECTS]


def _traces(incident: IncidentState, memory: TenantMemory) -> list[TraceSample]:
    """Those that touch most services of the incident, the earliest first among equals."""
    found = []
    for trace_id, trace in memory.traces.by_id.items():
        services = [service for service in trace.order() if service in incident.symptoms]
        if services and incident.started_us <= trace.first_us < incident.last_us:
            found.append((-len(services), trace.first_us, trace_id, services))
    first = sorted(found)[:MAX_TRACES]
    return [TraceSample(trace_id, services, first_us) for _, first_us, trace_id, services in first]
