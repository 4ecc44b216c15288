"""EntryParser: whole batches, the ledger, times, tenants, filters and hostile input."""

from __future__ import annotations

import json
import string
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.dead_letters import MAX_DEAD_LETTER_BYTES
from transforms.elements import SEVERITY_NUMBERS, LogBatch, LogEntry, PayloadBatch
from transforms.parse.parser import EntryParser
from transforms.parse.settings import ParseSettings
from transforms.timestamps import YEAR_2000_NS, TimestampParser

NOW = "2024-06-01T12:00:00Z"
NOW_NS = 1_717_243_200_000_000_000


def make_parser(**settings: Any) -> EntryParser:
    return EntryParser(ParseSettings(**{"now_ns": NOW_NS, **settings}))


def make_entry(**fields: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "logName": "projects/acme/logs/stdout",
        "timestamp": "2024-06-01T11:00:00.000000001Z",
        "resource": {"type": "cloud_run_revision", "labels": {"service_name": "checkout"}},
        "textPayload": "order placed",
    }
    entry.update(fields)
    return {name: value for name, value in entry.items() if value is not ...}


def parse_all(payloads: list[bytes], parser: EntryParser | None = None, **batch: Any) -> LogBatch:
    return (parser or make_parser()).parse_batch(PayloadBatch(payloads, **batch))


def parse_one(entry: dict[str, Any], **settings: Any) -> LogEntry:
    batch = parse_all([json.dumps(entry).encode()], make_parser(**settings))
    assert not batch.dead_letters, batch.dead_letters
    return batch.entries[0]


def refuse_one(payload: bytes, **settings: Any) -> str:
    batch = parse_all([payload], make_parser(**settings))
    assert not batch.entries
    return batch.dead_letters[0].reason


def is_balanced(batch: LogBatch, payloads: int) -> bool:
    received = sum(delta.received for delta in batch.ledger)
    away = sum(delta.late + delta.filtered for delta in batch.ledger)
    return received == payloads == len(batch.entries) + len(batch.dead_letters) + away


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"2024-06-01 ERROR plain text", "not_json"),
        (b'{"textPayload": "cut of', "not_json"),
        (b'{"jsonPayload": {"a": NaN}}', "not_json"),
        (b"{} {}", "not_json"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"17", "not_an_object"),
        (b'{"textPayload": "\xff\xfe"}', "bad_utf8"),
        (b'{"unknown": "\xc3"}', "bad_utf8"),
        (b'{"a":' * 100_000, "too_deep"),
        (b"[" * 100_000, "too_deep"),
        (b'{"jsonPayload":' + b'{"a":' * 100_000, "too_deep"),
        (b'{"resource":' + b"[" * 100_000, "too_deep"),
        (b'{"jsonPayload": {"a": ' + b"[" * 150 + b"]" * 150 + b"}}", "too_deep"),
        (b'{"jsonPayload": {"a": ' + b"9" * 5000 + b"}}", "number_out_of_range"),
        (b'{"jsonPayload": {"a": 1e400}}', "number_out_of_range"),
        (b'{"timestamp": "2024-06-01T11:00:00Z", "textPayload": {"a": 1}}', "wrong_type"),
        (b'{"timestamp": "2024-06-01T11:00:00Z", "jsonPayload": "text"}', "wrong_type"),
        (b'{"timestamp": "2024-06-01T11:00:00Z", "resource": "vm"}', "wrong_type"),
        (b'{"timestamp": "2024-06-01T11:00:00Z", "labels": [1]}', "wrong_type"),
        (b'{"timestamp": "2024-06-01T11:00:00Z", "severity": []}', "wrong_type"),
        (b'{"timestamp": "2024-06-01T11:00:00Z", "httpRequest": {"status": {}}}', "wrong_type"),
        (b'{"timestamp": {"when": 1}}', "wrong_type"),
        (b"{}", "no_timestamp"),
        (b'{"textPayload": "no time"}', "no_timestamp"),
        (b'{"textPayload": "no time", "receiveTimestamp": "soon"}', "no_timestamp"),
        (b'{"timestamp": "yesterday"}', "bad_timestamp"),
        (b'{"timestamp": "2024-13-45T00:00:00Z"}', "bad_timestamp"),
        (b'{"timestamp": true}', "bad_timestamp"),
    ],
)
def test_unusable_payload_is_refused_with_its_reason(payload: bytes, reason: str) -> None:
    """Each kind of payload that cannot be used becomes a dead letter with its fixed reason."""
    assert refuse_one(payload) == reason


