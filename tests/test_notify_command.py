"""`aiops notify` as people run it: over a store, dry, once, until a signal, and from Pub/Sub."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alert_events import alert_event
from google.cloud import pubsub_v1
from loopback_servers import Answer, HttpServer, http_server
from typer.testing import CliRunner

from aiops.notify.command import app
from aiops.notify.command_log import StoreCommandLog
from aiops.notify.outbox import Outbox
from pipeline.alert_log import stored_events
from pipeline.alert_messages import event_message
from pipeline.duckdb_store import DuckDBStore
from transforms.alert_elements import AlertCommand, AlertEvent
from transforms.clock import wall_clock_us

ROOT = Path(__file__).parent.parent
PROJECT = "aiops-test"
WIDE = {"COLUMNS": "300"}
POLICY = """
channels:
  - {{name: hook, type: webhook, url: "{url}", fallback: second}}
  - {{name: second, type: webhook, url: "{url}/second"}}
routes:
  - {{name: all, channels: hook, escalate: [{{after: 1s, channels: second}}]}}
"""


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server() as running:
        yield running


def event(sequence: int, kind: Any, **changes: Any) -> AlertEvent:
    now = wall_clock_us()
    return alert_event(
        sequence, kind, **{"opened_at": now, "last_seen_at": now, "occurred_at": now} | changes
    )


class Place:
    """A folder with a policy, a store and a state."""

    def __init__(self, folder: Path, server: HttpServer) -> None:
        self.policy, self.store, self.state = (
            folder / "notify.yaml",
            folder / "s.duckdb",
            folder / "notify.sqlite",
        )
        self.policy.write_text(POLICY.format(url=server.url))

    def append(self, *events: AlertEvent) -> None:
        with DuckDBStore(str(self.store)) as store:
            store.append("alert_events", events)

    def events(self) -> list[AlertEvent]:
        with DuckDBStore(str(self.store), read_only=True) as store:
            return stored_events(store)

    def arguments(self, *more: str) -> list[str]:
        return ["--policy", str(self.policy), "--state", str(self.state), *more]

    def over_store(self, *more: str) -> Any:
        return CliRunner().invoke(app, self.arguments("--store", str(self.store), *more), env=WIDE)


@pytest.fixture
def place(tmp_path: Path, server: HttpServer) -> Place:
    return Place(tmp_path, server)


def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from aiops.cli import main; main()", "notify", *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | variables,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_line(process: subprocess.Popen[str], text: str) -> str:
    """What the process says up to the line with `text`."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if text in line:
            return said
    pytest.fail(f"it never said {text!r}: {said}")


def kinds(server: HttpServer, path: str = "/") -> list[str]:
    return [json.loads(one.body)["kind"] for one in server.received if one.path == path]


def test_a_store_is_told_once_and_the_steps_are_logged(place: Place, server: HttpServer) -> None:
    """A run tells what is due, the next ones only what is new; the store says what was done."""
    place.append(event(0, "opened"))
    result = place.over_store("--once")
    assert result.exit_code == 0, result.output
    assert "hook: opened a1 [HIGH] cart: 40 % of the requests to cart fail" in result.stderr
    assert (kinds(server), kinds(server, "/second")) == (["opened"], [])
    time.sleep(1.1)
    assert place.over_store("--once").exit_code == 0
    assert (kinds(server), kinds(server, "/second")) == (["opened"], ["escalated"])
    escalated = place.events()[-1]
    assert (escalated.event_type, escalated.actor, escalated.sequence) == ("escalated", "notify", 1)
    assert escalated.note == "nobody acknowledged: step 1 of route all, to second"
    place.append(event(2, "resolved"))
    assert place.over_store("--once").exit_code == 0
    assert place.over_store("--once").exit_code == 0
    assert (kinds(server), kinds(server, "/second")) == (["opened", "resolved"], ["escalated", "resolved"])


def test_a_dry_run_shows_and_keeps_nothing(place: Place, server: HttpServer) -> None:
    """What would be sent is printed, fit for a terminal; neither servers nor files notice."""
    place.append(event(0, "opened", summary="\x1b[31mred\u202e"))
    before = place.store.read_bytes()
    for _ in range(2):
        result = place.over_store("--dry-run")
        assert result.exit_code == 0, result.output
        assert "would be sent to hook" in result.stdout
        assert '"kind":"opened"' in result.stdout
        assert "\x1b[31mred" not in result.stdout
    assert server.received == []
    assert not place.state.exists()
    assert place.store.read_bytes() == before


