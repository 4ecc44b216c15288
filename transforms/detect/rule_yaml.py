"""Reading an operator's YAML file into values that remember their lines; the file is untrusted.

Only plain mappings, lists and scalars: no tags, no anchors or aliases (a few of them nested blow up
to billions of values), no duplicate keys, and a limit on size and depth.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import yaml
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    NodeEvent,
)
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_MAX_DEPTH: Final = 12
_TAGS: Final = "tag:yaml.org,2002:"
_PLAIN_SCALARS: Final = (
    ("null", "~nN", r"~|null|Null|NULL|"),
    ("bool", "tTfF", r"true|True|TRUE|false|False|FALSE"),
    ("int", "-+0123456789", r"[-+]?(?:0b[01_]+|0o?[0-7_]+|[0-9_]+|0x[0-9a-fA-F_]+)"),
    (
        "float",
        "-+.0123456789",
        r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    ),
)
"""Tag, first letters and form of what is no text though it has no quotes: YAML 1.2's core schema."""


class Problem(NamedTuple):
    """Something wrong in a file, said in one line."""

    line: int
    text: str


class Value(NamedTuple):
    """A value and where it stands. `content` is a dict of Values by key, a list of Values, or a scalar."""

    line: int
    content: Any


class YamlError(ValueError):
    """The file is not YAML that is read here."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


def read_yaml(text: str, max_bytes: int) -> tuple[Value, list[Problem]]:
    """The document, and its duplicate keys; raises YamlError where there is nothing to go on with."""
    if len(text.encode("utf-8", "surrogatepass")) > max_bytes:
        raise YamlError(Problem(1, f"is larger than {max_bytes // 1024} KiB; split it"))
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=_Loader)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last = len(f"{text}.".splitlines())  # the parser counts the end of the file as a line of its own
        line = min(mark.line + 1, last) if mark is not None else 1
        raise YamlError(Problem(line, f"is not YAML: {error.problem or error.context}")) from None
    except (YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(Problem(1, "is not YAML: it holds characters that YAML does not allow")) from None
    problems: list[Problem] = []
    return (Value(1, None) if node is None else _value_of(node, problems)), problems


class _Loader(yaml.CSafeLoader):  # type: ignore[misc]
    """The parser in C, ten times as fast, with the scalars of YAML 1.2: in 1.1 `on` is no text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's name


for _tag, _letters, _form in _PLAIN_SCALARS:
    _Loader.add_implicit_resolver(_TAGS + _tag, re.compile(rf"(?:{_form})\Z"), list(_letters))
_Loader.add_implicit_resolver(_TAGS + "null", re.compile(r"\Z"), [""])


def _check_events(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor is not None):
            raise YamlError(Problem(line, "uses an anchor or alias (& or *); write the value out"))
        if isinstance(event, CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise YamlError(Problem(line, f"is nested more than {_MAX_DEPTH} levels deep"))
        elif isinstance(event, CollectionEndEvent):
            depth -= 1


def _value_of(node: Node, problems: list[Problem]) -> Value:
    line = node.start_mark.line + 1
    if isinstance(node, MappingNode):
        return Value(line, _mapping_of(node, problems))
    if isinstance(node, SequenceNode):
        return Value(line, [_value_of(item, problems) for item in node.value])
    return Value(line, _scalar_of(str(node.tag or ""), str(node.value)))


def _mapping_of(node: MappingNode, problems: list[Problem]) -> dict[str, Value]:
    mapping: dict[str, Value] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value) if isinstance(key_node, ScalarNode) else "?"
        if key in mapping:
            problems.append(Problem(key_node.start_mark.line + 1, f'"{key[:80]}" is given twice; keep one'))
        value = _value_of(value_node, problems)
        # A block of text starts at the line of its key; complaints are best read there.
        mapping[key] = (
            value
            if isinstance(value.content, dict | list)
            else Value(key_node.start_mark.line + 1, value.content)
        )
    return mapping


def _scalar_of(tag: str, text: str) -> Any:
    tag = tag.removeprefix(_TAGS)
    try:
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() in ("true", "yes", "on")
        if tag == "int" and len(text) < 20:
            return int(text.replace("_", ""), 0)
        if tag == "float" and len(text) < 40:
            return float(text.replace("_", ""))
    except ValueError:
        return text
    return text
