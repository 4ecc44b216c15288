"""Alert commands as JSON, and from untrusted JSON to a command that is safe to apply. No Beam here.

Whoever may publish to a tenant's topic of commands may act on that tenant's alerts, and says who they
are: Pub/Sub does not tell. docs/events.md says what that means for permissions.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from pipeline.alert_messages import MessageError, problem_path
from pipeline.messages import Message
from transforms.alert_elements import SYSTEM_ACTOR, AlertCommand, Matcher
from transforms.dead_letters import make_dead_letter
from transforms.elements import MICROSECONDS, MINUTE_US, DeadLetter
from transforms.redact.redactor import Redactor

STAGE: Final = "parse_commands"
COMMAND_SCHEMA: Final = "urn:aiops:schema:alert-command:v1"
CONTENT_TYPE: Final = "application/json"

MAX_COMMAND_BYTES: Final = 64 * 1024
MAX_NAME: Final = 200
MAX_NOTE: Final = 2_000
MAX_MATCHERS: Final = 20
MAX_MATCHER_VALUE: Final = 1_000
_EARLIEST_US: Final = 946_684_800 * MICROSECONDS  # 2000
_LATEST_US: Final = 7_258_118_400 * MICROSECONDS  # 2200
_NOTIFIER_ACTIONS: Final = frozenset({"escalate", "repeat"})
_PERSON: Final = re.compile(r"[\w.+-]{1,100}(@[\w.-]{1,100})?")
_decoder = msgspec.json.Decoder(AlertCommand)


def command_message(command: AlertCommand) -> Message:
    """What `aiops alerts --topic` publishes."""
    attributes = {"content-type": CONTENT_TYPE, "tenant_id": command.tenant_id[:MAX_NAME]}
    return Message(msgspec.json.encode(command), attributes | {"action": command.action})


def parse_command(data: bytes, tenant_id: str) -> AlertCommand:
    """The command of a message on a subscription of `tenant_id`, whose command it is where it names none.

    Whether it is possible, and of this tenant, is for the book of alerts to say, which answers. Raises
    MessageError, whose text holds nothing of the message, for what is no command at all.
    """
    if len(data) > MAX_COMMAND_BYTES:
        raise MessageError("too_large", f"more than {MAX_COMMAND_BYTES} bytes")
    try:
        command = _decoder.decode(data)
    except msgspec.ValidationError as error:
        raise MessageError("wrong_type", problem_path(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MessageError("not_json", "the body is no JSON") from None
    check_command(command)
    return command if command.tenant_id else msgspec.structs.replace(command, tenant_id=tenant_id)


def check_command(command: AlertCommand) -> None:
    """Raises MessageError where `command` cannot be used at all."""
    for name, text in {
        "command_id": command.command_id,
        "actor": command.actor,
        "tenant_id": command.tenant_id,
        "alert_id": command.alert_id,
        "silence_id": command.silence_id,
    }.items():
        if len(text) > MAX_NAME or not text.isprintable():
            raise MessageError("bad_name", f"{name} is longer than {MAX_NAME} or not printable")
    if not command.command_id or not command.actor.strip():
        raise MessageError("bad_name", "command_id or actor is empty")
    if command.actor == SYSTEM_ACTOR and command.action not in _NOTIFIER_ACTIONS:
        raise MessageError("reserved_actor", f"the job itself signs as {SYSTEM_ACTOR}")
    for name, micros in {"issued_at": command.issued_at, "until": command.until}.items():
        if not (_EARLIEST_US <= micros < _LATEST_US or (name == "until" and micros == 0)):
            raise MessageError("number_out_of_range", f"{name} is not between 2000 and 2200, microseconds")
    if len(command.matchers) > MAX_MATCHERS:
        raise MessageError("too_many_matchers", f"more than {MAX_MATCHERS}")
    if any(len(matcher.value) > MAX_MATCHER_VALUE for matcher in command.matchers):
        raise MessageError("too_large", f"a matcher is longer than {MAX_MATCHER_VALUE} characters")


def redact_command(command: AlertCommand, tenant_id: str, redactor: Redactor) -> AlertCommand:
    """`command` with its note and matchers redacted as log lines of `tenant_id` are, its note cut.

    The actor stays where it is a handle or an address: the audit needs to know who it was.
    """
    actor = command.actor.strip()
    return msgspec.structs.replace(
        command,
        note=_cut(redactor.text(tenant_id, command.note)),
        actor=actor if _PERSON.fullmatch(actor) else redactor.text(tenant_id, actor),
        matchers=[
            Matcher(one.name, one.operator, redactor.text(tenant_id, one.value)) for one in command.matchers
        ],
    )


def refused_command(
    data: bytes, tenant_id: str, error: MessageError, published_us: int, redactor: Redactor
) -> DeadLetter:
    """The redacted dead letter of a message that is no command. It is no line of the ledger."""
    minute_us = published_us // MINUTE_US * MINUTE_US
    letter = make_dead_letter(STAGE, error.reason, error.detail, data, tenant_id, minute_us)
    return redactor.dead_letter(letter)


def _cut(note: str) -> str:
    return note if len(note) <= MAX_NOTE else f"{note[: MAX_NOTE - 1]}…"
