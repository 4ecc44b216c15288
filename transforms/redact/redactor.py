"""Redaction of texts, log entries and dead letters: the pure core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import re2

from transforms.elements import DeadLetter, LogBatch, LogEntry
from transforms.redact import assignments, credentials, personal
from transforms.redact.families import BytePattern, Family, Finding, Spans, compile_bytes, replace_findings
from transforms.redact.placeholders import PLACEHOLDER_SYNTAX, PlaceholderMint, Stash
from transforms.redact.settings import RedactSettings

# In this order: what can hold others comes first, so that a password with an @ is one password.
BUILTIN_FAMILIES: Final = (
    credentials.PRIVATE_KEY,
    credentials.CONNECTION_STRING,
    assignments.ASSIGNMENT,
    credentials.SCHEME,
    credentials.JWT,
    credentials.KNOWN_TOKEN,
    personal.EMAIL,
    personal.IPV6,
    personal.IPV4,
    personal.CARD,
)

_FIRST_PERSONAL: Final = BUILTIN_FAMILIES.index(personal.EMAIL)

# Zero-width and soft-hyphen characters: they hide a secret from a pattern, not from a reader.
_INVISIBLE: Final = dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x2060, 0x2065), 0xFEFF])
_INVISIBLE_HINT: Final = rb"\xc2\xad|\xe2\x80[\x8b-\x8f]|\xe2\x81[\xa0-\xa4]|\xef\xbb\xbf"

_PASSES: Final = 6
_MEMO_ENTRIES: Final = 50_000
_SHORT: Final = 256
_SET_MEMORY: Final = 64 << 20
_FIELD_SEPARATOR: Final = "\x1f"

TEXT_FIELDS: Final = (
    "message",
    "service",
    "insert_id",
    "log_name",
    "endpoint",
    "instance",
    "revision",
    "trace_id",
    "span_id",
    "parent_span_id",
    "method_name",
    "peer_service",
    "exception",
    "frames",
    "deploy",
    "shape",
)
"""Fields of LogEntry searched for credentials. `principal` and `remote_ip` are replaced as a whole."""

_NOT_ADDRESSES: Final = frozenset(
    {"private", "gce-internal-ip", "unknown", "-"}
)  # Cloud audit logs' own words

# The end of a cut payload that may be the first half of an address, a number or a login.
_CUT: Final = compile_bytes(
    rb"(?i)(?:[\w.%+'-]+(?:@|%(?:25)*40)[\w.%-]*|[0-9a-f]*:[0-9a-f:.]*|\d[\d .-]*"
    rb"|://[^\s/:@\"'<>]*:[^\s\"'<>]*)\z"
)
_LONGEST_CUT: Final = 512


class Redactor:
    """Replaces secrets and personal data by keyed placeholders. Not safe for use by several threads."""

    def __init__(self, settings: RedactSettings) -> None:
        self._mint = PlaceholderMint(settings)
        self._memo: dict[tuple[str, str, str], str] = {}
        self._hints = _hint_set([*(family.hint for family in BUILTIN_FAMILIES), _INVISIBLE_HINT])
        self._operators = [
            _operator_family(pattern.kind, pattern.compile()) for pattern in settings.operator_patterns
        ]
        # A set of its own, because operators write for characters and the built-in hints are for bytes.
        self._operator_hints = (
            _operator_hint_set([pattern.pattern for pattern in settings.operator_patterns])
            if self._operators
            else None
        )

    def text(self, tenant_id: str, text: str) -> str:
        """`text` with everything found replaced; the same object when there is nothing.

        Redacting the result again changes nothing. Lone surrogates, which no store takes, become
        question marks.
        """
        try:
            data = text.encode()
        except UnicodeEncodeError:
            data = text.encode("utf-8", "replace")
            text = data.decode()
        if not self._is_suspicious(data):
            return text
        redacted = self._redact(tenant_id, data)
        return text if redacted == data else redacted.decode()

    def cut_text(self, tenant_id: str, text: str) -> str:
        """`text` redacted as the beginning of something longer: half an address at its end goes too.

        What is cut away is replaced by an ellipsis.
        """
        data = self.text(tenant_id, text).encode()
        tail = max(0, len(data) - _LONGEST_CUT)
        spans = _CUT.search(data, tail)
        if spans is None:
            return data.decode()
        return self.text(tenant_id, data[: spans[0][0]].decode("utf-8", "ignore") + "…")

    def principal(self, tenant_id: str, principal: str) -> str:
        """Who did it, as a placeholder: an e-mail address as such, any other id of kind `user`.

        Stays readable: what names software by construction, namely Kubernetes' own `system:`
        identities and Google's service agents, whose ids hold a project number only.
        """
        redacted = self.text(tenant_id, principal)
        if not principal or _PRINCIPAL.fullmatch(redacted):
            return redacted
        return self._whole(tenant_id, "user", principal)

    def remote_ip(self, tenant_id: str, remote_ip: str) -> str:
        """The caller's address as a placeholder; what is no address is not believed to be harmless."""
        redacted = self.text(tenant_id, remote_ip)
        if not remote_ip or remote_ip in _NOT_ADDRESSES or _ADDRESS.fullmatch(redacted):
            return redacted
        return self._whole(tenant_id, "ip", remote_ip)

    def batch(self, batch: LogBatch) -> LogBatch:
        """Redact every stored text of `batch` in place, dead letters included, and return it."""
        match, operator_hints = self._hints, self._operator_hints
        known, remember = self._memo.get, self._remembered
        for entry in batch.entries:
            tenant_id = entry.tenant_id
            if address := entry.remote_ip:
                entry.remote_ip = known(("remote_ip", tenant_id, address)) or remember(
                    "remote_ip", tenant_id, address
                )
            if principal := entry.principal:
                entry.principal = known(("principal", tenant_id, principal)) or remember(
                    "principal", tenant_id, principal
                )
            # One look at all fields together costs less than a look at each.
            joined = _FIELD_SEPARATOR.join(_text_fields(entry))
            try:
                data = joined.encode()
            except UnicodeEncodeError:
                self._redact_fields(entry)
                continue
            if match(data) or (operator_hints is not None and operator_hints(data)):
                self._redact_fields(entry)
        batch.dead_letters = [self.dead_letter(letter) for letter in batch.dead_letters]
        return batch

    def dead_letter(self, letter: DeadLetter) -> DeadLetter:
        """The dead letter with payload, detail and reason redacted.

        Its id was made from the raw payload, which could be guessed from it: it is keyed here.
        """
        tenant_id = letter.tenant_id
        return msgspec.structs.replace(
            letter,
            dead_letter_id=self._mint.keyed_digest(
                tenant_id, letter.dead_letter_id.encode("utf-8", "replace")
            ),
            reason=self.text(tenant_id, letter.reason),
            detail=self.text(tenant_id, letter.detail),
            payload=self.cut_text(tenant_id, letter.payload),
        )

    def _redact_fields(self, entry: LogEntry) -> None:
        for name in TEXT_FIELDS:
            value = getattr(entry, name)
            if value:
                setattr(entry, name, self._remembered("text", entry.tenant_id, value))

    def _remembered(self, method: str, tenant_id: str, value: str) -> str:
        """What the method of that name makes of `value`, remembered for short values."""
        if len(value) > _SHORT:
            return str(getattr(self, method)(tenant_id, value))
        key = (method, tenant_id, value)
        redacted = self._memo.get(key)
        if redacted is None:
            if len(self._memo) >= _MEMO_ENTRIES:
                self._memo.clear()
            redacted = self._memo[key] = getattr(self, method)(tenant_id, value)
        return redacted

    def _whole(self, tenant_id: str, kind: str, value: str) -> str:
        return self._mint.mint(tenant_id, kind, value.encode("utf-8", "replace")).decode()

    def _is_suspicious(self, data: bytes) -> bool:
        return bool(self._hints(data)) or (
            self._operator_hints is not None and bool(self._operator_hints(data))
        )

    def _redact(self, tenant_id: str, data: bytes) -> bytes:
        once = self._redact_until_stable(tenant_id, data)
        if once.isascii():
            return once
        visible = once.decode().translate(_INVISIBLE).encode()
        again = self._redact_until_stable(tenant_id, visible)
        return once if again == visible else again

    def _redact_until_stable(self, tenant_id: str, data: bytes) -> bytes:
        """Passes until one changes nothing, which is what makes redaction idempotent.

        Each pass leaves fewer bytes outside placeholders. A text made to need many passes is
        replaced as a whole.
        """
        stash = Stash()
        mint = self._mint.mint

        def replace(kind: str, value: bytes) -> bytes:
            return stash.mark(mint(tenant_id, kind, stash.show(value)))

        hidden = stash.hide(data)
        for _ in range(_PASSES):
            before = hidden
            for family in self._due_families(hidden):
                hidden = replace_findings(family, hidden, replace)
            if hidden is before:
                return stash.show(hidden)
        return self._mint.mint(tenant_id, "text", data)

    def _due_families(self, data: bytes) -> list[Family]:
        hints = self._hints(data)
        if not hints and self._operator_hints is None:
            return []
        families = [BUILTIN_FAMILIES[i] for i in sorted(hints) if i < len(BUILTIN_FAMILIES)]
        if self._operator_hints is not None:
            secrets_due = sum(i < _FIRST_PERSONAL for i in hints)
            families[secrets_due:secrets_due] = [
                self._operators[i] for i in sorted(self._operator_hints(data))
            ]
        return families


