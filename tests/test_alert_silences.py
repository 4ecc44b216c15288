"""Silences, with the semantics of Alertmanager's, and inhibition by the alert of the cause."""

from __future__ import annotations

import msgspec
import pytest
from alert_bench import MINUTE, Desk, contradiction, make_anomaly, make_incident

from transforms.alert_elements import Matcher
from transforms.elements import MICROSECONDS

CART = Matcher("service", "=", "cart")


def test_a_silence_covers_open_alerts_and_those_that_open_under_it_and_ends_by_itself() -> None:
    """An alert under it is kept for the record with its id, and says so when the silence has ended."""
    desk = Desk()
    early = desk.opened()
    desk.silence(CART, seconds=3600)
    silence = desk.log[1]
    assert (silence.event_type, silence.alert_id, silence.matchers) == (
        "silenced",
        silence.silence_id,
        [CART],
    )
    assert desk.log[2].alert_id == early
    assert desk.log[2].event_type == "silenced"
    desk.wait(3000)
    assert desk.types(early) == ["opened", "silenced", "resolved"]
    desk.anomaly()
    [late] = desk.wait(30)
    assert (late.event_type, late.silence_id) == ("reopened", silence.silence_id)
    assert desk.view(early).is_silenced(desk.now)
    ended, spoken = desk.wait(600)
    assert (ended.alert_id, ended.event_type) == (silence.silence_id, "resolved")
    assert (spoken.alert_id, spoken.event_type, spoken.silence_id) == (early, "updated", "")
    assert spoken.occurred_at == silence.silenced_until


def test_an_alert_that_opens_under_a_silence_says_so_in_its_first_event() -> None:
    """`opened` carries silence and end: notifiers keep quiet from the beginning."""
    desk = Desk()
    desk.silence(CART)
    desk.opened()
    opened = desk.log[-1]
    assert (opened.event_type, opened.silence_id) == ("opened", desk.log[0].silence_id)
    assert opened.silenced_until == desk.log[0].silenced_until
    desk.opened("pay")
    assert desk.log[-1].silence_id == ""


@pytest.mark.parametrize(
    ("matchers", "covered"),
    [
        ([Matcher("service", "=", "cart")], True),
        ([Matcher("service", "=", "car")], False),
        ([Matcher("service", "=~", "ca")], False),  # anchored
        ([Matcher("service", "=~", "ca|cart")], True),  # anchored as a whole
        ([Matcher("service", "=~", "ca.*"), Matcher("type", "=", "silence")], False),  # all must hold
        ([Matcher("service", "!=", "pay"), CART], True),
        ([Matcher("service", "!~", "ca.*"), CART], False),
        ([Matcher("tenant", "=", "acme"), Matcher("detector", "=", "error_rate")], True),
        ([Matcher("tenant", "=", "other")], False),
        ([Matcher("severity", "=", "high")], True),
        ([Matcher("endpoint", "=", "/buy"), CART], False),
        ([Matcher("endpoint", "=", ""), CART], True),  # what it does not have is empty
        ([Matcher("pattern", "=", "p1")], True),
        ([Matcher("pattern", "=", "p2")], False),
    ],
)
def test_matchers_hold_as_in_alertmanager(matchers: list[Matcher], covered: bool) -> None:
    """All must hold, expressions match the whole value, and a label that is missing is empty."""
    desk = Desk()
    desk.silence(*matchers)
    desk.opened(pattern="p1")
    assert bool(desk.log[-1].silence_id) == covered


def test_an_alert_is_silenced_only_while_all_its_findings_are() -> None:
    """A finding that no silence covers makes the alert speak at once; two silences may share the work."""
    desk = Desk()
    desk.silence(Matcher("detector", "=", "error_rate"))
    alert = desk.opened()
    assert desk.view(alert).is_silenced(desk.now)
    desk.anomaly(detector="latency")
    assert not desk.view(alert).is_silenced(desk.now)
    assert desk.log[-1].event_type == "updated"
    desk.silence(Matcher("detector", "=", "latency"), seconds=60)
    assert desk.view(alert).is_silenced(desk.now)
    assert desk.log[-1].silenced_until == desk.now + MINUTE


def test_a_silence_of_one_pattern_does_not_hide_another_that_joins() -> None:
    """The same fingerprint may show more than what was silenced: then it speaks."""
    desk = Desk()
    desk.silence(Matcher("pattern", "=", "p1"))
    alert = desk.opened(pattern="p1")
    assert desk.view(alert).is_silenced(desk.now)
    desk.wait(60)
    desk.anomaly(pattern="p2")
    assert not desk.view(alert).is_silenced(desk.now)


