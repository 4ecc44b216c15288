"""What has to be told of an alert now: the clock of repeats, escalation, quiet hours and silences.

Pure: the same situation, memory, policy and time give the same plan. Where Alertmanager has a
semantics it is followed: what is silenced, inhibited or muted by hours is not told; it is told when
that ends, if it still holds; what was never told is not told to be over; a repeat counts from what
was told last. docs/notify.md says what is different and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

import msgspec

from transforms.alert.business_hours import any_holds, holds, next_minute_us
from transforms.alert.notify_policy import (
    ChannelTraits,
    Policy,
    Route,
    Step,
    channels_of,
    matches,
)
from transforms.alert.situation import Situation
from transforms.alert.turn import is_worse
from transforms.alert_elements import AlertAction, AlertCommand
from transforms.elements import AnomalySeverity, content_id

NOTIFY_ACTOR: Final = "notify"

Kind = Literal[
    "opened",
    "reopened",
    "escalated",  # a further step of the route, because nobody acknowledged
    "worse",  # its severity rose
    "updated",  # something new failed, or the cause is known
    "repeated",
    "refreshed",  # for channels that forget
    "acknowledged",
    "resolved",
]


class Told(msgspec.Struct, frozen=True):
    """What one channel was told of one alert, last and first in this life of the alert."""

    kind: Kind
    route: str
    step: int
    life: int
    sequence: int
    severity: AnomalySeverity
    root_cause: str
    first_us: int
    last_us: int
    acknowledged: bool = False
    count: int = 1

    @property
    def is_over(self) -> bool:
        return self.kind == "resolved"


class Action(msgspec.Struct, frozen=True):
    """One thing to tell one channel. Copies have the same `notice_id`."""

    notice_id: str
    channel: str
    kind: Kind
    alert_id: str
    route: str
    step: int
    count: int = 1  # notices of this alert to this channel, with this one
    severity_before: str = ""  # the one that the channel was told last; empty at first


class Plan(msgspec.Struct, frozen=True):
    """What to do now, what will then have been told, and when to look again (None: at the next event)."""

    actions: tuple[Action, ...]
    commands: tuple[AlertCommand, ...]
    told: dict[str, Told]
    due_us: int | None


class _Target(msgspec.Struct, frozen=True):
    """A channel that a route speaks to now."""

    channel: str
    route: Route
    step: int


def next_actions(situation: Situation, told: Mapping[str, Told], policy: Policy, now_us: int) -> Plan:
    """The plan for one alert; `told` by channel is that of the plan before, {} at first."""
    if not situation.is_firing:
        return _plan_end(situation, told, policy, now_us)
    if situation.is_silenced(now_us) or situation.event.inhibited_by:
        until = situation.event.silenced_until if situation.is_silenced(now_us) else None
        return Plan((), (), dict(told), until)
    after, actions = dict(told), []
    for target in _targets(situation, told, policy, now_us):
        traits = policy.channels[target.channel]
        kind = _kind_of(situation, told.get(target.channel), target, traits, now_us)
        if kind is not None:
            before = told.get(target.channel)
            after[target.channel] = _remember(situation, before, target, kind, now_us)
            actions.append(_action(situation, target, kind, before))
    commands = tuple(_commands(situation, actions, now_us))
    return Plan(tuple(actions), commands, after, _due_us(situation, after, policy, now_us))


# ----------------------------------------------------------------------------- whom, and since when


def _routes(situation: Situation, policy: Policy, now_us: int) -> Iterator[Route]:
    for route in policy.routes:
        if matches(route.match, situation.event) and holds(route.match.hours, policy.hours, now_us):
            yield route
            if not route.goes_on:
                return


def _targets(
    situation: Situation, told: Mapping[str, Told], policy: Policy, now_us: int
) -> Iterator[_Target]:
    """Every channel once, with the first route and step that names it; none of a route that is quiet, or
    that waits for what may explain the alert.
    """
    seen: set[str] = set()
    for route in _routes(situation, policy, now_us):
        if any_holds(route.quiet_hours, policy.hours, now_us):
            continue
        began_us = _began_us(situation, told, route, policy)
        if began_us is None and now_us < situation.began_us + route.wait_us:
            continue
        for number, step in enumerate(route.steps):
            for channel in channels_of(step, situation.event, policy):
                is_known = channel in told and _is_current(told[channel], situation)
                is_reached = number == 0 or is_known or _is_due(situation, step, began_us, policy, now_us)
                if is_reached and channel not in seen:
                    seen.add(channel)
                    yield _Target(channel, route, number)


def _began_us(situation: Situation, told: Mapping[str, Told], route: Route, policy: Policy) -> int | None:
    """When the first channels of `route` were told; escalation counts from there. None if not yet."""
    times = [
        told[channel].first_us
        for channel in channels_of(route.steps[0], situation.event, policy)
        if channel in told and _is_current(told[channel], situation)
    ]
    return min(times, default=None)


def _is_current(told: Told, situation: Situation) -> bool:
    """Whether that channel knows that the alert is firing, in this life of it."""
    return not told.is_over and told.life == situation.life


def _is_due(situation: Situation, step: Step, began_us: int | None, policy: Policy, now_us: int) -> bool:
    return (
        began_us is not None
        and situation.event.status != "acknowledged"
        and now_us >= began_us + step.after_us
        and holds(step.hours, policy.hours, now_us)
    )


# ------------------------------------------------------------------------------------------- what


def _kind_of(
    situation: Situation, told: Told | None, target: _Target, traits: ChannelTraits, now_us: int
) -> Kind | None:
    """What that channel has to hear now, or None."""
    event = situation.event
    is_acknowledged = event.status == "acknowledged"
    if told is None or not _is_current(told, situation):
        if is_acknowledged and not traits.refresh_us:
            return None  # somebody is on it who heard of it elsewhere
        if target.step > 0:
            return "escalated"
        return "opened" if told is None else "reopened"
    if is_worse(event.severity, told.severity):
        return "worse"
    if is_acknowledged and not told.acknowledged and traits.takes_acknowledged:
        return "acknowledged"
    if target.route.tells_updates and _has_news(situation, told):
        return "updated"
    waited_us = now_us - told.last_us
    if traits.refresh_us and waited_us >= traits.refresh_us:
        return "refreshed"
    if target.route.repeat_us and not is_acknowledged and waited_us >= target.route.repeat_us:
        return "repeated"
    return None


def _has_news(situation: Situation, told: Told) -> bool:
    cause = situation.event.root_cause
    return situation.grown_at > told.sequence or (bool(cause) and cause != told.root_cause)


def _remember(situation: Situation, told: Told | None, target: _Target, kind: Kind, now_us: int) -> Told:
    event = situation.event
    is_current = told is not None and _is_current(told, situation)
    return Told(
        kind=kind,
        route=target.route.name,
        step=target.step,
        life=situation.life,
        sequence=event.sequence,
        severity=event.severity,
        root_cause=event.root_cause,
        first_us=told.first_us if told is not None and is_current else now_us,
        last_us=now_us,
        acknowledged=event.status == "acknowledged",
        count=told.count + 1 if told is not None else 1,
    )


def _action(situation: Situation, target: _Target, kind: Kind, told: Told | None) -> Action:
    alert_id, count = situation.event.alert_id, told.count + 1 if told is not None else 1
    notice_id = content_id(alert_id, target.channel, kind, situation.life, count)
    severity = told.severity if told is not None else ""
    return Action(notice_id, target.channel, kind, alert_id, target.route.name, target.step, count, severity)


def _commands(situation: Situation, actions: Iterable[Action], now_us: int) -> Iterator[AlertCommand]:
    """What goes into the alert's log: one command for all repeats, one for each step."""
    done: dict[tuple[AlertAction, str], list[Action]] = {}
    for action in actions:
        if action.kind == "repeated":
            done.setdefault(("repeat", "told again"), []).append(action)
        elif action.kind == "escalated":
            words = f"nobody acknowledged: step {action.step} of route {action.route}"
            done.setdefault(("escalate", words), []).append(action)
    for (name, words), group in done.items():
        yield AlertCommand(
            command_id=content_id("notify", *(action.notice_id for action in group)),
            tenant_id=situation.event.tenant_id,
            action=name,
            actor=NOTIFY_ACTOR,
            issued_at=now_us,
            alert_id=situation.event.alert_id,
            note=f"{words}, to {', '.join(action.channel for action in group)}",
        )


