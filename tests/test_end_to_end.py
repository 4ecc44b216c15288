"""The whole job from Pub/Sub to BigQuery, with the real clients, while servers fail.

That of Pub/Sub does not fail here: the local runner does not survive it, for it does not retry a pull.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from bigquery_emulator import DATASET, BigQueryEmulator
from conftest import free_port
from google.cloud import pubsub_v1
from live_shop import TENANT, LiveShop
from typer.testing import CliRunner

from aiops.cli import app
from pipeline import main
from pipeline.alert_commands import command_message
from pipeline.alert_messages import parse_event_message
from pipeline.bigquery_client import EMULATOR_VARIABLE
from pipeline.bigquery_insert import InsertSettings
from pipeline.bigquery_sink import WriteToDataset
from pipeline.failed_rows import find_failed_rows, read_failed_rows
from pipeline.main import build_job, choose_runner
from pipeline.options import parse_options
from transforms.alert_elements import AlertCommand, AlertEvent

pytestmark = [
    *(pytest.mark.cloud, pytest.mark.slow, pytest.mark.pubsub, pytest.mark.timeout(900)),
    pytest.mark.usefixtures("remembered_specs"),
]

PROJECT = "aiops-test"
DEADLINE_SECONDS = 240
IMPATIENT = InsertSettings(attempt_seconds=2, total_seconds=4, breaker_seconds=5)


def until(what: str, found: Callable[[], Any]) -> Any:
    """What `found` gives, once it is true."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (value := found()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {DEADLINE_SECONDS} s: {what}")
        time.sleep(0.5)
    return value


