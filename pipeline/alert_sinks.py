"""Alert events to Pub/Sub: one topic for all, or one for each tenant."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import apache_beam as beam
from google.api_core.exceptions import InvalidArgument, NotFound, PermissionDenied
from google.cloud import pubsub_v1

from pipeline.alert_messages import event_message
from pipeline.messages import Message
from pipeline.publishing import publish_messages
from transforms.alert_elements import AlertEvent
from transforms.elements import MINUTE_US, DeadLetter, content_id
from transforms.job_log import Said
from transforms.metering import count_dead_letters, observe_age

STAGE: Final = "publish_alerts"
TENANT: Final = "{tenant}"
_TOPIC: Final = re.compile(r"projects/[^/]+/topics/(?!goog)[A-Za-z][-A-Za-z0-9_.~+%]{2,254}")
_WAIT_SECONDS: Final = 60
_PERMANENT: Final = (NotFound, PermissionDenied, InvalidArgument)
_LOGGER = logging.getLogger(__name__)


@dataclass(eq=False)
class PublishAlertEvents(beam.PTransform):
    """AlertEvent → a CloudEvent on one topic, at least once.

    Messages of one alert may overtake each other: `sequence` says their order.
    """

    topic: str

    def expand(self, events: beam.PCollection) -> beam.PCollection:
        return publish_messages(events, self.topic, _metered_message)


def _metered_message(event: AlertEvent) -> Message:
    observe_age("publish_delay_ms", event.occurred_at)
    return event_message(event)


@dataclass(eq=False)
class PublishAlertEventsPerTenant(beam.PTransform):
    """AlertEvent → a CloudEvent on the topic of its tenant, at least once → DeadLetter of what has none.

    `topic` has {tenant} in its name. The operator makes the topics: a tenant without one keeps its
    events in the store, and the others get theirs.
    """

    topic: str

    def expand(self, events: beam.PCollection) -> beam.PCollection:
        return events | "Publish" >> beam.ParDo(_PublishPerTenant(self.topic)).with_output_types(DeadLetter)


def tenant_topic(template: str, tenant_id: str) -> str:
    """The topic of a tenant; what names of topics do not allow is percent-encoded. "" where none can be."""
    topic = template.replace(TENANT, quote(tenant_id, safe="+"))
    return topic if _TOPIC.fullmatch(topic) else ""


class _PublishPerTenant(beam.DoFn):
    def __init__(self, template: str) -> None:
        self._template = template
        self._sent: list[tuple[AlertEvent, str, Future[Any]]] = []
        self._refused: set[str] = set()

    def setup(self) -> None:
        self._publisher = pubsub_v1.PublisherClient()

    def start_bundle(self) -> None:
        self._sent = []

    def process(self, event: AlertEvent) -> Iterator[DeadLetter]:
        topic = tenant_topic(self._template, event.tenant_id)
        if not topic:
            letter = unpublished_event(event, "no_topic", "the tenant's name makes no name of a topic")
            count_dead_letters([letter])
            yield letter
            return
        message = event_message(event)
        self._sent.append((event, topic, self._publisher.publish(topic, message.data, **message.attributes)))

    def finish_bundle(self) -> Iterator[beam.utils.windowed_value.WindowedValue]:
        sent, self._sent = self._sent, []
        for event, topic, future in sent:
            try:
                future.result(timeout=_WAIT_SECONDS)  # anything else that goes wrong repeats the bundle
                observe_age("publish_delay_ms", event.occurred_at)
            except _PERMANENT as error:
                reason = "no_topic" if isinstance(error, NotFound) else "refused"
                self._log_once(topic, type(error).__name__)
                letter = unpublished_event(event, reason, f"{topic}: {type(error).__name__}")
                count_dead_letters([letter])
                yield beam.transforms.window.GlobalWindows.windowed_value(letter)

    def _log_once(self, topic: str, cause: str) -> None:
        if topic not in self._refused:
            self._refused.add(topic)
            message = "A topic takes no alert events: make it, and let the job publish; they are in the store"
            _LOGGER.warning(Said(message, topic=topic, error=cause))

    def teardown(self) -> None:
        self._publisher.stop()


def unpublished_event(event: AlertEvent, reason: str, detail: str) -> DeadLetter:
    """What is left of an event that found no topic; the event itself is in the store."""
    return DeadLetter(
        dead_letter_id=content_id(STAGE, reason, event.event_id),
        tenant_id=event.tenant_id,
        stage=STAGE,
        reason=reason,
        detail=detail,
        payload=f"alert {event.alert_id}, sequence {event.sequence}",
        payload_bytes=0,
        receive_minute=event.occurred_at // MINUTE_US * MINUTE_US,
    )
