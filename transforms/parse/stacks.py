"""Stack traces inside one text, of the usual languages: exception type, top frames, what was said.

The regular expressions run on lines cut to `_MAX_LINE` characters and on at most `_MAX_LINES`
lines, so that no text costs more than a few milliseconds.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

TOP_FRAMES: Final = 6
_MAX_LINE: Final = 300
_MAX_LINES: Final = 400

_CODE_FRAME: Final = re.compile(  # Java, Kotlin, Scala, .NET, JavaScript
    r"\s+(?:at|\[\w+\] at) ((?:async |new )?[^\s(][^(]{0,200}\([^)]*\)(?: in .+)?|\S+:\d+(?::\d+)?)"
)
_PYTHON_FRAME: Final = re.compile(r'\s*File "([^"]*)", line (\d+)(?:, in (.+))?')
_RUBY_FRAME: Final = re.compile(r"\s*(?:from |\d+: from )?(\S+\.(?:rb|erb|rake):\d+:in .+)")
_RUBY_RAISE: Final = re.compile(r"(\S+\.(?:rb|erb|rake):\d+:in [`'][^`']*'): (.*)\((\w[\w:]*)\)$")
_PHP_FRAME: Final = re.compile(r"#\d+ +(.+)")
_GO_SOURCE: Final = re.compile(r"\t(\S+\.go:\d+)(?: \+0x[0-9a-f]+)?")
_RUST_FRAME: Final = re.compile(r"\s*\d+:\s+(?:0x[0-9a-f]+ - )?(\S.*)")

_SAID: Final = re.compile(  # "pkg.TypeError: words", anywhere in a line
    r"(?:^|[\s\"'(\[])((?:[A-Za-z_]\w*(?:\.|::|\\|\$))*[A-Za-z_]\w*)(?=: |:?$| \(|\s+---)"
)
_ERROR_WORD: Final = re.compile(
    r"(?:Exception|Error|Throwable|Failure|Fault|Interrupt|Exit|Timeout|Panic|NotFound)\b"
)
_GO_PANIC: Final = re.compile(r"(panic|fatal error): ")
_RUST_PANIC: Final = re.compile(r"thread '[^']*'(?: \(\d+\))? panicked at ")
_CAUSES: Final = ("Caused by: ", " ---> ", "[cause]: ")


class Stack(NamedTuple):
    """A stack trace. `said` is the text without its frames: headline, exception, last cause."""

    exception: str
    frames: str  # the innermost first, one a line
    said: str


def find_stack(text: str) -> Stack | None:
    """The stack trace in `text`, or None. A text of one line has none."""
    lines = [line[:_MAX_LINE].rstrip() for line in text.split("\n", _MAX_LINES)[:_MAX_LINES]]
    if len(lines) < 2:
        return None
    if any(line.lstrip().startswith("Traceback (most recent call last)") for line in lines):
        return _python_stack(lines)
    if any(line.startswith("goroutine ") for line in lines):
        return _go_stack(lines)
    if any(_RUST_PANIC.search(line) for line in lines):
        return _rust_stack(lines)
    if any(line in {"Stack trace:", "[stacktrace]"} for line in lines):
        return _php_stack(lines)
    return _code_stack(lines) or _ruby_stack(lines)


def find_exception(line: str) -> str:
    """Type of the exception that a line names, e.g. `java.lang.IllegalStateException`, or ""."""
    for match in _SAID.finditer(line[:_MAX_LINE]):
        if _ERROR_WORD.search(match[1]):
            return match[1]
    return ""


def _join(frames: list[str]) -> str:
    return "\n".join(frames[:TOP_FRAMES])


def _code_stack(lines: list[str]) -> Stack | None:
    frames, said, cause, first = [], [], "", -1
    for index, line in enumerate(lines):
        match = _CODE_FRAME.fullmatch(line)
        if match:
            first = index if first < 0 else first
            frames.append(match[1])
        elif first < 0:
            said.append(line.strip())
        elif line.lstrip().startswith(_CAUSES):
            cause = line.strip()
    if not frames:
        return None
    exception = next(filter(None, map(find_exception, reversed(said))), "")
    if not exception and len(frames) < 2:
        return None  # one line that looks like a frame proves nothing
    if not exception and said and (named := _SAID.match(said[-1])) and "." in named[1]:
        exception = named[1]  # a type of one's own, without a telling word in its name
    return Stack(exception, _join(frames), "\n".join([*filter(None, said), *filter(None, [cause])]))


def _python_stack(lines: list[str]) -> Stack | None:
    frames: list[str] = []
    said, raised, inside = [], "", False
    for line in lines:
        match = _PYTHON_FRAME.match(line)
        if line.lstrip().startswith("Traceback (most recent call last)"):
            inside, frames = True, []  # of chained exceptions the last one is what was not handled
        elif match:
            frames.append(f"{match[3] or '<module>'} ({match[1]}:{match[2]})")
        elif not inside:
            said.append(line)
        elif line and not line[0].isspace():
            raised, inside = line, False
    said = [
        line for line in said if line and not line.startswith(("During handling of", "The above exception"))
    ]
    exception = raised.partition(":")[0].strip() if raised else ""
    if not frames and not exception:
        return None
    return Stack(exception[:200], _join(frames[::-1]), "\n".join([*said[:2], *filter(None, [raised])]))


def _go_stack(lines: list[str]) -> Stack | None:
    frames, said = [], []
    seen_goroutine = False
    for index, line in enumerate(lines):
        match = _GO_SOURCE.fullmatch(line)
        if match and index:
            function = (
                lines[index - 1]
                .partition("(0x")[0]
                .partition("({")[0]
                .removesuffix("(...)")
                .removesuffix("()")
            )
            if not function.startswith(("panic(", "runtime.", "created by ")):
                frames.append(f"{function} ({match[1]})")
        seen_goroutine = seen_goroutine or line.startswith("goroutine ")
        if not seen_goroutine and line:
            said.append(line)
    panic = next(filter(None, (_GO_PANIC.search(line) for line in said)), None)
    if not frames:
        return None
    return Stack(panic[1] if panic else "", _join(frames), "\n".join(said[:3]))


def _rust_stack(lines: list[str]) -> Stack | None:
    frames, said = [], []
    inside = False
    for line in lines:
        match = _RUST_FRAME.fullmatch(line) if inside else None
        if line == "stack backtrace:":
            inside = True
        elif match and not match[1].startswith(("std::", "core::", "rust_begin", "__rust", "backtrace::")):
            frames.append(match[1])
        elif not inside and line and not line.startswith("note: "):
            said.append(line)
    return Stack("panic", _join(frames), "\n".join(said[:3]))


def _php_stack(lines: list[str]) -> Stack | None:
    frames, said = [], []
    for line in lines:
        match = _PHP_FRAME.fullmatch(line)
        if match:
            frames.append(match[1])
        elif not frames and line and line not in {"Stack trace:", "[stacktrace]"}:
            said.append(line.strip())
    exception = next(filter(None, map(find_exception, said)), "")
    return Stack(exception, _join(frames), "\n".join(said)) if frames else None


def _ruby_stack(lines: list[str]) -> Stack | None:
    frames, said, exception = [], [], ""
    for line in lines:
        raised = _RUBY_RAISE.search(line)
        match = _RUBY_FRAME.fullmatch(line)
        if raised and not exception:
            exception = raised[3]
            frames.append(raised[1])
            said.append(f"{exception}: {raised[2].strip()}")
        elif match:
            frames.append(match[1])
        elif line and not frames:
            said.append(line.strip())
    exception = exception or next(filter(None, map(find_exception, said)), "")
    if not frames or (len(frames) < 2 and not exception):
        return None
    return Stack(exception, _join(frames), "\n".join(said))
