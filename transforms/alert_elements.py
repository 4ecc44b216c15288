"""Alerts: what pages people, the commands they answer with, and the log of all that happened.

The log is the truth: an alert is nothing but the fold of its events (`transforms/alert/`). Rows of
the table `alert_events`; units as in `transforms/elements.py`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from transforms.elements import AnomalySeverity, AnomalyType, Timestamp, describe

AlertEventType = Literal[
    "opened",
    "updated",
    "acknowledged",
    "escalated",
    "repeated",
    "resolved",
    "reopened",
    "silenced",
    "commented",
    "false_positive",
    "rejected",
]

AlertStatus = Literal["open", "acknowledged", "resolved", "false_positive"]
"""Silenced and inhibited are not states of life: an open alert may be either, both or none."""

Verdict = Literal["", "useful", "false_positive"]

AlertAction = Literal[
    "acknowledge",
    "resolve",
    "reopen",
    "silence",
    "expire_silence",
    "comment",
    "false_positive",
    "useful",
    "escalate",
    "repeat",
]
"""The last two are what `aiops notify` did; all others are for people."""

MatcherName = Literal["tenant", "service", "type", "pattern", "severity", "detector", "endpoint"]
MatcherOperator = Literal["=", "!=", "=~", "!~"]

SYSTEM_ACTOR: Final = "aiops"


class Matcher(msgspec.Struct, frozen=True):
    """One condition of a silence, as in Alertmanager; `=~` is an RE2 expression that must match all of it."""

    name: Annotated[MatcherName, describe("What is compared; 'type' is the anomaly type.")]
    operator: Annotated[MatcherOperator, describe("= and != compare texts, =~ and !~ take RE2.")]
    value: Annotated[str, describe("Text, or an RE2 expression that must match all of the value.")]


class AlertFinding(msgspec.Struct, frozen=True):
    """What all anomalies of one fingerprint have in common: what matchers of silences look at."""

    fingerprint: Annotated[str, describe("What stays the same from window to window.")]
    service: Annotated[str, describe("Service that shows it.")]
    endpoint: Annotated[str, describe("Endpoint that shows it, or empty.")]
    anomaly_type: Annotated[AnomalyType, describe("Kind of anomaly.")]
    severity: Annotated[AnomalySeverity, describe("The highest so far, as the catalog weighs it.")]
    detector: Annotated[str, describe("What found it.")]
    signal: Annotated[str, describe("The signal it was found in.")]
    pattern_ids: Annotated[list[str], describe("Patterns of its evidence so far, at most 20.")]


class AlertCommand(msgspec.Struct, frozen=True):
    """What somebody wants done.

    Comes as JSON on a subscription of commands, which says whose tenant it is.
    """

    command_id: Annotated[str, describe("Chosen by the sender; a copy of a command has no effect.")]
    tenant_id: Annotated[str, describe("Tenant of the alert; a subscription of another tenant refuses it.")]
    action: Annotated[AlertAction, describe("What is to be done; escalate and repeat are for notifiers.")]
    actor: Annotated[str, describe("Who wants it, for the audit: a handle or an address.")]
    issued_at: Annotated[Timestamp, describe("When they said so.")]
    alert_id: Annotated[
        str, describe("Empty only for a silence by matchers, and for ending one by its silence_id.")
    ] = ""
    note: Annotated[str, describe("What they say of it; redacted before it is stored.")] = ""
    matchers: Annotated[list[Matcher], describe("Of a silence: all of them must hold.")] = []
    until: Annotated[Timestamp, describe("End of a silence; 0 for none.")] = 0
    silence_id: Annotated[str, describe("Of the silence that expire_silence ends.")] = ""


class AlertEvent(msgspec.Struct, frozen=True):
    """Something that happened to an alert. Table `alert_events`; the data of a CloudEvent.

    `fingerprints` and `anomaly_ids` are those that this event adds; all else is as it stands after it.
    A silence by matchers is a life of its own: its `alert_id` is its `silence_id`.
    """

    event_id: Annotated[str, describe("Hash of alert and sequence: copies have the same.")]
    alert_id: Annotated[str, describe("Hash of tenant, group and the anomaly that opened it.")]
    sequence: Annotated[int, describe("0 for the first event of an alert, then one more each.")]
    event_type: Annotated[
        AlertEventType,
        describe(
            "opened, updated, acknowledged, escalated, repeated, resolved, reopened, silenced, commented, "
            "false_positive or rejected."
        ),
    ]
    tenant_id: Annotated[str, describe("Tenant that it belongs to.")]
    service: Annotated[str, describe("Service that shows it.")]
    status: Annotated[AlertStatus, describe("open, acknowledged, resolved or false_positive.")]
    severity: Annotated[
        AnomalySeverity,
        describe("The highest of its anomalies and of the alerts it speaks for, as the catalog weighs them."),
    ]
    summary: Annotated[str, describe("One sentence for people.")]
    group_key: Annotated[str, describe("What its anomalies have in common, e.g. service=cart.")]
    anomaly_types: Annotated[list[str], describe("Types of its anomalies so far.")]
    detectors: Annotated[list[str], describe("Detectors and rules that found them so far.")]
    fingerprints: Annotated[list[str], describe("Fingerprints that this event adds, at most 100.")]
    anomaly_ids: Annotated[list[str], describe("Anomalies that this event adds, at most 100.")]
    anomaly_count: Annotated[int, describe("Anomalies so far, those beyond the lists included.")]
    pattern_ids: Annotated[list[str], describe("Patterns of its evidence so far, at most 20.")]
    endpoints: Annotated[list[str], describe("Endpoints of its anomalies so far, at most 20.")]
    example: Annotated[str, describe("One redacted line of its evidence, or empty.")]
    recommended_actions: Annotated[list[str], describe("What to do next.")]
    incident_id: Annotated[str, describe("Incident that it is part of, or empty.")]
    root_cause: Annotated[str, describe("Service that the incident names as the cause, or empty.")]
    inhibited_by: Annotated[str, describe("Open alert of the cause, which speaks for this one; or empty.")]
    silence_id: Annotated[str, describe("Silence that it is under, or empty.")]
    silenced_until: Annotated[Timestamp | None, describe("End of that silence; null without one.")]
    matchers: Annotated[
        list[Matcher], describe("Matchers of a silence, in the events of the silence itself.")
    ]
    verdict: Annotated[Verdict, describe("What people said of it: useful, false_positive or empty.")]
    owner: Annotated[str, describe("Who owns the service, from the catalog.")]
    tier: Annotated[str, describe("Tier of the service, from the catalog.")]
    channel: Annotated[str, describe("Where its owner wants to hear of it, from the catalog.")]
    runbook: Annotated[str, describe("Address of the runbook, from the catalog.")]
    actor: Annotated[str, describe("Who did it; 'aiops' for the job itself.")]
    note: Annotated[str, describe("What they said, or why.")]
    command_id: Annotated[str, describe("Command that caused it, or empty.")]
    opened_at: Annotated[Timestamp, describe("When the alert was opened.")]
    last_seen_at: Annotated[Timestamp, describe("Detection time of its newest anomaly.")]
    occurred_at: Annotated[Timestamp, describe("When it happened: the wall clock, or event time of a file.")]
    findings: Annotated[
        list[AlertFinding],
        describe("What is behind the fingerprints that this event adds or that changed, at most 100."),
    ] = []
