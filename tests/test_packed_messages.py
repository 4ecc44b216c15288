"""Compressed messages are unpacked within bounds, and what cannot be is one dead letter."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import apache_beam as beam
import pytest
import zstandard
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import TimestampedValue
from hypothesis import given
from hypothesis import strategies as st

from pipeline import packed_messages, sources
from pipeline.packed_messages import PACKED, UnpackError, unpack_message
from pipeline.sources import GatherMessages
from transforms.elements import BrokenPayload, PayloadBatch
from transforms.metrics.parse import MetricParser
from transforms.metrics.settings import MetricSettings
from transforms.parse.parser import EntryParser
from transforms.parse.settings import ParseSettings

LIMIT = 1 << 20
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "bzip2": bz2.compress,
}
MOMENT = datetime(2026, 1, 12, 8, tzinfo=UTC)
MOMENT_NS = int(MOMENT.timestamp()) * 10**9
MINUTE_US = int(MOMENT.timestamp()) * 10**6
packer = pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)


def line(number: int) -> bytes:
    entry = {
        "logName": "projects/acme/logs/stdout",
        "timestamp": "2026-01-12T08:00:00Z",
        "resource": {"type": "cloud_run_revision", "labels": {"service_name": "payment"}},
        "textPayload": f"charge {number} done",
    }
    return json.dumps(entry).encode()


def reason_of(data: bytes) -> str:
    with pytest.raises(UnpackError) as error:
        unpack_message(data, LIMIT)
    return error.value.reason


@packer
@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), min_size=1, max_size=9)
)
def test_a_packed_message_holds_what_went_in(
    pack: Callable[[bytes], bytes], objects: list[dict[str, str]]
) -> None:
    """Lines come out as they are, in order; no magic is that of JSON."""
    lines = [json.dumps(one).encode() for one in objects]
    packed = pack(b"\n".join(lines))
    assert packed[:2] in PACKED
    assert unpack_message(packed, LIMIT) == lines


@packer
def test_one_entry_over_several_lines_is_one(pack: Callable[[bytes], bytes]) -> None:
    """Printed JSON is read as from a file, and lists of the API are taken apart."""
    printed = json.dumps({"a": 1, "b": {"c": []}}, indent=2).encode()
    assert unpack_message(pack(printed), LIMIT) == [printed]
    answer = json.dumps({"timeSeries": [{"n": 1}, {"n": 2}]}).encode()
    assert unpack_message(pack(answer), LIMIT, "timeSeries") == [b'{"n": 1}', b'{"n": 2}']


@packer
def test_a_packed_message_of_nothing_is_one_entry(pack: Callable[[bytes], bytes]) -> None:
    """It is counted, and refused as an empty one; otherwise it would vanish."""
    assert unpack_message(pack(b""), LIMIT) == [b""]
    assert unpack_message(pack(b" \n\n"), LIMIT) == [b""]


@packer
def test_a_stream_that_breaks_off_is_refused_whole(pack: Callable[[bytes], bytes]) -> None:
    """Wherever it is cut: lines before the cut are not taken either, so that the message counts once."""
    packed = pack(b"\n".join(map(line, range(40))))
    for end in range(4, len(packed)):
        assert reason_of(packed[:end]) == "broken_compression"


@packer
@given(st.data())
def test_damage_never_raises_anything_else(pack: Callable[[bytes], bytes], data: st.DataObject) -> None:
    """Any byte may be another one, and anything may follow."""
    packed = bytearray(pack(b"\n".join(map(line, range(9)))))
    packed[data.draw(st.integers(4, len(packed) - 1))] = data.draw(st.integers(0, 255))
    with suppress(UnpackError):
        unpack_message(bytes(packed) + data.draw(st.binary(max_size=20)), LIMIT)


def test_random_bytes_never_raise_anything_else() -> None:
    """What only begins as compressed data does is refused, or taken as it is."""
    for magic in PACKED:
        for size in (0, 1, 2, 10, 1_000):
            with suppress(UnpackError):
                assert unpack_message(magic + os.urandom(size), LIMIT)


def test_a_bomb_is_given_up_at_once() -> None:
    """Of a message that would be 20 GB no more than the bound is made, in no time."""
    frame = zstandard.ZstdCompressor().compress(b"\x00" * (64 << 20))
    bomb = frame * 300
    assert len(bomb) < 10_000_000
    start = time.process_time()
    assert reason_of(bomb) == "unpacks_too_large"
    assert time.process_time() - start < 3


@packer
def test_a_small_bomb_is_refused_by_its_ratio(pack: Callable[[bytes], bytes]) -> None:
    """Some hundred bytes may be a MiB, not more; a message of real lines may be all that they are."""
    assert reason_of(pack(b"x" * (5 << 20))) == "unpacks_too_large"
    lines = [line(number) for number in range(20_000)]
    assert unpack_message(pack(b"\n".join(lines)), LIMIT) == lines


def test_a_message_of_countless_entries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each entry costs memory of its own, however short."""
    monkeypatch.setattr(packed_messages, "MAX_UNPACKED_ENTRIES", 1_000)
    assert len(unpack_message(gzip.compress(b"{}\n" * 1_000), LIMIT)) == 1_000
    assert reason_of(gzip.compress(b"{}\n" * 1_001)) == "unpacks_too_large"


