"""Alert events for tests of notifying: an alert, and what happens to it."""

from __future__ import annotations

from typing import Any

from transforms.alert_elements import AlertEvent, AlertEventType
from transforms.elements import content_id

MINUTE_US = 60_000_000
START_US = 1_767_603_600_000_000  # Monday, 2026-01-05 09:00 UTC


def alert_event(sequence: int, event_type: AlertEventType, minute: float = 0, **changes: Any) -> AlertEvent:
    """One event of an alert that was opened at START_US; `changes` are fields that differ."""
    status = {"resolved": "resolved", "acknowledged": "acknowledged", "false_positive": "false_positive"}
    alert_id = changes.get("alert_id", "a1")
    opens = event_type in ("opened", "reopened")
    fields: dict[str, Any] = {
        "event_id": content_id(alert_id, sequence),
        "alert_id": alert_id,
        "sequence": sequence,
        "event_type": event_type,
        "tenant_id": "acme",
        "service": "cart",
        "status": status.get(event_type, "open"),
        "severity": "high",
        "summary": "40 % of the requests to cart fail",
        "group_key": "service=cart",
        "anomaly_types": ["error_spike"],
        "detectors": ["rule:error-spike"],
        "fingerprints": ["f1"] if opens else [],
        "anomaly_ids": ["n1"] if opens else [],
        "anomaly_count": 1,
        "pattern_ids": ["p1"],
        "endpoints": ["GET /cart/{id}"],
        "example": "connection to redis refused",
        "recommended_actions": ["Look at redis."],
        "incident_id": "",
        "root_cause": "",
        "inhibited_by": "",
        "silence_id": "",
        "silenced_until": None,
        "matchers": [],
        "verdict": "",
        "owner": "shop",
        "tier": "1",
        "channel": "#shop",
        "runbook": "https://runbooks.example.com/cart",
        "actor": "aiops",
        "note": "",
        "command_id": "",
        "opened_at": START_US,
        "last_seen_at": START_US,
        "occurred_at": START_US + round(minute * MINUTE_US),
    }
    return AlertEvent(**fields | changes)
