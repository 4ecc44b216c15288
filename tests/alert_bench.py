"""A tenant's book with a clock that tests move, and checks of what its log says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from transforms.alert.book import AlertBook
from transforms.alert.catalog import EMPTY_CATALOG, ServiceCatalog
from transforms.alert.manage import Value, advance, apply
from transforms.alert.rebuild import rebuild_book
from transforms.alert.settings import AlertSettings
from transforms.alert.view import AlertView, fold_events
from transforms.alert_elements import AlertCommand, AlertEvent, Matcher
from transforms.elements import MICROSECONDS, Anomaly, Evidence, Example, content_id
from transforms.incident_elements import Incident, IncidentAnomaly, RootCause

START = 1_700_000_000 * MICROSECONDS
MINUTE = 60 * MICROSECONDS
ENDED = {"resolved", "false_positive"}
AFTER_THE_END = {"commented", "false_positive", "rejected", "reopened"}


def make_anomaly(
    service: str = "cart",
    detector: str = "error_rate",
    severity: str = "high",
    at: int = START,
    pattern: str = "",
    **fields: Any,
) -> Anomaly:
    """The anomaly of the window that ends at `at`; its id is that of design.md."""
    tenant, endpoint = fields.get("tenant_id", "acme"), fields.get("endpoint", "")
    signal = fields.get("signal", "error_rate")
    evidence = [Evidence(pattern, f"text of {pattern}", 3, [Example(1, at, "i1", f"line of {pattern}")])]
    anomaly = Anomaly(
        anomaly_id=content_id(tenant, service, endpoint, detector, signal, pattern, at - MINUTE),
        revision=0,
        status="open",
        tenant_id=tenant,
        service=service,
        endpoint=endpoint,
        anomaly_type="error_spike",
        anomaly_severity=severity,  # type: ignore[arg-type]
        description=f"{detector} of {service} is {severity}",
        detector=detector,
        signal=signal,
        rules_version="",
        window_start=at - MINUTE,
        window_end=at,
        confidence_score=0.9,
        below_confidence_floor=False,
        metrics=[],
        evidence=evidence if pattern else [],
        recommended_actions=["Look at it"],
        gemini_analysis="",
        detected_at=at,
    )
    return msgspec.structs.replace(anomaly, **fields)


def make_incident(
    anomalies: Iterable[Anomaly], root_cause: str = "", revision: int = 0, **fields: Any
) -> Incident:
    members = [
        IncidentAnomaly(
            anomaly_id=one.anomaly_id,
            service=one.service,
            anomaly_type=one.anomaly_type,
            severity=one.anomaly_severity,
            detector=one.detector,
            signal=one.signal,
            description=one.description,
            detected_at=one.detected_at,
            joined_because="",
        )
        for one in anomalies
    ]
    incident = Incident(
        incident_id=content_id("acme", members[0].anomaly_id),
        revision=revision,
        status="open",
        tenant_id="acme",
        severity="high",
        title="Checkout fails",
        summary="",
        correlation_score=0.5,
        anomaly_count=len(members),
        anomalies=members,
        affected_services=sorted({member.service for member in members}),
        root_causes=[RootCause(root_cause, 1.0, ["failed first"])] if root_cause else [],
        effects=[],
        trace_samples=[],
        deploys=[],
        started_at=START,
        opened_at=START,
        updated_at=START + revision,
        closed_at=None,
    )
    return msgspec.structs.replace(incident, **fields)


class Desk:
    """Drives one book; `log` is every event so far."""

    def __init__(
        self, settings: AlertSettings | None = None, catalog: ServiceCatalog = EMPTY_CATALOG
    ) -> None:
        self.settings = settings or AlertSettings()
        self.catalog = catalog
        self.book = AlertBook("acme")
        self.log: list[AlertEvent] = []
        self.now = START
        self.commands = 0

    def give(self, value: Value) -> list[AlertEvent]:
        events = apply(self.book, value, self.now, self.settings, self.catalog)
        self.log += events
        return events

    def anomaly(self, service: str = "cart", detector: str = "error_rate", **fields: Any) -> Anomaly:
        """An anomaly of the window that has just ended."""
        one = make_anomaly(service, detector, **{"at": self.now, **fields})
        self.give(one)
        return one

    def command(self, action: str, alert_id: str = "", **fields: Any) -> list[AlertEvent]:
        self.commands += 1
        command = AlertCommand(
            command_id=fields.pop("command_id", f"command-{self.commands}"),
            tenant_id=fields.pop("tenant_id", "acme"),
            action=action,  # type: ignore[arg-type]
            actor=fields.pop("actor", "ann"),
            issued_at=self.now,
            alert_id=alert_id,
            **fields,
        )
        return self.give(command)

    def silence(self, *matchers: Matcher, seconds: int = 3600, **fields: Any) -> list[AlertEvent]:
        until = self.now + seconds * MICROSECONDS
        return self.command("silence", matchers=list(matchers), until=until, **fields)

    def wait(self, seconds: int) -> list[AlertEvent]:
        self.now += seconds * MICROSECONDS
        events = advance(self.book, self.now, self.settings, self.catalog)
        self.log += events
        return events

    def opened(self, service: str = "cart", detector: str = "error_rate", **fields: Any) -> str:
        """Id of the alert of an anomaly, after the group wait."""
        self.anomaly(service, detector, **fields)
        [event] = [event for event in self.wait(30) if event.event_type == "opened"]
        return event.alert_id

    def view(self, alert_id: str) -> AlertView:
        return fold_events(self.log)[alert_id]

    def restart(self) -> None:
        """The process is killed; the log is all that is left."""
        self.book = rebuild_book("acme", self.log, self.now, self.settings)

    def types(self, alert_id: str = "") -> list[str]:
        return [event.event_type for event in self.log if alert_id in ("", event.alert_id)]


def contradiction(log: Iterable[AlertEvent]) -> str:
    """What in `log` cannot be, or ""."""
    lives: dict[str, list[AlertEvent]] = defaultdict(list)
    for event in log:
        lives[event.alert_id].append(event)
    for alert_id, life in lives.items():
        if [event.sequence for event in life] != list(range(len(life))):
            return f"sequences of {alert_id}: {[event.sequence for event in life]}"
        if problem := _life_problem(life):
            return f"{problem}: {[event.event_type for event in life]}"
    return ""


def _life_problem(life: list[AlertEvent]) -> str:
    if life[0].event_type == "rejected":
        return "more than an answer" if len(life) > 1 else ""
    if life[0].event_type != ("silenced" if life[0].matchers else "opened"):
        return "does not begin with its beginning"
    ended = False
    for before, event in zip([None, *life], life, strict=False):
        if before is not None and event.occurred_at < before.occurred_at:
            return "time goes back"
        if event.event_id != content_id(event.alert_id, event.sequence):
            return "the id is not that of the sequence"
        if before is not None and event.event_type == "opened":
            return "opened twice"
        if ended and event.event_type not in AFTER_THE_END:
            return f"{event.event_type} after the end"
        if event.event_type == "reopened" and not ended:
            return "reopened while open"
        ended = event.status in ENDED
        if (event.event_type in ENDED) > ended:
            return "ended but open"
    return ""
