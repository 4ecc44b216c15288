"""A store with rows in every table, for tests of views: the small shop, its alerts and an incident."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sample_alerts import alert_event
from sample_store import anomaly, build_store, log_pattern, service_window, time_us

from pipeline.duckdb_store import DuckDBStore
from transforms.alert_elements import Matcher
from transforms.elements import (
    CANARY_DETECTOR,
    CANARY_SERVICE,
    MINUTE_US,
    BaselineSnapshot,
    DeadLetter,
    FailedRow,
    LedgerEntry,
    MetricWindow,
    Service,
    content_id,
)
from transforms.gemini_elements import ClaimCheck, GeminiCall, Hypothesis
from transforms.incident_elements import (
    Dependency,
    EffectStep,
    Incident,
    IncidentAnomaly,
    NearbyDeploy,
    RootCause,
    TraceSample,
)

CAUSE = anomaly("acme", "payments", 24, "critical").anomaly_id
PAYMENTS_DEPLOY = content_id("acme", "payments", 23)


def plain(value: Any) -> Any:
    """Rows that can be compared: times without a zone, floats without the last digits of their sums."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None)
    return float(f"{value:.9g}") if isinstance(value, float) else value


def build_views_store(path: Path) -> Path:
    """The shop of `build_store`, a late pane, copies of rows, alerts of every fate, one incident, metrics."""
    build_store(path)
    with DuckDBStore(str(path)) as store:
        store.append("alert_events", alert_events())
        store.append("incidents", [incident(0), incident(1, status="updated"), incident(2, status="closed")])
        store.append("dependencies", [_dependency(0), _dependency(1)])
        store.append("baselines", [_baseline()])
        store.append("metric_windows", [_metric_window(minute) for minute in range(3)])
        store.append("ledger", [_metric_ledger(minute) for minute in range(3)])
        store.append("dead_letters", [_metric_dead_letter()])
        store.append("gemini_calls", gemini_calls())
        store.append("gemini_calls", gemini_calls()[:1])
        store.append("services", [sample_service("payments", revision) for revision in (0, 1)])
        store.append("services", [sample_service("search", tenant_id="globex", slo_latency_ms=None)])
        no_promise = {"slo_percent": None, "slo_latency_ms": None, "slo_days": None}
        store.append("services", [sample_service("checkout", **no_promise)])
        store.append("hypotheses", [_hypothesis()])
        store.append("failed_rows", [_failed_row()])
        # What the canary leaves, which is no service's.
        store.append("service_windows", [service_window("initech", CANARY_SERVICE, 30, ledger="{}")])
        store.append("anomalies", [anomaly("initech", CANARY_SERVICE, 30, detector=CANARY_DETECTOR)])
        store.append(
            "log_patterns", [log_pattern("initech", CANARY_SERVICE, 30, "canary <num>", 1, is_new=True)]
        )
        store.append("services", [sample_service(CANARY_SERVICE, tenant_id="initech")])
        # A late pane that coarsens patterns, and rows that came twice.
        store.append("service_windows", [service_window("initech", "portal", 5, 601, revision=1)] * 2)
        store.append("log_patterns", [log_pattern("initech", "portal", 5, "<any>", 601, revision=1)])
        store.append("incidents", [incident(1, status="updated")])
        store.append("alert_events", alert_events()[:3])
    return path


def sample_service(service: str, revision: int = 0, **changes: Any) -> Service:
    """A row of a catalog in which `service` promises 99.9 % in 300 ms, over 30 days."""
    values: dict[str, Any] = {
        "tenant_id": "acme",
        "service": service,
        "revision": revision,
        "as_of": time_us(revision),
        "owner": f"team-{service}",
        "tier": "tier-1",
        "channel": f"#{service}",
        "runbook": f"https://runbooks.example.com/{service}",
        "calls": ["ledger"],
        "slo_percent": 99.9,
        "slo_latency_ms": 300,
        "slo_days": 30,
        "catalog_version": "c",
    }
    return Service(**(values | changes))


