"""Made-up alert events and commands for tests of messages, sources, commands of people and verdicts."""

from __future__ import annotations

from typing import Any

import msgspec

from transforms.alert_elements import AlertCommand, AlertEvent
from transforms.elements import MICROSECONDS, MINUTE_US, content_id

START_US = 1_767_261_600 * MICROSECONDS  # 2026-01-01T10:00:00Z
FINDING = {
    "fingerprint": content_id("fingerprint", "payment"),
    "service": "payment",
    "endpoint": "POST /charge",
    "anomaly_type": "error_spike",
    "severity": "high",
    "detector": "rule:error_spike",
    "signal": "error_rate",
    "pattern_ids": [content_id("pattern", "payment")],
}


def alert_event(sequence: int = 0, **changes: Any) -> AlertEvent:
    """An event of acme's alert on payment, `sequence` minutes after it was opened."""
    tenant, service = changes.get("tenant_id", "acme"), changes.get("service", "payment")
    alert_id = changes.get("alert_id", content_id("alert", tenant, service))
    values: dict[str, Any] = {
        "event_id": content_id(alert_id, sequence),
        "alert_id": alert_id,
        "sequence": sequence,
        "event_type": "updated" if sequence else "opened",
        "tenant_id": tenant,
        "service": service,
        "status": "open",
        "severity": "high",
        "summary": "payment: 31 % of lines are errors, 12 in 39.",
        "group_key": f"service={service}",
        "anomaly_types": ["error_spike", "new_pattern"],
        "detectors": ["rule:error_spike", "new_pattern"],
        "fingerprints": [] if sequence else [content_id("fingerprint", service)],
        "anomaly_ids": [] if sequence else [content_id("anomaly", service)],
        "findings": [] if sequence else [FINDING],
        "anomaly_count": 1 + sequence,
        "pattern_ids": [content_id("pattern", service)],
        "endpoints": ["POST /charge"],
        "example": "charge <id:v1:0123abcd45> refused: connection reset",
        "recommended_actions": ["Look at the newest deploy of payment."],
        "incident_id": "",
        "root_cause": "",
        "inhibited_by": "",
        "silence_id": "",
        "silenced_until": None,
        "matchers": [],
        "verdict": "",
        "owner": "team-payments",
        "tier": "tier-1",
        "channel": "#payments",
        "runbook": "https://runbooks.example.com/payment",
        "actor": "aiops",
        "note": "",
        "command_id": "",
        "opened_at": START_US,
        "last_seen_at": START_US + sequence * MINUTE_US,
        "occurred_at": START_US + sequence * MINUTE_US,
    }
    return msgspec.convert(values | changes, AlertEvent)


def alert_command(action: str = "acknowledge", **changes: Any) -> AlertCommand:
    """Ann's command on acme's alert on payment."""
    values: dict[str, Any] = {
        "command_id": content_id("command", action),
        "tenant_id": "acme",
        "action": action,
        "actor": "ann",
        "issued_at": START_US + MINUTE_US,
        "alert_id": content_id("alert", "acme", "payment"),
    }
    return msgspec.convert(values | changes, AlertCommand)
