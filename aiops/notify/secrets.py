"""Secrets of channels. A policy file only says where they are: `env:NAME` or `file:PATH`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

import msgspec

_MAX_BYTES: Final = 64 * 1024


class SecretError(Exception):
    """A secret is not where the policy says; the message never holds one."""


class SecretRef(msgspec.Struct, frozen=True):
    """Where a secret is. It is read anew for each message, so that a changed one counts at once."""

    kind: Literal["env", "file"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    def reveal(self) -> str:
        """The secret without blanks around it; raises SecretError."""
        secret = (os.environ.get(self.name, "") if self.kind == "env" else self._read()).strip()
        if not secret:
            cause = "is not set" if self.kind == "env" else "is empty"
            raise SecretError(f"the secret {self} {cause}")
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in secret):
            raise SecretError(f"the secret {self} holds line breaks or control characters")
        return secret

    def _read(self) -> str:
        try:
            with Path(self.name).open("rb") as file:
                return file.read(_MAX_BYTES).decode("utf-8", "strict")
        except OSError as error:
            raise SecretError(f"the secret {self} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SecretError(f"the secret {self} is no text") from None


def reveal(value: str | SecretRef) -> str:
    """`value`, or the secret that it stands for; raises SecretError."""
    return value.reveal() if isinstance(value, SecretRef) else value
