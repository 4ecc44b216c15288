"""Channels over HTTP, against a real server on this machine with every fault that servers have."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from alert_events import START_US, alert_event
from conftest import free_port
from loopback_servers import Answer, HttpServer, http_server

from aiops.notify.channel_models import (
    AlertmanagerChannel,
    AppriseChannel,
    Channel,
    PagerDutyChannel,
    SlackChannel,
    WebhookChannel,
)
from aiops.notify.notices import Notice, SendError
from aiops.notify.secrets import SecretRef
from aiops.notify.senders import make_sender

SECRET = "s3cret-hook-path"


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server() as running:
        yield running


@pytest.fixture
def hidden(tmp_path: Path) -> Any:
    """Makes a secret in a file."""

    def hide(text: str) -> SecretRef:
        path = tmp_path / f"secret{len(list(tmp_path.iterdir()))}"
        path.write_text(text)
        return SecretRef("file", str(path))

    return hide


def notice(kind: Any = "opened", **changes: Any) -> Notice:
    event = alert_event(0, "resolved" if kind == "resolved" else "opened", **changes)
    return Notice("n1", "any", kind, event, START_US)


def send(channel: Channel, *notices: Notice) -> None:
    sender = make_sender(channel)
    try:
        sender.send(list(notices), START_US)
    finally:
        sender.close()


def failure_of(channel: Channel) -> SendError:
    with pytest.raises(SendError) as caught:
        send(channel, notice())
    return caught.value


@pytest.mark.parametrize(
    ("answer", "said", "is_final", "retry_after"),
    [
        (Answer(500, {}, b"oops"), "the server answered 500: oops", False, None),
        (Answer(503, {"Retry-After": "7"}), "the server answered 503", False, 7),
        (Answer(429, {"Retry-After": "120"}), "the server answered 429", False, 120),
        (Answer(429, {"Retry-After": "99999999"}), "the server answered 429", False, 3600),
        (Answer(429, {"Retry-After": "-5"}), "the server answered 429", False, None),
        (Answer(429, {"Retry-After": "soon"}), "the server answered 429", False, None),
        (Answer(408), "the server answered 408", False, None),
        (
            Answer(400, {}, b"no_text\x1b[31m\r\nX: y"),
            "the server answered 400: no_text␛[31m␍⏎X: y",
            True,
            None,
        ),
        (Answer(403, {}, f"bad {SECRET}".encode()), "the server answered 403: bad …", True, None),
        (Answer(404, {}, b"x" * 5_000_000), "the server answered 404: " + "x" * 200, True, None),
        (Answer(302, {"Location": "http://127.0.0.1:9/"}), "redirects are not followed", True, None),
        (Answer(0), "the connection broke", False, None),
        (Answer(-1), "the connection broke", False, None),
        (Answer(200, wait_seconds=5), "no answer within 1 s", False, None),
    ],
)
def test_each_fault_says_whether_to_try_again(
    server: HttpServer, hidden: Any, answer: Answer, said: str, is_final: bool, retry_after: float | None
) -> None:
    """What may pass is tried again, when the server says; what cannot is not; and no secret is repeated."""
    server.answers = [answer]
    channel = WebhookChannel(name="c", url=server.url, secret=hidden(SECRET), timeout_seconds=1)
    error = failure_of(channel)
    assert said in str(error)
    assert (error.is_final, error.retry_after_seconds) == (is_final, retry_after)
    assert SECRET not in str(error)


def test_a_date_in_retry_after_is_waited_for(server: HttpServer) -> None:
    """Retry-After may be an HTTP date."""
    server.answers = [
        Answer(429, {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)})
    ]
    error = failure_of(WebhookChannel(name="c", url=server.url))
    assert error.retry_after_seconds == pytest.approx(60, abs=5)


def test_a_server_that_drips_its_answer_does_not_hold_the_channel(server: HttpServer) -> None:
    """The time-out is for the whole answer where the status says that it failed."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def drip() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        try:
            connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 1000000\r\n\r\n")
            while True:
                connection.sendall(b"x")
                time.sleep(0.2)
        except OSError:
            connection.close()

    threading.Thread(target=drip, daemon=True).start()
    port = listener.getsockname()[1]
    began = time.monotonic()
    error = failure_of(WebhookChannel(name="c", url=f"http://127.0.0.1:{port}", timeout_seconds=1))
    assert time.monotonic() - began < 4
    assert "answered 500" in str(error)
    listener.close()


def test_a_server_that_is_away_is_tried_again() -> None:
    """A refused connection and an unknown name may pass."""
    error = failure_of(WebhookChannel(name="c", url=f"http://127.0.0.1:{free_port()}"))
    assert ("cannot be reached" in str(error), error.is_final) == (True, False)
    error = failure_of(WebhookChannel(name="c", url="http://no-such-host.invalid/"))
    assert not error.is_final


