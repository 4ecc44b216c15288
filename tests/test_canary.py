"""Canaries: found like anything else, up to an alert, and no trouble to anybody."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from alert_bench import MINUTE, START, make_anomaly
from correlate_bench import Tenant
from correlate_bench import make_anomaly as clue
from test_watch import Service, window

from aiops.doctor.canary import Canary
from aiops.quality import judge_alerts
from aiops.report.gather import gather_report
from pipeline.alert_log import stored_events
from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run
from transforms.alert.book import AlertBook
from transforms.alert.manage import advance, apply
from transforms.alert.notify_policy import Match, matches
from transforms.alert.settings import AlertSettings
from transforms.alert.view import fold_events
from transforms.alert_elements import AlertEvent
from transforms.analyze.select import Notice, SelectWindows
from transforms.detect.rule_loading import builtin_rules
from transforms.detect.rule_model import effective_rule
from transforms.detect.watch import ServiceBaselines
from transforms.elements import CANARY_DETECTOR, CANARY_SERVICE, Anomaly
from transforms.gemini_elements import WindowEvidence

CANARY = Canary("projects/acme-prod/topics/logs", "", "acme", "NOTICE", 60)
FAULT_MINUTES = 12


def canary_anomaly(at: int) -> Anomaly:
    return make_anomaly(CANARY_SERVICE, CANARY_DETECTOR, "low", at, signal="pattern.count")


def lines() -> list[dict[str, object]]:
    """A service that fails, and a canary in every second minute of one tenant, five lines at a time."""
    start = datetime(2026, 3, 2, 10, tzinfo=UTC)
    found: list[dict[str, object]] = []
    for minute in range(FAULT_MINUTES):
        at = start + timedelta(minutes=minute)
        if minute % 2 == 0:
            found += [CANARY.line(at + timedelta(seconds=number)) for number in range(5)]
        for number in range(40):
            moment = (at + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
            bad = minute >= FAULT_MINUTES // 2 and number % 2
            found.append(
                {
                    "insertId": f"{minute}-{number}",
                    "logName": "projects/acme/logs/stdout",
                    "timestamp": moment,
                    "receiveTimestamp": moment,
                    "severity": "ERROR" if bad else "INFO",
                    "resource": {"type": "cloud_run_revision", "labels": {"service_name": "payment"}},
                    "textPayload": "charge refused" if bad else "charge done",
                }
            )
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over `lines`."""
    folder = tmp_path_factory.mktemp("canary")
    logs = folder / "logs.ndjson"
    logs.write_text("".join(json.dumps(line) + "\n" for line in lines()))
    catalog = folder / "catalog.yaml"
    catalog.write_text("services:\n- {service: '*', owner: ann, slo: {availability: 99.9}}\n")
    run(["--input", str(logs), "--store", str(folder / "s.duckdb"), "--catalog", str(catalog)])
    return folder / "s.duckdb"


