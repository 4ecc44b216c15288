"""Lines that go with requests: what is missing, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.detect.invariants import (
    ALARM_Z,
    LEAST_WINDOWS,
    SUSPICIOUS_Z,
    Columns,
    Counts,
    Missing,
    find_missing,
)

REQUESTS = st.lists(st.integers(1, 200), min_size=LEAST_WINDOWS, max_size=30)


def table(*columns: list[int], requests: int = 1, targets: int | None = None) -> Columns:
    """The first `requests` columns count requests, the others lines; `targets` of these, from the end."""
    counts: Counts = np.array(columns, dtype=float).T
    place = np.arange(counts.shape[1])
    is_line = place >= requests
    is_target = is_line if targets is None else place >= counts.shape[1] - targets
    return Columns(counts, is_target, ~is_line, is_line)


def window(*counts: int) -> Counts:
    return np.array(counts, dtype=float)


def surest(columns: Columns, counts: Counts) -> Missing | None:
    found = find_missing(columns, counts)
    return found[0] if found else None


@given(REQUESTS, st.integers(1, 5), st.integers(0, 500))
def test_a_line_that_comes_with_every_request_is_not_missed(
    requests: list[int], ratio: int, now: int
) -> None:
    """Whatever the load does, lines in their usual proportion are no finding."""
    columns = table(requests, [ratio * count for count in requests])
    assert find_missing(columns, window(now, ratio * now)) == []


@given(REQUESTS, st.integers(20, 200))
def test_more_lines_than_usual_are_never_missing(requests: list[int], now: int) -> None:
    """Only lines that do not come are looked for."""
    assert find_missing(table(requests, requests), window(now, 3 * now)) == []


@pytest.mark.parametrize(
    ("windows", "now", "alarms"),
    [
        (LEAST_WINDOWS - 1, 100, False),  # nothing is known
        (LEAST_WINDOWS, 5, False),  # little is known, and little is missing
        (12, 20, True),
        (30, 6, True),
        (30, 4, False),  # fewer than five requests say nothing
    ],
)
def test_the_start_is_cautious(windows: int, now: int, alarms: bool) -> None:
    """The fewer windows are known, the more must be missing."""
    found = surest(table([10] * windows, [10] * windows), window(now, 0))
    assert (found is not None and found.z >= ALARM_Z) == alarms


def test_surprise_grows_with_what_is_known() -> None:
    """The same loss weighs more after more windows."""
    grades = [surest(table([10] * n, [10] * n), window(20, 5)) for n in (6, 12, 24, 30)]
    sure = [found.z if found else 0.0 for found in grades]
    assert sure == sorted(sure)
    assert sure[-1] > sure[0]


def test_half_of_the_lines_is_enough_and_a_fifth_is_not() -> None:
    """What is missing must matter, however sure it is."""
    columns = table([100] * 30, [100] * 30)
    half, fifth = surest(columns, window(100, 50)), surest(columns, window(100, 80))
    assert half is not None
    assert half.z >= ALARM_Z
    assert fifth is None


@given(st.lists(st.integers(0, 12), min_size=30, max_size=30), st.integers(0, 40))
def test_lines_that_come_by_chance_are_no_invariant(lines: list[int], now: int) -> None:
    """A pattern that scatters like chance, or more, is never said to be missing."""
    spread = [0 if place % 2 else 3 * count + 6 for place, count in enumerate(lines)]
    assert find_missing(table([20] * 30, spread), window(now, 0)) == []


def test_requests_come_before_lines_that_fail_with_it() -> None:
    """Two lines that always come together, and fail together, are both missed by the requests."""
    requests = [8, 12, 10, 9, 14, 11] * 5
    found = find_missing(table(requests, requests, requests), window(20, 0, 0))
    assert [(missing.target, missing.anchor) for missing in found] == [(1, 0), (2, 0)]


def test_a_line_of_another_kind_of_request_is_not_missed() -> None:
    """A mix that changes is no fault: lines are held against the requests that cause them."""
    one, other = [8, 2, 10, 0, 14, 3] * 5, [1, 12, 6, 9, 0, 11] * 5
    all_of_them = [a + b for a, b in zip(one, other, strict=True)]
    columns = table(all_of_them, one, other, one, other, requests=3, targets=2)
    assert find_missing(columns, window(20, 0, 20, 0, 20)) == []
    found = find_missing(columns, window(40, 20, 20, 0, 20))
    assert [(missing.target, missing.anchor) for missing in found] == [(3, 1)]


def test_one_request_with_many_lines_is_one_event() -> None:
    """Forty lines of two requests that ended early are two events."""
    requests = [3, 5, 4, 2, 6] * 6
    columns = table(requests, [20 * count for count in requests])
    assert find_missing(columns, window(4, 40)) == []
    found = surest(columns, window(20, 200))
    assert found is not None
    assert found.z >= SUSPICIOUS_Z


@given(REQUESTS, st.integers(0, 60), st.integers(0, 60), st.randoms(use_true_random=False))
def test_the_order_of_windows_does_not_matter(
    requests: list[int], now: int, lines: int, random: object
) -> None:
    """What is known is the same in whatever order it was learned."""
    extra = [count // 2 for count in requests]
    rows = list(zip(requests, requests, extra, strict=True))
    shuffled = rows.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (table(*map(list, zip(*some, strict=True))) for some in (rows, shuffled))
    assert find_missing(one, window(now, lines, 0)) == find_missing(other, window(now, lines, 0))
