"""A policy in words: each channel, the hours, and for each route whom it tells of what, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from aiops.notify.channel_models import Channel, EmailChannel, secrets_of
from aiops.notify.policy_reading import NotifyPolicy
from aiops.notify.secrets import SecretError, SecretRef
from aiops.rules import explain_seconds
from transforms.alert.notify_policy import Hours, HoursCondition, Match, Route, Step
from transforms.detect.baselines.book_reading import WEEKDAYS
from transforms.elements import ANOMALY_SEVERITIES, MICROSECONDS


def explain_policy(policy: NotifyPolicy, title: str) -> Iterator[Table]:
    """Tables of channels, hours and routes."""
    channels = _table(title, "channel", "how it is told")
    for channel in policy.channels.values():
        channels.add_row(escape(channel.name), escape("\n".join(explain_channel(channel))))
    yield channels
    if policy.rules.hours:
        hours = _table("", "hours", "when they are")
        for span in policy.rules.hours.values():
            hours.add_row(escape(span.name), escape(explain_hours(span)))
        yield hours
    routes = _table("the first route that matches takes an alert", "route", "what it does")
    for route in policy.rules.routes:
        routes.add_row(escape(route.name), escape("\n".join(explain_route(route))))
    yield routes


def explain_channel(channel: Channel) -> Iterator[str]:
    """Where, as whom, how often; and where its secrets are."""
    if isinstance(channel, EmailChannel):
        yield f"mail to {', '.join(channel.to)} from {channel.sender}"
        yield f"by {channel.host}:{channel.port}, security {channel.security}" + (
            f", as {channel.user}" if channel.user else ""
        )
    else:
        url = getattr(channel, "url", "")
        yield f"{type(channel).__name__.removesuffix('Channel')}" + (
            f" at {url}" if isinstance(url, str) else ""
        )
    yield f"at most {channel.rate}, given up after {explain_seconds(channel.give_up_seconds)}"
    if channel.fallback:
        yield f"what cannot be sent goes to {channel.fallback}"
    for secret in secrets_of(channel):
        yield f"secret {secret}: {_state_of(secret)}"


def missing_secrets(channels: Iterable[Channel]) -> list[str]:
    """What is wrong with the secrets that these channels need, a line each."""
    return [
        f'channel "{channel.name}": {problem}'
        for channel in channels
        for secret in secrets_of(channel)
        if (problem := _problem_of(secret))
    ]


def explain_hours(hours: Hours) -> str:
    """Days and times, on whose clocks."""
    days = "every day" if len(hours.days) == 7 else ", ".join(WEEKDAYS[day] for day in hours.days)
    overnight = " the next day" if hours.end_minute <= hours.start_minute else ""
    text = (
        f"{days}, {_clock(hours.start_minute)} to {_clock(hours.end_minute)}{overnight}, clock {hours.zone}"
    )
    holidays = ", ".join(day.isoformat() for day in hours.holidays)
    return f"{text}, but not on {holidays}" if holidays else text


def explain_route(route: Route) -> Iterator[str]:
    """Which alerts, whom, when, how often."""
    yield f"takes {_explain_match(route.match)}"
    for number, step in enumerate(route.steps):
        yield _explain_step(step, number)
    if route.wait_us:
        yield f"waits {explain_seconds(route.wait_us // MICROSECONDS)} for what explains an alert, or ends it"
    repeat = explain_seconds(route.repeat_us // MICROSECONDS)
    yield f"repeats every {repeat} until somebody acknowledges" if route.repeat_us else "never repeats"
    if not route.tells_updates:
        yield "updates are not told, but a rising severity is"
    if not route.tells_resolved:
        yield "ends are not told to people"
    if route.quiet_hours:
        yield f"keeps quiet {_conditions(route.quiet_hours)}; then tells what still holds"
    if route.goes_on:
        yield "the routes after it are tried as well"


def _explain_match(match: Match) -> str:
    parts = [
        f"{name} {' or '.join(values)}"
        for name, values in (
            ("tenant", match.tenant),
            ("service", match.service),
            ("owner", match.owner),
            ("type", match.type),
        )
        if values
    ]
    if match.severity:
        is_ladder = match.severity == ANOMALY_SEVERITIES[-len(match.severity) :]
        words = f"at least {match.severity[0]}" if is_ladder else " or ".join(match.severity)
        parts.append(f"severity {words}")
    if match.hours is not None:
        parts.append(_conditions([match.hours]))
    return "alerts of " + ", ".join(parts) if parts else "all alerts"


def _explain_step(step: Step, number: int) -> str:
    names = ", ".join(name.replace("catalog|", "the catalog's channel, or else ") for name in step.channels)
    if number == 0:
        return f"tells {names} at once"
    hours = f", {_conditions([step.hours])}" if step.hours is not None else ""
    return (
        f"tells {names} after {explain_seconds(step.after_us // MICROSECONDS)} without acknowledgment{hours}"
    )


def _conditions(conditions: Sequence[HoursCondition]) -> str:
    return " or ".join(f"{'in' if one.inside else 'out of'} hours {one.name}" for one in conditions)


def _state_of(secret: SecretRef) -> str:
    return "is there" if not _problem_of(secret) else "is NOT there (on this machine)"


def _problem_of(secret: SecretRef) -> str:
    try:
        secret.reveal()
    except SecretError as error:
        return str(error)
    return ""


def _table(title: str, first: str, second: str) -> Table:
    table = Table(title=escape(title) or None, show_lines=True)
    table.add_column(first, min_width=18, max_width=36, overflow="fold")
    table.add_column(second, overflow="fold")
    return table


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
