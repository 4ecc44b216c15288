"""Rules against histories of windows."""
# ruff: noqa: E501 - rules read best on one line

from __future__ import annotations

import time
from itertools import pairwise
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.detect.conditions import Condition
from transforms.detect.history import TrackHistory, WindowHistory
from transforms.detect.rule_loading import builtin_rules, load_rules
from transforms.detect.rule_model import RuleBook
from transforms.detect.rules import MAX_ANOMALIES_PER_RULE, evaluate_rules
from transforms.elements import MINUTE_US, Anomaly, Example, PatternStats, RequestStats, WindowSummary
from transforms.sketches import distinct_add, latency_bin

START_US = 1_767_225_600_000_000  # a full hour, so that slots of `repeat` begin with it


def pattern(text: str, count: int = 1, errors: int = 0, severity: int = 200) -> PatternStats:
    return PatternStats(text, count, errors, severity, [Example(1, START_US, "id", f"line of {text}")])


def window(minute: int = 0, **fields: object) -> WindowSummary:
    values: dict[str, object] = {"tenant_id": "acme", "service": "shop", "window_seconds": 60, "lines": 100}
    return WindowSummary(window_start_us=START_US + minute * MINUTE_US, **{**values, **fields})


def histories(*windows: WindowSummary) -> list[WindowHistory]:
    step = TrackHistory()
    state = step.initial()
    return [history for one in windows for history in step.step(state, one, is_late=one.pane_index > 0)]


def rules(text: str) -> RuleBook:
    return load_rules("extends: none\nrules:\n" + text)


def run(book: RuleBook, *windows: WindowSummary) -> list[list[Anomaly]]:
    return [evaluate_rules(book, history) for history in histories(*windows)]


SPIKE = """
  - name: spike
    type: error_spike
    description: "{error_rate:.0%} of {lines} lines are errors"
    when: error_rate > 0.1 && errors >= 10
    severity: [{level: critical, when: error_rate > 0.5}, {level: high, when: error_rate > 0.2}, medium]
    confidence: "errors >= 50 ? 0.9 : 0.5"
    recommended_actions: [Look.]
"""


def test_an_anomaly_says_what_was_found_and_against_which_threshold() -> None:
    """The anomaly carries description, metrics with thresholds, evidence and actions."""
    summary = window(errors=60, patterns={"p": pattern("boom", 60, 60, 500), "q": pattern("fine", 40)})
    [[anomaly]] = run(rules(SPIKE), summary)
    assert anomaly.description == "60% of 100 lines are errors"
    assert (anomaly.anomaly_severity, anomaly.anomaly_type, anomaly.signal) == (
        "critical",
        "error_spike",
        "error_rate",
    )
    assert [(m.name, m.value, m.threshold) for m in anomaly.metrics] == [
        ("error_rate", 0.6, 0.5),
        ("errors", 60, 10),
    ]
    assert [(found.pattern, found.count) for found in anomaly.evidence] == [("boom", 60)]
    assert anomaly.recommended_actions == ["Look."]
    assert anomaly.detected_at == anomaly.window_end == summary.window_start_us + MINUTE_US
    assert (anomaly.confidence_score, anomaly.below_confidence_floor) == (0.9, False)


@pytest.mark.parametrize(
    ("errors", "level"), [(10, None), (11, "medium"), (20, "medium"), (21, "high"), (51, "critical")]
)
def test_the_first_step_of_the_ladder_that_holds_is_the_severity(errors: int, level: str | None) -> None:
    """Severity follows the ladder, at its boundaries too."""
    [found] = run(rules(SPIKE), window(errors=errors))
    assert [anomaly.anomaly_severity for anomaly in found] == ([level] if level else [])


def test_what_is_not_sure_is_kept_and_marked() -> None:
    """An anomaly under the confidence floor is reported with a mark, and the floor can be set."""
    history = histories(window(errors=30))[0]
    assert evaluate_rules(rules(SPIKE), history)[0].below_confidence_floor
    assert not evaluate_rules(rules(SPIKE), history, confidence_floor=0.4)[0].below_confidence_floor


def test_over_adds_up_windows() -> None:
    """`over: 3m` sums three windows, and a window that is missing counts as empty."""
    book = rules(
        "  - {name: a, type: error_spike, description: '{errors}', when: errors >= 9, over: 3m, repeat: 1m}"
    )
    found = run(book, *(window(minute, errors=4) for minute in (0, 1, 2, 4, 5)))
    assert [[anomaly.description for anomaly in one] for one in found] == [[], [], ["12"], [], []]


