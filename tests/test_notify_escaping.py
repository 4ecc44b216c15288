"""Log text is written by strangers: in no channel may it mention, link, format, break a header or a shell."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from alert_events import START_US, alert_event
from hypothesis import given
from hypothesis import strategies as st

from aiops.notify.channel_models import EmailChannel
from aiops.notify.channels.alertmanager import alertmanager_body
from aiops.notify.channels.email import mail_of
from aiops.notify.channels.pagerduty import pagerduty_body
from aiops.notify.channels.slack import slack_body
from aiops.notify.channels.webhook import webhook_body
from aiops.notify.escaping import clean_text, safe_id, safe_link, slack_text, text_for_anywhere
from aiops.notify.notices import Notice
from aiops.notify.wording import plain_body, word_notices
from transforms.alert_elements import AlertEvent

MAIL = EmailChannel(
    name="mail", to=("ann@example.com",), sender="AIOps <aiops@example.com>", host="localhost"
)
NASTY = [
    "<!channel> <@U123> <#C1|x> <https://evil.example|click>",
    "@here @channel @everyone @ann",
    "*bold* _it_ ~no~ `code` ```fence``` [a](https://evil.example)",
    "<script>alert(1)</script><img src=x onerror=alert(1)>&amp;&#60;",
    "subject\r\nBcc: eve@evil.example\r\n\r\nbody",
    "\x1b[31mred\x1b[0m\x07\x00\u202egnp.exe\u2066\u200b\ufeff\u2028",
    "http://evil.example mailto:eve@evil.example www.evil.example javascript:alert(1) slack://open",
    "\ud800 lone surrogate",
    "x" * 100_000,
    "$(rm -rf /) `reboot` ; | && '",
    "{{ 7 * 7 }} {% raw %}",
    "😀🇩🇪 日本語 العربية",
]
FIELDS = ["summary", "service", "tenant_id", "example", "root_cause", "group_key", "note", "owner", "runbook"]
LISTS = ["anomaly_types", "detectors", "endpoints", "pattern_ids", "recommended_actions"]
TEXTS = st.one_of(st.sampled_from(NASTY), st.text(st.characters(), max_size=300))


def notice(text: str, kind: Any = "opened", **changes: Any) -> Notice:
    fields: dict[str, Any] = dict.fromkeys(FIELDS, text) | {name: [text] * 12 for name in LISTS}
    event: AlertEvent = alert_event(0, "opened", **fields | {"incident_id": text} | changes)
    return Notice("n1", "any", kind, event, START_US)


class Elements(HTMLParser):
    """The elements and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [
            value or "" for name, value in attrs if name in ("href", "src") or name.startswith("on")
        ]


def texts_of(value: Any) -> list[str]:
    """Every text in a JSON value, keys left out."""
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in items for text in texts_of(item)]


@given(TEXTS, st.sampled_from(["opened", "resolved", "worse"]))
def test_nothing_in_slack_mentions_links_or_formats(text: str, kind: str) -> None:
    """Only what we write is markup: commands, the runbook's link and the fence around the evidence."""
    body = slack_body([notice(text, kind, runbook="https://runbooks.example.com/a")])
    msgspec.json.encode(body)
    assert len(body["blocks"]) <= 50
    assert (body["mrkdwn"], body["parse"], body["link_names"]) == (False, "none", False)
    for block in body["blocks"]:
        shown = block["text"]
        limit = 150 if block["type"] == "header" else 3_000
        assert 0 < len(shown["text"]) <= limit
        if shown["type"] == "mrkdwn":
            rest = shown["text"].removeprefix("```").removesuffix("```")
            rest = rest.removeprefix("<https://runbooks.example.com/a|Runbook>")
            assert not re.search(r"[<>`]", rest)
        else:
            assert not re.search(r"[<>]|@\w|://", shown["text"])
        assert not re.search(r"&(?!amp;|lt;|gt;)", shown["text"])
    assert not re.search(r"[<>]|@\w|://", body["text"])


