"""From the text of a baselines file to a BaselineBook, or to every problem in it with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from transforms.detect.baselines.book import BaselineBook, CalendarEntry, FieldEntry, SignalEntry
from transforms.detect.baselines.book_reading import CALENDAR_KEYS, FIELD_KEYS, SIGNAL_KEYS, Keys
from transforms.detect.baselines.registry import DetectorError, check_detector
from transforms.detect.conditions import suggestion
from transforms.detect.fields import field_types
from transforms.detect.rule_model import MAX_FILE_BYTES
from transforms.detect.rule_reading import ReadError
from transforms.detect.rule_yaml import Problem, Value, YamlError, read_yaml
from transforms.globs import glob_covers

MAX_ENTRIES: Final = 1_000
MAX_FIELDS: Final = 50
E = TypeVar("E", bound=msgspec.Struct)


class BookError(ValueError):
    """A baselines file that cannot be used. `problems` says each thing that is wrong, with its line."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.problems = [f"{file}:{problem.line}: {problem.text}" for problem in sorted(set(problems))]
        super().__init__("\n".join(self.problems))


class _Kind(NamedTuple):
    """One of the lists of the file."""

    key: str
    noun: str
    struct: type[msgspec.Struct]
    keys: Keys
    scope: tuple[str, ...]  # fields of the struct that say what an entry is for: globs, or names
    label: str  # the field that an entry is called by
    required: tuple[str, ...]
    limit: int


_KINDS: Final = (
    _Kind("calendars", "calendar", CalendarEntry, CALENDAR_KEYS, ("tenant",), "tenant", (), MAX_ENTRIES),
    _Kind(
        "signals",
        "signal",
        SignalEntry,
        SIGNAL_KEYS,
        ("signal", "service", "tenant"),
        "signal",
        (),
        MAX_ENTRIES,
    ),
    _Kind("fields", "field", FieldEntry, FIELD_KEYS, (), "name", ("name", "path"), MAX_FIELDS),
)


class _Entry(NamedTuple):
    """An entry and the lines of what it sets; "" is its own."""

    read: Any
    lines: dict[str, int]


def load_book(text: str, name: str = "baselines.yaml") -> BaselineBook:
    """The book that a file describes; an empty file is the empty book. `name` is for messages.

    Detectors of one's own are imported, and each is made once. Raises BookError with every problem.
    """
    try:
        document, problems = read_yaml(text, MAX_FILE_BYTES)
    except YamlError as error:
        raise BookError(name, [error.problem]) from None
    content = document.content
    if not isinstance(content, dict | None):
        problems.append(Problem(document.line, f"must be a mapping with {_said([k.key for k in _KINDS])}"))
        content = None
    known = [kind.key for kind in _KINDS]
    for key, value in (content or {}).items():
        if key not in known:
            near = suggestion(key, known) or f"; there are {_said(known)}"
            problems.append(Problem(value.line, f'unknown key "{key[:80]}"{near}'))
    lists = {kind.key: _read_list(kind, (content or {}).get(kind.key), problems) for kind in _KINDS}
    _check_signals(lists["signals"], problems)
    _check_fields(lists["fields"], problems)
    if problems:
        raise BookError(name, problems)
    calendars, signals, fields = (tuple(entry.read for entry in lists[kind.key]) for kind in _KINDS)
    book = BaselineBook(calendars, signals, fields)
    return msgspec.structs.replace(
        book, version=blake2b(msgspec.json.encode(book), digest_size=6).hexdigest()
    )


def _said(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + f" and {words[-1]}"


def _read_list(kind: _Kind, value: Value | None, problems: list[Problem]) -> list[_Entry]:
    if value is None or value.content is None:
        return []
    if not isinstance(value.content, list):
        problems.append(Problem(value.line, f"{kind.key} must be a list"))
        return []
    if len(value.content) > kind.limit:
        problems.append(
            Problem(value.line, f"{kind.key} has {len(value.content)} entries; at most {kind.limit} are read")
        )
        return []
    read = (_read_entry(kind, item, problems) for item in value.content)
    entries = [entry for entry in read if entry is not None]
    if kind.scope:
        _check_reached(kind, entries, problems)
    return entries


def _read_entry(kind: _Kind, value: Value, problems: list[Problem]) -> _Entry | None:
    if not isinstance(value.content, dict):
        problems.append(Problem(value.line, f"a {kind.noun} must be a mapping with {_said(list(kind.keys))}"))
        return None
    label = _label(kind, value.content.get(kind.label))
    before = len(problems)
    problems.extend(
        Problem(value.line, f"{label}: {key} is missing") for key in kind.required if key not in value.content
    )
    fields = {}
    for key, field in value.content.items():
        if key not in kind.keys:
            near = suggestion(key, list(kind.keys)) or f"; there are {_said(list(kind.keys))}"
            problems.append(Problem(field.line, f'{label}: unknown key "{key[:80]}"{near}'))
            continue
        if (found := _read_field(kind.keys[key], key, field, label, problems)) is not None:
            fields[key] = found
    if len(problems) > before:
        return None
    lines = {"": value.line, **{key: field.line for key, field in value.content.items()}}
    return _Entry(kind.struct(**fields), lines)


def _read_field(
    read: Callable[[Value], Any], key: str, field: Value, label: str, problems: list[Problem]
) -> Any:
    try:
        return read(field)
    except ReadError as error:
        problems.append(Problem(error.line or field.line, f"{label}: {key} {error}"))
        return None


def _label(kind: _Kind, value: Value | None) -> str:
    if value is None or not isinstance(value.content, str) or not value.content.isprintable():
        return f"a {kind.noun}"
    return f'{kind.noun} "{value.content[:80]}"'


def _check_reached(kind: _Kind, entries: list[_Entry], problems: list[Problem]) -> None:
    """The first entry that matches counts: one that can never be the first is a mistake."""
    for index, (entry, lines) in enumerate(entries):
        scope = [getattr(entry, field) for field in kind.scope]
        for other, other_lines in entries[:index]:
            others = [getattr(other, field) for field in kind.scope]
            if not all(map(glob_covers, others, scope)):
                continue
            label = f'{kind.noun} "{scope[0]}"'
            problems.append(
                Problem(lines[""], f"{label}: is given twice, first at line {other_lines['']}; keep one")
                if others == scope
                else Problem(
                    lines[""],
                    f"{label}: never counts, for the entry at line {other_lines['']} matches all of it and "
                    "stands first; put the wider one last",
                )
            )
            break


def _check_signals(entries: list[_Entry], problems: list[Problem]) -> None:
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


def _check_fields(entries: list[_Entry], problems: list[Problem]) -> None:
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
