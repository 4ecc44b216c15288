"""A canary: lines of the reserved service go in where logs do, and have to come out as an alert."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aiops.doctor.checks import CALL_SECONDS, SERVER_ERRORS, Check, counted, refused
from aiops.doctor.listening import acknowledge, listening, pull
from aiops.doctor.pubsub import PubSubExam
from pipeline.alert_messages import MessageError, parse_event_message
from pipeline.sources import TIMESTAMP_ATTRIBUTE
from transforms.alert_elements import AlertEvent
from transforms.elements import CANARY_DETECTOR, CANARY_SERVICE, MICROSECONDS

_LAYER: Final = "canary"
_SUBJECT: Final = "alert"
MESSAGE: Final = "aiops canary: a line of `aiops doctor`, to see that alerts arrive"
EVERY_SECONDS: Final = 5.0
"""A line so often: the time of what follows tells a quiet job that the window of the first is over."""


@dataclass(frozen=True)
class Canary:
    """Where lines go in, whose they are, and where the alert has to come out."""

    logs_topic: str
    alert_topic: str
    tenant_id: str
    severity: str
    timeout_seconds: int
    alert_subscription: str = ""  # a temporary one of the alert topic where none is given

    def line(self, at: datetime) -> dict[str, object]:
        """A LogEntry as a sink writes it."""
        moment = at.isoformat().replace("+00:00", "Z")
        return {
            "insertId": secrets.token_hex(8),
            "logName": f"projects/{self.tenant_id}/logs/{CANARY_SERVICE}",
            "timestamp": moment,
            "receiveTimestamp": moment,
            "severity": self.severity,
            "resource": {"type": "cloud_run_revision", "labels": {"service_name": CANARY_SERVICE}},
            "textPayload": MESSAGE,
        }


def send_canary(exam: PubSubExam, canary: Canary) -> Check:
    """Publish lines until their alert is there or the time is over; how long it took.

    What was made is deleted again, whatever happens: also when somebody stops it.
    """
    try:
        with _listening(exam, canary) as subscription:
            return _wait(exam, canary, subscription)
    except SERVER_ERRORS as error:
        return refused(_LAYER, _SUBJECT, error, f"# {_where(canary)}: do they exist, and may you use them?")


def _wait(exam: PubSubExam, canary: Canary, subscription: str) -> Check:
    sent_at, begun = datetime.now(UTC), time.monotonic()
    sent_us = int(sent_at.timestamp() * MICROSECONDS)
    lines, next_line = 0, 0.0
    while (waited := time.monotonic() - begun) < canary.timeout_seconds:
        if waited >= next_line:
            _publish(exam, canary)
            lines, next_line = lines + 1, waited + EVERY_SECONDS
        for event in _alert_events(exam, subscription):
            if _is_answer(event, canary, sent_us):
                seconds = round(time.monotonic() - begun, 1)
                found = f"{event.event_type} after {seconds:.1f} s, {counted(lines, 'line')} sent"
                return Check(_LAYER, _SUBJECT, "ok", found, seconds=seconds)
    found = f"none within {canary.timeout_seconds} s, though {counted(lines, 'line')} went in"
    mend = "aiops launch list  # does it run, and with these options? then a longer --timeout"
    return Check(_LAYER, _SUBJECT, "failed", found, mend)


def _is_answer(event: AlertEvent, canary: Canary, sent_us: int) -> bool:
    """Whether the event is of a window that ended after the first line was sent."""
    return (
        (event.tenant_id, event.service) == (canary.tenant_id, CANARY_SERVICE)
        and CANARY_DETECTOR in event.detectors
        and event.event_type in {"opened", "reopened", "updated"}
        and event.last_seen_at > sent_us
    )


def _publish(exam: PubSubExam, canary: Canary) -> None:
    line = canary.line(datetime.now(UTC))
    attributes = {TIMESTAMP_ATTRIBUTE: str(line["timestamp"])}
    sent = exam.publisher.publish(canary.logs_topic, json.dumps(line).encode(), **attributes)
    sent.result(timeout=CALL_SECONDS)


def _alert_events(exam: PubSubExam, subscription: str) -> list[AlertEvent]:
    found, ids = [], []
    for received in pull(exam, subscription):
        with suppress(MessageError):
            event = parse_event_message(received.message.data, received.message.attributes)
            if event.service == CANARY_SERVICE:  # all others belong to whoever reads that subscription
                found.append(event)
                ids.append(received.ack_id)
    acknowledge(exam, subscription, ids)
    return found


def _listening(exam: PubSubExam, canary: Canary) -> AbstractContextManager[str]:
    """The subscription to wait at: the one that is given, or a temporary one."""
    if canary.alert_subscription:
        return nullcontext(canary.alert_subscription)
    return listening(exam, canary.alert_topic, f'attributes.service = "{CANARY_SERVICE}"')


def _where(canary: Canary) -> str:
    return f"{canary.logs_topic} and {canary.alert_subscription or canary.alert_topic}"
