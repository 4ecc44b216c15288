"""The clock of notifying: who is told what, when; told as tables of minutes, with no clock but a number."""
# ruff: noqa: E501 - tables read best with a case a line

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from alert_events import START_US, alert_event
from hypothesis import given
from hypothesis import strategies as st

from transforms.alert.next_actions import NOTIFY_ACTOR, Told, next_actions
from transforms.alert.notify_policy import ChannelTraits, Hours, HoursCondition, Match, Policy, Route, Step
from transforms.alert.situation import Situation, changes_situations, fold_event
from transforms.alert_elements import AlertCommand, AlertEvent, Matcher
from transforms.elements import HOUR_US, MINUTE_US

CHANNELS = {
    "mail": ChannelTraits(),
    "chat": ChannelTraits(),
    "boss": ChannelTraits(),
    "pager": ChannelTraits(keeps_state=True, takes_acknowledged=True),
    "manager": ChannelTraits(keeps_state=True, refresh_us=15 * MINUTE_US),
}
OFFICE = Hours("office", "UTC", (0, 1, 2, 3, 4), 9 * 60, 17 * 60)
IN_OFFICE = HoursCondition("office")
OUT_OF_OFFICE = HoursCondition("office", inside=False)


def route(*channels: str, name: str = "all", steps: Sequence[Step] = (), **fields: Any) -> Route:
    return Route(name, (Step(0, channels), *steps), **fields)


def policy(*routes: Route) -> Policy:
    return Policy(routes, CHANNELS, {"office": OFFICE})


def at(minute: float) -> int:
    return START_US + round(minute * MINUTE_US)


class Played(msgspec.Struct):
    """What was told: "minute channel kind" each; and the commands for the alert's log."""

    told: list[str] = []
    commands: list[AlertCommand] = []


def play(events: Sequence[AlertEvent], policy: Policy, minutes: float, every_minute: bool = False) -> Played:
    """What a notifier tells that gets each event when it occurs and otherwise looks only when a plan says so."""
    played = Played()
    situation: Situation | None = None
    told: dict[str, Told] = {}
    waiting = sorted(events, key=lambda event: event.occurred_at)
    now_us: int | None = waiting[0].occurred_at
    while now_us is not None and now_us <= at(minutes):
        while waiting and waiting[0].occurred_at <= now_us:
            event = waiting.pop(0)
            if changes_situations(event):
                situation = fold_event(situation, event)
        due_us = None
        if situation is not None:
            plan = next_actions(situation, told, policy, now_us)
            told, due_us = plan.told, plan.due_us
            played.told += [
                f"{(now_us - START_US) / MINUTE_US:g} {action.channel} {action.kind}"
                for action in plan.actions
            ]
            played.commands += plan.commands
            assert due_us is None or due_us > now_us
            assert next_actions(situation, told, policy, now_us).actions == ()
        if every_minute:
            due_us = min(now_us + MINUTE_US, due_us or now_us + MINUTE_US)
        coming = [time for time in (due_us, waiting[0].occurred_at if waiting else None) if time is not None]
        now_us = min(coming, default=None)
    return played


OPENED = alert_event(0, "opened")
ACKNOWLEDGED = alert_event(1, "acknowledged", 10)
RESOLVED = alert_event(1, "resolved", 30)
SILENCED = {"silence_id": "s1", "silenced_until": at(60)}
ESCALATES = (Step(15 * MINUTE_US, ("pager",)), Step(45 * MINUTE_US, ("boss",)))