def test_expiring_a_silence_ends_it_early() -> None:
    """By its id; the alert speaks again, and who ended it is on record."""
    desk = Desk()
    alert = desk.opened()
    desk.silence(CART)
    silence_id = desk.log[1].silence_id
    ended, spoken = desk.command("expire_silence", silence_id=silence_id, actor="bob")
    assert (ended.event_type, ended.alert_id, ended.actor) == ("resolved", silence_id, "bob")
    assert (spoken.alert_id, spoken.event_type, spoken.silence_id) == (alert, "updated", "")
    [rejected] = desk.command("expire_silence", silence_id=silence_id)
    assert rejected.event_type == "rejected"


def test_a_silence_of_an_alert_covers_it_until_its_end_and_through_reopening() -> None:
    """It is part of the alert's own log; a second one replaces the first, be it shorter."""
    desk = Desk()
    alert = desk.opened()
    desk.command("silence", alert, until=desk.now + 7200 * MICROSECONDS)
    desk.command("silence", alert, until=desk.now + 3000 * MICROSECONDS)
    assert desk.types(alert) == ["opened", "silenced", "silenced"]
    assert desk.log[-1].silenced_until == desk.now + 3000 * MICROSECONDS
    desk.wait(1000)
    desk.anomaly()
    [reopened] = desk.wait(30)
    assert (reopened.event_type, bool(reopened.silence_id)) == ("reopened", True)
    desk.anomaly()
    desk.wait(900)
    desk.anomaly()
    desk.wait(890)
    desk.anomaly()
    spoken = desk.wait(200)[-1]
    assert (spoken.event_type, spoken.silence_id) == ("updated", "")


def test_ending_the_silence_of_an_alert_names_the_alert_alone() -> None:
    """Without a silence's id the alert's own silence ends."""
    desk = Desk()
    alert = desk.opened()
    desk.command("silence", alert, until=desk.now + 7200 * MICROSECONDS)
    [event] = desk.command("expire_silence", alert)
    assert (event.event_type, event.silence_id) == ("updated", "")
    desk.command("silence", alert, until=desk.now + 7200 * MICROSECONDS)
    desk.wait(1000)
    [event] = desk.command("expire_silence", alert)
    assert (event.event_type, event.status) == ("commented", "resolved")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"matchers": [CART]}, "needs an end"),
        ({"matchers": [CART], "until": 1}, "in the past"),
        ({"until": 1 << 55}, "an alert or matchers"),
        ({"until": 1 << 55, "matchers": [Matcher("service", "=~", "(")]}, "not a valid RE2"),
        ({"until": 1 << 55, "matchers": [Matcher("service", "=~", "(?=a)")]}, "not a valid RE2"),
        ({"until": 1 << 55, "matchers": [Matcher("service", "=~", ".*")]}, "must not match the empty"),
        ({"until": 1 << 55, "matchers": [Matcher("service", "=", "")]}, "must not match the empty"),
        ({"until": 1 << 55, "matchers": [Matcher("service", "!=", "x")]}, "must not match the empty"),
        ({"until": 1 << 55, "matchers": [CART] * 21}, "at most 20"),
        ({"until": 1 << 55, "matchers": [Matcher("service", "=", "x" * 501)]}, "at most 500"),
    ],
)
def test_a_silence_that_cannot_be_is_answered(fields: dict[str, object], why: str) -> None:
    """The answer says why; nothing is silenced."""
    desk = Desk()
    [event] = desk.command("silence", **fields)
    assert event.event_type == "rejected"
    assert why in event.note
    assert not desk.book.silences


def test_an_evil_expression_costs_nothing() -> None:
    """Matchers are RE2: what takes seconds elsewhere takes none here."""
    desk = Desk()
    desk.silence(Matcher("service", "=~", "(a+)+b"))
    desk.opened("a" * 5000)
    assert desk.log[-1].silence_id == ""


# -------------------------------------------------------------------------------- inhibition


def open_incident(desk: Desk, **severities: str) -> dict[str, str]:
    """Alerts of one incident whose cause is `db`."""
    anomalies = [desk.anomaly(service, severity=severity) for service, severity in severities.items()]
    desk.wait(30)
    desk.give(make_incident(anomalies, root_cause="db"))
    return {view.service: view.alert_id for view in map(desk.view, {event.alert_id for event in desk.log})}


def test_an_incident_is_attached_and_its_cause_hushes_the_effects() -> None:
    """All get the incident at once; those of other services are inhibited by the alert of the cause."""
    desk = Desk()
    alerts = open_incident(desk, db="high", cart="high", web="medium")
    for service, alert in alerts.items():
        last = desk.view(alert).last
        assert last.root_cause == "db"
        assert last.incident_id
        assert last.inhibited_by == ("" if service == "db" else alerts["db"])
    assert desk.view(alerts["cart"]).is_inhibited


def test_when_the_alert_of_the_cause_resolves_the_effects_speak_at_once() -> None:
    """Inhibition ends with the alert that spoke for them."""
    desk = Desk()
    alerts = open_incident(desk, db="high", cart="high")
    _, spoken = desk.command("resolve", alerts["db"])
    assert (spoken.alert_id, spoken.event_type, spoken.inhibited_by) == (alerts["cart"], "updated", "")