@given(TEXTS)
def test_a_mail_has_the_headers_and_elements_that_we_write(text: str) -> None:
    """No line of a log becomes a header, an element, an attribute or a link."""
    mail = message_from_bytes(mail_of([notice(text)], MAIL, START_US).as_bytes(), policy=default)
    expected = {
        "Subject",
        "From",
        "To",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "References",
        "X-Aiops-Alert-Id",
    }
    assert set(mail.keys()) == expected | {"MIME-Version", "Content-Type"}
    assert len(mail["Subject"]) <= 200
    page = mail.get_body(("html",))
    assert page is not None
    elements = Elements()
    elements.feed(page.get_content())
    assert elements.tags <= {
        *("html", "head", "meta", "body", "h1", "table", "tr", "td", "p", "pre", "ul", "li", "a"),
    }
    assert all(link == safe_link(text) for link in elements.links)
    plain = mail.get_body(("plain",))
    assert plain is not None
    assert not re.search(r"[\x00-\x08\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]", plain.get_content())


@given(TEXTS)
def test_programs_get_json_of_bounded_size_without_control_characters(text: str) -> None:
    """PagerDuty and Alertmanager show texts to people too; a webhook gets the event as it is, escaped."""
    one = notice(text)
    for body in (pagerduty_body(one, "key"), alertmanager_body([one], START_US)):
        encoded = msgspec.json.encode(body)
        assert len(encoded) < 64_000
        assert not any(re.search(r"[\x00-\x09\x0b-\x1f\u202a-\u202e]", told) for told in texts_of(body))
    if text.isprintable():
        raw = webhook_body(one)
        assert msgspec.json.decode(raw)["alert"]["summary"] == text
        assert not re.search(rb"[\x00-\x1f]", raw)


@given(TEXTS)
def test_where_the_markup_is_not_known_none_is_left(text: str) -> None:
    """Through Apprise text goes to Discord, Telegram, Teams and others: no markup is left."""
    wording = word_notices([notice(text, runbook="")], text_for_anywhere)
    told = f"{wording.title}\n{plain_body(wording)}"
    lines = [line for line in told.splitlines() if not line.startswith(("    aiops ", "["))]
    assert not re.search(r"[<>@`*\[\]~|\\]|://", "\n".join(lines))


@given(TEXTS)
def test_only_plain_ids_are_put_into_command_lines(text: str) -> None:
    """What people copy into a shell holds no more than the command."""
    wording = word_notices([notice(text, alert_id=text)], clean_text)
    for command in wording.commands:
        assert re.fullmatch(
            r"aiops (alerts (ack|show|silence|false-positive)|show incident) [\w-]+( --for 2h)?", command
        )


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://runbooks.example.com/a?b=c&d#e", True),
        ("http://10.0.0.1:8080/", True),
        ("javascript:alert(1)", False),
        ("https://ann:pw@example.com/", False),
        ("https://example.com/|x>", False),
        ('https://example.com/"onclick=', False),
        ("https://exämple.com/", False),
        ("https:///", False),
        ("https://[", False),
        ("//example.com", False),
        ("", False),
    ],
)
def test_only_whole_web_addresses_become_links(address: str, expected: bool) -> None:
    """A runbook that is none is left out, whatever it holds."""
    assert safe_link(address) == (address if expected else "")


def test_text_stays_readable() -> None:
    """What is harmless stays as it is, and what is not can still be read."""
    assert clean_text("GET /cart/{id} took 3 s: naïve 日本", 100) == "GET /cart/{id} took 3 s: naïve 日本"
    assert clean_text("see https://x.example\nand more", 100) == "see https[:]//x.example⏎and more"
    assert slack_text("a < b & @here", 100) == "a &lt; b &amp; @\u200bhere"
    assert text_for_anywhere("*a* [b](c) <@d>", 100) == "∗a∗ ［b］(c) ‹＠d›"
    assert safe_id("0a1b-2_c") == "0a1b-2_c"
    assert safe_id("a b") == safe_id("") == safe_id("x" * 65) == ""
