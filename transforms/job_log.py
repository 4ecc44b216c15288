"""What the job says in its log: a sentence of ours, and fields of a fixed list. Never a payload.

Tenants and services are names that others chose: they are cut, and what could look like another line or
field is quoted. `_LOGGER.warning(Said("No topic", tenant_id="acme"))` reads `No topic tenant_id=acme`
wherever lines are text; `JsonLines` keeps the fields apart.

Tracebacks are not logged: what stands in them may quote what was worked on.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Final, TypedDict, Unpack

_MAX_VALUE: Final = 200
_PLAIN: Final = re.compile(r"[\w.:/@+-]+")


class LogFields(TypedDict, total=False):
    """All that a line may tell beside its sentence: no text of a log line, a model or a command."""

    tenant_id: str
    service: str
    stage: str
    reason: str
    error: str  # name of an exception's class
    source: str
    receive_minute: str
    difference: int
    topic: str
    path: str
    detector: str
    version: str
    times: int


class Said:
    """One line of the log: `message` is constant, what varies are its fields."""

    def __init__(self, message: str, **fields: Unpack[LogFields]) -> None:
        self.message = message
        self.fields = {name: _bounded(value) for name, value in fields.items()}

    def __str__(self) -> str:
        return " ".join((self.message, *(f"{name}={_quoted(value)}" for name, value in self.fields.items())))


class JsonLines(logging.Formatter):
    """A record as one line of JSON, with the names that Cloud Logging knows: severity, message, time."""

    def format(self, record: logging.LogRecord) -> str:
        said = record.msg
        fields = said.fields if isinstance(said, Said) else {}
        if record.exc_info and record.exc_info[0] is not None:  # a traceback may quote what was worked on
            fields = {"error": record.exc_info[0].__name__, **fields}
        line = {
            "severity": record.levelname,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "logger": record.name,
            "message": said.message if isinstance(said, Said) else record.getMessage(),
        }
        return json.dumps(line | fields)


def _bounded(value: object) -> str | int:
    return value if isinstance(value, int) else str(value)[:_MAX_VALUE]


def _quoted(value: str | int) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