class Stage:
    """Topics and subscriptions, the shop that fills them, and what the job publishes."""

    def __init__(self) -> None:
        self.publisher, self.subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
        self.topics, self.subscriptions = {}, {}
        for name in ("e2e-logs", "e2e-commands", "e2e-alerts"):
            self.topics[name] = self.publisher.topic_path(PROJECT, name)
            self.subscriptions[name] = self.subscriber.subscription_path(PROJECT, name)
            self.publisher.create_topic(name=self.topics[name])
            self.subscriber.create_subscription(name=self.subscriptions[name], topic=self.topics[name])
        self.shop = LiveShop(
            self.publisher, self.topics["e2e-logs"], self.topics["e2e-commands"], ["payment", "cart"]
        )
        self.told: dict[str, AlertEvent] = {}

    def event(self, event_type: str, service: str) -> AlertEvent:
        """The newest event of that kind, once it is on the topic of alerts."""

        def find() -> AlertEvent | None:
            self._pull()
            kinds = [event for event in self.told.values() if event.event_type == event_type]
            return next((event for event in reversed(kinds) if event.service == service), None)

        found: AlertEvent = until(f"{event_type} of {service}", find)
        return found

    def acknowledge(self, alert_id: str) -> None:
        command = AlertCommand("c1", TENANT, "acknowledge", "ann", time.time_ns() // 1_000, alert_id)
        self.publisher.publish(self.topics["e2e-commands"], command_message(command).data).result(timeout=30)

    def _pull(self) -> None:
        pulled = self.subscriber.pull(
            subscription=self.subscriptions["e2e-alerts"],
            max_messages=100,
            return_immediately=True,
            timeout=10,
        ).received_messages
        for one in pulled:
            event = parse_event_message(one.message.data, one.message.attributes)
            self.told[event.event_id] = event
        if pulled:
            ids = [one.ack_id for one in pulled]
            self.subscriber.acknowledge(subscription=self.subscriptions["e2e-alerts"], ack_ids=ids)


@contextmanager
def running_job(stage: Stage, folder: Path) -> Iterator[None]:
    """The streaming job, whose Gemini is never there."""
    settings, options = parse_options(
        [
            *("--input_subscription", stage.subscriptions["e2e-logs"]),
            *("--alert_topic", stage.topics["e2e-alerts"]),
            *("--commands", f"{TENANT}={stage.subscriptions['e2e-commands']}"),
            *("--dataset", DATASET, "--failed_rows", str(folder)),
            *("--window_seconds", "20", "--group_wait_seconds", "1", "--resolve_after_seconds", "60"),
            *("--enable_gemini_analysis", "--gemini_base_url", f"http://127.0.0.1:{free_port()}"),
            *("--batch_size", "10", "--batch_timeout_seconds", "60"),
        ]
    )
    pipeline = beam.Pipeline(runner=choose_runner(settings), options=options)
    build_job(pipeline, settings)
    result = pipeline.run()
    try:
        yield
    finally:
        result.cancel()


def failed_events(folder: Path) -> set[str]:
    """Ids of alert events among the rows that BigQuery did not take."""
    rows = [row for path in find_failed_rows(f"{folder}/*") for row in read_failed_rows(path).rows]
    return {json.loads(row.row_json)["event_id"] for row in rows if row.table_name == "alert_events"}


def test_alerts_go_out_and_nothing_is_lost_while_bigquery_and_gemini_fail(
    pubsub_emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated logs become rows and an alert, a command acknowledges it, time resolves it.

    Gemini is away all the time, BigQuery from the acknowledgement to the end of the alert. Each event is told
    meanwhile, and in the end BigQuery has each row once.
    """
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    monkeypatch.setattr(main, "WriteToDataset", partial(WriteToDataset, settings=IMPATIENT))
    folder = tmp_path / "failed-rows"
    with ExitStack() as stack:
        bigquery = BigQueryEmulator(tmp_path / "bigquery")
        stack.callback(bigquery.stop)
        bigquery.start()
        monkeypatch.setenv(EMULATOR_VARIABLE, bigquery.address)
        bigquery.make_tables()
        bigquery.make_views()
        stage = Stage()
        stack.enter_context(running_job(stage, folder))
        stack.callback(stage.shop.stop)
        stage.shop.start()

        # All is well.
        stage.shop.failing = "payment"
        opened = stage.event("opened", "payment")
        stage.shop.failing = ""
        until("rows in BigQuery", lambda: bigquery.query("SELECT 1 FROM ${dataset}.current_alert_events"))
        until("windows", lambda: bigquery.query("SELECT 1 FROM ${dataset}.current_service_windows LIMIT 1"))
        stage.acknowledge(opened.alert_id)
        assert stage.event("acknowledged", "payment").alert_id == opened.alert_id

        # BigQuery is away: alerts are told all the same, and rows lie in files.
        bigquery.stop()
        stage.shop.failing = "cart"
        cart = stage.event("opened", "cart")
        stage.shop.failing = ""
        assert stage.event("resolved", "payment").alert_id == opened.alert_id
        until("failed rows", lambda: cart.event_id in failed_events(folder))

        # BigQuery is back: rows go to it again.
        back = int(time.time())
        bigquery.start()
        until("new windows", lambda: windows_since(bigquery, back))

        # In the end each row is there, once.
        sent = sum(lines for of, lines in stage.shop.sent.items() if of < back // 60)
        until(
            "every event of a topic is a row",
            lambda: replay(folder) and stored_events(bigquery) >= set(stage.told),
        )
        until("balance", lambda: replay(folder) and balance(bigquery, back // 60) == (sent, 0))
        assert not find_failed_rows(f"{folder}/*")
        outcomes = {row["outcome"] for row in bigquery.query("SELECT outcome FROM ${dataset}.gemini_calls")}
        assert "failed" in outcomes
        assert "answered" not in outcomes


def windows_since(bigquery: BigQueryEmulator, second: int) -> list[dict[str, Any]]:
    return bigquery.query(
        "SELECT 1 FROM ${dataset}.current_service_windows "
        f"WHERE UNIX_SECONDS(window_start) > {second} LIMIT 1"
    )


def replay(folder: Path) -> bool:
    """Whether `aiops replay failed-rows` could send all that is there."""
    result = CliRunner().invoke(app, ["replay", "failed-rows", "--dataset", DATASET, "--files", str(folder)])
    return result.exit_code == 0


def stored_events(bigquery: BigQueryEmulator) -> set[str]:
    """Ids of the alert events in BigQuery, which has none of them twice."""
    rows = bigquery.query("SELECT event_id FROM ${dataset}.current_alert_events")
    ids = {row["event_id"] for row in rows}
    assert len(ids) == len(rows)
    return ids


def balance(bigquery: BigQueryEmulator, minute: int) -> tuple[int, int]:
    """Lines received before that minute (since 1970), and those that nobody knows what became of."""
    (row,) = bigquery.query(
        "SELECT SUM(received) AS received, SUM(ABS(difference)) AS difference FROM ${dataset}.ledger_balance "
        f"WHERE UNIX_SECONDS(receive_minute) < {minute * 60}"
    )
    return int(row["received"] or 0), int(row["difference"] or 0)