LIVES: list[tuple[str, Policy, list[AlertEvent], float, list[str]]] = [
    ("opened and resolved are told once each", policy(route("mail", "chat")), [OPENED, RESOLVED], 600,
     ["0 mail opened", "0 chat opened", "30 mail resolved", "30 chat resolved"]),
    ("a route that waits tells an effect not at all, whose cause speaks for it by then", policy(route("mail", wait_us=MINUTE_US)),
     [OPENED, alert_event(1, "updated", 0.5, inhibited_by="a0"), alert_event(2, "resolved", 20)], 600,
     []),
    ("what still holds after the wait is told as it stands then", policy(route("mail", wait_us=MINUTE_US), route("pager", name="page")),
     [OPENED, alert_event(1, "updated", 0.5, fingerprints=["f2"])], 100, ["1 mail opened"]),
    ("a route that waits does not hold up another one", policy(route("mail", wait_us=MINUTE_US, goes_on=True), route("pager", name="page")),
     [OPENED], 100, ["0 pager opened", "1 mail opened"]),
    ("a new life waits anew, and escalation counts from the telling", policy(route("chat", steps=ESCALATES, wait_us=MINUTE_US)),
     [OPENED, RESOLVED, alert_event(2, "reopened", 50)], 67,
     ["1 chat opened", "16 pager escalated", "30 chat resolved", "30 pager resolved", "51 chat reopened", "66 pager escalated"]),
    ("what is over within the wait is not told", policy(route("mail", wait_us=MINUTE_US)), [OPENED, alert_event(1, "resolved", 0.5)], 600,
     []),
    ("what lasts is repeated after the repeat interval", policy(route("mail", repeat_us=HOUR_US)), [OPENED], 130,
     ["0 mail opened", "60 mail repeated", "120 mail repeated"]),
    ("an interval of 0 repeats nothing", policy(route("mail", repeat_us=0)), [OPENED], 10_000,
     ["0 mail opened"]),
    ("a repeat counts from what was told last", policy(route("mail", repeat_us=HOUR_US)),
     [OPENED, alert_event(1, "updated", 40, fingerprints=["f2"])], 110,
     ["0 mail opened", "40 mail updated", "100 mail repeated"]),
    ("what adds nothing new is not told", policy(route("mail")),
     [OPENED, alert_event(1, "updated", 5), alert_event(2, "commented", 6, actor="ann"), alert_event(3, "repeated", 7, actor="notify")], 60,
     ["0 mail opened"]),
    ("a cause that becomes known is told once", policy(route("mail")),
     [OPENED, alert_event(1, "updated", 5, root_cause="redis"), alert_event(2, "updated", 9, root_cause="redis")], 60,
     ["0 mail opened", "5 mail updated"]),
    ("updates can be left out, a rising severity cannot", policy(route("mail", tells_updates=False)),
     [OPENED, alert_event(1, "updated", 5, fingerprints=["f2"]), alert_event(2, "escalated", 9, severity="critical")], 60,
     ["0 mail opened", "9 mail worse"]),
    ("a falling severity is no news", policy(route("mail")), [OPENED, alert_event(1, "updated", 5, severity="low")], 60,
     ["0 mail opened"]),
    ("without acknowledgment each step is told in its time", policy(route("chat", steps=ESCALATES)), [OPENED], 100,
     ["0 chat opened", "15 pager escalated", "45 boss escalated"]),
    ("an acknowledgment ends escalation and repeats", policy(route("chat", steps=ESCALATES, repeat_us=HOUR_US)), [OPENED, ACKNOWLEDGED], 600,
     ["0 chat opened"]),
    ("a pager hears that somebody is on it", policy(route("pager", "chat")), [OPENED, ACKNOWLEDGED], 60,
     ["0 pager opened", "0 chat opened", "10 pager acknowledged"]),
    ("news reach those who know also after an acknowledgment", policy(route("mail")),
     [OPENED, ACKNOWLEDGED, alert_event(2, "escalated", 20, severity="critical", status="acknowledged")], 60,
     ["0 mail opened", "20 mail worse"]),
    ("who was never told is not told of what somebody acknowledged", policy(route("mail")),
     [alert_event(1, "acknowledged", 10), alert_event(2, "resolved", 20)], 60,
     []),
    ("what is resolved before it was told is never told", policy(route("mail")), [RESOLVED], 60,
     []),
    ("resolved can be left out for people, not for a pager", policy(route("mail", "pager", tells_resolved=False)), [OPENED, RESOLVED], 60,
     ["0 mail opened", "0 pager opened", "30 pager resolved"]),
    ("a false positive is over", policy(route("mail")), [OPENED, alert_event(1, "false_positive", 12)], 600,
     ["0 mail opened", "12 mail resolved"]),
    ("reopened begins a new life with its own escalation", policy(route("chat", steps=ESCALATES)),
     [OPENED, RESOLVED, alert_event(2, "reopened", 50)], 70,
     ["0 chat opened", "15 pager escalated", "30 chat resolved", "30 pager resolved", "50 chat reopened", "65 pager escalated"]),
    ("a reopening that overtakes its end is told", policy(route("chat")), [OPENED, alert_event(2, "reopened", 50)], 60,
     ["0 chat opened", "50 chat reopened"]),
    ("what is silenced is told when the silence ends, if it still holds", policy(route("mail")), [alert_event(0, "opened", **SILENCED)], 600,
     ["60 mail opened", "300 mail repeated", "540 mail repeated"]),
    ("what ends under its silence is never told", policy(route("mail")), [alert_event(0, "opened", **SILENCED), alert_event(1, "resolved", 30, **SILENCED)], 600,
     []),
    ("a silence stops repeats and escalation; its end is no news by itself", policy(route("chat", steps=ESCALATES, repeat_us=2 * HOUR_US)),
     [OPENED, alert_event(1, "silenced", 5, **SILENCED)], 130,
     ["0 chat opened", "60 pager escalated", "60 boss escalated", "120 chat repeated"]),
    ("a silence that is expired early holds no longer", policy(route("mail")),
     [alert_event(0, "opened", **SILENCED), alert_event(1, "updated", 20)], 60,
     ["20 mail opened"]),
    ("an end under a silence reaches only those who keep state", policy(route("mail", "pager")),
     [OPENED, alert_event(1, "silenced", 5, **SILENCED), alert_event(2, "resolved", 30, **SILENCED)], 600,
     ["0 mail opened", "0 pager opened", "30 pager resolved"]),
    ("an inhibited alert is quiet until its cause is over", policy(route("mail")),
     [alert_event(0, "opened", inhibited_by="a0"), alert_event(1, "updated", 90)], 100,
     ["90 mail opened"]),
    ("an end while its cause speaks for it is not told to people", policy(route("mail", "pager")),
     [OPENED, alert_event(1, "updated", 5, inhibited_by="a0"), alert_event(2, "resolved", 30, inhibited_by="a0")], 100,
     ["0 mail opened", "0 pager opened", "30 pager resolved"]),
    ("steps count from the first notice, not from the last", policy(route("mail", steps=ESCALATES)),
     [OPENED, alert_event(1, "updated", 10, fingerprints=["f2"])], 50,
     ["0 mail opened", "10 mail updated", "15 pager escalated", "45 boss escalated"]),
    ("an acknowledgment keeps a step from a manager that forgets, too", policy(route("mail", steps=[Step(15 * MINUTE_US, ("manager",))])),
     [OPENED, ACKNOWLEDGED], 60,
     ["0 mail opened"]),
    ("a step that is due in quiet hours waits for their end", policy(route("mail", steps=[Step(60 * MINUTE_US, ("boss",))], quiet_hours=(OUT_OF_OFFICE,), repeat_us=0)),
     [alert_event(0, "opened", 450)], 2000,
     ["450 mail opened", "1440 boss escalated"]),
    ("a silence by matchers is no alert", policy(route("mail")),
     [alert_event(0, "silenced", matchers=[Matcher("service", "=", "cart")])], 60,
     []),
    ("in quiet hours nothing is told, after them what still holds", policy(route("mail", quiet_hours=(IN_OFFICE,))), [OPENED], 481,
     ["480 mail opened"]),
    ("what ends in quiet hours waits for their end, a pager does not", policy(route("mail", "pager", quiet_hours=(OUT_OF_OFFICE,), repeat_us=0)),
     [OPENED, alert_event(1, "resolved", 500)], 2000,
     ["0 mail opened", "0 pager opened", "500 pager resolved", "1440 mail resolved"]),
    ("hours decide which route takes the alert", policy(route("mail", name="day", match=Match(hours=IN_OFFICE), repeat_us=0), route("pager", name="night")), [OPENED, alert_event(1, "resolved", 500)], 600,
     ["0 mail opened", "480 pager opened", "500 mail resolved", "500 pager resolved"]),
    ("a step can wait for hours", policy(route("mail", steps=[Step(15 * MINUTE_US, ("boss",), OUT_OF_OFFICE)])), [OPENED], 500,
     ["0 mail opened", "240 mail repeated", "480 mail repeated", "480 boss escalated"]),
    ("the first route that matches takes the alert", policy(route("boss", name="other", match=Match(owner=("pay*",))), route("mail", name="mine", match=Match(service=("c*",))), route("chat", name="rest")), [OPENED], 5,
     ["0 mail opened"]),
    ("a route that goes on lets the next ones match", policy(route("mail", name="mine", goes_on=True), route("chat", "mail", name="rest")), [OPENED], 5,
     ["0 mail opened", "0 chat opened"]),
    ("an alert that no route takes is told to nobody", policy(route("mail", match=Match(severity=("critical",)))), [OPENED], 5,
     []),
    ("a rising severity can bring another route", policy(route("pager", name="bad", match=Match(severity=("critical",))), route("mail", name="rest")), [OPENED, alert_event(1, "escalated", 9, severity="critical"), alert_event(2, "resolved", 30)], 60,
     ["0 mail opened", "9 pager opened", "30 mail resolved", "30 pager resolved"]),
    ("a manager that forgets is told again and again", policy(route("manager")), [OPENED, ACKNOWLEDGED, alert_event(2, "resolved", 40)], 100,
     ["0 manager opened", "15 manager refreshed", "30 manager refreshed", "40 manager resolved"]),
    ("an unknown command's answer tells nobody", policy(route("mail")), [alert_event(0, "rejected")], 60,
     []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "events", "minutes", "expected"), [life[1:] for life in LIVES], ids=[life[0] for life in LIVES]
)
def test_lives_are_told_as_the_table_says(
    policy: Policy, events: list[AlertEvent], minutes: float, expected: list[str]
) -> None:
    """Each life of an alert is told at these minutes, looking only when a plan said to look again."""
    assert play(events, policy, minutes).told == expected


