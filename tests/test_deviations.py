"""One problem is told once: topics, severities, repeats, and what stands in a finding."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.coders import StructCoder
from transforms.detect.deviations import (
    Deviation,
    Report,
    confidence_of,
    ratio_of,
    report_deviations,
)
from transforms.detect.findings import MOST_METRICS, Finding, find_evidence, make_anomaly
from transforms.elements import (
    DAY_US,
    MINUTE_US,
    SEVERITY_NUMBERS,
    Anomaly,
    AnomalyMetric,
    AnomalyType,
    Evidence,
    Example,
    PatternStats,
    WindowSummary,
)

START_US = 1_768_780_800_000_000
HOSTILE = [
    "",
    " ",
    ".",
    "a.b.c",
    "patterns",
    "endpoint",
    "up",
    "GET /café\n\t",
    "x" * 10_000,
    "\x00",
    "🙂",
    "{id}",
]


def off(name: str, strength: float = 1.5, *, is_up: bool = True, **changes: object) -> Deviation:
    """An old signal that is three times what was expected, just now."""
    z = math.copysign(6 * max(strength, 0.1), 1 if is_up else -1)
    plain = Deviation(name, strength, z, is_up, 30.0, 10.0, 5.0, 15.0, 3.0, 1.0, 0.0, 3 * DAY_US)
    return plain._replace(**changes)


def report(
    *deviations: Deviation, reports: dict[str, Report] | None = None, minute: int = 0
) -> list[Finding]:
    known = {} if reports is None else reports
    return report_deviations(known, deviations, START_US + minute * MINUTE_US)


def walk(deviations: dict[int, list[Deviation]], minutes: int) -> list[int]:
    """In which minutes something is told, when each entry goes on until the next one."""
    reports: dict[str, Report] = {}
    found, now = [], []
    for minute in range(minutes):
        now = deviations.get(minute, now)
        found += [minute] * len(report(*now, reports=reports, minute=minute))
    return found


# ----------------------------------------------------------------------------------------- topics


def test_signals_of_one_topic_are_one_finding_led_by_the_strongest() -> None:
    """Errors and severities go up together: one finding, the others among its metrics."""
    found = report(off("severity.ERROR", 1.2), off("error_rate", 3.0), off("severity.WARNING", 3.0))
    assert [(one.signal, one.anomaly_type) for one in found] == [("error_rate", "error_spike")]
    assert [metric.name for metric in found[0].metrics] == [
        "error_rate",
        "severity.WARNING",
        "severity.ERROR",
    ]


def test_up_and_down_are_two_topics_and_so_are_two_types() -> None:
    """Fewer lines of one kind and more of another are not the same problem."""
    found = report(off("lines"), off("requests", is_up=False), off("error_rate"))
    assert sorted((one.anomaly_type, one.signal) for one in found) == [
        ("error_spike", "error_rate"), ("traffic_change", "lines"), ("traffic_change", "requests"),
    ]  # fmt: skip


def test_endpoints_are_told_of_each_and_not_while_the_service_has_the_same() -> None:
    """What the service has, its endpoints have too."""
    endpoints = [off(f"endpoint_error_rate.{name}") for name in ("GET /a", "GET /b")]
    assert [one.endpoint for one in report(*endpoints)] == ["GET /a", "GET /b"]
    assert [one.endpoint for one in report(off("error_rate"), *endpoints)] == [""]
    other = report(off("error_rate"), off("endpoint_latency_ms.GET /a"))
    assert [one.endpoint for one in other] == ["", "GET /a"]


def test_endpoints_stay_hidden_while_the_service_goes_on() -> None:
    """Also in windows in which the service's own signal does not alarm, and no longer after its end."""
    hidden = [off("endpoint_error_rate.GET /a")]
    service = off("error_rate")
    calm = service._replace(strength=0.2, z=0.5)
    assert walk({0: [service], 1: [calm, *hidden], 9: hidden}, 12) == [0, 9]


def test_patterns_are_one_topic() -> None:
    """Many patterns that change are one finding, which names them by strength."""
    found = report(*(off(f"pattern.{n}", 1.0 + n) for n in range(9)))
    assert len(found) == 1
    assert found[0].pattern_ids == tuple(f"{n}" for n in reversed(range(9)))
    assert len(found[0].metrics) == MOST_METRICS


