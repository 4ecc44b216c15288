"""Waiting at a topic: by a subscription that is made for it, and deleted whatever happens."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from google.api_core.exceptions import DeadlineExceeded, GoogleAPICallError, ServiceUnavailable

from aiops.doctor.checks import CALL_SECONDS
from aiops.doctor.pubsub import PubSubExam

_PULL_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.2
_DAY_SECONDS: Final = 86_400
_CALL: Final[dict[str, Any]] = {"timeout": CALL_SECONDS, "retry": None}


@contextmanager
def listening(exam: PubSubExam, topic: str, message_filter: str = "") -> Iterator[str]:
    """A subscription of `topic` for as long as the body runs, also when somebody stops it."""
    project = topic.split("/")[1]
    path = f"projects/{project}/subscriptions/aiops-doctor-{secrets.token_hex(6)}"
    request = {
        "name": path,
        "topic": topic,
        "filter": message_filter,
        "message_retention_duration": {"seconds": 600},
        "expiration_policy": {"ttl": {"seconds": _DAY_SECONDS}},  # should nobody live to delete it
    }
    try:
        exam.subscriber.create_subscription(request=request, **_CALL)
        yield path
    finally:
        # It may never have been made, and it expires by itself: the error that counts is another one.
        with suppress(GoogleAPICallError):
            exam.subscriber.delete_subscription(request={"subscription": path}, **_CALL)


def pull(exam: PubSubExam, subscription: str) -> list[Any]:
    """Messages with their `ack_id`; none where none came within two seconds."""
    request: dict[str, Any] = {"subscription": subscription, "max_messages": 100}
    try:
        answer = exam.subscriber.pull(request=request, timeout=_PULL_SECONDS, retry=None)
    except (DeadlineExceeded, ServiceUnavailable):  # whoever waits knows for how long
        time.sleep(_PAUSE_SECONDS)
        return []
    if not answer.received_messages:
        time.sleep(_PAUSE_SECONDS)  # the server need not wait for some
    return list(answer.received_messages)


def acknowledge(exam: PubSubExam, subscription: str, ack_ids: list[str]) -> None:
    """These need not come again."""
    if ack_ids:
        exam.subscriber.acknowledge(request={"subscription": subscription, "ack_ids": ack_ids}, **_CALL)
