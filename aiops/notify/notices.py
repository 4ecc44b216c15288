"""What is told to a channel, and the errors of telling."""

from __future__ import annotations

from typing import Protocol

import msgspec

from transforms.alert.next_actions import Kind
from transforms.alert_elements import AlertEvent


class Notice(msgspec.Struct, frozen=True):
    """One thing that one channel is to hear of one alert, as it stood then. Copies have the same id."""

    notice_id: str
    channel: str
    kind: Kind
    event: AlertEvent
    told_at_us: int
    route: str = ""
    step: int = 0
    count: int = 1
    severity_before: str = ""  # what the channel was told last; empty at first
    answer: str = ""  # options of `aiops alerts` that say where to answer
    failed_channel: str = ""  # in whose place this channel is told
    failed_reason: str = ""

    @property
    def is_over(self) -> bool:
        return self.kind == "resolved"


class SendError(Exception):
    """A message was not taken. The text says why and what to do, without secrets.

    `is_final` means that trying again cannot help; `retry_after_seconds` is what the server asks for.
    """

    def __init__(self, text: str, *, is_final: bool, retry_after_seconds: float | None = None) -> None:
        super().__init__(text)
        self.is_final = is_final
        self.retry_after_seconds = retry_after_seconds


class Sender(Protocol):
    """One channel, ready to send."""

    def send(self, notices: list[Notice], now_us: int) -> None:
        """Send them as one message; raises SendError or SecretError."""

    def close(self) -> None: ...