def test_for_asks_for_windows_on_end() -> None:
    """`for: 3m` needs the condition on three windows in a row, without a gap."""
    book = rules("  - {name: a, type: error_spike, description: x, when: errors >= 4, for: 3m, repeat: 1m}")
    minutes = [(0, 4), (1, 4), (2, 4), (3, 0), (4, 4), (5, 4), (7, 4), (8, 4), (9, 4)]
    found = run(book, *(window(minute, errors=errors) for minute, errors in minutes))
    assert [bool(one) for one in found] == [False, False, True, False, False, False, False, False, True]


def test_distinct_users_of_several_windows_are_counted_once() -> None:
    """`over` merges registers, it does not add estimates."""
    registers: dict[int, int] = {}
    for user in range(8):
        distinct_add(registers, str(user))
    book = rules(
        "  - {name: a, type: security_incident, description: '{distinct_principals}', when: lines > 0, over: 3m, repeat: 1m}"
    )
    found = run(book, *(window(minute, principals=registers) for minute in range(3)))
    assert found[2][0].description == "8"


def test_latency_of_a_span_is_that_of_all_its_requests() -> None:
    """The 95th percentile over two windows comes from the merged bins."""
    book = rules(
        "  - {name: a, type: latency_increase, description: x, when: latency_p95_ms > 900.0, over: 2m, repeat: 1m}"
    )
    fast = window(0, latency_bins={latency_bin(10_000): 90}, latency_count=90)
    slow = window(1, latency_bins={latency_bin(1_000_000): 10}, latency_count=10)
    [metric] = run(book, fast, slow)[1][0].metrics
    assert metric.value == pytest.approx(1000, rel=0.025)


def test_what_lasts_is_reported_at_its_start_and_then_about_once_per_repeat() -> None:
    """A condition that holds for two hours gives its onset and one report each 15 minutes or so."""
    found = run(rules(SPIKE), *(window(minute, errors=30 if minute >= 20 else 0) for minute in range(140)))
    minutes = [minute for minute, one in enumerate(found) if one]
    assert minutes[0] == 20
    gaps = [later - earlier for earlier, later in pairwise(minutes)]
    assert all(7 < gap <= 30 for gap in gaps)
    assert 7 <= len(minutes) <= 9


def test_a_rise_in_severity_is_reported_at_once() -> None:
    """Medium, medium, critical, medium: the onset and the rise are told."""
    found = run(
        rules(SPIKE), *(window(minute, errors=errors) for minute, errors in enumerate((15, 15, 80, 15, 80)))
    )
    assert [[anomaly.anomaly_severity for anomaly in one] for one in found] == [
        ["medium"],
        [],
        ["critical"],
        [],
        [],
    ]


@given(st.lists(st.booleans(), min_size=40, max_size=90))
def test_flapping_never_reports_more_often_than_half_a_repeat(holds: list[bool]) -> None:
    """Whatever comes and goes, the first window is told and reports stay apart."""
    found = run(
        rules(SPIKE), *(window(minute, errors=30 if held else 0) for minute, held in enumerate(holds))
    )
    minutes = [minute for minute, one in enumerate(found) if one]
    assert minutes[:1] == [minute for minute, held in enumerate(holds) if held][:1]
    assert all(later - earlier > 7 for earlier, later in pairwise(minutes))


PER_PATTERN = """
  - name: repeated
    type: unusual_pattern
    description: "{pattern.count} times {pattern.text}"
    per: pattern
    min_severity: WARNING
    when: pattern.count >= 5
"""


def test_per_pattern_looks_at_each_pattern() -> None:
    """One anomaly for each pattern that holds, about that pattern alone."""
    patterns = {
        "a": pattern("alpha", 5, 5, 500),
        "b": pattern("beta", 9, severity=400),
        "c": pattern("gamma", 50),
    }
    [found] = run(rules(PER_PATTERN), window(patterns=patterns))
    assert [anomaly.description for anomaly in found] == ["5 times alpha", "9 times beta"]
    assert [[one.pattern_id for one in anomaly.evidence] for anomaly in found] == [["a"], ["b"]]


