"""Log text made safe to look at: what a line holds must not steer a terminal, a table or a page."""

from __future__ import annotations

import re
from typing import Final

# Control, format, surrogate and line-separator characters: terminal escapes, right-to-left overrides,
# invisible tags. Tab and newline are the callers' affair; joiners (200C, 200D) belong to scripts and emoji.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001345f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)
_CONTROL_PICTURES: Final = 0x2400


def visible_text(text: str, limit: int | None = None) -> str:
    """`text` with every unsafe character as a visible stand-in, cut to `limit` characters.

    Control characters become their Unicode pictures (␛ for escape), others ⟨U+202E⟩. Newlines and
    tabs stay. What was cut is said at the end, so a result may be a little longer than `limit`.
    """
    cut = len(text) - limit if limit is not None and len(text) > limit else 0
    shown = _UNSAFE.sub(_stand_in, text[:limit] if cut else text)
    return f"{shown} … {cut:,} more characters" if cut else shown


def one_line(text: str, limit: int | None = None) -> str:
    """`visible_text` with newlines as ⏎ and tabs as a blank, for a cell of a table."""
    return visible_text(text, limit).replace("\n", "⏎").replace("\t", " ")


def escape_json_text(encoded: str) -> str:
    r"""JSON text with every unsafe character as a \u escape: the same value, harmless to print."""
    return _UNSAFE.sub(_json_escape, encoded)


def _stand_in(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def _json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
