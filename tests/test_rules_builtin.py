"""The built-in pack: each rule reports at its boundary and is silent just below it."""
# ruff: noqa: E501 - tables read best with a case a line

from __future__ import annotations

import time

import pytest

from transforms.detect.history import TrackHistory
from transforms.detect.rule_loading import builtin_rules
from transforms.detect.rules import evaluate_rules
from transforms.elements import MINUTE_US, Anomaly, DeployEvent, PatternStats, RequestStats, WindowSummary
from transforms.sketches import latency_bin, merge_sum

START_US = 1_767_225_600_000_000
QUIET_MINUTES = 20


def text(pattern: str, count: int, severity: int = 500) -> dict[str, PatternStats]:
    return {"p": PatternStats(pattern, count, count if severity >= 500 else 0, severity, [])}


def requests(count: int, slow: int, latency_us: int, errors: int = 0) -> dict[str, object]:
    bins = {latency_bin(50_000): count - slow}
    merge_sum(bins, {latency_bin(latency_us): slow})
    return {
        "requests": count,
        "slow_requests": slow if latency_us > 1_000_000 else 0,
        "latency_bins": bins,
        "latency_count": count,
        "endpoints": {"GET /a": RequestStats(count, errors, 0, bins)},
    }


def quiet(minute: int) -> WindowSummary:
    """A busy service on a good day: some errors, warnings and denials, and one slow request."""
    patterns = {
        "ok": PatternStats("served <*> in <*>", 970, 0, 200, []),
        "bad": PatternStats("connection reset by peer <*>", 1, minute % 2, 500, []),
        "slow": PatternStats("slow query: <*> ms", 1, 0, 400, []),
    }
    fields = requests(300, 1, 3_000_000)
    return window(minute, errors=2, warnings=5, denials=2, patterns=patterns, **fields)


def window(minute: int, **fields: object) -> WindowSummary:
    values: dict[str, object] = {"tenant_id": "t", "service": "s", "window_seconds": 60, "lines": 1000}
    return WindowSummary(window_start_us=START_US + minute * MINUTE_US, **{**values, **fields})


def found_by(*windows: WindowSummary) -> list[Anomaly]:
    step = TrackHistory()
    state = step.initial()
    return [
        anomaly
        for one in windows
        for history in step.step(state, one, is_late=False)
        for anomaly in evaluate_rules(builtin_rules(), history)
    ]


def levels(rule: str, *windows: WindowSummary) -> list[str]:
    return [one.anomaly_severity for one in found_by(*windows) if one.detector == f"rule:{rule}"]


def after_quiet(*minutes: dict[str, object]) -> list[WindowSummary]:
    return [
        *map(quiet, range(QUIET_MINUTES)),
        *(window(QUIET_MINUTES + n, **one) for n, one in enumerate(minutes)),
    ]


def test_a_quiet_day_is_silent() -> None:
    """A day with errors, warnings, denials and slow requests at their usual rate reports nothing."""
    assert found_by(*(quiet(minute) for minute in range(24 * 60))) == []


def test_one_error_of_two_lines_never_pages() -> None:
    """Shares of tiny windows mean nothing."""
    few = text("boom", 1)
    assert found_by(*(window(minute, lines=2, errors=1, patterns=few) for minute in range(4))) == []


@pytest.mark.parametrize(
    ("lines", "errors", "level"),
    [(90, 9, []), (101, 10, []), (100, 10, ["medium"]), (100, 20, ["medium"]), (100, 21, ["high"]),
     (100, 50, ["high"]), (100, 51, ["critical"]), (19, 19, ["high"]), (20, 20, ["critical"])],
)  # fmt: skip
def test_error_spike(lines: int, errors: int, level: list[str]) -> None:
    """Ten percent and ten errors report; over 20 % is high, over 50 % critical."""
    assert levels("error-spike", window(0, lines=lines, errors=errors)) == level


@pytest.mark.parametrize(
    ("counts", "reports"), [((4,), False), ((5,), True), ((2, 2), False), ((2, 3), True)]
)
def test_the_same_error_five_times(counts: tuple[int, ...], reports: bool) -> None:
    """Five lines of one error within five minutes report, in a service that did not have it before."""
    found = levels(
        "repeated-error", *after_quiet(*({"patterns": text("boom <*>", count)} for count in counts))
    )
    assert found == (["low"] if reports else [])


def test_the_same_error_five_times_without_history() -> None:
    """At the start five of 50 lines report, five of 51 may be everyday."""
    for lines, reports in ((50, True), (51, False)):
        assert bool(levels("repeated-error", window(0, lines=lines, patterns=text("boom", 5)))) is reports


