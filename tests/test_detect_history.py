"""The memory of a service's windows."""

from __future__ import annotations

from transforms.coders import StructCoder
from transforms.detect.history import (
    DISTINCT_WINDOWS,
    LATE_US,
    ServiceMemory,
    TrackHistory,
    WindowHistory,
)
from transforms.detect.signals import HISTORY_WINDOWS, KEPT_PATTERNS, Span, compact, signals_of
from transforms.elements import MINUTE_US, PatternStats, WindowSummary

LATE_WINDOWS = LATE_US // MINUTE_US


def window(minute: int, lines: int = 1, pane: int = 0, **fields: object) -> WindowSummary:
    return WindowSummary("t", "s", minute * MINUTE_US, 60, lines=lines, pane_index=pane, **fields)


def walk(*windows: WindowSummary, late: tuple[int, ...] = ()) -> tuple[list[WindowHistory], ServiceMemory]:
    step = TrackHistory()
    state = step.initial()
    histories = [one for n, value in enumerate(windows) for one in step.step(state, value, is_late=n in late)]
    return histories, state


def minutes(history: WindowHistory) -> list[int]:
    return [past.window_start_us // MINUTE_US for past in history.past]


def test_a_window_sees_the_hour_before_it() -> None:
    """The past holds the last 60 minutes, oldest first, and nothing older."""
    histories, _ = walk(*(window(minute) for minute in range(100)))
    assert minutes(histories[0]) == []
    assert minutes(histories[5]) == [0, 1, 2, 3, 4]
    assert minutes(histories[99]) == list(range(99 - HISTORY_WINDOWS, 99))


def test_an_hour_is_an_hour_though_windows_are_missing() -> None:
    """After a long silence what lies further back than the hour is no history."""
    histories, _ = walk(window(0), window(30), window(70))
    assert minutes(histories[2]) == [30]


def test_a_late_pane_gets_the_past_of_its_window_and_teaches_nothing() -> None:
    """Its own window is compared with the revision before; later windows still see the one on time."""
    values = [*(window(minute, lines=10) for minute in range(5)), window(2, lines=99, pane=1), window(5)]
    histories, _ = walk(*values, late=(5,))
    assert minutes(histories[5]) == [0, 1]
    assert histories[5].previous is not None
    assert histories[5].previous.lines == 10
    assert [past.lines for past in histories[6].past] == [10] * 5


def test_a_second_late_pane_follows_the_first() -> None:
    """`previous` is the last revision, not the one on time."""
    values = [window(0, lines=10), window(1), window(0, lines=20, pane=1), window(0, lines=30, pane=2)]
    histories, _ = walk(*values, late=(2, 3))
    assert [one.previous.lines if one.previous else None for one in histories] == [None, None, 10, 20]


def test_a_late_window_that_nobody_knew_teaches_nothing() -> None:
    """A window that comes only late has no revision before, and enters nobody's past."""
    histories, _ = walk(window(0), window(2), window(1, pane=1), window(3), late=(2,))
    assert histories[2].previous is None
    assert minutes(histories[3]) == [0, 2]


def test_a_real_pane_revises_the_zero_summary_of_its_window() -> None:
    """Lines that come after a gap was filled are compared with the gap."""
    histories, _ = walk(window(0), window(1, lines=0, pane=-1), window(1, lines=7, pane=0), window(2))
    assert histories[2].previous is not None
    assert histories[2].previous.lines == 0


def test_the_memory_stays_bounded() -> None:
    """After days of windows and late panes only what can still be asked for is kept."""
    panes = [pane for minute in range(3000) for pane in (window(minute), window(max(0, minute - 3), pane=1))]
    _, state = walk(*panes, late=tuple(range(1, len(panes), 2)))
    assert len(state.windows) == HISTORY_WINDOWS + LATE_WINDOWS + 1
    assert len(state.revised) <= LATE_WINDOWS + 1


def test_large_registers_are_dropped_early() -> None:
    """Registers of distinct users stay for half an hour only."""
    _, state = walk(*(window(minute, principals={1: 1}) for minute in range(100)))
    assert [bool(one.principals) for one in state.windows] == [False] * (100 - DISTINCT_WINDOWS) + [
        True
    ] * DISTINCT_WINDOWS


def test_of_many_patterns_those_that_matter_are_remembered() -> None:
    """Patterns with errors are kept before others, whatever their counts."""
    patterns = {f"{n}": PatternStats("x", 1000 + n, 0, 200, []) for n in range(500)}
    patterns["e"] = PatternStats("x", 1, 1, 500, [])
    kept = compact(signals_of(window(0, patterns=patterns))).patterns
    assert len(kept) == KEPT_PATTERNS
    assert "e" in kept
    assert "499" in kept
    assert "0" not in kept


def test_the_memory_survives_encoding() -> None:
    """State that is written and read again goes on as if it had not been."""
    _, state = walk(*(window(minute, latency_bins={3: 1}, principals={2: 4}) for minute in range(40)))
    coder = StructCoder(ServiceMemory)
    assert coder.decode(coder.encode(state)) == state


def test_the_usual_is_scaled_to_the_span() -> None:
    """Ten windows with 30 lines in all make 15 in a span of five."""
    signals = [signals_of(window(minute, lines=3)) for minute in range(15)]
    span = Span(signals[10:], signals[:10], 5 * MINUTE_US)
    assert span.windows_before == 10
    assert span.usual(30) == 15
