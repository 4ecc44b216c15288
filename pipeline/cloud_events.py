"""CloudEvents 1.0 in JSON, structured content mode: what all events of ours are wrapped in. No Beam here.

The body is the whole CloudEvent, the attribute `content-type` says so. The other attributes are for filters
of subscriptions, and for those who read headers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar

import msgspec

from pipeline.messages import Message, bound_attributes
from transforms.elements import MICROSECONDS

SPEC_VERSION: Final = "1.0"
CONTENT_TYPE: Final = "application/cloudevents+json; charset=UTF-8"
_SEQUENCE_DIGITS: Final = 10

D = TypeVar("D", bound=msgspec.Struct)


class CloudEvent(msgspec.Struct, Generic[D], frozen=True):
    """The envelope, as CloudEvents 1.0 and its extension `sequence` define it."""

    specversion: str
    id: str
    source: str
    type: str
    data: D
    subject: str = ""
    time: str = ""
    datacontenttype: str = "application/json"
    dataschema: str = ""
    sequence: str = ""


_encoder = msgspec.json.Encoder()


def cloud_event_message(envelope: CloudEvent[D], attributes: Mapping[str, str]) -> Message:
    """The message that brings `envelope`, with its own `attributes` beside those of the envelope."""
    headers = {
        "content-type": CONTENT_TYPE,
        "ce-specversion": envelope.specversion,
        "ce-id": envelope.id,
        "ce-source": envelope.source,
        "ce-type": envelope.type,
        "ce-subject": envelope.subject,
        "ce-time": envelope.time,
        "ce-dataschema": envelope.dataschema,
        "ce-sequence": envelope.sequence,
    }
    return Message(_encoder.encode(envelope), bound_attributes({**headers, **attributes}))


def sequence_text(sequence: int) -> str:
    """`sequence` so that texts sort as numbers do, which the extension asks for."""
    return f"{sequence:0{_SEQUENCE_DIGITS}d}"


def rfc3339(micros: int) -> str:
    """A time as CloudEvents write it, to the microsecond; empty where no calendar has it."""
    try:
        moment = datetime.fromtimestamp(micros // MICROSECONDS, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{micros % MICROSECONDS:06d}Z"