def test_an_entry_beyond_the_limit_is_cut_for_parse_to_refuse() -> None:
    """As in a file: one byte more than allowed is enough to know."""
    (entry,) = unpack_message(gzip.compress(b'{"a": "' + os.urandom(50).hex().encode() * 20), 1_000)
    assert len(entry) == 1_001


def test_an_archive_in_a_message_is_refused() -> None:
    """A zip archive within gzip is no entry."""
    assert reason_of(gzip.compress(b"PK\x03\x04" + bytes(100))) == "broken_compression"


# ----------------------------------------------------------------------------- within the job


def message(data: bytes) -> TimestampedValue:
    return TimestampedValue(PubsubMessage(data, {}, "id", MOMENT), MOMENT.timestamp())


def gather(messages: list[bytes]) -> list[PayloadBatch]:
    """Batches of a bundle, as the DoFn makes them."""
    step = GatherMessages(LIMIT, "acme")
    step.start_bundle()
    batches = []
    for data in messages:
        moment = beam.utils.timestamp.Timestamp(MOMENT.timestamp())
        batches += [value.value for value in step.process(PubsubMessage(data, {}, "id", MOMENT), moment)]
    return batches + [windowed.value for windowed in step.finish_bundle()]


def test_every_line_of_a_message_is_received_once() -> None:
    """Plain, packed and broken messages: the ledger counts lines, and one for each that is broken."""
    packed = gzip.compress(b"\n".join(map(line, range(30))))
    (batch,) = gather([line(0), packed, packed[:-9], b"{bad"])
    assert len(batch.payloads) == len(batch.publish_times_ns) == 32
    assert set(batch.publish_times_ns) == {MOMENT_NS}
    parsed = EntryParser(ParseSettings()).parse_batch(batch)
    assert len(parsed.entries) == 31
    assert [letter.reason for letter in parsed.dead_letters] == ["not_json", "broken_compression"]
    assert [(row.tenant_id, row.receive_minute, row.received) for row in parsed.ledger] == [
        ("acme", MINUTE_US, 33)
    ]


def test_a_broken_message_shows_nothing_of_its_content() -> None:
    """Redaction cannot find what is half compressed; size, reason and a keyed id are left."""
    secret = b'{"textPayload": "password=hunter2hunter2 ' + os.urandom(30).hex().encode() + b'"}'
    (batch,) = gather([zstandard.ZstdCompressor(level=1).compress(secret)[:-3]])
    (letter,) = EntryParser(ParseSettings()).parse_batch(batch).dead_letters
    assert (letter.payload, letter.payload_bytes > 60) == ("", True)
    assert "hunter2" not in repr(batch)


def test_metrics_count_a_broken_message_as_a_point() -> None:
    """The same for the subscription of metrics, whose ledger is their own."""
    broken = BrokenPayload("d", 10, MOMENT_NS, "unpacks_too_large", "more than 1 bytes")
    parsed = MetricParser(MetricSettings()).parse_batch(PayloadBatch([], [], "acme", [broken]))
    assert [(letter.stage, letter.reason) for letter in parsed.dead_letters] == [
        ("parse_metrics", "unpacks_too_large")
    ]
    assert [(row.source, row.received, row.receive_minute) for row in parsed.ledger] == [
        ("metrics", 1, MINUTE_US)
    ]


def test_batches_are_bounded_by_bytes_and_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle of packed messages becomes batches as those of files are."""
    monkeypatch.setattr(sources, "ENTRIES_PER_BATCH", 100)
    monkeypatch.setattr(sources, "BYTES_PER_BATCH", 30_000)
    packed = gzip.compress(b"\n".join(map(line, range(250))))
    batches = gather([line(0), packed, packed[:9], line(1), packed])
    assert [(len(batch.payloads), len(batch.broken)) for batch in batches] == [
        *((100, 0), (100, 0), (51, 0)),
        *((100, 1), (100, 0), (51, 0)),
    ]


def test_packed_messages_pass_the_runner() -> None:
    """Batches with broken messages are encoded and decoded between steps."""

    def check(batches: list[PayloadBatch]) -> None:
        assert sum(len(batch.payloads) for batch in batches) == 5
        assert [broken.reason for batch in batches for broken in batch.broken] == ["broken_compression"]

    packed = gzip.compress(b"\n".join(map(line, range(5))))
    with TestPipeline() as pipeline:
        messages = pipeline | beam.Create([message(packed), message(packed[:-1])])
        gathered = messages | beam.ParDo(GatherMessages(LIMIT)).with_output_types(PayloadBatch)
        assert_that(gathered | beam.Reshuffle(), check)
