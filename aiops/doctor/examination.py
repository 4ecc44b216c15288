"""All layers in their order; what makes no sense without the layer before it is skipped, and said so."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from datetime import datetime

from aiops.doctor.backlog import check_backlog
from aiops.doctor.canary import Canary, send_canary
from aiops.doctor.checks import SERVER_ERRORS, Check, Layer, ServerAwayError, refused
from aiops.doctor.configuration import canary_severity, check_canary_gets_through, check_configuration
from aiops.doctor.credentials import (
    PUBSUB_EMULATOR,
    Identity,
    check_credentials,
    needs_credentials,
)
from aiops.doctor.freshness import check_dataset_freshness, check_failed_rows, check_store
from aiops.doctor.heartbeat import check_heartbeat
from aiops.doctor.listening import listening
from aiops.doctor.pubsub import PubSubExam
from aiops.doctor.tables import check_tables
from aiops.doctor.wishes import Wishes
from pipeline.alert_sinks import TENANT, tenant_topic
from pipeline.bigquery_client import EMULATOR_VARIABLE as BIGQUERY_EMULATOR
from pipeline.bigquery_client import make_client, split_dataset
from pipeline.settings import Settings


def examine(settings: Settings, wishes: Wishes, now: datetime) -> Iterator[Check]:
    """Every check as soon as it is done, from what is near to what is far."""
    is_configured = yield from _all_of(check_configuration(settings), "configuration")
    identity = None
    if needs_credentials(settings, uses_pubsub=wishes.uses_pubsub):
        check, identity = check_credentials()
        yield check
    exam = _open_pubsub(identity) if wishes.uses_pubsub else None
    try:
        is_connected = False
        if exam is not None:
            is_connected = yield from _all_of(_topics_and_subscriptions(exam, settings, wishes), "Pub/Sub")
        elif wishes.uses_pubsub:
            yield _skipped("Pub/Sub", "without credentials")
        if settings.dataset:
            yield from _dataset(settings, identity, now)
        else:
            yield from check_store(settings, now)
        if identity is not None and exam is not None and is_connected and not os.environ.get(PUBSUB_EMULATOR):
            for subscription in filter(None, (settings.input_subscription, settings.metrics_subscription)):
                yield check_backlog(identity.credentials, subscription, now)
        if wishes.canary and exam is not None and is_configured and is_connected:
            yield from _all_of(_canary(exam, settings, wishes), "canary")
        elif wishes.canary:
            yield _skipped("canary", "until what failed above is mended")
    finally:
        if exam is not None:
            exam.close()


def _all_of(checks: Iterator[Check], layer: Layer) -> Generator[Check, None, bool]:
    """All `checks`, until a server does not answer; whether none of them failed."""
    is_sound = True
    try:
        for check in checks:
            is_sound = is_sound and check.state != "failed"
            yield check
    except ServerAwayError as away:
        variable = BIGQUERY_EMULATOR if layer == "BigQuery" else PUBSUB_EMULATOR
        yield Check(layer, "server", "failed", f"does not answer: {away}", _mend_of_host(variable))
        return False
    return is_sound


def _open_pubsub(identity: Identity | None) -> PubSubExam | None:
    if os.environ.get(PUBSUB_EMULATOR):
        return PubSubExam(None)
    return PubSubExam(identity) if identity is not None else None


def _topics_and_subscriptions(exam: PubSubExam, settings: Settings, wishes: Wishes) -> Iterator[Check]:
    if settings.input_subscription:
        yield from exam.subscription("--input_subscription", settings.input_subscription, wishes.logs_topic)
    if settings.metrics_subscription:
        yield from exam.subscription("--metrics_subscription", settings.metrics_subscription)
    for tenant, subscription in settings.command_subscriptions:
        yield from exam.subscription(f"--commands {tenant}:", subscription)
    if wishes.logs_topic:
        yield from exam.topic("--logs-topic", wishes.logs_topic, publishes=wishes.canary)
    for option in ("anomaly_topic", "dead_letter_topic", "heartbeat_topic"):
        if topic := getattr(settings, option):
            yield from exam.topic(f"--{option}", topic)
    for topic in _alert_topics(settings, wishes):
        yield from exam.topic("--alert_topic", topic, is_read=True)
    if wishes.alert_subscription:
        topic = "" if TENANT in settings.alert_topic else settings.alert_topic
        given = wishes.alert_subscription
        yield from exam.subscription("--alert-subscription", given, topic, is_backlog=False)


def _alert_topics(settings: Settings, wishes: Wishes) -> list[str]:
    """The topic of all alerts, or those of the tenants that are known here by name."""
    if TENANT not in settings.alert_topic:
        return [settings.alert_topic] if settings.alert_topic else []
    tenants = {tenant for tenant, _ in settings.command_subscriptions}
    tenants |= {wishes.canary_tenant, settings.tenant} - {""}
    return [topic for tenant in sorted(tenants) if (topic := tenant_topic(settings.alert_topic, tenant))]


def _canary(exam: PubSubExam, settings: Settings, wishes: Wishes) -> Iterator[Check]:
    logs_topic = wishes.logs_topic or exam.topic_of(settings.input_subscription)
    if not logs_topic:
        found = "the topic of --input_subscription cannot be seen"
        yield Check("canary", "alert", "failed", found, "# name it with --logs-topic")
        return
    tenant = settings.tenant or wishes.canary_tenant or logs_topic.split("/")[1]
    rule = check_canary_gets_through(settings, tenant, wishes.timeout_seconds)
    yield rule
    if rule.state == "failed":
        return
    canary = Canary(
        logs_topic=logs_topic,
        alert_topic=tenant_topic(settings.alert_topic, tenant),
        tenant_id=tenant,
        severity=canary_severity(settings),
        timeout_seconds=wishes.timeout_seconds,
        alert_subscription=wishes.alert_subscription,
    )
    begun, beats = time.monotonic(), ""
    with ExitStack() as opened:
        if settings.heartbeat_topic and not wishes.alert_subscription:  # who gives one may make none
            try:
                beats = opened.enter_context(listening(exam, settings.heartbeat_topic))
            except SERVER_ERRORS as error:
                yield refused("canary", "heartbeat", error, "")
        if canary.alert_topic or canary.alert_subscription:
            yield send_canary(exam, canary)
        else:
            yield Check("canary", "alert", "failed", "the tenant's name makes no name of a topic")
        if beats:
            yield check_heartbeat(exam, beats, begun)


def _dataset(settings: Settings, identity: Identity | None, now: datetime) -> Iterator[Check]:
    emulated = bool(os.environ.get(BIGQUERY_EMULATOR))
    if identity is None and not emulated:
        yield _skipped("BigQuery", "without credentials")
        return
    dataset = settings.dataset
    project, _ = split_dataset(dataset)
    client = make_client(project)
    try:
        checks = check_tables(client, dataset, None if emulated else identity)
        if (yield from _all_of(checks, "BigQuery")):
            rows = check_dataset_freshness(client, dataset, now, is_live=settings.is_streaming)
            yield from _all_of(rows, "BigQuery")
            yield check_failed_rows(settings)
        else:
            yield _skipped("freshness", "until what failed above is mended")
    finally:
        client.close()  # type: ignore[no-untyped-call]


def _skipped(layer: Layer, why: str) -> Check:
    return Check(layer, "all of it" if layer != "canary" else "alert", "skipped", f"not looked at {why}")


def _mend_of_host(variable: str) -> str:
    host = os.environ.get(variable)
    if host:
        return f"unset {variable}  # or start the emulator at {host}"
    return "curl -sI https://www.googleapis.com  # is Google to be reached from here?"
