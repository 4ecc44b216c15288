"""The kinds of lines that a service writes."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiops.simulate.values import Format


@dataclass(frozen=True)
class Message:
    """One kind of line. With `fields` it is structured (jsonPayload), else it is text."""

    text: str
    severity: str = "INFO"
    fields: dict[str, object] | None = None

    def payload(self, extra: dict[str, object] | None = None) -> Format:
        """The payload's key and value, ready to be filled."""
        if self.fields is None:
            return _tagged("textPayload", self.text)
        return _tagged("jsonPayload", {"message": self.text, **self.fields, **(extra or {})})


def _tagged(key: str, value: object) -> Format:
    return Format.inside_object({key: value})


@dataclass(frozen=True)
class Failure:
    """One way in which a service fails: the status it answers with and what it logs."""

    status: int
    message: Message


@dataclass(frozen=True)
class ServiceMessages:
    """`everyday` by operation; the rest may come with any operation."""

    everyday: dict[str, tuple[Message, ...]] = field(default_factory=dict)
    warnings: tuple[Message, ...] = ()
    chatter: tuple[Message, ...] = ()  # one more line with every call, where the service is talkative
    rare: tuple[Message, ...] = ()  # with something to redact
    background: tuple[Failure, ...] = ()  # seen now and then on any day
    fault: Failure | None = None  # what an `errors` fault brings
    regression: Failure | None = None  # what a bad deploy brings
