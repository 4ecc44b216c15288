"""One tenant, moment by moment: facts and anomalies in, revisions of incidents and dependencies out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Final

import msgspec

from transforms.correlate.clues import Clue, ServiceFacts
from transforms.correlate.life import (
    UPDATE_US,
    add_members,
    age_incident,
    note_deploys,
    open_incident,
    revise_member,
    withdraw_member,
)
from transforms.correlate.linking import Group, Link, explains, group_anomalies, link_groups, link_to_incident
from transforms.correlate.services import OwnLatency, growth_of, learn_grown, learn_own, own_latencies_us
from transforms.correlate.settings import CorrelateSettings
from transforms.correlate.state import MAX_GROUPS, MAX_INCIDENTS, STORM, IncidentState, TenantMemory
from transforms.correlate.story import make_incident
from transforms.correlate.symptoms import Statement
from transforms.correlate.topology import configure, expire, observe, rows_due
from transforms.correlate.traces import forget_traces, learn_first, observe_traces
from transforms.elements import DAY_US, HOUR_US, MICROSECONDS, Anomaly, deploy_id
from transforms.incident_elements import Dependency, Incident, NearbyDeploy

OPENED: Final = "it opened the incident"
TOO_MANY: Final = "too many problems at once to tell them apart"
REMEMBER_US: Final = DAY_US
MAX_REMEMBERED_DEPLOYS: Final = 500


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
        if value.is_canary:
            return
        state.tenant_id = value.tenant_id
        # Not the timestamp: some runners round it to milliseconds.
        end_us = value.window_start_us + value.window_seconds * MICROSECONDS
        state.now_us = max(state.now_us, end_us)
        if value.anomaly is not None:
            state.anomalies.append(value.anomaly)
        elif value.facts is not None and not is_late:
            # A gap that is filled in stands beside the window that closed it, and is older.
            if value.window_start_us >= state.facts_start_us or value.facts.service not in state.facts:
                state.facts[value.facts.service] = value.facts
            state.facts_start_us = max(state.facts_start_us, value.window_start_us)
            state.window_us = value.window_seconds * MICROSECONDS
        yield from ()

    def end_time(self, state: TenantMemory, time_us: int) -> Iterator[Correlated]:  # noqa: ARG002
        """Learn from the facts, then handle the anomalies, then let time pass."""
        facts, anomalies = dict(sorted(state.facts.items())), _newest(state.anomalies)
        state.facts, state.anomalies = {}, []
        if facts:
            self._observe(state, facts, {anomaly.service for anomaly in anomalies})
        # What is over when the window begins takes nothing of it, be there clues in between or not.
        changed = self._age(state, state.now_us - state.window_us)
        self._take(state, anomalies, changed)
        changed |= self._age(state, state.now_us)
        for incident in state.incidents:
            _note_growth(incident, state)
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
        state.traces.windows = {name: n for name, n in state.traces.windows.items() if name in state.seen_us}
        observe_traces(state.traces, facts)
        forget_traces(state.traces, start_us - 2 * self._settings.within_us)
        _note_deploys(state, facts)
        ill = ill.union(*(incident.symptoms for incident in state.incidents if incident.status != "quiet"))
        learn_first(state.traces, facts.keys() - ill, start_us, start_us + state.window_us)
        _watch_own(state, facts, ill)

    def _take(self, state: TenantMemory, anomalies: Sequence[Anomaly], changed: dict[str, bool]) -> None:
        """Give every anomaly to an incident. `changed` gets the incidents that did; True: at once."""
        fresh = []
        known = {
            member.anomaly_id: incident
            for incident in state.incidents
            if incident.status != "closed"
            for member in incident.members
        }
        for anomaly in anomalies:
            incident = known.get(anomaly.anomaly_id)
            if incident is None:
                fresh += [anomaly] if anomaly.status == "open" else []
            elif anomaly.status == "withdrawn":
                withdraw_member(incident, anomaly.anomaly_id)
                changed[incident.incident_id] = True
            else:
                _note(changed, incident, at_once=revise_member(incident, anomaly))
        groups = group_anomalies(fresh, state)
        for cluster in _clusters(groups[:MAX_GROUPS], state):
            self._join(state, cluster, changed)
        _count_in_storm(groups[MAX_GROUPS:], state, changed)

    def _join(self, state: TenantMemory, groups: list[Group], changed: dict[str, bool]) -> None:
        """Let linked groups join the incident that they are linked to most, or open one."""
        incident = _most_linked(groups, state)
        if incident is not None:
            root = _best_linked(groups, incident, state)
        else:
            root = groups[0]
            if root.order[0]:
                return  # not worth an incident, and nothing that it belongs to
            if sum(one.status != "closed" for one in state.incidents) >= MAX_INCIDENTS:
                _count_in_storm(groups, state, changed)
                return
            incident = _open(root, root.domain, state)
        for group, link in _walk(root, groups, state):
            _add(incident, group, link_to_incident(group, incident, state) or link, state, changed)
        note_deploys(incident, state)


def _newest(anomalies: Sequence[Anomaly]) -> list[Anomaly]:
    """Of each anomaly the newest revision, by id."""
    found = {
        anomaly.anomaly_id: anomaly for anomaly in sorted(anomalies, key=lambda a: (a.anomaly_id, a.revision))
    }
    return list(found.values())


def _open(group: Group, domain: str, state: TenantMemory) -> IncidentState:
    opener = next(s.anomaly for s in group.statements if s.anomaly.anomaly_id == group.order[2])
    incident = open_incident(opener, domain)
    state.incidents.append(incident)
    return incident


def _add(
    incident: IncidentState, group: Group, link: Link | None, state: TenantMemory, changed: dict[str, bool]
) -> None:
    """Add the anomalies of `group`; without a link it is the one that opens the incident."""
    more = link or Link(1.0, f"more of {group.service}, which opened the incident")
    _add_all(incident, group, [(statement, more) for statement in group.statements], state, changed)


def _count_in_storm(groups: Sequence[Group], state: TenantMemory, changed: dict[str, bool]) -> None:
    """Give groups to the one incident of all that cannot be told apart."""
    storms = [one for one in state.incidents if one.domain == STORM and one.status != "closed"]
    if not groups or (groups[0].order[0] and not storms):
        return
    incident = storms[0] if storms else _open(groups[0], STORM, state)
    joining = [(statement, Link(0.0, TOO_MANY)) for group in groups for statement in group.statements]
    _add_all(incident, groups[0], joining, state, changed)


def _add_all(
    incident: IncidentState,
    first: Group,
    joining: Sequence[tuple[Statement, Link]],
    state: TenantMemory,
    changed: dict[str, bool],
) -> None:
    if incident.count == 0:
        opener_id, opened = first.order[2], Link(1.0, OPENED)
        joining = [
            (statement, opened if statement.anomaly.anomaly_id == opener_id else link)
            for statement, link in joining
        ]
    _note(changed, incident, at_once=add_members(incident, joining, state))
    if incident.status == "quiet":
        incident.status, changed[incident.incident_id] = "updated", True


def _note(changed: dict[str, bool], incident: IncidentState, *, at_once: bool) -> None:
    changed[incident.incident_id] = at_once or changed.get(incident.incident_id, False)


def _best_linked(groups: Sequence[Group], incident: IncidentState, state: TenantMemory) -> Group:
    links = [link_to_incident(group, incident, state) for group in groups]
    strengths = [-1.0 if link is None else link.strength for link in links]
    return groups[strengths.index(max(strengths))]


def _most_linked(groups: Sequence[Group], state: TenantMemory) -> IncidentState | None:
    """The incident that a cluster belongs to: that of its cause.

    What calls an ill service is ill with it, now as in an earlier incident: where the effects of a cause
    that no incident knows come back, it is a new problem.
    """
    causes = [one for one in groups if not any(explains(other, one, state) for other in groups)]
    found = []
    # What is only odd about a service is no cause of what its neighbors suffer.
    for group in [one for one in causes if one.spreads] or causes or groups:
        links = [
            (link.strength, link.ill_us, incident.incident_id, incident)
            for incident in state.incidents
            if incident.status != "closed" and (link := link_to_incident(group, incident, state)) is not None
        ]
        if not links:
            return None
        found += links
    return max(found, key=itemgetter(0, 1, 2))[3] if found else None


def _clusters(groups: Sequence[Group], state: TenantMemory) -> list[list[Group]]:
    """Groups that are linked among themselves; in each the one that may open an incident is first."""
    left = list(groups)
    clusters = []
    while left:
        cluster = [group for group, _ in _walk(left[0], left, state)]
        names = {(group.service, group.domain) for group in cluster}
        left = [group for group in left if (group.service, group.domain) not in names]
        clusters.append(cluster)
    return clusters


def _walk(root: Group, groups: Sequence[Group], state: TenantMemory) -> Cluster:
    """`root` and all that hangs together with it, each with the link that brought it in; `root` has none."""
    walked: Cluster = [(root, None)]
    left = [group for group in groups if group is not root]
    for member, _ in walked:  # grows while it is walked
        linked = [(group, link_groups(group, member, state, group.since_us)) for group in left]
        walked += [(group, link) for group, link in linked if link is not None]
        left = [group for group, link in linked if link is None]
    return walked


def _watch_own(state: TenantMemory, facts: dict[str, ServiceFacts], ill: set[str]) -> None:
    """Note whose own latency grew in the open incidents; learn from services that are well."""
    grown = {}
    for service, own_us in own_latencies_us(facts).items():
        usual = state.own.setdefault(service, OwnLatency())
        growth = growth_of(usual, own_us)
        if growth is not None:
            grown[service] = growth
            learn_grown(usual)
        elif service not in ill:
            learn_own(usual, own_us)
    state.own = {service: usual for service, usual in state.own.items() if service in state.seen_us}
    state.grown = grown


def _note_growth(incident: IncidentState, state: TenantMemory) -> None:
    """Keep whose own latency grew in the newest window, if the incident is still going on in it."""
    if state.grown and incident.last_us >= state.now_us - state.window_us:
        near = {*incident.symptoms, *(c for s in incident.symptoms for c in state.topology.callees(s))}
        incident.growth |= {service: growth for service, growth in state.grown.items() if service in near}


def _note_deploys(state: TenantMemory, facts: dict[str, ServiceFacts]) -> None:
    found = {deploy.deploy_id: deploy for deploy in state.deploys}
    for service, fact in facts.items():
        for event in fact.deploys:
            key = deploy_id(state.tenant_id, service, event)
            found[key] = NearbyDeploy(key, service, event.what, event.event_time_us)
    since_us = state.facts_start_us - HOUR_US
    ordered = sorted(found.values(), key=lambda deploy: (deploy.deployed_at, deploy.deploy_id))
    state.deploys = [deploy for deploy in ordered if deploy.deployed_at >= since_us][-MAX_REMEMBERED_DEPLOYS:]
    state.deploys_changed()


def _is_due(incident: IncidentState, changed: dict[str, bool], now_us: int) -> bool:
    at_once = changed.get(incident.incident_id)
    return bool(at_once) or (at_once is False and now_us - incident.updated_us >= UPDATE_US)


def _revise(incident: IncidentState, state: TenantMemory) -> Incident:
    incident.revision += 1
    incident.updated_us = state.now_us
    row = make_incident(incident, state, state.tenant_id)
    if incident.status == "open":
        incident.status = "updated"
    return row