def test_what_cannot_be_sent_is_listed_and_sent_again(place: Place, server: HttpServer) -> None:
    """The exit code says that something is due; the dead letter can be retried; the fallback was told."""
    server.answers = [Answer(400, {}, b"no")]
    place.append(event(0, "opened"))
    assert place.over_store("--once").exit_code == 0
    assert kinds(server, "/second") == ["opened"]
    listed = CliRunner().invoke(app, ["failed", "--state", str(place.state)], env=WIDE)
    assert "the server answered 400: no" in listed.stdout
    server.answers = [Answer(503)]
    retried = CliRunner().invoke(app, ["retry", "all", "--state", str(place.state)])
    assert "will be sent to hook again" in retried.stdout
    result = place.over_store("--once")
    assert result.exit_code == 1
    assert "hook: the server answered 503; trying again in" in result.stderr
    time.sleep(2)
    assert place.over_store("--once").exit_code == 0
    assert kinds(server) == ["opened"] * 3
    assert "Everything was sent" in CliRunner().invoke(app, ["failed", "--state", str(place.state)]).stdout
    nothing = CliRunner().invoke(app, ["retry", "abc", "--state", str(place.state)])
    assert (nothing.exit_code, "no notice abc" in nothing.stderr) == (1, True)


def test_options_that_do_not_go_together_are_named(place: Place, tmp_path: Path) -> None:
    """Each mistake names the option and the mend, and nothing is started."""
    store = str(place.store)
    for arguments, said in (
        (["--store", store], "--policy FILE is missing"),
        (["--policy", str(place.policy)], "give --subscription or --store"),
        (
            place.arguments("--store", store, "--commands", "projects/p/topics/t"),
            "--commands goes with --subscription",
        ),
        (
            place.arguments("--subscription", "alerts"),
            "--subscription must look like projects/P/subscriptions/S",
        ),
        (place.arguments("--store", str(tmp_path / "no")), "There is no store at"),
        (["--policy", str(tmp_path / "no"), "--store", store], "cannot be read"),
    ):
        result = CliRunner().invoke(app, arguments, env=WIDE)
        assert result.exit_code == 2, arguments
        assert said in result.stderr, result.stderr
    missing = CliRunner().invoke(app, ["failed", "--state", str(tmp_path / "no.sqlite")])
    assert (missing.exit_code, "There is no state at" in missing.stderr) == (1, True)


def test_a_missing_secret_is_found_before_anything_starts(place: Place) -> None:
    """Better at the start than at three in the morning."""
    place.append(event(0, "opened"))
    place.policy.write_text(
        place.policy.read_text().replace('url: "', 'secret: env:AIOPS_NO_SECRET, url: "', 1)
    )
    result = place.over_store("--once")
    assert result.exit_code == 2
    assert 'channel "hook": the secret env:AIOPS_NO_SECRET is not set' in result.stderr
    assert place.over_store("--dry-run").exit_code == 0


def test_try_sends_a_beginning_and_an_end(place: Place, server: HttpServer) -> None:
    """A channel can be tried without an alert; a failure is said at once."""
    result = CliRunner().invoke(app, ["try", "hook", "--policy", str(place.policy)])
    assert (result.exit_code, kinds(server)) == (0, ["opened", "resolved"])
    server.answers = [Answer(403)]
    result = CliRunner().invoke(app, ["try", "hook", "--policy", str(place.policy)])
    assert (result.exit_code, "the server answered 403" in result.stderr) == (1, True)
    result = CliRunner().invoke(app, ["try", "hok", "--policy", str(place.policy)])
    assert 'there is no channel "hok"; there are hook, second' in result.stderr


def test_commands_in_a_store_count_once_and_for_their_tenant(place: Place) -> None:
    """A copy of a command adds nothing; one for another tenant's alert is answered, not done."""
    place.append(event(0, "opened"))
    log = StoreCommandLog(str(place.store))
    repeat = AlertCommand("c1", "acme", "repeat", "notify", wall_clock_us(), "a1", "told again, to hook")
    log.write([repeat, repeat], wall_clock_us())
    log.write([repeat], wall_clock_us())
    assert [(one.event_type, one.sequence) for one in place.events()] == [("opened", 0), ("repeated", 1)]
    log.write([AlertCommand("c2", "other", "repeat", "notify", wall_clock_us(), "a1")], wall_clock_us())
    assert [one.event_type for one in place.events() if one.tenant_id == "other"] == ["rejected"]
    assert [one.status for one in place.events() if one.tenant_id == "acme"] == ["open", "open"]


