"""The threads of channels: one that hangs holds up no other, and a broken one ends the whole."""

from __future__ import annotations

import threading
import time

import pytest
from alert_events import START_US, alert_event

from aiops.notify.channel_models import SlackChannel
from aiops.notify.delivery import Delivery
from aiops.notify.notices import Notice
from aiops.notify.notifier import Notifier
from aiops.notify.outbox import Outbox
from aiops.notify.running import Workers, run_until_stopped
from aiops.notify.secrets import SecretRef
from aiops.notify.state_file import StateError
from transforms.alert.notify_policy import ChannelTraits, Policy, Route, Step
from transforms.alert_elements import AlertEvent

NAMES = ("slow", "quick")
RULES = Policy((Route("all", (Step(0, NAMES),)),), {name: ChannelTraits() for name in NAMES})


class Blocking:
    """A sender that says when it is asked, and comes back when it is let go."""

    def __init__(self, *, blocks: bool) -> None:
        self.asked, self.let_go, self.closed = threading.Event(), threading.Event(), threading.Event()
        if not blocks:
            self.let_go.set()

    def send(self, notices: list[Notice], now_us: int) -> None:
        self.asked.set()
        self.let_go.wait(30)

    def close(self) -> None:
        self.closed.set()


class OneEvent:
    """A feed of one event; then it is quiet."""

    is_busy = False
    once_seconds = 0.0

    def __init__(self) -> None:
        self.events: list[AlertEvent] = [alert_event(0, "opened")]

    def poll(self, wait_seconds: float) -> list[AlertEvent]:
        events, self.events = self.events, []
        time.sleep(0.01)
        return events

    def taken(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing is open."""


def deliveries(outbox: Outbox, slow: Blocking, quick: Blocking) -> list[Delivery]:
    channels = [SlackChannel(name=name, url=SecretRef("env", "X")) for name in NAMES]
    senders = (slow, quick)
    return [Delivery(c, s, outbox, lambda _: None) for c, s in zip(channels, senders, strict=True)]


def test_a_channel_that_hangs_holds_up_no_other() -> None:
    """The pager is told while the mail server hangs; an end is said to be late."""
    outbox, slow, quick = Outbox(":memory:"), Blocking(blocks=True), Blocking(blocks=False)
    Notifier(RULES, outbox, START_US).take([alert_event(0, "opened")], START_US)
    workers = Workers(deliveries(outbox, slow, quick))
    workers.start()
    assert slow.asked.wait(10)
    assert quick.asked.wait(10)
    assert not workers.stop(seconds=0.2)
    slow.let_go.set()
    assert slow.closed.wait(10)
    assert workers.stop(seconds=10)
    assert workers.error is None


def test_a_state_file_that_fails_ends_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be remembered must not go on silently: the error comes out of the loop."""
    outbox, quick = Outbox(":memory:"), Blocking(blocks=False)

    def full(*_: object) -> None:
        raise StateError("the disk is full")

    monkeypatch.setattr(outbox, "mark_sent", full)
    workers = Workers(deliveries(outbox, Blocking(blocks=False), quick))
    notifier = Notifier(RULES, outbox, START_US)
    with pytest.raises(StateError, match="the disk is full"):
        run_until_stopped(notifier, OneEvent(), workers, lambda _: None)
    workers.stop()
