"""A made-up store for tests of `aiops show` and `aiops report`: a small shop with faults and hostile text."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import orjson

from pipeline.duckdb_store import DuckDBStore
from transforms.elements import (
    MICROSECONDS,
    Anomaly,
    AnomalyMetric,
    DeadLetter,
    Deploy,
    Evidence,
    Example,
    LedgerEntry,
    LogPattern,
    ServiceWindow,
    content_id,
)
from transforms.gemini_elements import ClaimCheck, Hypothesis
from transforms.incident_elements import (
    Dependency,
    EffectStep,
    Incident,
    IncidentAnomaly,
    NearbyDeploy,
    RootCause,
    TraceSample,
)

START_SECONDS = 1_767_261_600  # 2026-01-01T10:00:00Z
MINUTE = 60
LEARNED_MINUTE = 20
"""From this minute on the shop's windows have bands."""

HOSTILE = (
    "<script>window.__hacked = 1</script></script><img src=x onerror='window.__hacked=2'> \"quoted\" "
    "\u202egnp.exe [bold red]markup[/bold red] \x1b[31mred\x1b[0m \x9b2J {{ 7 * 7 }} <!-- --> ]]>"
)
SERVICES = {
    "acme": ("frontend", "checkout", "payments", "inventory"),
    "globex": ("api-gateway", "search", "orders"),
    "initech": ("portal",),
}


def time_us(minute: int) -> int:
    return (START_SECONDS + minute * MINUTE) * MICROSECONDS


def service_window(
    tenant: str, service: str, minute: int, lines: int = 600, errors: int = 3, **changes: object
) -> ServiceWindow:
    values: dict[str, object] = {
        "tenant_id": tenant,
        "service": service,
        "window_start": time_us(minute),
        "window_end": time_us(minute + 1),
        "revision": 0,
        "lines": lines,
        "errors": errors,
        "error_rate": errors / lines if lines else 0.0,
        "warnings": lines // 50,
        "requests": lines // 2,
        "denials": 0,
        "retimed": 0,
        "severity_inferred": 0,
        "latency_p50_ms": 20.0 if lines else None,
        "latency_p95_ms": 80.0 + errors if lines else None,
        "latency_p99_ms": 140.0 + errors if lines else None,
        "distinct_principals": 4,
        "distinct_addresses": 12,
        "distinct_instances": 3,
        "distinct_patterns": 9,
        "new_patterns": 0,
        "pattern_level": 0,
        "endpoint_level": 0,
        "health_score": max(0.0, 100 - 300 * errors / lines) if lines else None,
        "severities": '{"ERROR":3,"INFO":597}',
        "statuses": '{"200":297,"500":3}',
        "fields": "{}",
        "bands": "{}",
        "endpoints": "{}",
        "callers": "{}",
        "revisions": "{}",
        "ledger": orjson.dumps({str(START_SECONDS + minute * MINUTE): [lines, 0]}).decode(),
    }
    return ServiceWindow(**(values | changes))  # type: ignore[arg-type]


def anomaly(
    tenant: str,
    service: str,
    minute: int,
    severity: str = "high",
    kind: str = "error_spike",
    **changes: object,
) -> Anomaly:
    detector = str(changes.get("detector", f"rule:{kind}"))
    values: dict[str, object] = {
        "anomaly_id": content_id(tenant, service, detector, minute),
        "revision": 0,
        "status": "open",
        "tenant_id": tenant,
        "service": service,
        "endpoint": "",
        "anomaly_type": kind,
        "anomaly_severity": severity,
        "description": f"31.4 % of {service}'s lines are errors; the rule allows 10 %.",
        "detector": detector,
        "signal": "error_rate",
        "rules_version": "3f9a12bc",
        "window_start": time_us(minute),
        "window_end": time_us(minute + 1),
        "confidence_score": 0.93,
        "below_confidence_floor": False,
        "metrics": [
            AnomalyMetric("error_rate", 0.314, 0.1, 0.004, 0.0, 0.02, 12.5),
            AnomalyMetric("errors", 188.0, 10.0),
        ],
        "evidence": [
            Evidence(
                "p1",
                "payment <num> refused by upstream <ip>: connection reset",
                171,
                [
                    Example(
                        7,
                        time_us(minute),
                        "ins-1",
                        "payment 48213 refused by upstream <ip:v1:0a1b2c3d4e>: connection reset",
                    )
                ],
            ),
            Evidence("p2", "retry <num> of <num> failed", 17),
        ],
        "recommended_actions": [
            "Check the roll-outs of the last hour.",
            "Look at the upstream's health first.",
        ],
        "gemini_analysis": "",
        "detected_at": time_us(minute + 1),
    }
    return Anomaly(**(values | changes))  # type: ignore[arg-type]


