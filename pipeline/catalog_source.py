"""Where the service catalog comes from: one YAML file, read once at launch; every problem with its line."""

from __future__ import annotations

import math
import re
from hashlib import blake2b
from typing import Final
from urllib.parse import urlsplit

import msgspec

from pipeline.operator_files import read_operator_file
from transforms.alert.catalog import (
    EMPTY_CATALOG,
    TIERS,
    CatalogEntry,
    ServiceCatalog,
    ServiceObjective,
    Tier,
)
from transforms.correlate.settings import ConfiguredDependency
from transforms.detect.conditions import suggestion
from transforms.detect.file_lists import Entry, FileProblemsError, ListKind, read_glob, read_lists
from transforms.detect.rule_model import MAX_FILE_BYTES
from transforms.detect.rule_reading import ReadError, read_text
from transforms.detect.rule_yaml import Problem, Value

MAX_ENTRIES: Final = 5_000
MAX_CALLS: Final = 100
_MAX_NAME: Final = 200
_MAX_ADDRESS: Final = 2_000
_DAYS: Final = re.compile(r"(\d{1,3})\s*d")
_MAX_DAYS: Final = 366
_MAX_LATENCY_MS: Final = 3_600_000
_EXAMPLE: Final = "https://runbooks.example.com/payment"
_WILD: Final = frozenset("*?[")


class CatalogError(FileProblemsError):
    """A catalog that cannot be used."""


def read_catalog(path: str) -> ServiceCatalog:
    """The catalog in a local file or gs:// object; the empty one where `path` is empty.

    Raises FileUnreadableError, or CatalogError with every problem in the file.
    """
    if not path:
        return EMPTY_CATALOG
    text = read_operator_file(path, "service catalog", "--catalog", "no catalog", MAX_FILE_BYTES)
    return load_catalog(text, path)


def load_catalog(text: str, name: str = "catalog.yaml") -> ServiceCatalog:
    """The catalog that a file describes; an empty file is the empty catalog. `name` is for messages.

    Raises CatalogError with every problem.
    """
    lists, problems = read_lists(text, (_SERVICES,))
    found = lists[_SERVICES.key]
    _check_calls(found, problems)
    if problems:
        raise CatalogError(name, problems)
    entries = tuple(entry.read for entry in found)
    if not entries:
        return EMPTY_CATALOG
    version = blake2b(msgspec.json.encode(entries), digest_size=6).hexdigest()
    return ServiceCatalog(entries, version)


def catalog_dependencies(catalog: ServiceCatalog) -> tuple[ConfiguredDependency, ...]:
    """Who calls whom, as the catalog says; those of all entries, for the topology."""
    return tuple(
        ConfiguredDependency("" if entry.tenant == "*" else entry.tenant, entry.service, callee)
        for entry in catalog.entries
        for callee in entry.calls
    )


def _check_calls(entries: list[Entry], problems: list[Problem]) -> None:
    for entry, lines in entries:
        if entry.calls and not _WILD.isdisjoint(entry.service):
            text = f'service "{entry.service}": calls needs one service by its name, not a glob'
            problems.append(Problem(lines["calls"], text))
        if entry.calls and entry.tenant != "*" and not _WILD.isdisjoint(entry.tenant):
            text = f'service "{entry.service}": calls needs one tenant by its name, or none for all'
            problems.append(Problem(lines["calls"], text))
        if entry.service in entry.calls:
            problems.append(
                Problem(lines["calls"], f'service "{entry.service}": calls names the service itself')
            )


# ------------------------------------------------------------------------------------- the keys


def _read_line(value: Value) -> str:
    text = read_text(value, _MAX_NAME)
    if not text or not text.isprintable():
        raise ReadError("must be one line of text", value.line)
    return text


def _read_tier(value: Value) -> Tier:
    name = str(value.content).strip().lower() if not isinstance(value.content, bool | list | dict) else ""
    for tier in TIERS:
        if name in (tier, tier.removeprefix("tier-")):
            return tier
    raise ReadError("must be 1, 2, 3 or 4; 1 is what customers feel at once", value.line)


def _read_runbook(value: Value) -> str:
    address = read_text(value, _MAX_ADDRESS)
    if not address.isprintable() or any(character in address for character in " <>\"'`\\"):
        raise ReadError("must be an address without blanks, quotes and control characters", value.line)
    try:
        parts = urlsplit(address)
        host, has_login = parts.hostname, parts.username is not None or parts.password is not None
        _ = parts.port  # raises ValueError where it is no number
    except ValueError:
        raise ReadError(
            "must be an address such as https://runbooks.example.com/payment", value.line
        ) from None
    if parts.scheme.lower() not in {"http", "https"} or not host:
        raise ReadError(
            "must begin with https:// or http://, such as https://runbooks.example.com/payment", value.line
        )
    if has_login:
        raise ReadError("must not hold a login: everybody who sees an alert would see it", value.line)
    return address


def _read_calls(value: Value) -> tuple[str, ...]:
    if not isinstance(value.content, list) or len(value.content) > MAX_CALLS:
        raise ReadError(f"must be a list of at most {MAX_CALLS} services", value.line)
    names = [_read_line(item) for item in value.content]
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise ReadError(f'has "{twice}" twice; keep one', value.line)
    return tuple(names)


_OBJECTIVE_KEYS: Final = ("availability", "latency_ms", "window")


def _read_objective(value: Value) -> ServiceObjective:
    if not isinstance(value.content, dict) or not value.content:
        raise ReadError("must be such as {availability: 99.9, latency_ms: 300, window: 30d}", value.line)
    content: dict[str, Value] = value.content
    for key, item in content.items():
        if key not in _OBJECTIVE_KEYS:
            near = suggestion(key, list(_OBJECTIVE_KEYS))
            raise ReadError(f'has the unknown key "{key[:80]}"{near}', item.line)
    availability, latency, window = map(content.get, _OBJECTIVE_KEYS)
    if availability is None and latency is None:
        raise ReadError("must have availability or latency_ms", value.line)
    return ServiceObjective(
        None if availability is None else _read_percent(availability),
        None if latency is None else _read_latency(latency),
        30 if window is None else _read_days(window),
    )


def _read_percent(value: Value) -> float:
    number = value.content
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise ReadError("has an availability that is no number such as 99.9", value.line)
    if not 0 < number < 100:
        raise ReadError("has an availability that is not between 0 and 100, both exclusive", value.line)
    return float(number)


def _read_latency(value: Value) -> int:
    number = value.content
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number <= _MAX_LATENCY_MS:
        raise ReadError(f"has a latency_ms that is no whole number from 1 to {_MAX_LATENCY_MS}", value.line)
    return number


def _read_days(value: Value) -> int:
    found = _DAYS.fullmatch(value.content.strip()) if isinstance(value.content, str) else None
    if found is None or not 0 < int(found[1]) <= _MAX_DAYS:
        raise ReadError(f"has a window that is not of days such as 30d, at most {_MAX_DAYS}d", value.line)
    return int(found[1])


_SERVICES: Final = ListKind(
    "services",
    "service",
    CatalogEntry,
    {
        "service": read_glob,
        "tenant": read_glob,
        "owner": _read_line,
        "tier": _read_tier,
        "channel": _read_line,
        "runbook": _read_runbook,
        "slo": _read_objective,
        "calls": _read_calls,
    },
    ("service", "tenant"),
    "service",
    ("service",),
    MAX_ENTRIES,
)
