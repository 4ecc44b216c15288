"""Redaction of entries and dead letters, and its Beam shell."""

from __future__ import annotations

import json
import random
import re
import time

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from transforms.elements import DeadLetter, LogBatch, LogEntry, MetricBatch, MetricPoints, MetricSeries
from transforms.redact.redactor import Redactor
from transforms.redact.series import MetricRedactor
from transforms.redact.settings import DemoKey, OperatorPattern, RedactSettings
from transforms.redact.transform import DEAD_LETTERS, RedactLogBatches

SETTINGS = RedactSettings(DemoKey())
REDACTOR = Redactor(SETTINGS)


def shapes(text: str) -> str:
    return re.sub(r"<([a-z_]+):v1:[0-9a-f]{10}>", r"<\1>", text)


def entry(message: str = "hi", **fields: str) -> LogEntry:
    return LogEntry("shop", fields.pop("service", "cart"), 0, 200, message, **fields)  # type: ignore[arg-type]


def dead_letter(payload: str, letter_id: str = "id") -> DeadLetter:
    return DeadLetter(letter_id, "shop", "parse", "not JSON", "at byte 7", payload, len(payload), 0)


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ("", ""),
        ("joe@example.com", "<email>"),
        ("user:joe@example.com", "user:<email>"),
        ("deleted:user:joe@example.com?uid=12", "deleted:user:<email>?uid=12"),
        ("joe", "<user>"),
        ("42", "<user>"),
        ("joe smith joe@example.com", "<user>"),
        ("principal://iam.googleapis.com/locations/global/workforcePools/p/subject/joe", "<user>"),
        ("deploy@my-project.iam.gserviceaccount.com", "<email>"),
        ("service-42@gcp-sa-pubsub.iam.gserviceaccount.com",) * 2,
        ("42-compute@developer.gserviceaccount.com",) * 2,
        ("system:serviceaccount:kube-system:replicaset-controller",) * 2,
        ("<user:v1:0123456789>", "<user>"),
    ],
)
def test_principals_are_people_unless_they_are_software(principal: str, expected: str) -> None:
    """E-mail addresses and user ids go; identities that name software by construction stay."""
    redacted = REDACTOR.principal("shop", principal)
    assert shapes(redacted) == expected
    assert REDACTOR.principal("shop", redacted) == redacted


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", ""),
        ("203.0.113.7", "<ip>"),
        ("203.0.113.7:443", "<ip>:443"),
        ("[2001:db8::7]:443", "[<ip>]:443"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("gce-internal-ip", "gce-internal-ip"),
        ("joes-laptop", "<ip>"),
        ("v1.2.3.4", "<ip>"),
    ],
)
def test_a_remote_address_is_replaced_whatever_it_is(address: str, expected: str) -> None:
    """The field of the caller's address holds placeholders only, apart from what names no one."""
    redacted = REDACTOR.remote_ip("shop", address)
    assert shapes(redacted) == expected
    assert REDACTOR.remote_ip("shop", redacted) == redacted


def test_entries_of_tenants_in_one_batch_use_their_own_keys() -> None:
    """A memo shared by tenants does not mix them."""
    batch = LogBatch(
        [LogEntry(t, "s", 0, 0, "m", instance="10.2.3.4", principal="joe") for t in ("a", "b", "a")]
    )
    one, other, again = REDACTOR.batch(batch).entries
    assert one == again
    assert one.instance != other.instance
    assert one.principal != other.principal


def test_a_token_cut_at_the_end_of_a_short_field_is_found() -> None:
    """Fields are searched together, but redacted one by one: each has an end of its own."""
    cut = "gh" + "p_Q7w"
    batch = REDACTOR.batch(LogBatch([entry(insert_id=cut, span_id="a\ud800", revision=cut)]))
    row = batch.entries[0]
    assert (shapes(row.insert_id), row.span_id, shapes(row.revision)) == ("<key>", "a?", "<key>")


def test_operator_patterns_reach_every_field() -> None:
    """An operator's id is found where the built-in prefilter sees nothing."""
    redactor = Redactor(
        RedactSettings(key=DemoKey(), operator_patterns=(OperatorPattern("crew", "CREW-[a-z]+"),))
    )
    batch = redactor.batch(LogBatch([entry("by CREW-anna", endpoint="/x/CREW-anna")]))
    assert shapes(batch.entries[0].message) == "by <crew>"
    assert shapes(batch.entries[0].endpoint) == "/x/<crew>"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ('{"textPayload":"joe@example.com"', '{"textPayload":"<email>"'),
        ('{"textPayload":"joe@exam', '{"textPayload":"…'),
        ('{"ip":"203.0.1', '{"ip":"…'),
        ('{"ip":"2001:db8:4', '{"ip":"…'),
        ('{"pan":"4111 1111 11', '{"pan":"…'),
        ('{"db":"mysql://app:s3cr', '{"db":"mysql…'),
        ('{"password":"hunter', '{"password":"<password>'),
        ("<password>hunter", "<password><password>"),
        ("key " + "gh" + "p_Q7w", "key <key>"),
        ("no secret here", "no secret here"),
    ],
)
def test_a_payload_cut_within_a_secret_loses_its_first_half_too(payload: str, expected: str) -> None:
    """A dead letter's payload is the beginning of something: half a secret at its end goes."""
    assert shapes(REDACTOR.dead_letter(dead_letter(payload)).payload) == expected


