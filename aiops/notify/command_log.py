"""What notify did goes back into the log of alerts: to a topic of commands, or into the local store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from aiops.alerts.acting import ActionError, apply_to_store
from pipeline.duckdb_store import StoreError
from transforms.alert_elements import AlertCommand
from transforms.redact.redactor import Redactor
from transforms.redact.settings import DemoKey, RedactSettings

_WAIT_SECONDS: Final = 30


class CommandLogError(Exception):
    """The commands were not taken; they are kept and tried again. The text says why."""


class CommandLog(Protocol):
    def write(self, commands: Sequence[AlertCommand], now_us: int) -> None:
        """Returns when all are taken; copies have no effect. Raises CommandLogError."""


class StoreCommandLog:
    """Applies commands to the log in a DuckDB file, as a job would."""

    def __init__(self, path: str) -> None:
        self._path = path

    def write(self, commands: Sequence[AlertCommand], now_us: int) -> None:
        redactor = Redactor(RedactSettings(DemoKey()))  # the notes are our own words
        try:
            for command in commands:
                apply_to_store(self._path, command, redactor, now_us)
        except (ActionError, StoreError) as error:
            raise CommandLogError(str(error)) from error


class TopicCommandLog:
    """Publishes commands; `{tenant}` in the name of the topic stands for that of each command's tenant."""

    def __init__(self, topic: str) -> None:
        from google.cloud import pubsub_v1

        self._topic = topic
        self._client = pubsub_v1.PublisherClient()

    def write(self, commands: Sequence[AlertCommand], now_us: int) -> None:  # noqa: ARG002
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError

        from pipeline.alert_commands import command_message
        from pipeline.alert_sinks import tenant_topic

        try:
            sent = []
            for command in commands:
                topic = tenant_topic(self._topic, command.tenant_id)
                if not topic:
                    continue  # this tenant can have none, and the others are not held up
                message = command_message(command)
                sent.append(self._client.publish(topic, message.data, **message.attributes))
            for future in sent:
                future.result(timeout=_WAIT_SECONDS)
        except (GoogleAPICallError, GoogleAuthError, TimeoutError) as error:
            raise CommandLogError(
                f"--commands {self._topic}: Pub/Sub says {type(error).__name__}; check that it "
                "exists, and that your credentials may publish to it"
            ) from None
