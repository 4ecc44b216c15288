"""What can be wrong with a whole rule: conditions, placeholders, expressions, keys that do not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import re2

from transforms.detect.conditions import ConditionError, ConditionType, condition_of, suggestion
from transforms.detect.fields import field_types
from transforms.detect.rule_compiling import FORMAT_SPEC, PLACEHOLDER
from transforms.detect.rule_model import MAX_DISTINCT_LOOKBACK_SECONDS, Rule
from transforms.detect.rule_yaml import Problem

_DISTINCT: Final = ("distinct_principals", "distinct_addresses")


def check_rule(rule: Rule, lines: Mapping[str, int]) -> list[Problem]:
    """Everything wrong with the rule; `lines` says where each key stands, "" where the rule does."""
    found = [*_check_conditions(rule), *_check_match(rule), *_check_description(rule), *_check_keys(rule)]
    return [Problem(lines.get(key, lines[""]), f'rule "{rule.name}": {text}') for key, text in found]


def _check_conditions(rule: Rule) -> Iterator[tuple[str, str]]:
    conditions: list[tuple[str, str, ConditionType]] = [("when", rule.when, "bool")]
    conditions += [("severity", step.when, "bool") for step in rule.severity]
    if isinstance(rule.confidence, str):
        conditions.append(("confidence", rule.confidence, "number"))
    for key, text, wanted in conditions:
        if text:
            yield from _check_condition(rule, key, text, wanted)
    for step in rule.severity[:-1]:
        if not step.when:
            yield "severity", f"severity steps after {step.level}, which has no when, are never reached"


def _check_condition(rule: Rule, key: str, text: str, wanted: ConditionType) -> Iterator[tuple[str, str]]:
    place = "a severity step" if key == "severity" else key
    try:
        condition = condition_of(text, rule.subject, wanted)
    except ConditionError as error:
        yield key, _in_place(str(error), place)
        return
    distinct = next((name for name in condition.fields if name in _DISTINCT), None)
    if distinct and rule.over_seconds > MAX_DISTINCT_LOOKBACK_SECONDS:
        minutes = MAX_DISTINCT_LOOKBACK_SECONDS // 60
        yield "over", f"over can be at most {minutes}m in a rule on {distinct}"


def _in_place(error: str, place: str) -> str:
    """`unknown field "x" in when; did you mean ...` or `when: column 3: ...`."""
    if error.startswith("unknown field"):
        head, separator, tail = error.partition(";")
        return f"{head} in {place}{separator}{tail}"
    return f"{place}: {error}"


def _check_match(rule: Rule) -> Iterator[tuple[str, str]]:
    if not rule.match:
        return
    options = re2.Options()
    options.log_errors = False
    try:
        expression = re2.compile(rule.match, options)
    except re2.error as error:
        cause = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error.args[0])
        yield "match", f"match is not a regular expression of RE2: {cause}"
        return
    if expression.search("") is not None:
        yield "match", "match also matches the empty text, and so every line; say more"


def _check_description(rule: Rule) -> Iterator[tuple[str, str]]:
    types = field_types(rule.subject)
    if not rule.description:
        yield "description", "description is empty"
    for name, spec in PLACEHOLDER.findall(rule.description):
        if name not in types:
            yield "description", f'unknown field "{name}" in description{suggestion(name, sorted(types))}'
        elif spec and (FORMAT_SPEC.fullmatch(spec) is None or not _suits(spec, types[name])):
            yield (
                "description",
                f'format ":{spec}" in description does not suit {name} ({types[name]}); use :.0%, :.1f or :,',
            )
    if PLACEHOLDER.sub("", rule.description).count("{"):
        yield "description", "description has a { that is no placeholder such as {errors} or {error_rate:.0%}"


def _suits(spec: str, type_: str) -> bool:
    if type_ in ("string", "bool"):
        return False
    return not (spec.endswith("d") and type_ == "double") and not (spec.endswith("d") and "." in spec)


def _check_keys(rule: Rule) -> Iterator[tuple[str, str]]:
    types = field_types(rule.subject)
    if rule.signal and types.get(rule.signal) not in ("int", "double"):
        numbers = sorted(name for name, type_ in types.items() if type_ in ("int", "double"))
        yield "signal", f'unknown field "{rule.signal}" in signal{suggestion(rule.signal, numbers)}'
    if rule.match and rule.per == "endpoint":
        yield "match", "match looks at patterns and does not go with per: endpoint"
    if not rule.when and not rule.match:
        yield "", 'a "when" or a "match" is missing'
    if rule.subject == "window":
        for key, value in (("min_count", rule.min_count > 1), ("min_errors", rule.min_errors)):
            if value:
                yield key, f"{key} goes with match or per; say it in when"
    if rule.subject != "pattern" and rule.min_severity:
        yield "min_severity", "min_severity goes with match or per: pattern"
