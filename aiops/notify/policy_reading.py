"""From the text of a policy file to channels and routes, or to every problem in it with its line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from aiops.notify.channel_models import CHANNEL_STRUCTS, Channel, EmailChannel, Rate, traits_of
from aiops.notify.key_reading import CATALOG, CHANNEL_KEYS, HOURS_KEYS, ROUTE_KEYS
from aiops.notify.secrets import SecretRef
from transforms.alert.notify_policy import Hours, HoursCondition, Match, Policy, Route, Step
from transforms.detect.conditions import suggestion
from transforms.detect.file_lists import Entry, FileProblemsError, ListKind, read_lists
from transforms.detect.rule_yaml import Problem
from transforms.elements import HOUR_US, AnomalySeverity

_MAX_ENTRIES: Final = 500
_NAMES: Final = {"timeout": "timeout_seconds", "give_up": "give_up_seconds"}
_SECRET_URLS: Final = ("slack", "apprise")


class PolicyError(FileProblemsError):
    """A policy file that cannot be used."""


class NotifyPolicy(msgspec.Struct, frozen=True):
    """What a policy file says: channels by name, and the rules of whom to tell."""

    channels: dict[str, Channel]
    rules: Policy


class _ChannelEntry(msgspec.Struct, frozen=True):
    """A channel of any type as the file gives it."""

    name: str = ""
    type: str = ""
    to: tuple[str, ...] | UnsetType = UNSET
    sender: str | UnsetType = UNSET
    host: str | UnsetType = UNSET
    port: int | UnsetType = UNSET
    security: str | UnsetType = UNSET
    user: str | UnsetType = UNSET
    password: SecretRef | UnsetType = UNSET
    url: str | SecretRef | UnsetType = UNSET
    routing_key: SecretRef | UnsetType = UNSET
    secret: SecretRef | UnsetType = UNSET
    headers: dict[str, str | SecretRef] | UnsetType = UNSET
    rate: Rate | UnsetType = UNSET
    timeout: int | UnsetType = UNSET
    give_up: int | UnsetType = UNSET
    fallback: str | UnsetType = UNSET


class _HoursEntry(msgspec.Struct, frozen=True):
    name: str = ""
    zone: str = "UTC"
    days: tuple[int, ...] = tuple(range(7))
    start: int = 0
    end: int = 24 * 60
    holidays: tuple[Any, ...] = ()


class _RouteEntry(msgspec.Struct, frozen=True):
    name: str = ""
    tenant: tuple[str, ...] = ()
    service: tuple[str, ...] = ()
    owner: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    severity: tuple[AnomalySeverity, ...] = ()
    hours: HoursCondition | None = None
    channels: tuple[str, ...] = ()
    wait: int = 0
    repeat: int = 4 * HOUR_US
    updates: bool = True
    resolved: bool = True
    go_on: bool = False
    quiet: tuple[HoursCondition, ...] = ()
    escalate: tuple[Step, ...] = ()


def _kind(
    noun: str, key: str, struct: type[msgspec.Struct], keys: Any, required: tuple[str, ...]
) -> ListKind:
    return ListKind(key, noun, struct, keys, (), "name", required, _MAX_ENTRIES)


_CHANNELS: Final = _kind("channel", "channels", _ChannelEntry, CHANNEL_KEYS, ("name", "type"))
_HOURS: Final = _kind("hours", "hours", _HoursEntry, HOURS_KEYS, ("name", "zone"))
_ROUTES: Final = _kind("route", "routes", _RouteEntry, ROUTE_KEYS, ("name", "channels"))


def load_policy(text: str, name: str = "notify.yaml") -> NotifyPolicy:
    """The policy that a file describes. `name` is for messages. Raises PolicyError with every problem."""
    lists, problems = read_lists(text, (_CHANNELS, _HOURS, _ROUTES))
    for kind in (_CHANNELS, _HOURS, _ROUTES):
        _refuse_same_names(kind, lists[kind.key], problems)
    channels: dict[str, Channel] = {}
    for entry in lists["channels"]:
        if (channel := _channel_of(entry, problems)) is not None:
            channels[channel.name] = channel
    known = {entry.read.name for entry in lists["channels"]}
    hours = {entry.read.name: _hours_of(entry, problems) for entry in lists["hours"]}
    if not problems:
        _check_fallbacks(lists["channels"], known, problems)
        for entry in lists["routes"]:
            problems.extend(_check_route(entry, known, set(hours)))
        _check_reach(lists["routes"], problems)
    if problems:
        raise PolicyError(name, problems)
    routes = tuple(_route_of(entry.read) for entry in lists["routes"])
    traits = {channel.name: traits_of(channel) for channel in channels.values()}
    return NotifyPolicy(channels, Policy(routes, traits, hours))


def _refuse_same_names(kind: ListKind, entries: list[Entry], problems: list[Problem]) -> None:
    lines: dict[str, int] = {}
    for entry in entries:
        first = lines.setdefault(entry.read.name, entry.lines[""])
        if first != entry.lines[""]:
            text = f'{kind.noun} "{entry.read.name}": the name is taken by the one at line {first}'
            problems.append(Problem(entry.lines[""], text))


# ------------------------------------------------------------------------------------- channels


def _channel_of(entry: Entry, problems: list[Problem]) -> Channel | None:
    """The channel of its type; None, with problems, where keys are missing or do not go with it."""
    given = {
        _NAMES.get(key, key): value
        for key, value in msgspec.structs.asdict(entry.read).items()
        if value is not UNSET and key != "type"
    }
    label, struct = f'channel "{entry.read.name}"', CHANNEL_STRUCTS[entry.read.type]
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    before = len(problems)
    problems.extend(
        Problem(entry.lines[name], f"{label}: {name} does not go with type {entry.read.type}")
        for name in sorted(given.keys() - fields.keys())
    )
    for name, field in fields.items():
        if field.required and name not in given:
            problems.append(
                Problem(entry.lines[""], f"{label}: {name} is missing, which type {entry.read.type} needs")
            )
    if entry.read.type in _SECRET_URLS and isinstance(given.get("url"), str):
        text = f"{label}: url must be env:NAME or file:PATH: the address of {entry.read.type} is its secret"
        problems.append(Problem(entry.lines["url"], text))
    if len(problems) > before:
        return None
    channel: Channel = struct(**given)  # type: ignore[assignment]
    problems.extend(Problem(entry.lines[""], f"{label}: {text}") for text in _check_channel(channel))
    return channel


def _check_channel(channel: Channel) -> Iterator[str]:
    user, password = getattr(channel, "user", ""), getattr(channel, "password", None)
    if bool(user) != (password is not None):
        yield "user and password go together; one is missing"
    if isinstance(channel, EmailChannel):
        if channel.security == "none" and password is not None:
            yield "security: none would send the password in the clear; use starttls or tls"
        if channel.security == "tls" and channel.port == 587:
            yield "security: tls is spoken at port 465 as a rule; say the port, or use starttls"
    elif password is not None and str(getattr(channel, "url", "")).startswith("http://"):
        yield "a password would go in the clear over http; use https"


def _check_fallbacks(entries: list[Entry], known: set[str], problems: list[Problem]) -> None:
    for entry in entries:
        fallback = entry.read.fallback
        if fallback is UNSET:
            continue
        label = f'channel "{entry.read.name}": fallback'
        if fallback == entry.read.name:
            problems.append(Problem(entry.lines["fallback"], f"{label} is the channel itself"))
        elif fallback not in known:
            near = suggestion(fallback, sorted(known))
            problems.append(
                Problem(entry.lines["fallback"], f'{label}: there is no channel "{fallback}"{near}')
            )


# ------------------------------------------------------------------------------ hours and routes


def _hours_of(entry: Entry, problems: list[Problem]) -> Hours:
    read: _HoursEntry = entry.read
    if not read.days:
        problems.append(Problem(entry.lines["days"], f'hours "{read.name}": days has no day'))
    if read.start % (24 * 60) == read.end % (24 * 60) and (read.start, read.end) != (0, 24 * 60):
        text = f'hours "{read.name}": start and end are the same; 00:00 to 24:00 is the whole day'
        problems.append(Problem(entry.lines.get("end", entry.lines[""]), text))
    return Hours(read.name, read.zone, read.days, read.start, read.end, read.holidays)


def _route_of(read: _RouteEntry) -> Route:
    return Route(
        name=read.name,
        steps=(Step(0, read.channels), *read.escalate),
        match=_match_of(read),
        wait_us=read.wait,
        repeat_us=read.repeat,
        tells_updates=read.updates,
        tells_resolved=read.resolved,
        goes_on=read.go_on,
        quiet_hours=read.quiet,
    )


def _match_of(read: _RouteEntry) -> Match:
    return Match(read.tenant, read.service, read.owner, read.type, read.severity, read.hours)


def _check_route(entry: Entry, channels: set[str], hours: set[str]) -> Iterator[Problem]:
    read: _RouteEntry = entry.read
    label, seen = f'route "{read.name}"', set[str]()
    for key, names in (("channels", read.channels), *(("escalate", step.channels) for step in read.escalate)):
        for name in names:
            plain = name.removeprefix(f"{CATALOG}|")
            if plain not in channels:
                near = suggestion(plain, sorted(channels))
                yield Problem(entry.lines[key], f'{label}: there is no channel "{plain}"{near}')
            elif name in seen:
                text = f'{label}: "{plain}" was told in an earlier step; repeat tells it again'
                yield Problem(entry.lines[key], text)
            seen.add(name)
    conditions = [("hours", read.hours), *(("quiet", condition) for condition in read.quiet)]
    conditions += [("escalate", step.hours) for step in read.escalate]
    for key, condition in conditions:
        if condition is not None and condition.name not in hours:
            near = suggestion(condition.name, sorted(hours))
            yield Problem(entry.lines[key], f'{label}: there are no hours "{condition.name}"{near}')


def _check_reach(entries: list[Entry], problems: list[Problem]) -> None:
    """Every alert must be taken by a route, and every route must be able to take one."""
    wide = next((e for e in entries if _match_of(e.read).takes_all and not e.read.go_on), None)
    if wide is None:
        line = entries[-1].lines[""] if entries else 1
        problems.append(
            Problem(
                line,
                "alerts that no route matches would be told to nobody: end with a route without conditions",
            )
        )
        return
    for entry in entries[entries.index(wide) + 1 :]:
        text = (
            f'route "{entry.read.name}": is never reached, for "{wide.read.name}" at line {wide.lines[""]} '
            "takes all alerts and stands first"
        )
        problems.append(Problem(entry.lines[""], text))
