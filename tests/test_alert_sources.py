"""Commands and past events on their way into the job, and events on their way out."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from google.api_core.exceptions import NotFound
from google.cloud import pubsub_v1
from sample_alerts import START_US, alert_command, alert_event

from pipeline.alert_commands import STAGE as COMMAND_STAGE
from pipeline.alert_files import AlertFileError, check_event_files, read_events
from pipeline.alert_log import sort_events, stored_events, write_events
from pipeline.alert_messages import parse_event_message
from pipeline.alert_sinks import STAGE, PublishAlertEventsPerTenant, _PublishPerTenant, tenant_topic
from pipeline.alert_sources import ParseAlertCommands, ReadPastAlerts
from pipeline.duckdb_store import DuckDBStore
from transforms.alert_elements import AlertEvent, Matcher
from transforms.coders import register_coders, register_struct
from transforms.elements import MINUTE_US, DeadLetter
from transforms.redact.settings import DemoKey, RedactSettings

REDACT = RedactSettings(DemoKey())
TEMPLATE = "projects/aiops-test/topics/alerts-{tenant}"
register_coders()
register_struct(AlertEvent)


def life(tenant: str = "acme", service: str = "payment", start: int = START_US) -> list[AlertEvent]:
    """An alert that is opened, acknowledged and resolved."""
    types = ("opened", "acknowledged", "resolved")
    statuses = ("open", "acknowledged", "resolved")
    return [
        alert_event(
            number, tenant_id=tenant, service=service, event_type=kind, status=status,
            occurred_at=start + number * MINUTE_US,
        )
        for number, (kind, status) in enumerate(zip(types, statuses, strict=True))
    ]  # fmt: skip


# --------------------------------------------------------------------------------- commands


def test_commands_are_parsed_redacted_and_named_after_their_subscription() -> None:
    """A command goes on with the tenant of its subscription; what is none becomes a redacted dead letter."""
    messages = [
        ("globex", msgspec.json.encode(alert_command(note="pw=hunter2")), START_US),
        ("acme", b'{"command_id": "pw=hunter2"}', START_US + 1),
    ]
    with TestPipeline() as pipeline:
        parsed = pipeline | beam.Create(messages) | ParseAlertCommands(REDACT)
        commands = parsed.commands | beam.MapTuple(
            lambda tenant, command: (tenant, command.tenant_id, "hunter2" in command.note)
        )
        letters = parsed.dead_letters | beam.Map(
            lambda letter: (letter.tenant_id, letter.stage, letter.reason, "hunter2" in str(letter))
        )
        assert_that(commands, equal_to([("globex", "acme", False)]), "commands")
        assert_that(letters, equal_to([("acme", COMMAND_STAGE, "wrong_type", False)]), "letters")


# ----------------------------------------------------------------------------------- the past


def test_events_come_back_from_the_store(tmp_path: Path) -> None:
    """All fields, in the order of their life, each once, of one tenant or of all."""
    events = [
        *life(),
        *life("globex", "search", START_US - MINUTE_US),
        alert_event(3, silenced_until=START_US, matchers=[Matcher("type", "=~", "a|b")]),
    ]
    with DuckDBStore(str(tmp_path / "s.duckdb")) as store:
        store.append("alert_events", events[::-1])
        store.append("alert_events", events[:2])
        assert stored_events(store) == [*events[:3], events[6], *events[3:6]]
        assert stored_events(store, "globex") == events[3:6]
        assert stored_events(store, "nobody") == []


def test_alerts_that_are_long_over_are_not_past(tmp_path: Path) -> None:
    """With past_days, old alerts stay only where they are open, and then with all their events."""
    day = 24 * 60 * MINUTE_US
    old_open = alert_event(0, service="cart", occurred_at=START_US)
    old_over = life(service="search")
    new = life(service="payment", start=START_US + 40 * day)
    with DuckDBStore(str(tmp_path / "s.duckdb")) as store:
        store.append("alert_events", [old_open, *old_over, *new])
        assert stored_events(store, past_days=30) == [old_open, *new]
        assert len(stored_events(store, past_days=50)) == 7


def test_events_of_an_older_store_have_the_defaults_of_new_columns(tmp_path: Path) -> None:
    """A column that was added later is null in old rows: the field's default stands for it."""
    path = str(tmp_path / "s.duckdb")
    with DuckDBStore(path) as store:
        store.append("alert_events", life())
        store.query("ALTER TABLE alert_events ALTER COLUMN findings DROP NOT NULL")
        store.query("UPDATE alert_events SET findings = NULL")
        assert [event.findings for event in stored_events(store)] == [[], [], []]


def test_events_are_sorted_by_their_life() -> None:
    """The clock of a file and the clock of the wall may differ: within an alert the sequence counts."""
    opened, commented, updated = (
        alert_event(number, occurred_at=START_US + minute * MINUTE_US)
        for number, minute in enumerate((0, 500, 2))
    )
    other = alert_event(service="cart", occurred_at=START_US + 5 * MINUTE_US)
    assert sort_events([updated, other, commented, opened]) == [opened, other, commented, updated]


