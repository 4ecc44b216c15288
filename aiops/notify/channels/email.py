"""Mail by SMTP, as text and as HTML; all mails of an alert are one thread."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, parseaddr
from functools import cache
from importlib import resources
from typing import Any, Final

from aiops.notify.channel_models import EmailChannel
from aiops.notify.escaping import clean_text, safe_id
from aiops.notify.notices import Notice, SendError
from aiops.notify.wording import plain_body, word_notices
from aiops.text import one_line
from transforms.elements import MICROSECONDS, content_id

_MAX_SUBJECT: Final = 200


def mail_of(notices: Sequence[Notice], channel: EmailChannel, now_us: int) -> EmailMessage:
    """The mail. Its Message-ID is that of the notice: mail systems drop copies of it."""
    wording = word_notices(notices, clean_text)
    domain = parseaddr(channel.sender)[1].partition("@")[2]
    message = EmailMessage(policy=SMTP)
    message["Subject"] = one_line(wording.title)[:_MAX_SUBJECT]
    message["From"] = channel.sender
    message["To"] = ", ".join(channel.to)
    message["Date"] = formatdate(now_us / MICROSECONDS)
    notice_id = content_id(*(notice.notice_id for notice in notices))
    message["Message-ID"] = f"<{notice_id}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    alert_id = safe_id(notices[0].event.alert_id)
    if len(notices) == 1 and alert_id:
        message["References"] = f"<alert-{alert_id}@{domain}>"
        message["X-Aiops-Alert-Id"] = alert_id
    message.set_content(plain_body(wording))
    message.add_alternative(_template().render(wording=wording), subtype="html")
    return message


@cache
def _template() -> Any:
    import jinja2

    text = resources.files("aiops.notify").joinpath("notice.html").read_text("utf-8")
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(text)


class EmailSender:
    """A connection for each mail: alerts are rare, and idle connections die."""

    def __init__(self, channel: EmailChannel) -> None:
        self._channel = channel

    def send(self, notices: list[Notice], now_us: int) -> None:
        channel = self._channel
        password = channel.password.reveal() if channel.password is not None else None
        message = mail_of(notices, channel, now_us)
        try:
            with self._connect() as server:
                if password is not None:
                    server.login(channel.user, password)
                refused = server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            text = f"the mail server takes mail for none of the addresses in to ({codes[0]})"
            raise SendError(text, is_final=all(code >= 500 for code in codes)) from None
        except smtplib.SMTPResponseException as error:
            said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else ""
            text = f"the mail server answered {error.smtp_code}: {one_line(said, 200)}"
            raise SendError(text, is_final=500 <= error.smtp_code < 600) from None
        except smtplib.SMTPNotSupportedError:
            text = "the mail server offers no STARTTLS or no login; set security, or leave user out"
            raise SendError(text, is_final=True) from None
        except ssl.SSLCertVerificationError:
            raise SendError("the mail server's certificate cannot be trusted", is_final=False) from None
        except (OSError, smtplib.SMTPException) as error:
            text = f"the mail server cannot be reached, or broke off ({type(error).__name__})"
            if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
                text = f"no answer from the mail server within {channel.timeout_seconds} s"
            raise SendError(text, is_final=False) from None
        if refused:
            text = f"sent, but the mail server refused {', '.join(sorted(refused))}: check the addresses"
            raise SendError(text, is_final=True)

    def _connect(self) -> smtplib.SMTP:
        channel, context = self._channel, ssl.create_default_context()
        if channel.security == "tls":
            return smtplib.SMTP_SSL(
                channel.host, channel.port, timeout=channel.timeout_seconds, context=context
            )
        server = smtplib.SMTP(channel.host, channel.port, timeout=channel.timeout_seconds)
        if channel.security == "starttls":
            try:
                server.starttls(context=context)
            except BaseException:
                server.close()
                raise
        return server

    def close(self) -> None:
        """Nothing is kept open."""
