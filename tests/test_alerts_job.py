"""Alerts of whole runs: over files, run again, after people acted; and from Pub/Sub to Pub/Sub."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from google.cloud import pubsub_v1
from query_server import DATASET, query_server
from sample_alerts import alert_event
from typer.testing import CliRunner

from aiops.alerts.acting import apply_to_store
from aiops.cli import app
from aiops.simulate.config import SimulationConfig
from aiops.simulate.generator import simulate
from pipeline.alert_commands import command_message
from pipeline.alert_log import stored_events
from pipeline.alert_messages import parse_event_message
from pipeline.bigquery_client import EMULATOR_VARIABLE
from pipeline.duckdb_store import DuckDBStore
from pipeline.main import build_job, choose_runner, run
from pipeline.options import parse_options
from pipeline.sources import TIMESTAMP_ATTRIBUTE
from pipeline.store import acquire_store, release_store
from transforms.alert.view import AlertView, fold_events
from transforms.alert_elements import AlertCommand, AlertEvent
from transforms.clock import wall_clock_us
from transforms.elements import MINUTE_US
from transforms.redact.redactor import Redactor
from transforms.redact.settings import DemoKey, RedactSettings

PROJECT = "aiops-test"
DEADLINE_SECONDS = 120
RECEIVED_AT = "2026-01-12T15:00:00Z"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Logs of fifteen minutes of two tenants with two faults, and the store of a run over them."""
    folder = tmp_path_factory.mktemp("shop")
    config = SimulationConfig(
        seed=7,
        duration_seconds=900,
        tenants=2,
        rate=40.0,
        faults="errors@payment+2m/3m,errors@cart+10m/3m",
    )
    logs = folder / "logs.ndjson"
    logs.write_bytes(b"\n".join(simulate(config)) + b"\n")
    return logs, run_over(folder / "once.duckdb", logs)


def run_over(store: Path, logs: Path, *arguments: str) -> Path:
    run(["--input", str(logs), "--store", str(store), "--received_at", RECEIVED_AT, *arguments])
    return store


def events_of(store: Path) -> list[AlertEvent]:
    with DuckDBStore(str(store), read_only=True) as opened:
        return stored_events(opened)


def copy(store: Path, to: Path) -> Path:
    to.write_bytes(store.read_bytes())
    return to


def act(store: Path, view: AlertView, action: str, **more: Any) -> list[AlertEvent]:
    clock = wall_clock_us()
    command = AlertCommand(
        f"{action}-{clock}", view.tenant_id, action, "ann", clock, view.alert_id, **more  # type: ignore[arg-type]
    )  # fmt: skip
    redactor = Redactor(RedactSettings(DemoKey()))
    return apply_to_store(str(store), command, redactor, clock)


def contradictions(events: list[AlertEvent]) -> list[str]:
    """What cannot be in the life of an alert."""
    found = []
    for view in fold_events(events).values():
        kinds = [event.event_type for event in view.events]
        if [event.sequence for event in view.events] != list(range(len(kinds))):
            found.append(f"{view.alert_id}: gaps in {kinds}")
        if kinds.count("opened") != 1 or kinds[0] != "opened":
            found.append(f"{view.alert_id}: {kinds}")
    return found


def test_a_run_over_files_opens_alerts(shop: tuple[Path, Path]) -> None:
    """Faults become alerts of their services and tenants, with lives that hold together."""
    events = events_of(shop[1])
    assert {"payment", "cart"} <= {event.service for event in events}
    assert contradictions(events) == []
    assert {event.event_type for event in events} >= {"opened"}
    assert all(event.actor == "aiops" for event in events)


