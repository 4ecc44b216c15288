"""Properties that redaction has for any text, tenant and surroundings."""

from __future__ import annotations

import base64
import ipaddress

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from transforms.elements import DeadLetter, LogBatch, LogEntry
from transforms.redact.families import replace_findings
from transforms.redact.redactor import (
    BUILTIN_FAMILIES,
    CONTEXT_FIELDS,
    LINE_FIELDS,
    Redactor,
    _context,
    _line_fields,
)
from transforms.redact.settings import DemoKey, OperatorPattern, RedactSettings

REDACTOR = Redactor(
    RedactSettings(
        key=DemoKey(),
        operator_patterns=(OperatorPattern("digits", r"\d{5}"), OperatorPattern("any", "ä.+")),
    )
)
PLAIN = Redactor(RedactSettings(DemoKey()))

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
ALPHANUMERIC = LETTERS + "0123456789"


def characters(alphabet: str, least: int, most: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most)


def luhn_card(body: str) -> str:
    for check in "0123456789":
        digits = [int(c) for c in body + check]
        doubled = [2 * d - 9 * (d > 4) if i % 2 else d for i, d in enumerate(reversed(digits))]
        if sum(doubled) % 10 == 0:
            return body + check
    raise AssertionError


PASSWORDS = characters(ALPHANUMERIC + "!#$%*+/?^_@~", 9, 20).filter(
    # UNDEFINED is taken for no password at all, 8080/x for a port and a path
    lambda p: p[0].isalnum() and any(c.isdigit() for c in p) and not p.split("/")[0].isdigit()
)
SECRETS = st.one_of(
    characters(ALPHANUMERIC, 35, 35).map(lambda body: ("{}", "AI" + "za" + body)),
    characters(ALPHANUMERIC, 36, 36).map(lambda body: ("{}", "gh" + "p_" + body)),
    characters("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16, 16).map(lambda body: ("{}", "AK" + "IA" + body)),
    characters(ALPHANUMERIC, 20, 40).map(lambda body: ("{}", "ey" + "Jh" + body + "." + body + "." + body)),
    st.tuples(characters(ALPHANUMERIC, 4, 10), characters(LETTERS.lower(), 3, 12)).map(
        lambda parts: ("{}", f"{parts[0]}@{parts[1]}.example.org")
    ),
    st.ip_addresses(v=4)
    .filter(lambda ip: ip.packed[0] not in (0, 127, 255) and ip.packed[1:] != bytes(3))
    .map(lambda ip: ("{}", str(ip))),
    st.ip_addresses(v=6).filter(lambda ip: int(ip) > 2**64).map(lambda ip: ("{}", ip.exploded)),
    characters("0123456789", 14, 14).map(lambda body: ("{}", luhn_card("4" + body))),
    st.tuples(
        st.sampled_from(
            [
                "password={}",
                'db_password: "{}"',
                '{{"clientSecret":"{}"}}',
                r"{{\"api_key\":\"{}\"}}",
                "Authorization: Bearer {}",
                "?access_token={}",
                "--password {}",
                "mysql://app:{}@db/x",
                "<secret>{}</secret>",
                "session_id={}",
            ]
        ),
        PASSWORDS,
    ),
    characters(ALPHANUMERIC, 4, 12).map(
        lambda password: ("Authorization: Basic {}", base64.b64encode(f"joe:{password}".encode()).decode())
    ),
)
# What may stand before and after without changing what the secret is.
AROUND = st.sampled_from(
    ["", " ", "\n", "say ", ", ", "'", '"', "(", " 中文 ", "\t", "end. ", "=> ", " \U0001f600 "]
)
AFTER = AROUND.filter(lambda text: not text[:1].isalnum())
PIECES = [
    "<email:v1:0123456789>", "<token:v1:", "<ip:v1:01234", "56789>", "password=", "token:", "bearer ",
    "cookie: ", "Basic ", "sk-", "--", '"', "\\", "@", "a@b.co", "1.2.3.4", "::", "1:", "%40",
    "4111111111111111", "12345", "://", "u:p@", ";", ",", "&", "<", ">", "</", "x", "0", "é", "ä",
    "eyJaaaaaaaaaa", "-----BEGIN ",
    "-----END ", "PRIVATE KEY-----", " ", "\n", "\x1f", "\u200b", "\ud800",
]  # fmt: skip
HOSTILE = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=24).map("".join))


@given(HOSTILE)
def test_redacting_twice_changes_nothing(text: str) -> None:
    """Redaction is idempotent, on text made to confuse it too."""
    once = REDACTOR.text("tenant", text)
    assert REDACTOR.text("tenant", once) == once


@given(HOSTILE)
def test_redacting_a_cut_text_twice_changes_nothing(text: str) -> None:
    """Redaction of a payload's beginning is idempotent."""
    once = REDACTOR.cut_text("tenant", text)
    assert REDACTOR.cut_text("tenant", once) == once


