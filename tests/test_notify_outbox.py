"""The outbox: nothing is lost when a notifier is killed, nothing is told twice but what was on its way."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alert_events import START_US, alert_event
from hypothesis import given
from hypothesis import strategies as st

from aiops.notify.channel_models import (
    AlertmanagerChannel,
    Channel,
    PagerDutyChannel,
    Rate,
    SlackChannel,
    WebhookChannel,
)
from aiops.notify.delivery import Delivery, messages_of
from aiops.notify.notices import Notice, SendError
from aiops.notify.notifier import Notifier
from aiops.notify.outbox import Outbox, Waiting
from aiops.notify.secrets import SecretError, SecretRef
from aiops.notify.state_file import StateError
from transforms.alert.notify_policy import ChannelTraits, Policy, Route, Step
from transforms.alert_elements import AlertEvent
from transforms.elements import HOUR_US, MINUTE_US

SECOND_US = 1_000_000
KEY = SecretRef("env", "KEY")
CHAT = SlackChannel(name="chat", url=KEY, fallback="mail")
PAGER = PagerDutyChannel(name="pager", routing_key=KEY)
RULES = Policy(
    (Route("all", (Step(0, ("chat",)),), repeat_us=HOUR_US),),
    {"chat": ChannelTraits(), "mail": ChannelTraits(), "pager": ChannelTraits(keeps_state=True)},
)


class Killed(BaseException):
    """The process ends here."""


class Recorder:
    """A sender that keeps what it is given, and fails as it is told."""

    def __init__(self, *failures: Exception | None) -> None:
        self.messages: list[list[str]] = []
        self.failures = list(failures)

    def send(self, notices: list[Notice], now_us: int) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        self.messages.append([f"{notice.event.alert_id} {notice.kind}" for notice in notices])

    def close(self) -> None:
        """Nothing is open."""


class Most:
    """The longest pause that jitter allows."""

    def uniform(self, low: float, high: float) -> float:
        return high


def at(minute: float) -> int:
    return START_US + round(minute * MINUTE_US)


def opened(alert_id: str = "a1", **changes: Any) -> AlertEvent:
    return alert_event(0, "opened", alert_id=alert_id, **changes)


def resolved(alert_id: str = "a1", sequence: int = 1) -> AlertEvent:
    return alert_event(sequence, "resolved", alert_id=alert_id)


def delivery(outbox: Outbox, sender: Recorder, channel: Channel = CHAT) -> tuple[Delivery, list[str]]:
    said: list[str] = []
    return Delivery(channel, sender, outbox, said.append, Most()), said  # type: ignore[arg-type]


@pytest.fixture
def outbox() -> Outbox:
    return Outbox(":memory:")


def test_what_was_planned_is_sent_after_a_kill_and_once(tmp_path: Path) -> None:
    """The plan is in the file before anything is acknowledged; the next run sends it."""
    path = str(tmp_path / "state.sqlite")
    Notifier(RULES, Outbox(path), at(0)).take([opened()], at(0))  # killed here: never closed
    sender = Recorder()
    second = Outbox(path)
    notifier = Notifier(RULES, second, at(1))
    notifier.take([opened()], at(1))  # Pub/Sub delivers it again
    notifier.tick(at(1))
    delivery(second, sender)[0].send_due(at(1))
    third = Outbox(path)
    Notifier(RULES, third, at(2)).tick(at(2))
    delivery(third, sender)[0].send_due(at(2))
    assert sender.messages == [["a1 opened"]]


def test_whoever_is_killed_while_sending_sends_again(tmp_path: Path) -> None:
    """A duplicate is better than a miss: the next run sends it, with the same id."""
    path = str(tmp_path / "state.sqlite")
    first, sender = Outbox(path), DiesAfter(1)
    Notifier(RULES, first, at(0)).take([opened()], at(0))
    with pytest.raises(Killed):
        delivery(first, sender)[0].send_due(at(0))
    second, again = Outbox(path), DiesAfter(99)
    delivery(second, again)[0].send_due(at(1))
    assert sender.ids == again.ids
    assert second.next_due_us("chat") is None


class DiesAfter(Recorder):
    """Takes so many messages, and ends the process with the last one, after it was sent."""

    def __init__(self, messages: int) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.left = messages

    def send(self, notices: list[Notice], now_us: int) -> None:
        super().send(notices, now_us)
        self.ids += [notice.notice_id for notice in notices]
        self.left -= 1
        if self.left <= 0:
            raise Killed


LIFE = [
    opened("a1"),
    opened("a2", severity="critical"),
    alert_event(1, "updated", alert_id="a1", fingerprints=["f2"]),
    resolved("a2"),
    alert_event(2, "escalated", alert_id="a1", severity="critical"),
    alert_event(2, "reopened", alert_id="a2"),
    resolved("a1", 3),
]


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=8),
    st.lists(st.booleans(), min_size=len(LIFE), max_size=len(LIFE)),
)
def test_wherever_it_is_killed_nothing_is_missed_and_little_is_told_twice(
    deaths: list[int], forgets: list[bool]
) -> None:
    """At any message, before or after an acknowledgment: copies only of what was on its way."""
    undisturbed = DiesAfter(10**9)
    outbox = Outbox(":memory:")
    notifier = Notifier(RULES, outbox, at(0))
    for minute, event in enumerate(LIFE):
        notifier.take([event], at(minute))
        delivery(outbox, undisturbed)[0].send_due(at(minute))

    outbox, ids, killed = Outbox(":memory:"), [], 0
    sender, lives = DiesAfter(deaths[0]), iter(deaths[1:])
    notifier = Notifier(RULES, outbox, at(0))
    for minute, event in enumerate(LIFE):
        notifier.take([event], at(minute))
        if forgets[minute]:  # killed before the acknowledgment: it comes again
            notifier = Notifier(RULES, outbox, at(minute))
            notifier.take([event], at(minute))
        while True:
            try:
                delivery(outbox, sender)[0].send_due(at(minute))
                break
            except Killed:
                killed += 1
                ids += sender.ids
                sender = DiesAfter(next(lives, 10**9))
                notifier = Notifier(RULES, outbox, at(minute))
                notifier.tick(at(minute))
    ids += sender.ids
    assert set(ids) == set(undisturbed.ids)
    assert len(ids) <= len(undisturbed.ids) + killed


def test_repeats_and_ends_go_on_after_a_restart(tmp_path: Path) -> None:
    """What was told is in the file: repeats come in time, ends only to who knows of the beginning."""
    path = str(tmp_path / "state.sqlite")
    Notifier(RULES, Outbox(path), at(0)).take([opened(), opened("a2"), resolved("a2")], at(0))
    outbox, sender = Outbox(path), Recorder()
    notifier = Notifier(RULES, outbox, at(30))
    deliverer, _ = delivery(outbox, sender)
    for minute in (30, 59, 60, 61):
        notifier.tick(at(minute))
        deliverer.send_due(at(minute))
    notifier.take([resolved()], at(70))
    deliverer.send_due(at(70))
    assert sender.messages == [["a1 opened"], ["a1 repeated"], ["a1 resolved"]]
    assert [command.action for command in outbox.waiting_commands()] == ["repeat"]
    outbox.mark_logged(outbox.waiting_commands())
    assert Outbox(path).waiting_commands() == []


def test_a_late_event_of_an_alert_that_is_over_changes_nothing(outbox: Outbox) -> None:
    """Once all is told, the alert leaves memory; a copy that comes later is known from the file."""
    notifier = Notifier(RULES, outbox, at(0))
    notifier.take([opened()], at(0))
    notifier.take([resolved()], at(5))
    assert notifier.next_due_us() is None
    notifier.take([opened(), resolved()], at(6))
    rows = outbox.rows("SELECT status FROM notices ORDER BY created_us")
    assert [row[0] for row in rows] == ["superseded", "waiting"]
    notifier.take([alert_event(2, "reopened")], at(7))
    assert outbox.waiting("chat", at(7))[0].notice.kind == "reopened"


def test_of_what_waits_only_the_newest_is_sent(outbox: Outbox) -> None:
    """After an outage people hear how an alert stands, never an old state after a new one."""
    notifier, sender = Notifier(RULES, outbox, at(0)), Recorder()
    notifier.take([opened(), opened("a2")], at(0))
    notifier.take([alert_event(1, "escalated", severity="critical")], at(1))
    notifier.take([resolved("a2")], at(2))
    delivery(outbox, sender)[0].send_due(at(3))
    assert sender.messages == [["a1 worse"], ["a2 resolved"]]


def test_a_superseded_notice_hands_on_what_the_channel_knew(outbox: Outbox) -> None:
    """Alertmanager has to end the severity that it was told, not the one that never left."""
    notifier = Notifier(RULES, outbox, at(0))
    notifier.take([opened(severity="medium")], at(0))
    outbox.mark_sent([one.notice for one in outbox.waiting("chat", at(0))], at(0))
    notifier.take([alert_event(1, "escalated", severity="high")], at(1))
    notifier.take([alert_event(2, "escalated", severity="critical")], at(2))
    (waiting,) = outbox.waiting("chat", at(3))
    assert (waiting.notice.event.severity, waiting.notice.severity_before) == ("critical", "medium")


def test_failures_that_may_pass_are_tried_again_later_and_later(outbox: Outbox) -> None:
    """Pauses double up to five minutes; meanwhile nothing else is tried on the channel."""
    down = SendError("down", is_final=False)
    sender = Recorder(*[down] * 10)
    deliverer, said = delivery(outbox, sender)
    Notifier(RULES, outbox, at(0)).take([opened(), opened("a2")], at(0))
    now, pauses = at(0), []
    while len(pauses) < 10:
        due = deliverer.send_due(now)
        assert due is not None
        assert deliverer.send_due(due - 1) == due
        pauses.append((due - now) // SECOND_US)
        now = due
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert deliverer.send_due(now) is None
    assert sorted(sender.messages) == [["a1 opened"], ["a2 opened"]]
    assert said[0] == "chat: down; trying again in 2 s (1 waiting)"
    sender.failures = [down]
    Notifier(RULES, outbox, now).take([opened("a3")], now)
    assert deliverer.send_due(now) == now + 2 * SECOND_US


def test_the_server_says_how_long_to_wait(outbox: Outbox) -> None:
    """Retry-After is honored where it is longer than our own pause, and only there."""
    sender = Recorder(
        SendError("busy", is_final=False, retry_after_seconds=90),
        SendError("busy", is_final=False, retry_after_seconds=1),
    )
    deliverer, _ = delivery(outbox, sender)
    Notifier(RULES, outbox, at(0)).take([opened()], at(0))
    assert deliverer.send_due(at(0)) == at(0) + 90 * SECOND_US
    assert deliverer.send_due(at(1.5)) == at(1.5) + 4 * SECOND_US


def test_jitter_keeps_two_notifiers_from_trying_in_step(outbox: Outbox) -> None:
    """A pause is between half and all of its length."""
    pauses = set()
    for number in range(20):
        box = Outbox(":memory:")
        Notifier(RULES, box, at(0)).take([opened()], at(0))
        sender = Recorder(SendError("down", is_final=False))
        due = Delivery(CHAT, sender, box, lambda _: None, random.Random(number)).send_due(at(0))
        assert due is not None
        pauses.add(due - at(0))
    assert len(pauses) > 10
    assert min(pauses) >= SECOND_US
    assert max(pauses) <= 2 * SECOND_US


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (SendError("the server answered 400: no", is_final=True), "the server answered 400: no"),
        (RuntimeError("secret log line"), "a mistake of aiops itself: RuntimeError in send, line "),
    ],
)
def test_what_cannot_be_sent_is_listed_and_told_elsewhere(
    outbox: Outbox, failure: Exception, reason: str
) -> None:
    """A dead letter with its reason, and the fallback hears of the alert and of the failure."""
    deliverer, said = delivery(outbox, Recorder(failure))
    Notifier(RULES, outbox, at(0)).take([opened()], at(0))
    assert deliverer.send_due(at(0)) is None
    (letter,) = outbox.failed()
    assert (letter.channel, letter.alert_id, letter.kind) == ("chat", "a1", "opened")
    assert letter.reason.startswith(reason)
    assert "secret log line" not in letter.reason + "".join(said)
    assert "mail is told instead (aiops notify failed)" in said[0]
    (instead,) = outbox.waiting("mail", at(0))
    assert (instead.notice.failed_channel, instead.notice.failed_reason) == ("chat", letter.reason)


def test_a_fallback_that_fails_too_ends_there(outbox: Outbox) -> None:
    """Two channels that name each other do not play ball with a notice."""
    mail = SlackChannel(name="mail", url=KEY, fallback="chat")
    dead = SendError("no", is_final=True)
    Notifier(RULES, outbox, at(0)).take([opened()], at(0))
    delivery(outbox, Recorder(dead))[0].send_due(at(0))
    deliverer, said = delivery(outbox, Recorder(dead), mail)
    deliverer.send_due(at(0))
    assert "is told instead" not in said[0]
    assert sorted(letter.channel for letter in outbox.failed()) == ["chat", "mail"]
    assert outbox.next_due_us("chat") is None


def test_what_fails_for_too_long_is_given_up(outbox: Outbox) -> None:
    """After `give_up` the last failure becomes the reason, also where a secret is missing."""
    sender = Recorder(*[SecretError("the secret env:KEY is not set")] * 100)
    deliverer, _ = delivery(outbox, sender)
    Notifier(RULES, outbox, at(0)).take([opened()], at(0))
    now: int | None = at(0)
    while now is not None:
        now = deliverer.send_due(now)
    (letter,) = outbox.failed()
    assert 120 <= (letter.failed_us - at(0)) / MINUTE_US <= 125
    assert letter.reason == "given up; at last the secret env:KEY is not set"


def test_a_dead_letter_can_be_sent_again(outbox: Outbox) -> None:
    """By the beginning of its id; what began and is over by now is not told any more."""
    notifier, sender = Notifier(RULES, outbox, at(0)), Recorder(*[SendError("no", is_final=True)] * 2)
    deliverer, _ = delivery(outbox, sender)
    notifier.take([opened(), opened("a2")], at(0))
    deliverer.send_due(at(0))
    first = next(letter for letter in outbox.failed() if letter.alert_id == "a1")
    again, late = outbox.retry(first.dead_id[:10], at(5))
    assert ([one.alert_id for one in again], late) == (["a1"], [])
    deliverer.send_due(at(5))
    assert sender.messages == [["a1 opened"]]
    notifier.take([resolved("a2")], at(6))
    again, late = outbox.retry("", at(7))
    assert (again, [one.alert_id for one in late]) == ([], ["a2"])
    assert outbox.retry("nope", at(7)) == ([], [])


def test_beyond_its_rate_people_get_one_digest(outbox: Outbox) -> None:
    """A storm of 200 alerts makes as many messages as the rate allows, the last one a digest."""
    chat = SlackChannel(name="chat", url=KEY, rate=Rate(5, 60))
    severities = ["low", "medium", "high", "critical"]
    events = [opened(f"a{n:03d}", severity=severities[n % 4]) for n in range(200)]
    notifier, sender = Notifier(RULES, outbox, at(0)), Recorder()
    notifier.take(events, at(0))
    deliverer, _ = delivery(outbox, sender, chat)
    deliverer.send_due(at(0))
    assert [len(message) for message in sender.messages] == [1, 1, 1, 1, 196]
    critical = {f"a{n:03d} opened" for n in range(3, 200, 4)}
    assert all(message[0] in critical for message in sender.messages[:4])
    notifier.take([opened("b1"), opened("b2")], at(0.5))
    due = deliverer.send_due(at(0.5))
    assert due is not None
    assert at(1) < due < at(1) + SECOND_US
    deliverer.send_due(due)
    assert [len(message) for message in sender.messages[5:]] == [1, 1]


def test_rates_hold_across_restarts(tmp_path: Path) -> None:
    """A notifier that is started again and again does not flood anybody."""
    path = str(tmp_path / "state.sqlite")
    chat = SlackChannel(name="chat", url=KEY, rate=Rate(1, 3600))
    sent = 0
    for minute in range(10):
        outbox, sender = Outbox(path), Recorder()
        Notifier(RULES, outbox, at(minute)).take([opened(f"a{minute}")], at(minute))
        delivery(outbox, sender, chat)[0].send_due(at(minute))
        sent += len(sender.messages)
        outbox.close()
    assert sent == 1


def waiting(number: int) -> list[Waiting]:
    event = opened()
    return [Waiting(Notice(str(n), "c", "opened", event, at(0)), 0, at(0)) for n in range(number)]


def test_programs_get_each_alert_and_alertmanager_many_at_once() -> None:
    """A pager's alerts beyond the rate wait; Alertmanager takes up to a hundred in one post."""
    assert [len(group) for group in messages_of(waiting(9), 4, PAGER)] == [1, 1, 1, 1]
    assert [len(group) for group in messages_of(waiting(9), 4, WebhookChannel(name="c", url="http://x"))] == [
        1
    ] * 4
    manager = AlertmanagerChannel(name="c", url="http://x")
    assert [len(group) for group in messages_of(waiting(250), 9, manager)] == [100, 100, 50]
    assert [len(group) for group in messages_of(waiting(250), 1, manager)] == [100]


