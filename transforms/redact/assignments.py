"""The family of `key=value` secrets, in the notations that logs use.

`password=x`, `"password": "x"`, the same escaped once or more inside JSON, `password%3Dx`,
`--password x`, `<password>x</password>`, header lines. Key and notation stay, the value goes.
"""

from __future__ import annotations

import re
from typing import Final

from transforms.redact.families import BytePattern, Family, Finding, Spans, compile_bytes
from transforms.redact.placeholders import is_only_marks

# A word ends the key, whatever stands before it: db_password, clientSecret, X-Api-Key.
_WORDS: Final = (
    rb"passw(?:or)?d|passwrd|pass(?:phrase|code)|[_-]pass|pwd"
    rb"|secret|credentials?|signature|sharedaccesskey"
    rb"|(?:secret|access|api|private|encryption|signing|account|shared|master|auth|license|sas)"
    rb"[ _-]?(?:access)?[_-]?key"
    rb"|token|jwt|csrf|xsrf|session(?:[_-]?(?:id|key))?|sessid|cookie|authorization|x-auth"
)
# These also end other words (inside, assign): they must be words of their own.
_SHORT_WORDS: Final = rb"pw|sig|sid|otp|pass"
_SUFFIX: Final = rb"(?:[_-]?(?:value|hash|text|plain|base64|b64))?\d{0,3}"
_KEY: Final = rb"(?:" + _WORDS + rb"|(?:\A|[^0-9A-Za-z])(?:" + _SHORT_WORDS + rb"))" + _SUFFIX
_QUOTE: Final = rb"(?:\\{0,15}[\"'`]|%(?:25)*22|&quot;|&#34;|\\u0022)"
_SEPARATOR: Final = rb"(?:" + _QUOTE + rb"|\])?[ \t]{0,8}(?:=>|:=|={1,3}|:|%(?:25)*3[ad]|\\u003[ad])"

_HINT: Final = rb"(?i)" + _KEY + rb"(?:" + _SEPARATOR + rb"|>|[ \t])"
_ASSIGNMENT: Final = compile_bytes(
    rb"(?i)(" + _KEY + rb")" + _SEPARATOR + rb"[ \t+]{0,8}\[?(" + _QUOTE + rb")?"
    rb"|--[\w-]{0,40}(" + _KEY + rb")[ \t]{1,8}(" + _QUOTE + rb")?"
    rb"|<(?:[\w.-]{1,40}:)?[\w.-]{0,40}(" + _KEY + rb")>"
)

_SCHEME: Final = re.compile(
    rb"(?:bearer|basic|digest|negotiate|ntlm|token|apikey|oauth|hawk|aws4-hmac-sha256)(?:[ \t]|%20|\+)+",
    re.IGNORECASE,
)
_SCHEMES_OF_MANY_PARTS: Final = (b"digest", b"oauth", b"hawk", b"aws4")
_COOKIES: Final = compile_bytes(rb"[^\s;,\"']+(?:;[ ]?[^\s;,\"']+)*")
_END_OF_LINE: Final = compile_bytes(rb"[\r\n]|\\[rn]")
# A comma or a bracket ends a value only where something else follows it: it may be part of a password.
_NEXT_PART: Final = rb"[,;&)}\]|]+(?:\z|[\x00-\x20\"']|[\w.-]{1,64}[=:])"
_END_OF_VALUE: Final = compile_bytes(rb"[\x00-\x20\"'`]|\\+[\"']|\\u0026|</|" + _NEXT_PART)
_END_OF_ENCODED_VALUE: Final = compile_bytes(
    rb"[\x00-\x20\"'`]|</|%(?:25)*(?:26|20|22|27|0[AaDd]|7[Dd]|2[Cc])|" + _NEXT_PART
)
_END_OF_QUOTED: Final = {
    quote: compile_bytes(rb"(?s)(?:[^%s\\\n]|\\.)*" % quote) for quote in (b'"', b"'", b"`")
}
_LONGEST_ELEMENT: Final = 4096

_NO_SECRET: Final = frozenset(
    b"null none nil undefined true false yes no ok empty missing invalid expired required optional redacted"
    b" masked hidden filtered removed unknown failed denied granted rejected accepted error string".split()
)
_MASKED: Final = b"*.-_=<>[]()xX" + "•".encode()


def _kind(key: bytes) -> str:
    key = key.lower()
    if b"pass" in key or b"pw" in key:
        return "password"
    if key.endswith(b"key") or any(word in key for word in (b"secret", b"credential", b"sig")):
        return "key"
    return "token"


def is_no_secret(value: bytes) -> bool:
    """Whether a value says that there is none: a word such as `null`, asterisks, or a placeholder."""
    return is_only_marks(value) or value.lower().strip(b"[]()<>") in _NO_SECRET or not value.strip(_MASKED)


def _judge_assignment(data: bytes, spans: Spans) -> Finding | int:
    start = spans[0][1]
    groups = [data[left:right] if left >= 0 else b"" for left, right in spans[1:]]
    assigned, quote, option, option_quote, element = groups
    key = assigned or option or element
    if element:
        end = data.find(b"</", start, start + _LONGEST_ELEMENT)
        if end < 0:  # cut, or the word in brackets of a usage line
            end = _first(_END_OF_VALUE, data, start)
    elif option:
        if data[start : start + 1] == b"-":
            return start  # the next option
        end = _end_of(data, start, option_quote, b"", b" ")
    else:
        end = _end_of(data, start, quote, key.lower(), data[spans[1][1] : start])
    if (scheme := _SCHEME.match(data, start, end)) and scheme.end() < end:
        start = scheme.end()
    value = data[start:end].rstrip(b"\\")
    end = start + len(value)
    if is_no_secret(value) or data[start : start + 1] in b"{[":
        return start
    if key[-6:].lower().endswith(b"pwd") and value.startswith(b"/"):
        return start  # the shell's working directory
    return Finding(start, end, _kind(key), value)


def _end_of(data: bytes, start: int, opening: bytes, key: bytes, separator: bytes) -> int:
    """Where the value that begins at `start` ends."""
    if opening:
        return _end_of_quoted(data, start, opening)
    if key.startswith(b"cookie"):
        cookies = _COOKIES.match(data, start)
        return cookies[0][1] if cookies else start
    if data[start : start + 1] == b":" and separator.endswith(b":"):
        return start  # a path in code: Token::new
    position = start
    if scheme := _SCHEME.match(data, start):
        if scheme.group().lower().startswith(_SCHEMES_OF_MANY_PARTS):
            return _first(_END_OF_LINE, data, start)
        position = scheme.end()
    encoded = b"%" in separator
    return _first(_END_OF_ENCODED_VALUE if encoded else _END_OF_VALUE, data, position)


def _end_of_quoted(data: bytes, start: int, opening: bytes) -> int:
    if len(opening) == 1:
        spans = _END_OF_QUOTED[opening].match(data, start)
        return spans[0][1] if spans else start
    end = data.find(opening, start)
    while opening.startswith(b"\\") and end > start and data[end - 1 : end] == b"\\":
        end = data.find(opening, end + 1)  # one more level of escaping: a quote within the value
    if end < 0:
        end = data.find(b"\n", start)
    return len(data) if end < 0 else end


def _first(pattern: BytePattern, data: bytes, start: int) -> int:
    spans = pattern.search(data, start)
    return len(data) if spans is None else spans[0][0]


ASSIGNMENT: Final = Family(_HINT, _ASSIGNMENT, _judge_assignment)
