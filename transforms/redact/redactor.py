"""Redaction of texts, log entries and dead letters: the pure core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
_LONGEST_REMEMBERED: Final = 1024
_LINES_PER_LOOK: Final = 8
_SET_MEMORY: Final = 64 << 20
_FIELD_SEPARATOR: Final = "\x1f"

CONTEXT_FIELDS: Final = (
    "service",
    "log_name",
    "endpoint",
    "instance",
    "revision",
    "method_name",
    "peer_service",
    "deploy",
    "exception",
)
"""Texts of a LogEntry that repeat from line to line: remembered together."""

LINE_FIELDS: Final = ("message", "insert_id", "trace_id", "span_id", "parent_span_id", "frames", "shape")
"""Texts that each line has of its own. `principal` and `remote_ip` are replaced as a whole."""

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
    """Replaces secrets and personal data by keyed placeholders. Not safe for use by several threads.

    It reads the master key: made where it is used, and never pickled.
    """

    def __init__(self, settings: RedactSettings) -> None:
        self._mint = PlaceholderMint(settings)
        self._memo: dict[tuple[str, str, str], str] = {}
        self._contexts: dict[tuple[str, ...], list[tuple[str, str]]] = {}
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
        due = self._due_families(data)
        if due is None:
            return text
        redacted = self._redact(tenant_id, data, due)
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
        if not self._operators and (octets := personal.plain_ipv4(remote_ip)):
            return self._whole(tenant_id, "ip", octets)  # what `text` would say, found in a tenth of the time
        redacted = self.text(tenant_id, remote_ip)
        if not remote_ip or remote_ip in _NOT_ADDRESSES or _ADDRESS.fullmatch(redacted):
            return redacted
        return self._whole(tenant_id, "ip", remote_ip)

    def batch(self, batch: LogBatch) -> LogBatch:
        """Redact every stored text of `batch` in place, dead letters included, and return it."""
        contexts, known = self._contexts.get, self._memo.get
        lines: list[str] = []
        for entry in batch.entries:
            tenant_id = entry.tenant_id
            context = _context(entry)
            changes = contexts(context)
            for name, value in self._context_changes(context) if changes is None else changes:
                setattr(entry, name, value)
            if address := entry.remote_ip:
                key = ("remote_ip", tenant_id, address)
                entry.remote_ip = known(key) or self._remember(key)
            if principal := entry.principal:
                key = ("principal", tenant_id, principal)
                entry.principal = known(key) or self._remember(key)
            lines.append(_FIELD_SEPARATOR.join(_line_fields(entry)))
        for entry in self._suspects(batch.entries, lines):
            self._redact_line(entry)
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

    def _suspects(self, entries: list[LogEntry], lines: list[str]) -> Iterator[LogEntry]:
        """Entries with something to redact in their own fields, which stand joined in `lines`.

        Most lines are clean, and a look costs more than the bytes it looks at: so lines are looked
        at in groups, and one by one only in a group with a finding.
        """
        for start in range(0, len(lines), _LINES_PER_LOOK):
            group = lines[start : start + _LINES_PER_LOOK]
            if self._operator_hints is None and self._has_no_hint(_FIELD_SEPARATOR.join(group)):
                continue
            for entry, line in zip(entries[start : start + _LINES_PER_LOOK], group, strict=True):
                # Operators may anchor their patterns to the ends of a text, so theirs see each field.
                if not self._has_no_hint(line) or not self._is_clean_for_operators(entry):
                    yield entry

    def _has_no_hint(self, text: str) -> bool:
        try:
            return not self._hints(text.encode())
        except UnicodeEncodeError:
            return False

    def _redact_line(self, entry: LogEntry) -> None:
        for name in LINE_FIELDS:
            setattr(entry, name, self.text(entry.tenant_id, getattr(entry, name)))

    def _is_clean_for_operators(self, entry: LogEntry) -> bool:
        hints = self._operator_hints
        if hints is None:
            return True
        return not any(hints(field.encode("utf-8", "replace")) for field in _line_fields(entry) if field)

    def _context_changes(self, context: tuple[str, ...]) -> list[tuple[str, str]]:
        """Names and redacted values of those context fields that redaction changes."""
        tenant_id, *values = context
        redacted = [self.text(tenant_id, value) for value in values]
        changes = [
            (name, new) for name, old, new in zip(CONTEXT_FIELDS, values, redacted, strict=True) if new != old
        ]
        if sum(map(len, context)) <= _LONGEST_REMEMBERED:
            if len(self._contexts) >= _MEMO_ENTRIES:
                self._contexts.clear()
            self._contexts[context] = changes
        return changes

    def _remember(self, key: tuple[str, str, str]) -> str:
        """What the method `key[0]` makes of tenant `key[1]`'s value `key[2]`, remembered if short."""
        method, tenant_id, value = key
        redacted = (
            self.principal(tenant_id, value) if method == "principal" else self.remote_ip(tenant_id, value)
        )
        if len(value) <= _LONGEST_REMEMBERED:
            if len(self._memo) >= _MEMO_ENTRIES:
                self._memo.clear()
            self._memo[key] = redacted
        return redacted

    def _whole(self, tenant_id: str, kind: str, value: str) -> str:
        return self._mint.mint(tenant_id, kind, value.encode("utf-8", "replace")).decode()

    def _redact(self, tenant_id: str, data: bytes, due: list[Family]) -> bytes:
        once = self._redact_until_stable(tenant_id, data, due)
        if once.isascii():
            return once
        visible = once.decode().translate(_INVISIBLE).encode()
        again = self._redact_until_stable(tenant_id, visible, self._due_families(visible))
        return once if again == visible else again

    def _redact_until_stable(self, tenant_id: str, data: bytes, due: list[Family] | None) -> bytes:
        """Passes until one changes nothing, which is what makes redaction idempotent.

        Each pass leaves fewer bytes outside placeholders. A text made to need many passes is
        replaced as a whole.
        """
        stash = Stash()
        mint = self._mint.mint

        def replace(kind: str, value: bytes) -> bytes:
            return stash.mark(mint(tenant_id, kind, stash.show(value)))

        hidden = stash.hide(data)
        if hidden is not data:
            due = self._due_families(hidden)
        for _ in range(_PASSES):
            before = hidden
            for family in due or ():
                hidden = replace_findings(family, hidden, replace)
            if hidden is before:
                return stash.show(hidden)
            due = self._due_families(hidden)
        return self._mint.mint(tenant_id, "text", data)

    def _due_families(self, data: bytes) -> list[Family] | None:
        """Families whose hints fire, in the order of their work; None when there is nothing at all."""
        hints = self._hints(data)
        operators = self._operator_hints(data) if self._operator_hints is not None else ()
        if not hints and not operators:
            return None
        families = [BUILTIN_FAMILIES[i] for i in sorted(hints) if i < len(BUILTIN_FAMILIES)]
        if operators:
            first_personal = sum(i < _FIRST_PERSONAL for i in hints)
            families[first_personal:first_personal] = [self._operators[i] for i in sorted(operators)]
        return families


_PRINCIPAL: Final = re2.compile(
    rf"(?:(?:user|serviceAccount|group|deleted):)*{PLACEHOLDER_SYNTAX}(?:\?uid=\d+)?|system:[\w:.-]*"
    r"|(?:serviceAccount:)?[\w.-]+@[\w.-]+\.gserviceaccount\.com"
)
_ADDRESS: Final = re2.compile(
    rf"\[?{PLACEHOLDER_SYNTAX}\]?(?:%[\w.-]+)?(?::\d+)?|(?:127|0)\.[\d.]+(?::\d+)?|\[?::1?\]?(?::\d+)?"
)


# The fields spelled out: a loop over the names takes twice as long. A test holds them to the names.
def _context(entry: LogEntry) -> tuple[str, ...]:
    return (
        entry.tenant_id,
        entry.service,
        entry.log_name,
        entry.endpoint,
        entry.instance,
        entry.revision,
        entry.method_name,
        entry.peer_service,
        entry.deploy,
        entry.exception,
    )


def _line_fields(entry: LogEntry) -> tuple[str, ...]:
    return (
        entry.message,
        entry.insert_id,
        entry.trace_id,
        entry.span_id,
        entry.parent_span_id,
        entry.frames,
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