@pytest.mark.parametrize("name", HOSTILE)
def test_an_endpoint_may_have_any_name(name: str) -> None:
    """It is told of as itself, beside the patterns and another endpoint, and hidden by the service."""
    mine, pattern = off(f"endpoint_requests.{name}"), off("pattern.p")
    found = report(mine, pattern, off("endpoint_requests.other"))
    assert sorted(one.endpoint for one in found if one.signal != "pattern.p") == sorted([name, "other"])
    assert len(found) == 3
    assert [one.signal for one in report(off("lines"), mine)] == ["lines"]
    reports: dict[str, Report] = {}
    assert len(report(mine, pattern, reports=reports)) == 2
    assert len(reports) == 2
    assert report(mine, pattern, reports=reports, minute=1) == []


@given(st.lists(st.text(), min_size=2, max_size=6, unique=True))
def test_different_endpoints_are_different_topics(names: list[str]) -> None:
    """Whatever their names are made of."""
    found = report(*(off(f"endpoint_error_rate.{name}") for name in names))
    assert sorted(one.endpoint for one in found) == sorted(names)


# -------------------------------------------------------------------------------- when it is told


def test_what_goes_on_is_told_ever_more_rarely() -> None:
    """After one hour, two more, six more, eighteen more."""
    assert walk({0: [off("error_rate")]}, 28 * 60) == [0, 60, 180, 540, 1620]


def test_a_severity_that_rises_is_told_at_once_and_one_that_falls_is_not() -> None:
    """Low, medium after three minutes, and no news when it becomes weaker."""
    low, medium = off("pattern.p"), off("pattern.p", minutes=4.0)
    assert walk({0: [low], 3: [medium], 10: [low], 20: [medium]}, 60) == [0, 3]


def test_an_end_makes_the_next_beginning_news() -> None:
    """Once no signal of the topic is open any more."""
    assert walk({0: [off("lines")], 5: [], 10: [off("lines")]}, 20) == [0, 10]


def test_a_window_that_is_calm_itself_tells_nothing() -> None:
    """The sum of windows before it is still high; the window is as usual, or off to the other side."""
    for z in (1.9, -3.0):
        assert report(off("error_rate", 2.0)._replace(z=z)) == []
    assert report(off("error_rate", 0.9)._replace(z=9.0)) == []


def test_reports_survive_encoding() -> None:
    """What was told is remembered."""
    coder = StructCoder(Report)
    known = Report(1, START_US, START_US + 5)
    assert coder.decode(coder.encode(known)) == known


# --------------------------------------------------------------------------------------- severity


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, "low"),
        ({"strength": 2.0}, "medium"),
        ({"minutes": 3.0}, "medium"),
        ({"strength": 3.0, "minutes": 5.0}, "high"),
        ({"strength": 3.0, "minutes": 4.0}, "medium"),
        ({"strength": 2.9, "minutes": 50.0}, "medium"),
        ({"strength": 3.0, "minutes": 5.0, "ratio": 1.9}, "medium"),
        ({"strength": 3.0, "minutes": 5.0, "age_us": DAY_US - 1}, "medium"),
        ({"strength": 3.0, "minutes": 5.0, "name": "severity.ERROR"}, "medium"),
        ({"strength": 3.0, "minutes": 5.0, "name": "endpoint_error_rate.x"}, "medium"),
        ({"strength": 3.0, "minutes": 5.0, "most": "low"}, "low"),
        ({"strength": 1e9, "minutes": 1e9}, "high"),
    ],
)
def test_severity_is_what_strength_and_time_make_of_it(changes: dict[str, object], severity: str) -> None:
    """High only for what is strong, lasting, large, old enough, of the whole service, and allowed to be."""
    assert [one.severity for one in report(off("error_rate")._replace(**changes))] == [severity]


def test_the_worst_of_a_topic_counts() -> None:
    """A finding is as severe as the most severe of its signals."""
    assert report(off("error_rate"), off("severity.ERROR", minutes=9.0))[0].severity == "medium"


@pytest.mark.parametrize(
    ("value", "expected", "least", "ratio"),
    [
        (30, 10, 1, 3),
        (10, 30, 1, 3),
        (5, 0, 1, 5),
        (0, 5, 1, 5),
        (0.5, 0, 1, 1),
        (0, 0, 1, 1),
        (1e15, 0, 1, 1e15),
        (0.5, 0.1, 1e-3, 5),
    ],
)
def test_one_event_stands_for_none(value: float, expected: float, least: float, ratio: float) -> None:
    """Nothing is infinitely many times as much."""
    assert ratio_of(value, expected, least) == pytest.approx(ratio)


def test_confidence_grows_with_strength_up_to_a_limit() -> None:
    """Of levels by type up to 0.99; of detectors that were not measured from 0.5 to 0.95."""

    def confidences(anomaly_type: AnomalyType, detector: str) -> list[float]:
        deviations = [off("lines", strength, detector=detector) for strength in (1.0, 1.5, 2.0, 100.0)]
        return [confidence_of(deviation, anomaly_type) for deviation in deviations]

    assert confidences("error_spike", "level") == [0.95, 0.97, 0.99, 0.99]
    assert confidences("traffic_change", "level") == [0.88, 0.935, 0.99, 0.99]
    assert confidences("metric_anomaly", "learned") == [0.5, 0.575, 0.65, 0.95]


