"""Reading each key of a policy file: its type, its limits, and what a wrong value is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import parseaddr
from typing import Any, Final, get_args
from urllib.parse import urlsplit

from aiops.notify.channel_models import ChannelType, MailSecurity, Rate
from aiops.notify.secrets import SecretRef
from transforms.alert.notify_policy import DAY_MINUTES, HoursCondition, Step
from transforms.detect.baselines.book_reading import CALENDAR_KEYS
from transforms.detect.conditions import suggestion
from transforms.detect.file_lists import read_glob
from transforms.detect.rule_reading import ReadError, one_of, read_text
from transforms.detect.rule_yaml import Value
from transforms.elements import ANOMALY_SEVERITIES, MICROSECONDS, AnomalySeverity, AnomalyType

Reader = Callable[[Value], Any]

_DURATION: Final = re.compile(r"(\d{1,6})\s*(s|m|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_RATE: Final = re.compile(r"(\d{1,6})\s*/\s*(s|m|h|d)")
_NAME: Final = re.compile(r"[#@]?[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_TIME_OF_DAY: Final = re.compile(r"(\d\d):(\d\d)")
_HEADER_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,99}")
_OWN_HEADERS: Final = ("content-", "host", "x-aiops-", "transfer-encoding", "connection", "user-agent")
_SECRET_HEADERS: Final = ("authorization", "cookie", "token", "key", "secret", "password")
_MOST_WAIT_SECONDS: Final = 600
_MAX_SECONDS: Final = 30 * 86_400
_MAX_LIST: Final = 100
_MAX_STEPS: Final = 10
CATALOG: Final = "catalog"


def read_name(value: Value) -> str:
    """A name; "#shop" is one too, so that a service catalog's channels can be named."""
    name = read_text(value, 80)
    if _NAME.fullmatch(name) is None:
        raise ReadError("must be of letters, digits, -, _ and ., with # or @ before them or not", value.line)
    return name


def read_channel_name(value: Value) -> str:
    """The name of a new channel."""
    name = read_name(value)
    if name == CATALOG:
        raise ReadError(f'"{CATALOG}" stands for the channel that the service catalog names', value.line)
    return name


