"""`aiops alerts`: looking at alerts and acting on them, on a store and over a topic."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from google.cloud import pubsub_v1
from sample_alerts import START_US, alert_event
from typer.testing import CliRunner

from aiops.cli import app
from pipeline.alert_commands import parse_command
from pipeline.alert_log import stored_events
from pipeline.duckdb_store import DuckDBStore
from transforms.alert.view import fold_events
from transforms.alert_elements import AlertEvent
from transforms.clock import wall_clock_us
from transforms.elements import MINUTE_US

HOSTILE = "\x1b[31m\u202e[bold]pwned[/bold] \x9b2J"
PAYMENT, CART, SEARCH = (alert_event(service=name).alert_id for name in ("payment", "cart", "search"))
FACTS = {"--service": "payment", "--owner": "team-payments", "--severity": "high", "--status": "open"}


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Three alerts of acme, one of them over, and one of globex."""
    path = str(tmp_path / "aiops.duckdb")
    with DuckDBStore(path) as opened:
        opened.append(
            "alert_events",
            [
                alert_event(0),
                alert_event(1, anomaly_count=7),
                alert_event(service="cart", severity="low", owner="", summary=f"cart is slow {HOSTILE}"),
                alert_event(service="search", opened_at=START_US - MINUTE_US),
                alert_event(1, service="search", event_type="resolved", status="resolved"),
                alert_event(tenant_id="globex", service="edge", severity="critical", owner="edge-team"),
            ],
        )
    return path


def run(*arguments: str, width: int = 80) -> Result:
    return CliRunner().invoke(app, ["alerts", *arguments], env={"COLUMNS": str(width)})


