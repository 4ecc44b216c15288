"""The sign of life that the job gives each minute, waited for at its topic."""

from __future__ import annotations

import time
from typing import Final

from aiops.doctor.checks import SERVER_ERRORS, Check, refused
from aiops.doctor.freshness import SLOW
from aiops.doctor.listening import pull
from aiops.doctor.pubsub import PubSubExam
from pipeline.heartbeat_messages import HEARTBEAT_TYPE

HEARTBEAT_SECONDS: Final = 150.0
"""Two and a half beats: one may be late."""


def check_heartbeat(exam: PubSubExam, subscription: str, begun: float) -> Check:
    """Whether a heartbeat came, or comes, within HEARTBEAT_SECONDS of `begun` on the monotonic clock."""
    subject = "heartbeat"
    try:
        while True:
            for received in pull(exam, subscription):
                attributes = received.message.attributes
                if attributes.get("ce-type") == HEARTBEAT_TYPE:
                    job = attributes.get("job_name", "the job")
                    return Check("canary", subject, "ok", f"one of {job} came")
            if time.monotonic() - begun > HEARTBEAT_SECONDS:
                found = f"none within {HEARTBEAT_SECONDS:.0f} s"
                return Check("canary", subject, "failed", found, SLOW)
    except SERVER_ERRORS as error:
        return refused("canary", subject, error, "")
