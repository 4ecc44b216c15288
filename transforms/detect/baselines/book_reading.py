"""Reading each key of a baselines file: its type, its limits, and what a wrong value is told."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Final, get_args
from zoneinfo import ZoneInfoNotFoundError, available_timezones

from transforms.detect.baselines.book import (
    DatedMaintenance,
    Direction,
    Maintenance,
    Settings,
    SettingValue,
    WeeklyMaintenance,
    find_zone,
)
from transforms.detect.conditions import suggestion
from transforms.detect.file_lists import Keys, read_glob
from transforms.detect.rule_reading import ReadError, one_of, read_text
from transforms.detect.rule_yaml import Value
from transforms.elements import ANOMALY_SEVERITIES
from transforms.measures import Take

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAY_MINUTES: Final = 24 * 60
MAX_DATES: Final = 1_000
_MAX_SERVICES: Final = 100
_MAX_SETTINGS: Final = 50
_MAX_PATH_PARTS: Final = 10
_ROOT: Final = "jsonPayload."
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_LOCAL_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(:\d\d)?)")
_TIME_OF_DAY: Final = re.compile(r"(\d\d):(\d\d)")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_OF_THIS_MACHINE: Final = frozenset({"localtime", "posixrules", "Factory"})
_FIRST_YEAR, _LAST_YEAR = 2000, 2200


def _read_zone(value: Value) -> str:
    name = read_text(value, 100)
    try:
        if not name or name in _OF_THIS_MACHINE:
            raise ValueError
        find_zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = sorted(available_timezones() - _OF_THIS_MACHINE)
        if not known:
            raise ReadError(
                f'"{name}" cannot be looked up: this machine has no time zones; install the package tzdata '
                "(apt-get install tzdata, or pip install tzdata)",
                value.line,
            ) from None
        near = suggestion(name, known) or "; write a name of IANA such as Europe/Berlin"
        raise ReadError(f'"{name}" is no time zone{near}', value.line) from None
    return name


_read_weekday: Final = one_of(WEEKDAYS)


def _read_days(value: Value) -> tuple[int, ...]:
    if not isinstance(value.content, list):
        raise ReadError("must be a list of days such as [saturday, sunday]; [] for none", value.line)
    days = [WEEKDAYS.index(_read_weekday(item)) for item in value.content]
    _refuse_twice([WEEKDAYS[day] for day in days], value)
    return tuple(sorted(days))


def _read_date(value: Value) -> date:
    text = value.content if isinstance(value.content, str) else ""
    if _DATE.fullmatch(text) is None:
        raise ReadError("must be dates such as 2026-12-25", value.line)
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ReadError(f"has {text}, which the calendar does not", value.line) from None
    return _bounded(day, value)


def _bounded(day: date, value: Value) -> date:
    if not _FIRST_YEAR <= day.year < _LAST_YEAR:
        raise ReadError(f"has the year {day.year}; it must be from {_FIRST_YEAR} to {_LAST_YEAR}", value.line)
    return day


def _read_holidays(value: Value) -> tuple[date, ...]:
    if not isinstance(value.content, list) or len(value.content) > MAX_DATES:
        raise ReadError(f"must be a list of at most {MAX_DATES} dates such as 2026-12-25", value.line)
    dates = [_read_date(item) for item in value.content]
    _refuse_twice([day.isoformat() for day in dates], value)
    return tuple(sorted(dates))


def _refuse_twice(names: list[str], value: Value) -> None:
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise ReadError(f"has {twice} twice; keep one", value.line)


# -------------------------------------------------------------------------------- maintenance


def _read_maintenance(value: Value) -> tuple[Maintenance, ...]:
    if not isinstance(value.content, list) or len(value.content) > MAX_DATES:
        raise ReadError(
            f"must be a list of at most {MAX_DATES} spans such as {{every: sunday, from: 02:00, to: 04:00}}",
            value.line,
        )
    spans = [_read_span(item) for item in value.content]
    for index, span in enumerate(spans):
        if span in spans[:index]:
            raise ReadError("has the same span twice; keep one", value.content[index].line)
    return tuple(spans)


def _read_span(value: Value) -> Maintenance:
    content = value.content
    if not isinstance(content, dict):
        raise ReadError("must be spans with from and to, and every where they repeat", value.line)
    known = ("every", "from", "to", "services", "note")
    for key, item in content.items():
        if key not in known:
            raise ReadError(f'has the unknown key "{key[:80]}"{suggestion(key, list(known))}', item.line)
    missing = [key for key in ("from", "to") if key not in content]
    if missing:
        raise ReadError(f"has a span without {missing[0]}", value.line)
    services = _read_services(content["services"]) if "services" in content else ("*",)
    note = read_text(content["note"], 200) if "note" in content else ""
    if "every" in content:
        return _weekly(content, services, note)
    start, end = _read_local(content["from"]), _read_local(content["to"])
    if end <= start:
        raise ReadError(f"has a span that ends before it begins: {start} to {end}", value.line)
    return DatedMaintenance(start, end, services, note)


def _read_services(value: Value) -> tuple[str, ...]:
    if not isinstance(value.content, list):
        return (read_glob(value),)
    if not 0 < len(value.content) <= _MAX_SERVICES:
        raise ReadError(f"must have 1 to {_MAX_SERVICES} services", value.line)
    return tuple(read_glob(item) for item in value.content)


def _weekly(content: Mapping[str, Value], services: tuple[str, ...], note: str) -> WeeklyMaintenance:
    every = content["every"]
    items = every.content if isinstance(every.content, list) else [every]
    if [item.content for item in items] == ["day"]:
        days: tuple[int, ...] = tuple(range(7))
    else:
        known = one_of(("day", *WEEKDAYS))
        if "day" in [known(item) for item in items] or not items:
            raise ReadError(
                "has every: with no day of the week; say day, sunday or [saturday, sunday]", every.line
            )
        days = tuple(sorted({WEEKDAYS.index(item.content) for item in items}))
    start, end = _read_minute(content["from"], "24:00"), _read_minute(content["to"], "")
    if start == end:
        raise ReadError("has a span that lasts no time; 00:00 to 24:00 is the whole day", content["to"].line)
    return WeeklyMaintenance(days, start, end, services, note)


def _read_minute(value: Value, refused: str) -> int:
    """Minutes since midnight; 24:00 is the end of the day."""
    found = _TIME_OF_DAY.fullmatch(value.content) if isinstance(value.content, str) else None
    minute = int(found[1]) * 60 + int(found[2]) if found is not None and int(found[2]) < 60 else -1
    if not 0 <= minute <= DAY_MINUTES or value.content == refused:
        raise ReadError('must have times of day such as "02:00" beside every', value.line)
    return minute


def _read_local(value: Value) -> datetime:
    text = value.content if isinstance(value.content, str) else ""
    found = _LOCAL_TIME.fullmatch(text)
    if found is None:
        raise ReadError(
            "must have local times such as 2026-11-22T02:00 without an offset, or every: and times of day",
            value.line,
        )
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2]}")
    except ValueError:
        raise ReadError(f"has {text}, which clocks and calendars do not", value.line) from None
    _bounded(moment.date(), value)
    return moment


# ------------------------------------------------------------------------- signals and fields


def _read_detector(value: Value) -> str:
    return read_text(value, 200)


def _read_settings(value: Value) -> Settings:
    if not isinstance(value.content, dict) or len(value.content) > _MAX_SETTINGS:
        raise ReadError(f"must be a mapping of at most {_MAX_SETTINGS} names", value.line)
    return tuple(sorted((name, _read_setting(name, item)) for name, item in value.content.items()))


def _read_setting(name: str, value: Value) -> SettingValue:
    content = value.content
    if isinstance(content, bool | str) or (isinstance(content, int | float) and math.isfinite(content)):
        return content
    raise ReadError(f'"{name[:80]}" must be a number, true, false or text', value.line)


def _read_name(value: Value) -> str:
    name = read_text(value, 10_000)
    if _NAME.fullmatch(name) is None:
        raise ReadError("must be of small letters, digits and _, and begin with a letter", value.line)
    return name


def _read_path(value: Value) -> str:
    path = read_text(value, 200)
    parts = path.removeprefix(_ROOT).split(".")
    if not path.startswith(_ROOT) or not all(parts) or len(parts) > _MAX_PATH_PARTS:
        raise ReadError(
            f"must be {_ROOT} and at most {_MAX_PATH_PARTS} names, such as {_ROOT}queue.depth", value.line
        )
    return path


CALENDAR_KEYS: Final[Keys] = {
    "tenant": read_glob,
    "zone": _read_zone,
    "days_off": _read_days,
    "holidays": _read_holidays,
    "maintenance": _read_maintenance,
}
SIGNAL_KEYS: Final[Keys] = {
    "signal": read_glob,
    "service": read_glob,
    "tenant": read_glob,
    "detector": _read_detector,
    "settings": _read_settings,
    "direction": one_of(get_args(Direction)),
    "severity": one_of(ANOMALY_SEVERITIES),
}
FIELD_KEYS: Final[Keys] = {
    "name": _read_name,
    "path": _read_path,
    "service": read_glob,
    "take": one_of(get_args(Take)),
}
