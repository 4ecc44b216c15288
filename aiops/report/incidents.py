"""Incidents of the report: which ones, their pictures, when each service was ill, and what to do."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from markupsafe import escape

from aiops.query import Filters
from aiops.query_incidents import (
    find_actions,
    find_dependencies,
    find_incidents,
    find_owners,
    likely_causes,
)
from aiops.report.charts import TimeAxis, make_axis
from aiops.report.episodes import Episode, fair_share
from aiops.report.pictures import Picture, draw_incident
from aiops.report.stretches import Spell, Wash, ranks_by_bucket, wash_stretches
from aiops.text import visible_text
from pipeline.duckdb_store import DuckDBStore, Row
from transforms.elements import SEVERITY_RANKS

MOST_INCIDENTS: Final = 40
OPEN_INCIDENTS: Final = 6
"""So many incidents are in sight at once; the rest unfolds."""
INCIDENT_BYTES: Final = 800_000
"""Budget for all incidents; those past it are told shorter and without a picture."""
_ACTIONS: Final = 5
_MINUTE: Final = timedelta(minutes=1)
_COLUMNS: Final = ("incident_id", "tenant_id", "status", "severity", "started_at", "updated_at")
_PLAIN: Final = (*_COLUMNS, "revision", "correlation_score", "anomaly_count")

Spans = Mapping[str, tuple[datetime, datetime]]
"""Window of an anomaly by its id."""


@dataclass(frozen=True)
class IncidentsData:
    """What the store holds of incidents; the most important first."""

    rows: list[Row]
    actions: dict[str, list[str]]  # incident_id → what its cause's anomalies recommend
    owners: dict[str, Row]  # incident_id → what the catalog says of its cause
    total: int
    active: int  # of the total, those that are not closed
    edges: list[Row]


@dataclass(frozen=True)
class Joined:
    """Anomalies of one episode in an incident, or one that is in no episode of the page."""

    at: datetime
    severity: str
    service: str
    description: str
    because: str
    anomalies: int
    episode: int | None  # its number on the page


@dataclass(frozen=True)
class Lane:
    """When one service was ill, in percent of the incident's axis."""

    service: str
    is_cause: bool
    stretches: list[Wash]


@dataclass(frozen=True)
class IncidentView:
    """One incident, drawn."""

    number: int
    row: Row
    rank: int
    last: datetime
    picture: Picture | None
    axis: TimeAxis
    lanes: list[Lane]
    more_lanes: int
    deploys: list[tuple[float, Row]]  # percent from the left
    joined: list[Joined]
    more_joined: int  # anomalies that are not listed here
    unreached: list[tuple[str, str]]  # service outside the chain of effects, why it belongs
    likely: int  # so many of its candidates for the cause are worth reading about
    actions: list[str]
    owner: Row | None  # of its cause, as the catalog says

    @property
    def is_active(self) -> bool:
        return bool(self.row["status"] != "closed")


def gather_incidents(store: DuckDBStore, tenant: str | None, start: datetime | None) -> IncidentsData:
    """Incidents that changed since `start`: those not closed first, worst first. Raises StoreError."""
    filters = Filters(tenant=tenant, since=start.isoformat() if start else None)
    every = find_incidents(store, filters, columns=_COLUMNS).rows
    every.sort(key=_importance, reverse=True)
    chosen = fair_share(every, lambda row: str(row["tenant_id"]), MOST_INCIDENTS)
    places = {row["incident_id"]: place for place, row in enumerate(chosen)}
    rows = store.query(
        "SELECT * FROM current_incidents WHERE list_contains($ids, incident_id)", {"ids": list(places)}
    )
    rows.sort(key=lambda row: places[row["incident_id"]])
    return IncidentsData(
        rows=rows,
        actions=find_actions(store, rows),
        owners=find_owners(store, rows),
        total=len(every),
        active=sum(row["status"] != "closed" for row in every),
        edges=find_dependencies(store, filters),
    )


def _importance(row: Row) -> tuple[bool, int, bool, datetime, str]:
    """Sorts what to look at first to the end: going on, severe, not quiet, new."""
    status = row["status"]
    rank = SEVERITY_RANKS[row["severity"]]
    return status != "closed", rank, status != "quiet", row["started_at"], row["incident_id"]


def view_incidents(data: IncidentsData, episodes: Iterable[Episode], spans: Spans) -> list[IncidentView]:
    """The incidents, drawn; `episodes` in the order of the page. Those past the budget are told shorter."""
    numbers = {key: number for number, episode in enumerate(episodes, 1) for key in episode.anomaly_ids}
    budget = INCIDENT_BYTES
    views = []
    for number, row in enumerate(data.rows, 1):
        view = _view(number, row, data, numbers, spans)
        clipped = clip_view(view, _IN_FULL if budget > 0 else _SHORT)
        told = dataclasses.asdict(clipped)
        budget -= len(escape(json.dumps(told, default=str, ensure_ascii=False)).encode("utf-8", "replace"))
        views.append(clipped)
    return views


@dataclass(frozen=True)
class Limits:
    """How much of an incident is told: characters of a text, and entries of a list."""

    characters: int
    entries: int
    causes: int
    has_picture: bool


_IN_FULL: Final = Limits(240, 12, 3, has_picture=True)
_SHORT: Final = Limits(80, 3, 1, has_picture=False)


