"""The one way in which elements of the job go to a Pub/Sub topic: the Beam end of `pipeline/messages.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage, WriteToPubSub

from pipeline.messages import Message


def publish_messages(
    elements: beam.PCollection, topic: str, make_message: Callable[[Any], Message]
) -> beam.PCollection:
    """Publish on `topic`, at least once, what `make_message` (a function of a module) makes of each."""
    return (
        elements
        | "ToMessage" >> beam.Map(_pubsub_message, make_message).with_output_types(PubsubMessage)
        | "WriteToPubSub" >> WriteToPubSub(topic, with_attributes=True)
    )


def _pubsub_message(element: Any, make_message: Callable[[Any], Message]) -> PubsubMessage:
    return PubsubMessage(*make_message(element))
