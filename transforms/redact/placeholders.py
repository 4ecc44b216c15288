"""Keyed placeholders, and how they are kept out of the way while a text is redacted."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from transforms.redact.families import compile_bytes
from transforms.redact.settings import RedactSettings, check_master_key

_SALT: Final = b"aiops redaction"
_MEMO_ENTRIES: Final = 50_000
_TENANT_KEYS: Final = 10_000

PLACEHOLDER_SYNTAX: Final = r"<[a-z][a-z_]{0,31}:v\d{1,6}:[0-9a-f]{10}>"
_PLACEHOLDER: Final = compile_bytes(PLACEHOLDER_SYNTAX.encode())


def derive_tenant_key(master_key: bytes, tenant_id: str) -> bytes:
    """The 32-byte key of one tenant: HKDF-SHA256 with the tenant's id as `info`. Source: RFC 5869."""
    return hkdf_sha256(master_key, salt=_SALT, info=tenant_id.encode("utf-8", "surrogatepass"))


def hkdf_sha256(key: bytes, *, salt: bytes, info: bytes) -> bytes:
    """One block (32 bytes) of HKDF with SHA-256. Source: RFC 5869, sections 2.2 and 2.3."""
    extracted = hmac.digest(salt, key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


class PlaceholderMint:
    """Makes `<kind:v1:0123abcd45>`: equal for equal values within a tenant, unrelated across tenants.

    Raises what reading the key raises, and ValueError where it is too short.
    """

    def __init__(self, settings: RedactSettings) -> None:
        self._master_key = check_master_key(settings.key.read())
        self._version = settings.key_version
        self._tenant_keys: dict[str, bytes] = {}
        self._memo: dict[tuple[str, str, bytes], bytes] = {}

    def mint(self, tenant_id: str, kind: str, value: bytes) -> bytes:
        """The placeholder for `value`. Of a million values of a tenant, two share one as likely as not."""
        memo_key = (tenant_id, kind, value)
        placeholder = self._memo.get(memo_key)
        if placeholder is None:
            digits = self.keyed_digest(tenant_id, kind.encode() + b"\x00" + value)[:10]
            placeholder = f"<{kind}:v{self._version}:{digits}>".encode()
            if len(value) <= 256:
                if len(self._memo) >= _MEMO_ENTRIES:
                    self._memo.clear()
                self._memo[memo_key] = placeholder
        return placeholder

    def keyed_digest(self, tenant_id: str, value: bytes) -> str:
        """32 hex digits that cannot be traced back to `value` without the tenant's key."""
        key = self._tenant_keys.get(tenant_id)
        if key is None:
            if len(self._tenant_keys) >= _TENANT_KEYS:
                self._tenant_keys.clear()
            key = self._tenant_keys[tenant_id] = derive_tenant_key(self._master_key, tenant_id)
        return hashlib.blake2b(value, key=key, digest_size=16).hexdigest()


class Stash:
    """Placeholders of one text, each replaced by a mark that no pattern can look into.

    A mark is made of the bytes F7 to FF, which UTF-8 never uses: patterns in UTF-8 mode cannot
    match it at all, byte patterns see one odd word. So nothing in a placeholder is redacted again.
    """

    _DIGITS: Final = 8  # of base 8: 16 million placeholders, more than the longest line can hold
    _HIGH: Final = bytes.maketrans(b"01234567", bytes(range(0xF8, 0x100)))

    def __init__(self) -> None:
        self._marks: dict[bytes, bytes] = {}
        self._placeholders: dict[bytes, bytes] = {}

    def mark(self, placeholder: bytes) -> bytes:
        """The mark that stands for `placeholder`."""
        mark = self._marks.get(placeholder)
        if mark is None:
            octal = b"%0*o" % (self._DIGITS, len(self._marks))
            mark = b"\xf7" + octal.translate(self._HIGH)
            self._marks[placeholder] = mark
            self._placeholders[mark[1:]] = placeholder
        return mark

    def hide(self, data: bytes) -> bytes:
        """`data` with every placeholder replaced by its mark."""
        if b"<" not in data:
            return data
        pieces = []
        end = 0
        while (spans := _PLACEHOLDER.search(data, end)) is not None:
            start, stop = spans[0]
            pieces += [data[end:start], self.mark(data[start:stop])]
            end = stop
        pieces.append(data[end:])
        return b"".join(pieces)

    def show(self, data: bytes) -> bytes:
        """`data` with every mark replaced by its placeholder."""
        if b"\xf7" not in data:
            return data
        first, *rest = data.split(b"\xf7")
        pieces = [first]
        for piece in rest:
            pieces += [self._placeholders[piece[: self._DIGITS]], piece[self._DIGITS :]]
        return b"".join(pieces)


def is_only_marks(data: bytes) -> bool:
    """Whether there is nothing but marks of placeholders in `data`."""
    return all(byte >= 0xF7 for byte in data)