def test_one_bad_alert_does_not_spoil_a_batch(outbox: Outbox) -> None:
    """A batch that is refused is sent one by one, and only the bad one becomes a dead letter."""

    class RefusesA2(Recorder):
        def send(self, notices: list[Notice], now_us: int) -> None:
            if any(notice.event.alert_id == "a2" for notice in notices):
                raise SendError("bad", is_final=True)
            super().send(notices, now_us)

    sender, manager = RefusesA2(), AlertmanagerChannel(name="chat", url="http://x")
    Notifier(RULES, outbox, at(0)).take([opened("a1"), opened("a2"), opened("a3")], at(0))
    delivery(outbox, sender, manager)[0].send_due(at(0))
    assert sorted(sum(sender.messages, [])) == ["a1 opened", "a3 opened"]  # noqa: RUF017
    assert [letter.alert_id for letter in outbox.failed()] == ["a2"]


def test_a_changed_policy_counts_from_the_next_start(outbox: Outbox) -> None:
    """Alerts that live are looked at again with the new policy, at once."""
    Notifier(RULES, outbox, at(0)).take([opened()], at(0))
    wider = Policy((Route("all", (Step(0, ("chat", "mail")),), repeat_us=0),), RULES.channels)
    Notifier(wider, outbox, at(10)).tick(at(10))
    assert [one.notice.kind for one in outbox.waiting("mail", at(10))] == ["opened"]


