"""A made-up alert, to try a channel with. It says of itself that nothing is wrong."""

from __future__ import annotations

import msgspec

from transforms.alert_elements import AlertEvent
from transforms.elements import content_id


def sample_events(now_us: int) -> tuple[AlertEvent, AlertEvent]:
    """The beginning and the end of an alert that does not exist."""
    alert_id = content_id("notify try", now_us)
    opened = AlertEvent(
        event_id=content_id(alert_id, 0),
        alert_id=alert_id,
        sequence=0,
        event_type="opened",
        tenant_id="_try",
        service="_try",
        status="open",
        severity="low",
        summary="aiops notify try: a test of this channel; nothing is wrong",
        group_key="service=_try",
        anomaly_types=["error_spike"],
        detectors=["aiops notify try"],
        fingerprints=[],
        anomaly_ids=[],
        anomaly_count=0,
        pattern_ids=[],
        endpoints=[],
        example="<b>markup</b> @here <!channel> https://example.com must be shown as text, and link nowhere",
        recommended_actions=["Nothing. It is a test."],
        incident_id="",
        root_cause="",
        inhibited_by="",
        silence_id="",
        silenced_until=None,
        matchers=[],
        verdict="",
        owner="",
        tier="",
        channel="",
        runbook="",
        actor="aiops",
        note="",
        command_id="",
        opened_at=now_us,
        last_seen_at=now_us,
        occurred_at=now_us,
    )
    resolved = msgspec.structs.replace(
        opened, event_id=content_id(alert_id, 1), sequence=1, event_type="resolved", status="resolved"
    )
    return opened, resolved
