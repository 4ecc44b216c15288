"""Views: the last revision counts, copies never show, and each figure is what its name says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sample_alerts import alert_event
from sample_store import service_window, time_us
from sample_views import CAUSE, alert_events, build_views_store, plain

from pipeline.duckdb_store import DuckDBStore
from pipeline.tables import TABLES
from pipeline.views import PLACE, view_description, view_level, view_sources
from transforms.alert.view import fold_events

VIEWS = list(view_sources())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBStore]:
    path = build_views_store(tmp_path_factory.mktemp("views") / "s.duckdb")
    with DuckDBStore(str(path)) as opened:
        yield opened


def _rows(store: DuckDBStore, view: str, where: str = "true") -> list[dict[str, Any]]:
    return store.query(f"SELECT * FROM {view} WHERE {where} ORDER BY ALL")


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_says_what_it_shows(view: str) -> None:
    """The first line of a view is a sentence, which BigQuery shows beside it."""
    assert re.fullmatch(r"[A-Z].+\.", view_description(view))
    assert len(view_description(view)) < 200


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_reads_only_what_is_made_before_it(view: str) -> None:
    """Names after FROM and JOIN are tables, views of a lower level, or its own WITH."""
    sql = view_sources()[view]
    own = set(re.findall(r"^(?:WITH )?(\w+) AS \($", sql, re.MULTILINE))
    for prefix, name in re.findall(r"\b(?:FROM|JOIN) (\$\{dataset\}\.)?(\w+)", sql):
        if prefix:
            assert name in TABLES or view_level(name) < view_level(view), name
        else:
            assert name in own, f"{name} lacks {PLACE}"


def test_rows_that_come_twice_never_show(store: DuckDBStore, tmp_path: Path) -> None:
    """At-least-once delivery changes no view: all rows appended once more, all views stay the same."""
    with DuckDBStore(str(build_views_store(tmp_path / "twice.duckdb"))) as twice:
        for table in TABLES:
            later = "* REPLACE (written_at + INTERVAL 1 HOUR AS written_at)"
            twice.query(f"INSERT INTO {table} SELECT {later} FROM {table}")
        for view in VIEWS:
            if view.startswith("current_"):
                columns = "* EXCLUDE (written_at)"
            elif view == "detection_delay":
                columns = "* EXCLUDE (first_written_at, seconds_until_stored)"
            else:
                columns = "*"
            query = f"SELECT {columns} FROM {view} ORDER BY ALL"
            assert plain(twice.query(query)) == plain(store.query(query)), view


def test_alerts_are_what_the_command_shows(store: DuckDBStore) -> None:
    """The view and `aiops alerts` fold the same events to the same alerts."""
    views = fold_events(alert_events())
    rows = {row["alert_id"]: row for row in _rows(store, "alerts")}
    assert rows.keys() == views.keys()
    for alert_id, view in views.items():
        row = rows[alert_id]
        for name in ("status", "severity", "summary", "verdict", "is_silence", "is_inhibited", "reopenings"):
            assert row[name] == getattr(view, name), name
        assert row["resolved_at"] == (_moment(view.resolved_at) if view.resolved_at else None)
        assert row["events"] == len(view.events)


def _moment(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1_000_000, UTC)


def test_open_alerts_are_neither_over_nor_silences(store: DuckDBStore) -> None:
    """The on-call view holds what is open or acknowledged, with a rank to sort by."""
    assert [(row["alert_id"], row["severity_rank"]) for row in _rows(store, "open_alerts")] == [
        ("alert-2", 4),
        ("alert-4", 3),
    ]


def test_response_times_count_from_the_opening(store: DuckDBStore) -> None:
    """MTTA is to the first acknowledgment, MTTR to the end; what is open again is not resolved."""
    rows = {row["service"]: row for row in _rows(store, "response_times", "tenant_id = 'acme'")}
    payments, checkout = rows["payments"], rows["checkout"]
    assert (payments["mean_seconds_to_acknowledge"], payments["mean_seconds_to_resolve"]) == (60, 1_200)
    assert (checkout["acknowledged"], checkout["resolved"]) == (1, 0)
    assert checkout["mean_seconds_to_resolve"] is None
    assert payments["opened_on"] == date(2026, 1, 1)
    assert "" not in rows, "a silence is no alert"


def test_a_reopened_alert_is_resolved_when_it_is_resolved_again(tmp_path: Path) -> None:
    """The first end no longer counts, and a late acknowledgment does not move the first one."""
    kinds = ["opened", "acknowledged", "resolved", "reopened", "acknowledged", "resolved"]
    status = {"acknowledged": "acknowledged", "resolved": "resolved"}
    with DuckDBStore(str(tmp_path / "s.duckdb")) as store:
        store.append(
            "alert_events",
            [alert_event(n, event_type=k, status=status.get(k, "open")) for n, k in enumerate(kinds)],
        )
        (row,) = _rows(store, "alerts")
    assert (row["seconds_to_acknowledge"], row["seconds_to_resolve"], row["reopenings"]) == (60, 300, 1)


def test_the_timeline_of_an_incident_tells_its_story_in_order(store: DuckDBStore) -> None:
    """Roll-out, anomalies, spread, alerts (also from before they were attached) and its own changes."""
    rows = store.query(
        "SELECT kind, event, service FROM incident_timeline WHERE incident_id = 'incident-1' "
        "ORDER BY occurred_at, kind, event, service"
    )
    story = [(row["kind"], row["event"], row["service"]) for row in rows]
    assert story[0] == ("deploy", "deployed", "payments")
    assert story[1:6] == [
        ("alert", "opened", "checkout"),
        ("alert", "opened", "payments"),
        ("anomaly", "error_spike", "payments"),
        ("effect", "spread", "checkout"),
        ("incident", "open", ""),
    ]
    assert [event for kind, event, _ in story if kind == "incident"] == ["open", "updated", "closed"]
    assert ("alert", "acknowledged", "payments") in story


def test_noise_is_counted_by_service_and_by_rule(store: DuckDBStore) -> None:
    """Ratios have no value where there is nothing to divide by; withdrawn anomalies stand apart."""
    noise = {(row["tenant_id"], row["service"]): row for row in _rows(store, "alert_noise")}
    payments = noise["acme", "payments"]
    assert (payments["anomalies"], payments["alerts"], payments["incidents"]) == (12, 1, 1)
    assert (payments["anomalies_per_alert"], payments["alerts_per_incident"]) == (12, 1)
    assert noise["initech", "portal"]["anomalies_withdrawn"] == 1
    assert noise["initech", "portal"]["anomalies_per_alert"] is None
    assert (noise["acme", "inventory"]["alerts_inhibited"], noise["acme", "inventory"]["reminders"]) == (1, 1)
    rules = {(row["tenant_id"], row["detector"]): row for row in _rows(store, "rule_noise")}
    assert rules["acme", "rule:error_spike"]["alerts"] == 3
    assert rules["acme", "rule:error_spike"]["false_positive_share"] == 0
    assert rules["globex", "latency_p95_ms"]["false_positive_share"] == 1


def test_the_health_of_a_service_is_its_newest_window_and_last_hour(store: DuckDBStore) -> None:
    """A service that fell silent shows how far it is behind its tenant."""
    with DuckDBStore(store.path) as same:
        rows = {row["service"]: row for row in _rows(same, "service_health", "tenant_id = 'acme'")}
    checkout = rows["checkout"]
    assert checkout["window_start"] == _moment(time_us(59))
    assert checkout["hour_lines"] == sum(
        row["lines"] for row in _rows(store, "current_service_windows", "service = 'checkout'")
    )
    assert (checkout["open_alerts"], checkout["worst_open_severity"]) == (1, "critical")
    assert rows["payments"]["open_alerts"] == 0
    assert rows["payments"]["last_deployed_at"] == _moment(time_us(23) + 17)
    assert rows["inventory"]["lines"] == 0


def test_a_service_without_windows_for_a_while_is_behind(tmp_path: Path) -> None:
    """Seconds behind the tenant's newest window are 0 for those that keep up."""
    with DuckDBStore(str(tmp_path / "s.duckdb")) as store:
        store.append("service_windows", [service_window("t", "a", 0), service_window("t", "b", 10)])
        behind = [row["seconds_behind_tenant"] for row in _rows(store, "service_health")]
    assert behind == [600, 0]


