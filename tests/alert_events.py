"""Alert events for tests of notifying: an alert on cart, and what happens to it."""

from __future__ import annotations

from typing import Any, Final

from sample_alerts import alert_event as sample_event

from transforms.alert_elements import AlertEvent, AlertEventType
from transforms.elements import MINUTE_US, content_id

START_US: Final = 1_767_603_600_000_000  # Monday, 2026-01-05 09:00 UTC
_STATUS: Final = {"resolved": "resolved", "acknowledged": "acknowledged", "false_positive": "false_positive"}
_CART: Final[dict[str, Any]] = {
    "alert_id": "a1",
    "service": "cart",
    "summary": "40 % of the requests to cart fail",
    "anomaly_types": ["error_spike"],
    "detectors": ["rule:error-spike"],
    "anomaly_count": 1,
    "endpoints": ["GET /cart/{id}"],
    "example": "connection to redis refused",
    "recommended_actions": ["Look at redis."],
    "owner": "shop",
    "channel": "#shop",
    "runbook": "https://runbooks.example.com/cart",
    "opened_at": START_US,
    "last_seen_at": START_US,
}


def alert_event(sequence: int, event_type: AlertEventType, minute: float = 0, **changes: Any) -> AlertEvent:
    """One event of an alert that was opened at START_US; `changes` are fields that differ."""
    opens = event_type in ("opened", "reopened")
    fields = {
        "event_id": content_id(changes.get("alert_id", "a1"), sequence),
        "event_type": event_type,
        "status": _STATUS.get(event_type, "open"),
        "fingerprints": ["f1"] if opens else [],
        "findings": [],
        "occurred_at": START_US + round(minute * MINUTE_US),
    }
    return sample_event(sequence, **_CART | fields | changes)
