"""The life of alerts, in the spirit of Alertmanager's acceptance tests, with a clock that tests move."""

from __future__ import annotations

from itertools import pairwise

import pytest
from alert_bench import MINUTE, START, Desk, contradiction, make_anomaly

from transforms.alert.catalog import CatalogEntry, ServiceCatalog
from transforms.alert.manage import advance, apply, flush, next_due_us
from transforms.alert.settings import AlertSettings
from transforms.elements import MICROSECONDS, content_id
from transforms.fingerprints import fingerprint_of


def test_an_alert_opens_after_the_group_wait_with_all_that_came_in_it() -> None:
    """Anomalies of a group within 30 seconds are one `opened`; its id is that of the first of them."""
    desk = Desk()
    first = desk.anomaly(at=START - MINUTE)
    desk.wait(10)
    desk.anomaly(detector="latency", severity="critical")
    assert desk.wait(19) == []
    [opened] = desk.wait(1)
    assert opened.event_type == "opened"
    assert opened.alert_id == content_id("acme", "service=cart", first.anomaly_id)
    assert opened.event_id == content_id(opened.alert_id, 0)
    assert (opened.severity, opened.anomaly_count, len(opened.fingerprints)) == ("critical", 2, 2)
    assert opened.summary == "latency of cart is critical (and 1 more finding)"
    assert opened.occurred_at == START + 30 * MICROSECONDS


def test_a_known_fingerprint_is_counted_and_not_told() -> None:
    """The same problem window after window gives one event; the next event carries the count."""
    desk = Desk()
    alert = desk.opened()
    for _ in range(20):
        desk.wait(60)
        desk.anomaly()
    assert desk.types() == ["opened"]
    [resolved] = desk.wait(900)
    assert (resolved.anomaly_count, len(resolved.anomaly_ids)) == (21, 20)
    assert desk.view(alert).status == "resolved"


def test_a_copy_of_an_anomaly_changes_nothing() -> None:
    """The same anomaly again, while it waits, while it is open and after it ended, leaves no trace."""
    desk = Desk()
    anomaly = desk.anomaly()
    desk.give(anomaly)
    desk.wait(30)
    desk.give(anomaly)
    assert desk.types() == ["opened"]
    [resolved] = desk.wait(900)
    assert resolved.anomaly_count == 1
    desk.give(anomaly)
    desk.wait(3600)
    assert desk.types() == ["opened", "resolved"]


def test_a_new_fingerprint_is_told_once_in_a_group_interval() -> None:
    """New findings of an open alert come together, at most every five minutes."""
    desk = Desk()
    alert = desk.opened()
    for number in range(20):
        desk.wait(60)
        desk.anomaly(detector=f"detector-{number}")
    updates = [event for event in desk.log if event.event_type == "updated"]
    gaps = [later.occurred_at - earlier.occurred_at for earlier, later in pairwise(updates)]
    assert updates
    assert min(gaps) >= 300 * MICROSECONDS
    desk.wait(300)
    assert len(desk.view(alert).fingerprints) == 21


def test_a_higher_severity_is_told_at_once() -> None:
    """`escalated` waits for nothing, and comes once for each step."""
    desk = Desk()
    desk.opened(severity="low")
    desk.wait(1)
    [event] = desk.give(make_anomaly(severity="critical", detector="oom", at=desk.now))
    assert (event.event_type, event.severity) == ("escalated", "critical")
    assert event.note == "From low to critical"
    assert event.summary.startswith("oom of cart")
    assert desk.give(make_anomaly(severity="critical", detector="disk", at=desk.now)) == []


def test_quiet_resolves_and_each_anomaly_puts_it_off() -> None:
    """After 15 minutes without an anomaly the job itself resolves the alert."""
    desk = Desk()
    desk.opened()
    desk.wait(800)
    desk.anomaly()
    assert desk.wait(899) == []
    [resolved] = desk.wait(1)
    assert (resolved.event_type, resolved.actor, resolved.status) == ("resolved", "aiops", "resolved")
    assert resolved.note == "Quiet for 15 minutes"


def test_the_same_group_within_the_hour_is_the_same_alert() -> None:
    """It is reopened, with a count that goes on; a new alert comes only after an hour."""
    desk = Desk()
    alert = desk.opened()
    desk.wait(900)
    desk.wait(3599)
    desk.anomaly()
    [reopened] = desk.wait(30)
    assert (reopened.event_type, reopened.alert_id, reopened.anomaly_count) == ("reopened", alert, 2)
    desk.wait(900)
    desk.wait(3601)
    assert desk.opened() != alert


