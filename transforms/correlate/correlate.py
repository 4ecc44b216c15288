"""One tenant, moment by moment: facts and anomalies in, revisions of incidents and dependencies out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Final

import msgspec

from transforms.correlate.clues import Clue, ServiceFacts
from transforms.correlate.life import (
    UPDATE_US,
    add_member,
    age_incident,
    may_open,
    note_deploys,
    open_incident,
    withdraw_member,
)
from transforms.correlate.linking import Group, Link, explains, group_anomalies, link_groups, link_to_incident
from transforms.correlate.services import OwnLatency, growth_of, learn_own, own_latencies_us
from transforms.correlate.settings import HOUR_US, CorrelateSettings
from transforms.correlate.state import IncidentState, TenantMemory
from transforms.correlate.story import make_incident
from transforms.correlate.topology import configure, expire, observe, rows_due
from transforms.correlate.traces import forget_traces, learn_first, observe_traces
from transforms.elements import MICROSECONDS, Anomaly, deploy_id
from transforms.incident_elements import Dependency, Incident, NearbyDeploy

OPENED: Final = "it opened the incident"
REMEMBER_US: Final = 24 * HOUR_US
MAX_DEPLOYS: Final = 500


Cluster = list[tuple[Group, Link | None]]
"""Groups of one problem, each with the link that brought it in; the first has none."""


class Correlated(msgspec.Struct, frozen=True):
    """One of the two."""

    incident: Incident | None = None
    dependency: Dependency | None = None


class CorrelateTenant:
    """Ordered step of a tenant. All clues of one timestamp are looked at together, in `end_time`."""

    state_type = TenantMemory
    output_type = Correlated

    def __init__(self, settings: CorrelateSettings) -> None:
        self._settings = settings

    def initial(self) -> TenantMemory:
        return TenantMemory()

    def step(self, state: TenantMemory, value: Clue, *, is_late: bool) -> Iterator[Correlated]:
        state.tenant_id = value.tenant_id
        if value.anomaly is not None:
            state.anomalies.append(value.anomaly)
        elif value.facts is not None and not is_late:
            state.facts[value.facts.service] = value.facts
            state.facts_start_us = value.window_start_us
            state.window_us = value.window_seconds * MICROSECONDS
        yield from ()

    def end_time(self, state: TenantMemory, time_us: int) -> Iterator[Correlated]:
        """Learn from the facts, then handle the anomalies, then let time pass."""
        state.now_us = max(state.now_us, time_us + 1)
        facts, anomalies = state.facts, state.anomalies
        state.facts, state.anomalies = {}, []
        if facts:
            self._observe(state, facts, {anomaly.service for anomaly in anomalies})
        # What is over when the window begins takes nothing of it, be there clues in between or not.
        aged = self._age(state, state.now_us - state.window_us)
        changed = aged | self._take(state, anomalies) | self._age(state, state.now_us)
        for incident in state.incidents:
            if _is_due(incident, changed, state.now_us):
                yield Correlated(incident=_revise(incident, state))
        state.incidents = [incident for incident in state.incidents if incident.status != "closed"]
        for row in rows_due(state.topology, state.tenant_id, state.now_us, state.window_us):
            yield Correlated(dependency=row)

    def _age(self, state: TenantMemory, now_us: int) -> dict[str, bool]:
        """Let time pass. Returns the incidents whose status changed."""
        return {
            incident.incident_id: True
            for incident in state.incidents
            if incident.status != "closed" and age_incident(incident, now_us, self._settings)
        }

    def _observe(self, state: TenantMemory, facts: dict[str, ServiceFacts], ill: set[str]) -> None:
        start_us = state.facts_start_us
        wanted = [told for told in self._settings.dependencies if told.tenant_id in {"", state.tenant_id}]
        state.seen_us |= dict.fromkeys(facts, start_us)
        state.seen_us = {name: at for name, at in state.seen_us.items() if at > start_us - REMEMBER_US}
        observe(state.topology, facts, start_us)
        expire(state.topology, state.seen_us, start_us, self._settings.dependency_hours * HOUR_US)
        configure(state.topology, wanted, start_us)
        observe_traces(state.traces, facts)
        forget_traces(state.traces, start_us - 2 * self._settings.within_us)
        _note_deploys(state, facts)
        ill = ill.union(*(incident.symptoms for incident in state.incidents if incident.status != "quiet"))
        learn_first(state.traces, facts.keys() - ill, start_us, start_us + state.window_us)
        _watch_own(state, facts, ill)

    def _take(self, state: TenantMemory, anomalies: Sequence[Anomaly]) -> dict[str, bool]:
        """Give every anomaly to an incident. Returns the incidents that changed; True: at once."""
        changed: dict[str, bool] = {}
        fresh = []
        known = {member.anomaly_id: incident for incident in state.incidents for member in incident.members}
        for anomaly in anomalies:
            incident = known.get(anomaly.anomaly_id)
            if anomaly.status == "withdrawn":
                if incident is not None and withdraw_member(incident, anomaly.anomaly_id):
                    changed[incident.incident_id] = True
            elif incident is None:
                fresh.append(anomaly)
        for cluster in _clusters(group_anomalies(fresh, state), state):
            self._join(state, cluster, changed)
        return changed

    def _join(self, state: TenantMemory, cluster: Cluster, changed: dict[str, bool]) -> None:
        """Let a cluster of groups join the incident that it is linked to most, or open one."""
        groups = [group for group, _ in cluster]
        incident = _most_linked(groups, state)
        if incident is None:
            sure = [anomaly for group in groups for anomaly in group.anomalies if may_open(anomaly)]
            if not sure:
                return  # not worth an incident, and nothing that it belongs to
            opener = min(sure, key=lambda anomaly: (anomaly.window_start, anomaly.anomaly_id))
            incident = open_incident(opener, groups[0].domain)
            state.incidents.append(incident)
        for group, link in cluster:
            why = link_to_incident(group, incident, state) or link or Link(1.0, OPENED)
            for anomaly in sorted(group.anomalies, key=lambda a: (a.window_start, a.anomaly_id)):
                is_new = add_member(incident, anomaly, why, state)
                changed[incident.incident_id] = is_new or changed.get(incident.incident_id, False)
        if incident.status == "quiet":
            incident.status, changed[incident.incident_id] = "updated", True
        note_deploys(incident, state)


def _most_linked(groups: Sequence[Group], state: TenantMemory) -> IncidentState | None:
    """The incident that a cluster belongs to: that of its cause.

    What calls an ill service is ill with it, now as in an earlier incident: where the effects of a cause
    that no incident knows come back, it is a new problem.
    """
    causes = [one for one in groups if not any(explains(other, one, state) for other in groups)]
    found = []
    for group in causes or groups:
        links = [
            (link.strength, link.ill_us, incident.incident_id, incident)
            for incident in state.incidents
            if incident.status != "closed" and (link := link_to_incident(group, incident, state)) is not None
        ]
        if not links:
            return None
        found += links
    return max(found, key=itemgetter(0, 1, 2))[3] if found else None


def _clusters(groups: Sequence[Group], state: TenantMemory) -> list[Cluster]:
    """Groups that are linked among themselves; each with the link that brought it in."""
    left = list(groups)
    clusters = []
    while left:
        cluster: Cluster = [(left.pop(0), None)]
        for member, _ in cluster:  # grows while it is walked
            linked = [(group, link_groups(group, member, state, group.since_us)) for group in left]
            joined = [(group, link) for group, link in linked if link is not None]
            cluster += joined
            left = [group for group, link in linked if link is None]
        clusters.append(cluster)
    return clusters


def _watch_own(state: TenantMemory, facts: dict[str, ServiceFacts], ill: set[str]) -> None:
    """Note whose own latency grew in the open incidents; learn from services that are well."""
    grown = {}
    for service, own_us in own_latencies_us(facts).items():
        usual = state.own.setdefault(service, OwnLatency())
        growth = growth_of(usual, own_us)
        if growth is not None:
            grown[service] = growth
        elif service not in ill:
            learn_own(usual, own_us)
    state.own = {service: usual for service, usual in state.own.items() if service in state.seen_us}
    state.grown = grown


def _note_deploys(state: TenantMemory, facts: dict[str, ServiceFacts]) -> None:
    found = {deploy.deploy_id: deploy for deploy in state.deploys}
    for service, fact in facts.items():
        for event in fact.deploys:
            key = deploy_id(state.tenant_id, service, event)
            found[key] = NearbyDeploy(key, service, event.what, event.event_time_us)
    since_us = state.facts_start_us - HOUR_US
    ordered = sorted(found.values(), key=lambda deploy: (deploy.deployed_at, deploy.deploy_id))
    state.deploys = [deploy for deploy in ordered if deploy.deployed_at >= since_us][-MAX_DEPLOYS:]
    state.deploys_changed()


def _is_due(incident: IncidentState, changed: dict[str, bool], now_us: int) -> bool:
    at_once = changed.get(incident.incident_id)
    return bool(at_once) or (at_once is False and now_us - incident.updated_us >= UPDATE_US)


def _revise(incident: IncidentState, state: TenantMemory) -> Incident:
    incident.revision += 1
    if incident.revision and incident.status == "open":
        incident.status = "updated"
    incident.updated_us = state.now_us
    near = {*incident.symptoms, *(c for s in incident.symptoms for c in state.topology.callees(s))}
    incident.growth |= {service: growth for service, growth in state.grown.items() if service in near}
    return make_incident(incident, state, state.tenant_id)