def log_pattern(
    tenant: str, service: str, minute: int, name: str, count: int = 10, **changes: object
) -> LogPattern:
    values: dict[str, object] = {
        "tenant_id": tenant,
        "service": service,
        "pattern_id": content_id(service, name),
        "window_start": time_us(minute),
        "revision": 0,
        "pattern": name,
        "count": count,
        "errors": 0,
        "severity": "INFO",
        "exception": "",
        "first_seen": time_us(0),
        "is_new": False,
        "example": name.replace("<num>", "42"),
    }
    return LogPattern(**(values | changes))  # type: ignore[arg-type]


def build_store(path: Path, minutes: int = 60) -> Path:
    """Three tenants, eight services, every severity, hostile text, one minute out of balance."""
    with DuckDBStore(str(path)) as store:
        windows, ledger = [], []
        for tenant, services in SERVICES.items():
            for minute in range(minutes):
                rows = [
                    _shop_window(tenant, service, place, minute) for place, service in enumerate(services)
                ]
                lines = sum(row.lines for row in rows)
                lost = 12 if (tenant, minute) == ("initech", 30) else 0
                dead = 2 if (tenant, minute) in {("acme", 5), ("globex", 6)} else 0
                late = 3 if minute % 20 == 0 else 0
                ledger.append(LedgerEntry(tenant, time_us(minute), lines + late + dead + lost, late, 0))
                windows += rows
        store.append("service_windows", windows)
        store.append("ledger", ledger)
        store.append("anomalies", _shop_anomalies(minutes))
        store.append("log_patterns", _shop_patterns(minutes))
        store.append("deploys", _shop_deploys())
        store.append("incidents", shop_incidents())
        store.append("dependencies", shop_dependencies())
        store.append("hypotheses", shop_hypotheses())
        store.append(
            "dead_letters",
            [
                DeadLetter(
                    "d1", "acme", "ParseLogEntries", "not JSON", "byte 17", HOSTILE, 210, time_us(5), 2
                ),
                DeadLetter(
                    "d2",
                    "globex",
                    "ParseLogEntries",
                    "too deep",
                    "depth 101",
                    "{" * 80,
                    90_000,
                    time_us(6),
                    2,
                ),
            ],
        )
    return path


def _shop_window(tenant: str, service: str, place: int, minute: int) -> ServiceWindow:
    lines = int(420 + 90 * place + 110 * math.sin(minute / 7 + place) + (minute * 37 + place * 11) % 40)
    errors, slow = minute % 3, 0.0
    if service in {"checkout", "payments"} and 24 <= minute < 36:
        errors, slow = lines // 3, 900.0 + 40 * (minute - 24)
    if service == "search" and 40 <= minute < 52:
        slow = 2_600.0
    if service == "inventory" and minute >= 50:
        lines = errors = 0
    base = 70.0 + 14 * place + (minute * 53 % 17)
    expected = {"lines": (420 + 90 * place, 250, 720), "error_rate": (0.003, 0.0, 0.02)}
    if lines:
        expected["latency_p95_ms"] = (78.0 + 14 * place, 60.0, 150.0)
    return service_window(
        tenant, service, minute, lines, errors, latency_p95_ms=base + slow if lines else None,
        bands=bands(expected) if minute >= LEARNED_MINUTE else "{}",
    )  # fmt: skip


def bands(expected: dict[str, tuple[float, float, float]]) -> str:
    """The column `bands` of (baseline, low, high) by signal."""
    names = ("baseline", "low", "high")
    return orjson.dumps(
        {signal: dict(zip(names, band, strict=True)) for signal, band in expected.items()}
    ).decode()


