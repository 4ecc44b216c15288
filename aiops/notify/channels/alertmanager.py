"""Alertmanager, API v2: alerts as Prometheus sends them, with an end that moves on while they hold."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from aiops.notify.channel_models import REFRESH_SECONDS, AlertmanagerChannel
from aiops.notify.escaping import clean_text
from aiops.notify.http_sending import HttpPoster
from aiops.notify.notices import Notice
from aiops.notify.secrets import SecretRef, reveal
from aiops.notify.wording import word_notice
from transforms.elements import MICROSECONDS

HOLDS_SECONDS: Final = 4 * REFRESH_SECONDS
"""As Prometheus does, four refreshes: what is not told again in this time is over."""

_PATH: Final = "/api/v2/alerts"


def alertmanager_body(notices: Sequence[Notice], now_us: int) -> list[dict[str, Any]]:
    """The alerts. A changed severity is another alert to Alertmanager: the old one ends in the same post."""
    alerts = []
    for notice in notices:
        alerts.append(_alert(notice, notice.event.severity, now_us, is_over=notice.is_over))
        if notice.severity_before not in ("", notice.event.severity):
            alerts.append(_alert(notice, notice.severity_before, now_us, is_over=True))
    return alerts


def _alert(notice: Notice, severity: str, now_us: int, *, is_over: bool) -> dict[str, Any]:
    event, wording = notice.event, word_notice(notice, clean_text)
    labels = {
        "alertname": "aiops",
        "alert_id": clean_text(event.alert_id, 100),
        "tenant": clean_text(event.tenant_id, 200),
        "service": clean_text(event.service, 200),
        "group": clean_text(event.group_key, 200),
        "severity": severity,
    }
    annotations = {
        "summary": clean_text(event.summary, 500),
        "types": clean_text(", ".join(event.anomaly_types), 500),
        "cause": clean_text(event.root_cause, 200),
        "owner": clean_text(event.owner, 200),
        "evidence": wording.example,
        "what_to_do": "\n".join(wording.advice),
        "runbook_url": wording.link,
        "next": "\n".join(wording.commands),
    }
    starts_us = min(event.opened_at, now_us)
    return {
        "labels": _filled(labels),
        "annotations": _filled(annotations),
        "startsAt": _rfc3339(starts_us),
        "endsAt": _rfc3339(now_us if is_over else now_us + HOLDS_SECONDS * MICROSECONDS),
    }


def _filled(texts: dict[str, str]) -> dict[str, str]:
    """Alertmanager takes no empty labels."""
    return {name: text for name, text in texts.items() if text}


def _rfc3339(us: int) -> str:
    return datetime.fromtimestamp(us / MICROSECONDS, UTC).isoformat(timespec="milliseconds")


class AlertmanagerSender:
    def __init__(self, channel: AlertmanagerChannel) -> None:
        self._channel = channel
        self._http = HttpPoster(channel.timeout_seconds)

    def send(self, notices: list[Notice], now_us: int) -> None:
        channel = self._channel
        headers = {name: reveal(value) for name, value in channel.headers.items()}
        hidden = [headers[name] for name, value in channel.headers.items() if isinstance(value, SecretRef)]
        if channel.password is not None:
            password = channel.password.reveal()
            login = base64.b64encode(f"{channel.user}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {login}"
            hidden += [password, login]
        url = reveal(channel.url).rstrip("/").removesuffix(_PATH) + _PATH
        self._http.post(url, msgspec.json.encode(alertmanager_body(notices, now_us)), headers, hidden)

    def close(self) -> None:
        self._http.close()
