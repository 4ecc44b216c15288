"""LogEntries as JSON text, one writer for each platform; what never changes is rendered once.

Shapes follow Cloud Logging's documentation of each resource type. Members are in alphabetical
order, as sinks write them.
"""

from __future__ import annotations

import json
from random import Random
from time import gmtime, strftime
from typing import Final, NamedTuple, Protocol

SECOND_NS: Final = 1_000_000_000


class Clock:
    """RFC 3339 texts of nanoseconds. The texts of recent seconds are kept."""

    def __init__(self) -> None:
        self._seconds: dict[int, str] = {}

    def text(self, at_ns: int) -> str:
        second, rest = divmod(at_ns, SECOND_NS)
        text = self._seconds.get(second)
        if text is None:
            if len(self._seconds) > 4096:
                self._seconds.clear()
            text = self._seconds[second] = strftime("%Y-%m-%dT%H:%M:%S.", gmtime(second))
        return f"{text}{rest:09d}Z"


class Served(NamedTuple):
    """One served request, for its access log. Times are texts; `latency_s` is in seconds."""

    time: str
    received: str
    method: str
    path: str
    status: int
    latency_s: float
    trace: str
    span: str
    caller: str
    address: str
    agent: str
    size: int


class Line(NamedTuple):
    """One line of an application. Times are texts; `payload` is a key and its JSON value."""

    time: str
    received: str
    severity: str
    payload: str
    trace: str = ""
    span: str = ""


class Writer(Protocol):
    """Writes the entries of one instance of one service."""

    def access(self, random: Random, served: Served) -> str:
        """The platform's own record of a request, or "" where it keeps none."""

    def log(self, random: Random, line: Line) -> str:
        """A line of the application; `payload` is a key and its JSON value."""


def severity_of(status: int) -> str:
    return "INFO" if status < 400 else "WARNING" if status < 500 else "ERROR"


def members(value: dict[str, object]) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def render_line(insert: str, labels: str, log: str, resource: str, line: Line) -> str:
    """The entry of `line`; `labels` is "" or a JSON object, `line.trace` the trace's full name or ""."""
    structured, text = (f"{line.payload},", "") if line.payload[1] == "j" else ("", f"{line.payload},")
    labeled = f'"labels":{labels},' if labels else ""
    spanned, traced = (f'"spanId":"{line.span}",', f',"trace":"{line.trace}"') if line.trace else ("", "")
    return (
        f'{{"insertId":"{insert}",{structured}{labeled}"logName":"{log}","receiveTimestamp":"{line.received}",'
        f'"resource":{resource},"severity":"{line.severity}",{spanned}{text}"timestamp":"{line.time}"{traced}}}'
    )


def named(line: Line, prefix: str) -> Line:
    """The line with its trace's full name, if it has a trace."""
    if not line.trace:
        return line
    return Line(line.time, line.received, line.severity, line.payload, prefix + line.trace, line.span)


def stream(severity: str) -> str:
    """The stream that a line of a severity is printed to."""
    return "stderr" if severity == "ERROR" else "stdout"
