"""What a policy file says of channels: where to send, as whom, how often."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from aiops.notify.secrets import SecretRef
from transforms.alert.notify_policy import ChannelTraits
from transforms.elements import MICROSECONDS

ChannelType = Literal["email", "slack", "pagerduty", "webhook", "alertmanager", "apprise"]
MailSecurity = Literal["starttls", "tls", "none"]
PAGERDUTY_URL: Final = "https://events.pagerduty.com/v2/enqueue"
REFRESH_SECONDS: Final = 15 * 60
"""How often Alertmanager is told again what still holds; it forgets after four times as long."""


class Rate(msgspec.Struct, frozen=True):
    """At most so many messages in so much time."""

    messages: int
    seconds: int

    def __str__(self) -> str:
        units = {60: "m", 3600: "h", 86_400: "d"}
        return f"{self.messages}/{units.get(self.seconds, f'{self.seconds}s')}"


class EmailChannel(msgspec.Struct, frozen=True, tag="email", kw_only=True):
    """Mail by SMTP."""

    name: str
    to: tuple[str, ...]
    sender: str
    host: str
    port: int = 587
    security: MailSecurity = "starttls"
    user: str = ""
    password: SecretRef | None = None
    rate: Rate = Rate(60, 3600)
    timeout_seconds: int = 30
    give_up_seconds: int = 2 * 3600
    fallback: str = ""


class SlackChannel(msgspec.Struct, frozen=True, tag="slack", kw_only=True):
    """One Slack channel by its incoming webhook, whose address is the secret."""

    name: str
    url: SecretRef
    rate: Rate = Rate(30, 60)
    timeout_seconds: int = 10
    give_up_seconds: int = 2 * 3600
    fallback: str = ""


class PagerDutyChannel(msgspec.Struct, frozen=True, tag="pagerduty", kw_only=True):
    """One PagerDuty service by its integration key, Events API v2."""

    name: str
    routing_key: SecretRef
    url: str | SecretRef = PAGERDUTY_URL
    rate: Rate = Rate(120, 60)
    timeout_seconds: int = 10
    give_up_seconds: int = 2 * 3600
    fallback: str = ""


class WebhookChannel(msgspec.Struct, frozen=True, tag="webhook", kw_only=True):
    """Any server that takes JSON; with `secret` the body is signed."""

    name: str
    url: str | SecretRef
    secret: SecretRef | None = None
    headers: dict[str, str | SecretRef] = {}
    rate: Rate = Rate(600, 60)
    timeout_seconds: int = 10
    give_up_seconds: int = 24 * 3600
    fallback: str = ""


class AlertmanagerChannel(msgspec.Struct, frozen=True, tag="alertmanager", kw_only=True):
    """One Alertmanager, API v2."""

    name: str
    url: str | SecretRef
    user: str = ""
    password: SecretRef | None = None
    headers: dict[str, str | SecretRef] = {}
    rate: Rate = Rate(600, 60)
    timeout_seconds: int = 10
    give_up_seconds: int = 24 * 3600
    fallback: str = ""


class AppriseChannel(msgspec.Struct, frozen=True, tag="apprise", kw_only=True):
    """Whatever Apprise knows, by its URL, which holds the secret."""

    name: str
    url: SecretRef
    rate: Rate = Rate(30, 60)
    timeout_seconds: int = 30
    give_up_seconds: int = 2 * 3600
    fallback: str = ""


Channel = (
    EmailChannel | SlackChannel | PagerDutyChannel | WebhookChannel | AlertmanagerChannel | AppriseChannel
)
CHANNEL_STRUCTS: Final[dict[str, type[msgspec.Struct]]] = {
    "email": EmailChannel,
    "slack": SlackChannel,
    "pagerduty": PagerDutyChannel,
    "webhook": WebhookChannel,
    "alertmanager": AlertmanagerChannel,
    "apprise": AppriseChannel,
}


def traits_of(channel: Channel) -> ChannelTraits:
    """What the clock has to know of it."""
    match channel:
        case PagerDutyChannel():
            return ChannelTraits(keeps_state=True, takes_acknowledged=True)
        case WebhookChannel():
            return ChannelTraits(keeps_state=True, takes_acknowledged=True)
        case AlertmanagerChannel():
            return ChannelTraits(keeps_state=True, refresh_us=REFRESH_SECONDS * MICROSECONDS)
        case _:
            return ChannelTraits()


def is_for_people(channel: Channel) -> bool:
    """Whether several messages may become one digest: programs need each for itself."""
    return isinstance(channel, EmailChannel | SlackChannel | AppriseChannel)


def secrets_of(channel: Channel) -> list[SecretRef]:
    """Every secret that it needs."""
    values: list[object] = [getattr(channel, field) for field in channel.__struct_fields__]
    values += getattr(channel, "headers", {}).values()
    return [value for value in values if isinstance(value, SecretRef)]
