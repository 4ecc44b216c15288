"""What the analysis needs of a model. The client itself is at the edge: pipeline/gemini_client.py."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from transforms.gemini_elements import FailReason


class Reply(msgspec.Struct, frozen=True):
    """An answer, or why there is none (`failed`). Tokens are as billed, as far as the server says."""

    text: str = ""
    failed: FailReason | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    latency_ms: int = 0
    attempts: int = 1


class Model(Protocol):
    """Something that answers one prompt with one reply, and never raises for what the server does."""

    def ask(self, system: str, text: str, schema: dict[str, Any]) -> Reply:
        """Ask, retry within bounds, give up."""
        ...


class ModelFactory(Protocol):
    """Picklable; makes the model where it is used."""

    def connect(self) -> Model:
        """A model with its connections open."""
        ...
