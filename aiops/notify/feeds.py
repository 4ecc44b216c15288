"""Where alert events come from: a Pub/Sub subscription, or the store of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from aiops.notify.outbox import Outbox
from pipeline.alert_log import PAST_DAYS, stored_events
from pipeline.alert_messages import MessageError, parse_event_message
from pipeline.duckdb_store import DuckDBStore, StoreBusyError, StoreError
from transforms.alert_elements import AlertEvent
from transforms.clock import wall_clock_us

_MESSAGES_PER_PULL: Final = 500
_PAUSE_SECONDS: Final = 5.0

Say = Callable[[str], None]


class FeedError(Exception):
    """There is nothing to read from; the text says why and what to do."""


class Feed(Protocol):
    is_busy: bool
    once_seconds: float  # how long to wait for more, to be sure that all is there

    def poll(self, wait_seconds: float) -> list[AlertEvent]:
        """New events; waits up to `wait_seconds` for some. Raises FeedError where none can ever come."""

    def taken(self) -> None:
        """What `poll` gave is kept by now, and need not come again."""

    def close(self) -> None: ...


class StoreFeed:
    """Events of a DuckDB file. It is open only while it is read, so that a job can write in between.

    `is_busy` says whether a job held it at the last poll. Alerts that are over for more than 30 days
    are not read.
    """

    def __init__(self, path: str, say: Say) -> None:
        self._path = path
        self._say = say
        self._seen: set[str] = set()
        self._stamp: tuple[int, int] | None = None
        self.is_busy = False
        self.once_seconds = 0.0
        if not Path(path).is_file():
            raise FeedError(
                f"There is no store at {path}. `aiops run --store {path}` makes one; "
                "name another with --store."
            )

    def poll(self, wait_seconds: float) -> list[AlertEvent]:
        stamp = self._stamp_now()
        if stamp == self._stamp:
            time.sleep(wait_seconds)
            return []
        try:
            with DuckDBStore(self._path, read_only=True) as store:
                events = stored_events(store, past_days=PAST_DAYS)
        except StoreError as error:
            self._complain(error)
            time.sleep(wait_seconds)
            return []
        self._stamp, self.is_busy = stamp, False
        new = [event for event in events if event.event_id not in self._seen]
        self._seen = {event.event_id for event in events}
        return new

    def _stamp_now(self) -> tuple[int, int] | None:
        try:
            stat = Path(self._path).stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size

    def _complain(self, error: StoreError) -> None:
        if not isinstance(error, StoreBusyError):
            raise FeedError(str(error)) from error
        if not self.is_busy:
            self._say(
                f"{error} Alerts of a job that runs come by --subscription (aiops run --alert_topic); "
                "this store is read as soon as the job has ended."
            )
        self.is_busy = True

    def taken(self) -> None:
        """Nothing to do: what is in the store stays there."""

    def close(self) -> None:
        """Nothing is kept open."""


class SubscriptionFeed:
    """Events of a subscription. A message is acknowledged once what follows from it is kept.

    With `keeps_messages` all are given back at the end, as a dry run must.
    """

    def __init__(self, subscription: str, outbox: Outbox, say: Say, *, keeps_messages: bool = False) -> None:
        from google.cloud import pubsub_v1

        self._subscription = subscription
        self._outbox = outbox
        self._say = say
        self._keeps_messages = keeps_messages
        self._client = pubsub_v1.SubscriberClient()
        self._pulled: list[str] = []
        self._seen: set[str] = set()  # ids of messages that are kept: they come again meanwhile
        self._is_failing = False
        self.is_busy = False
        self.once_seconds = 2.0

    def poll(self, wait_seconds: float) -> list[AlertEvent]:
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError

        request = {"subscription": self._subscription, "max_messages": _MESSAGES_PER_PULL}
        try:
            response = self._client.pull(request=request, timeout=max(0.5, wait_seconds), retry=None)
        except (exceptions.DeadlineExceeded, exceptions.RetryError):
            return []
        except (exceptions.NotFound, exceptions.PermissionDenied, exceptions.InvalidArgument) as error:
            raise FeedError(_why(error, self._subscription)) from None
        except (exceptions.Unauthenticated, GoogleAuthError) as error:
            raise FeedError(_why(error, self._subscription)) from None
        except exceptions.GoogleAPICallError as error:
            if not self._is_failing:
                self._say(f"Pub/Sub failed with {type(error).__name__}; trying again until it answers.")
            self._is_failing = True
            time.sleep(min(wait_seconds, _PAUSE_SECONDS))
            return []
        self._is_failing = False
        return [event for received in response.received_messages if (event := self._read(received))]

    def _read(self, received: Any) -> AlertEvent | None:
        self._pulled.append(received.ack_id)
        message = received.message
        if self._keeps_messages:
            if message.message_id in self._seen:
                return None
            self._seen.add(message.message_id)
        try:
            return parse_event_message(message.data, message.attributes)
        except MessageError as error:
            now_us = wall_clock_us()
            self._outbox.refuse(message.message_id, f"{error.reason}: {error.detail}", now_us)
            self._say(f"A message was no alert event ({error}); it is listed by `aiops notify failed`.")
            return None

    def taken(self) -> None:
        from google.api_core import exceptions

        if self._keeps_messages or not self._pulled:
            return
        ids, self._pulled = self._pulled, []
        request: dict[str, object] = {"subscription": self._subscription, "ack_ids": ids}
        try:
            self._client.acknowledge(request=request, timeout=30)
        except exceptions.GoogleAPICallError:
            self._say("Pub/Sub did not take the acknowledgment; the messages come again, and count once.")

    def close(self) -> None:
        from google.api_core import exceptions

        ids, self._pulled = self._pulled, []
        for start in range(0, len(ids), _MESSAGES_PER_PULL):
            request: dict[str, object] = {"subscription": self._subscription, "ack_deadline_seconds": 0}
            request["ack_ids"] = ids[start : start + _MESSAGES_PER_PULL]
            # Where it fails they come again by themselves, when their deadline is over.
            with suppress(exceptions.GoogleAPICallError):
                self._client.modify_ack_deadline(request=request, timeout=10)
        self._client.close()


def _why(error: Exception, subscription: str) -> str:
    return (
        f"--subscription {subscription}: Pub/Sub says {type(error).__name__}. Check that it exists (the "
        "topic is that of aiops run --alert_topic), and that your credentials "
        "(gcloud auth application-default login) may read it."
    )