def test_dead_letter_ids_stay_distinct_and_cannot_be_guessed_from_payloads() -> None:
    """Ids made from raw payloads are keyed per tenant, one to one."""
    ids = [
        REDACTOR.dead_letter(dead_letter("same", letter_id)).dead_letter_id for letter_id in ("a", "b", "a")
    ]
    assert ids[0] == ids[2] != ids[1]
    assert "a" not in ids
    assert all(re.fullmatch("[0-9a-f]{32}", letter_id) for letter_id in ids)


def test_the_transform_gives_entries_and_dead_letters_apart() -> None:
    """Redacted batches go on without dead letters, which come out under their own tag."""
    batches = [
        LogBatch([entry("from 203.0.113.7")], [dead_letter("joe@example.com!")]),
        LogBatch([], [dead_letter("[")]),
    ]
    with TestPipeline(runner="FnApiRunner") as pipeline:
        redacted = pipeline | beam.Create(batches) | RedactLogBatches(SETTINGS)
        messages = redacted.batches | "Messages" >> beam.Map(
            lambda batch: (len(batch.dead_letters), [shapes(row.message) for row in batch.entries])
        )
        payloads = redacted[DEAD_LETTERS] | "Payloads" >> beam.Map(lambda letter: shapes(letter.payload))
        assert_that(messages, equal_to([(0, ["from <ip>"])]), label="entries")
        assert_that(payloads, equal_to(["<email>!", "["]), label="dead letters")


@pytest.mark.parametrize(
    "piece",
    ["token=a,", '"token":"\\"', "--token ", 'token="', "x://a:b@", "1.2.3.4 ", "<password>", "a::b ", "@a.b",
     "a@", "4111 1111 1111 1112 ", "-----END PRIVATE KEY-----", "\u200b", "1:", "%40", "http://a:1/"],
)  # fmt: skip
def test_a_hostile_line_takes_time_in_proportion_to_its_length(piece: str) -> None:
    """Eight times the text takes far less than the 64 times of a quadratic scan."""

    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        start = time.process_time()
        REDACTOR.cut_text("shop", text)
        return time.process_time() - start

    small = max(min(seconds(16_384) for _ in range(3)), 0.001)
    assert seconds(131_072) < 32 * small


def test_a_secret_is_found_in_a_megabyte_of_noise() -> None:
    """The prefilter does not give up on text that needs many of its states."""
    noise = random.Random(1)
    text = "".join(noise.choices("0123456789abcdefABCDEF:.-%@ =tokens/", k=1_000_000))
    assert "joe@example.com" not in REDACTOR.text("shop", f"{text} joe@example.com {text}")


def metric_series(labels: dict[str, str], **names: str) -> MetricSeries:
    return MetricSeries(
        "shop", names.pop("service", "cart"), "t", "GAUGE", "value", json.dumps(labels), **names
    )


@pytest.mark.parametrize(
    ("labels", "hidden"),
    [
        ({"user": "joe@example.com"}, "joe@example.com"),
        ({"password": "hunter2hunter2"}, "hunter2hunter2"),
        ({"joe@example.com": "1"}, "joe@example.com"),
        ({"peer": "10.20.30.40:9090"}, "10.20.30.40"),
        ({"note": 'said "joe@example.com"'}, "joe@example.com"),
        ({"employee": "E-123456"}, "E-123456"),
    ],
)
def test_labels_of_metrics_are_redacted_and_stay_an_object(labels: dict[str, str], hidden: str) -> None:
    """Names and values alike, by what stands before them or by an operator's anchored pattern."""
    patterns = (OperatorPattern("employee", "^E-[0-9]{6}$"),)
    redactor = MetricRedactor(Redactor(RedactSettings(key=DemoKey(), operator_patterns=patterns)))
    found = redactor.series(metric_series(labels))
    assert hidden not in found.labels
    assert all(isinstance(value, str) for value in json.loads(found.labels).values())
    assert redactor.series(found) == found


def test_names_and_dead_letters_of_metrics_are_redacted() -> None:
    """Service, type, instance and unit too; series that differ still do."""
    one = metric_series({"user": "joe@example.com"}, service="joe@example.com", instance="joe@example.com")
    other = metric_series({"user": "ann@example.com"}, unit="joe@example.com")
    batch = MetricBatch(
        [MetricPoints(one, []), MetricPoints(other, [])], [dead_letter("for joe@example.com")]
    )
    redacted = MetricRedactor(Redactor(SETTINGS)).batch(batch)
    assert "@example" not in str(redacted)
    assert len({points.series.labels for points in redacted.series}) == 2
