"""What an operator says about learned detection, as plain data: compared, hashed, sent between machines.

The book is read by `book_loading.load_book`. All of it is optional: an empty book is the product's defaults.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from transforms.detect.baselines.seasons import SATURDAY, SUNDAY, Calendar
from transforms.elements import AnomalySeverity
from transforms.globs import glob_matches
from transforms.measures import Take

Direction = Literal["up", "down", "both"]
SettingValue = bool | int | float | str
Settings = tuple[tuple[str, SettingValue], ...]
"""Settings of a detector by name, sorted: what can be hashed."""

OFF: Final = "off"
DEFAULT_DETECTOR: Final = "level"
UTC_NAMES: Final = ("UTC", "Etc/UTC")


class DatedMaintenance(msgspec.Struct, frozen=True, tag="dated"):
    """Planned work once. Local time, `end` is exclusive."""

    start: datetime
    end: datetime
    services: tuple[str, ...] = ("*",)
    note: str = ""


class WeeklyMaintenance(msgspec.Struct, frozen=True, tag="weekly"):
    """Planned work on days of the week (0 is Monday), in minutes of the local day.

    An `end_minute` that is not after `start_minute` is on the next day.
    """

    days: tuple[int, ...]
    start_minute: int
    end_minute: int
    services: tuple[str, ...] = ("*",)
    note: str = ""


Maintenance = DatedMaintenance | WeeklyMaintenance


class CalendarEntry(msgspec.Struct, frozen=True):
    """The calendar of the tenants that the glob `tenant` stands for. `zone` is a name of IANA."""

    tenant: str = "*"
    zone: str = "UTC"
    days_off: tuple[int, ...] = (SATURDAY, SUNDAY)
    holidays: tuple[date, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()


class SignalEntry(msgspec.Struct, frozen=True):
    """How the signals that the three globs stand for are judged. None: as the signal has it by itself."""

    signal: str = "*"
    service: str = "*"
    tenant: str = "*"
    detector: str = DEFAULT_DETECTOR
    settings: Settings = ()
    direction: Direction | None = None
    severity: AnomalySeverity | None = None


class FieldEntry(msgspec.Struct, frozen=True):
    """A numeric field of the lines of services that the glob stands for, and what of a window is its signal.

    `path` begins with "jsonPayload.".
    """

    name: str
    path: str
    service: str = "*"
    take: Take = "mean"


class BaselineBook(msgspec.Struct, frozen=True):
    """All that an operator set. `version` is a hash of the rest: equal books, equal version."""

    calendars: tuple[CalendarEntry, ...] = ()
    signals: tuple[SignalEntry, ...] = ()
    fields: tuple[FieldEntry, ...] = ()
    version: str = ""

    def __hash__(self) -> int:  # looked up for every observation: the whole need not be hashed again
        return hash(self.version)


class SignalPolicy(msgspec.Struct, frozen=True):
    """How one signal is judged. `severity` is the highest that it may give.

    None leaves direction or severity to what the signal has by itself.
    """

    detector: str = DEFAULT_DETECTOR
    settings: Settings = ()
    direction: Direction | None = None
    severity: AnomalySeverity | None = None

    @property
    def is_off(self) -> bool:
        return self.detector == OFF


@lru_cache(maxsize=1 << 16)
def signal_policy(book: BaselineBook, tenant_id: str, service: str, signal: str) -> SignalPolicy:
    """What the first entry that matches says; the defaults where none does."""
    for entry in book.signals:
        if (
            glob_matches(entry.signal, signal)
            and glob_matches(entry.service, service)
            and glob_matches(entry.tenant, tenant_id)
        ):
            return SignalPolicy(entry.detector, entry.settings, entry.direction, entry.severity)
    return SignalPolicy()


@lru_cache(maxsize=1 << 12)
def tenant_entry(book: BaselineBook, tenant_id: str) -> CalendarEntry:
    """The first calendar that matches; the default one where none does."""
    found = (entry for entry in book.calendars if glob_matches(entry.tenant, tenant_id))
    return next(found, CalendarEntry(tenant_id))


@lru_cache(maxsize=1 << 12)
def tenant_calendar(book: BaselineBook, tenant_id: str) -> Calendar:
    """The clock, the days off and the holidays of a tenant."""
    return make_calendar(tenant_entry(book, tenant_id))


def make_calendar(entry: CalendarEntry) -> Calendar:
    """The calendar that an entry describes. Raises ZoneInfoNotFoundError where its zone is not known here."""
    return Calendar(find_zone(entry.zone), frozenset(entry.days_off), frozenset(entry.holidays))


def find_zone(name: str) -> tzinfo:
    """The zone of that name; UTC itself for UTC, which is faster."""
    return UTC if name in UTC_NAMES else ZoneInfo(name)


def service_fields(book: BaselineBook, service: str) -> tuple[FieldEntry, ...]:
    """The numeric fields that lines of `service` are read for."""
    return tuple(entry for entry in book.fields if glob_matches(entry.service, service))
