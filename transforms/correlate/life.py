"""The life of an incident: opened, updated, quiet, closed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from transforms.correlate.linking import Link
from transforms.correlate.settings import MINUTE_US, CorrelateSettings
from transforms.correlate.state import MAX_MEMBERS, MAX_SERVICES, IncidentState, TenantMemory
from transforms.correlate.symptoms import add_symptom
from transforms.elements import ANOMALY_SEVERITIES, Anomaly, AnomalySeverity, content_id
from transforms.incident_elements import IncidentAnomaly

MANY_SERVICES: Final = 3
"""So many services with an anomaly of medium severity or above raise the incident's severity by a step."""

SURE: Final = 0.9

UPDATE_US: Final = 5 * MINUTE_US
"""More of the same makes a new revision this often; what is new of kind does at once."""

DEPLOY_BEFORE_US: Final = 30 * MINUTE_US
OLDEST_US: Final = 24 * 60 * MINUTE_US
"""After a day an incident is closed whatever happens: what goes on begins another one."""


def may_open(anomaly: Anomaly) -> bool:
    """Whether it is worth an incident of its own. What is not may still join one.

    Of low severity only what is sure: five equal errors are an anomaly, and no incident.
    """
    if anomaly.below_confidence_floor:
        return False
    return anomaly.anomaly_severity != "low" or anomaly.confidence_score >= SURE


def open_incident(opener: Anomaly, domain: str) -> IncidentState:
    """An incident without members yet; its id depends on the anomaly that opens it alone."""
    return IncidentState(
        incident_id=content_id(opener.tenant_id, opener.anomaly_id),
        domain=domain,
        opened_us=opener.detected_at,
        started_us=opener.window_start,
        last_us=opener.window_end,
        updated_us=opener.window_end,
        revision=-1,
    )


def add_member(incident: IncidentState, anomaly: Anomaly, link: Link, memory: TenantMemory) -> bool:
    """Add one anomaly. Returns whether it is new of kind: another service, type or higher severity."""
    known = incident.symptoms.get(anomaly.service)
    is_new = known is None or anomaly.anomaly_type not in known.types
    if known is not None or len(incident.symptoms) < MAX_SERVICES:
        add_symptom(incident.symptoms, anomaly, memory.seen_us, memory.window_us or MINUTE_US)
        incident.joins[anomaly.service] = max(link.strength, incident.joins.get(anomaly.service, 0.0))
    if len(incident.members) < MAX_MEMBERS:
        incident.members.append(_member(anomaly, link.because))
    incident.count += 1
    incident.started_us = min(incident.started_us, anomaly.window_start)
    incident.last_us = max(incident.last_us, anomaly.window_end)
    before = incident.severity
    incident.severity = _severity_of(incident)
    return is_new or incident.severity != before


def _member(anomaly: Anomaly, because: str) -> IncidentAnomaly:
    return IncidentAnomaly(
        anomaly_id=anomaly.anomaly_id,
        service=anomaly.service,
        anomaly_type=anomaly.anomaly_type,
        severity=anomaly.anomaly_severity,
        detector=anomaly.detector,
        signal=anomaly.signal,
        description=anomaly.description,
        detected_at=anomaly.detected_at,
        joined_because=because,
        pattern_id=anomaly.evidence[0].pattern_id if anomaly.evidence else "",
    )


def withdraw_member(incident: IncidentState, anomaly_id: str) -> bool:
    """Take back an anomaly that a late pane showed not to hold. Returns whether it was listed."""
    kept = [member for member in incident.members if member.anomaly_id != anomaly_id]
    if len(kept) == len(incident.members):
        return False
    incident.members = kept
    incident.count -= 1
    services = {member.service for member in kept}
    if incident.count == len(kept):  # nothing but the list is known of the others
        for service in incident.symptoms.keys() - services:
            del incident.symptoms[service]
            incident.joins.pop(service, None)
    return True


def _severity_of(incident: IncidentState) -> AnomalySeverity:
    ranks = [ANOMALY_SEVERITIES.index(member.severity) for member in incident.members]
    loud = {member.service for member in incident.members if member.severity != "low"}
    rank = max(ranks, default=0) + (len(loud) >= MANY_SERVICES)
    return ANOMALY_SEVERITIES[min(rank, len(ANOMALY_SEVERITIES) - 1)]


def note_deploys(incident: IncidentState, memory: TenantMemory) -> None:
    """Keep the roll-outs that are near the incident in time and in one of its services."""
    near = [
        deploy
        for deploy in memory.deploys
        if deploy.service in incident.symptoms
        and incident.started_us - DEPLOY_BEFORE_US <= deploy.deployed_at <= incident.last_us
    ]
    incident.deploys = sorted(
        {deploy.deploy_id: deploy for deploy in [*incident.deploys, *near]}.values(),
        key=lambda deploy: (deploy.deployed_at, deploy.deploy_id),
    )


def age_incident(incident: IncidentState, now_us: int, settings: CorrelateSettings) -> bool:
    """Let time pass. Returns whether the status changed."""
    before = incident.status
    idle_us = now_us - incident.last_us
    is_old = now_us - incident.opened_us >= OLDEST_US
    if incident.count == 0 or idle_us >= settings.within_us or is_old:
        incident.status = "closed"
    elif idle_us >= settings.quiet_us:
        incident.status = "quiet"
    return incident.status != before


def mean_strength(joins: Sequence[float]) -> float:
    """How well the services of an incident hang together: 1 for one service, else the mean of the links."""
    return sum(sorted(joins)) / len(joins) if joins else 1.0