_PRINCIPAL: Final = re2.compile(
    rf"(?:(?:user|serviceAccount|group|deleted):)*{PLACEHOLDER_SYNTAX}(?:\?uid=\d+)?|system:[\w:.-]*"
    r"|(?:serviceAccount:)?[\w.-]+@[\w.-]+\.gserviceaccount\.com"
)
_ADDRESS: Final = re2.compile(
    rf"\[?{PLACEHOLDER_SYNTAX}\]?(?:%[\w.-]+)?(?::\d+)?|(?:127|0)\.[\d.]+(?::\d+)?|\[?::1?\]?(?::\d+)?"
)


def _text_fields(entry: LogEntry) -> tuple[str, ...]:
    # the same as TEXT_FIELDS, spelled out: attrgetter and a loop take twice as long
    return (
        entry.message,
        entry.service,
        entry.insert_id,
        entry.log_name,
        entry.endpoint,
        entry.instance,
        entry.revision,
        entry.trace_id,
        entry.span_id,
        entry.parent_span_id,
        entry.method_name,
        entry.peer_service,
        entry.exception,
        entry.frames,
        entry.deploy,
        entry.shape,
    )


def _operator_family(kind: str, pattern: re2._Regexp) -> Family:
    group = pattern.groups  # 0 for the whole match, or the one group

    def judge(data: bytes, spans: Spans) -> Finding | int:
        start, end = spans[group]
        if start >= end:
            return spans[0][1]
        return Finding(start, end, kind, data[start:end])

    return Family(b"", BytePattern(pattern), judge)


def _hint_set(patterns: list[bytes]) -> Callable[[bytes], list[int]]:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    return _compile_set(patterns, options)


def _operator_hint_set(patterns: list[str]) -> Callable[[bytes], list[int]]:
    options = re2.Options()
    options.never_capture = True
    return _compile_set([pattern.encode() for pattern in patterns], options)


def _compile_set(patterns: list[bytes], options: re2.Options) -> Callable[[bytes], list[int]]:
    options.max_mem = _SET_MEMORY
    prefilter = re2.Set.SearchSet(options)
    for pattern in patterns:
        prefilter.Add(pattern)
    prefilter.Compile()
    # the method of the extension itself: its Python wrapper costs as much as a short line
    match: Callable[[bytes], list[int]] = prefilter._set.Match
    return match
