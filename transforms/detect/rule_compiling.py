"""Rules made ready to run: conditions compiled, patterns gathered into one matcher.

Compiled rules cannot be pickled; every process makes its own from the book, once per version.
"""

from __future__ import annotations

import re
import threading
from functools import lru_cache
from typing import Any, Final, NamedTuple

import re2

from transforms.detect.conditions import Condition, condition_of, named_fields
from transforms.detect.fields import FieldValue, field_types
from transforms.detect.rule_model import Rule, RuleBook, effective_rule
from transforms.elements import AnomalySeverity

PLACEHOLDER: Final = re.compile(r"\{([A-Za-z0-9_.]+)(?::([^{}]*))?\}")
FORMAT_SPEC: Final = re.compile(r"(,?(\.\d)?[dfg%]?)|\.\d{1,3}s")
_MAX_PLACEHOLDER_CHARACTERS: Final = 200
_MATCH_MEMORY: Final = 20_000


class LadderStep(NamedTuple):
    """A severity and the condition under which it is the one."""

    level: AnomalySeverity
    when: Condition | None


class CompiledRule:
    """One rule as it stands for some service."""

    def __init__(self, rule: Rule) -> None:
        """Compile the rule; raises ConditionError for a condition that loading did not check."""
        self.rule = rule
        self.subject = rule.subject
        self.match = rule.match
        self.when = condition_of(rule.when, self.subject) if rule.when else None
        self.ladder = tuple(
            LadderStep(step.level, condition_of(step.when, self.subject) if step.when else None)
            for step in rule.severity
        )
        self.confidence = (
            condition_of(rule.confidence, self.subject, "number")
            if isinstance(rule.confidence, str)
            else rule.confidence
        )
        self.signal = rule.signal or default_signal(rule)
        self.fields = _numeric_fields(rule, self.signal)

    def threshold(self, field: str, level: AnomalySeverity) -> float | None:
        """The plain number that the conditions compare `field` with, at this severity, if there is one."""
        conditions = [step.when.text for step in self.ladder if step.level == level and step.when is not None]
        for text in [*conditions, self.rule.when]:
            if (found := _comparison(field).search(text)) is not None:
                return float(found[1])
        minimum = {"pattern.count": self.rule.min_count, "pattern.errors": self.rule.min_errors}
        return float(minimum[field]) if minimum.get(field) else None


def default_signal(rule: Rule) -> str:
    """The first number that the condition names, else the count of what the rule looks at."""
    types = field_types(rule.subject)
    named = [name for name in named_fields(rule.when, rule.subject) if types[name] in ("int", "double")]
    return (
        named
        or [{"window": "lines", "pattern": "pattern.count", "endpoint": "endpoint.requests"}[rule.subject]]
    )[0]


def render_description(template: str, fields: dict[str, FieldValue]) -> str:
    """The description with its placeholders filled, as in "{error_rate:.0%} of {lines} lines"."""
    return PLACEHOLDER.sub(lambda found: _render(fields[found[1]], found[2] or ""), template)


def _render(value: FieldValue, spec: str) -> str:
    if isinstance(value, str):
        return value[:_MAX_PLACEHOLDER_CHARACTERS]
    if not spec and isinstance(value, float):
        spec = ",.1f"
    return format(value, spec or ",") if not isinstance(value, bool) else ("yes" if value else "no")


def _numeric_fields(rule: Rule, signal: str) -> tuple[str, ...]:
    types = field_types(rule.subject)
    texts = [rule.when, *(step.when for step in rule.severity)]
    named = [name for text in texts for name in named_fields(text, rule.subject)]
    return tuple(dict.fromkeys(name for name in [signal, *named] if types[name] in ("int", "double")))


@lru_cache(maxsize=512)
def _comparison(field: str) -> re.Pattern[str]:
    number = r"(-?\d+(?:\.\d+)?)"
    return re.compile(rf"(?<![\w.]){re.escape(field)}\s*(?:>=|>|<=|<)\s*{number}(?![\w.]|\s*[-+*/%])")


class CompiledBook:
    """A book ready to run. `rules_for` gives what is in force for one service."""

    def __init__(self, book: RuleBook) -> None:
        self.version = book.version
        self._book = book
        self._compiled: dict[Rule, CompiledRule] = {}
        self._by_service: dict[tuple[str, str], tuple[CompiledRule, ...]] = {}
        # One by one: a re2.Set does not say when it runs out of memory, it then finds nothing.
        self._expressions = {
            text: _compile_match(text)
            for text in sorted({text for rule in book.rules for text in _matches_of(rule)})
        }
        self._matched: dict[str, frozenset[str]] = {}

    def rules_for(self, tenant_id: str, service: str) -> tuple[CompiledRule, ...]:
        """The enabled rules with the overrides of this service."""
        key = (tenant_id, service)
        if (found := self._by_service.get(key)) is None:
            effective = (effective_rule(rule, tenant_id, service) for rule in self._book.rules)
            found = tuple(self._compile(rule) for rule in effective if rule.enabled)
            if len(self._by_service) >= _MATCH_MEMORY:
                self._by_service.clear()
            self._by_service[key] = found
        return found

    def matches(self, text: str) -> frozenset[str]:
        """The `match` expressions of the book that `text` contains. Remembered by text, bounded."""
        if (found := self._matched.get(text)) is None:
            found = frozenset(key for key, expression in self._expressions.items() if expression.search(text))
            if len(self._matched) >= _MATCH_MEMORY:
                self._matched.clear()
            self._matched[text] = found
        return found

    def _compile(self, rule: Rule) -> CompiledRule:
        if (found := self._compiled.get(rule)) is None:
            found = self._compiled[rule] = CompiledRule(rule)
        return found


def _matches_of(rule: Rule) -> list[str]:
    changed = [override.changes.match for override in rule.overrides]
    return [text for text in [rule.match, *changed] if isinstance(text, str) and text]


def _compile_match(expression: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(expression, options)


_COMPILED: dict[str, CompiledBook] = {}
_KEPT_VERSIONS: Final = 4
_LOCK: Final = threading.Lock()


def compile_book(book: RuleBook) -> CompiledBook:
    """The compiled book, made once per version in a process; a few versions are kept."""
    if (compiled := _COMPILED.get(book.version)) is not None:
        return compiled
    with _LOCK:
        if (compiled := _COMPILED.get(book.version)) is None:
            compiled = CompiledBook(book)
            while len(_COMPILED) >= _KEPT_VERSIONS:
                _COMPILED.pop(next(iter(_COMPILED)))
            _COMPILED[book.version] = compiled
    return compiled
