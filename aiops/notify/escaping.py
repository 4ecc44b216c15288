"""Log text made harmless for each kind of channel: what a line holds must not mention, link or format.

Whoever can write a log line can write into an alert. So all text of alerts is untrusted here, the
names of services and endpoints included.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from aiops.text import one_line

_SCHEME: Final = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{0,20}):(?=//|\\\\)")
_ACTIVE_SCHEME: Final = re.compile(r"\b(mailto|javascript|data|tel|vbscript):", re.IGNORECASE)
_WWW: Final = re.compile(r"\bwww\.", re.IGNORECASE)
_SPOKEN_TO: Final = re.compile(r"@(?=\S)")
_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_LOOKALIKES: Final = str.maketrans(
    {"<": "‹", ">": "›", "@": "＠", "`": "ˋ", "*": "∗", "[": "［", "]": "］", "~": "∼", "|": "¦", "\\": "＼"}
)


def clean_text(text: str, limit: int) -> str:
    """One line without control and direction characters, cut to `limit`, and with links broken.

    For channels that show text as it is: what looks like an address becomes https[:]//example.com,
    which no program makes a link of.
    """
    return break_links(one_line(text, limit))


def break_links(text: str) -> str:
    """`text` with `scheme://`, `mailto:` and `www.` broken."""
    text = _SCHEME.sub(r"\1[:]", text)
    return _WWW.sub("www[.]", _ACTIVE_SCHEME.sub(r"\1[:]", text))


def slack_text(text: str, limit: int) -> str:
    """For Slack: nothing of it mentions, links or formats, in a text object of any type.

    `&`, `<` and `>` are what Slack's own markup begins with; a zero-width space after `@` keeps
    @here from being one where a client looks for names; grave accents would end a code block.
    """
    text = clean_text(text, limit).replace("`", "ˋ")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPOKEN_TO.sub("@\u200b", text)


def text_for_anywhere(text: str, limit: int) -> str:
    """For services whose markup is not known: every character that means something in one looks alike."""
    return clean_text(text, limit).translate(_LOOKALIKES)


def safe_link(address: str) -> str:
    """`address` if it is an http or https address that can stand in any markup, else ""."""
    if len(address) > 2_000 or not address.isascii() or not address.isprintable():
        return ""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return ""
    if parts.scheme.lower() not in ("http", "https") or not host or "@" in parts.netloc:
        return ""
    return "" if set(address) & set(" <>\"'`\\|()*") else address


def safe_id(text: str) -> str:
    """`text` if it can stand on a command line as it is, else ""."""
    return text if _ID.fullmatch(text) else ""
