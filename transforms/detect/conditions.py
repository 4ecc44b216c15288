"""Conditions in CEL, checked when they are read and evaluated against named fields.

Source: the Common Expression Language, https://cel.dev, by Google's own implementation. A condition
cannot loop without bound: CEL has no loops, and the library stops after 10,000 steps of its macros.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any, Final, Literal, NamedTuple

from cel_expr_python import cel

from transforms.detect.fields import FieldType, FieldValue, Subject, costly_fields, field_types

ConditionType = Literal["bool", "number"]

_CEL_TYPES: Final[dict[FieldType, Any]] = {
    "int": cel.Type.INT,
    "double": cel.Type.DOUBLE,
    "bool": cel.Type.BOOL,
    "string": cel.Type.STRING,
}
_NEUTRAL: Final[dict[FieldType, FieldValue]] = {"int": 0, "double": 0.0, "bool": False, "string": ""}
_OTHER_SUBJECTS: Final[tuple[tuple[Subject, str], ...]] = (
    ("endpoint", "per: endpoint"),
    ("pattern", "per: pattern, or with match"),
)
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']+)'")
_OVERLOAD: Final = re.compile(r"no matching overload for '([^']+)' applied to '\(([^)]*)\)'")
_MESSAGE: Final = re.compile(r"<input>:(\d+):(\d+): (.*)")
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)?", re.IGNORECASE)
_STRING: Final = re.compile(r"""r?("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""")
_COMPARISON: Final = re.compile(r"([a-z][a-z0-9_.]*)\s*(>=|<=|>|<)\s*((?:0|[1-9]\d{0,15})(\.\d{1,15})?)")
_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_TOKEN: Final = re.compile(rf"{_STRING.pattern}|&&|\|\||[?()\[\]{{}}]")


class ConditionError(ValueError):
    """A condition that cannot be used; the text says why and what would do."""


class _Comparison(NamedTuple):
    """A field beside a plain number of its type: Python answers as CEL does, in a tenth of the time."""

    field: str
    compare: Callable[[Any, Any], bool]
    number: float


class Condition:
    """A compiled condition. `fields` are those it names, in their order."""

    def __init__(self, text: str, subject: Subject, wanted: ConditionType = "bool") -> None:
        """Compile `text`; raises ConditionError."""
        self.text = text
        self.fields = named_fields(text, subject)
        self._env = _environment(subject)
        try:
            self._expression = self._env.compile(text)
        except RuntimeError as error:
            raise ConditionError(_explain(str(error), subject)) from None
        found = self._expression.return_type().name().lower()
        if found not in (("bool",) if wanted == "bool" else ("int", "double")):
            raise ConditionError(
                f"gives a {found}, but must give a {'yes or no' if wanted == 'bool' else 'number'}"
            )
        try:
            self._expression.eval(data={name: _NEUTRAL[field_types(subject)[name]] for name in self.fields})
        except RuntimeError:
            raise ConditionError("takes too many steps to evaluate; use fewer nested macros") from None

        self._comparisons: list[_Comparison] = []
        self._parts: list[Condition] | None = None
        if wanted == "bool":
            self._take_apart(subject)

    def _take_apart(self, subject: Subject) -> None:
        """Part by part, so that what is costly is computed only where all that is cheap holds."""
        texts = split_conjunction(self.text)
        found = [(_comparison(text, subject), text) for text in texts]
        self._comparisons = [comparison for comparison, _ in found if comparison is not None]
        self._comparisons.sort(key=lambda comparison: comparison.field in costly_fields())
        if len(texts) > 1 or self._comparisons:
            self._parts = [condition_of(text, subject) for comparison, text in found if comparison is None]

    def holds(self, fields: Mapping[str, FieldValue]) -> bool:
        """Whether the condition is true; one that fails, as by dividing by 0, is not."""
        for name, compare, number in self._comparisons:
            if not compare(fields[name], number):
                return False
        if self._parts is None:
            return self._evaluate(fields) is True
        return all(part.holds(fields) for part in self._parts)

    def number(self, fields: Mapping[str, FieldValue]) -> float:
        """The number that it gives; 0 when it fails, as by dividing by 0."""
        value = self._evaluate(fields)
        return float(value) if isinstance(value, int | float) else 0.0

    def _evaluate(self, fields: Mapping[str, FieldValue]) -> object:
        try:
            return self._expression.eval(data={name: fields[name] for name in self.fields}).plain_value()
        except RuntimeError:  # the budget of steps, spent on a value that the trial did not have
            return None


@lru_cache(maxsize=2_000)
def condition_of(text: str, subject: Subject, wanted: ConditionType = "bool") -> Condition:
    """The condition, compiled once: checking a rule and running it share it. Raises ConditionError."""
    return Condition(text, subject, wanted)


def _comparison(text: str, subject: Subject) -> _Comparison | None:
    found = _COMPARISON.fullmatch(text)
    if found is None:
        return None
    name, sign, number, fraction = found.groups()
    if field_types(subject).get(name) != ("double" if fraction else "int"):
        return None
    return _Comparison(name, _OPERATORS[sign], float(number) if fraction else int(number))


def split_conjunction(text: str) -> list[str]:
    """The parts of `a && b && c`; the whole where && is not the outermost operator.

    >>> split_conjunction('a > 1 && (b || c) && d == "&&"')
    ['a > 1', '(b || c)', 'd == "&&"']
    """
    if (
        "//" in text or '"""' in text or "'''" in text
    ):  # comments and long strings are not worth telling apart
        return [text]
    parts, depth, begin = [], 0, 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
        elif depth == 0 and mark in ("||", "?"):
            return [text]
        elif depth == 0 and mark == "&&":
            parts.append(text[begin : token.start()].strip())
            begin = token.end()
    return [*parts, text[begin:].strip()]


def named_fields(text: str, subject: Subject) -> tuple[str, ...]:
    """Fields that `text` names, each once, in their order."""
    known = field_types(subject)
    found: dict[str, None] = {}
    for name in _NAME.findall(_STRING.sub(" ", text)):
        if name in known:
            found[name] = None
    return tuple(found)


def suggestion(name: str, known: list[str]) -> str:
    """'; did you mean "x"?', or nothing when no name is near."""
    near = get_close_matches(name, known, n=1, cutoff=0.6) or [
        full for full in known if full.endswith(f".{name}")
    ]
    return f'; did you mean "{near[0]}"?' if near else ""


@cache
def _environment(subject: Subject) -> Any:
    return cel.NewEnv(variables={name: _CEL_TYPES[type_] for name, type_ in field_types(subject).items()})


def _explain(error: str, subject: Subject) -> str:
    """The compiler's first complaint in the words of someone who writes rules."""
    if unknown := _UNDECLARED.search(error):
        for other, needs in _OTHER_SUBJECTS:
            if unknown[1] in field_types(other):
                return f'unknown field "{unknown[1]}"; it goes with {needs}'
        return f'unknown field "{unknown[1]}"{suggestion(unknown[1], sorted(field_types(subject)))}'
    message = _MESSAGE.search(error)
    if overload := _OVERLOAD.search(error):
        operator, types = overload[1].strip("_"), overload[2]
        hint = ""
        if set(types.split(", ")) == {"int", "double"}:
            hint = "; write numbers beside a double with a point, as in 1.0, or use double(...)"
        return f"cannot use {operator} on ({types}){hint}"
    if message is None:
        return "is nested too deeply or not readable"
    line = f"line {message[1]}, " if message[1] != "1" else ""
    return f"{line}column {message[2]}: {message[3].split(', expecting')[0].split(' expecting {')[0]}"
