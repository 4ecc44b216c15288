"""`aiops doctor` at Pub/Sub: against the emulator where it shows a fault, else against a server made here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from conftest import free_port
from fake_pubsub import FakePubSub, fake_pubsub
from google.cloud import pubsub_v1
from sample_alerts import alert_event
from typer.testing import CliRunner

from aiops.cli import app
from aiops.doctor import canary as canary_module
from aiops.doctor import heartbeat, pubsub
from aiops.doctor.checks import Check
from aiops.doctor.credentials import Identity
from pipeline.alert_messages import event_message
from pipeline.heartbeat_messages import JobIdentity, heartbeat_message, make_heartbeat
from transforms.elements import CANARY_DETECTOR, CANARY_SERVICE

PROJECT = "aiops-test"
LOGS = f"projects/{PROJECT}/subscriptions/logs"
LOGS_TOPIC, ALERT_TOPIC = f"projects/{PROJECT}/topics/logs", f"projects/{PROJECT}/topics/alerts"
DAYS = {"message_retention_duration": {"seconds": 7 * 86_400}, "retain_acked_messages": True}
WELL: dict[str, Any] = {
    "topic": LOGS_TOPIC,
    "dead_letter_policy": {"dead_letter_topic": f"projects/{PROJECT}/topics/undelivered"},
    **DAYS,
}
WORKER = Identity("worker@aiops-test.iam.gserviceaccount.com", is_service_account=True)
ANN = Identity("", is_service_account=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePubSub]:
    """A server at which all is well."""
    with fake_pubsub() as fake:
        fake.subscriptions[LOGS] = dict(WELL)
        fake.topics |= {LOGS_TOPIC, ALERT_TOPIC, f"projects/{PROJECT}/topics/undelivered"}
        fake.readers[ALERT_TOPIC] = [f"projects/{PROJECT}/subscriptions/notify"]
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", fake.address)
        yield fake


def doctor(*arguments: str, subscription: str = LOGS) -> tuple[int, dict[str, Any]]:
    given = ["--input_subscription", subscription, "--alert_topic", ALERT_TOPIC, *arguments]
    done = CliRunner().invoke(app, ["doctor", *given, "--json"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, json.loads(done.stdout)


def of_layer(found: dict[str, Any], layer: str, *states: str) -> list[dict[str, Any]]:
    return [check for check in found["checks"] if check["layer"] == layer and check["state"] in states]


def examined(identity: Identity | None) -> list[Check]:
    exam = pubsub.PubSubExam(identity)
    try:
        return [*exam.subscription("--input_subscription", LOGS), *exam.topic("--alert_topic", ALERT_TOPIC)]
    finally:
        exam.close()


# --------------------------------------------------------------------------- what is wrong, one by one


def test_where_all_is_well_no_check_complains(server: FakePubSub, tmp_path: Any) -> None:
    """Exit code 0, and each thing is named with what was found."""
    code, found = doctor("--store", str(tmp_path / "s.duckdb"), "--logs-topic", LOGS_TOPIC)
    assert code == 0
    assert {check["state"] for check in of_layer(found, "Pub/Sub", "ok", "warning", "failed")} == {"ok"}
    subjects = {check["subject"] for check in found["checks"]}
    assert {"--input_subscription logs", "--logs-topic logs", "--alert_topic alerts"} <= subjects
    assert set(server.calls) == {"GetSubscription", "GetTopic", "ListTopicSubscriptions"}


@pytest.mark.parametrize(
    ("changes", "state", "says", "mend"),
    [
        ({"detached": True}, "failed", "detached", "subscriptions delete logs"),
        ({"topic": "_deleted-topic_"}, "failed", "topic was deleted", "terraform"),
        ({"topic": ALERT_TOPIC}, "failed", "reads alerts, not logs", "terraform"),
        ({"push_config": {"push_endpoint": "https://x.example"}}, "failed", "elsewhere", "terraform"),
        ({"message_retention_duration": {"seconds": 600}}, "warning", "0.2 hours", "--message-retention-"),
        ({"retain_acked_messages": False}, "warning", "seek", "--retain-acked-messages"),
        ({"expiration_policy": {"ttl": {"seconds": 31 * 86_400}}}, "warning", "31 days", "=never"),
        ({"filter": 'attributes.a = "b"'}, "warning", "filter", "another subscription"),
        ({"dead_letter_policy": {}}, "warning", "no dead-letter topic", "terraform"),
        (
            {"dead_letter_policy": {"dead_letter_topic": f"projects/{PROJECT}/topics/gone"}},
            "failed",
            "does not exist",
            "topics create gone",
        ),
    ],
)
def test_a_subscription_that_loses_messages_is_told(
    changes: dict[str, Any], state: str, says: str, mend: str, server: FakePubSub
) -> None:
    """One complaint for one fault, with the command that mends it."""
    server.subscriptions[LOGS] |= changes
    _, found = doctor("--logs-topic", LOGS_TOPIC)
    (check,) = of_layer(found, "Pub/Sub", "warning", "failed")
    assert check["state"] == state
    assert says in check["found"]
    assert mend in check["mend"]


def test_an_alert_topic_that_nobody_reads_is_a_warning(server: FakePubSub) -> None:
    """Alerts would go nowhere."""
    server.readers.clear()
    code, found = doctor()
    (check,) = of_layer(found, "Pub/Sub", "warning", "failed")
    assert (code, check["state"], "nobody reads it" in check["found"]) == (0, "warning", True)


@pytest.mark.parametrize(("identity", "state"), [(WORKER, "failed"), (ANN, "warning")])
def test_what_one_may_not_do_is_told(identity: Identity, state: str, server: FakePubSub) -> None:
    """Failed for a service account, which may be the job's; a warning for a person, who need not."""
    server.permissions = {"pubsub.subscriptions.get", "pubsub.topics.publish"}
    (check,) = [check for check in examined(identity) if check.state != "ok"]
    assert (check.state, "pubsub.subscriptions.consume" in check.found) == (state, True)
    assert "add-iam-policy-binding logs" in check.mend
    assert "roles/pubsub.subscriber" in check.mend
    server.permissions = {*server.permissions, "pubsub.subscriptions.consume"}
    assert {check.state for check in examined(identity)} == {"ok"}