@pytest.mark.slow
def test_the_catalog_gives_alerts_their_owner_and_weighs_them(
    shop: tuple[Path, Path], tmp_path: Path
) -> None:
    """Owner, runbook and tier come from the file; fourth-tier services have no critical alert."""
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(
        "services:\n"
        "- {service: payment, owner: team-pay, runbook: 'https://runbooks.example.com/p', tier: 4}\n"
        "- {service: '*', owner: platform, tier: 4}\n"
    )
    weighed = events_of(run_over(tmp_path / "s.duckdb", shop[0], "--catalog", str(catalog)))
    payments = [event for event in weighed if event.service == "payment"]
    assert {(event.owner, event.runbook) for event in payments} == {
        ("team-pay", "https://runbooks.example.com/p")
    }
    assert {event.owner for event in weighed if event.service != "payment"} == {"platform"}
    assert {event.severity for event in events_of(shop[1]) if event.service == "payment"} & {
        "high",
        "critical",
    }
    assert {event.severity for event in weighed} <= {"low", "medium"}


def test_a_run_again_into_the_same_store_adds_no_event(shop: tuple[Path, Path], tmp_path: Path) -> None:
    """The store's past is known: the same lines tell nothing new."""
    again = run_over(copy(shop[1], tmp_path / "again.duckdb"), shop[0])
    assert events_of(again) == events_of(shop[1])


@pytest.mark.slow
def test_what_people_said_survives_a_run_again(shop: tuple[Path, Path], tmp_path: Path) -> None:
    """No sequence number is used twice, no alert opens twice, and the acknowledgement stays."""
    store = copy(shop[1], tmp_path / "again.duckdb")
    view = next(view for view in fold_events(events_of(store)).values() if view.is_active)
    act(store, view, "acknowledge", note="on it")
    act(store, view, "comment", note="a bad deploy")
    said = events_of(store)
    after = events_of(run_over(store, shop[0]))
    assert contradictions(after) == []
    assert [event for event in after if event in said] == said
    assert fold_events(after)[view.alert_id].acknowledged_by == "ann"


