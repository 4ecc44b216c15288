"""The sender of each type of channel."""

from __future__ import annotations

from collections.abc import Callable

from aiops.notify.channel_models import (
    AlertmanagerChannel,
    AppriseChannel,
    Channel,
    EmailChannel,
    PagerDutyChannel,
    SlackChannel,
    WebhookChannel,
)
from aiops.notify.channels.alertmanager import AlertmanagerSender, alertmanager_body
from aiops.notify.channels.by_apprise import AppriseSender
from aiops.notify.channels.email import EmailSender, mail_of
from aiops.notify.channels.pagerduty import PagerDutySender, pagerduty_body
from aiops.notify.channels.slack import SlackSender, slack_body
from aiops.notify.channels.webhook import WebhookSender, webhook_body
from aiops.notify.escaping import text_for_anywhere
from aiops.notify.notices import Notice, Sender
from aiops.notify.wording import plain_body, word_notices
from aiops.text import escape_json_text, visible_text


def make_sender(channel: Channel) -> Sender:
    """What sends to `channel`."""
    match channel:
        case EmailChannel():
            return EmailSender(channel)
        case SlackChannel():
            return SlackSender(channel)
        case PagerDutyChannel():
            return PagerDutySender(channel)
        case WebhookChannel():
            return WebhookSender(channel)
        case AlertmanagerChannel():
            return AlertmanagerSender(channel)
        case AppriseChannel():
            return AppriseSender(channel)


class DrySender:
    """Shows what would be sent to a channel, and sends nothing. Secrets are not looked up."""

    def __init__(self, channel: Channel, show: Callable[[str], None]) -> None:
        self._channel = channel
        self._show = show

    def send(self, notices: list[Notice], now_us: int) -> None:
        self._show(preview(self._channel, notices, now_us))

    def close(self) -> None:
        """Nothing is kept open."""


def preview(channel: Channel, notices: list[Notice], now_us: int) -> str:
    """The message as `channel` would get it, fit for a terminal."""
    match channel:
        case EmailChannel():
            mail = mail_of(notices, channel, now_us)
            text = mail.get_body(("plain",))
            body = text.get_content() if text is not None else ""
            return visible_text(f"To: {mail['To']}\nSubject: {mail['Subject']}\n\n{body}")
        case AppriseChannel():
            wording = word_notices(notices, text_for_anywhere)
            return visible_text(f"{wording.title}\n\n{plain_body(wording)}")
        case SlackChannel():
            return _json_text(slack_body(notices))
        case PagerDutyChannel():
            bodies = [pagerduty_body(notice, "(routing_key)") for notice in notices]
            return "\n".join(map(_json_text, bodies))
        case WebhookChannel():
            return "\n".join(webhook_body(notice).decode() for notice in notices)
        case AlertmanagerChannel():
            return _json_text(alertmanager_body(notices, now_us))


def _json_text(body: object) -> str:
    import json

    return escape_json_text(json.dumps(body, indent=2, ensure_ascii=False))
