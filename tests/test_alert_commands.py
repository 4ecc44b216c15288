"""Commands of people and of notifiers: what is done, and what is answered."""

from __future__ import annotations

import pytest
from alert_bench import Desk, contradiction
from hypothesis import given
from hypothesis import strategies as st

from transforms.alert.commands import MOST_ACTOR, MOST_NOTE, clean_command
from transforms.alert_elements import AlertCommand
from transforms.elements import MICROSECONDS

IN_AN_HOUR = 3600 * MICROSECONDS


def desk_in(status: str) -> tuple[Desk, str]:
    desk = Desk()
    alert = desk.opened()
    if status != "open":
        desk.command(
            {"acknowledged": "acknowledge", "resolved": "resolve", "false_positive": "false_positive"}[
                status
            ],
            alert,
        )
    return desk, alert


@pytest.mark.parametrize(
    ("status", "action", "event_type", "after"),
    [
        ("open", "acknowledge", "acknowledged", "acknowledged"),
        ("open", "resolve", "resolved", "resolved"),
        ("open", "reopen", "rejected", "open"),
        ("open", "silence", "silenced", "open"),
        ("open", "comment", "commented", "open"),
        ("open", "false_positive", "false_positive", "false_positive"),
        ("open", "useful", "commented", "open"),
        ("open", "escalate", "escalated", "open"),
        ("open", "repeat", "repeated", "open"),
        ("open", "expire_silence", "rejected", "open"),
        ("acknowledged", "acknowledge", "rejected", "acknowledged"),
        ("acknowledged", "resolve", "resolved", "resolved"),
        ("acknowledged", "escalate", "escalated", "acknowledged"),
        ("acknowledged", "repeat", "repeated", "acknowledged"),
        ("acknowledged", "false_positive", "false_positive", "false_positive"),
        ("resolved", "acknowledge", "rejected", "resolved"),
        ("resolved", "resolve", "rejected", "resolved"),
        ("resolved", "reopen", "reopened", "open"),
        ("resolved", "silence", "rejected", "resolved"),
        ("resolved", "comment", "commented", "resolved"),
        ("resolved", "false_positive", "false_positive", "false_positive"),
        ("resolved", "useful", "commented", "resolved"),
        ("resolved", "escalate", "rejected", "resolved"),
        ("resolved", "repeat", "rejected", "resolved"),
        ("false_positive", "acknowledge", "rejected", "false_positive"),
        ("false_positive", "resolve", "rejected", "false_positive"),
        ("false_positive", "reopen", "reopened", "open"),
        ("false_positive", "false_positive", "rejected", "false_positive"),
        ("false_positive", "useful", "commented", "resolved"),
        ("false_positive", "comment", "commented", "false_positive"),
    ],
)
def test_each_command_in_each_status(status: str, action: str, event_type: str, after: str) -> None:
    """The table of the state machine: one event for each command, with who, why and which command."""
    desk, alert = desk_in(status)
    fields = {"until": desk.now + IN_AN_HOUR} if action == "silence" else {}
    [event] = desk.command(action, alert, note="because", actor="bob", **fields)
    assert (event.event_type, event.status, event.alert_id) == (event_type, after, alert)
    assert (event.actor, event.command_id) == ("bob", f"command-{desk.commands}")
    assert "because" in event.note or event_type == "rejected"
    assert contradiction(desk.log) == ""


def test_a_copy_of_a_command_has_no_effect() -> None:
    """The command's id is what tells; after a restart too."""
    desk = Desk()
    alert = desk.opened()
    desk.command("comment", alert, note="one", command_id="c")
    desk.command("comment", alert, note="one", command_id="c")
    desk.restart()
    desk.command("comment", alert, note="one", command_id="c")
    assert desk.types() == ["opened", "commented"]


def test_a_command_for_an_unknown_alert_is_answered_in_a_life_of_its_own() -> None:
    """It takes no sequence of another alert, and does not tell whether another tenant has it."""
    desk = Desk()
    desk.opened()
    foreign = "ab" * 16
    [event] = desk.command("resolve", foreign)
    assert (event.event_type, event.sequence) == ("rejected", 0)
    assert event.alert_id != foreign
    assert "no alert" in event.note
    [event] = desk.command("resolve", "<script>")
    assert "script" not in event.note
    [event] = desk.command("resolve")
    assert "names no alert" in event.note
    assert contradiction(desk.log) == ""


def test_a_command_of_another_tenant_is_rejected() -> None:
    """The tenant is that of the subscription, which must be the alert's."""
    desk = Desk()
    alert = desk.opened()
    [event] = desk.command("resolve", alert, tenant_id="evil")
    assert event.event_type == "rejected"
    assert desk.view(alert).status == "open"


def test_a_comment_needs_words() -> None:
    """An empty one is answered."""
    desk = Desk()
    [event] = desk.command("comment", desk.opened(), note=" \n ")
    assert event.event_type == "rejected"


def test_an_alert_that_a_person_resolved_comes_back_when_it_goes_on() -> None:
    """What was under way then does not reopen it; the windows after that do."""
    desk = Desk()
    alert = desk.opened()
    desk.command("resolve", alert)
    desk.anomaly(at=desk.now)
    assert desk.wait(60) == []
    desk.anomaly()
    [event] = desk.wait(30)
    assert (event.event_type, event.alert_id) == ("reopened", alert)


def test_reopening_by_hand_needs_that_there_is_no_newer_alert() -> None:
    """Two open alerts of one group would both count what comes."""
    desk = Desk()
    old = desk.opened()
    desk.wait(900)
    desk.wait(3700)
    desk.opened()
    [event] = desk.command("reopen", old)
    assert event.event_type == "rejected"


def test_an_alert_that_was_reopened_by_hand_lives_on() -> None:
    """It takes anomalies and resolves by quiet like any other."""
    desk, alert = desk_in("resolved")
    desk.command("reopen", alert)
    desk.wait(60)
    desk.anomaly()
    assert desk.wait(30) == []
    [event] = desk.wait(900)
    assert (event.event_type, event.anomaly_count) == ("resolved", 2)
    assert desk.book.tracked == 0


@given(st.text(max_size=5000), st.text(max_size=500), st.text(max_size=300))
def test_text_of_commands_is_made_harmless(note: str, actor: str, command_id: str) -> None:
    """Bounded, one line, nothing invisible; an id that is none is replaced by a hash, always the same."""
    command = AlertCommand(command_id, "acme", "comment", actor, 0, alert_id="a", note=note)
    cleaned = clean_command(command)
    assert len(cleaned.note) <= MOST_NOTE
    assert len(cleaned.actor) <= MOST_ACTOR
    assert cleaned.actor
    assert cleaned.command_id
    assert (cleaned.note + cleaned.actor + cleaned.command_id).isprintable()
    assert clean_command(command) == cleaned


def test_remembered_commands_are_bounded() -> None:
    """A flood of commands does not grow the state."""
    desk = Desk()
    alert = desk.opened()
    for _ in range(2100):
        desk.command("comment", alert, note="x")
    assert len(desk.book.command_ids) == 2000