def read_seconds(value: Value) -> int:
    """A duration such as 90s, 15m, 4h or 1d in seconds, up to 30 days."""
    found = _DURATION.fullmatch(value.content.strip()) if isinstance(value.content, str) else None
    if found is None:
        raise ReadError("must be a duration such as 90s, 15m, 4h or 1d", value.line)
    seconds = int(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds <= _MAX_SECONDS:
        raise ReadError("must be more than 0 and at most 30d", value.line)
    return seconds


def _read_wait(value: Value) -> int:
    seconds = read_seconds(value)
    if seconds > _MOST_WAIT_SECONDS:
        raise ReadError("must be at most 10m: nobody is told of anything meanwhile", value.line)
    return seconds * MICROSECONDS


def _read_repeat(value: Value) -> int:
    if value.content == "never":
        return 0
    seconds = read_seconds(value)
    if seconds < 60:
        raise ReadError("must be at least 1m, or never", value.line)
    return seconds * MICROSECONDS


def _read_rate(value: Value) -> Rate:
    found = _RATE.fullmatch(value.content.strip()) if isinstance(value.content, str) else None
    if found is None or int(found[1]) == 0:
        raise ReadError("must be such as 30/m or 60/h: so many messages a s, m, h or d", value.line)
    return Rate(int(found[1]), _SECONDS[found[2]])


def read_list_of(read: Reader, what: str) -> Callable[[Value], tuple[Any, ...]]:
    """A reader of one value or of a list of them, none twice."""

    def read_all(value: Value) -> tuple[Any, ...]:
        items = value.content if isinstance(value.content, list) else [value]
        if not 0 < len(items) <= _MAX_LIST:
            raise ReadError(f"must have 1 to {_MAX_LIST} {what}", value.line)
        found = [read(item) for item in items]
        for index, item in enumerate(found):
            if item in found[:index]:
                raise ReadError(f"has {item} twice; keep one", items[index].line)
        return tuple(found)

    return read_all


def _read_severities(value: Value) -> tuple[AnomalySeverity, ...]:
    """`high`, `[high, critical]`, or `at least medium`."""
    content = value.content
    if isinstance(content, str) and content.startswith("at least "):
        content = content.removeprefix("at least ").strip()
        level = one_of(ANOMALY_SEVERITIES)(Value(value.line, content))
        return ANOMALY_SEVERITIES[ANOMALY_SEVERITIES.index(level) :]
    found: tuple[AnomalySeverity, ...] = read_list_of(one_of(ANOMALY_SEVERITIES), "severities")(value)
    return found


def _read_condition(value: Value) -> HoursCondition:
    """`office`, or `not office`."""
    text = value.content.strip() if isinstance(value.content, str) else ""
    inside = not text.startswith("not ")
    return HoursCondition(read_name(Value(value.line, text.removeprefix("not ").strip())), inside)


def _read_target(value: Value) -> str:
    """The name of a channel, or `catalog or NAME`; the latter is kept as `catalog|NAME`."""
    text = value.content.strip() if isinstance(value.content, str) else value.content
    if text == CATALOG:
        raise ReadError(
            f'"{CATALOG}" needs a channel for services that it names none of: "{CATALOG} or NAME"', value.line
        )
    if isinstance(text, str) and text.startswith(f"{CATALOG} or "):
        return f"{CATALOG}|{read_name(Value(value.line, text.removeprefix(f'{CATALOG} or ').strip()))}"
    return read_name(Value(value.line, text))


def _read_steps(value: Value) -> tuple[Step, ...]:
    if not isinstance(value.content, list) or not 0 < len(value.content) <= _MAX_STEPS:
        raise ReadError(
            f"must be a list of 1 to {_MAX_STEPS} steps such as {{after: 15m, channels: [pager]}}", value.line
        )
    steps = tuple(_read_step(item) for item in value.content)
    for index, step in enumerate(steps[1:]):
        if step.after_us <= steps[index].after_us:
            raise ReadError("must have steps that are later and later", value.content[index + 1].line)
    return steps


def _read_step(value: Value) -> Step:
    content = value.content
    if not isinstance(content, dict) or not {"after", "channels"} <= content.keys():
        raise ReadError("must have steps with after and channels", value.line)
    for key, item in content.items():
        if key not in ("after", "channels", "hours"):
            near = suggestion(key, ["after", "channels", "hours"])
            raise ReadError(f'has the unknown key "{key[:80]}"{near}', item.line)
    return Step(
        read_seconds(content["after"]) * MICROSECONDS,
        read_targets(content["channels"]),
        _read_condition(content["hours"]) if "hours" in content else None,
    )


def _read_flag(value: Value) -> bool:
    if not isinstance(value.content, bool):
        raise ReadError("must be true or false", value.line)
    return value.content


def _read_minute(value: Value) -> int:
    found = _TIME_OF_DAY.fullmatch(value.content) if isinstance(value.content, str) else None
    minute = int(found[1]) * 60 + int(found[2]) if found is not None and int(found[2]) < 60 else -1
    if not 0 <= minute <= DAY_MINUTES:
        raise ReadError('must be a time of day such as "09:00"', value.line)
    return minute


# ------------------------------------------------------------------------------- keys of channels


def read_secret(value: Value) -> SecretRef:
    """`env:NAME` or `file:PATH`; a secret itself is refused without being repeated."""
    text = value.content if isinstance(value.content, str) else ""
    kind, separator, name = text.partition(":")
    is_reference = separator and name.strip() and name.isprintable() and len(name) <= 4096
    if kind == "env" and is_reference and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return SecretRef("env", name)
    if kind == "file" and is_reference:
        return SecretRef("file", name)
    raise ReadError("must be env:NAME or file:PATH: no secret stands in this file", value.line)


def _read_url(value: Value) -> str | SecretRef:
    text = read_text(value, 2_000)
    if text.startswith(("env:", "file:")):
        return read_secret(value)
    try:
        parts = urlsplit(text)
        host, has_login = parts.hostname, parts.username is not None or parts.password is not None
        _ = parts.port  # raises ValueError where it is no number
    except ValueError:
        host, has_login = None, False
    if not host or not text.isprintable() or " " in text or parts.scheme not in ("http", "https"):
        raise ReadError("must be an address such as https://alerts.example.com/hook, or env:NAME", value.line)
    if has_login or parts.query:
        raise ReadError("has a login or a query, which may be secret: name it as env:NAME", value.line)
    return text


def _read_address(value: Value) -> str:
    text = read_text(value, 320)
    address = parseaddr(text)[1]
    if not text.isprintable() or address.count("@") != 1 or not all(address.split("@")) or " " in address:
        raise ReadError("must be a mail address such as oncall@example.com", value.line)
    return text


def _read_host(value: Value) -> str:
    host = read_text(value, 253)
    if re.fullmatch(r"[A-Za-z0-9.:-]+", host) is None:
        raise ReadError("must be the name of a host such as smtp.example.com", value.line)
    return host


def _read_port(value: Value) -> int:
    if isinstance(value.content, bool) or not isinstance(value.content, int) or not 0 < value.content < 65536:
        raise ReadError("must be a number from 1 to 65535", value.line)
    return value.content


def _read_user(value: Value) -> str:
    user = read_text(value, 320)
    if not user or not user.isprintable():
        raise ReadError("must be one line of text", value.line)
    return user


def _read_headers(value: Value) -> dict[str, str | SecretRef]:
    if not isinstance(value.content, dict) or len(value.content) > 20:
        raise ReadError("must be a mapping of at most 20 names", value.line)
    return {name: _read_header(name, item) for name, item in value.content.items()}


def _read_header(name: str, value: Value) -> str | SecretRef:
    if _HEADER_NAME.fullmatch(name) is None or name.lower().startswith(_OWN_HEADERS):
        raise ReadError(f'has "{name[:80]}", which cannot be set here', value.line)
    text = read_text(value, 2_000)
    if text.startswith(("env:", "file:")) or any(word in name.lower() for word in _SECRET_HEADERS):
        return read_secret(value)
    if not text.isascii() or not text.isprintable():
        raise ReadError(f"has {name} with a value that is not plain text", value.line)
    return text


def _limited(read: Callable[[Value], int], limit: int, said: str) -> Callable[[Value], int]:
    def read_limited(value: Value) -> int:
        if (number := read(value)) > limit:
            raise ReadError(f"must be at most {said}", value.line)
        return number

    return read_limited


read_targets: Final = read_list_of(_read_target, "channels")
_globs: Final = read_list_of(read_glob, "globs")

CHANNEL_KEYS: Final[dict[str, Reader]] = {
    "name": read_channel_name,
    "type": one_of(get_args(ChannelType)),
    "to": read_list_of(_read_address, "addresses"),
    "sender": _read_address,
    "host": _read_host,
    "port": _read_port,
    "security": one_of(get_args(MailSecurity)),
    "user": _read_user,
    "password": read_secret,
    "url": _read_url,
    "routing_key": read_secret,
    "secret": read_secret,
    "headers": _read_headers,
    "rate": _read_rate,
    "timeout": _limited(read_seconds, 120, "2m"),
    "give_up": read_seconds,
    "fallback": read_name,
}
HOURS_KEYS: Final[dict[str, Reader]] = {
    "name": read_name,
    "zone": CALENDAR_KEYS["zone"],
    "days": CALENDAR_KEYS["days_off"],
    "start": _read_minute,
    "end": _read_minute,
    "holidays": CALENDAR_KEYS["holidays"],
}
ROUTE_KEYS: Final[dict[str, Reader]] = {
    "name": read_name,
    "tenant": _globs,
    "service": _globs,
    "owner": _globs,
    "type": read_list_of(one_of(get_args(AnomalyType)), "types"),
    "severity": _read_severities,
    "hours": _read_condition,
    "channels": read_targets,
    "wait": _read_wait,
    "repeat": _read_repeat,
    "updates": _read_flag,
    "resolved": _read_flag,
    "go_on": _read_flag,
    "quiet": read_list_of(_read_condition, "hours"),
    "escalate": _read_steps,
}