def test_too_many_anomalies_of_a_rule_are_counted() -> None:
    """Of 30 anomalies of one rule in a window the largest 20 are kept, and the first says so."""
    patterns = {f"{n:03d}": pattern(f"p{n}", 10 + n, 1, 500) for n in range(30)}
    [found] = run(rules(PER_PATTERN), window(patterns=patterns))
    assert len(found) == MAX_ANOMALIES_PER_RULE
    assert found[0].description == "39 times p29 (and 10 more like it in this window)"


def test_per_endpoint_looks_at_each_endpoint() -> None:
    """The anomaly names the endpoint that shows it."""
    book = rules(
        "  - {name: a, type: error_spike, description: '{endpoint.name}: {endpoint.error_rate:.0%}', per: endpoint, "
        "min_count: 10, when: endpoint.error_rate > 0.5}"
    )
    endpoints = {"GET /a": RequestStats(20, 15), "GET /b": RequestStats(20, 1), "GET /c": RequestStats(2, 2)}
    [[anomaly]] = run(book, window(endpoints=endpoints))
    assert (anomaly.endpoint, anomaly.description) == ("GET /a", "GET /a: 75%")


def test_match_adds_up_all_patterns_that_match() -> None:
    """Without `per`, patterns that match count as one."""
    book = rules(
        "  - {name: a, type: resource_exhaustion, description: '{pattern.count}', match: (?i)no space, min_count: 5}"
    )
    patterns = {
        "a": pattern("No space on <*>", 3),
        "b": pattern("no space left", 2),
        "c": pattern("space", 9),
    }
    [[anomaly]] = run(book, window(patterns=patterns))
    assert anomaly.description == "5"
    assert {one.pattern_id for one in anomaly.evidence} == {"a", "b"}


def test_match_with_over_counts_the_windows_before() -> None:
    """A pattern that comes once a minute is counted over the span."""
    book = rules(
        "  - {name: a, type: resource_exhaustion, description: x, match: crash, min_count: 3, over: 5m}"
    )
    found = run(book, *(window(minute, patterns={"a": pattern("crash")}) for minute in range(4)))
    assert [bool(one) for one in found] == [False, False, True, False]


def test_overrides_change_a_rule_for_whom_they_name() -> None:
    """The most specific override wins: tenant, then service, then both."""
    book = rules(
        SPIKE
        + """
    overrides:
      - {tenant: acme, service: shop, severity: low}
      - {service: shop, severity: critical}
      - {tenant: acme, enabled: false}
"""
    )
    found = {}
    for tenant in ("acme", "other"):
        for service in ("shop", "cart"):
            [one] = run(book, window(tenant_id=tenant, service=service, errors=30))
            found[tenant, service] = [anomaly.anomaly_severity for anomaly in one]
    assert found == {
        ("acme", "shop"): [],  # the tenant's `enabled: false` stays, since nothing more specific sets it
        ("acme", "cart"): [],
        ("other", "shop"): ["critical"],
        ("other", "cart"): ["high"],
    }


def test_a_late_pane_revises_and_withdraws() -> None:
    """What still holds gets a higher revision, what no longer holds is withdrawn under the same id."""
    on_time = window(0, errors=30, patterns={"a": pattern("alpha", 9, 9, 500)})
    revised = window(0, lines=1000, errors=30, pane_index=1, patterns={"a": pattern("alpha", 20, 20, 500)})
    [first, second] = run(rules(SPIKE + PER_PATTERN.removeprefix("\n")), on_time, revised)
    before = {anomaly.detector: anomaly for anomaly in first}
    after = {anomaly.detector: anomaly for anomaly in second}
    assert {name: anomaly.anomaly_id for name, anomaly in before.items()} == {
        name: anomaly.anomaly_id for name, anomaly in after.items()
    }
    assert (after["rule:spike"].status, after["rule:spike"].revision) == ("withdrawn", 1)
    assert (after["rule:repeated"].status, after["rule:repeated"].revision) == ("open", 1)
    assert after["rule:repeated"].description == "20 times alpha"


def test_a_second_late_pane_is_compared_with_the_first() -> None:
    """An anomaly that was withdrawn is not withdrawn again."""
    panes = [
        window(0, errors=30),
        window(0, lines=1000, errors=30, pane_index=1),
        window(0, lines=1001, errors=30, pane_index=2),
    ]
    assert [len(one) for one in run(rules(SPIKE), *panes)] == [1, 1, 0]


