"""Alert events as CloudEvents, commands from untrusted JSON, and the schemas and samples of both."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_alerts import START_US, alert_command, alert_event

from pipeline.alert_commands import (
    MAX_COMMAND_BYTES,
    MAX_NOTE,
    STAGE,
    command_message,
    parse_command,
    redact_command,
    refused_command,
)
from pipeline.alert_messages import (
    MAX_MESSAGE_BYTES,
    MessageError,
    cloud_event,
    event_message,
    parse_event_message,
    rfc3339,
)
from pipeline.message_schemas import MESSAGES, message_schema
from transforms.alert_elements import AlertAction, AlertCommand, AlertEvent, AlertEventType, Matcher
from transforms.redact.redactor import Redactor
from transforms.redact.settings import DemoKey, RedactSettings

GOLDEN = Path(__file__).parent / "golden_messages"
HOSTILE = "pw=hunter2 ann@example.com \u202e\x1b[31m <script> @channel"
SAMPLES = {
    "opened": alert_event(),
    "updated": alert_event(
        1,
        severity="critical",
        incident_id="f" * 32,
        root_cause="ledger-db",
        endpoints=["POST /charge", "GET /ü"],
    ),
    "acknowledged": alert_event(
        2, event_type="acknowledged", status="acknowledged", actor="ann", command_id="c1", note="I look at it"
    ),
    "silence": alert_event(
        event_type="silenced",
        alert_id="5" * 32,
        silence_id="5" * 32,
        silenced_until=START_US + 3_600_000_000,
        matchers=[Matcher("service", "=~", "pay.*")],
        service="",
        owner="",
    ),
}


def redactor() -> Redactor:
    return Redactor(RedactSettings(DemoKey()))


def message_json(event: AlertEvent) -> dict[str, Any]:
    message = event_message(event)
    return {"attributes": message.attributes, "body": json.loads(message.data)}


@pytest.mark.parametrize("name", SAMPLES)
def test_messages_are_as_the_golden_samples(name: str) -> None:
    """What consumers were promised is what is published; a change of it needs a new version.

    UPDATE_GOLDEN=1 writes what is published now; read the difference before committing it.
    """
    path, found = GOLDEN / f"{name}.json", message_json(SAMPLES[name])
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert found == json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_can_be_read_back(name: str) -> None:
    """A consumer gets the event that was published, and so does one with the sample of the repository."""
    message = event_message(SAMPLES[name])
    assert parse_event_message(message.data, message.attributes) == SAMPLES[name]
    sample = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
    assert parse_event_message(json.dumps(sample["body"]).encode()) == SAMPLES[name]


def test_the_envelope_is_a_cloud_event() -> None:
    """All required attributes are there; names are lower case and digits; times are RFC 3339."""
    body = json.loads(event_message(alert_event(3)).data)
    assert body["specversion"] == "1.0"
    assert body["time"] == "2026-01-01T10:03:00.000000Z"
    assert body["sequence"] == "0000000003"
    assert body["type"] == "internal.aiops.alert.updated.v1"
    assert body["source"] == f"/tenants/acme/alerts/{body['subject']}"
    assert all(re.fullmatch(r"[a-z0-9]{1,20}", name) and value for name, value in body.items())
    assert cloud_event(alert_event(tenant_id="a/b?c d")).source.startswith("/tenants/a%2Fb%3Fc%20d/alerts/")


def test_sequences_sort_as_texts() -> None:
    """The extension `sequence` is compared as text."""
    texts = [cloud_event(alert_event(number)).sequence for number in (0, 2, 9, 10, 99, 100, 12345)]
    assert texts == sorted(texts)


def test_attributes_fit_pubsub() -> None:
    """No value is empty, longer than 1,024 bytes or cut within a character; filters can name types."""
    event = alert_event(service="ü" * 2_000, owner="", anomaly_types=["error_spike", "no type!"])
    attributes = event_message(event).attributes
    assert attributes["service"] == "ü" * 512
    assert all(0 < len(value.encode()) <= 1024 for value in attributes.values())
    assert [name for name in attributes if name.startswith("anomaly_type_")] == ["anomaly_type_error_spike"]
    assert "owner" not in attributes
    assert not {"topic", "data", "ordering_key", "retry", "timeout"} & set(attributes)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_json"),
        (b"\xff", "not_json"),
        (b"[" * 100_000, "wrong_type"),
        (b'{"x":' + b"[" * 100_000, "not_json"),
        (b"[]", "wrong_type"),
        (b"{}", "wrong_type"),
        (b" " * (MAX_MESSAGE_BYTES + 1), "too_large"),
    ],
)
def test_what_is_no_event_is_refused(data: bytes, reason: str) -> None:
    """The reason is one of a few words."""
    with pytest.raises(MessageError) as caught:
        parse_event_message(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"specversion": "0.3"}, "unknown_version"),
        ({"type": "internal.aiops.alert.opened.v2"}, "unknown_version"),
        ({"type": "internal.aiops.alert.resolved.v1"}, "unknown_version"),
        ({"id": "x"}, "contradiction"),
        ({"data": {"event_id": HOSTILE}}, "wrong_type"),
    ],
)
def test_contradictions_are_refused(change: dict[str, Any], reason: str) -> None:
    """An envelope of another version, or one that contradicts its data, is not guessed at."""
    body = json.loads(event_message(alert_event()).data) | change
    with pytest.raises(MessageError) as caught:
        parse_event_message(json.dumps(body).encode())
    assert caught.value.reason == reason
    assert "hunter2" not in str(caught.value)


def test_other_content_types_are_refused() -> None:
    """The body of a binary CloudEvent is not taken for an envelope."""
    with pytest.raises(MessageError, match="wrong_content_type"):
        parse_event_message(event_message(alert_event()).data, {"content-type": "application/json"})


def test_unknown_fields_are_passed_over() -> None:
    """A newer producer may say more."""
    body = json.loads(event_message(alert_event()).data)
    body["traceparent"], body["data"]["new_field"] = "00-1", [1]
    assert parse_event_message(json.dumps(body).encode()) == alert_event()


def test_times_that_no_calendar_has_are_left_out() -> None:
    """An absurd time does not stop the message."""
    assert rfc3339(10**30) == ""
    assert rfc3339(-1) == "1969-12-31T23:59:59.999999Z"


# ------------------------------------------------------------------------------------- commands


def test_a_command_comes_back_from_its_message() -> None:
    """What `aiops alerts --topic` sends is what the job takes."""
    command = alert_command("silence", until=START_US, matchers=[Matcher("type", "!=", "silence")])
    assert parse_command(command_message(command).data, "acme") == command


def test_a_command_without_a_tenant_gets_the_subscriptions() -> None:
    """One that names another tenant keeps it, so that the book of alerts can say that it is not its own."""
    assert parse_command(msgspec.json.encode(alert_command(tenant_id="")), "acme").tenant_id == "acme"
    assert parse_command(msgspec.json.encode(alert_command()), "globex").tenant_id == "acme"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"command_id": ""}, "bad_name"),
        ({"command_id": "x" * 201}, "bad_name"),
        ({"actor": " "}, "bad_name"),
        ({"actor": "ann\n[2026] aiops resolved it"}, "bad_name"),
        ({"alert_id": "\u202e"}, "bad_name"),
        ({"actor": "aiops"}, "reserved_actor"),
        ({"issued_at": 10**30}, "number_out_of_range"),
        ({"issued_at": 0}, "number_out_of_range"),
        ({"until": -5}, "number_out_of_range"),
        ({"matchers": [{"name": "service", "operator": "=", "value": "a"}] * 21}, "too_many_matchers"),
        ({"matchers": [{"name": "service", "operator": "=~", "value": "a" * 1001}]}, "too_large"),
        ({"matchers": [{"name": HOSTILE, "operator": "=", "value": "a"}]}, "wrong_type"),
        ({"action": HOSTILE}, "wrong_type"),
        ({"note": 7}, "wrong_type"),
        ({"note": "x" * MAX_COMMAND_BYTES}, "too_large"),
    ],
)
def test_commands_that_cannot_be_used_become_redacted_dead_letters(
    changes: dict[str, Any], reason: str
) -> None:
    """Each has a reason; neither the error nor the dead letter holds a secret of the message."""
    data = json.dumps(msgspec.to_builtins(alert_command(note="pw=hunter2")) | changes).encode()
    with pytest.raises(MessageError) as caught:
        parse_command(data, "acme")
    assert caught.value.reason == reason
    letter = refused_command(data, "acme", caught.value, START_US + 7, redactor())
    assert (letter.stage, letter.reason, letter.tenant_id) == (STAGE, reason, "acme")
    assert letter.receive_minute == START_US
    assert letter.payload_bytes == len(data)
    assert "hunter2" not in f"{letter} {caught.value}"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "not_json"),
        (b"7", "wrong_type: no object"),
        (b"{}", "wrong_type: without the field `command_id`"),
    ],
)
def test_what_is_no_command_is_said_to_be_none(data: bytes, said: str) -> None:
    """The text names what is missing."""
    with pytest.raises(MessageError, match=said):
        parse_command(data, "acme")


def test_notes_and_matchers_are_redacted_and_notes_bounded() -> None:
    """Secrets go before what is beyond 2,000 characters does: none is cut in half unseen."""
    note = f"{'x' * (MAX_NOTE - 12)} pw=hunter2hunter2"
    taken = parse_command(
        msgspec.json.encode(alert_command(note=note, matchers=[Matcher("service", "=", "ann@example.com")])),
        "acme",
    )
    stored = redact_command(taken, "acme", redactor())
    assert len(stored.note) == MAX_NOTE
    assert "hunter" not in stored.note
    assert stored.matchers[0].value == redactor().text("acme", "ann@example.com")


@pytest.mark.parametrize(
    ("actor", "kept"), [("ann", True), ("ann@example.com", True), ("ann, password=hunter2", False)]
)
def test_the_actor_stays_readable(actor: str, kept: bool) -> None:
    """The audit says who it was; what is neither a handle nor an address is redacted."""
    assert (redact_command(alert_command(actor=actor), "acme", redactor()).actor == actor) is kept


@given(st.binary(max_size=200))
def test_any_bytes_are_a_command_or_a_message_error(data: bytes) -> None:
    """Nothing else is raised, whatever comes."""
    for parse in (parse_event_message, lambda payload: parse_command(payload, "acme")):
        with suppress(MessageError):
            parse(data)


# -------------------------------------------------------------------------------------- schemas


def test_schemas_describe_every_field() -> None:
    """Each field of an event and of a command has a description, times have their unit."""
    for name, struct in MESSAGES.values():
        schema = message_schema(name, struct)
        assert schema["$id"] == name
        assert set(schema["properties"]) == set(struct.__struct_fields__)
        assert all(field["description"] for field in schema["properties"].values())
    event = message_schema("x", AlertEvent)
    assert "Microseconds" in event["properties"]["occurred_at"]["description"]
    assert event["properties"]["event_type"]["enum"] == sorted(AlertEventType.__args__)  # type: ignore[attr-defined]
    command = message_schema("x", AlertCommand)
    assert command["properties"]["action"]["enum"] == sorted(AlertAction.__args__)  # type: ignore[attr-defined]


def test_old_commands_stay_commands() -> None:
    """What version 1 asks for does not grow: senders of today stay right."""
    required = message_schema("x", AlertCommand)["required"]
    assert required == ["command_id", "tenant_id", "action", "actor", "issued_at"]