def act(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    return " ".join(result.stderr.split())


def listed(store: str, *arguments: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(act("list", "--store", store, "--json", *arguments))
    return rows


def events_of(store: str) -> list[AlertEvent]:
    with DuckDBStore(store, read_only=True) as opened:
        return stored_events(opened)


# ------------------------------------------------------------------------------------- looking


def test_open_alerts_are_listed(store: str) -> None:
    """At 80 columns no line is longer, nothing of a log line steers the terminal, and ids can be typed."""
    shown = act("list", "--store", store)
    assert max(map(len, shown.splitlines())) <= 80
    for said in (PAYMENT[:8], CART[:8], "payment", "globex", "critical", "open", "[bold]pwned"):
        assert said in shown
    assert SEARCH[:8] not in shown
    assert not set(shown) & {"\x1b", "\u202e", "\x9b"}
    assert SEARCH[:8] in act("list", "--store", store, "--all")
    assert "team-payments" in run("list", "--store", store, width=140).output


@pytest.mark.parametrize(
    ("arguments", "services"),
    [
        ((), {"payment", "cart", "edge"}),
        (("--all",), {"payment", "cart", "search", "edge"}),
        (("--tenant", "globex"), {"edge"}),
        (("--service", "cart"), {"cart"}),
        (("--severity", "high"), {"payment", "edge"}),
        (("--owner", "edge-team"), {"edge"}),
        (("--status", "resolved"), {"search"}),
        (("--since", "30s"), {"payment"}),
        (("--limit", "1", "--tenant", "globex"), {"edge"}),
        (("--silences",), set()),
    ],
)
def test_filters(store: str, arguments: tuple[str, ...], services: set[str]) -> None:
    """Each filter leaves what it says."""
    assert {row["service"] for row in listed(store, *arguments)} == services


def test_unknown_severities_and_statuses_are_told(store: str) -> None:
    """The error has the known ones."""
    for option in ("--severity", "--status"):
        result = run("list", "--store", store, option, "loud")
        assert result.exit_code == 2
        assert "is not one of" in result.output


def test_json_has_the_alert_as_it_stands(store: str) -> None:
    """The newest event, times as text, and what only the whole life tells."""
    (row,) = listed(store, "--service", "payment")
    assert row["anomaly_count"] == 7
    assert row["opened_at"] == "2026-01-01T10:00:00Z"
    assert row["resolved_at"] is None
    assert (row["is_silenced"], row["is_silence"], row["reopenings"]) == (False, False, 0)
    assert row["findings"][0]["detector"] == "rule:error_spike"


def test_show_tells_the_whole_life(store: str) -> None:
    """Facts first, then who did what when; a beginning of the id is enough."""
    act("comment", PAYMENT[:6], "a bad deploy", "--store", store, "--actor", "ann")
    shown = act("show", PAYMENT[:6], "--store", store)
    assert max(map(len, shown.splitlines())) <= 80
    for said in (
        PAYMENT,
        "https://runbooks.example.com/payment",
        "team-payments",
        "opened",
        "ann",
        "a bad deploy",
    ):
        assert said in shown
    life = json.loads(act("show", PAYMENT, "--store", store, "--json"))
    assert [event["event_type"] for event in life["events"]] == ["opened", "updated", "commented"]


def test_ids_must_be_unique_beginnings(store: str) -> None:
    """None, several or an empty one: the error says what to do."""
    assert "no alert or silence begins with 'zz'" in refused("show", "zz", "--store", store)
    assert "no alert begins with ''" in refused("ack", "", "--store", store)
    taken = {alert_id[0] for alert_id in (PAYMENT, CART, SEARCH)}
    letter = next(iter(taken))
    with DuckDBStore(store) as opened:
        opened.append("alert_events", [alert_event(alert_id=letter + "0" * 31, service="other")])
    assert "ids begin with" in refused("ack", letter, "--store", store)


def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Neither looking nor acting makes one."""
    path = tmp_path / "none.duckdb"
    for arguments in (("list",), ("show", "a"), ("ack", "a"), ("export", "--out", str(tmp_path / "x"))):
        assert "There is no store" in refused(*arguments, "--store", str(path))
    assert not path.exists()


def test_an_empty_store_has_no_alerts(tmp_path: Path) -> None:
    """It says so, and exports nothing."""
    path = str(tmp_path / "s.duckdb")
    DuckDBStore(path).close()
    assert "No open alerts in this store" in act("list", "--store", path)
    out = tmp_path / "past.ndjson"
    assert act("export", "--store", path, "--out", str(out)).startswith("0 events")
    assert out.read_bytes() == b""
    assert "cannot be written" in refused("export", "--store", path, "--out", str(tmp_path / "no" / "x"))


# -------------------------------------------------------------------------------------- acting


@pytest.mark.parametrize(
    ("command", "event_type", "status"),
    [
        ("ack", "acknowledged", "acknowledged"),
        ("resolve", "resolved", "resolved"),
        ("false-positive", "false_positive", "false_positive"),
        ("useful", "commented", "open"),
    ],
)
def test_acting_appends_an_event(store: str, command: str, event_type: str, status: str) -> None:
    """One event with who, when and what they said; all else of the alert stays as it was."""
    before = events_of(store)
    said = act(command, PAYMENT[:6], "--store", store, "--actor", "ann", "--note", "seen; pw=hunter2hunter2")
    assert re.search(rf"alert {PAYMENT[:8]} \(acme payment\): .* by ann", said)
    after = events_of(store)
    (event,) = [event for event in after if event not in before]
    assert len(after) == len(before) + 1
    assert (event.event_type, event.status, event.actor, event.sequence) == (event_type, status, "ann", 2)
    assert event.note.startswith("seen")
    assert "hunter2" not in event.note
    assert abs(event.occurred_at - wall_clock_us()) < 60_000_000
    last = alert_event(1, anomaly_count=7)
    for name in (
        "owner",
        "tier",
        "channel",
        "runbook",
        "severity",
        "anomaly_count",
        "detectors",
        "opened_at",
    ):
        assert getattr(event, name) == getattr(last, name), name


def test_impossible_commands_are_rejected(store: str) -> None:
    """The reason is said, the exit code is 1, and the attempt is kept for the audit."""
    assert "the alert is resolved" in refused("ack", SEARCH[:6], "--store", store, "--actor", "ann")
    last = next(view.last for view in fold_events(events_of(store)).values() if view.alert_id == SEARCH)
    assert (last.event_type, last.actor, last.status) == ("rejected", "ann", "resolved")
    rows = json.loads(run("ack", SEARCH[:6], "--store", store, "--json").stdout)
    assert [row["event_type"] for row in rows] == ["rejected"]


def test_who_it_was_is_the_user_by_default(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the login counts; the job's own name cannot be taken."""
    monkeypatch.setenv("LOGNAME", "bob")
    assert "by bob" in act("ack", PAYMENT[:6], "--store", store)
    assert "signs as aiops" in refused("resolve", PAYMENT[:6], "--store", store, "--actor", "aiops")
    assert "not printable" in refused("resolve", PAYMENT[:6], "--store", store, "--actor", "a\nb")


def test_what_was_resolved_can_be_opened_again(store: str) -> None:
    """And resolved again, with the life in one piece."""
    act("resolve", PAYMENT[:6], "--store", store)
    act("reopen", PAYMENT[:6], "--store", store)
    assert listed(store, "--service", "payment")[0]["reopenings"] == 1
    act("resolve", PAYMENT[:6], "--store", store)
    view = fold_events(events_of(store))[PAYMENT]
    assert [event.sequence for event in view.events] == list(range(5))


def test_an_alert_is_silenced_for_a_time(store: str) -> None:
    """It stays open, is marked, and speaks again when the silence is ended."""
    act("silence", PAYMENT[:6], "--store", store, "--for", "2h", "--note", "upgrade")
    (row,) = listed(store, "--service", "payment")
    assert (row["status"], row["is_silenced"]) == ("open", True)
    assert "silenced" in act("show", PAYMENT[:6], "--store", store)
    act("unsilence", PAYMENT[:6], "--store", store)
    assert not listed(store, "--service", "payment")[0]["is_silenced"]


def test_silences_by_matchers_are_alerts_of_their_own_list(store: str) -> None:
    """All that matches is silenced; the silence is listed, shown, and ended by its id."""
    said = act(
        *("silence", "--store", store, "--tenant", "acme", "--for", "1d", "--note", "move"),
        *("--matcher", "service=~pay.*", "--matcher", 'type!="silence"'),
    )
    silence_id = said.split()[1]
    assert listed(store, "--service", "payment")[0]["is_silenced"]
    assert not listed(store, "--service", "edge")[0]["is_silenced"]
    shown = act("list", "--silences", "--store", store)
    for part in (silence_id, "service=~pay.*", "type!=silence", "move"):
        assert part in shown
    assert "service=~pay.*" in act("show", silence_id, "--store", store)
    assert "no alert begins" in refused("ack", silence_id, "--store", store)
    act("unsilence", silence_id, "--store", store)
    assert not listed(store, "--service", "payment")[0]["is_silenced"]
    assert listed(store, "--silences") == []
    assert len(listed(store, "--silences", "--all")) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--for", "2h"), "name one alert, or what to silence"),
        ((PAYMENT, "--matcher", "service=a", "--for", "2h"), "name one alert, or what to silence"),
        ((PAYMENT,), "needs an end: --for 2h"),
        ((PAYMENT, "--for", "2h", "--until", "2030-01-01T00:00:00Z"), "needs an end"),
        ((PAYMENT, "--for", "soon"), "write a span such as 30m"),
        ((PAYMENT, "--until", "tomorrow"), "write a time such as"),
        ((PAYMENT, "--until", "2030-01-01"), "write it with its zone"),
        ((PAYMENT, "--until", "2020-01-01T00:00:00Z"), "its end is in the past"),
        (("--matcher", "host=a", "--for", "2h"), "names are tenant, service"),
        (("--matcher", "service", "--for", "2h"), "write name=value"),
        (("--matcher", "service=a", "--for", "2h"), "of 2 tenants (acme, globex); say whose with --tenant"),
        (("--matcher", "service=~(", "--for", "2h", "--tenant", "acme"), "not a valid RE2 expression"),
        (("--matcher", "service=", "--for", "2h", "--tenant", "acme"), "must not match the empty text"),
    ],
)
def test_mistakes_in_silences_are_told(store: str, arguments: tuple[str, ...], said: str) -> None:
    """Each says what to write instead; none silences anything."""
    assert said in refused("silence", *arguments, "--store", store)
    assert not any(row["is_silenced"] for row in listed(store))