def incident(revision: int, **changes: Any) -> Incident:
    """The incident that payments' anomaly of minute 24 opened; checkout feels it."""
    values: dict[str, Any] = {
        "incident_id": "incident-1",
        "revision": revision,
        "status": "open",
        "tenant_id": "acme",
        "severity": "critical",
        "title": "payments fails, checkout feels it",
        "summary": "Since the roll-out of payments:v2.4.0.",
        "correlation_score": 0.9,
        "anomaly_count": 2,
        "anomalies": [
            IncidentAnomaly(
                CAUSE, "payments", "error_spike", "critical", "rule:error_spike", "error_rate",
                "31.4 % of payments's lines are errors", time_us(25), "opened the incident", "p1",
            ),
            IncidentAnomaly(
                anomaly("acme", "checkout", 25).anomaly_id, "checkout", "error_spike", "high",
                "rule:error_spike", "error_rate", "checkout fails", time_us(26), "checkout calls payments",
            ),
        ],
        "affected_services": ["payments", "checkout"],
        "root_causes": [RootCause("payments", 0.8, ["It failed first."])],
        "effects": [EffectStep("payments", "checkout", time_us(25), "checkout calls payments")],
        "trace_samples": [TraceSample("t1", ["payments", "checkout"], time_us(24))],
        "deploys": [NearbyDeploy(PAYMENTS_DEPLOY, "payments", "payments:v2.4.0", time_us(23) + 17)],
        "started_at": time_us(24),
        "opened_at": time_us(25),
        "updated_at": time_us(25 + 10 * revision),
        "closed_at": time_us(45) if changes.get("status") == "closed" else None,
    }  # fmt: skip
    return Incident(**(values | changes))


def alert_events() -> list[Any]:
    """Alerts resolved, reopened, false, inhibited; a silence; a rejected command."""
    start = time_us(25)

    def life(alert_id: str, service: str, *events: dict[str, Any], **common: Any) -> list[Any]:
        facts = {"alert_id": alert_id, "service": service, "opened_at": start, "anomaly_ids": []} | common
        return [
            alert_event(number, **(facts | {"occurred_at": start + number * MINUTE_US} | event))
            for number, event in enumerate(events)
        ]

    acknowledged = {"event_type": "acknowledged", "status": "acknowledged", "actor": "ann"}
    resolved = {"event_type": "resolved", "status": "resolved", "actor": "ann"}
    silence = {
        "status": "open",
        "matchers": [Matcher("service", "=~", "batch-.*")],
        "silence_id": "silence-1",
    }
    return [
        *life(
            "alert-1", "payments", {"anomaly_ids": [CAUSE]}, acknowledged | {"note": "looking at it"},
            {"incident_id": "incident-1"} | acknowledged | {"event_type": "updated", "actor": "aiops"},
            resolved | {"incident_id": "incident-1", "verdict": "useful", "occurred_at": time_us(45)},
        ),
        *life(
            "alert-2", "checkout", {"incident_id": "incident-1"},
            resolved | {"incident_id": "incident-1"},
            {"incident_id": "incident-1", "event_type": "reopened"},
            acknowledged | {"incident_id": "incident-1"},
            severity="critical", detectors=["rule:error_spike"],
        ),
        *life(
            "alert-3", "search",
            {}, {"event_type": "false_positive", "status": "false_positive", "verdict": "false_positive"},
            tenant_id="globex", detectors=["latency_p95_ms"], severity="medium",
        ),
        *life("alert-4", "inventory", {}, {"event_type": "repeated"}, inhibited_by="alert-1"),
        *life("silence-1", "", {"event_type": "silenced", **silence}, silenced_until=time_us(9_000_000)),
        *life("rejected-1", "", {"event_type": "rejected", "status": "resolved", "group_key": "rejected"}),
    ]  # fmt: skip


