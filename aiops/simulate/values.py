"""Values that fill the variable parts of messages and paths, and the formats they fill."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, TypeVar

T = TypeVar("T")

Draw = Callable[[Random], object]
"""Draws one value; its text must be safe inside a JSON string (no quote, backslash or control)."""

_NAMES: Final = (
    "ana",
    "ben",
    "chloe",
    "david",
    "elif",
    "farid",
    "grace",
    "hiro",
    "ines",
    "jonas",
    "kim",
    "lena",
)
_MAILS: Final = ("mail.example", "post.example.org", "example.com", "example.net")
_CITIES: Final = ("Berlin", "Lyon", "Austin", "Pune", "Osaka", "Porto", "Gdansk", "Leeds")
_TOPICS: Final = ("orders", "refunds", "stock", "newsletter", "reviews")
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def letters(random: Random, count: int, alphabet: str = _ALPHABET) -> str:
    size = len(alphabet)
    return "".join([alphabet[int(random.random() * size)] for _ in range(count)])


def pick(random: Random, options: Sequence[T]) -> T:
    return options[int(random.random() * len(options))]


def public_address(random: Random) -> str:
    bits = random.getrandbits(32)
    first = (24, 37, 62, 71, 81, 93, 109, 151, 178, 189, 201, 212)[(bits >> 24) % 12]
    return f"{first}.{bits >> 16 & 255}.{bits >> 8 & 255}.{bits % 254 + 1}"


def email(random: Random) -> str:
    return f"{pick(random, _NAMES)}.{random.getrandbits(13)}@{pick(random, _MAILS)}"


def uuid(random: Random) -> str:
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def card(random: Random) -> str:
    """A card number whose check digit is right (Luhn)."""
    body = f"4{random.getrandbits(46) % 10**14:014d}"
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(body))
    return f"{body}{-total % 10}"


VALUES: Final[dict[str, Draw]] = {
    "order": lambda random: f"ORD-{random.getrandbits(26):08d}",
    "user": lambda random: f"user-{random.getrandbits(17)}",
    "email": email,
    "ip": public_address,
    "uuid": uuid,
    "sku": lambda random: f"SKU-{random.getrandbits(16) % 40000:05d}",
    "count": lambda random: 1 + int(random.random() ** 2 * 12),
    "many": lambda random: 20 + random.getrandbits(10),
    "bytes": lambda random: 400 + random.getrandbits(15),
    "ms": lambda random: 1 + int(random.random() ** 2 * 90),
    "slow_ms": lambda random: 900 + random.getrandbits(11),
    "amount": lambda random: f"{5 + random.random() ** 2 * 400:.2f}",
    "city": lambda random: pick(random, _CITIES),
    "topic": lambda random: pick(random, _TOPICS),
    "attempt": lambda random: 1 + random.getrandbits(1),
    "shard": lambda random: random.getrandbits(3),
    "hex": lambda random: f"{random.getrandbits(48):012x}",
    "percent": lambda random: 80 + random.getrandbits(4),
    "pid": lambda random: 1000 + random.getrandbits(14),
    "card": card,
    "token": lambda random: f"ya29.{letters(random, 48)}",
    "jwt": lambda random: f"eyJhbGciOiJIUzI1NiJ9.eyJ{letters(random, 40)}.{letters(random, 43)}",
    "password": lambda random: letters(random, 12),
}

_NUMBERS: Final = frozenset(
    {"count", "many", "bytes", "ms", "slow_ms", "amount", "attempt", "shard", "percent", "pid"}
)
_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")


class Format:
    """A JSON fragment with variable parts, made once and filled for each entry."""

    __slots__ = ("_draws", "_text")

    def __init__(self, json_text: str) -> None:
        self._text = json_text
        self._draws: list[tuple[str, Draw]] = []

    @classmethod
    def of(cls, value: object) -> Format:
        """From any JSON value in which strings hold `{name}` of VALUES.

        A field that is nothing but the name of a number becomes a JSON number.
        """
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("%", "%%")
        for name in _NUMBERS:
            text = text.replace('"{' + name + '}"', f"%({name})s")
        names = set(_PLACEHOLDER.findall(text)) | set(re.findall(r"%\(([a-z_]+)\)s", text))
        fragment = cls(_PLACEHOLDER.sub(lambda found: f"%({found[1]})s", text))
        fragment._draws = [(name, VALUES[name]) for name in sorted(names)]
        return fragment

    @classmethod
    def inside(cls, text: str) -> Format:
        """From a text, without the quotes around it."""
        fragment = cls.of(text)
        fragment._text = fragment._text[1:-1]
        return fragment

    @classmethod
    def inside_object(cls, members: dict[str, object]) -> Format:
        """From the members of a JSON object, without the braces around them."""
        fragment = cls.of(members)
        fragment._text = fragment._text[1:-1]
        return fragment

    def fill(self, random: Random) -> str:
        return self._text % {name: draw(random) for name, draw in self._draws}


_ID_PARTS: Final = [
    first + second + third for first in _BASE36[::2] for second in _BASE36[:16] for third in _BASE36[:15]
][:4096]


def insert_id(random: Random) -> str:
    """15 base-36 characters, as the logging agent makes them."""
    bits, parts = random.getrandbits(60), _ID_PARTS
    return (
        parts[bits & 4095]
        + parts[bits >> 12 & 4095]
        + parts[bits >> 24 & 4095]
        + parts[bits >> 36 & 4095]
        + parts[bits >> 48]
    )