def clip_view(view: IncidentView, limits: Limits) -> IncidentView:
    """The view with texts that are safe to show, and no more of them than `limits` allow."""

    def shown(text: str) -> str:
        return visible_text(text, limits.characters)

    most, row = limits.entries, view.row
    causes = [
        {name: shown(value) if isinstance(value, str) else value for name, value in cause.items()}
        | {"reasons": [shown(reason) for reason in cause["reasons"][:most]]}
        for cause in row["root_causes"]
    ]
    told = {
        "title": shown(row["title"]),
        "summary": visible_text(row["summary"], 3 * limits.characters),
        "root_causes": causes,
        "effects": [step | {"description": shown(step["description"])} for step in row["effects"][:most]],
        "trace_samples": [
            {
                "trace_id": shown(trace["trace_id"]),
                "services": [shown(name) for name in trace["services"][:most]],
            }
            for trace in row["trace_samples"][:most]
        ],
        "deploys": [
            deploy | {"service": shown(deploy["service"]), "what": shown(deploy["what"])}
            for deploy in row["deploys"][:most]
        ],
        "more_deploys": (row["deploy_count"] or 0) - len(row["deploys"][:most]),
        "services": len(row["affected_services"]),
    }
    listed = view.joined[:most]
    return dataclasses.replace(
        view,
        row={name: row[name] for name in _PLAIN} | told,
        likely=min(view.likely, limits.causes),
        picture=view.picture if limits.has_picture else None,
        lanes=view.lanes[:most],
        more_lanes=len(view.lanes) - len(view.lanes[:most]),
        joined=[
            dataclasses.replace(one, description=shown(one.description), because=shown(one.because))
            for one in listed
        ],
        more_joined=max(0, row["anomaly_count"] - sum(one.anomalies for one in listed)),
        unreached=[(name, shown(because)) for name, because in view.unreached[:most]],
        actions=[shown(action) for action in view.actions[:_ACTIONS]],
    )


def _view(
    number: int, row: Row, data: IncidentsData, numbers: Mapping[str, int], spans: Spans
) -> IncidentView:
    members = sorted(row["anomalies"], key=lambda member: (member["detected_at"], member["anomaly_id"]))
    edges = [edge for edge in data.edges if edge["tenant_id"] == row["tenant_id"]]
    joined = _joined(members, numbers)
    last = max([row["opened_at"], *(_span(member, spans)[1] for member in members)])
    since = min([row["started_at"], *(deploy["deployed_at"] for deploy in row["deploys"])])
    axis = make_axis(since - 2 * _MINUTE, last + 2 * _MINUTE, 60, 120)
    lanes = _lanes(row, members, axis, spans)
    return IncidentView(
        number=number,
        row=row,
        rank=SEVERITY_RANKS[row["severity"]],
        last=last,
        picture=draw_incident(row, edges, number),
        axis=axis,
        lanes=lanes,
        more_lanes=0,
        deploys=[(axis.percent(deploy["deployed_at"]), deploy) for deploy in row["deploys"]],
        joined=joined,
        more_joined=0,
        unreached=_unreached(row, members),
        likely=likely_causes(row),
        actions=data.actions[row["incident_id"]],
        owner=data.owners.get(row["incident_id"]),
    )


def _span(member: Row, spans: Spans) -> tuple[datetime, datetime]:
    end = member["detected_at"]
    return spans.get(member["anomaly_id"], (end - _MINUTE, end))


def _joined(members: Iterable[Row], numbers: Mapping[str, int]) -> list[Joined]:
    """Members by episode, in the order in which they joined; each with what the worst of them says."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for member in members:
        number = numbers.get(member["anomaly_id"])
        alike = tuple(member[name] for name in ("service", "anomaly_type", "detector", "signal"))
        groups.setdefault((number,) if number else alike, []).append(member)
    return [
        Joined(
            at=group[0]["detected_at"],
            severity=worst["severity"],
            service=worst["service"],
            description=worst["description"],
            because=group[0]["joined_because"],
            anomalies=len(group),
            episode=numbers.get(group[0]["anomaly_id"]),
        )
        for group in groups.values()
        for worst in [max(group, key=lambda member: SEVERITY_RANKS[member["severity"]])]
    ]


def _lanes(row: Row, members: Sequence[Row], axis: TimeAxis, spans: Spans) -> list[Lane]:
    """Services in the order in which they fell ill, the cause first."""
    cause = row["root_causes"][0]["service"] if row["root_causes"] else ""
    ill: dict[str, list[Spell]] = {}
    for member in members:
        start, end = _span(member, spans)
        # A rule that looks back on ten minutes speaks of their end.
        start = max(start, end - 2 * _MINUTE)
        ill.setdefault(member["service"], []).append(Spell(start, end, SEVERITY_RANKS[member["severity"]]))
    order = sorted(ill, key=lambda name: (name != cause, min(spell.start for spell in ill[name]), name))
    return [Lane(name, name == cause, wash_stretches(ranks_by_bucket(axis, ill[name]))) for name in order]


def _unreached(row: Row, members: Sequence[Row]) -> list[tuple[str, str]]:
    reached = {step["effect"] for step in row["effects"]}
    reached |= {cause["service"] for cause in row["root_causes"][:1]}
    because: dict[str, str] = {}
    for member in members:
        because.setdefault(member["service"], member["joined_because"])
    return [(name, because.get(name, "")) for name in row["affected_services"] if name not in reached]


def incidents_of_episodes(data: IncidentsData, episodes: Iterable[Episode]) -> dict[int, int]:
    """Number of an episode on the page → number of the incident that it is part of."""
    of_anomaly = {
        member["anomaly_id"]: number for number, row in enumerate(data.rows, 1) for member in row["anomalies"]
    }
    return {
        number: of_anomaly[key]
        for number, episode in enumerate(episodes, 1)
        for key in reversed(episode.anomaly_ids)
        if key in of_anomaly
    }