@pytest.mark.slow
def test_a_store_that_a_job_holds_is_said_to_be_held(place: Place, server: HttpServer) -> None:
    """It says who holds it and what to do, and tells as soon as it can."""
    place.append(event(0, "opened"))
    holder = DuckDBStore(str(place.store))
    once = start(*place.arguments("--store", str(place.store), "--once"))
    _, said = once.communicate(timeout=60)
    assert once.returncode == 1
    assert f"being written by process {os.getpid()}" in said
    assert "come by --subscription" in said
    waiting = start(*place.arguments("--store", str(place.store)))
    try:
        first = wait_for_line(waiting, "being written by")
        assert server.received == []
        holder.close()
        server.wait_for(1)
    finally:
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert (first + said).count("being written by") == 1
    assert "Stopped. What was not sent is kept" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_killed_notifier_goes_on_where_it_was(place: Place, server: HttpServer) -> None:
    """Killed while the server hangs: the next run sends what was on its way, and nothing else twice."""
    server.answers = [Answer(200), Answer(200, wait_seconds=60)]
    place.append(event(0, "opened"), event(0, "opened", alert_id="a2"))
    process = start(*place.arguments("--store", str(place.store)))
    server.wait_for(2)
    process.kill()
    process.communicate(timeout=30)
    hanging = json.loads(server.received[1].body)["notice_id"]
    server.released.set()
    assert place.over_store("--once").exit_code == 0
    again = [json.loads(one.body)["notice_id"] for one in server.received[2:] if one.path == "/"]
    assert again == [hanging]


@pytest.mark.slow
@pytest.mark.pubsub
def test_events_of_a_subscription_are_told_and_commands_published(
    place: Place, server: HttpServer, pubsub_emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CloudEvents come in, copies and strangers do no harm, notices go out, steps come back as commands."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    topics = {name: publisher.topic_path(PROJECT, name) for name in ("notify-alerts", "notify-acme")}
    subscriptions = {name: subscriber.subscription_path(PROJECT, name) for name in topics}
    for name, topic in topics.items():
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=subscriptions[name], topic=topic)

    def publish(*events: AlertEvent) -> None:
        for one in events:
            message = event_message(one)
            publisher.publish(topics["notify-alerts"], message.data, **message.attributes).result(timeout=30)

    opened = event(0, "opened")
    publish(opened, opened, event(0, "opened", alert_id="a2", tenant_id="other"))
    publisher.publish(topics["notify-alerts"], b'{"secret": "line"}').result(timeout=30)
    arguments = place.arguments("--subscription", subscriptions["notify-alerts"])
    dry = start(*arguments, "--dry-run", PUBSUB_EMULATOR_HOST=pubsub_emulator)
    shown, said = dry.communicate(timeout=90)
    assert (dry.returncode, shown.count('"kind":"opened"')) == (0, 2), said
    assert server.received == []

    process = start(
        *arguments,
        "--commands",
        f"projects/{PROJECT}/topics/notify-{{tenant}}",
        PUBSUB_EMULATOR_HOST=pubsub_emulator,
    )
    try:
        server.wait_for(4)
        publish(event(1, "resolved"), event(1, "resolved", alert_id="a2", tenant_id="other"))
        server.wait_for(8)
        commands = pull(subscriber, subscriptions["notify-acme"])
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 143, said
    assert sorted(kinds(server)) == ["opened", "opened", "resolved", "resolved"]
    assert sorted(kinds(server, "/second")) == ["escalated", "escalated", "resolved", "resolved"]
    assert [(one["action"], one["alert_id"], one["actor"]) for one in commands] == [
        ("escalate", "a1", "notify")
    ]
    assert "A message was no alert event" in said
    assert "secret" not in said
    assert [letter.kind for letter in Outbox(str(place.state)).failed()] == ["message"]
    left = subscriber.pull(
        subscription=subscriptions["notify-alerts"], max_messages=10, return_immediately=True, timeout=10
    )
    assert list(left.received_messages) == []


def pull(subscriber: pubsub_v1.SubscriberClient, subscription: str) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        response = subscriber.pull(
            subscription=subscription, max_messages=10, return_immediately=True, timeout=10
        )
        if response.received_messages:
            return [json.loads(one.message.data) for one in response.received_messages]
        time.sleep(0.2)
    pytest.fail("no command was published")
