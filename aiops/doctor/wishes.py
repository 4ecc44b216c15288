"""What the doctor was asked beside the options of the job, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pipeline.settings import OptionsError, Settings

_TOPIC: Final = re.compile(r"projects/[^/\s\x00-\x1f]+/topics/[^/\s\x00-\x1f]+")
_SUBSCRIPTION: Final = re.compile(r"projects/[^/\s\x00-\x1f]+/subscriptions/[^/\s\x00-\x1f]+")
_TENANT: Final = re.compile(r"[-a-z0-9:.]{1,200}")


@dataclass(frozen=True)
class Wishes:
    """Empty texts mean that nothing was said. `uses_pubsub`: the job or the doctor asks Pub/Sub."""

    canary: bool = False
    logs_topic: str = ""
    alert_subscription: str = ""
    canary_tenant: str = ""
    timeout_seconds: int = 300
    uses_pubsub: bool = False


def check_wishes(
    settings: Settings,
    *,
    canary: bool,
    logs_topic: str,
    alert_subscription: str,
    canary_tenant: str,
    timeout_seconds: int,
) -> Wishes:
    """The wishes, where they fit the options of the job. Raises OptionsError."""
    for option, value, shape, kind in (
        ("--logs-topic", logs_topic, _TOPIC, "topics/T"),
        ("--alert-subscription", alert_subscription, _SUBSCRIPTION, "subscriptions/S"),
    ):
        if value and not shape.fullmatch(value):
            raise OptionsError(f"{option}: must look like projects/P/{kind}, with their full names")
    if canary_tenant and not _TENANT.fullmatch(canary_tenant):
        raise OptionsError("--canary-tenant: must be a project's id, as logName has it")
    if canary_tenant and settings.tenant and canary_tenant != settings.tenant:
        raise OptionsError("--canary-tenant: with --tenant, all lines belong to that one; leave it out")
    if canary and not settings.input_subscription:
        raise OptionsError("--canary: needs a job that reads --input_subscription; files end")
    if canary and not (settings.alert_topic or alert_subscription):
        raise OptionsError("--canary: needs the --alert_topic of the job, or --alert-subscription")
    return Wishes(
        canary=canary,
        logs_topic=logs_topic,
        alert_subscription=alert_subscription,
        canary_tenant=canary_tenant,
        timeout_seconds=timeout_seconds,
        uses_pubsub=settings.is_streaming
        or bool(logs_topic or alert_subscription or settings.anomaly_topic or settings.alert_topic),
    )