@pytest.mark.parametrize(
    ("policy", "events", "minutes", "expected"), [life[1:] for life in LIVES], ids=[life[0] for life in LIVES]
)
def test_looking_more_often_tells_nothing_else(
    policy: Policy, events: list[AlertEvent], minutes: float, expected: list[str]
) -> None:
    """The plan depends on time and memory, not on how often somebody looks."""
    assert play(events, policy, min(minutes, 700), every_minute=True).told == [
        line for line in expected if float(line.split()[0]) <= 700
    ]


def test_what_notify_does_goes_into_the_log() -> None:
    """Repeats and steps become one command each, by notify, and again the same ones when played again."""
    events = [OPENED]
    played = play(events, policy(route("mail", "chat", steps=ESCALATES, repeat_us=HOUR_US)), 61)
    assert [(command.action, command.note, command.actor) for command in played.commands] == [
        ("escalate", "nobody acknowledged: step 1 of route all, to pager", NOTIFY_ACTOR),
        ("escalate", "nobody acknowledged: step 2 of route all, to boss", NOTIFY_ACTOR),
        ("repeat", "told again, to mail, chat", NOTIFY_ACTOR),
    ]
    again = play(events, policy(route("mail", "chat", steps=ESCALATES, repeat_us=HOUR_US)), 61)
    assert [c.command_id for c in played.commands] == [c.command_id for c in again.commands]
    assert len({c.command_id for c in played.commands}) == 3
    assert {(c.tenant_id, c.alert_id) for c in played.commands} == {("acme", "a1")}


