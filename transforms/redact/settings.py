"""Settings of redaction: where the key is, its version and the operator's own patterns."""

from __future__ import annotations

import re
from typing import Final, Protocol

import msgspec
import re2

DEMO_MASTER_KEY: Final = b"demo key: public, protects nobody"
"""Key of demos and tests. It is public, so its placeholders can be undone by guessing values."""

MINIMUM_KEY_BYTES: Final = 16
MAXIMUM_KEY_VERSION: Final = 999_999
MAXIMUM_OPERATOR_PATTERNS: Final = 100
_LARGEST_PROGRAM: Final = 50_000  # RE2 instructions of all patterns together; more slows every line
_KIND: Final = re.compile(r"[a-z][a-z_]{0,31}")
_PROBES: Final = ("", "a", "0", " ", "a b", "a-b", "\n", "é")  # an empty match anywhere in these is refused


class OperatorPattern(msgspec.Struct, frozen=True):
    """An id of the operator's own, such as an employee or a patient number.

    `pattern` is RE2 syntax and case-sensitive unless it says `(?i)`. With one capturing group only
    the group is redacted, the rest is context; without a group all of the match is.
    """

    kind: str
    pattern: str

    def compile(self) -> re2._Regexp:
        """The compiled pattern. Raises ValueError that says what is wrong and how to mend it."""
        if not _KIND.fullmatch(self.kind):
            raise ValueError(
                f"operator pattern kind {self.kind!r}: use 1 to 32 of the characters a-z and _,"
                " starting with a letter"
            )
        options = re2.Options()
        options.log_errors = False
        try:
            compiled = re2.compile(self.pattern, options)
        except re2.error as error:
            reason = error.args[0] if error.args else error
            reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
            raise ValueError(
                f"operator pattern of kind {self.kind!r} is not valid RE2 ({reason}); RE2 has neither"
                " look-around nor back references"
            ) from None
        if compiled.groups > 1:
            raise ValueError(
                f"operator pattern of kind {self.kind!r} has {compiled.groups} capturing groups; use one,"
                " around what is to be redacted, and (?:...) for the others"
            )
        if any(match.end() == match.start() for probe in _PROBES for match in compiled.finditer(probe)):
            raise ValueError(
                f"operator pattern of kind {self.kind!r} matches the empty string; ask for at least one"
                " character"
            )
        return compiled


class KeySource(Protocol):
    """Where the master key is. Settings travel with the graph and the key must not: so it is picklable, and
    read where it is used.
    """

    def read(self) -> bytes:
        """The master key. What it raises says how to mend it."""
        ...


class DemoKey(msgspec.Struct, frozen=True):
    """The public key."""

    def read(self) -> bytes:
        return DEMO_MASTER_KEY


def check_master_key(key: bytes) -> bytes:
    """`key`. Raises ValueError where it is too short to protect anything."""
    if len(key) < MINIMUM_KEY_BYTES:
        raise ValueError(
            f"the redaction key has {len(key)} bytes; use at least {MINIMUM_KEY_BYTES},"
            " for example from: openssl rand -hex 32"
        )
    return key


class RedactSettings(msgspec.Struct, frozen=True):
    """What redaction needs to know. Checked on construction; raises ValueError.

    `key` says where the master key is and is not read here. `key_version` stands in every placeholder, so
    that a rotation is visible. `operator_patterns` are looked for beside the built-in kinds.
    """

    key: KeySource
    key_version: int = 1
    operator_patterns: tuple[OperatorPattern, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.key_version <= MAXIMUM_KEY_VERSION:
            raise ValueError(
                f"key_version is {self.key_version}; use a number from 1 to {MAXIMUM_KEY_VERSION}"
            )
        if len(self.operator_patterns) > MAXIMUM_OPERATOR_PATTERNS:
            raise ValueError(
                f"{len(self.operator_patterns)} operator patterns; use at most {MAXIMUM_OPERATOR_PATTERNS}:"
                " join some with |"
            )
        if sum(pattern.compile().programsize for pattern in self.operator_patterns) > _LARGEST_PROGRAM:
            raise ValueError(
                "the operator patterns are too large together; use smaller repetitions and classes"
            )