# ------------------------------------------------------------------------------------------ words


def test_the_description_says_what_people_ask() -> None:
    """Which signal, how much, how much was expected, since when, and whether it does so often."""
    said = report(off("endpoint_latency_ms.GET /a", minutes=7.0, alarms_before=3.2))[0].description
    assert said == (
        "latency of GET /a: 30 ms, expected 10 ms (5 ms to 15 ms), for 7 min; 3 earlier alarms in two weeks"
    )
    assert report(off("lines", is_up=False))[0].description == "lines: 30, expected 10 (5 to 15)"
    assert report(off("field.depth", reason="depth: stuck"))[0].description == "depth: stuck"


def test_metrics_hold_the_band_and_the_deviation() -> None:
    """What stands in the row of the anomaly."""
    assert report(off("lines", 1.5))[0].metrics == [
        AnomalyMetric("lines", 30.0, baseline=10.0, band_low=5.0, band_high=15.0, deviation=9.0)
    ]


# --------------------------------------------------------------------------------------- evidence


def stats(count: int, severity: str = "INFO", errors: int = 0) -> PatternStats:
    examples = [Example(n, n, f"{n}", "line") for n in range(5)]
    return PatternStats(f"text {count}", count, errors, SEVERITY_NUMBERS[severity], examples)


PATTERNS = {
    "info": stats(900),
    "rare": stats(1),
    "warning": stats(5, "WARNING"),
    "error": stats(3, "ERROR", 3),
    "worse": stats(2, "CRITICAL", 3),
}


def window(patterns: dict[str, PatternStats]) -> WindowSummary:
    return WindowSummary("t\x00", "s.\n", START_US, 60, lines=10, patterns=patterns)


@pytest.mark.parametrize(
    ("patterns", "asked", "found"),
    [
        (PATTERNS, (), ["worse", "error", "warning"]),
        (PATTERNS, ("rare", "gone"), ["rare"]),
        (PATTERNS, ("gone",), ["worse", "error", "warning"]),
        ({"info": stats(900), "rare": stats(1)}, (), ["info", "rare"]),
        ({f"{n}": stats(n) for n in range(9)}, (), ["8", "7", "6", "5", "4"]),
        ({}, ("gone",), []),
    ],
)
def test_evidence_is_what_it_is_about_else_errors_else_what_is_frequent(
    patterns: dict[str, PatternStats], asked: tuple[str, ...], found: list[str]
) -> None:
    """At most five patterns with three examples each, those with the most errors first."""
    for ordered in (patterns, dict(reversed(patterns.items()))):
        evidence = find_evidence(window(ordered), asked, ordered)
        assert [one.pattern_id for one in evidence] == found
        assert all(len(one.examples) == 3 for one in evidence)


def make(finding: Finding, patterns: dict[str, PatternStats] = PATTERNS) -> Anomaly:
    return make_anomaly(window(patterns), finding, 0.7)


def finding(**changes: object) -> Finding:
    found = report(off("endpoint_error_rate.GET /a", 1.0))[0]
    return Finding(**{name: changes.get(name, getattr(found, name)) for name in Finding.__struct_fields__})


def test_an_anomaly_is_named_by_what_it_is_about() -> None:
    """Detector, signal, endpoint, pattern and window make the id; strength and words do not."""
    ids = {
        make(finding(**changes)).anomaly_id
        for changes in ({}, {"detector": "x"}, {"signal": "x"}, {"endpoint": ""}, {"pattern_ids": ("p",)})
    }
    assert len(ids) == 5
    assert make(finding(description="x", confidence=0.9, severity="high")).anomaly_id in ids


def test_an_anomaly_holds_the_window_the_finding_and_the_evidence() -> None:
    """Below the floor of confidence it is marked, not left out."""
    anomaly = make(finding())
    assert (anomaly.window_start, anomaly.window_end) == (START_US, START_US + MINUTE_US)
    assert (anomaly.detected_at, anomaly.status, anomaly.endpoint) == (anomaly.window_end, "open", "GET /a")
    assert make(finding(confidence=0.69)).below_confidence_floor
    assert not make(finding(confidence=0.7)).below_confidence_floor
    assert [one.pattern_id for one in anomaly.evidence] == ["worse", "error", "warning"]
    own = [Evidence("x", "its own", 1, [])]
    assert make(finding(evidence=own)).evidence == own
