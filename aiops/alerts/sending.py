"""Commands to the job, over Pub/Sub."""

from __future__ import annotations

import re
from typing import Final

from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1

from aiops.alerts.acting import ActionError
from pipeline.alert_commands import check_command, command_message
from pipeline.alert_messages import MessageError
from transforms.alert_elements import AlertCommand

_TOPIC: Final = re.compile(r"projects/[^/]+/topics/[^/]+")
_WAIT_SECONDS: Final = 30


def send_command(topic: str, command: AlertCommand) -> str:
    """Publish `command`; returns the id of the message. Raises ActionError."""
    if not _TOPIC.fullmatch(topic):
        raise ActionError("--topic must look like projects/P/topics/T, with their full names")
    try:
        check_command(command)
    except MessageError as error:
        raise ActionError(error.detail) from None
    message = command_message(command)
    try:
        publisher = pubsub_v1.PublisherClient()
        sent = publisher.publish(topic, message.data, **message.attributes)
        return str(sent.result(timeout=_WAIT_SECONDS))
    except (GoogleAPICallError, GoogleAuthError, TimeoutError) as error:
        raise ActionError(
            f"{topic}: Pub/Sub failed with {type(error).__name__}; check that it exists, and that your "
            "credentials (gcloud auth application-default login) may publish to it"
        ) from error
