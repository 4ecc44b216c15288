"""Patterns that a service never logged before: which are told of, when, and how often."""

from __future__ import annotations

import pytest

from transforms.detect.new_patterns import MOST_WATCHED, Emerged, NewPatternMemory, watch_new_patterns
from transforms.elements import DAY_US, MINUTE_US, SEVERITY_NUMBERS, PatternStats, WindowSummary

START_US = 1_768_780_800_000_000
INFO, WARNING, ERROR = (SEVERITY_NUMBERS[name] for name in ("INFO", "WARNING", "ERROR"))


def stats(
    count: int, severity: int = INFO, *, is_new: bool = False, first_us: int = START_US
) -> PatternStats:
    errors = count if severity >= ERROR else 0
    return PatternStats("text", count, errors, severity, [], first_seen_us=first_us, is_new=is_new)


def watch(
    memory: NewPatternMemory,
    minute: float,
    patterns: dict[str, PatternStats],
    lines: int = 100,
    merged: dict[str, str] | None = None,
) -> list[Emerged]:
    start_us = START_US + int(minute * MINUTE_US)
    summary = WindowSummary(
        "t", "s", start_us, 60, lines=lines, patterns=patterns, merged_patterns=merged or {}
    )
    return watch_new_patterns(memory, summary)


def minutes_told(severity: int, counts: list[int], lines: int = 100) -> list[int]:
    """In which minutes a new pattern with these counts is told of."""
    memory = NewPatternMemory()
    return [
        minute
        for minute, count in enumerate(counts)
        if watch(memory, minute, {"p": stats(count, severity, is_new=not minute)} if count else {}, lines)
    ]


@pytest.mark.parametrize(
    ("severity", "counts", "told"),
    [
        (ERROR, [3], [0]),
        (ERROR, [1, 0, 2], [2]),
        (ERROR, [2], []),
        (WARNING, [4, 1], [1]),
        (INFO, [19], []),
        (INFO, [10, 10], [1]),
        (INFO, [1] * 30, []),
        (ERROR, [1] + [0] * 10 + [50], []),
        (SEVERITY_NUMBERS["EMERGENCY"], [3], [0]),
    ],
)
def test_a_new_pattern_is_told_of_when_it_keeps_coming(
    severity: int, counts: list[int], told: list[int]
) -> None:
    """Once, in the window in which it has enough lines, within ten minutes of its first."""
    assert minutes_told(severity, counts) == told


def test_a_new_pattern_that_is_a_drop_in_the_sea_is_not_told_of() -> None:
    """Without a warning it must be one line of fifty; errors count whatever else is logged."""
    assert minutes_told(INFO, [20], lines=1001) == []
    assert minutes_told(INFO, [20], lines=1000) == [0]
    assert minutes_told(ERROR, [3], lines=10**15) == [0]


def test_a_pattern_that_is_not_new_is_nothing() -> None:
    """However often it comes."""
    assert watch(NewPatternMemory(), 0, {"p": stats(10_000, ERROR)}) == []


def test_where_new_patterns_are_usual_more_lines_are_asked_for() -> None:
    """With eight of them in the last hours three times as many; after days it is as before."""
    memory = NewPatternMemory()
    watch(memory, 0, {f"{n}": stats(1, ERROR, is_new=True) for n in range(8)})
    assert watch(memory, 11, {"p": stats(8, ERROR, is_new=True)}) == []
    assert len(watch(memory, 12, {"p": stats(1, ERROR)})) == 1
    watch(memory, 30, {})
    assert len(watch(memory, 20 * 24 * 60, {"q": stats(3, ERROR, is_new=True)})) == 1


def test_of_several_the_one_with_the_most_lines_comes_first() -> None:
    """Ties go by name, whatever the order they came in."""
    found = {
        "c": stats(5, ERROR, is_new=True),
        "b": stats(9, ERROR, is_new=True),
        "a": stats(5, ERROR, is_new=True),
    }
    for patterns in (found, dict(reversed(found.items()))):
        told = watch(NewPatternMemory(), 0, patterns)
        assert [emerged.pattern_id for emerged in told] == ["b", "a", "c"]


def test_what_is_watched_is_bounded_and_does_not_depend_on_order() -> None:
    """Beyond the limit, the most severe and then the most frequent are watched."""
    patterns = {f"{n:04}": stats(1 + n % 7, is_new=True) for n in range(2 * MOST_WATCHED)}
    patterns["error"] = stats(1, ERROR, is_new=True)
    one, other = NewPatternMemory(), NewPatternMemory()
    watch(one, 0, patterns)
    watch(other, 0, dict(reversed(patterns.items())))
    assert one == other
    assert len(one.watched) == MOST_WATCHED
    assert "error" in one.watched
    watch(one, 11, {})
    assert one.watched == {}


def test_new_patterns_that_merge_are_counted_on_as_one() -> None:
    """Two and two errors of what is one pattern now are enough."""
    memory = NewPatternMemory()
    assert watch(memory, 0, {key: stats(2, ERROR, is_new=True) for key in "ab"}) == []
    told = watch(memory, 1, {"a": stats(1, ERROR)}, merged={"b": "a"})
    assert [(emerged.pattern_id, emerged.count) for emerged in told] == [("a", 5)]


def test_new_patterns_that_merge_into_a_new_name_go_on() -> None:
    """Unless that is one that was known before them."""
    for first_us, count in ((START_US, 1), (START_US - DAY_US, 0)):
        memory = NewPatternMemory()
        watch(memory, 0, {"b": stats(2, ERROR, is_new=True)})
        told = watch(memory, 1, {"z": stats(2, ERROR, first_us=first_us)}, merged={"b": "z"})
        assert len(told) == count
        assert "b" not in memory.watched


def test_it_was_told_before_it_merged() -> None:
    """A pattern is told of once, under whichever name."""
    memory = NewPatternMemory()
    assert len(watch(memory, 0, {"b": stats(3, ERROR, is_new=True)})) == 1
    assert watch(memory, 1, {"z": stats(9, ERROR)}, merged={"b": "z"}) == []


def test_a_month_without_windows_is_no_trouble() -> None:
    """What was watched is over, and what was lately is forgotten."""
    memory = NewPatternMemory()
    watch(memory, 0, {"p": stats(1, is_new=True)})
    watch(memory, 30 * 24 * 60, {})
    assert memory.watched == {}
    watch(memory, 10**8, {})
    assert memory.lately == 0.0
