"""Any server that takes JSON: the whole event, signed where the policy names a secret."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec

from aiops.notify.channel_models import WebhookChannel
from aiops.notify.escaping import clean_text
from aiops.notify.http_sending import HttpPoster
from aiops.notify.notices import Notice
from aiops.notify.secrets import SecretRef, reveal
from aiops.notify.wording import title_of
from aiops.text import escape_json_text
from transforms.elements import MICROSECONDS


def webhook_body(notice: Notice) -> bytes:
    """The body: what is told, and `alert`, the alert's newest event, as it is in `alert_events`."""
    body: dict[str, Any] = {
        "version": 1,
        "notice_id": notice.notice_id,
        "kind": notice.kind,
        "route": notice.route,
        "step": notice.step,
        "told_at": notice.told_at_us,
        "title": title_of(notice, clean_text),
        "alert": notice.event,
    }
    return escape_json_text(msgspec.json.encode(body).decode()).encode()


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """`sha256=` and the HMAC-SHA256 of timestamp, ".", body, in hexadecimal digits."""
    mac = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={mac.hexdigest()}"


class WebhookSender:
    def __init__(self, channel: WebhookChannel) -> None:
        self._channel = channel
        self._http = HttpPoster(channel.timeout_seconds)

    def send(self, notices: list[Notice], now_us: int) -> None:
        channel, url = self._channel, reveal(self._channel.url)
        own = {name: reveal(value) for name, value in channel.headers.items()}
        hidden = [own[name] for name, value in channel.headers.items() if isinstance(value, SecretRef)]
        secret = channel.secret.reveal() if channel.secret is not None else ""
        timestamp = str(now_us // MICROSECONDS)
        for notice in notices:
            body = webhook_body(notice)
            headers = {**own, "X-Aiops-Notice-Id": notice.notice_id, "X-Aiops-Timestamp": timestamp}
            if secret:
                headers["X-Aiops-Signature"] = signature(secret, timestamp, body)
            self._http.post(url, body, headers, [*hidden, *([secret] if secret else [])])

    def close(self) -> None:
        self._http.close()
