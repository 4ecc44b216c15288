"""Alert events as CloudEvents 1.0 in Pub/Sub messages, and back. No Beam here.

docs/events.md is the contract; docs/schemas/alert-event.v1.json describes `data`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from pipeline.cloud_events import (
    CONTENT_TYPE,
    SPEC_VERSION,
    CloudEvent,
    cloud_event_message,
    rfc3339,
    sequence_text,
)
from pipeline.messages import MAX_MESSAGE_BYTES, TRUNCATED, Message, shrink
from transforms.alert_elements import AlertEvent

TYPE_PREFIX: Final = "internal.aiops.alert."
"""The top-level domain .internal is reserved for private use: the name is nobody else's."""

DATA_VERSION: Final = "v1"
DATA_SCHEMA: Final = "urn:aiops:schema:alert-event:v1"
_ENVELOPE_BYTES: Final = 16 << 10  # around the event: names of tenant and alert, times, constants
_MAX_TYPES: Final = 20
_TYPE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


class MessageError(ValueError):
    """A message that is no alert event. `reason` is one of a few fixed words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


_decoder = msgspec.json.Decoder(CloudEvent[AlertEvent])


def cloud_event(event: AlertEvent) -> CloudEvent[AlertEvent]:
    """The envelope of `event`; equal events have equal envelopes."""
    tenant, alert = quote(event.tenant_id, safe=""), quote(event.alert_id, safe="")
    return CloudEvent(
        specversion=SPEC_VERSION,
        id=event.event_id,
        source=f"/tenants/{tenant}/alerts/{alert}",
        type=f"{TYPE_PREFIX}{event.event_type}.{DATA_VERSION}",
        subject=event.alert_id,
        time=rfc3339(event.occurred_at),
        sequence=sequence_text(event.sequence),
        data=event,
        dataschema=DATA_SCHEMA,
    )


def event_message(event: AlertEvent) -> Message:
    """The message that announces `event`, its longest lists and texts cut where it would be too large."""
    fitting = shrink(event, MAX_MESSAGE_BYTES - _ENVELOPE_BYTES)
    envelope = cloud_event(fitting)
    attributes = {
        "tenant_id": event.tenant_id,
        "service": event.service,
        "severity": event.severity,
        "type": event.event_type,
        "status": event.status,
        "owner": event.owner,
        "tier": event.tier,
        "sequence": envelope.sequence,
    }
    # A filter cannot look into a list, only ask whether an attribute is there.
    types = [name for name in event.anomaly_types if _TYPE_NAME.fullmatch(name)][:_MAX_TYPES]
    attributes |= {f"anomaly_type_{name}": "true" for name in types}
    if fitting is not event:
        attributes[TRUNCATED] = "true"
    return cloud_event_message(envelope, attributes)


def parse_event_message(data: bytes, attributes: Mapping[str, str] | None = None) -> AlertEvent:
    """The event of a message as `event_message` makes it.

    The body counts; attributes are looked at only to say what else it may be. Raises MessageError,
    whose text holds nothing of the message.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageError("too_large", f"more than {MAX_MESSAGE_BYTES} bytes")
    content_type = (attributes or {}).get("content-type", CONTENT_TYPE)
    if not content_type.startswith("application/cloudevents"):
        raise MessageError("wrong_content_type", "only structured CloudEvents in JSON are read")
    try:
        envelope = _decoder.decode(data)
    except msgspec.ValidationError as error:
        raise MessageError("wrong_type", problem_path(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MessageError("not_json", "the body is no JSON") from None
    if envelope.specversion != SPEC_VERSION:
        raise MessageError("unknown_version", "specversion is not 1.0")
    event = envelope.data
    if envelope.type != f"{TYPE_PREFIX}{event.event_type}.{DATA_VERSION}":
        raise MessageError("unknown_version", f"type is not {TYPE_PREFIX}<event_type>.{DATA_VERSION}")
    if envelope.id != event.event_id:
        raise MessageError("contradiction", "id and data.event_id differ")
    return event


def problem_path(error: msgspec.ValidationError) -> str:
    """Where a decoded object is wrong; msgspec's own words may quote a value."""
    text = str(error)
    if text.startswith("Object missing required field `"):
        return text.replace("Object missing required field", "without the field")
    _, separator, path = text.rpartition(" - at `")
    return f"at {path.rstrip('`')}" if separator else "no object"
