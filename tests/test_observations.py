"""What of a window becomes a signal: values, exposures, names, and how many."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.detect.baselines.book import FieldEntry
from transforms.detect.baselines.observations import (
    KINDS,
    MOST_ENDPOINTS,
    MOST_PATTERNS,
    Gathered,
    natural_value,
    observe_fields,
    observe_window,
    signals_to_begin,
    split_signal,
)
from transforms.elements import MINUTE_US, FieldStats, PatternStats, RequestStats, WindowSummary
from transforms.sketches import distinct_add, latency_bin

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

START_US = 1_768_780_800_000_000


def latencies(**milliseconds: int) -> dict[int, int]:
    """Bins of "ms100=5": five requests of 100 ms."""
    return {latency_bin(int(name[2:]) * 1000): count for name, count in milliseconds.items()}


def registers(people: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for person in range(people):
        distinct_add(found, f"{person}")
    return found


BINS = latencies(ms100=90, ms400=9, ms900=1)


def window(minute: int = 0, **changes: object) -> WindowSummary:
    plain: dict[str, object] = {
        "lines": 200,
        "errors": 8,
        "requests": 100,
        "severities": {200: 180, 400: 12, 500: 8},
        "latency_count": 100,
        "latency_bins": BINS,
        "principals": registers(7),
        "addresses": registers(30),
        "patterns": {"p.1": PatternStats("x", 40, 3, 200, [])},
        "endpoints": {"GET /a.b": RequestStats(60, 6, 0, latencies(ms100=40, ms400=20))},
    }
    return WindowSummary("t", "s", START_US + minute * MINUTE_US, 60, **{**plain, **changes})


def observe(name: str, summary: WindowSummary) -> tuple[float, float]:
    values, weights = observe_window(summary, [name], Gathered())
    return float(values[0]), float(weights[0])


LATENCY_CASES = 100 / (1 + 100 / 100)


@pytest.mark.parametrize(
    ("name", "value", "weight"),
    [
        ("lines", 200, 1),
        ("requests", 100, 1),
        ("error_rate", 8, 200),
        ("severity.WARNING", 12, 200),
        ("severity.ERROR", 8, 200),
        ("severity.ALERT", 0, 200),
        ("latency_p50_ms", math.log(100), LATENCY_CASES),
        ("latency_p95_ms", math.log(400), LATENCY_CASES),
        ("distinct_principals", 7, 1),
        ("distinct_addresses", 30, 1),
        ("pattern.p.1", 40, 200),
        ("pattern.gone", 0, 200),
        ("endpoint_requests.GET /a.b", 60, 100),
        ("endpoint_requests.gone", 0, 100),
        ("endpoint_error_rate.GET /a.b", 6, 60),
        ("endpoint_latency_ms.GET /a.b", (2 * math.log(100) + math.log(400)) / 3, 60 / 1.6),
    ],
)
def test_each_signal_is_a_value_over_an_exposure(name: str, value: float, weight: float) -> None:
    """Parts over the whole, traffic per window, amounts by their cases, latencies as logarithms."""
    assert observe(name, window()) == pytest.approx((value, weight), rel=0.02)


@pytest.mark.parametrize(
    "name", ["latency_p99_ms", "endpoint_error_rate.gone", "endpoint_latency_ms.gone", "field.depth"]
)
def test_what_is_not_there_has_no_weight(name: str) -> None:
    """A hundred requests say little of the hundredth: one slow one would be it."""
    assert observe(name, window()) == (0.0, 0.0)


def test_a_window_without_lines_has_traffic_and_no_shares() -> None:
    """Zero lines are an observation of traffic; a share of nothing is none."""
    empty = WindowSummary("t", "s", START_US, 60)
    assert observe("lines", empty) == (0.0, 1.0)
    for name in ("error_rate", "severity.ERROR", "pattern.p", "endpoint_requests.x", "latency_p50_ms"):
        assert observe(name, empty) == (0.0, 0.0)


def test_latencies_of_nothing_are_no_trouble() -> None:
    """Requests of no time at all count as a microsecond, and absurd ones as what they are."""
    quick = window(latency_bins={0: 100}, endpoints={"a": RequestStats(9, 0, 0, {0: 9})})
    assert observe("latency_p50_ms", quick)[0] == pytest.approx(math.log(1e-3), abs=0.05)
    assert observe("endpoint_latency_ms.a", quick)[0] == pytest.approx(math.log(1e-3))
    slow = latency_bin(10**15)
    assert observe("latency_p50_ms", window(latency_bins={slow: 100}))[0] == pytest.approx(
        math.log(1e12), rel=0.01
    )


# -------------------------------------------------------------------------------------- gathering


def test_latencies_of_few_requests_are_gathered_until_there_are_thirty() -> None:
    """Then they are judged as one, and gathering begins anew."""
    gathered, found = Gathered(), []
    for minute in range(8):
        few = window(minute, latency_bins=latencies(ms100=10), latency_count=10)
        found.append(float(observe_window(few, ["latency_p50_ms"], gathered)[1][0]) > 0)
    assert found == [False, False, True, False, False, True, False, False]


def test_gathered_latencies_become_outdated() -> None:
    """What is older than a quarter of an hour is not mixed with what is new."""
    gathered = Gathered()
    observe_window(window(0, latency_bins=latencies(ms900=29), latency_count=29), [], gathered)
    enough = window(15, latency_bins=latencies(ms100=30), latency_count=30)
    values, _ = observe_window(enough, ["latency_p50_ms"], gathered)
    assert math.exp(values[0]) == pytest.approx(100, rel=0.03)
    assert gathered.bins == {}


def test_gathering_leaves_the_summary_as_it_was() -> None:
    """Its bins are those of others too."""
    few = window(latency_bins=latencies(ms100=10), latency_count=10)
    gathered = Gathered()
    for _ in range(2):
        observe_window(few, [], gathered)
    assert few.latency_bins == latencies(ms100=10)


# ------------------------------------------------------------------------------------------ names


def test_a_window_begins_the_signals_that_it_shows() -> None:
    """Traffic and errors always, the rest where there is any of it; INFO has no signal."""
    assert signals_to_begin(WindowSummary("t", "s", START_US, 60), []) == ["lines", "error_rate"]
    assert signals_to_begin(window(), []) == [
        "lines", "error_rate", "requests", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms",
        "distinct_principals", "distinct_addresses", "severity.WARNING", "severity.ERROR", "pattern.p.1",
        "endpoint_requests.GET /a.b", "endpoint_error_rate.GET /a.b", "endpoint_latency_ms.GET /a.b",
    ]  # fmt: skip
    assert signals_to_begin(window(), signals_to_begin(window(), [])) == []


def test_of_many_parts_the_most_frequent_begin() -> None:
    """Up to the limit, whatever the order; those known keep their place."""
    patterns = {f"{n:03}": PatternStats("x", n % 50, 0, 200, []) for n in range(500)}
    many = window(patterns=patterns, endpoints={})
    begun = [name for name in signals_to_begin(many, []) if name.startswith("pattern.")]
    assert len(begun) == MOST_PATTERNS
    assert {int(split_signal(name)[1]) % 50 for name in begun} == set(range(40, 50))
    other = window(patterns=dict(reversed(patterns.items())), endpoints={})
    assert signals_to_begin(other, []) == signals_to_begin(many, [])
    assert not [name for name in signals_to_begin(many, begun) if name.startswith("pattern.")]


def test_signals_that_are_turned_off_do_not_begin_the_others_again() -> None:
    """Names are told once, and parts of which some are known take no more room than others."""
    endpoints = {f"GET /{n}": RequestStats(100 - n) for n in range(50)}
    summary = window(endpoints=endpoints, patterns={})
    known: list[str] = []
    for _ in range(3):
        begun = [
            name for name in signals_to_begin(summary, known) if not name.startswith("endpoint_requests")
        ]
        assert not set(begun) & set(known)
        known += begun
    assert len({split_signal(name)[1] for name in known if name.startswith("endpoint_")}) == MOST_ENDPOINTS


@given(st.text())
def test_names_of_endpoints_and_patterns_come_back_as_they_were(name: str) -> None:
    """Dots, blanks and nothing at all included; what is observed is that endpoint's."""
    summary = window(endpoints={name: RequestStats(5, 2), "other": RequestStats(1)}, patterns={})
    signal = f"endpoint_requests.{name}"
    assert signal in signals_to_begin(summary, [])
    assert split_signal(signal) == ("endpoint_requests", name)
    assert observe(signal, summary)[0] == 5