@pytest.mark.slow
def test_what_people_said_survives_a_run_again_with_a_dataset(
    shop: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same of BigQuery: the job writes there, and another begins with what is there."""
    store = copy(shop[1], tmp_path / "rows.duckdb")
    (view, *_) = fold_events(events_of(store)).values()
    before = events_of(store) + act(store, view, "comment", note="mine")
    with query_server(str(store)) as server:
        monkeypatch.setenv(EMULATOR_VARIABLE, server.address)
        failed = str(tmp_path / "failed")
        arguments = ["--dataset", DATASET, "--failed_rows", failed, "--received_at", RECEIVED_AT]
        run(["--input", str(shop[0]), *arguments])
        written = {path.split("/")[-2] for path, _ in server.requests if path.endswith("/insertAll")}
    assert "service_windows" in written
    assert "alert_events" not in written  # nothing of it is new
    after = events_of(store)
    assert contradictions(after) == []
    assert {event.event_id for event in after} == {event.event_id for event in before}
    assert not (tmp_path / "failed").exists()


@pytest.mark.slow
def test_exported_events_are_known_to_a_job_with_a_new_store(shop: tuple[Path, Path], tmp_path: Path) -> None:
    """With --alert_events a cold start opens no alert again."""
    past = tmp_path / "past.ndjson"
    result = CliRunner().invoke(app, ["alerts", "export", "--store", str(shop[1]), "--out", str(past)])
    assert result.exit_code == 0
    fresh = run_over(tmp_path / "fresh.duckdb", shop[0], "--alert_events", str(past))
    assert events_of(fresh) == []


def test_the_job_refuses_past_events_that_are_none(shop: tuple[Path, Path], tmp_path: Path) -> None:
    """The error names file and line, before anything is read."""
    past = tmp_path / "past.ndjson"
    past.write_text('{"alert_id": "x"}\n')
    arguments = ["run", "--input", str(shop[0]), "--store", str(tmp_path / "s.duckdb")]
    result = CliRunner().invoke(app, [*arguments, "--alert_events", str(past)])
    assert result.exit_code == 2
    assert "past.ndjson, line 1: it is no alert event" in result.output


# ------------------------------------------------------------------------------------ streams


def failing_line(number: int) -> dict[str, object]:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "insertId": f"i{number}",
        "logName": "projects/acme/logs/stdout",
        "timestamp": moment,
        "receiveTimestamp": moment,
        "severity": "ERROR" if number % 2 else "INFO",
        "resource": {"type": "cloud_run_revision", "labels": {"service_name": "payment"}},
        "textPayload": f"charge {number} refused" if number % 2 else "charge done",
    }


def wait_for(store_path: str, wanted: Callable[[list[AlertEvent]], bool]) -> list[AlertEvent]:
    deadline = time.monotonic() + DEADLINE_SECONDS
    store = acquire_store(store_path)
    try:
        while not wanted(events := stored_events(store)):
            if time.monotonic() > deadline:
                pytest.fail(f"after {DEADLINE_SECONDS} s: {[(e.event_type, e.note) for e in events]}")
            time.sleep(0.5)
        return events
    finally:
        release_store(store_path)


class Traffic(threading.Thread):
    """Lines and copies of one command, again and again.

    The local runner waits half a minute at a subscription that has nothing to give.
    """

    def __init__(self, logs: str, commands: str, command: AlertCommand) -> None:
        super().__init__(daemon=True)
        self._logs, self._commands, self._command = logs, commands, command_message(command)
        self._stopped = threading.Event()

    def run(self) -> None:
        publisher = pubsub_v1.PublisherClient()
        number = 0
        while not self._stopped.wait(0.05):
            number += 1
            line = failing_line(number)
            attribute = {TIMESTAMP_ATTRIBUTE: str(line["timestamp"])}
            publisher.publish(self._logs, json.dumps(line).encode(), **attribute).result(timeout=30)
            publisher.publish(self._commands, self._command.data).result(timeout=30)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@pytest.mark.slow
@pytest.mark.pubsub
def test_alerts_from_pubsub_to_pubsub(
    pubsub_emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs open an alert and a command acknowledges it; one that claims another tenant is rejected once, for
    all its copies; what is no command is a dead letter; all that happens is published and stored.
    """
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    names = ("alert-logs", "alert-events", "acme-commands", "alert-letters")
    topics = {name: publisher.topic_path(PROJECT, name) for name in names}
    subscriptions = {name: subscriber.subscription_path(PROJECT, name) for name in names}
    for name in names:
        publisher.create_topic(name=topics[name])
        subscriber.create_subscription(name=subscriptions[name], topic=topics[name])
    store_path = str(tmp_path / "live.duckdb")
    settings, options = parse_options(
        [
            *("--input_subscription", subscriptions["alert-logs"], "--alert_topic", topics["alert-events"]),
            *("--commands", f"acme={subscriptions['acme-commands']}"),
            *("--dead_letter_topic", topics["alert-letters"]),
            *("--store", store_path, "--window_seconds", "10", "--group_wait_seconds", "1"),
        ]
    )
    pipeline = beam.Pipeline(runner=choose_runner(settings), options=options)
    build_job(pipeline, settings)
    result = pipeline.run()
    foreign = AlertCommand("c0", "globex", "comment", "eve", wall_clock_us(), "f" * 32, note="not mine")
    traffic = Traffic(topics["alert-logs"], topics["acme-commands"], foreign)
    traffic.start()
    try:
        opened = next(
            event
            for event in wait_for(store_path, lambda found: "opened" in kinds(found))
            if event.event_type == "opened"
        )
        command = AlertCommand(
            "c1",
            "acme",
            "acknowledge",
            "ann",
            wall_clock_us(),
            opened.alert_id,
            note="password=hunter2hunter2",
        )
        for data in (command_message(command).data, b"no command of ann@example.com"):
            publisher.publish(topics["acme-commands"], data).result(timeout=30)
        events = wait_for(store_path, lambda found: kinds(found) >= {"acknowledged", "rejected"})
        letters = wait_for_letters(store_path)
        messages = pull(subscriber, subscriptions["alert-events"], len(events))
        told = pull(subscriber, subscriptions["alert-letters"], 1)
    finally:
        traffic.stop()
        result.cancel()

    assert (opened.tenant_id, opened.service) == ("acme", "payment")
    acknowledged = next(event for event in events if event.event_type == "acknowledged")
    assert (acknowledged.alert_id, acknowledged.actor) == (opened.alert_id, "ann")
    assert "hunter2" not in acknowledged.note
    rejected = [event for event in events if event.event_type == "rejected"]
    assert [(event.tenant_id, "another tenant" in event.note) for event in rejected] == [("acme", True)]
    published = {parse_event_message(message.data, message.attributes).event_id for message in messages}
    assert published >= {event.event_id for event in events}
    assert [(letter["stage"], letter["reason"]) for letter in letters] == [("parse_commands", "not_json")]
    assert "ann@example.com" not in letters[0]["payload"]
    attributes = {"tenant_id": "acme", "stage": "parse_commands", "reason": "not_json"}
    assert [(dict(message.attributes), json.loads(message.data)["payload"]) for message in told] == [
        (attributes, letters[0]["payload"])
    ]


@pytest.mark.slow
@pytest.mark.pubsub
def test_a_stream_that_begins_without_state_knows_the_alerts_of_its_store(
    pubsub_emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alert that was open goes on: what comes joins it, a command finds it, and nothing opens twice."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    names = ("cold-logs", "cold-commands")
    topics = {name: publisher.topic_path(PROJECT, name) for name in names}
    subscriptions = {name: subscriber.subscription_path(PROJECT, name) for name in names}
    for name in names:
        publisher.create_topic(name=topics[name])
        subscriber.create_subscription(name=subscriptions[name], topic=topics[name])
    past = alert_event(0, occurred_at=wall_clock_us() - MINUTE_US)
    store_path = str(tmp_path / "live.duckdb")
    with DuckDBStore(store_path) as store:
        store.append("alert_events", [past])
    settings, options = parse_options(
        [
            *("--input_subscription", subscriptions["cold-logs"], "--store", store_path),
            *("--commands", f"acme={subscriptions['cold-commands']}"),
            *("--window_seconds", "10", "--group_wait_seconds", "1", "--group_interval_seconds", "1"),
        ]
    )
    pipeline = beam.Pipeline(runner=choose_runner(settings), options=options)
    build_job(pipeline, settings)
    result = pipeline.run()
    command = AlertCommand("c1", "acme", "acknowledge", "ann", wall_clock_us(), past.alert_id)
    traffic = Traffic(topics["cold-logs"], topics["cold-commands"], command)
    traffic.start()
    try:
        events = wait_for(store_path, lambda found: kinds(found) >= {"acknowledged", "updated"})
    finally:
        traffic.stop()
        result.cancel()
    assert {event.alert_id for event in events} == {past.alert_id}
    assert contradictions(events) == []


def kinds(events: list[AlertEvent]) -> set[str]:
    return {event.event_type for event in events}


def pull(subscriber: pubsub_v1.SubscriberClient, subscription: str, count: int) -> list[Any]:
    found: list[Any] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(found) < count and time.monotonic() < deadline:
        response = subscriber.pull(
            subscription=subscription, max_messages=100, return_immediately=True, timeout=10
        )
        if ids := [received.ack_id for received in response.received_messages]:
            subscriber.acknowledge(subscription=subscription, ack_ids=ids)
        found += [received.message for received in response.received_messages]
        time.sleep(0.2)
    return found


def wait_for_letters(store_path: str) -> list[dict[str, Any]]:
    store = acquire_store(store_path)
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (letters := store.query("SELECT * FROM current_dead_letters")):
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
        return letters
    finally:
        release_store(store_path)
