"""Slack, by an incoming webhook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from aiops.notify.channel_models import SlackChannel
from aiops.notify.escaping import slack_text
from aiops.notify.http_sending import HttpPoster
from aiops.notify.notices import Notice
from aiops.notify.wording import Wording, word_notices

# Slack refuses more: 150 characters in a header, 3,000 in a section, 50 blocks.
_MAX_HEADER: Final = 150
_MAX_SECTION: Final = 2_900
_LINES_PER_SECTION: Final = 8


def slack_body(notices: Sequence[Notice]) -> dict[str, Any]:
    """The message. Text of logs stands in `plain_text` objects and code, where Slack reads no markup."""
    wording = word_notices(notices, slack_text)
    return {
        "text": wording.title[:_MAX_SECTION],
        "blocks": [*_blocks(wording)],
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _blocks(wording: Wording) -> list[dict[str, Any]]:
    title = wording.title if len(wording.title) <= _MAX_HEADER else wording.title[: _MAX_HEADER - 1] + "…"
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(_whole_entities(title))}]
    if wording.facts:
        blocks.append(_section(_plain("\n".join(f"{name}: {value}" for name, value in wording.facts))))
    if wording.example:
        blocks.append(_section(_marked(f"```{_cut(wording.example)}```")))
    for start in range(0, len(wording.advice), _LINES_PER_SECTION):
        lines = wording.advice[start : start + _LINES_PER_SECTION]
        blocks.append(_section(_plain("\n".join(f"• {text}" for text in lines))))
    if wording.link:
        blocks.append(_section(_marked(f"<{wording.link.replace('&', '&amp;')}|Runbook>")))
    if wording.commands:
        blocks.append(_section(_marked("```" + "\n".join(wording.commands) + "```")))
    return blocks


def _section(text: dict[str, Any]) -> dict[str, Any]:
    return {"type": "section", "text": text}


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": _cut(text) or " ", "emoji": False}


def _marked(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SECTION else _whole_entities(text[: _MAX_SECTION - 1]) + "…"


def _whole_entities(text: str) -> str:
    """`text` without the beginning of an entity that a cut left at its end."""
    start = text.rfind("&", max(0, len(text) - 6))
    return text[:start] if start >= 0 and ";" not in text[start:] else text


class SlackSender:
    def __init__(self, channel: SlackChannel) -> None:
        self._channel = channel
        self._http = HttpPoster(channel.timeout_seconds)

    def send(self, notices: list[Notice], now_us: int) -> None:  # noqa: ARG002
        url = self._channel.url.reveal()
        self._http.post(url, msgspec.json.encode(slack_body(notices)), {}, [url])

    def close(self) -> None:
        self._http.close()