def test_flapping_doubles_the_quiet_that_resolving_takes() -> None:
    """Three reopenings within an hour, and half an hour must be quiet; never more than two hours."""
    desk = Desk(AlertSettings(resolve_after_seconds=300, reopen_within_seconds=7200))
    quiet = []
    for _ in range(30):
        desk.anomaly()
        desk.wait(30)
        started = desk.now
        while not desk.wait(10):
            pass
        quiet.append((desk.now - started) // MICROSECONDS)
    assert quiet[:4] == [300, 300, 300, 600]
    assert quiet == sorted(quiet)
    assert max(quiet) <= 7200


def test_an_alert_whose_anomalies_are_all_withdrawn_resolves() -> None:
    """Late lines showed that nothing was wrong: the alert says so; one of two is not enough."""
    desk = Desk()
    first, second = desk.anomaly(), desk.anomaly(detector="latency")
    desk.wait(30)
    for anomaly in (first, second):
        assert desk.types() == ["opened"]
        desk.give(
            make_anomaly(detector=anomaly.detector, at=anomaly.detected_at, status="withdrawn", revision=1)
        )
    assert desk.types() == ["opened", "resolved"]
    assert "withdrawn" in desk.log[-1].note


def test_what_is_withdrawn_or_unsure_opens_nothing() -> None:
    """Withdrawn in the group wait, withdrawn before it came, or below the confidence floor: no alert."""
    desk = Desk()
    desk.anomaly()
    desk.anomaly(status="withdrawn", revision=1)
    desk.anomaly(service="pay", status="withdrawn", revision=2)
    desk.anomaly(service="pay", revision=1)
    desk.anomaly(service="mail", below_confidence_floor=True)
    assert desk.wait(3600) == []
    assert desk.book.tracked == 0


def test_a_later_revision_that_is_worse_escalates() -> None:
    """A late pane that shows more than the first one is news, but no second anomaly."""
    desk = Desk()
    desk.anomaly(severity="medium")
    desk.wait(30)
    at = desk.log[0].last_seen_at
    [event] = desk.give(make_anomaly(severity="high", at=at, revision=1))
    assert (event.event_type, event.anomaly_count) == ("escalated", 1)


def test_an_older_revision_that_comes_later_changes_nothing() -> None:
    """Panes may come in any order: the newest revision holds."""
    desk = Desk()
    desk.anomaly(severity="medium", revision=1)
    desk.wait(30)
    assert desk.give(make_anomaly(severity="critical", at=START, revision=0)) == []


def test_a_copy_of_what_is_too_old_to_be_listed_opens_nothing() -> None:
    """Of a long alert only the newest anomalies are known by id; the others by their time."""
    desk = Desk()
    first = desk.anomaly()
    for _ in range(150):
        desk.wait(60)
        desk.anomaly()
    desk.wait(900)
    desk.give(first)
    desk.wait(60)
    assert desk.types() == ["opened", "resolved"]


def test_a_long_alert_does_not_resolve_because_its_newest_anomalies_are_withdrawn() -> None:
    """Those that are no longer listed still hold."""
    desk = Desk()
    anomalies = [desk.anomaly()]
    for _ in range(150):
        desk.wait(60)
        anomalies.append(desk.anomaly())
    for anomaly in anomalies[1:]:
        desk.give(make_anomaly(at=anomaly.detected_at, status="withdrawn", revision=1))
    assert desk.types() == ["opened"]


def test_an_alert_that_was_forgotten_never_opens_twice() -> None:
    """An old anomaly comes again when its alert is no longer kept: the log goes on where it was."""
    desk = Desk(AlertSettings(most_resolved=1))
    first = desk.anomaly("service-0")
    for number in range(1, 3):
        desk.wait(2000)
        desk.anomaly(f"service-{number}")
    desk.wait(2000)
    desk.give(first)
    assert [event.event_type for event in desk.wait(30)] == ["reopened"]
    assert contradiction(desk.log) == ""


def test_services_and_labels_make_groups() -> None:
    """By default a service is a group; by other labels their values are, and no name can imitate another."""
    desk = Desk()
    desk.anomaly("cart")
    desk.anomaly("pay")
    assert sorted(event.group_key for event in desk.wait(30)) == ["service=cart", "service=pay"]
    desk = Desk(AlertSettings(group_by=("service", "type")))
    desk.anomaly("a,type=b", anomaly_type="silence")
    desk.anomaly("a", anomaly_type="silence")
    assert len({event.group_key for event in desk.wait(30)}) == 2


def test_a_fingerprint_outlives_evidence_but_not_the_pattern_it_is_about() -> None:
    """What is merely shown changes from window to window; a new pattern is a problem of its own."""
    spike = make_anomaly(pattern="p1")
    assert fingerprint_of(spike) == fingerprint_of(make_anomaly(pattern="p2", at=START + MINUTE))
    first = make_anomaly(pattern="p1", anomaly_type="new_pattern")
    again = make_anomaly(pattern="p1", anomaly_type="new_pattern", at=START + MINUTE)
    other = make_anomaly(pattern="p2", anomaly_type="new_pattern")
    assert fingerprint_of(first) == fingerprint_of(again) != fingerprint_of(other)
    by_rule = [make_anomaly(pattern=pattern, detector="rule:oops") for pattern in ("p1", "p2")]
    assert fingerprint_of(by_rule[0]) != fingerprint_of(by_rule[1])


def test_a_fingerprint_that_was_quiet_is_news_again() -> None:
    """In an alert that other findings keep open, one that comes back after 15 minutes is told."""
    desk = Desk()
    desk.anomaly(detector="latency")
    desk.opened()
    for _ in range(20):
        desk.wait(60)
        desk.anomaly()
    desk.anomaly(detector="latency")
    desk.wait(30)
    assert desk.types() == ["opened", "updated"]


def test_the_catalog_weighs_and_names_the_owner() -> None:
    """A tier-1 service makes a high anomaly critical; owner, channel and runbook stand in each event."""
    entry = CatalogEntry("cart", owner="ann", tier="tier-1", channel="#shop", runbook="https://run.example/1")
    desk = Desk(catalog=ServiceCatalog((entry,), "v1"))
    desk.opened()
    event = desk.log[0]
    assert (event.severity, event.owner, event.tier, event.channel, event.runbook) == (
        *("critical", "ann", "tier-1", "#shop", "https://run.example/1"),
    )


def test_a_false_positive_stays_away_while_it_is_the_same() -> None:
    """What people called false is counted in silence; something new or worse of the group opens it again."""
    desk = Desk()
    alert = desk.opened()
    desk.command("false_positive", alert, note="a batch job")
    for _ in range(120):
        desk.wait(60)
        desk.anomaly()
    assert desk.types() == ["opened", "false_positive"]
    desk.anomaly(detector="latency")
    desk.wait(30)
    assert desk.types() == ["opened", "false_positive", "opened"]


def test_the_end_of_the_input_is_never_quiet() -> None:
    """At the end what waits is told; nothing resolves."""
    desk = Desk()
    desk.opened()
    desk.anomaly(detector="latency")
    desk.anomaly("pay")
    desk.log += flush(desk.book, desk.settings)
    assert desk.types() == ["opened", "opened", "updated"]
    assert contradiction(desk.log) == ""


@pytest.mark.parametrize("step_seconds", [1, 7, 60, 3600])
def test_how_often_the_clock_looks_changes_nothing(step_seconds: int) -> None:
    """Things happen at their time, however late the timer fires."""
    settings = AlertSettings()

    def run(step: int) -> list[object]:
        desk = Desk(settings)
        for minute in (0, 1, 2, 30, 31, 90):
            goal = START + minute * MINUTE
            while desk.now + step * MICROSECONDS <= goal:
                desk.wait(step)
            desk.now = goal
            desk.anomaly()
            desk.anomaly(detector=f"d{minute}")
        desk.wait(7200)
        return [(event.occurred_at, event.event_type, event.anomaly_count) for event in desk.log]

    assert run(step_seconds) == run(10_000)


def test_what_is_due_next_is_known() -> None:
    """The timer is set for the group wait, then for the quiet, then for nothing."""
    desk = Desk()
    assert next_due_us(desk.book, desk.settings) is None
    desk.anomaly()
    assert next_due_us(desk.book, desk.settings) == START + 30 * MICROSECONDS
    desk.wait(30)
    assert next_due_us(desk.book, desk.settings) == START + 930 * MICROSECONDS
    desk.wait(900)
    assert next_due_us(desk.book, desk.settings) is None


def test_resolved_alerts_are_forgotten_in_the_end() -> None:
    """They are kept for a week and for the newest thousand; the state of a tenant stays bounded."""
    desk = Desk(AlertSettings(most_resolved=3))
    for number in range(6):
        desk.opened(f"service-{number}")
        desk.wait(1000)
    desk.wait(0)
    assert len(desk.book.alerts) <= 4
    desk.wait(8 * 86_400)
    desk.wait(700)
    assert not desk.book.alerts
    assert not desk.book.groups


@pytest.mark.parametrize(
    "wrong",
    [
        {"group_by": ()},
        {"group_by": ("severity",)},
        {"group_interval_seconds": 0},
        {"most_quiet_seconds": 10},
        {"keep_resolved_seconds": 60},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    """The error names the setting."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AlertSettings(**wrong)  # type: ignore[arg-type]


def test_the_clock_of_a_book_may_stand_still_or_go_back() -> None:
    """Workers disagree on the time: an alert's own log never goes back."""
    desk = Desk()
    alert = desk.opened()
    early = START - 3600 * MICROSECONDS
    desk.log += advance(desk.book, early, desk.settings)
    desk.now = early
    desk.command("acknowledge", alert)
    desk.log += apply(desk.book, make_anomaly(severity="critical", revision=1), early, desk.settings)
    assert desk.types(alert) == ["opened", "acknowledged", "escalated"]
    assert contradiction(desk.log) == ""