def test_the_cause_takes_the_severity_of_what_it_speaks_for() -> None:
    """A low alert must not hush a critical one: it is escalated."""
    desk = Desk()
    alerts = open_incident(desk, db="low", cart="critical")
    assert desk.view(alerts["db"]).severity == "critical"
    assert desk.types(alerts["db"])[-1] == "escalated"
    assert "cart" in desk.log[-1].note


def test_a_critical_security_incident_is_never_inhibited() -> None:
    """It speaks for itself, whatever the cause is said to be."""
    desk = Desk()
    anomalies = [
        desk.anomaly("db"),
        desk.anomaly("iam", severity="critical", anomaly_type="security_incident"),
    ]
    desk.wait(30)
    desk.give(make_incident(anomalies, root_cause="db"))
    assert all(not event.inhibited_by for event in desk.log)


def test_two_alerts_never_hush_each_other() -> None:
    """Where two incidents name each other's service as the cause, both alerts speak."""
    desk = Desk()
    one, other = desk.anomaly("a"), desk.anomaly("b")
    desk.wait(30)
    desk.give(make_incident([one], root_cause="b", incident_id="i1"))
    desk.give(make_incident([other], root_cause="a", incident_id="i2"))
    inhibited = [view for event in desk.log if (view := desk.view(event.alert_id)).is_inhibited]
    assert not inhibited


def test_an_alert_that_has_a_cause_elsewhere_hushes_nobody() -> None:
    """An incident changes its mind, and one alert has not heard of it: both speak until it has."""
    desk = Desk()
    of_a, of_b = desk.anomaly("a"), desk.anomaly("b")
    desk.wait(30)
    desk.give(make_incident([of_b], root_cause="a", incident_id="i"))
    desk.give(make_incident([of_b, of_a], root_cause="b", revision=1, incident_id="i"))
    views = [desk.view(alert) for alert in {event.alert_id for event in desk.log}]
    assert not any(view.is_inhibited for view in views)
    desk.wait(600)
    inhibited = {view.service for alert in desk.book.alerts if (view := desk.view(alert)).is_inhibited}
    assert inhibited == {"a"}


def test_an_open_incident_counts_before_a_newer_one_that_is_closed() -> None:
    """An alert of several incidents is part of the one that goes on."""
    desk = Desk()
    anomaly = desk.anomaly("cart")
    desk.give(make_incident([anomaly], incident_id="goes on", opened_at=1))
    desk.give(make_incident([anomaly], incident_id="is over", opened_at=2, status="closed"))
    [opened] = desk.wait(30)
    assert opened.incident_id == "goes on"


def test_an_incident_that_came_first_is_in_the_opened_event() -> None:
    """Correlation may be quicker than the group wait."""
    desk = Desk()
    anomaly = desk.anomaly("cart")
    desk.give(make_incident([anomaly], root_cause="cart"))
    [opened] = desk.wait(30)
    assert (opened.event_type, opened.root_cause) == ("opened", "cart")


def test_later_revisions_of_an_incident_are_told_with_the_next_update() -> None:
    """A cause that changes its name every minute gives one event in five; old revisions give none."""
    desk = Desk()
    anomalies = [desk.anomaly("cart")]
    desk.wait(30)
    desk.give(make_incident(anomalies, root_cause="db", revision=5))
    desk.give(make_incident(anomalies, root_cause="web", revision=4))
    for revision in range(6, 16):
        desk.wait(60)
        anomalies.append(desk.anomaly("cart"))
        desk.give(make_incident(anomalies, root_cause=f"db-{revision}", revision=revision))
    updates = [event for event in desk.log if event.event_type == "updated"]
    assert 2 <= len(updates) <= 3
    assert updates[0].root_cause == "db"
    assert contradiction(desk.log) == ""


def test_a_silenced_cause_silences_its_effects() -> None:
    """As in Alertmanager, inhibition does not ask whether the cause is silenced."""
    desk = Desk()
    desk.silence(Matcher("service", "=", "db"))
    anomalies = [desk.anomaly("db"), desk.anomaly("cart")]
    desk.wait(30)
    desk.give(make_incident(anomalies, root_cause="db"))
    assert sum(bool(event.inhibited_by) for event in desk.log) == 1


def test_an_incident_names_alerts_by_fingerprint_too() -> None:
    """Where the list of anomalies has other windows, the fingerprint is the same."""
    desk = Desk()
    desk.opened("cart")
    later = make_anomaly("cart", at=desk.now + MINUTE)
    incident = make_incident([later], root_cause="db")
    member = incident.anomalies[0]
    finding = desk.log[0].fingerprints[0]
    named = msgspec.structs.replace(
        incident, anomalies=[msgspec.structs.replace(member, fingerprint=finding)]
    )
    [event] = desk.give(named)
    assert event.root_cause == "db"
