"""PagerDuty, Events API v2: one PagerDuty alert for each of ours, opened, acknowledged and resolved."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from aiops.notify.channel_models import PagerDutyChannel
from aiops.notify.escaping import clean_text
from aiops.notify.http_sending import HttpPoster
from aiops.notify.notices import Notice
from aiops.notify.secrets import reveal
from aiops.notify.wording import title_of, word_notice
from transforms.elements import MICROSECONDS

_ACTIONS: Final = {"resolved": "resolve", "acknowledged": "acknowledge"}
_SEVERITIES: Final = {"critical": "critical", "high": "error", "medium": "warning", "low": "info"}
_MAX_SUMMARY: Final = 1024


def pagerduty_body(notice: Notice, routing_key: str) -> dict[str, Any]:
    """The event. `dedup_key` is the alert's id, so that copies and repeats open nothing twice."""
    event, wording = notice.event, word_notice(notice, clean_text)
    where = clean_text(event.service or event.group_key, 100)
    body: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": _ACTIONS.get(notice.kind, "trigger"),
        "dedup_key": f"aiops-{clean_text(event.alert_id, 100)}",
        "payload": {
            "summary": title_of(notice, clean_text)[:_MAX_SUMMARY],
            "source": f"{clean_text(event.tenant_id, 100)}/{where}",
            "severity": _SEVERITIES[event.severity],
            "timestamp": datetime.fromtimestamp(event.opened_at / MICROSECONDS, UTC).isoformat(),
            "component": clean_text(event.service, 100),
            "group": clean_text(event.group_key, 200),
            "class": clean_text(", ".join(event.anomaly_types), 200),
            "custom_details": {
                **dict(wording.facts),
                "Evidence": wording.example,
                "What to do": wording.advice,
                "Next": wording.commands,
            },
        },
        "client": "aiops",
    }
    return {**body, "links": [{"href": wording.link, "text": "Runbook"}]} if wording.link else body


class PagerDutySender:
    def __init__(self, channel: PagerDutyChannel) -> None:
        self._channel = channel
        self._http = HttpPoster(channel.timeout_seconds)

    def send(self, notices: list[Notice], now_us: int) -> None:  # noqa: ARG002
        key, url = self._channel.routing_key.reveal(), reveal(self._channel.url)
        for notice in notices:
            self._http.post(url, msgspec.json.encode(pagerduty_body(notice, key)), {}, [key])

    def close(self) -> None:
        self._http.close()