def test_top_patterns_have_their_share_of_the_lines(store: DuckDBStore) -> None:
    """Shares of a service and day add up to 1, the most frequent pattern is first."""
    rows = store.query("SELECT * FROM top_patterns WHERE service = 'payments' ORDER BY place")
    assert [row["place"] for row in rows] == [1, 2, 3]
    assert sum(row["share_of_lines"] for row in rows) == pytest.approx(1)
    assert rows[1]["exception"] == "java.net.SocketException"
    assert (rows[1]["lines"], rows[1]["severity_rank"], rows[1]["windows"]) == (1_800, 5, 12)


def test_new_patterns_name_the_roll_out_before_them(store: DuckDBStore) -> None:
    """A pattern that appeared within an hour of a roll-out of its service shows it."""
    rows = {row["service"]: row for row in _rows(store, "new_patterns")}
    assert str(rows["payments"]["deployed"]).endswith("payments:v2.4.0")
    assert (rows["payments"]["lines"], rows["payments"]["hour_lines"]) == (150, 1_800)
    assert rows["checkout"]["deployed"] is None


def test_detection_delay_is_measured_to_the_first_alert(store: DuckDBStore) -> None:
    """The anomaly that opened an alert has both delays; one without alert has only the first."""
    (row,) = _rows(store, "detection_delay", f"anomaly_id = '{CAUSE}'")
    assert (row["alert_id"], row["seconds_until_alerted"]) == ("alert-1", 60)
    assert row["seconds_until_stored"] > 0
    others = _rows(store, "detection_delay", f"anomaly_id != '{CAUSE}'")
    assert {row["seconds_until_alerted"] for row in others} == {None}


