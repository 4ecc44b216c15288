"""From the text of a rules file to a RuleBook, or to every problem in it with its line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import blake2b
from importlib import resources
from typing import Final

import msgspec

from transforms.detect.conditions import suggestion
from transforms.detect.rule_checking import check_rule
from transforms.detect.rule_model import (
    MAX_FILE_BYTES,
    MAX_RULES,
    Override,
    Rule,
    RuleBook,
    RuleChanges,
    apply_changes,
)
from transforms.detect.rule_reading import FIELD_READERS, KEYS, ReadError, read_text
from transforms.detect.rule_yaml import Problem, Value, YamlError, read_yaml

BUILTIN_FILE: Final = "builtin_rules.yaml"
_TOP_KEYS: Final = ("extends", "rules")
_REQUIRED: Final = ("type", "description")


class RulesError(ValueError):
    """A rules file that cannot be used. `problems` says each thing that is wrong, with its line."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.problems = [f"{file}:{problem.line}: {problem.text}" for problem in sorted(set(problems))]
        super().__init__("\n".join(self.problems))


class _Draft(msgspec.Struct):
    """A rule as a file gives it: what it sets, and the line of each thing it sets.

    One that `has_problems` already is not checked further: its gaps would be complained of twice.
    """

    name: str
    line: int
    changes: RuleChanges
    lines: dict[str, int]
    has_problems: bool = False
    overrides: list[tuple[Override, dict[str, int]]] = []


def load_rules(text: str, file: str = "rules.yaml") -> RuleBook:
    """The rules of a file, on top of the built-in pack unless it says `extends: none`.

    A rule with the name of a built-in one changes only the fields that it gives. `file` is the name
    for messages. Raises RulesError with every problem.
    """
    try:
        document, problems = read_yaml(text, MAX_FILE_BYTES)
    except YamlError as error:
        raise RulesError(file, [error.problem]) from None
    drafts, extends_builtin = _read_document(document, problems)
    base = {rule.name: rule for rule in builtin_rules().rules} if extends_builtin else {}
    rules = dict(base)
    for draft in drafts:
        if (rule := _finish(draft, base.get(draft.name), problems)) is not None:
            rules[draft.name] = rule
    if problems:
        raise RulesError(file, problems)
    return _book(rules)


@cache
def builtin_rules() -> RuleBook:
    """The pack that comes with the product."""
    text = resources.files(__package__ or "").joinpath(BUILTIN_FILE).read_text("utf-8")
    return load_rules(f"extends: none\n{text}", BUILTIN_FILE)


def _book(rules: Mapping[str, Rule]) -> RuleBook:
    ordered = tuple(rules[name] for name in sorted(rules))
    return RuleBook(ordered, blake2b(msgspec.json.encode(ordered), digest_size=6).hexdigest())


def _read_document(document: Value, problems: list[Problem]) -> tuple[list[_Draft], bool]:
    content = document.content
    if content is None:
        return [], True
    if not isinstance(content, dict):
        problems.append(Problem(document.line, 'must be a mapping with "rules:", a list of rules'))
        return [], True
    for key, value in content.items():
        if key not in _TOP_KEYS:
            problems.append(
                Problem(value.line, f'unknown key "{key[:80]}"{suggestion(key, list(_TOP_KEYS))}')
            )
    extends = content.get("extends", Value(1, "builtin"))
    if extends.content not in ("builtin", "none"):
        problems.append(Problem(extends.line, 'extends must be "builtin" or "none"'))
    listed = content.get("rules", Value(1, []))
    if not isinstance(listed.content, list):
        problems.append(Problem(listed.line, "rules must be a list"))
        return [], True
    if len(listed.content) > MAX_RULES:
        problems.append(
            Problem(listed.line, f"has {len(listed.content)} rules; at most {MAX_RULES} are read")
        )
        return [], True
    return _read_rules(listed.content, problems), extends.content != "none"


def _read_rules(values: list[Value], problems: list[Problem]) -> list[_Draft]:
    drafts: dict[str, _Draft] = {}
    for value in values:
        draft = _read_rule(value, problems)
        if draft is None:
            continue
        if draft.name in drafts:
            first = drafts[draft.name].line
            problems.append(
                Problem(draft.line, f'rule "{draft.name}": the name is taken by the rule at line {first}')
            )
        drafts.setdefault(draft.name, draft)
    return list(drafts.values())