def test_notices_of_one_alert_differ_and_are_the_same_after_a_lost_memory() -> None:
    """An id lets whoever receives a notice drop its copies, and nothing but its copies."""
    rules = policy(route("mail", "pager", repeat_us=HOUR_US))
    situation = fold_event(None, OPENED)
    told: dict[str, Told] = {}
    ids = []
    for minute in range(0, 600, 60):
        plan = next_actions(situation, told, rules, at(minute))
        told = plan.told
        ids += [action.notice_id for action in plan.actions]
    assert len(set(ids)) == len(ids) == 20
    assert [a.notice_id for a in next_actions(situation, {}, rules, at(700)).actions] == ids[:2]


@pytest.mark.parametrize(
    ("match", "taken"),
    [
        (Match(tenant=("ac*",)), True),
        (Match(tenant=("other",)), False),
        (Match(service=("payment", "cart")), True),
        (Match(owner=("shop",), service=("payment",)), False),
        (Match(type=("silence", "error_spike")), True),
        (Match(type=("silence",)), False),
        (Match(severity=("high", "critical")), True),
        (Match(severity=("critical",)), False),
    ],
)
def test_all_conditions_of_a_match_must_hold(match: Match, taken: bool) -> None:
    """Globs of names, any of the types, one of the severities; and all of them together."""
    assert bool(play([OPENED], policy(route("mail", match=match)), 1).told) is taken


