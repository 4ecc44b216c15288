"""The life of an incident: opened, updated, quiet, closed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Final

from transforms.correlate.linking import Link
from transforms.correlate.settings import CorrelateSettings
from transforms.correlate.state import (
    FEW_MEMBERS,
    MAX_DEPLOYS,
    MAX_LISTED,
    MAX_MEMBERS,
    MAX_SERVICES,
    IncidentState,
    TenantMemory,
)
from transforms.correlate.symptoms import Statement, Symptoms, add_symptom
from transforms.elements import (
    ANOMALY_SEVERITIES,
    DAY_US,
    MINUTE_US,
    SEVERITY_RANKS,
    Anomaly,
    AnomalySeverity,
    content_id,
)
from transforms.fingerprints import fingerprint_of
from transforms.incident_elements import IncidentAnomaly, NearbyDeploy

MANY_SERVICES: Final = 3
"""So many services with an anomaly of medium severity or above raise the incident's severity by a step."""

UPDATE_US: Final = 5 * MINUTE_US
"""More of the same makes a new revision this often; what is new of kind does at once."""

DEPLOY_BEFORE_US: Final = 30 * MINUTE_US
OLDEST_US: Final = DAY_US
"""After a day an incident is closed whatever happens: what goes on begins another one."""


REVISIONS: Final = 10_000
"""More than an incident can have in a day."""


def open_incident(opener: Anomaly, domain: str) -> IncidentState:
    """An incident without members yet; its id depends on the anomaly that opens it alone.

    An anomaly that was withdrawn, or whose incident is closed, may be revised once more and open the same
    again: its revisions are then higher than those before.
    """
    return IncidentState(
        incident_id=content_id(opener.tenant_id, opener.anomaly_id),
        domain=domain,
        opened_us=opener.detected_at,
        started_us=opener.window_start,
        last_us=opener.window_end,
        updated_us=opener.window_end,
        revision=opener.revision * REVISIONS - 1,
    )


def add_members(
    incident: IncidentState, joining: Sequence[tuple[Statement, Link]], memory: TenantMemory
) -> bool:
    """Add anomalies. Returns whether one is new of kind: another service, type or higher severity."""
    listed = sum(len(one.members) for one in memory.incidents)
    room = MAX_MEMBERS if listed < MAX_LISTED else FEW_MEMBERS
    is_new = False
    for statement, link in joining:
        anomaly = statement.anomaly
        known = incident.symptoms.get(anomaly.service)
        is_new = is_new or known is None or anomaly.anomaly_type not in known.types
        if known is not None or len(incident.symptoms) < MAX_SERVICES:
            add_symptom(incident.symptoms, statement, memory.window_us or MINUTE_US)
            incident.joins.setdefault(anomaly.service, link.strength)
        if len(incident.members) < room:
            incident.members.append(_member(anomaly, link.because))
        else:
            _count_unlisted(incident, anomaly)
        incident.count += 1
        incident.started_us = min(incident.started_us, anomaly.window_start)
        incident.last_us = max(incident.last_us, anomaly.window_end)
    before = incident.severity
    incident.severity = _severity_of(incident)
    return is_new or incident.severity != before


def _count_unlisted(incident: IncidentState, anomaly: Anomaly) -> None:
    name = anomaly.service if anomaly.service in incident.symptoms else ""
    rank = SEVERITY_RANKS[anomaly.anomaly_severity]
    incident.unlisted[name] = max(rank, incident.unlisted.get(name, 0))


def revise_member(incident: IncidentState, anomaly: Anomaly) -> bool:
    """Take over what a late pane says of a listed anomaly. Returns whether the severity changed."""
    incident.members = [
        _member(anomaly, member.joined_because) if member.anomaly_id == anomaly.anomaly_id else member
        for member in incident.members
    ]
    before = incident.severity
    incident.severity = _severity_of(incident)
    return incident.severity != before


def _member(anomaly: Anomaly, because: str) -> IncidentAnomaly:
    return IncidentAnomaly(
        anomaly_id=anomaly.anomaly_id,
        service=anomaly.service,
        anomaly_type=anomaly.anomaly_type,
        severity="low" if anomaly.below_confidence_floor else anomaly.anomaly_severity,
        detector=anomaly.detector,
        signal=anomaly.signal,
        description=anomaly.description,
        detected_at=anomaly.detected_at,
        joined_because=because,
        pattern_id=anomaly.evidence[0].pattern_id if anomaly.evidence else "",
        fingerprint=fingerprint_of(anomaly),
    )


def withdraw_member(incident: IncidentState, anomaly_id: str) -> None:
    """Take back a listed anomaly that a late pane showed not to hold."""
    kept = [member for member in incident.members if member.anomaly_id != anomaly_id]
    incident.members = kept
    incident.count -= 1
    services = {member.service for member in kept}
    if incident.count == len(kept):  # nothing but the list is known of the others
        for service in incident.symptoms.keys() - services:
            del incident.symptoms[service]
            incident.joins.pop(service, None)
    if not incident.count:
        incident.growth = {}
    incident.severity = _severity_of(incident)


def _severity_of(incident: IncidentState) -> AnomalySeverity:
    ranks = dict(incident.unlisted)
    for member in incident.members:
        rank = SEVERITY_RANKS[member.severity]
        ranks[member.service] = max(rank, ranks.get(member.service, 0))
    loud = sum(rank > 0 for rank in ranks.values())
    rank = max(ranks.values(), default=0) + (loud >= MANY_SERVICES)
    return ANOMALY_SEVERITIES[min(rank, len(ANOMALY_SEVERITIES) - 1)]


def note_deploys(incident: IncidentState, memory: TenantMemory) -> None:
    """Keep the roll-outs that are near the incident in time and in one of its services."""
    near = [
        deploy
        for deploy in memory.deploys
        if deploy.service in incident.symptoms
        and incident.started_us - DEPLOY_BEFORE_US <= deploy.deployed_at <= incident.last_us
    ]
    known = {deploy.deploy_id for deploy in incident.deploys}.union(incident.unlisted_deploys)
    fresh = [deploy for deploy in near if deploy.deploy_id not in known]
    ranked = _telling_first([*incident.deploys, *fresh], incident.symptoms)
    listed, left_out = ranked[:MAX_DEPLOYS], {deploy.deploy_id for deploy in ranked[MAX_DEPLOYS:]}
    incident.deploys = sorted(listed, key=lambda deploy: (deploy.deployed_at, deploy.deploy_id))
    incident.deploys_left_out += len(left_out)
    coming = {deploy.deploy_id for deploy in memory.deploys}  # none else is ever seen again
    incident.unlisted_deploys = sorted(left_out.union(incident.unlisted_deploys) & coming)


def _telling_first(deploys: Sequence[NearbyDeploy], symptoms: Mapping[str, Symptoms]) -> list[NearbyDeploy]:
    """Of each service the last one before its first anomaly, then of each the one before that, and so on.

    Those that came after it go last.
    """
    counts: Counter[tuple[bool, str]] = Counter()
    ranked = []
    for deploy in sorted(deploys, key=lambda deploy: (-deploy.deployed_at, deploy.deploy_id)):
        mine = symptoms.get(deploy.service)
        is_after = mine is None or deploy.deployed_at > mine.first_us + MINUTE_US
        counts[is_after, deploy.service] += 1
        ranked.append((is_after, counts[is_after, deploy.service], deploy.service, deploy.deploy_id, deploy))
    return [deploy for *_, deploy in sorted(ranked, key=itemgetter(0, 1, 2, 3))]


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
