"""Operators' files that are lists of entries: every entry read, every problem said with its line.

A file is a mapping of lists; an entry is a mapping of keys. Of the entries of a list that has a scope
(globs), the first that matches counts, so that one which never can be the first is a mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from transforms.detect.conditions import suggestion
from transforms.detect.rule_model import MAX_FILE_BYTES
from transforms.detect.rule_reading import ReadError, read_text
from transforms.detect.rule_yaml import Problem, Value, YamlError, read_yaml
from transforms.globs import glob_covers, glob_problem

Keys = Mapping[str, Callable[[Value], Any]]
"""How the value of each key is read; readers raise ReadError."""


class FileProblemsError(ValueError):
    """An operator's file that cannot be used. `problems` says each thing that is wrong, with its line."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.problems = [f"{file}:{problem.line}: {problem.text}" for problem in sorted(set(problems))]
        super().__init__("\n".join(self.problems))


class ListKind(NamedTuple):
    """One of the lists of a file."""

    key: str
    noun: str
    struct: type[msgspec.Struct]
    keys: Keys
    scope: tuple[str, ...]  # fields of the struct that say what an entry is for: globs
    label: str  # the key that an entry is called by
    required: tuple[str, ...]
    limit: int


class Entry(NamedTuple):
    """An entry and the lines of what it sets; "" is its own."""

    read: Any
    lines: dict[str, int]


def read_lists(text: str, kinds: Sequence[ListKind]) -> tuple[dict[str, list[Entry]], list[Problem]]:
    """The entries of each list by its key, and all that is wrong. An empty file has no entries."""
    try:
        document, problems = read_yaml(text, MAX_FILE_BYTES)
    except YamlError as error:
        return {kind.key: [] for kind in kinds}, [error.problem]
    content = document.content
    if not isinstance(content, dict | None):
        problems.append(Problem(document.line, f"must be a mapping with {_said([k.key for k in kinds])}"))
        content = None
    known = [kind.key for kind in kinds]
    for key, value in (content or {}).items():
        if key not in known:
            near = suggestion(key, known) or f"; there {'are' if len(known) > 1 else 'is'} {_said(known)}"
            problems.append(Problem(value.line, f'unknown key "{key[:80]}"{near}'))
    return {kind.key: _read_list(kind, (content or {}).get(kind.key), problems) for kind in kinds}, problems


def read_glob(value: Value) -> str:
    """A glob that can be used; raises ReadError."""
    glob = read_text(value, 10_000)
    if problem := glob_problem(glob):
        raise ReadError(problem, value.line)
    return glob


def _said(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _read_list(kind: ListKind, value: Value | None, problems: list[Problem]) -> list[Entry]:
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


def _read_entry(kind: ListKind, value: Value, problems: list[Problem]) -> Entry | None:
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
    return Entry(kind.struct(**fields), lines)


def _read_field(
    read: Callable[[Value], Any], key: str, field: Value, label: str, problems: list[Problem]
) -> Any:
    try:
        return read(field)
    except ReadError as error:
        problems.append(Problem(error.line or field.line, f"{label}: {key} {error}"))
        return None


def _label(kind: ListKind, value: Value | None) -> str:
    if value is None or not isinstance(value.content, str) or not value.content.isprintable():
        return f"a {kind.noun}"
    return f'{kind.noun} "{value.content[:80]}"'


def _check_reached(kind: ListKind, entries: list[Entry], problems: list[Problem]) -> None:
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