def _shop_anomalies(minutes: int) -> list[Anomaly]:
    hostile_example = Example(1, time_us(30), "ins-9", HOSTILE)
    long_example = Example(2, time_us(30), "ins-10", "x" * 10_000)
    rows = [anomaly("acme", "payments", minute, "critical") for minute in range(24, min(36, minutes))]
    rows += [
        anomaly("acme", "checkout", minute, "high" if minute < 30 else "critical") for minute in range(25, 36)
    ]
    rows += [
        anomaly(
            "globex",
            "search",
            minute,
            "medium",
            "latency_increase",
            endpoint="GET /search",
            signal="latency_p95_ms",
            description="p95 latency of GET /search is 2.7 s; it was 96 ms.",
            metrics=[AnomalyMetric("latency_p95_ms", 2_690.0, 1_000.0, 96.2, 40.0, 180.0, 31.0)],
            evidence=[],
            recommended_actions=["Compare with the last deploy.", "Look at the database's slow query log."],
        )
        for minute in range(40, 52)
    ]
    rows.append(
        anomaly(
            "acme",
            "inventory",
            52,
            "high",
            "silence",
            evidence=[],
            description="inventory has been silent for 2 minutes.",
        )
    )
    rows.append(
        anomaly(
            "globex",
            "orders",
            30,
            "low",
            "new_pattern",
            description=f"A new pattern: {HOSTILE}",
            evidence=[Evidence("p9", HOSTILE, 4, [hostile_example, long_example])],
            recommended_actions=[HOSTILE],
            gemini_analysis=HOSTILE,
            confidence_score=0.55,
            below_confidence_floor=True,
        )
    )
    rows.append(
        anomaly("initech", "portal", 10, "critical", "security_incident", status="withdrawn", revision=1)
    )
    return rows


def _shop_patterns(minutes: int) -> list[LogPattern]:
    rows = []
    for tenant, services in SERVICES.items():
        for service in services:
            for minute in range(minutes):
                rows.append(log_pattern(tenant, service, minute, "GET <path> <num> in <num> ms", 300))
                rows.append(log_pattern(tenant, service, minute, "cache refreshed, <num> keys", 20))
                if service in {"checkout", "payments"} and 24 <= minute < 36:
                    text = "payment <num> refused by upstream <ip>: connection reset"
                    new = minute == 24
                    rows.append(
                        log_pattern(
                            tenant, service, minute, text, 150, errors=150, severity="ERROR", is_new=new,
                            exception="java.net.SocketException", first_seen=time_us(24),
                        )
                    )  # fmt: skip
    rows.append(
        log_pattern(
            "globex", "orders", 30, HOSTILE, 4, is_new=True, severity="WARNING", first_seen=time_us(30)
        )
    )
    return rows


def _shop_deploys() -> list[Deploy]:
    deploys = [
        ("acme", "payments", 23, "europe-docker.pkg.dev/acme/shop/payments:v2.4.0", "<email:v1:0a1b2c3d4e>"),
        ("acme", "checkout", 48, "checkout-00042-abc", "<email:v1:0a1b2c3d4e>"),
        ("globex", "orders", 29, HOSTILE, HOSTILE),
    ]
    return [
        Deploy(
            deploy_id=content_id(tenant, service, minute), tenant_id=tenant, service=service,
            deployed_at=time_us(minute) + 17, method_name="google.cloud.run.v1.Services.ReplaceService",
            what=what, principal=principal, window_start=time_us(minute),
        )
        for tenant, service, minute, what, principal in deploys
    ]  # fmt: skip


def member(tenant: str, service: str, minute: int, because: str, **changes: object) -> IncidentAnomaly:
    """An incident's entry of the anomaly that `anomaly` makes of the same arguments."""
    found = anomaly(tenant, service, minute, **changes)  # type: ignore[arg-type]
    return IncidentAnomaly(
        found.anomaly_id, service, found.anomaly_type, found.anomaly_severity, found.detector, found.signal,
        found.description, found.detected_at, because,
    )  # fmt: skip