# ------------------------------------------------------------------------------------------ the end


def _plan_end(situation: Situation, told: Mapping[str, Told], policy: Policy, now_us: int) -> Plan:
    """Tell the end to those who know of the beginning, each once.

    Those who keep no state do not hear it under a silence, and wait for the end of quiet hours.
    """
    routes = {route.name: route for route in policy.routes}
    is_muted = situation.is_silenced(now_us) or bool(situation.event.inhibited_by)
    after, actions, waits = dict(told), [], False
    for channel, known in told.items():
        if known.is_over:
            continue
        traits = policy.channels.get(channel)
        route = routes.get(known.route)
        keeps_state = traits is not None and traits.keeps_state
        if not keeps_state and route and any_holds(route.quiet_hours, policy.hours, now_us):
            waits = True
            continue
        after[channel] = msgspec.structs.replace(
            known,
            kind="resolved",
            last_us=now_us,
            sequence=situation.event.sequence,
            count=known.count + 1,
        )
        wants = (route is None or route.tells_resolved) and not is_muted
        if traits is not None and (keeps_state or wants):
            target = _Target(channel, route or Route(known.route, ()), known.step)
            actions.append(_action(situation, target, "resolved", known))
    return Plan(tuple(actions), (), after, next_minute_us(now_us) if waits else None)


# ---------------------------------------------------------------------------------- when to look again


def _due_us(situation: Situation, told: Mapping[str, Told], policy: Policy, now_us: int) -> int | None:
    times: list[int] = []
    if any(route.match.hours is not None for route in policy.routes):
        times.append(next_minute_us(now_us))
    is_acknowledged = situation.event.status == "acknowledged"
    for route in _routes(situation, policy, now_us):
        if route.quiet_hours:
            times.append(next_minute_us(now_us))
        began_us = _began_us(situation, told, route, policy)
        if began_us is None and now_us < situation.began_us + route.wait_us:
            times.append(situation.began_us + route.wait_us)
        for step in route.steps[1:]:
            channels = channels_of(step, situation.event, policy)
            is_told = all(name in told and _is_current(told[name], situation) for name in channels)
            if began_us is not None and not is_acknowledged and not is_told:
                # A step past its time waits for its hours.
                times.append(max(began_us + step.after_us, next_minute_us(now_us) if step.hours else 0))
        for channel in {name for step in route.steps for name in channels_of(step, situation.event, policy)}:
            if channel in told and _is_current(told[channel], situation):
                interval_us = policy.channels[channel].refresh_us
                if not interval_us and not is_acknowledged:
                    interval_us = route.repeat_us
                times += [told[channel].last_us + interval_us] if interval_us else []
    # What is past its time and was not done waits for hours to begin or end.
    return min((time if time > now_us else next_minute_us(now_us) for time in times), default=None)