@given(st.randoms(use_true_random=False))
def test_the_order_of_dicts_does_not_matter(random: Random) -> None:
    """Shuffled patterns and endpoints give the same anomalies in the same order."""
    patterns = {f"{n}": pattern(f"out of memory {n} timed out", 7 + n % 3, 7, 500) for n in range(25)}
    endpoints = {f"GET /{n}": RequestStats(50, 40, 0, {latency_bin(9_000_000): 50}) for n in range(25)}
    fields = {"errors": 30, "requests": 500}
    plain = window(patterns=patterns, endpoints=endpoints, **fields)
    shuffled = window(patterns=_shuffled(patterns, random), endpoints=_shuffled(endpoints, random), **fields)
    assert run(builtin_rules(), plain) == run(builtin_rules(), shuffled)


def _shuffled(items: dict[str, object], random: Random) -> dict[str, object]:
    keys = list(items)
    random.shuffle(keys)
    return {key: items[key] for key in keys}


def test_ids_depend_on_what_is_found_not_on_how_much() -> None:
    """The same rule, service and window have the same id whatever the numbers; another window has not."""
    ids = [
        run(rules(SPIKE), window(minute, errors=errors))[0][0].anomaly_id
        for minute, errors in ((0, 30), (0, 90), (1, 30))
    ]
    assert ids[0] == ids[1] != ids[2]


def test_a_condition_that_fails_does_not_hold() -> None:
    """Dividing by zero reports nothing and breaks nothing."""
    assert run(
        rules("  - {name: a, type: error_spike, description: x, when: lines / errors > 1}"), window()
    ) == [[]]


def test_a_vicious_expression_is_harmless() -> None:
    """A regular expression that would hang Python's engine is answered at once."""
    book = rules("  - {name: a, type: unusual_pattern, description: x, match: '(a+)+$'}")
    began = time.perf_counter()
    assert run(book, window(patterns={"p": pattern("a" * 5000 + "!")})) == [[]]
    assert time.perf_counter() - began < 1


def test_a_book_survives_encoding() -> None:
    """Books travel between machines and give the same anomalies there."""
    book = builtin_rules()
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(book), type=RuleBook)
    assert copy == book
    assert run(copy, window(errors=50)) == run(book, window(errors=50))


CONDITIONS = st.recursive(
    st.sampled_from(
        ["errors > 3", "lines / errors > 2", 'pattern.text == "a && b"', "warnings < 2", "pattern.is_new"]
    ),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(" && ".join),
        st.tuples(inner, inner).map(" || ".join),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]}) ? ({parts[1]}) : {parts[2]}"),
        inner.map(lambda part: f"({part})"),
    ),
    max_leaves=6,
)


@given(CONDITIONS, st.integers(0, 6), st.integers(0, 3), st.sampled_from(["a && b", "c"]), st.booleans())
def test_a_conjunction_taken_apart_means_the_same(
    text: str,
    errors: int,
    warnings: int,
    found: str,
    is_new: bool,
) -> None:
    """Evaluating part by part gives what CEL gives for the whole."""
    condition = Condition(text, "pattern")
    fields = {
        "errors": errors,
        "lines": 5,
        "warnings": warnings,
        "pattern.text": found,
        "pattern.is_new": is_new,
    }
    assert condition.holds(fields) is (condition._evaluate(fields) is True)


NUMBERS = st.sampled_from([0, 1, 2, 2.5, 3, 10, 10**15])


@given(st.sampled_from(["errors", "error_rate"]), st.sampled_from([">", ">=", "<", "<="]), NUMBERS, NUMBERS)
def test_a_plain_comparison_means_the_same_without_cel(
    name: str, sign: str, number: float, value: float
) -> None:
    """A field beside a plain number is compared at once, and as CEL compares it."""
    kind = int if name == "errors" else float
    condition = Condition(f"{name} {sign} {kind(number):{'d' if kind is int else '.2f'}}", "window")
    assert condition._comparisons
    assert condition.holds({name: kind(value)}) is (condition._evaluate({name: kind(value)}) is True)


def test_numbers_of_another_kind_are_left_to_cel() -> None:
    """Negative numbers, exponents and sums are no plain comparison, and still hold."""
    for text in ("errors > -1", "error_rate < 1e3", "errors + 1 > 5", "5 < errors", "errors > 0x2"):
        condition = Condition(text, "window")
        assert not condition._comparisons
        assert condition.holds({"errors": 10, "error_rate": 0.5})


def test_a_comment_is_no_part_of_a_condition() -> None:
    """What stands behind // is not evaluated."""
    assert Condition("errors > 1 // && warnings > 2", "window").holds({"errors": 2, "warnings": 0})