def test_large_payload_is_refused_by_the_limit() -> None:
    """A payload over the limit is refused, one at the limit is not."""
    payload = json.dumps(make_entry(textPayload="x" * 10_000_000)).encode()
    assert refuse_one(payload) == "too_large"
    assert refuse_one(payload, max_payload_bytes=len(payload) - 1) == "too_large"
    assert len(parse_all([payload], make_parser(max_payload_bytes=len(payload))).entries) == 1


def test_dead_letter_tells_provenance_and_keeps_the_beginning() -> None:
    """A dead letter has tenant, stage, size, minute and at most 2 KiB of the payload as text."""
    payload = b"\xff\x00" * 5000
    batch = parse_all([payload], tenant_id="shop", publish_times_ns=[NOW_NS + 61_000_000_000])
    letter = batch.dead_letters[0]
    assert (letter.tenant_id, letter.stage, letter.payload_bytes) == ("shop", "parse", 10_000)
    assert letter.receive_minute == (NOW_NS + 60_000_000_000) // 1000
    assert 0 < len(letter.payload.encode()) <= MAX_DEAD_LETTER_BYTES
    assert "\x00" not in letter.payload
    assert batch.ledger[0].receive_minute == letter.receive_minute


def test_dead_letter_detail_never_shows_a_value() -> None:
    """The detail of a dead letter names places and types, not what stands there."""
    for payload in (b'{"labels": {"s3cret": ["s3cret"]}}', b'{"timestamp": "s3cret"}', b'{"a": s3cret}'):
        letter = parse_all([payload]).dead_letters[0]
        assert letter.detail
        assert "s3cret" not in letter.detail


def test_dead_letter_id_tells_payloads_apart() -> None:
    """Equal payloads of one minute share the id; another payload or tenant has another."""
    one, same, other = (parse_all([payload]).dead_letters[0] for payload in (b"a", b"a", b"b"))
    assert one.dead_letter_id == same.dead_letter_id != other.dead_letter_id
    assert parse_all([b"a"], tenant_id="t").dead_letters[0].dead_letter_id != one.dead_letter_id


# ------------------------------------------------------------------- input that can still be used


@pytest.mark.parametrize(
    "change",
    [
        {"severity": None, "trace": None, "labels": None, "httpRequest": None, "jsonPayload": None},
        {"insertId": 17, "spanId": 5.5},
        {"labels": {"port": 8080, "tls": True, "zone": None}},
        {"resource": {"type": "cloud_run_revision", "labels": {"service_name": "checkout", "n": None}}},
        {"unknownField": {"deep": [1, 2, 3]}},
        {"timestamp": 1_717_239_600},
        {"timestamp": 1_717_239_600_000},
        {"timestamp": 1_717_239_600_000_000_000},
        {"timestamp": {"seconds": 1_717_239_600, "nanos": 5}},
        {"timestamp": "2024-06-01 11:00:00.000 UTC"},
    ],
)
def test_odd_but_plain_types_are_understood(change: dict[str, Any]) -> None:
    """Null counts as absent, scalars become the scalar that is wanted, times come in many forms."""
    entry = parse_one(make_entry(**change))
    assert (entry.service, entry.message, entry.retimed) == ("checkout", "order placed", False)
    assert entry.event_time_ns // 10**9 == 1_717_239_600


def test_half_characters_become_replacement_characters() -> None:
    """Lone surrogates, as programs leave that cut UTF-16 text, do not lose the line."""
    good = json.dumps(make_entry(textPayload="SMILE")).encode()
    entry = parse_all([good.replace(b"SMILE", rb"a\ud83d b\ude00 \ud83d\ude00 \\ud83d")]).entries[0]
    assert entry.message == "a\ufffd b\ufffd \U0001f600 \\ud83d"
    assert entry.message.encode()