def test_files_of_events_are_read_back(tmp_path: Path) -> None:
    """What export wrote is read; empty lines and empty files are no mistake."""
    plain, empty = tmp_path / "a.ndjson", tmp_path / "b.ndjson"
    with plain.open("wb") as file:
        assert write_events(life(), file) == 3
        file.write(b"\n")
    empty.touch()
    assert list(read_events(str(plain))) == life()
    assert check_event_files([str(plain), str(empty), str(plain)]) == 6


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{}\n", "line 1: it is no alert event in JSON"),
        (msgspec.json.encode(alert_event()) + b"\nx\n", "line 2: it is no alert event"),
        (b" " * (2 << 20), "line 1: it is longer than"),
        (None, "cannot be read"),
    ],
)
def test_wrong_files_are_told_by_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    """The error names file, line and mend, and nothing of the content."""
    path = tmp_path / "past.ndjson"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AlertFileError, match=said):
        check_event_files([str(path)])


def test_the_past_comes_from_store_and_files(tmp_path: Path) -> None:
    """Both are read, an event in both counts once; a file that became unreadable stops nothing."""
    store, path = tmp_path / "s.duckdb", tmp_path / "past.ndjson"
    with DuckDBStore(str(store)) as opened:
        opened.append("alert_events", life()[:2])
    with path.open("wb") as file:
        write_events([*life(), *life("globex")], file)
    with TestPipeline() as pipeline:
        past = pipeline | ReadPastAlerts([str(path), str(tmp_path / "gone")], str(store))
        found = past | beam.Map(lambda event: (event.tenant_id, event.sequence))
        assert_that(found, equal_to([(tenant, n) for tenant in ("acme", "globex") for n in range(3)]))


# -------------------------------------------------------------------------------- publishing


@pytest.mark.parametrize(
    ("tenant", "topic"),
    [
        ("acme-prod", "projects/p/topics/alerts-acme-prod"),
        ("acme corp/ü", "projects/p/topics/alerts-acme%20corp%2F%C3%BC"),
        ("x" * 300, ""),
        ("ü" * 60, ""),
    ],
)
def test_topics_of_tenants(tenant: str, topic: str) -> None:
    """A tenant's name becomes a legal name of a topic, different for different tenants, or none."""
    assert tenant_topic("projects/p/topics/alerts-{tenant}", tenant) == topic


class FakePublisher:
    """Topics that exist take messages, others refuse them."""

    def __init__(self, *topics: str) -> None:
        self.taken: dict[str, list[bytes]] = {topic: [] for topic in topics}

    def publish(self, topic: str, data: bytes, **attributes: str) -> Future[str]:
        future: Future[str] = Future()
        if topic in self.taken:
            self.taken[topic].append(data)
            future.set_result("1")
        else:
            future.set_exception(NotFound(f"no {topic}"))
        return future


def test_a_tenant_without_a_topic_does_not_stop_the_others() -> None:
    """Its events become dead letters that name the topic; the others' go to their own topics only."""
    publish = _PublishPerTenant(TEMPLATE)
    publish._publisher = FakePublisher(tenant_topic(TEMPLATE, "acme"))
    publish.start_bundle()
    letters = [
        letter
        for event in (alert_event(), alert_event(tenant_id="globex"), alert_event(tenant_id="x" * 300))
        for letter in publish.process(event)
    ]
    letters += [windowed.value for windowed in publish.finish_bundle()]
    assert [
        parse_event_message(data) for data in publish._publisher.taken[tenant_topic(TEMPLATE, "acme")]
    ] == [alert_event()]
    assert [(letter.tenant_id[:6], letter.stage, letter.reason) for letter in letters] == [
        ("xxxxxx", STAGE, "no_topic"),
        ("globex", STAGE, "no_topic"),
    ]
    assert tenant_topic(TEMPLATE, "globex") in letters[1].detail


def test_dead_letters_of_alerts_are_no_lines_of_the_ledger(tmp_path: Path) -> None:
    """Commands and unpublished events leave the balance of lines alone."""
    with DuckDBStore(str(tmp_path / "s.duckdb")) as store:
        letters = [
            DeadLetter(str(number), "acme", stage, "x", "", "", 0, START_US)
            for number, stage in enumerate((COMMAND_STAGE, STAGE))
        ]
        store.append("dead_letters", letters)
        assert store.ledger_totals()["dead_lettered"] == 0
        assert store.ledger_totals()["balanced"]
        assert len(store.query("SELECT * FROM current_dead_letters")) == 2


@pytest.mark.slow
@pytest.mark.pubsub
def test_each_tenants_topic_gets_its_own_events(
    pubsub_emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With real clients: each topic has the CloudEvents of its tenant, with attributes, and no other's."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    subscriptions = {}
    for tenant in ("acme", "globex"):
        publisher.create_topic(name=tenant_topic(TEMPLATE, tenant))
        subscriptions[tenant] = subscriber.subscription_path("aiops-test", f"sub-{tenant}")
        subscriber.create_subscription(name=subscriptions[tenant], topic=tenant_topic(TEMPLATE, tenant))
    events = [*life(), *life("globex"), *life("nowhere")]
    with TestPipeline() as pipeline:
        letters = pipeline | beam.Create(events) | PublishAlertEventsPerTenant(TEMPLATE)
        assert_that(letters | beam.Map(lambda letter: letter.tenant_id), equal_to(["nowhere"] * 3))
    for tenant, subscription in subscriptions.items():
        response = subscriber.pull(subscription=subscription, max_messages=100, timeout=20)
        messages: list[Any] = [received.message for received in response.received_messages]
        found = [parse_event_message(message.data, dict(message.attributes)) for message in messages]
        assert sort_events(found) == life(tenant)
        assert {message.attributes["tenant_id"] for message in messages} == {tenant}
        assert json.loads(messages[0].data)["specversion"] == "1.0"
