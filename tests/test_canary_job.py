"""A canary through the real job: published where logs come in, and back from the topic of alerts."""

from __future__ import annotations

import json
from pathlib import Path

import apache_beam as beam
import pytest
from google.cloud import pubsub_v1
from typer.testing import CliRunner

from aiops.cli import app
from pipeline.alert_log import stored_events
from pipeline.duckdb_store import acquire_store, release_store
from pipeline.main import build_job, choose_runner
from pipeline.options import parse_options
from transforms.elements import CANARY_SERVICE

PROJECT = "aiops-test"


@pytest.mark.usefixtures("remembered_specs")
@pytest.mark.slow
@pytest.mark.pubsub
def test_a_canary_comes_back_from_a_job_that_streams(
    pubsub_emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor finds its alert, says how long it took, and leaves no subscription behind."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    topics = {name: publisher.topic_path(PROJECT, f"canary-{name}") for name in ("logs", "alerts")}
    for topic in topics.values():
        publisher.create_topic(name=topic)
    logs = subscriber.subscription_path(PROJECT, "canary-logs")
    subscriber.create_subscription(name=logs, topic=topics["logs"])
    store_path = str(tmp_path / "live.duckdb")
    arguments = [
        *("--input_subscription", logs, "--alert_topic", topics["alerts"], "--store", store_path),
        *("--window_seconds", "10", "--group_wait_seconds", "1"),
    ]
    settings, options = parse_options(arguments)
    pipeline = beam.Pipeline(runner=choose_runner(settings), options=options)
    build_job(pipeline, settings)
    result = pipeline.run()
    store = acquire_store(store_path)
    try:
        done = CliRunner().invoke(app, ["doctor", *arguments, "--canary", "--timeout", "120", "--json"])
        found = json.loads(done.stdout)
        check = found["checks"][-1]
        assert (done.exit_code, check["layer"], check["state"]) == (0, "canary", "ok"), found
        assert check["found"].startswith("opened after")
        assert 0 < check["seconds"] < 120
        events = stored_events(store)
    finally:
        release_store(store_path)
        result.cancel()
    assert {event.service for event in events} == {CANARY_SERVICE}
    left = [one.name for one in subscriber.list_subscriptions(project=f"projects/{PROJECT}")]
    assert not [name for name in left if "aiops-doctor-" in name]
