"""Mail against a real SMTP server on this machine, with and without encryption, and its refusals."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from alert_events import START_US, alert_event
from conftest import free_port, unavailable

from aiops.notify.channel_models import EmailChannel, MailSecurity
from aiops.notify.channels.email import EmailSender
from aiops.notify.notices import Notice, SendError
from aiops.notify.secrets import SecretRef


class Inbox:
    """A handler that keeps mails, and refuses as it is told."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answers: list[str] = []
        self.refused: dict[str, str] = {}

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.answers:
            return self.answers.pop(0)
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    is_right = (data.login, data.password) == (b"aiops", b"right")
    return AuthResult(success=is_right, handled=False)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def plain(inbox: Inbox) -> Iterator[int]:
    """Port of a server without encryption."""
    port = free_port()
    server = Controller(inbox, hostname="127.0.0.1", port=port)
    server.start()
    yield port
    server.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of localhost, in one file."""
    if shutil.which("openssl") is None:
        unavailable("a certificate for the mail server of this test needs openssl")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key, crt = path.with_suffix(".key"), path.with_suffix(".crt")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(crt)]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(key.read_bytes() + crt.read_bytes())
    return path


def channel(port: int, security: MailSecurity = "none", **fields: Any) -> EmailChannel:
    given: dict[str, Any] = {"to": ("ann@example.com", "Bob <bob@example.com>"), "host": "127.0.0.1"}
    return EmailChannel(
        name="mail", sender="AIOps <aiops@example.com>", port=port, security=security, timeout_seconds=2,
        **given | fields,
    )  # fmt: skip


def notice(kind: Any = "opened", **changes: Any) -> Notice:
    event = alert_event(0, "resolved" if kind == "resolved" else "opened", **changes)
    return Notice(f"n-{kind}", "mail", kind, event, START_US)


def failure_of(channel: EmailChannel) -> SendError:
    with pytest.raises(SendError) as caught:
        EmailSender(channel).send([notice()], START_US)
    return caught.value


def test_a_mail_says_what_is_wrong_and_what_to_do(plain: int, inbox: Inbox) -> None:
    """Text and HTML say the same; the mails of an alert are one thread, and each has an id of its own."""
    sender = EmailSender(channel(plain))
    for kind in ("opened", "repeated", "resolved"):
        sender.send([notice(kind)], START_US)
    first, second, last = inbox.mails
    assert first["Subject"] == "[HIGH] cart: 40 % of the requests to cart fail"
    assert second["Subject"] == "[HIGH] still open: cart: 40 % of the requests to cart fail"
    assert last["Subject"] == "[RESOLVED] cart: 40 % of the requests to cart fail"
    assert first["To"] == "ann@example.com, Bob <bob@example.com>"
    assert len({mail["Message-ID"] for mail in inbox.mails}) == 3
    assert {mail["References"] for mail in inbox.mails} == {"<alert-a1@example.com>"}
    for part in ("plain", "html"):
        body = first.get_body((part,))
        assert body is not None
        text = body.get_content()
        for said in (
            "acme", "error_spike", "connection to redis refused", "Look at redis.", "GET /cart/{id}",
            "https://runbooks.example.com/cart", "aiops alerts ack a1", "aiops alerts false-positive a1",
        ):  # fmt: skip
            assert said in text, (part, said)
    EmailSender(channel(plain)).send([notice("opened")], START_US)
    assert inbox.mails[-1]["Message-ID"] == first["Message-ID"]


def test_many_alerts_are_one_digest(plain: int, inbox: Inbox) -> None:
    """Beyond the rate one mail names all."""
    EmailSender(channel(plain)).send([notice(service=f"s{n}") for n in range(3)], START_US)
    (mail,) = inbox.mails
    body = mail.get_body(("plain",))
    assert mail["Subject"] == "3 notices in one: 3 opened"
    assert body is not None
    assert all(f"s{n}: 40 %" in body.get_content() for n in range(3))


@pytest.mark.parametrize(
    ("answer", "is_final"), [("451 busy", False), ("552 too large", True), ("554 no spam", True)]
)
def test_what_the_mail_server_answers_decides(plain: int, inbox: Inbox, answer: str, is_final: bool) -> None:
    """4xx may pass, 5xx does not; its words are repeated."""
    inbox.answers = [answer]
    error = failure_of(channel(plain))
    assert (str(error), error.is_final) == (f"the mail server answered {answer[:3]}: {answer[4:]}", is_final)


def test_addresses_that_are_refused_are_named(plain: int, inbox: Inbox) -> None:
    """If some are taken the mail is out, and the others are named; greylisting is tried again."""
    inbox.refused = {"bob@example.com": "550 no such user"}
    error = failure_of(channel(plain))
    assert str(error) == "sent, but the mail server refused bob@example.com: check the addresses"
    assert (error.is_final, len(inbox.mails)) == (True, 1)
    inbox.refused = dict.fromkeys(("ann@example.com", "bob@example.com"), "450 later")
    assert not failure_of(channel(plain)).is_final
    inbox.refused = dict.fromkeys(("ann@example.com", "bob@example.com"), "550 never")
    error = failure_of(channel(plain))
    assert ("takes mail for none of the addresses" in str(error), error.is_final) == (True, True)


def test_a_mail_server_that_is_away_is_tried_again(plain: int) -> None:
    """No server, one that says nothing, and one that is no mail server."""
    assert not failure_of(channel(free_port())).is_final
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure_of(channel(silent.getsockname()[1]))
        assert (str(error), error.is_final) == ("no answer from the mail server within 2 s", False)


def test_a_login_goes_over_starttls_only_to_a_trusted_server(
    inbox: Inbox, certificate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody vouches for the certificate: no password is sent. A wrong password is final."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    port = free_port()
    server = Controller(
        inbox, hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True,
        authenticator=authenticate, auth_required=True,
    )  # fmt: skip
    server.start()
    try:
        secret = tmp_path / "password"
        secret.write_text("right")
        login: dict[str, Any] = {
            "user": "aiops",
            "password": SecretRef("file", str(secret)),
            "host": "localhost",
        }
        error = failure_of(channel(port, "starttls", **login))
        assert ("certificate cannot be trusted" in str(error), inbox.mails) == (True, [])
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        EmailSender(channel(port, "starttls", **login)).send([notice()], START_US)
        assert len(inbox.mails) == 1
        secret.write_text("wrong")
        error = failure_of(channel(port, "starttls", **login))
        assert (str(error)[:29], error.is_final) == ("the mail server answered 535:", True)
        assert "wrong" not in str(error)
    finally:
        server.stop()


def test_a_server_without_starttls_gets_no_mail(plain: int, inbox: Inbox) -> None:
    """Whoever asked for encryption never falls back to none."""
    error = failure_of(channel(plain, "starttls"))
    assert ("offers no STARTTLS" in str(error), error.is_final, inbox.mails) == (True, True, [])