def test_byte_order_mark_is_no_obstacle() -> None:
    """A payload that starts with a UTF-8 byte order mark parses."""
    payload = b"\xef\xbb\xbf" + json.dumps(make_entry()).encode()
    assert parse_all([payload]).entries[0].message == "order placed"


@given(st.text(alphabet=st.characters(min_codepoint=0, max_codepoint=0x2FF), max_size=40))
def test_no_control_character_leaves_the_parser(text: str) -> None:
    """NUL, escape sequences and other control characters are gone from every text of an entry."""
    entry = parse_one(
        make_entry(
            textPayload=text,
            insertId=text,
            logName=f"projects/{text}/logs/x",
            trace=text,
            spanId=text,
            resource={"type": "cloud_run_revision", "labels": {"service_name": text}},
            httpRequest={"requestUrl": text, "requestMethod": text, "remoteIp": text},
        )
    )
    for value in msgspec.structs.asdict(entry).values():
        if isinstance(value, str):
            plain = value.replace("\n", "").replace("\t", "")
            assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in plain)


def test_colors_leave_the_message() -> None:
    """ANSI colors are dropped, and the level under them is read."""
    entry = parse_one(make_entry(textPayload="\x1b[31mERROR\x1b[0m disk full"))
    assert (entry.message, entry.severity) == ("ERROR disk full", SEVERITY_NUMBERS["ERROR"])


# ----------------------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2024-06-01T12:00:00.123456789Z", NOW_NS + 123_456_789),
        ("2024-06-01T12:00:00.5Z", NOW_NS + 500_000_000),
        ("2024-06-01T12:00:00.1234567891234Z", NOW_NS + 123_456_789),
        ("2024-06-01T14:00:00+02:00", NOW_NS),
        ("2024-06-01T06:30:00.25-05:30", NOW_NS + 250_000_000),
        ("2024-06-01t12:00:00z", NOW_NS),
        ("2024-06-01 12:00:00 UTC", NOW_NS),
        ("2024-06-01T12:00:00", NOW_NS),
        ("2024-06-01T11:59:60Z", NOW_NS - 1_000_000_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800 * 10**9),
        ("9999-12-31T23:59:59.999999999Z", 253_402_300_799_999_999_999),
        ("0000-00-00T00:00:00Z", None),
        ("2024-02-30T00:00:00Z", None),
        ("2024-06-01T25:00:00Z", None),
        ("2024-06-01", None),
        ("12:00:00", None),
        ("2024-06-01T12:00:00.Z", None),
        ("2024-06-01T12:00:00.-5Z", None),
        ("2024-06-01T12:00:00.1_2Z", None),
        ("2024-06-01T12:00:00X5Z", None),
        ("", None),
    ],
)
def test_timestamps_are_read_to_the_nanosecond(text: str, nanoseconds: int | None) -> None:
    """RFC 3339 text gives exact nanoseconds, anything else None, from a warm cache as from a cold one."""
    parser = TimestampParser()
    cold = parser.parse(text)
    parser.parse(text[:19] + "Z")
    assert (cold, parser.parse(text)) == (nanoseconds, nanoseconds)


@given(st.text(alphabet="0123456789.:+-TZ _²٣", max_size=34), st.integers(0, 30))
def test_cache_of_seconds_never_changes_the_answer(tail: str, cut: int) -> None:
    """What a timestamp parser has seen before does not change what it reads."""
    text = "2024-06-01T12:00:00.123456789Z"[:cut] + tail
    warm = TimestampParser()
    warm.parse("2024-06-01T12:00:00Z")
    assert warm.parse(text) == TimestampParser().parse(text)