def test_every_kind_that_begins_is_known() -> None:
    """No window can begin a signal that nothing observes."""
    for name in signals_to_begin(window(), []):
        assert split_signal(name)[0] in KINDS


@pytest.mark.parametrize(
    ("name", "value", "weight", "natural"),
    [
        ("lines", 5, 1, 5),
        ("error_rate", 5, 50, 0.1),
        ("endpoint_error_rate.a.b", 5, 50, 0.1),
        ("error_rate", 5, 0, 0),
        ("pattern.p", 5, 50, 5),
        ("latency_p95_ms", math.log(250), 9, 250),
        ("endpoint_latency_ms.x", 1e9, 9, math.exp(700)),
    ],
)
def test_people_read_natural_numbers(name: str, value: float, weight: float, natural: float) -> None:
    """Rates from 0 to 1, milliseconds, counts."""
    assert natural_value(name, value, weight) == pytest.approx(natural)


def test_fields_are_observed_where_lines_had_them() -> None:
    """By their name, as the operator's file says what to take."""
    stats = FieldStats(4, 10_000_000, 0, 1_000_000, 4_000_000, {})
    fields = (FieldEntry("depth", "jsonPayload.d"), FieldEntry("gone", "jsonPayload.g"))
    assert list(observe_fields(window(fields={"depth": stats}), fields)) == [("field.depth", 2.5)]
