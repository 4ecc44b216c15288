"""Every other service that Apprise knows: Teams, Telegram, Google Chat, Jira and more."""

from __future__ import annotations

import logging
import re
from typing import Final

from aiops.notify.channel_models import AppriseChannel
from aiops.notify.escaping import text_for_anywhere
from aiops.notify.notices import Notice, SendError
from aiops.notify.wording import plain_body, word_notices

_ANSWER: Final = re.compile(r"error=(\d{3})\b")
_TYPES: Final = {"critical": "failure", "high": "failure", "medium": "warning", "low": "info"}


class AppriseSender:
    def __init__(self, channel: AppriseChannel) -> None:
        self._channel = channel

    def send(self, notices: list[Notice], now_us: int) -> None:  # noqa: ARG002
        import apprise

        # What both log may hold addresses with secrets in them: all that is read of it is a number.
        logging.getLogger("apprise").propagate = False
        logging.getLogger("urllib3").setLevel(logging.WARNING)
        wording = word_notices(notices, text_for_anywhere)
        service = apprise.Apprise()
        if not service.add(self._channel.url.reveal()):
            text = f"the secret {self._channel.url} is no URL that Apprise knows"
            raise SendError(text, is_final=True)
        is_over = all(notice.is_over for notice in notices)
        kind = "success" if is_over else _TYPES[notices[0].event.severity]
        said: list[str] = []
        result = service.notify(
            body=plain_body(wording),
            title=wording.title,
            notify_type=apprise.NotifyType(kind),
            body_format=apprise.NotifyFormat.TEXT,
            interpret_escapes=False,
            timeout=self._channel.timeout_seconds,
            log_callback=lambda entry, _: said.append(entry.message),
            log_level=logging.WARNING,
        )
        if not result:
            raise _refusal("\n".join(said))

    def close(self) -> None:
        """Nothing is kept open."""


def _refusal(said: str) -> SendError:
    found = _ANSWER.search(said)
    if found is None:
        return SendError("the service cannot be reached, or did not take it", is_final=False)
    status = int(found[1])
    is_final = 400 <= status < 500 and status not in (408, 409, 425, 429)
    return SendError(f"the service answered {status}", is_final=is_final)