@pytest.mark.parametrize(
    ("timestamp", "received", "published_ns", "expected"),
    [
        ("2024-06-01T11:00:00Z", None, 0, ("2024-06-01T11:00:00Z", False)),
        ("2024-06-01T11:00:00Z", "2024-06-01T11:00:01Z", 0, ("2024-06-01T11:00:00Z", False)),
        ("2024-06-01T11:05:00Z", "2024-06-01T11:00:01Z", 0, ("2024-06-01T11:05:00Z", False)),
        ("2024-06-01T11:05:02Z", "2024-06-01T11:00:01Z", 0, ("2024-06-01T11:00:01Z", True)),
        ("2099-01-01T00:00:00Z", None, 0, ("2000-01-01T00:00:00Z", True)),
        ("2099-01-01T00:00:00Z", None, NOW_NS, (NOW, True)),
        ("1970-01-01T00:00:00Z", "2024-06-01T11:00:01Z", NOW_NS, ("2024-06-01T11:00:01Z", True)),
        ("1999-12-31T23:59:59Z", None, NOW_NS, (NOW, True)),
        ("0001-01-01T00:00:00Z", "2024-06-01T11:00:01Z", 0, ("2024-06-01T11:00:01Z", True)),
        ("soon", "2024-06-01T11:00:01Z", 0, ("2024-06-01T11:00:01Z", True)),
        ("soon", None, NOW_NS, (NOW, True)),
        (None, "2024-06-01T11:00:01Z", 0, ("2024-06-01T11:00:01Z", False)),
        ("2024-06-01T11:00:00Z", "1970-01-01T00:00:00Z", 0, ("2024-06-01T11:00:00Z", False)),
        ("2024-06-01T11:59:00Z", "2099-01-01T00:00:00Z", NOW_NS, ("2024-06-01T11:59:00Z", False)),
    ],
)
def test_absurd_timestamps_become_the_receive_time(
    timestamp: str | None, received: str | None, published_ns: int, expected: tuple[str, bool]
) -> None:
    """A time before 2000 or in the future gives way to the receive time; what is plausible stays."""
    payload = make_entry(timestamp=timestamp, receiveTimestamp=received)
    times = [published_ns] if published_ns else []
    batch = parse_all([json.dumps(payload).encode()], publish_times_ns=times)
    entry = batch.entries[0]
    assert (entry.event_time_ns, entry.retimed) == (TimestampParser().parse(expected[0]), expected[1])


def test_receive_time_comes_from_the_entry_then_the_publisher_then_the_settings() -> None:
    """The ledger's axis is receiveTimestamp, else publish time, else the run's constant."""
    said, silent = make_entry(receiveTimestamp="2024-06-01T11:00:07Z"), make_entry()
    payloads = [json.dumps(entry).encode() for entry in (said, silent)]
    published = parse_all(payloads, publish_times_ns=[NOW_NS - 3500 * 10**9] * 2)
    assert [entry.receive_time_ns for entry in published.entries] == [
        NOW_NS - 3593 * 10**9,
        NOW_NS - 3500 * 10**9,
    ]
    assert parse_all(payloads[1:]).entries[0].receive_time_ns == YEAR_2000_NS
    assert parse_all(payloads[1:], make_parser(received_at_ns=5)).entries[0].receive_time_ns == 5


def test_late_lines_are_counted_and_left_out() -> None:
    """A line received more than ten minutes after its time is late; without a receive time none is."""
    on_time = make_entry(receiveTimestamp="2024-06-01T11:10:00Z")
    late = make_entry(receiveTimestamp="2024-06-01T11:10:01Z")
    batch = parse_all([json.dumps(entry).encode() for entry in (on_time, late, make_entry())])
    assert len(batch.entries) == 2
    assert [(delta.received, delta.late) for delta in batch.ledger] == [(1, 0), (2, 1)]


# ------------------------------------------------------------------------------ tenants, filters


@pytest.mark.parametrize(
    ("log_name", "tenant"),
    [
        ("projects/acme/logs/stdout", "acme"),
        ("projects/acme/logs/run.googleapis.com%2Frequests", "acme"),
        ("folders/123/logs/x", "123"),
        ("organizations/456/logs/cloudaudit.googleapis.com%2Factivity", "456"),
        ("billingAccounts/0A-1B/logs/x", "0A-1B"),
        ("projects//logs/x", "_unknown"),
        ("projects/" + "a" * 1000 + "/logs/x", "_unknown"),
        ("stdout", "_unknown"),
        ("", "_unknown"),
    ],
)
def test_tenant_is_the_owner_of_the_log(log_name: str, tenant: str) -> None:
    """Without a configured tenant the project, folder, organization or billing account counts."""
    assert parse_one(make_entry(logName=log_name)).tenant_id == tenant


