"""What is kept of a payload that cannot be used: shared by all that refuse one."""

from __future__ import annotations

import hashlib
from typing import Final

from transforms.elements import DeadLetter, content_id

MAX_DEAD_LETTER_BYTES: Final = 2048
"""So much of a payload is kept."""


def make_dead_letter(
    stage: str, reason: str, detail: str, tenant_id: str, payload: bytes, minute_us: int, count: int = 1
) -> DeadLetter:
    """The dead letter of `payload`, received in the minute `minute_us`; its text is not redacted yet."""
    digest = hashlib.blake2b(payload, digest_size=16).hexdigest()
    beginning = payload[:MAX_DEAD_LETTER_BYTES].decode("utf-8", "replace").replace("\x00", "\ufffd")
    return DeadLetter(
        dead_letter_id=content_id(stage, reason, tenant_id, minute_us, digest),
        tenant_id=tenant_id,
        stage=stage,
        reason=reason,
        detail=detail,
        payload=beginning.encode()[:MAX_DEAD_LETTER_BYTES].decode("utf-8", "ignore"),
        payload_bytes=len(payload),
        receive_minute=minute_us,
        count=count,
    )
