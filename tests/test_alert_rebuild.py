"""Any interleaving of anomalies, incidents, commands, time and kills gives a log that holds together."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import hypothesis
import msgspec
import pytest
from alert_bench import START, Desk, contradiction, make_anomaly, make_incident
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from transforms.alert.book import AlertBook, AlertState
from transforms.alert.manage import Value, next_due_us
from transforms.alert.rebuild import rebuild_book
from transforms.alert.settings import AlertSettings
from transforms.alert.view import fold_events
from transforms.alert_elements import AlertCommand, AlertEvent, Matcher
from transforms.coders import StructCoder
from transforms.elements import MICROSECONDS

SERVICES = ("cart", "pay", "db", "web")
DETECTORS = ("error_rate", "latency", "rule:oops")
SMALL = AlertSettings(
    group_wait_seconds=30, most_fingerprints=5, most_per_alert=3, most_resolved=10, most_incidents=2
)
ACTIONS = (
    *("acknowledge", "resolve", "reopen", "silence", "expire_silence", "comment"),
    *("false_positive", "useful", "escalate", "repeat"),
)
MATCHERS = [
    [],
    [Matcher("service", "=", "cart")],
    [Matcher("service", "=~", "c.*|p.*"), Matcher("detector", "!=", "latency")],
    [Matcher("severity", "=", "low")],
]
TOLD = (
    *("service", "status", "severity", "sequence", "anomaly_types", "detectors", "pattern_ids", "endpoints"),
    *("incident_id", "root_cause", "inhibited_by", "silence_id", "verdict", "example", "opened_at"),
)
"""What the log tells of an alert in full: the same after a restart."""


class AlertLives(RuleBasedStateMachine):
    """One tenant through everything that can happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(SMALL)
        self.inputs: list[Value] = []
        self.anomalies: list[Any] = []

    def give(self, value: Value) -> None:
        self.inputs.append(value)
        self.desk.give(value)

    @rule(
        service=st.sampled_from(SERVICES),
        detector=st.sampled_from(DETECTORS),
        severity=st.sampled_from(("low", "medium", "high", "critical")),
        windows_ago=st.integers(0, 3),
        pattern=st.sampled_from(("", "p1", "p2")),
        is_security=st.booleans(),
    )
    def anomaly(
        self,
        service: str,
        detector: str,
        severity: str,
        windows_ago: int,
        pattern: str,
        is_security: bool,
    ) -> None:
        minute = 60 * MICROSECONDS
        at = (self.desk.now // minute - windows_ago) * minute
        kind = "security_incident" if is_security else "error_spike"
        one = make_anomaly(service, detector, severity, at, pattern, anomaly_type=kind)
        self.anomalies.append(one)
        self.give(one)

    @rule(back=st.integers(1, 10), withdrawn=st.booleans(), severity=st.sampled_from(("low", "critical")))
    def revise(self, back: int, withdrawn: bool, severity: str) -> None:
        if not self.anomalies:
            return
        one = self.anomalies[-min(back, len(self.anomalies))]
        status = "withdrawn" if withdrawn else "open"
        revised = msgspec.structs.replace(
            one, revision=one.revision + 1, status=status, anomaly_severity=severity
        )
        self.anomalies.append(revised)
        self.give(revised)

    @rule(
        back=st.integers(1, 6),
        cause=st.sampled_from(SERVICES),
        revision=st.integers(0, 3),
        closed=st.booleans(),
    )
    def incident(self, back: int, cause: str, revision: int, closed: bool) -> None:
        members = self.anomalies[-back:]
        if members:
            status = "closed" if closed else "open"
            self.give(make_incident(members, cause, revision, status=status, opened_at=self.desk.now))

    @rule(
        action=st.sampled_from(ACTIONS),
        which=st.integers(0, 20),
        matchers=st.sampled_from(MATCHERS),
        seconds=st.integers(-10, 4000),
        copy_of=st.integers(0, 60),
    )
    def command(self, action: str, which: int, matchers: list[Matcher], seconds: int, copy_of: int) -> None:
        known = sorted({event.alert_id for event in self.desk.log})
        self.give(
            AlertCommand(
                command_id=f"c{copy_of}" if copy_of < 20 else f"c{len(self.inputs) + 100}",
                tenant_id="acme",
                action=action,  # type: ignore[arg-type]
                actor="ann",
                issued_at=self.desk.now,
                alert_id=known[which % len(known)]
                if known and not (matchers and action == "silence")
                else "",
                note="why" if which % 2 else "",
                matchers=matchers if action == "silence" else [],
                until=max(0, self.desk.now + seconds * MICROSECONDS),
                silence_id=next(iter(self.desk.book.silences), "") if which % 3 else "",
            )
        )

    @rule(seconds=st.sampled_from((1, 29, 30, 61, 300, 899, 901, 3601, 7300)))
    def wait(self, seconds: int) -> None:
        self.desk.wait(seconds)

    @rule(back=st.integers(0, 30), unwritten=st.integers(0, 3))
    def die_and_come_back(self, back: int, unwritten: int) -> None:
        """Inputs that were not acknowledged come again, to a process that knows nothing but the log.

        What was not written when it died was never there.
        """
        self.desk.log = self.desk.log[: len(self.desk.log) - unwritten]
        self.desk.restart()
        for value in self.inputs[len(self.inputs) - back :]:
            self.desk.give(value)

    @rule()
    def encode(self) -> None:
        coder = StructCoder(AlertBook)
        decoded = coder.decode(coder.encode(self.desk.book))
        assert decoded == self.desk.book
        self.desk.book = decoded

    @invariant()
    def log_holds_together(self) -> None:
        assert contradiction(self.desk.log) == ""
        assert len({event.event_id for event in self.desk.log}) == len(self.desk.log)

    @invariant()
    def state_is_bounded_and_counted_right(self) -> None:
        book = self.desk.book
        active = [alert for alert in book.alerts.values() if alert.is_active]
        tracked = sum(len(alert.findings) for alert in active if not alert.is_storm)
        waiting = sum(len(group.fingerprints) for group in book.pending.values())
        assert book.tracked == tracked + waiting
        by_hand = sum(event.event_type == "reopened" and event.actor == "ann" for event in self.desk.log)
        assert book.tracked <= SMALL.most_fingerprints + by_hand
        groups = [alert.group_key for alert in active]
        assert len(groups) == len(set(groups))

    @invariant()
    def nothing_due_is_overlooked(self) -> None:
        due = next_due_us(self.desk.book, SMALL)
        assert due is None or self.desk.book.due_hint <= due

    @invariant()
    def log_tells_all(self) -> None:
        check_rebuilt(self.desk.book, self.desk.log, self.desk.now)

    @invariant()
    def none_hush_each_other(self) -> None:
        for alert in self.desk.book.alerts.values():
            if alert.is_active and alert.inhibited_by:
                cause = self.desk.book.alerts[alert.inhibited_by]
                assert cause.is_active
                assert not cause.inhibited_by


def check_rebuilt(book: AlertBook, log: Sequence[AlertEvent], now: int) -> None:
    rebuilt = rebuild_book("acme", [*reversed(log), *log], now, SMALL)
    views = fold_events(log)
    for alert in book.alerts.values():
        other, view = rebuilt.alerts[alert.alert_id], views[alert.alert_id]
        assert told(alert, log) == told(other, log)
        assert (view.status, view.severity, view.is_active) == (alert.status, alert.severity, alert.is_active)
        if alert.is_active:
            assert other.anomaly_ids.keys() <= alert.anomaly_ids.keys() | set(view.anomaly_ids)
    matchers = {name: silence.matchers for name, silence in book.silences.items() if silence.matchers}
    assert matchers == {n: silence.matchers for n, silence in rebuilt.silences.items() if silence.matchers}


def told(alert: AlertState, log: Sequence[AlertEvent]) -> dict[str, object]:
    """`alert` as its newest event has it: what came after that is told later."""
    last = [event for event in log if event.alert_id == alert.alert_id][-1]
    later = {"anomaly_types", "detectors", "pattern_ids", "endpoints"}  # grow with what waits for `updated`
    state = {name: getattr(alert, name) for name in TOLD if name not in later}
    seen = {name: set(getattr(last, name)) <= set(getattr(alert, name)) for name in later}
    return {**state, **seen}


INVARIANTS = (
    *("log_holds_together", "state_is_bounded_and_counted_right", "nothing_due_is_overlooked"),
    *("log_tells_all", "none_hush_each_other"),
)


def step_by_chance(lives: AlertLives, chance: Random) -> None:
    """One step with the chances of an incident: Hypothesis alone seldom gets alerts old."""
    kind = chance.choices(
        ("anomaly", "revise", "incident", "command", "wait", "die"), (35, 10, 10, 15, 25, 3)
    )
    if kind == ["anomaly"]:
        lives.anomaly(
            service=chance.choice(SERVICES),
            detector=chance.choice(DETECTORS),
            severity=chance.choice(("low", "medium", "high", "critical")),
            windows_ago=chance.randint(0, 3),
            pattern=chance.choice(("", "p1", "p2")),
            is_security=chance.random() < 0.2,
        )
    elif kind == ["revise"]:
        lives.revise(
            back=chance.randint(1, 10),
            withdrawn=chance.random() < 0.6,
            severity=chance.choice(("low", "critical")),
        )
    elif kind == ["incident"]:
        lives.incident(
            back=chance.randint(1, 6),
            cause=chance.choice(SERVICES),
            revision=chance.randint(0, 3),
            closed=chance.random() < 0.3,
        )
    elif kind == ["command"]:
        lives.command(
            action=chance.choice(ACTIONS),
            which=chance.randint(0, 20),
            matchers=chance.choice(MATCHERS),
            seconds=chance.randint(-10, 4000),
            copy_of=chance.randint(0, 60),
        )
    elif kind == ["wait"]:
        lives.wait(seconds=chance.choice((1, 29, 30, 61, 61, 300, 300, 899, 901, 3601, 7300)))
    else:
        lives.die_and_come_back(back=chance.randint(0, 30), unwritten=chance.randint(0, 3))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_long_lives(seed: int) -> None:
    """The same over days of a busy tenant."""
    lives, chance = AlertLives(), Random(seed)
    for _ in range(120):
        step_by_chance(lives, chance)
        for name in INVARIANTS:
            getattr(lives, name)()


AlertLives.TestCase.settings = hypothesis.settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
test_lives = AlertLives.TestCase
test_lives.__doc__ = "Whatever happens in whatever order, killed anywhere: the log holds together."


def test_a_rebuilt_book_goes_on_where_the_log_ends() -> None:
    """Open alerts stay open for the whole quiet time, acknowledged ones acknowledged; none opens twice."""
    desk = Desk()
    alert = desk.opened()
    desk.command("acknowledge", alert)
    desk.now = START + 10 * 3600 * MICROSECONDS
    desk.restart()
    desk.anomaly(detector="latency")
    desk.wait(330)
    assert desk.types() == ["opened", "acknowledged", "updated"]
    desk.wait(899)
    assert desk.view(alert).status == "resolved"


def test_anomalies_that_come_again_after_a_kill_open_nothing_new() -> None:
    """At least once is what sources promise: what the log knows is not news."""
    desk = Desk()
    anomalies = []
    for _ in range(5):
        anomalies.append(desk.anomaly())
        desk.wait(60)
    desk.wait(900)
    before = desk.types()
    desk.restart()
    for anomaly in anomalies:
        desk.give(anomaly)
    desk.wait(600)
    assert desk.types() == before == ["opened", "resolved"]


def test_a_group_that_waited_when_the_process_died_opens_when_its_anomalies_come_again() -> None:
    """Nothing was logged of it, so nothing is lost but the wait."""
    desk = Desk()
    anomaly = desk.anomaly()
    desk.wait(10)
    desk.restart()
    desk.give(anomaly)
    assert [event.event_type for event in desk.wait(30)] == ["opened"]


def test_silences_and_commands_survive_a_restart() -> None:
    """Those by matchers and those of an alert go on to their end."""
    desk = Desk()
    alert = desk.opened("pay")
    desk.command("silence", alert, until=desk.now + 600 * MICROSECONDS)
    desk.silence(Matcher("service", "=", "cart"), seconds=3600)
    desk.restart()
    desk.opened("cart")
    assert desk.log[-1].silence_id
    assert desk.view(alert).is_silenced(desk.now)
    desk.anomaly("pay")
    desk.wait(600)
    assert desk.view(alert).last.silence_id == ""
    assert contradiction(desk.log) == ""


def test_an_alert_that_flapped_stays_slow_to_resolve_after_a_restart() -> None:
    """The reopenings are in the log."""
    desk = Desk()
    alert = desk.opened()
    for _ in range(3):
        desk.wait(900)
        desk.anomaly()
        desk.wait(30)
    desk.restart()
    assert desk.wait(1799) == []
    assert desk.wait(1)[0].event_type == "resolved"
    assert desk.types(alert).count("reopened") == 3


def test_events_of_other_tenants_are_left_out() -> None:
    """A book is made of its own tenant's log."""
    desk = Desk()
    desk.opened()
    assert not rebuild_book("other", desk.log, desk.now).alerts


GOLDEN_BOOK = Path(__file__).parent / "golden_state" / "alert_book_v1.json"


def test_state_of_running_jobs_still_decodes() -> None:
    """A book that an earlier version wrote is read; fields that came later have their defaults."""
    encoded = base64.b64decode(json.loads(GOLDEN_BOOK.read_text())["book"])
    book = StructCoder(AlertBook).decode(encoded)
    [alert] = [alert for alert in book.alerts.values() if alert.status == "acknowledged"]
    assert (alert.severity, alert.anomaly_count, len(alert.findings)) == ("critical", 3, 2)
    assert (len(book.silences), len(book.incidents), len(book.pending)) == (1, 1, 1)
    desk = Desk()
    desk.book, desk.now = book, START + 3600 * MICROSECONDS
    assert {event.event_type for event in desk.wait(7200)} == {"opened", "resolved"}
