"""Severity by name or number, and read from the payload where the entry says nothing."""

from __future__ import annotations

import re
from typing import Final

from transforms.elements import SEVERITY_NUMBERS

_DEBUG: Final = 100
_INFO: Final = 200
_NOTICE: Final = 300
_WARNING: Final = 400
_ERROR: Final = 500
_CRITICAL: Final = 600
_ALERT: Final = 700
_EMERGENCY: Final = 800

_WORDS: Final[dict[str, int]] = {
    **SEVERITY_NUMBERS,
    **dict.fromkeys(["TRACE", "TRCE", "TRC", "VERBOSE", "VRB", "FINE", "FINER", "FINEST"], _DEBUG),
    **dict.fromkeys(["DBG", "DBUG", "SILLY"], _DEBUG),
    **dict.fromkeys(["INFORMATION", "INFORMATIONAL", "INF", "CONFIG", "LOG", "HTTP"], _INFO),
    **dict.fromkeys(["WARN", "WRN"], _WARNING),
    **dict.fromkeys(["ERR", "EROR", "SEVERE", "FAIL"], _ERROR),
    **dict.fromkeys(["CRIT", "FATAL", "FTL", "PANIC", "DPANIC"], _CRITICAL),
    **dict.fromkeys(["EMERG"], _EMERGENCY),
}
_LETTERS: Final = {
    "D": _DEBUG,
    "I": _INFO,
    "N": _NOTICE,
    "W": _WARNING,
    "E": _ERROR,
    "F": _CRITICAL,
    "A": _CRITICAL,
}
_SYSLOG: Final = (_EMERGENCY, _ALERT, _CRITICAL, _ERROR, _WARNING, _NOTICE, _INFO, _DEBUG)
_BY_NAME: Final[dict[str | int, int]] = {"": 0}
_BY_NAME.update(SEVERITY_NUMBERS)
_BY_NAME.update({number: number for number in SEVERITY_NUMBERS.values()})

LEVEL_KEYS: Final = (
    "severity",
    "level",
    "lvl",
    "levelname",
    "log_level",
    "loglevel",
    "logLevel",
    "LogLevel",
    "log.level",
    "Level",
    "level_name",
    "@level",
    "severityText",
    "severity_text",
    "Severity",
    "levelno",
    "level_value",
    "s",
)
"""Where JSON loggers write the level, the most telling first."""

_LOOK_AT: Final = 160  # characters: levels stand at the start of a line
_KLOG: Final = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ ")
_LOGFMT: Final = re.compile(r'(?:^|[\s{,])(?:level|lvl|severity|loglevel)[=:] ?"?([A-Za-z]{3,13})\b')
_TOKEN: Final = re.compile(r"[^\s\[\](){}<>|,;\"']+")
_PREFIX_WORDS: Final = frozenset(
    (
        *("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "AM", "PM", "UTC", "GMT", "CET", "CEST"),
        *("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    )
)


def read_severity(value: str | int) -> int | None:
    """Number of a LogEntry's own severity; None where it is unknown, 0 for DEFAULT or none."""
    number = _BY_NAME.get(value)
    if number is not None:
        return number
    if isinstance(value, str):
        text = value.strip()
        if len(text) == 3 and text.isdecimal():
            return _BY_NAME.get(int(text))
        return _WORDS.get(text.upper())
    return None


def infer_json_severity(key: str, value: object) -> int:
    """Severity that a JSON logger wrote as `value` under `key`; 0 where it says none.

    Numbers: 0–7 are syslog's, 10–60 pino's and bunyan's (Python's under `levelno`), 100–800
    Cloud Logging's, 5,000–50,000 logback's.
    """
    if isinstance(value, str):
        text = value.strip()
        if text.isascii() and text.isdecimal() and len(text) < 7:
            return _number_severity(key, int(text))
        if key == "s":
            return _LETTERS.get(text, 0)
        return _WORDS.get(text[:16].upper(), 0)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number_severity(key, int(value)) if -1 < value < 100_000 else 0
    return 0


def _number_severity(key: str, number: int) -> int:
    if number < 8:
        return _SYSLOG[number]
    if number < 100:
        step = number // 10 - (0 if key == "levelno" else 1)
        return (_DEBUG, _DEBUG, _INFO, _WARNING, _ERROR, _CRITICAL)[min(max(step, 0), 5)]
    if number < 1000:
        return min(number // 100, 8) * 100
    return (_DEBUG, _DEBUG, _INFO, _WARNING, _ERROR, _CRITICAL)[min(number // 10_000, 5)]


def infer_text_severity(text: str) -> int:
    """Severity that a line of text begins with; 0 where it says none.

    Knows klog (`E0102 …`), logfmt (`level=warn`), bracketed words (`[error]`), .NET's and
    Python's prefixes, Ruby's `E, […]`, and a level after timestamps, brackets, zone names and,
    after a timestamp, up to two plain words such as a host or a logger.
    """
    head = text[:_LOOK_AT]
    klog = _KLOG.match(head)
    if klog:
        return _LETTERS[klog[1]]
    logfmt = _LOGFMT.search(head) if "=" in head or ":" in head else None
    if logfmt and logfmt[1].upper() in _WORDS:
        return _WORDS[logfmt[1].upper()]
    severity = _leading_level(head)
    if severity == 0 and "\n" in head:  # java.util.logging writes its level on the second line
        severity = _leading_level(head.partition("\n")[2], words_allowed=0)
    return severity


def _leading_level(head: str, words_allowed: int | None = None) -> int:
    for index, match in enumerate(_TOKEN.finditer(head.partition("\n")[0])):
        token = match[0]
        word, colon, _ = token.partition(":")
        if index == 0:
            if words_allowed is None:
                words_allowed = 2 if any(char.isdecimal() for char in token) else 0
            if token in _LETTERS and head[match.end() : match.end() + 1] == ",":
                return _LETTERS[token]
        severity = _WORDS.get(word.upper(), 0)
        before = head[match.start() - 1 : match.start()] or " "
        if severity and (word.isupper() or before in "[<(|" or colon):
            return severity
        if before == "[" and colon and token.rpartition(":")[2].upper() in _WORDS:
            return _WORDS[token.rpartition(":")[2].upper()]  # Apache's [core:error]
        if before not in "[(" and not _is_prefix(token):
            words_allowed = (words_allowed or 0) - 1
            if words_allowed < 0:
                return 0
    return 0


def _is_prefix(token: str) -> bool:
    return (
        token in _PREFIX_WORDS
        or "=" in token
        or not any(char.isalpha() for char in token)
        or any(char.isdecimal() for char in token)
    )
