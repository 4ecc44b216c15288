"""Messages of ours are small enough for Pub/Sub, whatever is in them."""

from __future__ import annotations

import json

import msgspec
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from hypothesis import given
from hypothesis import strategies as st
from sample_alerts import alert_event
from sample_store import anomaly

from pipeline.alert_messages import event_message, parse_event_message
from pipeline.messages import MAX_MESSAGE_BYTES, Message, element_message, shrink
from pipeline.sinks import anomaly_message, dead_letter_message
from transforms.elements import DeadLetter, Evidence, Example

HUGE = "ü" * 6_000_000


class Note(msgspec.Struct, frozen=True):
    name: str
    number: int
    texts: list[str] = []
    more: str = ""


NOTES = st.builds(Note, st.text(max_size=8), st.integers(0, 9), st.lists(st.text()), st.text())


def check(message: Message) -> None:
    """Raises what the sink would raise, at which a bundle is tried for ever."""
    PubsubMessage(*message)._to_proto_str(for_publish=True)
    assert all(len(value.encode()) <= 1024 for value in message.attributes.values())
    assert len(message.data) <= MAX_MESSAGE_BYTES


@given(NOTES, st.integers(200, 400))
def test_an_element_is_cut_to_what_it_may_take(note: Note, most: int) -> None:
    """The result fits, keeps its numbers, and is the same object where it fitted already."""
    fitting = shrink(note, most)
    size = len(msgspec.json.encode(note))
    assert len(msgspec.json.encode(fitting)) <= most
    assert fitting.number == note.number
    assert (fitting is note) == (size <= most)
    assert shrink(note, most) == fitting


def test_the_longest_is_cut_first() -> None:
    """Short texts, such as ids, stay whole beside a long one."""
    fitting = shrink(Note("an id", 1, ["a", "b"], "x" * 10_000), 500)
    assert (fitting.name, fitting.texts) == ("an id", ["a", "b"])
    assert 100 < len(fitting.more) < 500


def test_what_cannot_be_made_smaller_stays_as_it_is() -> None:
    """Numbers alone are never too large for a message; cutting ends."""
    assert shrink(Note("", 12_345), 10) == Note("", 12_345)


def test_attributes_are_cut_and_empty_ones_left_out() -> None:
    """Pub/Sub counts bytes of UTF-8, and half a character is no text."""
    message = element_message(Note("", 1), {"long": "ü" * 2_000, "empty": "", "short": "s"})
    assert message.attributes == {"long": "ü" * 512, "short": "s"}


@pytest.mark.parametrize("count", [1, 20_000])
def test_an_anomaly_with_too_much_evidence_is_published_cut(count: int) -> None:
    """One endless line or many of them: the message is one that Pub/Sub takes, and says that it was cut."""
    line = HUGE if count == 1 else "line " * 100
    examples = [Example(number, number, f"i{number}", line) for number in range(count)]
    evidence = [Evidence(pattern_id="p", pattern="line", count=count, examples=examples)]
    found = anomaly("acme", "payments", 1, evidence=evidence, endpoint="/" + "ü" * 3_000)
    message = anomaly_message(found)
    check(message)
    assert message.attributes["truncated"] == "true"
    assert json.loads(message.data)["anomaly_id"] == found.anomaly_id
    assert "truncated" not in anomaly_message(anomaly("acme", "payments", 1)).attributes


def test_an_alert_event_with_too_much_in_it_is_published_cut() -> None:
    """It can still be read as an event; ids stay."""
    event = alert_event(example=HUGE, recommended_actions=["do this " * 50] * 5_000, service="s" * 2_000)
    message = event_message(event)
    check(message)
    assert message.attributes["truncated"] == "true"
    read = parse_event_message(*message)
    assert (read.event_id, read.alert_id, read.sequence) == (event.event_id, event.alert_id, event.sequence)
    assert read.recommended_actions


def test_a_dead_letter_says_whose_it_is_and_why() -> None:
    """Filters of subscriptions see tenant, stage and reason; the body is the row, and small."""
    letter = DeadLetter("d1", "acme", "parse", "not_json", "at 3", "x" * 2_000, 10**7, 60_000_000, count=7)
    message = dead_letter_message(letter)
    assert message.attributes == {"tenant_id": "acme", "stage": "parse", "reason": "not_json"}
    assert msgspec.json.decode(message.data, type=DeadLetter) == letter
    huge = dead_letter_message(msgspec.structs.replace(letter, payload=HUGE))
    check(huge)
    assert len(huge.data) <= 64 << 10
    assert huge.attributes["truncated"] == "true"