@pytest.mark.parametrize(
    ("field", "change", "tenant"),
    [
        ("labels.tenant", {"labels": {"tenant": "blue"}}, "blue"),
        ("labels.k8s-pod/team.name", {"labels": {"k8s-pod/team.name": "blue"}}, "blue"),
        ("resource.labels.service_name", {}, "checkout"),
        ("jsonPayload.org.id", {"textPayload": ..., "jsonPayload": {"org": {"id": "blue"}}}, "blue"),
        ("jsonPayload.org.id", {"textPayload": ..., "jsonPayload": {"org": "blue"}}, "acme"),
        ("labels.tenant", {}, "acme"),
        ("", {"labels": {"tenant": "blue"}}, "acme"),
    ],
)
def test_only_a_trusted_field_names_the_tenant(field: str, change: dict[str, Any], tenant: str) -> None:
    """A field that the log's writer controls counts only where the operator trusts it by name."""
    assert parse_one(make_entry(**change), trusted_tenant_field=field).tenant_id == tenant


def test_tenant_of_the_source_wins() -> None:
    """The tenant configured for the source overrides trusted field and log name."""
    payload = json.dumps(make_entry(labels={"tenant": "blue"})).encode()
    parser = make_parser(trusted_tenant_field="labels.tenant")
    assert parse_all([payload], parser, tenant_id="green").entries[0].tenant_id == "green"


@pytest.mark.parametrize("field", ["tenant", "labels", "textPayload.x"])
def test_unusable_trusted_field_is_an_error(field: str) -> None:
    """A trusted field outside of labels and payloads is refused when settings are made."""
    with pytest.raises(ValueError, match="must start with"):
        ParseSettings(trusted_tenant_field=field)


def test_filters_count_what_they_leave_out() -> None:
    """--services and --min_severity drop lines, and the ledger says how many."""
    other = {"type": "cloud_run_revision", "labels": {"service_name": "cart"}}
    rows = [
        make_entry(severity="ERROR"),
        make_entry(severity="INFO"),
        make_entry(severity="ERROR", resource=other),
    ]
    parser = make_parser(services=frozenset({"checkout"}), min_severity=400)
    batch = parse_all([json.dumps(row).encode() for row in rows], parser)
    assert [entry.severity for entry in batch.entries] == [500]
    assert (batch.ledger[0].received, batch.ledger[0].filtered) == (3, 2)


# ---------------------------------------------------------------------------------- whole batches

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
field_names = st.sampled_from(
    [
        "timestamp",
        "receiveTimestamp",
        "severity",
        "textPayload",
        "jsonPayload",
        "protoPayload",
        "httpRequest",
        "resource",
        "labels",
        "logName",
        "trace",
        "spanId",
        "insertId",
        "operation",
        "protopayload_auditlog",
    ]
)
inner_names = st.sampled_from(
    [
        "message",
        "level",
        "error",
        "stack",
        "exception",
        "fields",
        "request",
        "req",
        "res",
        "method",
        "path",
        "status",
        "context",
        "serviceContext",
        "connection",
        "involvedObject",
        "reason",
        "httpRequest",
        "latency",
        "grpc.code",
        "methodName",
        "serviceName",
        "authenticationInfo",
        "authorizationInfo",
        "requestMetadata",
        "code",
        "response",
        "@type",
        "line",
        "type",
        "labels",
        "service_name",
        "requestUrl",
        "spec",
        "template",
        "src_ip",
        "first",
        "name",
    ]
)
inner_values = st.recursive(
    json_values
    | st.sampled_from(["ERROR", "GET", "/a/1", 500, "RequestLog", "a: b\n\tat c.d(e.java:1)", "{}"]),
    lambda inner: st.dictionaries(inner_names, inner, max_size=5) | st.lists(inner, max_size=2),
    max_leaves=12,
)
mutated_entries = st.dictionaries(field_names, inner_values, max_size=6).map(
    lambda change: json.dumps({**make_entry(), **change}).encode()
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=60) | mutated_entries, max_size=8), st.sampled_from(["", "shop"]))
def test_anything_is_counted_exactly_once(payloads: list[bytes], tenant_id: str) -> None:
    """Whatever bytes come, nothing raises, and received = analyzed + late + filtered + dead letters."""
    parser = make_parser(min_severity=200)
    assert is_balanced(parser.parse_batch(PayloadBatch(payloads, [], tenant_id)), len(payloads))


