"""What a service logs for each request: what is learned, what is told, and what is no reason to tell."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.detect.baselines.book import NO_BOOK, SignalPolicy, signal_policy
from transforms.detect.findings import Finding, make_anomaly
from transforms.detect.request_line_findings import report_request_lines
from transforms.detect.request_line_table import (
    MEMORY_WINDOWS,
    MOST,
    RequestLinesMemory,
    find_table_damage,
    merge_columns,
)
from transforms.detect.request_lines import ADOPT_WINDOWS, MOST_POOLED
from transforms.elements import (
    MINUTE_US,
    SEVERITY_NUMBERS,
    Example,
    PatternStats,
    RequestStats,
    WindowSummary,
)

START_US = 1_768_780_800_000_000
INFO, ERROR = SEVERITY_NUMBERS["INFO"], SEVERITY_NUMBERS["ERROR"]
DEFAULT = signal_policy(NO_BOOK, "t", "s", "missing_lines")
LOADS = (20, 31, 12, 25, 18, 40, 9)


def window(minute: int, requests: int, done: int, errors: int = 0, **changes: Any) -> WindowSummary:
    """Each request says that it begins; `done` of them that they are done, and `errors` that they failed."""
    counts = {"begin": (requests, "INFO shop.Cart: cart <*> asked for"), "done": (done, "cart <*> shown")}
    patterns = {key: PatternStats(text, count, 0, INFO, []) for key, (count, text) in counts.items() if count}
    if errors:
        example = Example(1, START_US, "i1", "cart 7 failed")
        patterns["failed"] = PatternStats("cart <*> failed", errors, errors, ERROR, [example])
    plain = {
        "lines": requests + done + errors,
        "errors": errors,
        "requests": requests,
        "endpoints": {"GET /cart": RequestStats(requests)},
        "patterns": patterns,
    }
    return WindowSummary("t", "s", START_US + minute * MINUTE_US, 60, **{**plain, **changes})


class Service:
    def __init__(self, policy: SignalPolicy = DEFAULT) -> None:
        self.memory, self.policy, self.minute = RequestLinesMemory(), policy, 0

    def watch(self, requests: int, done: int, errors: int = 0, **changes: Any) -> list[Finding]:
        summary = window(self.minute, requests, done, errors, **changes)
        found = report_request_lines(self.memory, summary, self.policy)
        self.minute += 1
        return found

    def calm(self, minutes: int = MEMORY_WINDOWS, **changes: Any) -> Service:
        for _ in range(minutes):
            load = LOADS[self.minute % len(LOADS)]
            assert self.watch(load, load, **changes) == []
        return self


def test_a_method_that_returns_early_is_told_in_words_with_numbers_and_evidence() -> None:
    """No error is logged: the lines at the end are missing, and that is all there is to see."""
    (finding,) = Service().calm().watch(20, 2)
    assert finding.description.startswith(
        "lines that always come are missing: 2 of 20 expected for 20 requests GET /cart: “cart <*> shown”"
    )
    assert (finding.detector, finding.anomaly_type, finding.severity) == (
        "request_lines",
        "unusual_pattern",
        "medium",
    )
    assert finding.metrics[0].name == "pattern.done"
    assert (finding.metrics[0].value, finding.metrics[0].baseline) == (2.0, pytest.approx(20.0))
    assert [(one.pattern_id, one.count) for one in finding.evidence] == [("done", 2)]


def test_errors_that_came_instead_are_evidence() -> None:
    """Whoever reads of missing lines sees what was logged in their place."""
    (finding,) = Service().calm().watch(20, 4, 16)
    assert "16 errors, 0 expected" in finding.description
    assert [one.pattern_id for one in finding.evidence] == ["done", "failed"]
    assert finding.evidence[1].examples[0].message == "cart 7 failed"
    assert finding.metrics[-1].name == "errors"
    anomaly = make_anomaly(window(0, 20, 4, 16), finding, 0.7)
    assert not anomaly.below_confidence_floor


@given(st.lists(st.integers(0, 300), max_size=12))
def test_no_load_alone_is_a_finding(loads: list[int]) -> None:
    """Twice the requests have twice the lines, and a night has none."""
    service = Service().calm()
    assert [service.watch(load, load) for load in loads] == [[]] * len(loads)


@pytest.mark.parametrize("pause", [1, 3, 60, 5 * 24 * 60])
def test_data_that_comes_back_is_no_finding(pause: int) -> None:
    """A pause of whatever length neither alarms nor forgets."""
    service = Service().calm()
    service.minute += pause
    assert service.watch(20, 20) == []
    assert service.watch(20, 0) != []


def test_windows_without_lines_teach_nothing() -> None:
    """The count is of windows with data: zero summaries of a gap leave the memory as it was."""
    service = Service().calm()
    before = msgspec.msgpack.encode(service.memory)
    assert service.watch(0, 0, pane_index=-1) == []
    assert msgspec.msgpack.encode(service.memory) == before


def test_few_requests_a_minute_add_up() -> None:
    """Two requests a minute without their lines are no surprise, ten in five minutes are."""
    service = Service()
    for _ in range(MEMORY_WINDOWS):
        assert service.watch(2, 2) == []
    told = [bool(service.watch(2, 0)) for _ in range(5)]
    assert told == [False, False, True, False, False]


def test_a_problem_is_told_once_and_a_later_one_again() -> None:
    """While it lasts it is told when it has become worse; when it is over, the next one is another."""
    service = Service().calm()
    told = [bool(service.watch(20, 12)) for _ in range(10)]
    assert told == [True, False, True] + [False] * 7  # low at once, medium after three minutes
    service.calm(3)
    assert service.watch(20, 12) != []


def test_what_is_abnormal_is_not_learned_before_it_is_the_new_normal() -> None:
    """An hour of a fault does not make it normal; what never ends does."""
    service = Service().calm()
    for _ in range(60):
        service.watch(20, 2)
    service.calm(3)
    assert service.watch(20, 2) != []
    for _ in range(ADOPT_WINDOWS + MEMORY_WINDOWS):
        service.watch(20, 2)
    service.calm(1)
    assert service.watch(20, 2) == []


def test_a_service_that_changed_its_ways_a_little_learns_them() -> None:
    """What is odd, but never enough to be told, is learned after so many windows."""
    service = Service()
    for _ in range(8):
        service.watch(8, 8)
    for _ in range(MOST_POOLED + 12):
        assert service.watch(8, 7) == []
    assert service.memory.waiting == 0


def test_patterns_that_become_one_are_not_missing() -> None:
    """The id of a pattern goes when it is merged into another; its lines do not."""
    service = Service().calm()
    patterns = {
        "begin": PatternStats("cart <*> <*>", 40, 0, INFO, []),
    }
    merged = {"done": "begin"}
    merge_columns(service.memory, merged)
    assert find_table_damage(service.memory) == ""
    assert service.watch(20, 20, patterns=patterns, merged_patterns=merged) == []
    patterns["begin"].count = 20
    assert service.watch(20, 0, patterns=patterns) != []


@given(
    st.dictionaries(st.sampled_from(["begin", "done", "x"]), st.sampled_from(["begin", "done", "new"])),
    st.booleans(),
)
def test_any_merges_leave_the_table_whole(merged: dict[str, str], is_suspicious: bool) -> None:
    """Names of which nothing is known, and of what waits, among them; no line is lost."""
    service = Service().calm(8)
    service.watch(20, 0 if is_suspicious else 20)
    merge_columns(service.memory, merged)
    assert find_table_damage(service.memory) == ""
    assert set(service.memory.names) >= {"R", "EGET /cart"}
    service.watch(20, 20)
    assert find_table_damage(service.memory) == ""


def test_a_family_of_patterns_is_missed_as_a_whole() -> None:
    """Which of its lines comes depends on the goods; that one of them comes does not."""

    def goods(requests: int, kinds: tuple[int, ...]) -> dict[str, PatternStats]:
        stats = {
            f"k{kind}": PatternStats(f"INFO shop.Price: price of kind {kind} asked", count, 0, INFO, [])
            for kind, count in enumerate(kinds)
            if count
        }
        return stats | {"begin": PatternStats("cart <*> asked for", requests, 0, INFO, [])}

    service = Service()
    for minute in range(MEMORY_WINDOWS):
        some = (minute * 7 % 13, minute * 5 % 11, minute * 3 % 8)
        assert service.watch(sum(some), 0, patterns=goods(sum(some), some)) == []
    assert service.watch(20, 0, patterns=goods(20, (9, 0, 11))) == []
    (finding,) = service.watch(20, 0, patterns=goods(20, (1, 1, 0)))
    assert "“INFO shop.Price: price …”" in finding.description


def test_fewer_errors_are_no_finding() -> None:
    """A fault that is over is good news."""
    service = Service()
    for minute in range(MEMORY_WINDOWS):
        load = LOADS[minute % len(LOADS)]
        service.watch(load, 0, load)
    assert service.watch(20, 20, 0) == []


def test_another_revision_may_log_other_lines() -> None:
    """After a deploy, lines that are missing without more errors are below the confidence floor."""
    service = Service().calm(revisions={"v1": 1})
    (finding,) = service.watch(20, 0, revisions={"v2": 20})
    assert (finding.severity, finding.confidence < 0.7) == ("low", True)
    service = Service().calm(revisions={"v1": 1})
    (finding,) = service.watch(20, 0, 20, revisions={"v2": 40})
    assert (finding.severity, finding.confidence > 0.7) == ("medium", True)


def test_the_operator_may_turn_it_off_or_down() -> None:
    """As for any signal, by its name."""
    off = msgspec.structs.replace(DEFAULT, detector="off")
    low = msgspec.structs.replace(DEFAULT, severity="low")
    assert Service(off).calm().watch(20, 0) == []
    (finding,) = Service(low).calm().watch(20, 0)
    assert finding.severity == "low"


def test_the_memory_is_bounded() -> None:
    """However many patterns and endpoints come, only the most frequent have columns."""
    service = Service()
    for minute in range(40):
        patterns = {
            f"p{n}": PatternStats("x" * 999, 1 + n % 7, 0, INFO, []) for n in range(minute, minute + 200)
        }
        endpoints = {f"e{n}": RequestStats(1 + n % 5) for n in range(minute, minute + 50)}
        service.watch(300, 300, patterns=patterns, endpoints=endpoints)
    assert len(service.memory.names) <= 2 + sum(MOST.values())
    assert len(service.memory.patterns) <= MOST["P"]
    assert len(msgspec.msgpack.encode(service.memory)) < 32_000
    assert find_table_damage(service.memory) == ""


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 5)), max_size=45))
def test_memory_survives_bytes(counts: list[tuple[int, int, int]]) -> None:
    """What is decoded goes on as what was kept, and is never found damaged."""
    kept, coded = Service(), Service()
    for requests, done, errors in counts:
        assert kept.watch(requests, done, errors) == coded.watch(requests, done, errors)
        encoded = msgspec.msgpack.encode(coded.memory)
        assert encoded == msgspec.msgpack.encode(kept.memory)
        coded.memory = msgspec.msgpack.decode(encoded, type=RequestLinesMemory)
        assert find_table_damage(coded.memory) == ""


@pytest.mark.parametrize(
    "damage",
    [
        {"numbers": b"123"},
        {"numbers": b"1234", "names": []},
        {"names": ["R", "R"]},
        {"names": ["R", "Punknown"]},
        {"names": ["R", "Z"]},
        {"names": ["R", ""]},
        {"waiting": -1},
    ],
)
def test_damage_is_found(damage: dict[str, Any]) -> None:
    """A memory that others could have written stops no job."""
    memory = msgspec.structs.replace(RequestLinesMemory(names=["R", "X"], numbers=bytes(16)), **damage)
    assert find_table_damage(memory) != ""
