"""Incidents: what a hundred anomalies of one problem become, and the dependencies that say so.

Rows of the tables `incidents` and `dependencies`; units as in `transforms/elements.py`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from transforms.elements import AnomalySeverity, Timestamp, describe

IncidentStatus = Literal["open", "updated", "quiet", "closed"]
NarratedBy = Literal["", "template", "gemini"]
INCIDENT_STATUSES: Final[tuple[IncidentStatus, ...]] = ("open", "updated", "quiet", "closed")


class IncidentAnomaly(msgspec.Struct, frozen=True):
    """One anomaly of an incident, and why it belongs to it."""

    anomaly_id: str
    service: str
    anomaly_type: str
    severity: AnomalySeverity
    detector: str
    signal: str
    description: str
    detected_at: Timestamp
    joined_because: str  # in words; "opened the incident" for the first
    pattern_id: str = ""
    fingerprint: str = ""  # what stays the same from window to window, see transforms/fingerprints.py


class RootCause(msgspec.Struct, frozen=True):
    """One candidate for the cause. `reasons` are sentences, the strongest first."""

    service: str
    score: float  # 0 to 1; the candidates of an incident add up to 1
    reasons: list[str]
    instance: str = ""  # the pod, where evidence names one
    revision: str = ""  # the revision that was rolled out or that alone shows it
    pattern_id: str = ""
    pattern: str = ""
    metric: str = ""  # the metric or signal that speaks most


class EffectStep(msgspec.Struct, frozen=True):
    """One link in the chain from the cause to those who feel it."""

    cause: str  # service
    effect: str  # service that calls it directly, or whose errors name it
    started_at: Timestamp  # the effect's first anomaly
    description: str


class TraceSample(msgspec.Struct, frozen=True):
    """One trace that several services of the incident share, in the order in which they failed."""

    trace_id: str
    services: list[str]  # the first one failed first
    first_error_at: Timestamp


class NearbyDeploy(msgspec.Struct, frozen=True):
    """A roll-out shortly before the incident or in it."""

    deploy_id: str
    service: str
    what: str
    deployed_at: Timestamp


class Incident(msgspec.Struct, frozen=True):
    """One revision of one incident. Table `incidents`."""

    incident_id: Annotated[str, describe("Hash of tenant and the anomaly that opened it.")]
    revision: Annotated[int, describe("Grows with each change; the last counts.")]
    status: Annotated[IncidentStatus, describe("open, updated, quiet (nothing new for a while) or closed.")]
    tenant_id: Annotated[str, describe("Tenant that it belongs to.")]
    severity: Annotated[AnomalySeverity, describe("low, medium, high or critical; see docs/incidents.md.")]
    title: Annotated[str, describe("One line for people.")]
    summary: Annotated[str, describe("What happened, why, and who feels it, in a few sentences.")]
    correlation_score: Annotated[float, describe("0 to 1: how well the anomalies hang together.")]
    anomaly_count: Annotated[int, describe("Anomalies so far, those beyond the list included.")]
    anomalies: Annotated[list[IncidentAnomaly], describe("The first of them, with why each one joined.")]
    affected_services: Annotated[list[str], describe("Services with an anomaly in it, the cause first.")]
    root_causes: Annotated[list[RootCause], describe("Candidates for the cause, the likeliest first.")]
    effects: Annotated[list[EffectStep], describe("Chain from the cause to those who feel it.")]
    trace_samples: Annotated[list[TraceSample], describe("Traces that its services share.")]
    deploys: Annotated[list[NearbyDeploy], describe("Roll-outs shortly before it or in it.")]
    started_at: Annotated[Timestamp, describe("Start of the first window that shows it, event time.")]
    opened_at: Annotated[Timestamp, describe("End of the window that opened it.")]
    updated_at: Annotated[Timestamp, describe("End of the window that brought this revision.")]
    closed_at: Annotated[Timestamp | None, describe("When it was closed; null while it is not.")]
    narrative: Annotated[
        str, describe("What, since when, who is affected, likely cause, next checks; empty below high.")
    ] = ""
    narrated_by: Annotated[NarratedBy, describe("template, gemini, or empty without a narrative.")] = ""


DependencySource = Literal["mesh", "trace", "configuration"]


class Dependency(msgspec.Struct, frozen=True):
    """One service calls another one: an edge of the topology as of a time. Table `dependencies`."""

    tenant_id: Annotated[str, describe("Tenant that both services belong to.")]
    caller: Annotated[str, describe("Service that calls.")]
    callee: Annotated[str, describe("Service that is called.")]
    source: Annotated[DependencySource, describe("What shows it: mesh, trace or configuration.")]
    revision: Annotated[int, describe("Minutes from 1970 to `as_of`; the last counts.")]
    as_of: Annotated[Timestamp, describe("End of the newest window that is counted, event time.")]
    first_seen: Annotated[Timestamp, describe("Start of the first window that showed it.")]
    last_seen: Annotated[Timestamp, describe("Start of the last window that showed it.")]
    requests: Annotated[int, describe("Calls in the last hour; of a trace, calls in kept traces.")]
    errors: Annotated[int | None, describe("Of these, those that failed; null where traces alone show it.")]
    requests_per_minute: Annotated[float, describe("Calls a minute over the windows that had any.")]
    latency_p50_ms: Annotated[
        float | None, describe("Median latency at the callee; null where none is known.")
    ]
    latency_p95_ms: Annotated[float | None, describe("95th percentile of it.")]
