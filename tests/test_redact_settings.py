"""Settings of redaction and the keys derived from them."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from transforms.redact.placeholders import derive_tenant_key, hkdf_sha256
from transforms.redact.redactor import Redactor
from transforms.redact.settings import DemoKey, OperatorPattern, RedactSettings

KEY = bytes(range(32))


class FixedKey(msgspec.Struct, frozen=True):
    key: bytes

    def read(self) -> bytes:
        return self.key


def test_a_short_key_is_refused_and_not_shown() -> None:
    """The error says how to make a key, and nothing of the one that it refuses."""
    with pytest.raises(ValueError, match="openssl rand") as error:
        Redactor(RedactSettings(FixedKey(b"short one")))
    assert "short one" not in str(error.value)


def test_settings_survive_pickling() -> None:
    """Beam ships settings to its workers."""
    settings = RedactSettings(DemoKey(), operator_patterns=(OperatorPattern("employee_id", "EMP-[0-9]+"),))
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(
    ("kind", "pattern", "message"),
    [
        ("Employee", "x", "characters a-z and _"),
        ("", "x", "characters a-z and _"),
        ("a1", "x", "characters a-z and _"),
        ("a" * 33, "x", "1 to 32"),
        ("employee", "(", "not valid RE2"),
        ("employee", "(?=x)", "look-around"),
        ("employee", r"(a)\1", "not valid RE2"),
        ("employee", "x*", "empty string"),
        ("employee", r"\b", "empty string"),
        ("employee", "", "empty string"),
        ("employee", "(a)(b)", "2 capturing groups"),
        ("employee", r"(?:\pL{1,500}){1,2}", "too large"),
    ],
)
def test_a_wrong_operator_pattern_is_refused_with_its_kind(kind: str, pattern: str, message: str) -> None:
    """The error names the kind, the cause and the mend."""
    with pytest.raises(ValueError, match=message) as error:
        RedactSettings(DemoKey(), operator_patterns=(OperatorPattern(kind, pattern),))
    assert repr(kind) in str(error.value)


@pytest.mark.parametrize("version", [0, -1, 1_000_000])
def test_a_key_version_has_to_fit_the_placeholder(version: int) -> None:
    """Versions are numbers of one to six digits."""
    with pytest.raises(ValueError, match="key_version"):
        RedactSettings(DemoKey(), key_version=version)


def test_hkdf_agrees_with_its_standard() -> None:
    """The first 32 bytes of RFC 5869's test cases 1 and 3."""
    first = hkdf_sha256(b"\x0b" * 22, salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA)))
    assert first.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    third = hkdf_sha256(b"\x0b" * 22, salt=b"", info=b"")
    assert third.hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"


def test_keys_differ_by_tenant_and_master() -> None:
    """A tenant's key depends on both, so neither tenants nor rotations share placeholders."""
    keys = {derive_tenant_key(master, tenant) for master in (KEY, KEY[::-1]) for tenant in ("", "a", "b")}
    assert len(keys) == 6
    assert all(len(key) == 32 for key in keys)


def test_a_new_key_version_shows_in_every_placeholder() -> None:
    """After a rotation old and new placeholders can be told apart."""
    redactor = Redactor(RedactSettings(FixedKey(KEY), key_version=7))
    assert redactor.text("t", "joe@example.com").startswith("<email:v7:")