def test_a_webhook_gets_the_signed_event(server: HttpServer, hidden: Any) -> None:
    """The receiver can prove who sent it, drop copies, and read the event."""
    headers = {"X-Team": "shop", "Authorization": hidden("Bearer abc")}
    channel = WebhookChannel(name="c", url=f"{server.url}/hook", secret=hidden(SECRET), headers=headers)
    send(channel, notice(summary="ä\u202e"))
    (received,) = server.received
    assert received.path == "/hook"
    assert received.headers["X-Aiops-Notice-Id"] == "n1"
    assert (received.headers["X-Team"], received.headers["Authorization"]) == ("shop", "Bearer abc")
    timestamp = received.headers["X-Aiops-Timestamp"]
    mac = hmac.new(SECRET.encode(), timestamp.encode() + b"." + received.body, hashlib.sha256).hexdigest()
    assert received.headers["X-Aiops-Signature"] == f"sha256={mac}"
    body = json.loads(received.body)
    assert (body["version"], body["kind"], body["alert"]["alert_id"]) == (1, "opened", "a1")
    assert body["alert"]["summary"] == "ä\u202e"
    assert b"\\u202e" in received.body


def test_slack_gets_blocks_at_the_secret_address(
    server: HttpServer, hidden: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Title, facts, evidence, advice, runbook and commands; the address is in no log."""
    caplog.set_level(logging.DEBUG)
    send(SlackChannel(name="c", url=hidden(f"{server.url}/services/{SECRET}")), notice())
    (received,) = server.received
    assert received.path == f"/services/{SECRET}"
    body = json.loads(received.body)
    assert body["text"] == "[HIGH] cart: 40 % of the requests to cart fail"
    shown = "\n".join(block["text"]["text"] for block in body["blocks"])
    for said in (
        "Tenant: acme",
        "Since: 2026-01-05 09:00 UTC (just now)",
        "```connection to redis refused```",
        "• Look at redis.",
        "<https://runbooks.example.com/cart|Runbook>",
        "aiops alerts ack a1",
    ):
        assert said in shown, said
    assert SECRET not in caplog.text


def test_slack_gets_a_digest_of_many(server: HttpServer, hidden: Any) -> None:
    """One message with a line for each alert, up to fifty, and how many more there are."""
    many = [notice(alert_id=f"a{number}", service=f"service-{number}") for number in range(80)]
    send(SlackChannel(name="c", url=hidden(server.url)), *many)
    body = json.loads(server.received[0].body)
    assert body["text"] == "80 notices in one: 80 opened"
    shown = "\n".join(block["text"]["text"] for block in body["blocks"])
    assert "service-49" in shown
    assert "service-50" not in shown
    assert "… and 30 more: aiops alerts list" in shown
    assert len(body["blocks"]) <= 50


def test_pagerduty_is_told_to_open_acknowledge_and_resolve(server: HttpServer, hidden: Any) -> None:
    """The three actions have the same key, so that they are one incident there."""
    channel = PagerDutyChannel(name="c", routing_key=hidden("R0UTING"), url=server.url)
    for kind in ("opened", "repeated", "acknowledged", "resolved"):
        send(channel, notice(kind, severity="critical"))
    bodies = [json.loads(received.body) for received in server.received]
    assert [body["event_action"] for body in bodies] == ["trigger", "trigger", "acknowledge", "resolve"]
    assert {body["dedup_key"] for body in bodies} == {"aiops-a1"}
    assert {body["routing_key"] for body in bodies} == {"R0UTING"}
    payload = bodies[0]["payload"]
    assert (payload["severity"], payload["source"], payload["class"]) == (
        "critical",
        "acme/cart",
        "error_spike",
    )
    assert payload["custom_details"]["Evidence"] == "connection to redis refused"
    assert bodies[0]["links"] == [{"href": "https://runbooks.example.com/cart", "text": "Runbook"}]


def test_alertmanager_gets_its_api_and_a_login(server: HttpServer, hidden: Any) -> None:
    """Many alerts in one post, at the path of API v2 wherever the address ends."""
    for url in (server.url, f"{server.url}/", f"{server.url}/api/v2/alerts"):
        channel = AlertmanagerChannel(name="c", url=url, user="ann", password=hidden("pw"))
        send(channel, notice(), notice(alert_id="a2"))
    assert {received.path for received in server.received} == {"/api/v2/alerts"}
    assert server.received[0].headers["Authorization"] == "Basic YW5uOnB3"
    assert [alert["labels"]["alert_id"] for alert in json.loads(server.received[0].body)] == ["a1", "a2"]


def test_apprise_reaches_other_services(
    server: HttpServer, hidden: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own JSON plug-in takes title, text and how bad it is; its answers say whether to try again."""
    address = server.url.replace("http://", "json://")
    channel = AppriseChannel(name="c", url=hidden(f"{address}/{SECRET}"))
    caplog.set_level(logging.DEBUG)
    send(channel, notice(example="<!channel> *x* @here"))
    send(channel, notice("resolved"))
    first, last = (json.loads(received.body) for received in server.received)
    assert first["title"] == "[HIGH] cart: 40 % of the requests to cart fail"
    assert "‹!channel› ∗x∗ ＠here" in first["message"]
    assert "aiops alerts ack a1" in first["message"]
    assert (first["type"], last["type"]) == ("failure", "success")
    for status, is_final in ((500, False), (403, True), (429, False)):
        server.answers = [Answer(status)]
        error = failure_of(channel)
        assert (str(error), error.is_final) == (f"the service answered {status}", is_final)
    error = failure_of(AppriseChannel(name="c", url=hidden("nonsense://x")))
    assert ("is no URL that Apprise knows" in str(error), error.is_final) == (True, True)
    error = failure_of(AppriseChannel(name="c", url=hidden(f"json://127.0.0.1:{free_port()}/")))
    assert ("cannot be reached" in str(error), error.is_final) == (True, False)
    assert SECRET not in caplog.text