def test_every_canary_is_an_anomaly_and_one_alert_tells_of_each(store: Path) -> None:
    """Low, of an unusual pattern, and of nothing else; opened once, then an event for each canary."""
    with DuckDBStore(str(store), read_only=True) as opened:
        anomalies = opened.query(
            "SELECT anomaly_type, anomaly_severity, detector, below_confidence_floor, count(*) AS windows "
            "FROM current_anomalies WHERE service = $service GROUP BY ALL",
            {"service": CANARY_SERVICE},
        )
        events = [event for event in stored_events(opened) if event.service == CANARY_SERVICE]
    assert anomalies == [
        {
            "anomaly_type": "unusual_pattern",
            "anomaly_severity": "low",
            "detector": CANARY_DETECTOR,
            "below_confidence_floor": False,
            "windows": FAULT_MINUTES // 2,
        }
    ]
    assert [event.event_type for event in events] == ["opened"] + ["updated"] * (FAULT_MINUTES // 2 - 1)
    assert {event.tenant_id for event in events} == {"acme"}


def test_incidents_and_figures_leave_canaries_out(store: Path) -> None:
    """The failing service is in all of them, the canaries are in none."""
    with DuckDBStore(str(store), read_only=True) as opened:
        views = ("alerts", "open_alerts", "alert_noise", "response_times", "service_health")
        for view in (*views, "services", "slo_burn"):
            services = {row["service"] for row in opened.query(f"SELECT service FROM {view}")}
            assert services == {"payment"}, view
        detectors = {row["detector"] for row in opened.query("SELECT detector FROM rule_noise")}
        incidents = opened.query("SELECT affected_services, anomalies FROM current_incidents")
        quality = judge_alerts(fold_events(stored_events(opened)).values())
        report = gather_report(opened)
    assert detectors
    assert CANARY_DETECTOR not in detectors
    assert incidents
    assert CANARY_SERVICE not in json.dumps(incidents, default=str)
    assert {one.name for one in quality if one.group == "service"} == {"acme payment"}
    assert {line.service for line in report.service_lines} == {"payment"}
    assert {episode.service for episode in report.episodes} == {"payment"}
    assert {pattern["service"] for pattern in report.patterns} == {"payment"}


def test_the_ledger_counts_canaries_as_all_lines(store: Path) -> None:
    """What is left out of figures is not left out of the books."""
    with DuckDBStore(str(store), read_only=True) as opened:
        totals = opened.ledger_totals("acme")
    assert (totals["received"], totals["balanced"]) == (len(lines()), True)


def test_the_rule_is_in_force_for_that_service_alone() -> None:
    """The same words in another service are a line like any other."""
    (rule,) = [rule for rule in builtin_rules().rules if f"rule:{rule.name}" == CANARY_DETECTOR]
    assert effective_rule(rule, "acme", CANARY_SERVICE).enabled
    assert not effective_rule(rule, "acme", "payment").enabled


def test_nothing_is_learned_of_canaries() -> None:
    """Neither levels nor patterns nor pauses: a canary that stays away is no silence."""
    service = Service()
    for minute in range(30):
        assert service.watch(window(minute, service=CANARY_SERVICE)) == []
    assert service.memory == ServiceBaselines()


def test_gemini_is_not_asked_about_canaries() -> None:
    """Not even a row says that they were left out."""
    step = SelectWindows()
    for service, expected in (("payment", 1), (CANARY_SERVICE, 0)):
        state = step.initial()
        evidence = WindowEvidence("acme", service, START, 60, 0, 1, 0, 0, 0, 0, -1.0, -1.0)
        assert list(step.step(state, Notice("acme", service, START, 0, evidence), is_late=False)) == []
        assert len(list(step.end_time(state, START))) == expected, service


def test_correlation_does_not_see_canaries() -> None:
    """An anomaly of theirs opens no incident; the same of another service does."""
    tenant = Tenant()
    assert tenant.at(0, anomalies=[clue(CANARY_SERVICE, 0)]) == []
    assert len(tenant.at(1, anomalies=[clue("payment", 1)])) == 1


def test_a_canary_is_told_at_once_where_others_wait() -> None:
    """Within the interval of updates, too; people's noise in the same service has to wait for it."""
    book, settings = AlertBook("acme"), AlertSettings()
    apply(book, canary_anomaly(START), START, settings)
    (opened,) = advance(book, START + 30_000_000, settings)
    assert opened.event_type == "opened"
    noise = make_anomaly(CANARY_SERVICE, "rule:error-spike", "low", START + MINUTE)
    assert apply(book, noise, START + MINUTE, settings) == []
    (told,) = apply(book, canary_anomaly(START + MINUTE), START + MINUTE, settings)
    assert (told.event_type, told.last_seen_at) == ("updated", START + MINUTE)


def test_a_copy_of_a_canary_is_told_once() -> None:
    """At-least-once delivery makes no second event."""
    book, settings = AlertBook("acme"), AlertSettings()
    apply(book, canary_anomaly(START), START, settings)
    advance(book, START + MINUTE, settings)
    assert len(apply(book, canary_anomaly(START + MINUTE), START + 2 * MINUTE, settings)) == 1
    assert apply(book, canary_anomaly(START + MINUTE), START + 3 * MINUTE, settings) == []


@pytest.mark.parametrize("group_by", [("type",), ("detector",), ("endpoint",), ("pattern",), ("service",)])
def test_nothing_hides_behind_a_canary(group_by: tuple[str, ...]) -> None:
    """However alerts are grouped: no other anomaly ever stands in the alert that nobody hears of."""
    settings = AlertSettings(group_by=group_by)  # type: ignore[arg-type]
    book = AlertBook("acme")
    real = msgspec.structs.replace(canary_anomaly(START), service="payment", anomaly_id="other")
    for anomaly in (canary_anomaly(START), real):
        apply(book, anomaly, START, settings)
    events: list[AlertEvent] = advance(book, START + MINUTE, settings)
    assert sorted(event.service for event in events) == [CANARY_SERVICE, "payment"]


@pytest.mark.parametrize(
    ("match", "is_taken"),
    [
        (Match(), False),
        (Match(service=("*",)), False),
        (Match(service=("aiops-*",)), False),
        (Match(severity=("low",)), False),
        (Match(service=("cart", CANARY_SERVICE)), True),
        (Match(service=(CANARY_SERVICE,), severity=("high",)), False),
    ],
)
def test_nobody_is_told_of_canaries_unless_a_route_names_them(match: Match, is_taken: bool) -> None:
    """A glob does not name; every other condition counts as always."""
    book, settings = AlertBook("acme"), AlertSettings(group_wait_seconds=0)
    apply(book, canary_anomaly(START), START, settings)
    (event,) = advance(book, START, settings)
    assert matches(match, event) is is_taken
    assert matches(Match(), msgspec.structs.replace(event, service="cart"))
