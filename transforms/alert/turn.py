"""One turn at a tenant's book: the events that it gives, each written from the state after it."""

from __future__ import annotations

from dataclasses import dataclass, field

from transforms.alert.book import MOST_IDS, AlertBook, AlertState, Silence
from transforms.alert.catalog import EMPTY_CATALOG, ServiceCatalog
from transforms.alert.settings import AlertSettings
from transforms.alert_elements import SYSTEM_ACTOR, AlertEvent, AlertEventType, AlertStatus
from transforms.elements import SEVERITY_RANKS, AnomalySeverity, content_id


def is_worse(severity: AnomalySeverity, other: AnomalySeverity) -> bool:
    return SEVERITY_RANKS[severity] > SEVERITY_RANKS[other]


def worst(severities: list[AnomalySeverity]) -> AnomalySeverity:
    """The highest; low for none."""
    return max(severities, key=SEVERITY_RANKS.__getitem__, default="low")


@dataclass
class Turn:
    """Book, clock and rules of the moment, and the events so far."""

    book: AlertBook
    now: int
    settings: AlertSettings
    catalog: ServiceCatalog = EMPTY_CATALOG
    events: list[AlertEvent] = field(default_factory=list)

    def emit(
        self,
        alert: AlertState,
        event_type: AlertEventType,
        *,
        actor: str = SYSTEM_ACTOR,
        note: str = "",
        command_id: str = "",
    ) -> None:
        """Log that something happened to `alert`, which is as it stands after it."""
        occurred_at = max(self.now, alert.last_event_at)
        entry = self.catalog.entry(self.book.tenant_id, alert.service)
        told = [name for name in alert.new_fingerprints if name in alert.findings]
        self.events.append(
            AlertEvent(
                event_id=content_id(alert.alert_id, alert.sequence),
                alert_id=alert.alert_id,
                sequence=alert.sequence,
                event_type=event_type,
                tenant_id=self.book.tenant_id,
                service=alert.service,
                status=alert.status,
                severity=alert.severity,
                summary=summary_of(alert),
                group_key=alert.group_key,
                anomaly_types=list(alert.anomaly_types),
                detectors=list(alert.detectors),
                fingerprints=list(alert.new_fingerprints)[:MOST_IDS],
                anomaly_ids=list(alert.new_anomaly_ids),
                anomaly_count=alert.anomaly_count,
                pattern_ids=list(alert.pattern_ids),
                endpoints=list(alert.endpoints),
                example=alert.example,
                recommended_actions=list(alert.recommended_actions),
                incident_id=alert.incident_id,
                root_cause=alert.root_cause,
                inhibited_by=alert.inhibited_by,
                silence_id=alert.silence_id,
                silenced_until=alert.silenced_until or None,
                matchers=[],
                verdict=alert.verdict,
                owner=entry.owner,
                tier=entry.tier,
                channel=entry.channel,
                runbook=entry.runbook,
                actor=actor,
                note=note,
                command_id=command_id,
                opened_at=alert.opened_at,
                last_seen_at=alert.last_seen_at,
                occurred_at=occurred_at,
                findings=[alert.findings[name].finding for name in told[:MOST_IDS]],
            )
        )
        alert.sequence += 1
        alert.last_event_at = occurred_at
        alert.new_fingerprints = {}
        alert.new_anomaly_ids = []

    def emit_silence(
        self,
        silence: Silence,
        event_type: AlertEventType,
        *,
        actor: str = SYSTEM_ACTOR,
        note: str = "",
        command_id: str = "",
    ) -> None:
        """Log the life of a silence by matchers."""
        occurred_at = max(self.now, silence.last_event_at)
        status: AlertStatus = "resolved" if event_type == "resolved" else "open"
        services = [m.value for m in silence.matchers if m.name == "service" and m.operator == "="]
        self.events.append(
            _bare_event(
                self.book.tenant_id,
                silence.silence_id,
                silence.sequence,
                event_type,
                occurred_at,
                service=services[0] if services else "",
                status=status,
                summary="Silence of "
                + ", ".join(f"{m.name}{m.operator}{m.value!r}" for m in silence.matchers)[:400],
                group_key="silence",
                silence_id=silence.silence_id,
                silenced_until=silence.until,
                matchers=list(silence.matchers),
                actor=actor,
                note=note,
                command_id=command_id,
                opened_at=silence.opened_at,
            )
        )
        silence.sequence += 1
        silence.last_event_at = occurred_at

    def emit_rejection(self, *, actor: str, note: str, command_id: str) -> None:
        """Answer a command that names no alert of this tenant: a life of its own, of one event."""
        alert_id = content_id("rejected", self.book.tenant_id, command_id)
        self.events.append(
            _bare_event(
                self.book.tenant_id,
                alert_id,
                0,
                "rejected",
                self.now,
                status="resolved",
                summary="A command was rejected",
                group_key="rejected",
                actor=actor,
                note=note,
                command_id=command_id,
                opened_at=self.now,
            )
        )


def _bare_event(  # type: ignore[no-untyped-def]
    tenant_id: str, alert_id: str, sequence: int, event_type: AlertEventType, occurred_at: int, **fields
) -> AlertEvent:
    """An event of what is no alert: without anomalies."""
    bare = dict.fromkeys(AlertEvent.__struct_fields__, "")
    lists = ("anomaly_types", "detectors", "fingerprints", "anomaly_ids", "pattern_ids", "endpoints")
    return AlertEvent(
        **{
            **bare,
            **{name: [] for name in (*lists, "recommended_actions", "matchers", "findings")},
            "event_id": content_id(alert_id, sequence),
            "alert_id": alert_id,
            "sequence": sequence,
            "event_type": event_type,
            "tenant_id": tenant_id,
            "severity": "low",
            "anomaly_count": 0,
            "silenced_until": None,
            "last_seen_at": 0,
            "occurred_at": occurred_at,
            **fields,
        }
    )


def summary_of(alert: AlertState) -> str:
    """One sentence for people: the worst finding, and how many more there are."""
    if alert.is_storm:
        return f"A storm: {alert.anomaly_count} anomalies beyond the open alerts of this tenant"
    more = len(alert.findings) - 1
    if more < 1:
        return alert.summary
    return f"{alert.summary} (and {more} more {'finding' if more == 1 else 'findings'})"