def test_deploys_stand_beside_what_changed_after_them(store: DuckDBStore) -> None:
    """Rates before and after, the anomalies that followed, the incidents that name it."""
    rows = {row["service"]: row for row in _rows(store, "deploy_effects", "tenant_id = 'acme'")}
    payments = rows["payments"]
    assert payments["error_rate_before"] < 0.01
    assert payments["error_rate_after"] > 0.1
    assert payments["latency_p95_ms_after"] > 3 * payments["latency_p95_ms_before"]
    assert (payments["anomalies_after"], payments["incidents"]) == (12, 1)
    assert rows["checkout"]["anomalies_after"] == 0


def test_the_ledger_counts_metrics_apart_from_lines(store: DuckDBStore) -> None:
    """Points of metrics balance by themselves, dead letters included; the broken minute of logs shows."""
    metrics = _rows(store, "ledger_balance", "source = 'metrics'")
    assert [(row["received"], row["analyzed"], row["duplicate"]) for row in metrics[:3]] == [
        (3, 2, 1),
        (4, 3, 1),
        (4, 3, 1),
    ]
    assert [row["balanced"] for row in metrics] == [True, True, True, False]
    assert metrics[3]["dead_lettered"] == 1
    assert _rows(store, "ledger_balance", "source = 'logs' AND NOT balanced")


def test_a_ledger_that_is_no_json_counts_nothing(tmp_path: Path) -> None:
    """A damaged cell shows as an imbalance and breaks no query."""
    with DuckDBStore(str(tmp_path / "s.duckdb")) as store:
        store.append(
            "service_windows", [service_window("t", "a", 0, ledger="{"), service_window("t", "b", 0)]
        )
        (row,) = _rows(store, "ledger_balance")
    assert (row["analyzed"], row["received"], row["difference"]) == (600, 0, -600)
