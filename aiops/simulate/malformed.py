"""Lines that no parser can use, made from good ones."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

TOO_DEEP: Final = 2000


def damage(line: bytes, random: Random) -> bytes:
    """One of the ways in which lines arrive broken. None is a JSON object with a timestamp."""
    return _WAYS[int(random.random() * len(_WAYS))](line, random)


def _cut(line: bytes, random: Random) -> bytes:
    return line[: 1 + int(random.random() * (len(line) - 2))]


def _plain_text(line: bytes, random: Random) -> bytes:  # noqa: ARG001
    return b"E0112 14:03:11.204 1 main.go:88] connection refused, retrying"


def _array(line: bytes, random: Random) -> bytes:  # noqa: ARG001
    return b"[" + line + b"]"


def _bad_utf8(line: bytes, random: Random) -> bytes:  # noqa: ARG001
    return line.replace(b'"insertId":"', b'"insertId":"\xff\xfe', 1)


def _no_timestamp(line: bytes, random: Random) -> bytes:  # noqa: ARG001
    return b'{"severity":"INFO","textPayload":"' + b"x" * (len(line) % 64) + b'"}'


def _too_deep(line: bytes, random: Random) -> bytes:  # noqa: ARG001
    return b'{"jsonPayload":' * TOO_DEEP + b"1" + b"}" * TOO_DEEP


_WAYS: Final[tuple[Callable[[bytes, Random], bytes], ...]] = (
    _cut,
    _cut,
    _plain_text,
    _array,
    _bad_utf8,
    _no_timestamp,
    _too_deep,
)