def test_what_nothing_depends_on_is_forgotten(outbox: Outbox) -> None:
    """The file does not grow for ever: what is over goes, what lives and what waits stays."""
    notifier = Notifier(RULES, outbox, at(0))
    notifier.take([opened(), opened("a2")], at(0))
    notifier.take([resolved()], at(1))
    outbox.mark_sent([one.notice for one in outbox.waiting("chat", at(1)) if one.notice.is_over], at(1))
    outbox.forget_old(at(0) + 61 * 24 * HOUR_US)
    assert outbox.memory("a1") is None
    assert outbox.memory("a2") is not None
    assert [row[0] for row in outbox.rows("SELECT status FROM notices")] == ["waiting"]


def test_only_one_notifier_has_a_state_file(tmp_path: Path) -> None:
    """A second one is told, and may have the file once the first has ended."""
    path = str(tmp_path / "state.sqlite")
    first, second = Outbox(path), Outbox(path)
    first.claim()
    with pytest.raises(StateError, match="in use by another"):
        second.claim()
    first.close()
    second.claim()


def test_a_file_that_is_no_state_is_left_alone(tmp_path: Path) -> None:
    """The error names the file and the mend."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)
    with pytest.raises(StateError, match="no state of `aiops notify`; name another file"):
        Outbox(str(path))
    assert path.read_text().startswith("not a database")
    with pytest.raises(StateError, match="cannot be opened: No such file"):
        Outbox(str(tmp_path / "no" / "state.sqlite"))
    Outbox(str(tmp_path / "new.sqlite"))
    assert (tmp_path / "new.sqlite").stat().st_mode & 0o077 == 0


def test_notices_survive_the_file_as_they_are(outbox: Outbox) -> None:
    """What is read back is what was put in, whatever text the alert holds."""
    event = opened(summary="\u202e<b>\x00 ä 🎉", example="")
    Notifier(RULES, outbox, at(0)).take([event], at(0))
    assert outbox.waiting("chat", at(0))[0].notice.event == event
    assert msgspec.json.encode(outbox.waiting("chat", at(0))[0].notice)