def test_a_channel_that_left_the_policy_is_not_told() -> None:
    """A policy may change between two plans; what is gone is forgotten, not an error."""
    plan = next_actions(fold_event(None, OPENED), {}, policy(route("mail")), at(0))
    smaller = Policy((route("chat"),), {"chat": ChannelTraits()})
    after = next_actions(fold_event(None, RESOLVED), plan.told, smaller, at(30))
    assert after.actions == ()
    assert after.told["mail"].is_over


LIFE = [
    OPENED,
    alert_event(1, "updated", 3, fingerprints=["f2"]),
    alert_event(2, "acknowledged", 5),
    alert_event(3, "resolved", 9),
    alert_event(4, "reopened", 20),
    alert_event(5, "updated", 25, root_cause="redis"),
]


@given(st.permutations(LIFE * 2))
def test_a_situation_depends_on_neither_order_nor_copies(events: list[AlertEvent]) -> None:
    """Pub/Sub may deliver late, twice and in any order."""
    situation: Situation | None = None
    for event in events:
        situation = fold_event(situation, event)
    assert situation is not None
    assert (situation.event.sequence, situation.life, situation.grown_at) == (5, 4, 4)


@given(
    st.lists(st.tuples(st.sampled_from(LIFE), st.integers(0, 300)), min_size=1, max_size=12),
    st.integers(0, 120),
)
def test_whatever_comes_when_a_plan_settles(deliveries: list[tuple[AlertEvent, int]], repeat: int) -> None:
    """No delivery makes a plan that would tell the same again at once, or one that is due in the past."""
    events = [msgspec.structs.replace(event, occurred_at=at(minute)) for event, minute in deliveries]
    rules = policy(
        route(
            "mail",
            "pager",
            "manager",
            wait_us=MINUTE_US,
            repeat_us=repeat * MINUTE_US,
            steps=[Step(5 * MINUTE_US, ("boss",))],
        )
    )
    told = play(events, rules, 600).told
    ends = [line for line in told if line.endswith("mail resolved")]
    begins = [line for line in told if line.endswith(("mail opened", "mail reopened"))]
    assert len(ends) <= len(begins)
