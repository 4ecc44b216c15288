"""What is left of a payload that cannot be used: still raw, for redaction to give out."""

from __future__ import annotations

import hashlib
from typing import Final

from transforms.elements import UNKNOWN_TENANT, BrokenPayload, DeadLetter, content_id

MAX_DEAD_LETTER_BYTES: Final = 2048
"""Of a payload's beginning that is kept, in UTF-8."""


def make_dead_letter(
    stage: str, reason: str, detail: str, payload: bytes, tenant_id: str, minute_us: int, count: int = 1
) -> DeadLetter:
    """The dead letter of `payload`, received in `minute_us`; it stands for `count` lines or points."""
    digest = hashlib.blake2b(payload, digest_size=16).hexdigest()
    beginning = payload[:MAX_DEAD_LETTER_BYTES].decode("utf-8", "replace").replace("\x00", "\ufffd")
    cut = beginning.encode()[:MAX_DEAD_LETTER_BYTES].decode("utf-8", "ignore")
    tenant_id = tenant_id or UNKNOWN_TENANT
    letter_id = content_id(stage, reason, tenant_id, minute_us, digest)
    return DeadLetter(letter_id, tenant_id, stage, reason, detail, cut, len(payload), minute_us, count)


def broken_dead_letter(stage: str, broken: BrokenPayload, tenant_id: str, minute_us: int) -> DeadLetter:
    """The same for a message that could not be unpacked. It shows nothing: redaction cannot read it."""
    tenant_id = tenant_id or UNKNOWN_TENANT
    letter_id = content_id(stage, broken.reason, tenant_id, minute_us, broken.digest)
    return DeadLetter(
        letter_id, tenant_id, stage, broken.reason, broken.detail, "", broken.payload_bytes, minute_us
    )