def incident(tenant: str, name: str, minute: int, severity: str = "high", **changes: object) -> Incident:
    """An incident of one service with one anomaly, unless `changes` say otherwise."""
    service = str(changes.pop("service", "portal"))
    values: dict[str, object] = {
        "incident_id": content_id(tenant, name),
        "revision": 0,
        "status": "open",
        "tenant_id": tenant,
        "severity": severity,
        "title": f"{service}: 31.4 % of its lines are errors",
        "summary": f"The cause is {service} (score 1.00): a third of its lines are errors.",
        "correlation_score": 1.0,
        "anomaly_count": 1,
        "anomalies": [member(tenant, service, minute, "it opened the incident")],
        "affected_services": [service],
        "root_causes": [RootCause(service, 1.0, ["31.4 % of its lines are errors"])],
        "effects": [],
        "trace_samples": [],
        "deploys": [],
        "started_at": time_us(minute),
        "opened_at": time_us(minute + 1),
        "updated_at": time_us(minute + 1),
        "closed_at": None,
    }
    return Incident(**(values | changes))  # type: ignore[arg-type]


def shop_incidents() -> list[Incident]:
    """A cascade that goes on, a closed one, a hostile one; the first in two revisions."""
    members = [member("acme", "payments", 24, "it opened the incident", severity="critical")]
    for minute in range(25, 36):
        severity = "high" if minute < 30 else "critical"
        because = "checkout calls payments" if minute == 25 else "the same trouble of checkout again"
        members.append(member("acme", "checkout", minute, because, severity=severity))
    members.append(member("acme", "frontend", 31, "frontend and checkout fail in 7 common traces"))
    members.append(member("acme", "reports", 32, "errors of reports name payments", severity="low"))
    cascade = incident(
        "acme", "cascade", 24, "critical", service="payments", status="updated", revision=1,
        title="payments: 31.4 % of its lines are errors (and 3 more services)", anomalies=members,
        anomaly_count=250, affected_services=["payments", "checkout", "frontend", "reports"],
        correlation_score=0.88, updated_at=time_us(36),
        root_causes=[
            RootCause(
                "payments", 0.81,
                ["payments:v2.4.0 was rolled out 1 min before it began", "errors of checkout name it"],
                instance="payments-7d9f-x", revision="payments:v2.4.0", metric="error_rate",
            ),
            RootCause("checkout", 0.15, ["half of its lines", "but it needs payments, which is ill too"]),
            RootCause("frontend", 0.04, ["slow", "but it needs checkout, which is ill too"]),
        ],
        effects=[
            EffectStep("payments", "checkout", time_us(25), "checkout calls payments: half of its lines"),
            EffectStep("checkout", "frontend", time_us(31), "frontend calls checkout: it is slow"),
        ],
        trace_samples=[TraceSample("4bf92f3577b34da6", ["payments", "checkout", "frontend"], time_us(25))],
        deploys=[NearbyDeploy("d", "payments", "payments:v2.4.0", time_us(23))],
        deploy_count=1_004,
    )  # fmt: skip
    old = msgspec.structs.replace(cascade, revision=0, status="open", title="old revision")
    closed = incident(
        "globex", "closed", 40, "medium", service="search", status="closed", updated_at=time_us(58),
        closed_at=time_us(58),
    )  # fmt: skip
    hostile = incident(
        "globex", "hostile", 30, "low", service=HOSTILE, title=HOSTILE, summary=HOSTILE, status="quiet",
        affected_services=[HOSTILE, "orders"],
        anomalies=[member("globex", HOSTILE, 30, HOSTILE), member("globex", "orders", 30, HOSTILE)],
        root_causes=[RootCause(HOSTILE, 1.0, [HOSTILE], HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)],
        effects=[EffectStep(HOSTILE, "orders", time_us(30), HOSTILE)],
        trace_samples=[TraceSample(HOSTILE, [HOSTILE, "orders"], time_us(30))],
        deploys=[NearbyDeploy("h", HOSTILE, HOSTILE, time_us(29))],
    )  # fmt: skip
    return [old, cascade, closed, hostile]


def dependency(tenant: str, caller: str, callee: str, minute: int = 59, **changes: object) -> Dependency:
    values: dict[str, object] = {
        "tenant_id": tenant,
        "caller": caller,
        "callee": callee,
        "source": "mesh",
        "revision": START_SECONDS // MINUTE + minute + 1,
        "as_of": time_us(minute + 1),
        "first_seen": time_us(0),
        "last_seen": time_us(minute),
        "requests": 1_200,
        "errors": 12,
        "requests_per_minute": 20.0,
        "latency_p50_ms": 12.0,
        "latency_p95_ms": 48.5,
    }
    return Dependency(**(values | changes))  # type: ignore[arg-type]


