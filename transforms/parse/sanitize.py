"""Characters that break a terminal, a table or a coder leave the texts of an entry."""

from __future__ import annotations

import re
from typing import Final

from transforms.elements import LogEntry

_FIELDS: Final = (
    "message", "insert_id", "log_name", "endpoint", "trace_id", "span_id", "parent_span_id", "principal",
    "remote_ip", "method_name", "exception", "frames", "tenant_id", "service", "deploy",
)  # fmt: skip
_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_ESCAPE: Final = re.compile(rb"\\[ubfr]")
_REPLACEMENT: Final = "\ufffd"
_BACKSLASH, _DELETE = b"\\\x7f"  # a search for a number takes a third of that for bytes


def may_hold_control(payload: bytes) -> bool:
    """Whether JSON can hold a control character: written as an escape, or as C1 beyond ASCII."""
    if _BACKSLASH in payload and _ESCAPE.search(payload):
        return True
    return _DELETE in payload or not payload.isascii()


def sanitize_text(text: str) -> str:
    """`text` without ANSI colors, its other control characters as U+FFFD; line feeds and tabs stay."""
    if text.isprintable():
        return text
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    return _CONTROL.sub(_REPLACEMENT, text)


def sanitize_entry(entry: LogEntry) -> None:
    """Sanitize every text of the entry in place."""
    for name in _FIELDS:
        text = getattr(entry, name)
        if not text.isprintable():
            setattr(entry, name, sanitize_text(text))
