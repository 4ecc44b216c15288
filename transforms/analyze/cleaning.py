"""Text of the model, made fit for people to read: no control characters, no markup, no live links.

What the model writes may have been put into its mouth by whoever writes logs. So nothing of it is ever
rendered or run; this makes it safe where something downstream renders it all the same. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import Final

MOST_DESCRIPTION: Final = 300
MOST_ANALYSIS: Final = 1_500
MOST_ACTION: Final = 300
MOST_ACTIONS: Final = 5
MOST_NAME: Final = 100

UNVERIFIED: Final = "[unverified]"

_MARKUP: Final = str.maketrans(
    {
        "<": "‹",
        ">": "›",
        "`": "'",
        "[": "(",
        "]": ")",
        "{": "(",
        "}": ")",
        "*": "·",
        "|": "¦",
        "\\": "/",
        "&": "+",
        "#": "♯",
        "~": "-",
        "$": "S",
    }
)
_SCHEME: Final = re.compile(r"\b([a-z][a-z0-9+.-]{1,12})://", re.IGNORECASE)
_BARE_SCHEME: Final = re.compile(r"\b(javascript|data|mailto|file|vbscript)\s*:", re.IGNORECASE)
_DOMAIN: Final = re.compile(
    r"\b((?:[a-z0-9-]{1,63}\.){1,8})(com|net|org|io|dev|app|ru|cn|xyz|info|biz|sh|top|me|co|ai|example|zip|onion"
    r"|link|click|site|online|evil|test)\b",
    re.IGNORECASE,
)
_MENTION: Final = re.compile(r"@(?=\w)")
_COMMAND: Final = re.compile(
    r"\b(curl|wget|bash|sh|zsh|powershell|pwsh|cmd|sudo|su|chmod|chown|rm|dd|mkfs|kill|pkill|killall|kubectl|helm"
    r"|gcloud|gsutil|bq|aws|az|terraform|docker|podman|systemctl|service|iptables|ssh|scp|nc|ncat|netcat|python3?"
    r"|perl|ruby|node|npm|npx|pip3?|apt|apt-get|yum|dnf|psql|mysql|sqlite3|redis-cli|mongo|eval|exec|crontab|git"
    r"|invoke-expression|iex|certutil|base64|openssl|mv|cp|tee|sed|awk|xargs|aiops)\s+\S"
    r"|\b(drop|truncate|delete|alter|grant|revoke|insert|update)\s+(table|database|from|into|user|role|all|schema)\b"
    r"|(\$\(|&&|\|\||;\s*\w+\s|>\s*/|\s--?[a-z][\w-]*(=|\s|$)|/bin/|/etc/|/dev/|\.sh\b|\.ps1\b|\.exe\b)",
    re.IGNORECASE,
)
_ROUGHLY: Final = 0.05  # rounding may not make 0 of 0.2
_NUMBER: Final = re.compile(r"(?<![\w.])[-+]?\d+(?:[.,:]\d+)*(?:\s?%)?(?!\w)")
_WORDY_NUMBER: Final = re.compile(
    r"(?<![\w.])\d+(?:[.,]\d+)*(?=(?:ms|us|s|m|h|d|x|k|M|min|sec|hrs?|th|st|nd|rd)\b)"
)


def clean_text(text: str, most: int) -> str:
    """One line of plain text of at most `most` characters; links are broken up, markup is escaped."""
    normal = unicodedata.normalize("NFKC", text[: 8 * most])
    plain = "".join(character if _is_plain(character) else " " for character in normal)
    safe = _MENTION.sub("(at)", plain.translate(_MARKUP))
    safe = _SCHEME.sub(r"\1:‖", safe)
    safe = _BARE_SCHEME.sub(r"\1‖", safe)
    safe = _DOMAIN.sub(lambda found: found[1].replace(".", "(.)") + found[2], safe)
    line = " ".join(safe.split())
    return line if len(line) <= most else line[: most - 3].rstrip() + "..."


def _is_plain(character: str) -> bool:
    """Neither control, format (bidi, zero width, tags), surrogate, private nor unassigned; no line break."""
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def has_link(text: str) -> bool:
    """Whether there is something that could be followed."""
    normal = unicodedata.normalize("NFKC", text)
    return any(found.search(normal) for found in (_SCHEME, _BARE_SCHEME, _DOMAIN))


def has_command(text: str) -> bool:
    """Whether there is something that could be pasted into a shell or a database."""
    return _COMMAND.search(unicodedata.normalize("NFKC", text)) is not None


def clean_actions(actions: Sequence[str], known_numbers: Collection[float] = ()) -> list[str]:
    """At most MOST_ACTIONS actions, cleaned; those with commands or links say so in front."""
    cleaned = []
    for action in actions[:MOST_ACTIONS]:
        flags = [
            flag for flag, holds in (("command", has_command(action)), ("link", has_link(action))) if holds
        ]
        text = clean_prose(action, known_numbers, MOST_ACTION)
        if text:
            cleaned.append(f"[check before use: {', '.join(flags)}] {text}" if flags else text)
    return cleaned


def clean_prose(text: str, known_numbers: Collection[float], most: int) -> str:
    """`clean_text`, and each number that is none of `known_numbers` is replaced by UNVERIFIED."""

    def check(found: re.Match[str]) -> str:
        return found[0] if is_known(found[0], known_numbers) else UNVERIFIED

    # Cleaning first: what looks like another character until it is normalized may be a digit.
    checked = _WORDY_NUMBER.sub(check, _NUMBER.sub(check, clean_text(text, most)))
    return checked if len(checked) <= most + 200 else checked[:most]


def is_known(text: str, known_numbers: Collection[float]) -> bool:
    """Whether the number as written is one of `known_numbers`, rounded as it is written."""
    is_percent = text.endswith("%")
    digits = text.rstrip("% ").replace(",", "").lstrip("+")
    if ":" in digits:
        return False
    try:
        value = float(digits)
    except ValueError:
        return False
    decimals = len(digits.partition(".")[2])
    return any(
        abs(round(known * scale, decimals) - value) < 1e-9
        and abs(known * scale - value) <= _ROUGHLY * abs(known * scale)
        for known in known_numbers
        for scale in ((100.0,) if is_percent else (1.0,))
    )