@settings(max_examples=100, deadline=None)
@given(st.lists(mutated_entries, max_size=8))
def test_split_and_memory_never_change_an_entry(payloads: list[bytes]) -> None:
    """One batch by a used parser gives what single payloads by new parsers give."""
    parser = make_parser()
    parser.parse_batch(PayloadBatch(payloads))
    together = parser.parse_batch(PayloadBatch(payloads))
    alone = [make_parser().parse_batch(PayloadBatch([payload])) for payload in payloads]
    assert together.entries == [entry for batch in alone for entry in batch.entries]
    assert together.dead_letters == [letter for batch in alone for letter in batch.dead_letters]


def test_access_line_without_severity_has_that_of_its_status() -> None:
    """A text that is a line of an access log tells its severity by the status."""
    text = '10.0.0.1 - - [01/Jun/2024:11:00:00 +0000] "GET /cart HTTP/1.1" 503 12'
    entry = parse_one(make_entry(textPayload=text))
    assert (entry.http_status, entry.severity, entry.severity_inferred) == (503, 500, True)


@settings(max_examples=300, deadline=None)
@given(mutated_entries)
def test_fast_and_tolerant_way_agree(payload: bytes) -> None:
    """A byte order mark, which the fast way refuses, changes nothing of what is read."""
    fast, tolerant = parse_all([payload]), parse_all([b"\xef\xbb\xbf" + payload])
    assert fast.entries == tolerant.entries
    assert fast.ledger == tolerant.ledger
    assert [letter.reason for letter in fast.dead_letters] == [
        letter.reason for letter in tolerant.dead_letters
    ]


def test_labels_that_differ_from_line_to_line_make_no_new_source() -> None:
    """A label that is not read, whatever it holds, neither changes the source nor refuses the line."""
    for labels in ({"execution_id": "a"}, {"execution_id": ["b", {}]}, {"execution_id": None}):
        entry = parse_one(make_entry(labels=labels | {"instanceId": "i-1"}))
        assert (entry.service, entry.instance) == ("checkout", "i-1")


def test_trusted_label_is_read_from_lines_of_any_kind() -> None:
    """The operator's label counts although memory of sources ignores it, in odd lines too."""
    lines = [make_entry(labels={"tenant": name}) for name in ("blue", "green", 7)]
    payloads = [json.dumps(line).encode() for line in lines]
    payloads.append(b"\xef\xbb\xbf" + payloads[0])
    batch = parse_all(payloads, make_parser(trusted_tenant_field="labels.tenant"))
    assert [entry.tenant_id for entry in batch.entries] == ["blue", "green", "7", "blue"]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_ledger_balances_at_any_share_of_malformed_lines(share: float) -> None:
    """The ledger balances with 0, 5, 50 and 100 percent of malformed lines."""
    good, bad = json.dumps(make_entry()).encode(), b"{malformed"
    payloads = [bad if index < share * 200 else good for index in range(200)]
    batch = parse_all(payloads)
    assert len(batch.dead_letters) == share * 200
    assert is_balanced(batch, 200)


@pytest.mark.parametrize(
    "letters", [string.ascii_letters, "a.", "a: ", "at ", '" GET /', "[", "1-", "\\n\\tat a(", "é"]
)
def test_no_text_takes_long(letters: str) -> None:
    """No line of a mebibyte, however repetitive, costs a multiple of a second."""
    text = json.loads(f'"{letters}"') if "\\" in letters else letters
    payload = json.dumps(
        make_entry(textPayload=text * (500_000 // len(text)), httpRequest={"requestUrl": text * 999})
    )
    parser = make_parser(max_payload_bytes=10_000_000)
    for _ in range(3):
        parse_all([payload.encode()], parser)


test_no_text_takes_long = pytest.mark.timeout(10)(test_no_text_takes_long)