def test_an_everyday_error_must_become_far_more_frequent() -> None:
    """An error that comes twice a minute is no news until it comes many times as often."""
    usual = [window(minute, patterns=text("boom", 2)) for minute in range(30)]
    assert levels("repeated-error", *usual, window(30, patterns=text("boom", 40))) == []
    assert levels("repeated-error", *usual, window(30, patterns=text("boom", 60))) == ["low"]


@pytest.mark.parametrize(
    ("count", "slow", "latency_us", "level"),
    [(19, 19, 2_000_000, []), (20, 20, 2_000_000, ["medium"]), (20, 20, 900_000, []), (60, 60, 4_000_000, ["high"]),
     (60, 60, 20_000_000, ["critical"]), (200, 5, 20_000_000, []), (100, 4, 20_000_000, [])],
)  # fmt: skip
def test_high_latency(count: int, slow: int, latency_us: int, level: list[str]) -> None:
    """The 95th percentile over a second on two windows reports, if there are enough requests."""
    fields = requests(count, slow, latency_us)
    assert levels("high-latency", window(0, **fields)) == []
    assert levels("high-latency", window(0, **fields), window(1, **fields)) == level


def test_a_service_that_is_always_slow_is_told_only_while_it_is_new() -> None:
    """Once the history is known, only a latency well above the usual reports."""
    slow = [window(minute, **requests(100, 90, 2_000_000)) for minute in range(60)]
    assert levels("high-latency", *slow) == ["medium"]
    slower = [window(minute, **requests(100, 90, 8_000_000)) for minute in (60, 61)]
    assert levels("high-latency", *slow, *slower) == ["medium", "high"]


def test_request_failures_of_one_endpoint() -> None:
    """One endpoint that fails in a service that is well otherwise is reported with its name."""
    for errors, level in ((19, []), (20, ["medium"]), (51, ["high"])):
        fields = {
            "endpoints": {"GET /a": RequestStats(100, errors), "GET /b": RequestStats(800, 1)},
            "errors": errors,
        }
        found = [one for one in found_by(window(0, **fields)) if one.detector == "rule:request-failures"]
        assert [one.anomaly_severity for one in found] == level
        assert all(one.endpoint == "GET /a" for one in found)


def test_slow_endpoint() -> None:
    """One slow endpoint of a fast service is reported after three windows."""
    fields = requests(1000, 10, 9_000_000)
    fields["endpoints"] = {"GET /a": RequestStats(20, 0, 0, {latency_bin(9_000_000): 20})}
    usual = [quiet(minute) for minute in range(12)]
    slow = [window(12 + minute, **fields) for minute in range(3)]
    assert levels("slow-endpoint", *usual, *slow[:2]) == []
    assert levels("slow-endpoint", *usual, *slow) == ["medium"]


def test_failing_after_deploy() -> None:
    """Errors far above the usual after a roll-out are a deploy regression; without one they are not."""
    failing = {"errors": 300}
    deploy = {"deploys": [DeployEvent(0, "ReplaceService", "shop-00002", "ci")], "errors": 2}
    assert levels("failing-after-deploy", *after_quiet(deploy, failing)) == ["medium"]
    assert levels("failing-after-deploy", *after_quiet({"errors": 2}, failing)) == []
    assert levels("failing-after-deploy", *after_quiet(deploy, {"errors": 10})) == []


