"""How people see alerts: each one folded from its events. Used by the CLI, notify and the report."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from transforms.alert_elements import AlertEvent, AlertFinding, AlertStatus, Verdict
from transforms.elements import AnomalySeverity

MOST_VIEW_IDS = 500


class AlertView(msgspec.Struct, kw_only=True):
    """One alert, or one silence by matchers (`is_silence`), as of its newest event.

    `last` holds all that is not repeated here. Times are microseconds, 0 for never.
    """

    alert_id: str
    tenant_id: str
    service: str
    status: AlertStatus
    severity: AnomalySeverity
    summary: str
    verdict: Verdict
    is_silence: bool
    opened_at: int
    updated_at: int  # of its newest event
    last: AlertEvent
    events: list[AlertEvent]  # by sequence, without copies
    fingerprints: list[str]
    anomaly_ids: list[str]  # at most 500, the newest
    findings: list[AlertFinding]
    acknowledged_by: str = ""
    acknowledged_at: int = 0
    resolved_by: str = ""
    resolved_at: int = 0
    reopenings: int = 0

    @property
    def is_active(self) -> bool:
        return self.status in {"open", "acknowledged"}

    def is_silenced(self, now_us: int) -> bool:
        return bool(self.last.silence_id) and (self.last.silenced_until or 0) > now_us

    @property
    def is_inhibited(self) -> bool:
        return bool(self.last.inhibited_by)


def fold_events(events: Iterable[AlertEvent]) -> dict[str, AlertView]:
    """Views by alert id, the one opened last first. `events` come in any order, with copies.

    Answers to commands that named no alert are no alert, and are left out.
    """
    lives: dict[str, dict[int, AlertEvent]] = {}
    for event in events:
        if event.group_key != "rejected":
            lives.setdefault(event.alert_id, {}).setdefault(event.sequence, event)
    views = [_fold(alert_id, [life[n] for n in sorted(life)]) for alert_id, life in lives.items()]
    views.sort(key=lambda view: (-view.opened_at, view.alert_id))
    return {view.alert_id: view for view in views}


def _fold(alert_id: str, events: list[AlertEvent]) -> AlertView:
    last = events[-1]
    fingerprints = dict.fromkeys(name for event in events for name in event.fingerprints)
    anomaly_ids = dict.fromkeys(name for event in events for name in event.anomaly_ids)
    findings = {finding.fingerprint: finding for event in events for finding in event.findings}
    view = AlertView(
        alert_id=alert_id,
        tenant_id=last.tenant_id,
        service=last.service,
        status=last.status,
        severity=last.severity,
        summary=last.summary,
        verdict=last.verdict,
        is_silence=bool(last.matchers),
        opened_at=last.opened_at,
        updated_at=last.occurred_at,
        last=last,
        events=events,
        fingerprints=list(fingerprints),
        anomaly_ids=list(anomaly_ids)[-MOST_VIEW_IDS:],
        findings=list(findings.values()),
    )
    for event in events:
        if event.event_type == "acknowledged":
            view.acknowledged_by, view.acknowledged_at = event.actor, event.occurred_at
        elif event.event_type in {"resolved", "false_positive"} and not view.resolved_at:
            view.resolved_by, view.resolved_at = event.actor, event.occurred_at
        elif event.event_type == "reopened":
            view.reopenings += 1
            view.acknowledged_by = view.resolved_by = ""
            view.acknowledged_at = view.resolved_at = 0
    return view
