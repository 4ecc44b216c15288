"""Gemini in a live job: from Pub/Sub to the store, with real clients, the emulator and a server over HTTP."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from fake_gemini import FakeGemini, say, serving
from gemini_samples import truthful
from google.cloud import pubsub_v1
from test_streaming import DEADLINE_SECONDS, PROJECT, failing_line, publish

from pipeline.duckdb_store import acquire_store, release_store
from pipeline.main import build_job, choose_runner
from pipeline.options import parse_options

pytestmark = [pytest.mark.slow, pytest.mark.pubsub, pytest.mark.usefixtures("remembered_specs")]


def line_of(service: int, number: int) -> dict[str, object]:
    resource = {"type": "cloud_run_revision", "labels": {"service_name": f"shop-{service}"}}
    return failing_line(2 * number + 1) | {"resource": resource, "insertId": f"{service}-{number}"}


def test_a_live_batch_is_asked_about_and_every_anomaly_of_it_is_stored(
    pubsub_emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve failing services fill a batch of ten; what Gemini says of them is in the store."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    topic = publisher.topic_path(PROJECT, "gemini-logs")
    subscription = subscriber.subscription_path(PROJECT, "gemini-logs")
    publisher.create_topic(name=topic)
    subscriber.create_subscription(name=subscription, topic=topic)
    store_path = str(tmp_path / "live.duckdb")
    with serving(say(truthful, seconds=0.5)) as server:
        settings, options = parse_options(
            [
                *("--input_subscription", subscription, "--store", store_path, "--window_seconds", "10"),
                *("--enable_gemini_analysis", "--gemini_base_url", server.url, "--batch_size", "10"),
            ]
        )
        pipeline = beam.Pipeline(runner=choose_runner(settings), options=options)
        build_job(pipeline, settings)
        result = pipeline.run()
        try:
            publish(topic, [line_of(service, number) for number in range(3) for service in range(12)])
            prompts, calls, anomalies = wait_for_answers(store_path, server)
        finally:
            result.cancel()
    answered = [call for call in calls if call["outcome"] == "answered"]
    assert len(answered) >= 10
    assert len({call["call_id"] for call in calls}) == len(calls)
    assert prompts == len({call["request_id"] for call in answered})
    assert {row["service"] for row in anomalies} == {call["service"] for call in answered}


def wait_for_answers(
    store_path: str, server: FakeGemini
) -> tuple[int, list[dict[str, Any]], list[dict[str, Any]]]:
    """Requests, rows of windows, anomalies of Gemini, once ten are answered and none is in flight."""
    store = acquire_store(store_path)
    try:
        deadline = time.monotonic() + 2 * DEADLINE_SECONDS
        while True:
            calls = store.query("SELECT * FROM gemini_calls WHERE subject = 'window'")
            anomalies = store.query("SELECT * FROM current_anomalies WHERE detector = 'gemini'")
            prompts = len(server.requests)
            answered = [call["request_id"] for call in calls if call["outcome"] == "answered"]
            is_done = len(set(answered)) == prompts and min(len(answered), len(anomalies)) >= 10
            if is_done or time.monotonic() > deadline:
                return prompts, calls, anomalies
            time.sleep(0.5)
    finally:
        release_store(store_path)