def _read_rule(value: Value, problems: list[Problem]) -> _Draft | None:
    if not isinstance(value.content, dict) or "name" not in value.content:
        problems.append(Problem(value.line, 'a rule must be a mapping with a "name"'))
        return None
    try:
        name = read_text(value.content["name"], 64)
    except ReadError as error:
        problems.append(Problem(value.content["name"].line, f"name {error}"))
        return None
    if not name or not all(letter.isalnum() or letter in "-_" for letter in name):
        problems.append(Problem(value.content["name"].line, "name must be of letters, digits, - and _"))
        return None
    before = len(problems)
    fields = {key: field for key, field in value.content.items() if key not in ("name", "overrides")}
    changes = _read_changes(name, fields, problems)
    draft = _Draft(
        name, value.content["name"].line, changes, {key: field.line for key, field in fields.items()}
    )
    listed = _as_list(name, value.content.get("overrides"), problems)
    read = [_read_override(name, override, problems) for override in listed]
    draft.overrides.extend(override for override in read if override is not None)
    draft.has_problems = len(problems) > before
    return draft


def _as_list(name: str, value: Value | None, problems: list[Problem]) -> list[Value]:
    if value is None:
        return []
    if not isinstance(value.content, list):
        problems.append(Problem(value.line, f'rule "{name}": overrides must be a list'))
        return []
    return value.content


def _read_override(
    name: str, value: Value, problems: list[Problem]
) -> tuple[Override, dict[str, int]] | None:
    content = value.content
    if not isinstance(content, dict) or not ("tenant" in content or "service" in content):
        problems.append(Problem(value.line, f'rule "{name}": an override needs a tenant, a service or both'))
        return None
    scope = {}
    for key in ("tenant", "service"):
        try:
            scope[key] = read_text(content[key], 200) if key in content else ""
        except ReadError as error:
            problems.append(Problem(content[key].line, f'rule "{name}": {key} {error}'))
            return None
    fields = {key: field for key, field in content.items() if key not in scope}
    fixed = {key: fields.pop(key) for key in ("name", "per", "overrides") if key in fields}
    problems.extend(
        Problem(field.line, f'rule "{name}": an override cannot change {key}') for key, field in fixed.items()
    )
    lines = {key: field.line for key, field in fields.items()}
    override = Override(_read_changes(name, fields, problems), scope["tenant"], scope["service"])
    return override, {"": value.line, **lines}


def _read_changes(name: str, fields: dict[str, Value], problems: list[Problem]) -> RuleChanges:
    changes = {}
    for key, field in fields.items():
        if key not in FIELD_READERS:
            near = suggestion(key, [*KEYS, "name", "overrides"])
            problems.append(Problem(field.line, f'rule "{name}": unknown key "{key[:80]}"{near}'))
            continue
        attribute, read = FIELD_READERS[key]
        try:
            changes[attribute] = read(field)
        except ReadError as error:
            problems.append(Problem(error.line or field.line, f'rule "{name}": {key} {error}'))
    return RuleChanges(**changes)


def _finish(draft: _Draft, base: Rule | None, problems: list[Problem]) -> Rule | None:
    """The whole rule with its overrides, each checked as it will stand; None if it has problems."""
    if base is None:
        missing = [key for key in _REQUIRED if key not in draft.lines]
        problems.extend(Problem(draft.line, f'rule "{draft.name}": {key} is missing') for key in missing)
        if missing:
            return None
        base = Rule(name=draft.name, type="unusual_pattern", description="")
    if draft.has_problems:
        return None
    rule = apply_changes(base, draft.changes)
    problems.extend(check_rule(rule, {"": draft.line, **draft.lines}))
    for override, lines in draft.overrides:
        problems.extend(check_rule(apply_changes(rule, override.changes), {"": lines[""], **lines}))
    overrides = (*base.overrides, *(override for override, _ in draft.overrides))
    return msgspec.structs.replace(rule, overrides=overrides)
