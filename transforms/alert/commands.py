"""What people want done, and what is done or answered. The text of commands is untrusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from transforms.alert.book import AlertState, Silence
from transforms.alert.incidents import look_around
from transforms.alert.lives import reopen_by_hand, resolve_alert
from transforms.alert.silences import matcher_problem
from transforms.alert.turn import Turn
from transforms.alert_elements import AlertAction, AlertCommand
from transforms.elements import content_id

MOST_ACTOR: Final = 200
MOST_NOTE: Final = 2000
_MOST_ID: Final = 200
_HEX: Final = frozenset("0123456789abcdef")


class _RejectedError(Exception):
    """Why a command cannot be done; nothing was changed."""


def take_command(turn: Turn, command: AlertCommand) -> None:
    """Do what `command` says, or say why not in a `rejected` event. A copy has no effect."""
    command = clean_command(command)
    book = turn.book
    if command.command_id in book.command_ids:
        return
    book.command_ids[command.command_id] = None
    while len(book.command_ids) > turn.settings.most_commands:
        del book.command_ids[next(iter(book.command_ids))]
    alert = book.alerts.get(command.alert_id)
    try:
        if command.tenant_id != book.tenant_id:
            raise _RejectedError("the command is of another tenant")
        _ACTIONS[command.action](turn, alert, command)
    except _RejectedError as rejected:
        note = f"{command.action} was rejected: {rejected}"
        if alert is None:
            turn.emit_rejection(actor=command.actor, note=note, command_id=command.command_id)
        else:
            turn.emit(alert, "rejected", actor=command.actor, note=note, command_id=command.command_id)


def clean_command(command: AlertCommand) -> AlertCommand:
    """`command` with bounded text of one line, without control characters."""
    command_id = command.command_id
    if not command_id or len(command_id) > _MOST_ID or not command_id.isprintable():
        command_id = content_id(*(str(getattr(command, name)) for name in command.__struct_fields__))
    return msgspec.structs.replace(
        command,
        command_id=command_id,
        actor=_clean(command.actor, MOST_ACTOR) or "unknown",
        note=_clean(command.note, MOST_NOTE),
    )


def _clean(text: str, most: int) -> str:
    # Invisible characters can turn the direction of text or hide some of it.
    words = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * most])
    return " ".join(words.split())[:most]


def _known(alert: AlertState | None, command: AlertCommand) -> AlertState:
    if alert is not None:
        return alert
    named = command.alert_id if len(command.alert_id) == 32 and _HEX.issuperset(command.alert_id) else ""
    if not command.alert_id:
        raise _RejectedError("it names no alert")
    raise _RejectedError(f"this tenant has no alert {named}".rstrip() + ", or it was resolved too long ago")


def _active(alert: AlertState | None, command: AlertCommand) -> AlertState:
    alert = _known(alert, command)
    if not alert.is_active:
        raise _RejectedError(f"the alert is {alert.status.replace('_', ' ')}")
    return alert


def _acknowledge(turn: Turn, alert: AlertState | None, command: AlertCommand) -> None:
    alert = _active(alert, command)
    if alert.status == "acknowledged":
        raise _RejectedError("the alert is acknowledged")
    alert.status = "acknowledged"
    turn.emit(alert, "acknowledged", actor=command.actor, note=command.note, command_id=command.command_id)


def _resolve(turn: Turn, alert: AlertState | None, command: AlertCommand) -> None:
    resolve_alert(
        turn,
        _active(alert, command),
        actor=command.actor,
        note=command.note,
        command_id=command.command_id,
    )


def _reopen(turn: Turn, alert: AlertState | None, command: AlertCommand) -> None:
    alert = _known(alert, command)
    if alert.is_active:
        raise _RejectedError("the alert is open")
    newest = turn.book.alerts.get(turn.book.groups.get(alert.group_key, ""))
    if alert.group_key in turn.book.pending or (newest is not None and newest.is_active):
        raise _RejectedError("its group has a newer alert")
    reopen_by_hand(turn, alert, actor=command.actor, note=command.note, command_id=command.command_id)


def _comment(turn: Turn, alert: AlertState | None, command: AlertCommand) -> None:
    alert = _known(alert, command)
    if not command.note:
        raise _RejectedError("a comment needs a note")
    turn.emit(alert, "commented", actor=command.actor, note=command.note, command_id=command.command_id)


def _call_false(turn: Turn, alert: AlertState | None, command: AlertCommand) -> None:
    alert = _known(alert, command)
    if alert.status == "false_positive":
        raise _RejectedError("the alert is a false positive")
    resolve_alert(
        turn,
        alert,
        event_type="false_positive",
        status="false_positive",
        verdict="false_positive",
        actor=command.actor,
        note=command.note,
        command_id=command.command_id,
    )


def _call_useful(turn: Turn, alert: AlertState | None, command: AlertCommand) -> None:
    alert = _known(alert, command)
    alert.verdict = "useful"
    if alert.status == "false_positive":
        alert.status = "resolved"
    note = command.note or "Useful"
    turn.emit(alert, "commented", actor=command.actor, note=note, command_id=command.command_id)


def _escalate(turn: Turn, alert: AlertState | None, command: AlertCommand) -> None:
    alert = _active(alert, command)
    turn.emit(alert, "escalated", actor=command.actor, note=command.note, command_id=command.command_id)


def _repeat(turn: Turn, alert: AlertState | None, command: AlertCommand) -> None:
    alert = _active(alert, command)
    turn.emit(alert, "repeated", actor=command.actor, note=command.note, command_id=command.command_id)


def _silence(turn: Turn, alert: AlertState | None, command: AlertCommand) -> None:
    book = turn.book
    if command.until <= turn.now:
        raise _RejectedError("its end is in the past" if command.until else "a silence needs an end")
    if len(book.silences) >= turn.settings.most_silences:
        raise _RejectedError(f"there are {len(book.silences)} silences; expire some")
    if command.alert_id and command.matchers:
        raise _RejectedError("name an alert or matchers, not both")
    silence_id = content_id(book.tenant_id, "silence", command.command_id)
    silence = Silence(silence_id, command.until, turn.now, matchers=list(command.matchers))
    if command.alert_id:
        silence.alert_id = _active(alert, command).alert_id
    elif not command.matchers:
        raise _RejectedError("name an alert or matchers")
    elif problem := matcher_problem(command.matchers):
        raise _RejectedError(problem)
    book.silences[silence_id] = silence
    book.hint(silence.until)
    book.is_unsettled = True
    said = {"actor": command.actor, "note": command.note, "command_id": command.command_id}
    if alert is None:
        turn.emit_silence(silence, "silenced", **said)
        return
    for other in [s for s in book.silences.values() if s.alert_id == alert.alert_id and s is not silence]:
        del book.silences[other.silence_id]  # the last word counts, be it shorter
    look_around(turn, alert)
    turn.emit(alert, "silenced", **said)


def _expire(turn: Turn, alert: AlertState | None, command: AlertCommand) -> None:
    book = turn.book
    ids = [command.silence_id] if command.silence_id else []
    if not ids and alert is not None:
        ids = [silence.silence_id for silence in book.silences.values() if silence.alert_id == alert.alert_id]
    silence = book.silences.get(ids[0]) if ids else None
    if silence is None:
        raise _RejectedError("there is no such silence, or it has ended")
    said = {"actor": command.actor, "note": command.note, "command_id": command.command_id}
    end_silence(turn, silence, **said)


def end_silence(turn: Turn, silence: Silence, **said: str) -> None:
    """Take `silence` away, by its end (`said` is empty) or by a command."""
    book = turn.book
    del book.silences[silence.silence_id]
    book.is_unsettled = True
    if silence.matchers:
        turn.emit_silence(silence, "resolved", **said)
        return
    alert = book.alerts.get(silence.alert_id)
    if alert is None or not said:
        return  # `settle` tells where an open alert speaks again
    if alert.is_active:
        look_around(turn, alert)
        turn.emit(alert, "updated", **said)
    elif alert.silence_id == silence.silence_id:
        alert.silence_id, alert.silenced_until = "", 0
        turn.emit(alert, "commented", **{**said, "note": said["note"] or "The silence was ended"})


_ACTIONS: Final[dict[AlertAction, Callable[[Turn, AlertState | None, AlertCommand], None]]] = {
    "acknowledge": _acknowledge,
    "resolve": _resolve,
    "reopen": _reopen,
    "silence": _silence,
    "expire_silence": _expire,
    "comment": _comment,
    "false_positive": _call_false,
    "useful": _call_useful,
    "escalate": _escalate,
    "repeat": _repeat,
}
