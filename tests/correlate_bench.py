"""A tenant for tests of correlation: clues by the minute, and what comes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from transforms.coders import StructCoder
from transforms.correlate.clues import Clue, ServiceFacts, clue_of_anomaly
from transforms.correlate.correlate import Correlated, CorrelateTenant
from transforms.correlate.settings import CorrelateSettings
from transforms.correlate.state import TenantMemory
from transforms.elements import (
    MINUTE_US,
    Anomaly,
    DeployEvent,
    Evidence,
    Example,
    RequestStats,
    TraceError,
    content_id,
)
from transforms.incident_elements import Dependency, Incident
from transforms.ordering import _handle_in_order

TENANT = "shop"


def make_anomaly(service: str, minute: int, kind: str = "error_spike", **fields: Any) -> Anomaly:
    """An anomaly of one window of a minute; `fields` are those of Anomaly, and `texts` of its evidence."""
    detector = fields.pop("detector", f"rule:{kind}")
    texts = fields.pop("texts", ())
    tenant_id = fields.pop("tenant_id", TENANT)
    start_us = minute * MINUTE_US
    evidence = [
        Evidence(content_id(text)[:16], text, 3, [Example(1, start_us, f"i{number}", text)])
        for number, text in enumerate(texts)
    ]
    known: dict[str, Any] = {
        "anomaly_id": content_id(tenant_id, service, detector, start_us),
        "revision": 0,
        "status": "open",
        "endpoint": "",
        "anomaly_severity": "high",
        "description": f"{kind} of {service}",
        "signal": "errors",
        "rules_version": "1",
        "window_start": start_us,
        "window_end": start_us + MINUTE_US,
        "confidence_score": 0.9,
        "below_confidence_floor": False,
        "metrics": [],
        "evidence": evidence,
        "recommended_actions": [],
        "gemini_analysis": "",
        "detected_at": start_us + MINUTE_US,
    }
    known |= fields
    return Anomaly(tenant_id=tenant_id, service=service, anomaly_type=kind, detector=detector, **known)  # type: ignore[arg-type]


def make_facts(
    service: str,
    *,
    callers: Mapping[str, RequestStats] | None = None,
    traces: Mapping[str, int] | None = None,
    spans: dict[str, dict[str, str]] | None = None,
    deploys: Sequence[tuple[int, str]] = (),
    served: tuple[int, int] = (0, 0),
) -> ServiceFacts:
    """`traces`: id → µs of the first error; `deploys`: (µs, what); `served`: requests, µs."""
    return ServiceFacts(
        service,
        lines=100,
        errors=0,
        requests=served[0],
        latency_count=served[0],
        latency_sum_us=served[1],
        callers=dict(callers or {}),
        traces={trace_id: TraceError(at_us, "s") for trace_id, at_us in (traces or {}).items()},
        spans=spans or {},
        deploys=[DeployEvent(at_us, "Deploy", what, "ann") for at_us, what in deploys],
    )


def mesh(
    calls: Iterable[tuple[str, str]], *, mean_us: int = 10_000, others: Sequence[str] = ()
) -> dict[str, ServiceFacts]:
    """Facts of a window in which each (caller, callee) of `calls` had 20 calls of `mean_us`."""
    found: dict[str, ServiceFacts] = {name: make_facts(name) for name in others}
    for caller, callee in calls:
        for name in (caller, callee):
            found.setdefault(name, make_facts(name))
        found[callee].callers[caller] = RequestStats(20, 0, 20 * mean_us, {200: 20})
    return found


class Tenant:
    """Walks minute by minute through CorrelateTenant, with `recode` over written and read states."""

    def __init__(self, settings: CorrelateSettings | None = None, *, recode: bool = False) -> None:
        self.step = CorrelateTenant(settings or CorrelateSettings())
        self.memory = self.step.initial()
        self.recode = recode
        self.minute = -1
        self.incidents: list[Incident] = []
        self.dependencies: list[Dependency] = []

    def at(
        self,
        minute: int,
        facts: Mapping[str, ServiceFacts] | None = None,
        anomalies: Sequence[Anomaly] = (),
    ) -> list[Incident]:
        """One minute's clues. Returns the revisions that come of them."""
        clues = [fact_clue(minute, found) for found in (facts or {}).values()]
        clues += [clue_of_anomaly(anomaly) for anomaly in anomalies]
        return self.hand_over(minute, clues)

    def hand_over(self, minute: int, clues: Sequence[Clue]) -> list[Incident]:
        handled_us = None if self.minute < 0 else (self.minute + 1) * MINUTE_US - 1
        timed = [((minute + 1) * MINUTE_US - 1, clue) for clue in clues]
        self.minute = max(minute, self.minute)
        found: list[Correlated] = [
            out for _, out in _handle_in_order(self.step, self.memory, timed, handled_us)
        ]
        incidents = [one.incident for one in found if one.incident is not None]
        self.incidents += incidents
        self.dependencies += [one.dependency for one in found if one.dependency is not None]
        if self.recode:
            coder: StructCoder[TenantMemory] = StructCoder(TenantMemory)
            self.memory = coder.decode(coder.encode(self.memory))
        return incidents

    @property
    def last(self) -> dict[str, Incident]:
        """The last revision of each incident, by id."""
        return {incident.incident_id: incident for incident in self.incidents}


def fact_clue(minute: int, facts: ServiceFacts, tenant_id: str = TENANT, pane: int = 0) -> Clue:
    return Clue(tenant_id, minute * MINUTE_US, 60, pane, facts=facts)


def because(incident: Incident) -> dict[str, list[str]]:
    """Why the anomalies of each service joined."""
    found: dict[str, list[str]] = {}
    for member in incident.anomalies:
        found.setdefault(member.service, []).append(member.joined_because)
    return found


def encoded(found: Iterable[msgspec.Struct]) -> list[bytes]:
    return [msgspec.msgpack.encode(one) for one in found]