def shop_dependencies() -> list[Dependency]:
    """A chain and a circle of calls, one edge of two sources, one unused for days, one hostile."""
    traced: dict[str, object] = {
        "source": "trace",
        "errors": 0,
        "latency_p50_ms": None,
        "latency_p95_ms": None,
    }
    return [
        dependency("acme", "frontend", "checkout"),
        dependency("acme", "checkout", "payments", 40, errors=1),
        dependency("acme", "checkout", "payments", errors=300),
        dependency("acme", "checkout", "payments", 20, **traced),
        dependency("acme", "payments", "ledger", **traced),
        dependency("acme", "ledger", "checkout", **traced),
        dependency("acme", "frontend", "retired", -60 * 48),
        dependency("acme", "nightly", "ledger", -60 * 48, source="configuration", requests=0, errors=0),
        dependency("globex", HOSTILE, "orders"),
    ]


def shop_hypotheses() -> list[Hypothesis]:
    """A number that was not so, and a claim whose every text is hostile."""
    claims = [
        ("acme", "payments", 24, "wrong_number", "Half of all payments fail.", "error_spike"),
        ("globex", HOSTILE, 40, "unknown_type", HOSTILE, HOSTILE),
    ]
    return [
        Hypothesis(
            hypothesis_id=content_id(service, minute), request_id="r", tenant_id=tenant, service=service,
            window_start=time_us(minute), window_end=time_us(minute + 1), reason=reason,  # type: ignore[arg-type]
            detail="errors of w1", anomaly_type=kind, claimed_severity="critical", claimed_confidence=1.0,
            description=claim, analysis=claim, recommended_actions=[claim], pattern_ids=[],
            checks=[
                ClaimCheck("errors", "w1", 960.0, 301.0, False),
                ClaimCheck("lines", "w1", 960.0, 960.0, True),
            ],
            model="gemini", prompt_version="w1",
        )
        for tenant, service, minute, reason, claim, kind in claims
    ]  # fmt: skip


def build_big_store(path: Path) -> Path:
    """Thousands of windows, patterns and anomalies, whose texts grow fourfold when escaped."""
    bad = "<\"&'>"
    evidence = [Evidence("p", bad * 400, 3, [Example(i, 0, "i", bad * 2_000) for i in range(5)])] * 5
    with DuckDBStore(str(path)) as store:
        for tenant in (f"tenant-{number}" for number in range(8)):
            for service in (f"service-{number}" for number in range(10)):
                windows = [service_window(tenant, service, minute) for minute in range(300)]
                store.append("service_windows", windows)
                patterns = [log_pattern(tenant, service, 0, f"{bad * 300}{n}") for n in range(40)]
                store.append("log_patterns", patterns)
            store.append("ledger", [LedgerEntry(tenant, time_us(minute), 9, 0, 0) for minute in range(300)])
        anomalies = [
            anomaly(
                "tenant-0" if number % 3 else f"tenant-{number % 8}", f"service-{number % 10}", number % 300,
                detector=f"rule:{number}", description=bad * 300, evidence=evidence,
                recommended_actions=[bad * 300] * 9,
            )
            for number in range(2_000)
        ]  # fmt: skip
        store.append("anomalies", anomalies)
        store.append("incidents", [_big_incident(number, bad) for number in range(60)])
        calls = [(f"service-{n}", f"service-{n % 37 + 50}") for n in range(300)]
        store.append("dependencies", [dependency("tenant-0", *call) for call in calls])
    return path


def _big_incident(number: int, bad: str) -> Incident:
    tenant = f"tenant-{number % 8}"
    names = [f"{bad}{place}" for place in range(60)]
    one = member(tenant, "", 1, bad * 60, description=bad * 300)
    members = [msgspec.structs.replace(one, service=names[place % 60]) for place in range(200)]
    return incident(
        tenant, str(number), 1, service=bad * 50, title=bad * 300, summary=bad * 900, anomalies=members,
        anomaly_count=5_000, affected_services=names,
        root_causes=[RootCause(name, 0.3, [bad * 200] * 20) for name in names[:10]],
        effects=[EffectStep(names[0], name, time_us(1), bad * 300) for name in names[1:51]],
        trace_samples=[TraceSample(bad * 20, names, time_us(1))] * 5,
    )  # fmt: skip
