"""How people see alerts: folded from events in any order."""

from __future__ import annotations

from random import Random

from alert_bench import Desk

from transforms.alert.view import fold_events
from transforms.alert_elements import Matcher


def test_a_view_is_the_fold_of_its_events_in_any_order_with_copies() -> None:
    """At least once and out of order is how events come."""
    desk = Desk()
    alert = desk.opened()
    desk.command("acknowledge", alert, actor="ann")
    desk.command("resolve", alert, actor="bob")
    desk.wait(60)
    desk.anomaly()
    desk.wait(30)
    desk.silence(Matcher("service", "=", "pay"))
    desk.command("resolve", "ab" * 16)
    shuffled = [*desk.log, *desk.log]
    Random(1).shuffle(shuffled)
    assert fold_events(shuffled) == fold_events(desk.log)


def test_a_view_tells_who_did_what_until_it_opens_again() -> None:
    """Acknowledged and resolved by whom; a reopening starts anew and is counted."""
    desk = Desk()
    alert = desk.opened()
    desk.command("acknowledge", alert, actor="ann")
    acknowledged_at = desk.now
    assert desk.view(alert).acknowledged_by == "ann"
    desk.wait(60)
    desk.command("resolve", alert, actor="bob")
    view = desk.view(alert)
    assert (view.status, view.is_active) == ("resolved", False)
    assert (view.acknowledged_at, view.resolved_by, view.resolved_at) == (acknowledged_at, "bob", desk.now)
    desk.wait(60)
    desk.anomaly()
    desk.wait(30)
    view = desk.view(alert)
    assert (view.status, view.acknowledged_by, view.resolved_at, view.reopenings) == ("open", "", 0, 1)
    assert [event.sequence for event in view.events] == [0, 1, 2, 3]


def test_silences_are_views_and_answers_are_none() -> None:
    """A silence by matchers is told from alerts; what was rejected without an alert is not shown."""
    desk = Desk()
    desk.silence(Matcher("service", "=", "pay"))
    desk.command("resolve", "ab" * 16)
    [view] = fold_events(desk.log).values()
    assert view.is_silence
    assert view.is_silenced(desk.now)
    assert not view.is_silenced(desk.now + 4000 * 1_000_000)
    assert view.summary == "Silence of service='pay'"


def test_the_newest_alert_comes_first() -> None:
    """As a list of alerts is read."""
    desk = Desk()
    first = desk.opened("cart")
    second = desk.opened("pay")
    assert list(fold_events(desk.log)) == [second, first]
