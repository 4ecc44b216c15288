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

    anomaly_id: Annotated[str, describe("Row of the table anomalies.")]
    service: Annotated[str, describe("Service that shows it.")]
    anomaly_type: Annotated[str, describe("Kind of anomaly.")]
    severity: Annotated[AnomalySeverity, describe("low, medium, high or critical.")]
    detector: Annotated[str, describe("What found it.")]
    signal: Annotated[str, describe("The signal it was found in.")]
    description: Annotated[str, describe("One sentence for people.")]
    detected_at: Annotated[Timestamp, describe("End of the window that showed it.")]
    joined_because: Annotated[str, describe("Why it is part of the incident, in words.")]
    pattern_id: Annotated[str, describe("Pattern that it rests on, or empty.")] = ""
    fingerprint: Annotated[str, describe("What stays the same from window to window.")] = ""


class RootCause(msgspec.Struct, frozen=True):
    """One candidate for the cause. `reasons` are sentences, the strongest first."""

    service: Annotated[str, describe("Service that may be the cause.")]
    score: Annotated[float, describe("0 to 1; the candidates of an incident add up to 1.")]
    reasons: Annotated[list[str], describe("Why, in sentences, the strongest first.")]
    instance: Annotated[str, describe("Pod, where evidence names one.")] = ""
    revision: Annotated[str, describe("Revision that was rolled out or that alone shows it, or empty.")] = ""
    pattern_id: Annotated[str, describe("Pattern that speaks most, or empty.")] = ""
    pattern: Annotated[str, describe("The line of that pattern.")] = ""
    metric: Annotated[str, describe("Metric or signal that speaks most, or empty.")] = ""


class EffectStep(msgspec.Struct, frozen=True):
    """One link in the chain from the cause to those who feel it."""

    cause: Annotated[str, describe("Service that passes it on.")]
    effect: Annotated[str, describe("Service that feels it.")]
    started_at: Annotated[Timestamp, describe("First anomaly of the service that feels it.")]
    description: Annotated[str, describe("One sentence for people.")]


class TraceSample(msgspec.Struct, frozen=True):
    """One trace that several services of the incident share, in the order in which they failed."""

    trace_id: Annotated[str, describe("Id of the trace.")]
    services: Annotated[list[str], describe("Services with an error in it, the first to fail first.")]
    first_error_at: Annotated[Timestamp, describe("Time of the first error.")]


class NearbyDeploy(msgspec.Struct, frozen=True):
    """A roll-out shortly before the incident or in it."""

    deploy_id: Annotated[str, describe("Row of the table deploys.")]
    service: Annotated[str, describe("Service that was rolled out.")]
    what: Annotated[str, describe("Image, revision or version.")]
    deployed_at: Annotated[Timestamp, describe("Event time of the audit log entry.")]


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
    deploys: Annotated[list[NearbyDeploy], describe("Roll-outs shortly before it or in it, at most 100.")]
    started_at: Annotated[Timestamp, describe("Start of the first window that shows it, event time.")]
    opened_at: Annotated[Timestamp, describe("End of the window that opened it.")]
    updated_at: Annotated[Timestamp, describe("End of the window that brought this revision.")]
    closed_at: Annotated[Timestamp | None, describe("When it was closed; null while it is not.")]
    narrative: Annotated[
        str, describe("What, since when, who is affected, likely cause, next checks; empty below high.")
    ] = ""
    narrated_by: Annotated[NarratedBy, describe("template, gemini, or empty without a narrative.")] = ""
    deploy_count: Annotated[int, describe("Roll-outs so far, those beyond the list included.")] = 0


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
