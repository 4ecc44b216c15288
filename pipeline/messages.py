"""Messages of ours on Pub/Sub: an element as JSON, with attributes, small enough to be taken. No Beam here.

A message that Pub/Sub refuses would fail its bundle for ever. So what is too large becomes smaller, never
refused: the whole element is a row of the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeVar

import msgspec

MAX_MESSAGE_BYTES: Final = 1 << 20
"""Of a message's body. Pub/Sub takes 10 MB in one request, which may hold several."""

TRUNCATED: Final = "truncated"
"""Attribute of a message whose element was made smaller."""

_MAX_ATTRIBUTE_BYTES: Final = 1024  # Pub/Sub refuses a message with a longer value
_encoder = msgspec.json.Encoder()

S = TypeVar("S", bound=msgspec.Struct)


class Message(NamedTuple):
    """What is published."""

    data: bytes
    attributes: dict[str, str]


def element_message(
    element: msgspec.Struct, attributes: Mapping[str, str], most_bytes: int = MAX_MESSAGE_BYTES
) -> Message:
    """`element` as JSON of at most `most_bytes`, with `attributes` as Pub/Sub takes them."""
    fitting = shrink(element, most_bytes)
    marks = {} if fitting is element else {TRUNCATED: "true"}
    return Message(_encoder.encode(fitting), bound_attributes({**attributes, **marks}))


def shrink(element: S, most_bytes: int) -> S:
    """`element`, its longest texts and lists halved again and again until its JSON has `most_bytes`.

    The same object where it fits. Numbers and short texts, such as ids, stay as they are.
    """
    while len(_encoder.encode(element)) > most_bytes:
        fields = {name: getattr(element, name) for name in element.__struct_fields__}
        parts = [(len(_encoder.encode(value)), name) for name, value in fields.items() if _can_be_cut(value)]
        if not parts:
            break
        name = max(parts)[1]
        element = msgspec.structs.replace(element, **{name: fields[name][: len(fields[name]) // 2]})
    return element


def bound_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """`attributes` as Pub/Sub takes them: without empty ones, values cut to 1,024 bytes of UTF-8."""
    return {name: _bounded(value) for name, value in attributes.items() if value}


def _can_be_cut(value: object) -> bool:
    return bool(value) and isinstance(value, str | list)


def _bounded(value: str) -> str:
    data = value.encode("utf-8", "replace")
    if len(data) <= _MAX_ATTRIBUTE_BYTES:
        return value if value.isascii() else data.decode()
    return data[:_MAX_ATTRIBUTE_BYTES].decode("utf-8", "ignore")
