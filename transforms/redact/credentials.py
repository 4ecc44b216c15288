"""Families of secrets that show themselves: private keys, connection strings, tokens with a known form."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from transforms.redact.families import BOUNDARY, Family, Finding, Spans, compile_bytes

# -------------------------------------------------------------------------- private key blocks

_PEM: Final = compile_bytes(rb"-----(BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END: Final = compile_bytes(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_MATERIAL: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\ \r\n\t"
_LONGEST_KEY: Final = 16_384


def _judge_private_key(data: bytes, spans: Spans) -> Finding | int:
    start, end = spans[0]
    if data[spans[1][0] : spans[1][1]] == b"END":  # its beginning was in an earlier entry
        window = data[max(0, start - _LONGEST_KEY) : start]
        start -= len(window) - len(window.rstrip(_KEY_MATERIAL))
        return Finding(start, end, "private_key", data[start:end])
    closing = _PEM_END.search(data, end)
    # Without an end the block was cut: all of the rest may be key.
    end = len(data) if closing is None else closing[0][1]
    return Finding(start, end, "private_key", data[start:end])


PRIVATE_KEY: Final = Family(rb"PRIVATE KEY", _PEM, _judge_private_key)

# -------------------------------------------------------------------------- connection strings

_CONNECTION: Final = compile_bytes(
    rb"(?i)[a-z][a-z0-9+.-]*://([^\s/:@\"'<>]*:)|jdbc:oracle:[a-z0-9]{1,20}:([^/@\s\"']{1,128}/)"
)
_CONNECTION_HINT: Final = rb"(?i)://[^\s\"'<>]*@|jdbc:oracle:"
_AUTHORITY: Final = re.compile(rb"[^\s\"'<>]*")
_PORT: Final = re.compile(rb"\d{0,5}(?:/|\Z)")
_LONGEST_USERINFO: Final = 1024


def _judge_connection(data: bytes, spans: Spans) -> Finding | int:
    start = max(spans[1][0], spans[2][0])
    after_user = spans[0][1]
    run = _AUTHORITY.match(data, after_user, after_user + _LONGEST_USERINFO)
    rest = run.group() if run else b""
    if _PORT.match(rest):
        return after_user  # host:port, no password
    first_part = rest.split(b"/", 1)[0]
    at = first_part.rfind(b"@") if b"@" in first_part else rest.rfind(b"@")
    if at <= 0:
        return after_user
    end = after_user + at
    return Finding(start, end, "connection_string", data[start:end])


CONNECTION_STRING: Final = Family(_CONNECTION_HINT, _CONNECTION, _judge_connection)

# --------------------------------------------------------------------------------------- tokens

_JWT: Final = compile_bytes(rb"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}")


def _judge_jwt(data: bytes, spans: Spans) -> Finding | int:
    start, end = spans[0]
    return Finding(start, end, "jwt", data[start:end])


JWT: Final = Family(rb"eyJ[A-Za-z0-9_-]{8}", _JWT, _judge_jwt)

# Each: what it begins with, the characters that follow, and how many there are at least. A token at
# the very end of a text may have been cut: there one character is enough.
_UNMISTAKABLE: Final = (
    (rb"AIza", rb"[\w-]", 20),  # Google API key
    (rb"ya29\.", rb"[\w.-]", 10),  # Google OAuth access token
    (rb"GOCSPX-", rb"[\w-]", 10),  # Google OAuth client secret
    (rb"gh[opusr]_", rb"[A-Za-z0-9]", 16),  # GitHub
    (rb"github_pat_", rb"\w", 16),
    (rb"gl(?:pat|ptt|dt|rt|cbt|ft|soat)-", rb"[\w.-]", 16),  # GitLab
    (rb"xox[a-z]-", rb"[\w-]", 8),  # Slack
    (rb"xapp-", rb"[\w-]", 8),
    (rb"hooks\.slack\.com/(?:services|workflows)/", rb"[\w/-]", 8),
    (rb"[rsp]k_(?:live|test)_", rb"\w", 8),  # Stripe
    (rb"whsec_", rb"[\w+/=]", 8),
    (rb"sk-(?:proj|svcacct|admin|ant|or)-", rb"[\w-]", 16),  # OpenAI, Anthropic, OpenRouter
    (rb"pypi-AgE", rb"[\w-]", 16),
    (rb"hvs\.", rb"[\w-]", 16),  # HashiCorp Vault
    (rb"dop_v1_", rb"[0-9a-f]", 16),  # DigitalOcean
    (rb"shp(?:at|ca|pa|ss)_", rb"[0-9a-fA-F]", 16),  # Shopify
)
_AFTER_BOUNDARY: Final = (
    (rb"A(?:KIA|SIA|BIA|CCA|GPA|IDA|ROA)", rb"[A-Z0-9]", 12),  # AWS
    (rb"sk-", rb"[A-Za-z0-9]", 20),  # OpenAI, first generation
    (rb"SG\.", rb"[\w.-]", 20),  # SendGrid
    (rb"npm_", rb"[A-Za-z0-9]", 20),
    (rb"hf_", rb"[A-Za-z0-9]", 20),  # Hugging Face
    (rb"1//0", rb"[\w-]", 20),  # Google OAuth refresh token
    (rb"dapi", rb"[0-9a-f]", 32),  # Databricks
    (rb"SK", rb"[0-9a-f]", 32),  # Twilio
    (rb"\d{8,10}:AA", rb"[\w-]", 30),  # Telegram bot
)


def _forms(table: tuple[tuple[bytes, bytes, int], ...]) -> bytes:
    return b"|".join(b"%s(?:%s{%d,}|%s+\\z)" % (head, body, least, body) for head, body, least in table)


def _hints(table: tuple[tuple[bytes, bytes, int], ...]) -> bytes:
    # \z does not hold inside a joined text: a control character may follow there as well
    return b"|".join(
        b"%s(?:%s{%d}|%s+(?:\\z|[\\x00-\\x1f]))" % (head, body, least, body) for head, body, least in table
    )


_KNOWN_TOKEN: Final = compile_bytes(
    rb"(" + _forms(_UNMISTAKABLE) + rb")|" + BOUNDARY + rb"(" + _forms(_AFTER_BOUNDARY) + rb")"
)


def _judge_known_token(data: bytes, spans: Spans) -> Finding | int:
    start, end = spans[1] if spans[1][0] >= 0 else spans[2]
    return Finding(start, end, "key", data[start:end])


KNOWN_TOKEN: Final = Family(
    _hints(_UNMISTAKABLE) + rb"|" + BOUNDARY + rb"(?:" + _hints(_AFTER_BOUNDARY) + rb")",
    _KNOWN_TOKEN,
    _judge_known_token,
)

_SCHEME: Final = compile_bytes(rb"(?i)(bearer|basic|negotiate)(?:[ \t]|\+|%20)+([A-Za-z0-9._~+/=%-]{4,})")


def _looks_random(token: bytes) -> bool:
    # words ("basic authentication", "Bearer Token") must stay
    has_digit = any(48 <= c <= 57 for c in token)
    return len(token) >= 8 and (has_digit or b"=" in token or not (token[1:].islower() or token.isupper()))


def _judge_scheme(data: bytes, spans: Spans) -> Finding | int:
    start, end = spans[2]
    token = data[start:end]
    if data[spans[1][0] : spans[1][1]].lower() == b"basic":
        try:
            credentials = b":" in base64.b64decode(token + b"=" * (-len(token) % 4), validate=True)
        except (binascii.Error, ValueError):
            credentials = False
        if credentials:
            return Finding(start, end, "token", token)
    if not _looks_random(token):
        return end
    return Finding(start, end, "token", token)


SCHEME: Final = Family(
    rb"(?i)(?:bearer|basic|negotiate)(?:[ \t]|\+|%20)+[A-Za-z0-9._~+/=%-]{4}", _SCHEME, _judge_scheme
)
