"""The same job from a Pub/Sub subscription to the store and a topic, with real clients and the emulator."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam
import pytest
from google.cloud import pubsub_v1

from pipeline.duckdb_store import acquire_store, release_store
from pipeline.heartbeat_messages import HEARTBEAT_TYPE
from pipeline.main import build_job, choose_runner
from pipeline.options import parse_options
from pipeline.sources import END_TIME_ATTRIBUTE, TIMESTAMP_ATTRIBUTE

PROJECT = "aiops-test"
DEADLINE_SECONDS = 90

pytestmark = [pytest.mark.slow, pytest.mark.pubsub, pytest.mark.usefixtures("remembered_specs")]


def publish(topic: str, entries: list[dict[str, object]], attribute: str = TIMESTAMP_ATTRIBUTE) -> None:
    publisher = pubsub_v1.PublisherClient()
    sent = []
    for entry in entries:
        timestamp = str(entry.get("timestamp", now()))
        sent.append(publisher.publish(topic, json.dumps(entry).encode(), **{attribute: timestamp}))
    for future in sent:
        future.result(timeout=30)


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def failing_line(number: int) -> dict[str, object]:
    return {
        "insertId": f"i{number}",
        "logName": "projects/acme/logs/stdout",
        "timestamp": now(),
        "receiveTimestamp": now(),
        "severity": "ERROR" if number % 2 else "INFO",
        "resource": {"type": "cloud_run_revision", "labels": {"service_name": "payment"}},
        "textPayload": f"charge {number} refused for ann{number}@example.com"
        if number % 2
        else "charge done",
    }


def test_logs_from_pubsub_become_rows_and_published_anomalies(
    pubsub_emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages of a sink come out as a window, as anomalies and dead letters in store and topics, and as a
    balanced ledger; meanwhile the job gives signs of life.
    """
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    topics = {name: publisher.topic_path(PROJECT, name) for name in ("logs", "anomalies", "letters", "beats")}
    subscriptions = {name: subscriber.subscription_path(PROJECT, name) for name in topics}
    for name, topic in topics.items():
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=subscriptions[name], topic=topic)

    store_path = str(tmp_path / "live.duckdb")
    settings, options = parse_options(
        [
            *("--input_subscription", subscriptions["logs"], "--anomaly_topic", topics["anomalies"]),
            *("--store", store_path, "--window_seconds", "10", "--dead_letter_topic", topics["letters"]),
            *("--heartbeat_topic", topics["beats"]),
        ]
    )
    pipeline = beam.Pipeline(runner=choose_runner(settings), options=options)
    build_job(pipeline, settings)
    result = pipeline.run()
    try:
        publish(
            topics["logs"], [failing_line(number) for number in range(60)] + [{"broken": "ann@example.com"}]
        )
        messages = pull_some(subscriber, subscriptions["anomalies"])
        rows, letters, balance = wait_for_rows(store_path, 61)
        told = pull_some(subscriber, subscriptions["letters"])
        beats = pull_some(subscriber, subscriptions["beats"])
    finally:
        result.cancel()

    assert {beat["type"] for beat in beats} == {HEARTBEAT_TYPE}
    assert {message["tenant_id"] for message in messages} == {"acme"}
    assert {message["anomaly_type"] for message in messages} >= {"error_spike"}
    assert sum(row["lines"] for row in rows) == 60
    assert len(letters) == 1
    assert [(letter["stage"], letter["payload"]) for letter in told] == [("parse", letters[0]["payload"])]
    assert "ann@example.com" not in letters[0]["payload"]
    assert balance == (61, 0)


def time_series(number: int) -> dict[str, object]:
    return {
        "metric": {"type": "custom.googleapis.com/queue", "labels": {"user": f"ann{number % 3}@example.com"}},
        "resource": {
            "type": "cloud_run_revision",
            "labels": {"project_id": "acme", "service_name": "payment"},
        },
        "metricKind": "GAUGE",
        "points": [{"interval": {"endTime": now()}, "value": {"int64Value": str(number)}}],
    }


def test_metrics_from_pubsub_become_rows_beside_logs(
    pubsub_emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One job reads both subscriptions: windows of services and of series, and two balanced ledgers."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    topics = {name: publisher.topic_path(PROJECT, f"both-{name}") for name in ("logs", "metrics")}
    subscriptions = {name: subscriber.subscription_path(PROJECT, f"both-{name}") for name in topics}
    for name, topic in topics.items():
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=subscriptions[name], topic=topic)

    store_path = str(tmp_path / "live.duckdb")
    settings, options = parse_options(
        [
            *("--input_subscription", subscriptions["logs"]),
            *("--metrics_subscription", subscriptions["metrics"]),
            *("--store", store_path, "--window_seconds", "10"),
        ]
    )
    pipeline = beam.Pipeline(runner=choose_runner(settings), options=options)
    build_job(pipeline, settings)
    result = pipeline.run()
    try:
        # The local runner pulls ten messages at a time, and waits long for more of each in turn.
        publish(topics["logs"], [failing_line(number) for number in range(9)])
        found = [time_series(number) for number in range(30)]
        messages = [*found[:5], {"timeSeries": found[5:]}, {"broken": "ann@example.com"}]
        publish(topics["metrics"], messages, END_TIME_ATTRIBUTE)
        windows, letters, balance = wait_for_rows(store_path, 9 + 31, 2 * DEADLINE_SECONDS)
        store = acquire_store(store_path)
        series = store.query(
            "SELECT sum(points)::INT AS points, any_value(labels) AS labels "
            "FROM current_metric_windows WHERE service = 'payment' AND tenant_id = 'acme'"
        )
        release_store(store_path)
    finally:
        result.cancel()

    assert balance == (40, 0)
    assert sum(row["lines"] for row in windows) == 9
    assert series[0]["points"] == 30
    assert "<email:" in series[0]["labels"]
    assert [("ann@example.com" in letter["payload"]) for letter in letters] == [False]


def pull_some(subscriber: pubsub_v1.SubscriberClient, subscription: str) -> list[dict[str, str]]:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        response = subscriber.pull(
            subscription=subscription, max_messages=100, return_immediately=True, timeout=10
        )
        if response.received_messages:
            return [json.loads(received.message.data) for received in response.received_messages]
        time.sleep(0.5)
    pytest.fail(f"no anomaly was published within {DEADLINE_SECONDS} s")


def wait_for_rows(
    store_path: str, received: int, seconds: int = DEADLINE_SECONDS
) -> tuple[list[dict[str, int]], list[dict[str, str]], tuple[int, int]]:
    """Windows, dead letters, and the ledger's (received, difference) once all lines are accounted for."""
    store = acquire_store(store_path)
    try:
        deadline = time.monotonic() + seconds
        while True:
            counted = store.query(
                "SELECT sum(received) AS n, sum(abs(difference)) AS off FROM ledger_balance"
            )[0]
            balance = (counted["n"], counted["off"])
            if balance == (received, 0) or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        windows = store.query("SELECT lines FROM current_service_windows WHERE service = 'payment'")
        letters = store.query("SELECT payload FROM current_dead_letters")
        return windows, letters, balance
    finally:
        release_store(store_path)