@given(HOSTILE, HOSTILE, HOSTILE)
def test_the_prefilter_lets_nothing_through(text: str, before: str, after: str) -> None:
    """Whatever a family would replace, its hint sees: in the text and among other fields of its entry."""
    data = text.encode("utf-8", "replace")
    joined = "\x1f".join((before, text, after)).encode("utf-8", "replace")
    for index, family in enumerate(BUILTIN_FAMILIES):
        if replace_findings(family, data, lambda kind, value: b"") is not data:
            assert index in PLAIN._hints(data)
            assert index in PLAIN._hints(joined)


@given(SECRETS, AROUND, AFTER)
def test_no_piece_of_a_secret_survives(secret: tuple[str, str], before: str, after: str) -> None:
    """No eight characters in a row of a secret are left of it."""
    notation, value = secret
    text = before + notation.format(value) + after
    redacted = PLAIN.text("tenant", text)
    for i in range(len(value) - 7):
        if not notation.startswith(value[i : i + 8]):
            assert value[i : i + 8] not in redacted


@given(SECRETS, st.data())
def test_no_secret_survives_anywhere_in_a_batch(secret: tuple[str, str], data: st.DataObject) -> None:
    """Every text field of an entry and of a dead letter is redacted, a payload cut in the middle too."""
    notation, value = secret
    text = "say " + notation.format(value)
    names = data.draw(
        st.lists(st.sampled_from([*CONTEXT_FIELDS, *LINE_FIELDS, "principal", "remote_ip"]), min_size=1)
    )
    fields = {"service": "cart", "message": "hi", **dict.fromkeys(names, text)}
    letter = DeadLetter(
        dead_letter_id="id",
        tenant_id="tenant",
        stage="parse",
        reason="not JSON",
        detail=text,
        payload=text[: data.draw(st.integers(0, len(text)))],
        payload_bytes=len(text),
        receive_minute=0,
    )
    batch = LogBatch([LogEntry("tenant", event_time_ns=0, severity=0, **fields)], [letter])
    assert value[-9:] not in msgspec.json.encode(PLAIN.batch(batch)).decode()


@given(SECRETS, st.integers(1, 60))
def test_a_payload_cut_in_a_secret_keeps_little_of_it(secret: tuple[str, str], length: int) -> None:
    """Of a secret that was cut, at most what is too short to tell remains."""
    notation, value = secret
    assume(
        "@db" not in notation or "@" not in value
    )  # what follows the @ of a cut password looks like a host
    head = notation.split("{}")[0].replace("{{", "{")
    redacted = PLAIN.cut_text("tenant", "say " + head + value[:length])
    for i in range(min(length, len(value)) - 11):
        assert value[i : i + 12] not in redacted


@given(SECRETS)
def test_tenants_do_not_share_placeholders(secret: tuple[str, str]) -> None:
    """One value has different placeholders for two tenants, and the same one each time for one."""
    text = secret[0].format(secret[1])
    one, other = PLAIN.text("one", text), PLAIN.text("other", text)
    assert one != other
    assert one == Redactor(RedactSettings(DemoKey())).text("one", text)


@given(
    st.lists(st.sampled_from(["10.2.3.4", "joe@example.com", "a.b.C", "x", "7"]), max_size=8).map(" ".join)
)
def test_a_batch_is_redacted_like_its_texts(text: str) -> None:
    """An entry's message becomes what the message alone becomes, memo or not."""
    for _ in range(2):
        batch = LogBatch([LogEntry("t", "s", 0, 0, text, insert_id=text)])
        entry = PLAIN.batch(batch).entries[0]
        assert entry.message == entry.insert_id == PLAIN.text("t", text)


def test_no_text_field_is_left_out() -> None:
    """Every text of an entry is redacted, but its tenant and the hash of its shape."""
    entry = LogEntry("t", "", 0, 0, "")
    for name in (*CONTEXT_FIELDS, *LINE_FIELDS):
        setattr(entry, name, name)
    assert _context(entry) == ("t", *CONTEXT_FIELDS)
    assert _line_fields(entry) == LINE_FIELDS
    texts = {field.name for field in msgspec.structs.fields(LogEntry) if field.type is str}
    assert texts - {*CONTEXT_FIELDS, *LINE_FIELDS} == {"tenant_id", "principal", "remote_ip", "shape_id"}


@given(st.ip_addresses())
def test_addresses_are_redacted_in_their_own_field(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """The caller's address never stays readable unless it names no host."""
    redacted = PLAIN.remote_ip("t", str(ip))
    harmless = ip.is_loopback or ip.is_unspecified or (ip.version == 4 and ip.packed[0] in (0, 255))
    assert redacted.startswith("<ip:v1:") or harmless or ip.packed[1:] == bytes(3)


@given(
    st.ip_addresses(v=4).filter(lambda ip: ip.packed[0] not in (0, 127, 255) and ip.packed[1:] != bytes(3))
)
def test_a_plain_address_is_redacted_in_its_field_as_in_a_text(ip: ipaddress.IPv4Address) -> None:
    """The short way for plain addresses gives the placeholder that any text with it gets."""
    assert PLAIN.remote_ip("acme", str(ip)) == PLAIN.text("acme", str(ip))