def test_a_key_file_that_cannot_be_read_is_told(store: str) -> None:
    """Notes are not stored redacted with another key than was asked for."""
    said = refused("ack", PAYMENT, "--store", store, "--redaction-key-file", "/no/such/key")
    assert "/no/such/key: cannot be read" in said


# ---------------------------------------------------------------------------------- over a topic


def test_a_topic_needs_the_whole_id_or_a_store() -> None:
    """Nothing is guessed: without a store an id cannot be completed."""
    topic = "projects/aiops-test/topics/commands"
    assert "--topic needs the whole id" in refused("ack", PAYMENT[:6], "--topic", topic)
    assert "must look like projects/P/topics/T" in refused("ack", PAYMENT, "--topic", "commands")


@pytest.mark.slow
@pytest.mark.pubsub
def test_commands_are_sent_to_a_topic(
    store: str, pubsub_emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrives is a command that the job takes; the store is only looked at; a missing topic is told."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    topic = publisher.topic_path("aiops-test", "cli-commands")
    subscription = subscriber.subscription_path("aiops-test", "cli-commands")
    publisher.create_topic(name=topic)
    subscriber.create_subscription(name=subscription, topic=topic)
    before = events_of(store)
    assert f"sent to {topic}" in act("ack", PAYMENT[:6], "--topic", topic, "--store", store, "--actor", "ann")
    act("silence", "--topic", topic, "--matcher", "service=a", "--for", "2h", "--actor", "ann")
    response = subscriber.pull(subscription=subscription, max_messages=10, timeout=20)
    commands = {
        command.action: command
        for command in (parse_command(got.message.data, "acme") for got in response.received_messages)
    }
    assert (commands["acknowledge"].alert_id, commands["acknowledge"].tenant_id) == (PAYMENT, "acme")
    assert (commands["silence"].tenant_id, commands["silence"].matchers[0].value) == ("acme", "a")
    assert events_of(store) == before
    missing = publisher.topic_path("aiops-test", "nobody-made-it")
    assert "Pub/Sub failed with NotFound" in refused("ack", PAYMENT, "--topic", missing)