def gemini_calls() -> list[GeminiCall]:
    """Requests answered with and without a price, and failed; windows asked, cached, skipped."""
    return [
        _gemini_call(0, "batch", "answered", cost_usd=0.02, claims=4, verified_claims=3, verified_findings=1),
        _gemini_call(1, "incident", "answered", cost_usd=None, claims=1, verified_claims=1),
        _gemini_call(2, "batch", "failed", reason="timeout", tokens_in=0, tokens_out=0, findings=0),
        _gemini_call(3, "window", "answered"),
        _gemini_call(4, "window", "cached"),
        _gemini_call(5, "window", "skipped", reason="over_budget"),
        _gemini_call(6, "window", "skipped", reason="nothing_new"),
    ]


def _gemini_call(number: int, subject: str, outcome: str, **changes: Any) -> GeminiCall:
    values: dict[str, Any] = {
        "call_id": f"call-{number}",
        "tenant_id": "acme",
        "subject": subject,
        "service": "payments" if subject == "window" else "",
        "incident_id": "",
        "request_id": "request-1",
        "window_start": time_us(24),
        "window_end": time_us(25),
        "windows": 1,
        "outcome": outcome,
        "reason": "",
        "asked_because": ["anomaly"],
        "ladder_step": "full",
        "fingerprint": "f",
        "model": "" if subject == "window" else "gemini",
        "prompt_version": "1",
        "prompt_tokens_estimated": 900,
        "tokens_in": 1_000,
        "tokens_out": 200,
        "cost_usd": None,
        "latency_ms": 1_500,
        "attempts": 1,
        "findings": 1,
        "verified_findings": 0,
        "claims": 0,
        "verified_claims": 0,
        "asked_at": time_us(25),
    }
    return GeminiCall(**(values | changes))


def _dependency(revision: int) -> Dependency:
    return Dependency(
        "acme", "checkout", "payments", "trace", revision, time_us(revision), time_us(0), time_us(revision),
        requests=10 + revision, errors=1, requests_per_minute=5.0, latency_p50_ms=None, latency_p95_ms=20.5,
    )  # fmt: skip


def _baseline() -> BaselineSnapshot:
    return BaselineSnapshot(
        tenant_id="acme", service="payments", signal="lines", revision=1, as_of=time_us(60), detector="level",
        status="ready", learns_since=time_us(0), window_seconds=60, windows=60, windows_missing=0,
        cautious_until=None, hours_known=1, baseline=510.0, band_low=300.0, band_high=800.0, alarms=0.0,
        state_version=1, state="",
    )  # fmt: skip


def _metric_window(minute: int) -> MetricWindow:
    return MetricWindow(
        tenant_id="acme", service="payments", series_id="cpu", window_start=time_us(minute),
        window_end=time_us(minute + 1), revision=0, instance="pod-1", metric_type="cpu", statistic="value",
        labels="{}", unit="1", points=2, value=0.5, min=0.4, max=0.6, baseline=None, band_low=None,
        band_high=None, score=0.0, label="learning",
        ledger=f'{{"{time_us(minute) // 1_000_000}":[2,1],"{time_us(minute + 1) // 1_000_000}":[1,0]}}',
    )  # fmt: skip


def _metric_ledger(minute: int) -> LedgerEntry:
    return LedgerEntry("acme", time_us(minute), 4 if minute else 3, 0, 0, source="metrics")


def _hypothesis() -> Hypothesis:
    return Hypothesis(
        hypothesis_id="hypothesis-1", request_id="request-1", tenant_id="acme", service="payments",
        window_start=time_us(24), window_end=time_us(25), reason="wrong_number", detail="count of p1",
        anomaly_type="error_spike", claimed_severity="critical", claimed_confidence=0.9,
        description="payments fails", analysis="", recommended_actions=[], pattern_ids=["p1"],
        checks=[ClaimCheck("count", "p1", 500.0, 171.0, holds=False)], model="gemini", prompt_version="1",
    )  # fmt: skip


def _failed_row() -> FailedRow:
    return FailedRow("f1", "acme", "anomalies", "{}", "invalid", "no such field", time_us(30))


def _metric_dead_letter() -> DeadLetter:
    return DeadLetter("d9", "acme", "parse_metrics", "not_json", "", "{", 1, time_us(3), 1)
