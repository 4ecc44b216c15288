"""Both clocks of alerts together, in the spirit of Alertmanager's acceptance tests.

Anomalies go into the state machine, its events to the notifier, and what that does comes back as
commands; nothing but numbers is waited for.
"""

from __future__ import annotations

from alert_bench import START, Desk, contradiction, make_incident

from aiops.notify.notifier import Notifier
from aiops.notify.outbox import Outbox
from transforms.alert.notify_policy import ChannelTraits, Match, Policy, Route, Step
from transforms.alert_elements import AlertEvent, Matcher
from transforms.elements import MICROSECONDS

HOUR = 3600
POLICY = Policy(
    (
        Route(
            "bad",
            (Step(0, ("pager",)), Step(900 * MICROSECONDS, ("boss",))),
            Match(severity=("high", "critical")),
            repeat_us=4 * HOUR * MICROSECONDS,
        ),
        Route("rest", (Step(0, ("mail",)),)),
    ),
    {"pager": ChannelTraits(keeps_state=True), "boss": ChannelTraits(), "mail": ChannelTraits()},
)


class Town:
    """A book, a notifier, and people who write down what they are told: "minute channel kind service"."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.outbox = Outbox(":memory:")
        self.notifier = Notifier(POLICY, self.outbox, START)
        self.told: list[str] = []
        self._known = 0

    def wait(self, seconds: int, failing: tuple[str, ...] = ()) -> None:
        """Let time pass in steps of half a minute; services that fail have an anomaly every five minutes."""
        for _ in range(seconds // 30):
            if (self.desk.now - START) // MICROSECONDS % 300 == 0:
                for service in failing:
                    self.desk.anomaly(service)
            self.desk.wait(30)
            self.tell()

    def tell(self) -> None:
        self.notifier.take(self._news(), self.desk.now)
        self.notifier.tick(self.desk.now)
        for channel in POLICY.channels:
            for one in self.outbox.waiting(channel, self.desk.now):
                minute = (self.desk.now - START) / (60 * MICROSECONDS)
                self.told.append(f"{minute:g} {channel} {one.notice.kind} {one.notice.event.service}")
                self.outbox.mark_sent([one.notice], self.desk.now)
        commands = self.outbox.waiting_commands()
        for command in commands:
            self.desk.give(command)
        self.outbox.mark_logged(commands)

    def _news(self) -> list[AlertEvent]:
        news, self._known = self.desk.log[self._known :], len(self.desk.log)
        return news

    def lose_state(self) -> None:
        """The notifier begins with nothing, and gets the whole log again."""
        self.outbox = Outbox(":memory:")
        self.notifier = Notifier(POLICY, self.outbox, self.desk.now)
        self._known = 0


def test_what_lasts_is_repeated_escalated_and_resolved_and_the_log_says_so() -> None:
    """Told when the group wait is over, escalated unacknowledged, repeated, and over when it is quiet."""
    town = Town()
    town.wait(5 * HOUR, failing=("cart",))
    town.wait(HOUR)
    assert town.told == [
        "0.5 pager opened cart",
        "15.5 boss escalated cart",
        "240.5 pager repeated cart",
        "255.5 boss repeated cart",
        "310 pager resolved cart",
        "310 boss resolved cart",
    ]
    by_notify = [(event.event_type, event.actor) for event in town.desk.log if event.actor == "notify"]
    assert by_notify == [("escalated", "notify"), ("repeated", "notify"), ("repeated", "notify")]
    assert contradiction(town.desk.log) == ""


def test_an_acknowledged_alert_is_quiet_until_it_is_over() -> None:
    """No step and no repeat after somebody took it; its end is told to who knew."""
    town = Town()
    town.wait(300, failing=("cart",))
    town.desk.command("acknowledge", town.desk.log[0].alert_id)
    town.wait(9 * HOUR, failing=("cart",))
    town.wait(HOUR)
    assert [line.split(" ", 1)[1] for line in town.told] == ["pager opened cart", "pager resolved cart"]


def test_the_alert_of_the_cause_speaks_for_its_effects() -> None:
    """Effects that are known to be some are not told; when the cause is over, what still fails is."""
    town = Town()
    cause, effect = town.desk.anomaly("payment"), town.desk.anomaly("cart")
    town.desk.give(make_incident([cause, effect], "payment"))
    town.wait(30)
    town.wait(600, failing=("payment", "cart"))
    assert town.told == ["0.5 pager opened payment"]
    payment = next(event for event in town.desk.log if event.service == "payment")
    town.desk.command("acknowledge", payment.alert_id)
    town.wait(2 * HOUR, failing=("cart",))
    assert sorted(town.told[1:]) == [
        "25 pager opened cart",
        "25 pager resolved payment",
        "40 boss escalated cart",
    ]


def test_a_silence_keeps_all_quiet_and_its_end_tells_what_still_fails() -> None:
    """By matchers, for an hour: nothing is told before its end, though the log has it."""
    town = Town()
    town.desk.silence(Matcher("service", "=~", "ca.*"), seconds=HOUR)
    town.wait(2 * HOUR, failing=("cart",))
    assert town.desk.types()[:2] == ["silenced", "opened"]
    assert town.told == ["60 pager opened cart", "75 boss escalated cart"]


def test_what_ends_under_a_silence_is_never_told() -> None:
    """It began and ended while nobody wanted to hear of it."""
    town = Town()
    town.desk.silence(Matcher("service", "=", "cart"), seconds=2 * HOUR)
    town.wait(300, failing=("cart",))
    town.wait(4 * HOUR)
    assert town.told == []
    assert "resolved" in town.desk.types()


def test_a_cold_start_tells_what_is_open_and_nothing_that_is_over() -> None:
    """With the state of both lost, the log is enough; one duplicate for what lives, none for the past."""
    town = Town()
    town.wait(300, failing=("cart",))
    town.wait(HOUR)
    town.wait(300, failing=("payment",))
    town.told.clear()
    town.lose_state()
    town.desk.restart()
    town.wait(600, failing=("payment",))
    assert [line.split(" ", 1)[1] for line in town.told] == ["pager opened payment"]
    assert contradiction(town.desk.log) == ""


def test_a_service_that_flaps_is_one_alert_with_ends_that_come_later_and_later() -> None:
    """Up and down every twenty minutes: each end and return is told until damping holds the end back."""
    town = Town()
    for _ in range(12):
        town.wait(300, failing=("cart",))
        town.wait(20 * 60)
    kinds = [line.split(" ")[2] for line in town.told if "pager" in line]
    assert kinds[:2] == ["opened", "resolved"]
    assert kinds.count("reopened") <= 5
    assert len({event.alert_id for event in town.desk.log}) == 1


def test_a_rising_severity_reaches_those_who_are_told_of_the_worst() -> None:
    """The mail's route first, then the pager's; both hear of the end."""
    town = Town()
    town.desk.anomaly("cart", severity="low")
    town.wait(60)
    town.desk.anomaly("cart", "latency", severity="critical")
    town.wait(60)
    town.wait(HOUR)
    kinds = [line.split(" ", 1)[1] for line in town.told]
    assert kinds[:2] == ["mail opened cart", "pager opened cart"]
    assert sorted(kinds[2:]) == ["mail resolved cart", "pager resolved cart"]