def test_permissions_that_cannot_be_seen_are_no_failure(server: FakePubSub) -> None:
    """Who may read need not see who may do what."""
    server.errors["TestIamPermissions"] = (grpc.StatusCode.PERMISSION_DENIED, "no")
    assert {check.state for check in examined(WORKER)} == {"ok", "warning"}


def test_a_refusal_is_a_failed_check_and_its_words_are_harmless(server: FakePubSub) -> None:
    """What a server says is cut and cannot steer a terminal; the next check goes on."""
    server.errors["GetSubscription"] = (grpc.StatusCode.PERMISSION_DENIED, "not you \x1b[31m" + "x" * 5000)
    given = ["--input_subscription", LOGS, "--alert_topic", ALERT_TOPIC]
    done = CliRunner().invoke(app, ["doctor", *given], env={"COLUMNS": "80"})
    assert done.exit_code == 1
    assert "PermissionDenied" in done.stdout
    assert "roles/pubsub.viewer" in done.stdout
    assert "\x1b" not in done.stdout
    assert len(done.stdout) < 3000
    assert "--alert_topic alerts" in done.stdout


def test_a_server_that_is_silent_ends_its_layer(server: FakePubSub, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call is waited for, within its bound; all others of that server are not even made."""
    monkeypatch.setitem(pubsub._CALL, "timeout", 0.5)
    server.silent.add("GetSubscription")
    begun = time.monotonic()
    code, found = doctor("--canary")
    assert time.monotonic() - begun < 10
    assert code == 1
    (check,) = of_layer(found, "Pub/Sub", "failed")
    assert "does not answer" in check["found"]
    assert of_layer(found, "canary", "skipped")
    assert server.calls == ["GetSubscription"]


def test_a_server_that_is_not_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that nobody listens at is no hang."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    code, found = doctor()
    (check,) = of_layer(found, "Pub/Sub", "failed")
    assert (code, "unset PUBSUB_EMULATOR_HOST" in check["mend"]) == (1, True)


def test_without_credentials_google_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The layers that need them are skipped and say so; the store is looked at all the same."""
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    code, found = doctor("--canary", "--store", str(tmp_path / "s.duckdb"))
    assert code == 1
    (check,) = of_layer(found, "credentials", "failed")
    assert check["mend"] == "gcloud auth application-default login"
    assert [check["layer"] for check in found["checks"] if check["state"] == "skipped"] == [
        "Pub/Sub",
        "canary",
    ]
    assert of_layer(found, "store", "ok")


# ----------------------------------------------------------------------------------- the emulator


@pytest.mark.pubsub
def test_what_the_emulator_lacks_is_found(pubsub_emulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing subscription, a missing topic, one whose topic was deleted, one of another topic."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    topics = {name: publisher.topic_path(PROJECT, f"doctor-{name}") for name in ("logs", "gone")}
    for name, topic in topics.items():
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=subscriber.subscription_path(PROJECT, f"d-{name}"), topic=topic)
    publisher.delete_topic(topic=topics["gone"])
    for subscription, logs_topic, says in (
        ("none", topics["logs"], "does not exist"),
        ("d-gone", topics["logs"], "its topic was deleted"),
        ("d-logs", topics["gone"], "reads doctor-logs, not doctor-gone"),
    ):
        path = subscriber.subscription_path(PROJECT, subscription)
        code, found = doctor("--logs-topic", logs_topic, subscription=path)
        failed = of_layer(found, "Pub/Sub", "failed")
        assert code == 1
        assert says in failed[0]["found"]
        assert [check["found"] for check in failed if check["subject"] == "--alert_topic alerts"] == [
            "does not exist"
        ]


# ------------------------------------------------------------------------------------- the canary


def canary_message(ack_id: str, **changes: Any) -> tuple[str, bytes, dict[str, str]]:
    values = {
        "service": CANARY_SERVICE,
        "tenant_id": PROJECT,
        "detectors": [CANARY_DETECTOR],
        "last_seen_at": time.time_ns() // 1_000 + 60_000_000,
    }
    return (ack_id, *event_message(alert_event(**(values | changes))))


def test_the_canary_waits_for_its_own_alert_and_leaves_nothing_behind(server: FakePubSub) -> None:
    """Neither an older canary's, nor another tenant's, nor a resolved one is an answer."""
    server.messages = [
        canary_message("old", last_seen_at=time.time_ns() // 1_000 - 1),
        canary_message("other tenant", tenant_id="globex"),
        canary_message("resolved", event_type="resolved", status="resolved"),
        canary_message("silence", detectors=["rule:error-spike"]),
    ]
    code, found = doctor("--canary", "--timeout", "1")
    (check,) = of_layer(found, "canary", "failed")
    assert (code, "none within 1 s" in check["found"]) == (1, True)
    server.messages = [canary_message("ours")]
    code, found = doctor("--canary", "--timeout", "5")
    check = of_layer(found, "canary", "ok")[-1]
    assert (code, check["subject"], check["seconds"] >= 0) == (0, "alert", True)
    assert list(server.subscriptions) == [LOGS]
    topic, message = server.published[0]
    line = json.loads(message.data)
    assert topic == LOGS_TOPIC
    assert line["resource"]["labels"] == {"service_name": CANARY_SERVICE}
    assert message.attributes["logging.googleapis.com/timestamp"] == line["timestamp"]


def test_a_subscription_that_is_given_keeps_what_is_not_for_the_doctor(server: FakePubSub) -> None:
    """Only canaries are acknowledged, no subscription is made, and an unreadable message is passed over."""
    mine = f"projects/{PROJECT}/subscriptions/mine"
    server.subscriptions[mine] = {"topic": ALERT_TOPIC, "filter": 'attributes.service = "aiops-canary"'}
    server.messages = [canary_message("real", service="cart"), ("bad", b"{}", {}), canary_message("ours")]
    code, found = doctor("--canary", "--timeout", "5", "--alert-subscription", mine)
    assert (code, of_layer(found, "Pub/Sub", "warning", "failed")) == (0, [])
    assert server.acknowledged == ["ours"]
    assert "CreateSubscription" not in server.calls
    assert "DeleteSubscription" not in server.calls


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--services", "cart,payment"], "--services leaves its lines out"),
        (["--rules", "RULES"], "it is switched off"),
    ],
)
def test_a_canary_that_cannot_come_back_is_not_sent(
    options: list[str], says: str, server: FakePubSub, tmp_path: Any
) -> None:
    """The doctor says which option is in its way."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n  - name: canary\n    overrides: [{service: aiops-canary, enabled: false}]\n", "utf-8"
    )
    code, found = doctor("--canary", *(str(rules) if text == "RULES" else text for text in options))
    (check,) = of_layer(found, "canary", "failed")
    assert (code, says in check["found"]) == (1, True)
    assert not server.published


def test_the_severity_of_a_canary_passes_the_job_s_filter(server: FakePubSub) -> None:
    """With --min_severity ERROR its lines are errors, else a notice."""
    for options, expected in (([], "NOTICE"), (["--min_severity", "ERROR"], "ERROR")):
        server.published.clear()
        server.messages = [canary_message("ours")]
        assert doctor("--canary", "--timeout", "5", *options)[0] == 0
        assert json.loads(server.published[0][1].data)["severity"] == expected


@pytest.mark.parametrize("beats", [True, False])
def test_the_heartbeat_is_waited_for_beside_the_canary(
    beats: bool, server: FakePubSub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one of the job, and nothing else that is published there; both subscriptions are deleted."""
    topic = f"projects/{PROJECT}/topics/heartbeats"
    server.topics.add(topic)
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.5)
    beat = heartbeat_message(make_heartbeat(JobIdentity("aiops", 0, "1", "2"), time.time_ns() // 1_000))
    server.messages = [canary_message("ours")]
    server.later = [("other", b"{}", {"ce-type": "x"}), *([("beat", *beat)] if beats else [])]
    code, found = doctor("--canary", "--timeout", "5", "--heartbeat_topic", topic)
    check = found["checks"][-1]
    assert (code, check["subject"], check["state"]) == (
        0 if beats else 1,
        "heartbeat",
        "ok" if beats else "failed",
    )
    assert "one of aiops came" in check["found"] or not beats
    assert list(server.subscriptions) == [LOGS]


def test_a_server_that_stumbles_while_a_canary_is_awaited_is_asked_again(
    server: FakePubSub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduled canary pages for lost alerts, not for a hiccup of the waiting."""
    pull, calls = server.Pull, []

    def stumbling(request: Any, context: Any) -> Any:
        calls.append(request)
        if len(calls) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "a hiccup")
        return pull(request, context)

    monkeypatch.setattr(server, "Pull", stumbling)
    server.messages = [canary_message("ours")]
    assert doctor("--canary", "--timeout", "10")[0] == 0
    assert len(calls) == 2


def test_each_tenant_has_a_topic_of_its_own(server: FakePubSub) -> None:
    """With {tenant} in the topic, the canary is awaited at that of its tenant."""
    topic = f"projects/{PROJECT}/topics/alerts-acme-shop"
    server.topics.add(topic)
    server.messages = [canary_message("ours", tenant_id="acme-shop")]
    given = ["--input_subscription", LOGS, "--alert_topic", f"projects/{PROJECT}/topics/alerts-{{tenant}}"]
    wanted = ["--canary", "--timeout", "5", "--canary-tenant", "acme-shop", "--json"]
    done = CliRunner().invoke(app, ["doctor", *given, *wanted])
    assert done.exit_code == 0, done.output
    assert [one for one in server.made if one.topic == topic]
    assert json.loads(server.published[0][1].data)["logName"].startswith("projects/acme-shop/")


def test_a_refused_subscription_is_a_failed_check(server: FakePubSub) -> None:
    """What could not be made is not waited for, neither for the alert nor for the heartbeat."""
    topic = f"projects/{PROJECT}/topics/heartbeats"
    server.topics.add(topic)
    server.errors["CreateSubscription"] = (grpc.StatusCode.PERMISSION_DENIED, "no")
    begun = time.monotonic()
    code, found = doctor("--canary", "--timeout", "60", "--heartbeat_topic", topic)
    failed = of_layer(found, "canary", "failed")
    assert (code, [check["subject"] for check in failed]) == (1, ["heartbeat", "alert"])
    assert all("PermissionDenied" in check["found"] for check in failed)
    assert time.monotonic() - begun < 30


def test_an_error_while_waiting_deletes_the_subscription(
    server: FakePubSub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does anything else that ends the wait."""

    def broken(*_: object) -> list[object]:
        assert len(server.subscriptions) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(canary_module, "pull", broken)
    given = ["--input_subscription", LOGS, "--alert_topic", ALERT_TOPIC]
    done = CliRunner().invoke(app, ["doctor", *given, "--canary"])
    assert done.exit_code == 130
    assert "stopped" in done.stdout
    assert list(server.subscriptions) == [LOGS]


@pytest.mark.slow
def test_ctrl_c_deletes_the_subscription(server: FakePubSub) -> None:
    """A real signal, in a process of its own."""
    given = ["--input_subscription", LOGS, "--alert_topic", ALERT_TOPIC, "--canary"]
    script = "import sys; from aiops.cli import app; app(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "doctor", *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    deadline = time.monotonic() + 60
    while not server.published and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(server.subscriptions) == 2
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors
    assert b"stopped" in out
    assert list(server.subscriptions) == [LOGS]
