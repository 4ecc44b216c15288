"""Families of personal data: e-mail addresses, IP addresses, card numbers."""

from __future__ import annotations

import re
import socket
from typing import Final
from urllib.parse import unquote_to_bytes

import re2

from transforms.redact.families import BOUNDARY, BytePattern, Family, Finding, Spans, compile_bytes

# -------------------------------------------------------------------------------------- e-mail

_AT: Final = r"(?:@|%(?:25)*40|\\u0040|&#64;|&#x40;|＠)"
_EMAIL: Final = BytePattern(
    re2.compile(
        r"(?i)[\pL\pN._%+-]+(?:'[\pL\pN._%+-]+)*" + _AT + r"[\pL\pN-]+(?:\.[\pL\pN-]+)*\.\pL[\pL\pN-]*"
    )
)
_EMAIL_HINT: Final = (
    rb"@[0-9A-Za-z\x80-\xff-]+\.[A-Za-z\x80-\xff]|%(?:25)*40[0-9A-Za-z\x80-\xff]"
    rb"|(?i:\\u0040|&#64;|&#x40;)|\xef\xbc\xa0"
)
_LEADING_ESCAPE: Final = re.compile(rb"u00[0-9a-fA-F]{2}|[nrtbf]")
_LEADING_PERCENT: Final = re.compile(rb"(?:%(?:25)*[0-9A-Fa-f]{2})+")
_AT_BYTES: Final = re.compile(rb"\\u0040|&#64;|&#x40;|\xef\xbc\xa0", re.IGNORECASE)
_FILE_ENDINGS: Final = (b".png", b".jpg", b".jpeg", b".gif", b".svg", b".webp", b".tgz")
# The local part of these holds a project number and nothing that a person chose.
_GOOGLE_MANAGED: Final = re.compile(
    rb"service-\d+@[a-z0-9.-]+\.iam\.gserviceaccount\.com"
    rb"|\d+(?:-compute)?@(?:developer|cloudservices|cloudbuild)\.gserviceaccount\.com"
)


def _judge_email(data: bytes, spans: Spans) -> Finding | int:
    start, end = spans[0]
    if data[start - 1 : start] == b"\\":
        escape = _LEADING_ESCAPE.match(data, start, end)
    else:
        escape = _LEADING_PERCENT.match(data, start, end)
    if escape is not None and data[escape.end() : escape.end() + 1] not in (b"@", b"%"):
        start = escape.end()
    value = data[start:end]
    if value.lower().endswith(_FILE_ENDINGS):
        return end
    value = _AT_BYTES.sub(b"@", value)
    while b"%" in value and (decoded := unquote_to_bytes(value)) != value:
        value = decoded
    value = value.lower()
    if _GOOGLE_MANAGED.fullmatch(value) or value.startswith(b"@"):
        return end
    return Finding(start, end, "email", value)


EMAIL: Final = Family(_EMAIL_HINT, _EMAIL, _judge_email)

# ------------------------------------------------------------------------------- IP addresses

_IPV4: Final = compile_bytes(rb"\d+(?:\.\d+){3,}")
_VERSION_WORDS: Final = (b"version", b"ver", b"release", b"build", b"rev")
_ESCAPE_BEFORE: Final = re.compile(rb"(?:\\[nrtbf]|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2})\Z")
_FILE_OR_VERSION_AFTER: Final = re.compile(
    rb"\.(?:jar|war|so|tar|tgz|zip|whl|dll|rpm|deb|gz|exe|dylib)\b|-(?:snapshot|alpha|beta|rc|release|final|ga|m)\d*\b",
    re.IGNORECASE,
)


def is_impersonal_ipv4(octets: list[int]) -> bool:
    """Whether an address names no host: unspecified, loopback, a mask, a whole network (10.0.0.0).

    These say nothing of a person and much of a fault (`connection refused: 127.0.0.1:5432`).
    """
    return octets[0] in (0, 127, 255) or octets[1:] == [0, 0, 0]


_PLAIN_IPV4: Final = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})", re.ASCII)


def plain_ipv4(text: str) -> str:
    """The address that `text` is, without leading zeros; "" where it is none, or names no host."""
    match = _PLAIN_IPV4.fullmatch(text)
    octets = list(map(int, match.groups())) if match else []
    if not octets or max(octets) > 255 or is_impersonal_ipv4(octets):
        return ""
    return ".".join(map(str, octets))


def _follows_letter(data: bytes, start: int) -> bool:
    """Whether a letter stands before `start` that is no part of an escape such as `%2F`."""
    return data[start - 1 : start].isalpha() and not _ESCAPE_BEFORE.search(data[max(0, start - 6) : start])


def _judge_ipv4(data: bytes, spans: Spans) -> Finding | int:
    start, end = spans[0]
    octets = list(map(int, data[start:end].split(b"."))) if end - start <= 15 else []
    if len(octets) != 4 or max(octets) > 255 or is_impersonal_ipv4(octets):
        return end
    if data[start - 1 : start].isalpha() and _follows_letter(data, start):
        return end  # v1.2.3.4, jdk1.8.0.2
    before = data[max(0, start - 12) : start].rstrip(b"\"' :=/").lower()
    if before.endswith(_VERSION_WORDS):
        return end
    if data[end : end + 1] in (b".", b"-") and _FILE_OR_VERSION_AFTER.match(data, end):
        return end
    return Finding(start, end, "ip", b"%d.%d.%d.%d" % tuple(octets))


