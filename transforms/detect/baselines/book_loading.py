"""From the text of a baselines file to a BaselineBook, or to every problem in it with its line."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import msgspec

from transforms.detect.baselines.book import BaselineBook, CalendarEntry, FieldEntry, SignalEntry
from transforms.detect.baselines.book_reading import CALENDAR_KEYS, FIELD_KEYS, SIGNAL_KEYS
from transforms.detect.baselines.registry import DetectorError, check_detector
from transforms.detect.fields import field_types
from transforms.detect.file_lists import Entry, FileProblemsError, ListKind, read_lists
from transforms.detect.rule_yaml import Problem

MAX_ENTRIES: Final = 1_000
MAX_FIELDS: Final = 50


class BookError(FileProblemsError):
    """A baselines file that cannot be used."""


_KINDS: Final = (
    ListKind("calendars", "calendar", CalendarEntry, CALENDAR_KEYS, ("tenant",), "tenant", (), MAX_ENTRIES),
    ListKind(
        "signals",
        "signal",
        SignalEntry,
        SIGNAL_KEYS,
        ("signal", "service", "tenant"),
        "signal",
        (),
        MAX_ENTRIES,
    ),
    ListKind("fields", "field", FieldEntry, FIELD_KEYS, (), "name", ("name", "path"), MAX_FIELDS),
)


def load_book(text: str, name: str = "baselines.yaml") -> BaselineBook:
    """The book that a file describes; an empty file is the empty book. `name` is for messages.

    Detectors of one's own are imported, and each is made once. Raises BookError with every problem.
    """
    lists, problems = read_lists(text, _KINDS)
    _check_signals(lists["signals"], problems)
    _check_fields(lists["fields"], problems)
    if problems:
        raise BookError(name, problems)
    calendars, signals, fields = (tuple(entry.read for entry in lists[kind.key]) for kind in _KINDS)
    book = BaselineBook(calendars, signals, fields)
    return msgspec.structs.replace(
        book, version=blake2b(msgspec.json.encode(book), digest_size=6).hexdigest()
    )


def _check_signals(entries: list[Entry], problems: list[Problem]) -> None:
    for entry, lines in entries:
        try:
            check_detector(entry.detector, entry.settings)
        except DetectorError as error:
            line = lines.get("settings" if entry.settings else "detector", lines[""])
            if error.setting:
                place = f"setting {error.setting[:80]}"
            else:
                place = "settings" if entry.detector == "off" else "detector"
                line = lines.get(place, line)
            problems.append(Problem(line, f'signal "{entry.signal}": {place} {error}'))


def _check_fields(entries: list[Entry], problems: list[Problem]) -> None:
    lines_by_name: dict[str, int] = {}
    taken = field_types("window")
    for entry, lines in entries:
        line = lines["name"]
        if entry.name in lines_by_name:
            first = lines_by_name[entry.name]
            problems.append(
                Problem(line, f'field "{entry.name}": the name is taken by the field at line {first}')
            )
        elif entry.name in taken:
            problems.append(
                Problem(line, f'field "{entry.name}": the product has a signal of this name; choose another')
            )
        lines_by_name.setdefault(entry.name, line)