@pytest.mark.parametrize(
    ("rule", "pattern", "severity", "below", "at", "level"),
    [
        ("out-of-memory", "Container terminated: out of memory, exit code <*>", 400, 0, 1, "medium"),
        ("out-of-memory", "java.lang.OutOfMemoryError: Java heap space", 500, 2, 3, "high"),
        ("out-of-memory", "Memory limit of <*> exceeded with <*> used", 500, 49, 50, "critical"),
        ("cpu-throttling", "cpu throttling of container <*>", 400, 2, 3, "medium"),
        ("disk-full", "write <*>: no space left on device", 500, 2, 3, "high"),
        ("disk-full", "node has condition DiskPressure", 400, 0, 1, "medium"),
        ("connections-exhausted", "remaining connection slots are reserved", 500, 1, 2, "medium"),
        ("connections-exhausted", "HikariPool-<*> - Connection is not available, request timed out after <*>", 500, 4, 5, "high"),
        ("quota-exhausted", "rpc error: code = ResourceExhausted RESOURCE_EXHAUSTED", 500, 4, 5, "medium"),
        ("file-descriptors-exhausted", "accept: too many open files", 500, 2, 3, "high"),
        ("crash-loop", "Back-off restarting failed container <*>", 400, 2, 3, "medium"),
        ("crash-loop", "worker <*> exited on signal", 500, 4, 5, "high"),
        ("certificate-expiry", "x<*>: certificate has expired or is not yet valid", 500, 0, 1, "high"),
        ("certificate-expiry", "TLS certificate CN=<*> expires in <*> days", 400, 0, 1, "medium"),
        ("timeouts", "upstream request timed out after <*>", 400, 99, 100, "medium"),
        ("queue-growth", "request queue is full: <*> waiting", 500, 9, 10, "medium"),
        ("slow-queries", "duration: <*> ms  statement: SELECT <*>", 400, 19, 20, "medium"),
        ("failed-sign-ins", "Failed password for invalid user <*>", 200, 29, 30, "medium"),
        ("permission-denials", "PERMISSION_DENIED: caller does not have permission", 400, 9, 10, "medium"),
        ("privilege-change", "cloudresourcemanager.googleapis.com SetIamPolicy projects/<*>", 300, 0, 1, "high"),
        ("firewall-change", "compute.googleapis.com v<*>.compute.firewalls.insert <*>", 300, 0, 1, "high"),
        ("audit-log-disabled", "google.logging.v<*>.ConfigServiceV2.DeleteSink <*>", 300, 0, 1, "high"),
        ("service-account-key-created", "google.iam.admin.v<*>.CreateServiceAccountKey <*>", 300, 0, 1, "medium"),
    ],
)  # fmt: skip
def test_match_rules(rule: str, pattern: str, severity: int, below: int, at: int, level: str) -> None:
    """Each match rule reports at its number of lines and not, or less, one line below."""
    assert levels(rule, *after_quiet({"patterns": text(pattern, at, severity)})) == [level]
    fewer = levels(rule, *after_quiet({"patterns": text(pattern, below, severity)})) if below else []
    assert level not in fewer


EVERYDAY = (
    "user <*> logged in", "connection pool size is <*>", "disk usage <*>", "certificate of <*> renewed, valid until <*>",
    "memory <*> of <*> used", "GET /api/timeouts <*>", "process started with pid <*>", "rate limit is <*> a minute",
    "worker <*> started", "exited with code 0", "queue has <*> entries", "GetIamPolicy projects/<*>", "compute.firewalls.list <*>",
    "statement took <*> ms", "access granted to <*>", "idle connection timeout set to <*>", "service account key rotated check ok",
)  # fmt: skip


@pytest.mark.parametrize("pattern", EVERYDAY)
def test_everyday_lines_match_nothing(pattern: str) -> None:
    """Lines that only sound like trouble are left alone, however many there are."""
    assert found_by(*after_quiet({"patterns": text(pattern, 500, 400)})) == []


@pytest.mark.parametrize(
    ("minutes", "level"),
    [((49,), []), ((50,), ["medium"]), ((80, 80), ["medium", "high"]), ((5000,), ["critical"])],
)
def test_brute_force(minutes: tuple[int, ...], level: list[str]) -> None:
    """Fifty denials within five minutes report; 150 are high and 5,000 critical."""
    quiet_without = [window(minute) for minute in range(QUIET_MINUTES)]
    attack = [window(QUIET_MINUTES + n, denials=denials) for n, denials in enumerate(minutes)]
    assert levels("brute-force", *quiet_without, *attack) == level


def test_many_warnings() -> None:
    """A service that mostly warns for minutes is told at the lowest severity."""
    warned = [{"lines": 1000, "warnings": 900} for _ in range(6)]
    assert set(levels("many-warnings", *after_quiet(*warned))) == {"low"}


def test_every_rule_is_complete() -> None:
    """Every built-in rule says what to do and is sure enough to count."""
    for rule in builtin_rules().rules:
        assert rule.recommended_actions, rule.name
        assert rule.description, rule.name


def test_the_pack_costs_little() -> None:
    """All rules over a quiet window take well under a millisecond, even on a busy machine."""
    step = TrackHistory()
    state = step.initial()
    histories = [
        history for minute in range(70) for history in step.step(state, quiet(minute), is_late=False)
    ]
    times = []
    for _ in range(6):
        began = time.perf_counter()
        for history in histories:
            evaluate_rules(builtin_rules(), history)
        times.append((time.perf_counter() - began) / len(histories))
    assert min(times) < 0.001