IPV4: Final = Family(rb"\d\.\d+\.\d+\.\d", _IPV4, _judge_ipv4)

_GROUP: Final = rb"[0-9A-Fa-f]{1,4}"
_IPV6: Final = compile_bytes(
    BOUNDARY + rb"((?:" + _GROUP + rb")?(?::(?:" + _GROUP + rb")?){2,}(?:\.\d{1,3}){0,3})"
)
_IPV6_HINT: Final = (
    BOUNDARY + rb"(?:(?:" + _GROUP + rb":){1,8}:|::[0-9A-Fa-f])|(?:" + _GROUP + rb":){6}[0-9A-Fa-f:]"
)
_LOOPBACK_V6: Final = bytes(15) + b"\x01"


def packed_ipv6(text: bytes) -> bytes | None:
    """The 16 bytes of an IPv6 address, or None where `text` is none."""
    try:
        return socket.inet_pton(socket.AF_INET6, text.decode("ascii"))
    except (OSError, UnicodeDecodeError):
        return None


def _judge_ipv6(data: bytes, spans: Spans) -> Finding | int:
    start, end = spans[1]
    # A name before it or a port after it may have been taken for a group.
    for left, right in (
        (start, end),
        (start, data.rfind(b":", start, end)),
        (data.find(b":", start, end) + 1, end),
    ):
        candidate = data[left:right]
        packed = packed_ipv6(candidate) if len(candidate) <= 45 else None
        if packed is None:
            continue
        if data[right : right + 1].isalpha() and right == end:
            return end
        impersonal = packed == bytes(16) or packed == _LOOPBACK_V6
        names_code = candidate.isascii() and not any(chr(c).isdigit() for c in candidate)
        if impersonal or (names_code and sum(map(bool, candidate.split(b":"))) < 3):
            return end  # ::1, or a path in code such as a::b
        return Finding(left, right, "ip", packed.hex().encode())
    return end


IPV6: Final = Family(_IPV6_HINT, _IPV6, _judge_ipv6)

# ------------------------------------------------------------------------------- card numbers

_CARD: Final = compile_bytes(
    rb"\d{4}[ .-]\d{4}[ .-]\d{4}[ .-]\d{1,4}(?:[ .-]\d{1,3})?|\d{4}[ .-]\d{6}[ .-]\d{4,5}|\d{13,}"
)
_CARD_HINT: Final = BOUNDARY + rb"[2-68](?:\d{12}|\d{3}[ .-]\d{4}[ .-]\d{4}[ .-]\d|\d{3}[ .-]\d{6}[ .-]\d{4})"
# Which issuers use which lengths: it keeps out nine in ten of the other long numbers that pass Luhn.
_ISSUERS: Final = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:30[0-5]\d|309\d|36\d\d|3[89]\d\d)\d{10,15}"  # Diners Club
    r"|(?:6011|64[4-9]\d|65\d\d)\d{12,15}"  # Discover
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|(?:62\d\d|81\d\d)\d{12,15}"  # UnionPay
    r"|220[0-4]\d{12,15}"  # Mir
    r"|(?:508\d|60\d\d|82\d\d|353\d|356\d)\d{12}"  # RuPay
    r"|(?:50\d\d|5[6-8]\d\d|6[0-9]\d\d)\d{9,15}"  # Maestro
)
_TRACE_ID_BEFORE: Final = re.compile(rb"(?:span|trace)[_-]?id[\"' :=\[]{0,4}\Z", re.IGNORECASE)
_LUHN: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def passes_luhn(digits: str) -> bool:
    """Whether the check digit of a card number is right. Source: ISO/IEC 7812-1, annex B."""
    odd = sum(map(int, digits[-1::-2]))
    return (odd + sum(_LUHN[int(digit)] for digit in digits[-2::-2])) % 10 == 0


def _judge_card(data: bytes, spans: Spans) -> Finding | int:
    start, end = spans[0]
    before, after = data[max(0, start - 2) : start], data[end : end + 2]
    whole = not before[-1:].isdigit() and not after[:1].isdigit()
    fraction = (before[-1:] == b"." and before[:1].isdigit()) or (after[:1] == b"." and after[1:].isdigit())
    named = _TRACE_ID_BEFORE.search(data[max(0, start - 12) : start])
    if whole and not fraction and not named and not _follows_letter(data, start) and not after[:1].isalpha():
        for stop in (end, data.rfind(data[start + 4 : start + 5], start, end)):
            digits = "".join(map(chr, filter(lambda c: 48 <= c <= 57, data[start:stop])))
            if 13 <= len(digits) <= 19 and _ISSUERS.fullmatch(digits) and passes_luhn(digits):
                return Finding(start, stop, "card", digits.encode())
    return end if data[start:end].isdigit() else start + 5


CARD: Final = Family(_CARD_HINT, _CARD, _judge_card)
