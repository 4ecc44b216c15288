"""Patterns: what is merged, what keeps its id, what is remembered."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.elements import MINUTE_US, Example, PatternStats, TraceError, WindowSummary, content_id
from transforms.patterns import merge
from transforms.patterns.merge import (
    LEARNING_SECONDS,
    PatternState,
    assign_patterns,
    find_pattern_ids,
    lineage,
)

USERS = ["ana", "ben", "cleo", "dora", "egon", "fay", "gus", "hana", "ivo", "june"]
TEXTS = st.one_of(
    st.builds("login of {} from <*>".format, st.sampled_from(USERS)),
    st.builds("login of {} from host {}".format, st.sampled_from(USERS), st.sampled_from(USERS)),
    st.builds("user={} state={}".format, st.sampled_from(USERS), st.sampled_from(["UP", "DOWN"])),
    st.lists(st.sampled_from([*USERS, "<*>", "=", "(", ""]), max_size=5).map(" ".join),
)


def shape_id(text: str) -> str:
    return content_id(text)[:16]


def summary(minute: int, *texts: str, **fields) -> WindowSummary:
    patterns = {shape_id(text): PatternStats(text, 1, 0, 200, []) for text in texts}
    return WindowSummary("shop", "cart", minute * MINUTE_US, 60, patterns=patterns, **fields)


def run(state: PatternState, minute: int, *texts: str, is_late: bool = False) -> dict[str, PatternStats]:
    return assign_patterns(state, summary(minute, *texts), is_late=is_late).patterns


def encoded(value: msgspec.Struct) -> bytes:
    return msgspec.msgpack.Encoder(order="deterministic").encode(value)


def logins(*users: str) -> list[str]:
    return [f"login of {user} from <*>" for user in users]


def test_many_words_in_one_position_are_a_variable():
    """Lines that differ in a position with many values are one pattern, with all their counts."""
    state = PatternState()
    (stats,) = run(state, 0, *logins(*USERS)).values()
    assert (stats.text, stats.count) == ("login of <*> from <*>", len(USERS))


def test_lines_by_revision_are_added_up_where_shapes_are_merged():
    """A pattern has the lines of each revision that its shapes have, and the shapes keep theirs."""
    window = summary(0, *logins(*USERS))
    for number, stats in enumerate(window.patterns.values()):
        stats.revisions = {"r1": 1} if number < 4 else {"r2": 1}
    (stats,) = assign_patterns(PatternState(), window, is_late=False).patterns.values()
    assert stats.revisions == {"r1": 4, "r2": 6}
    assert {len(shape.revisions) for shape in window.patterns.values()} == {1}


@pytest.mark.parametrize(
    "texts",
    [
        logins("ana", "ben"),
        ["job <*> is PENDING", "job <*> is RUNNING", "job <*> is FAILED", "job <*> is DONE"],
        ["started", "stopped", "paused", "resumed", "ready", "failed"],
        [f"config {key}=on" for key in USERS],
        ["connection opened", "connection: opened", "(connection) opened", "connection is opened"],
    ],
)
def test_few_values_states_single_words_keys_and_other_punctuation_stay_apart(texts):
    """What people on call tell apart is not merged."""
    assert sorted(stats.text for stats in run(PatternState(), 0, *texts).values()) == sorted(texts)


def test_two_words_that_always_vary_together_are_found():
    """No two lines need to agree in one of the two."""
    texts = [f"moved cart of {a} over to basket of {b}" for a, b in zip(USERS, reversed(USERS), strict=True)]
    (stats,) = run(PatternState(), 0, *texts).values()
    assert stats.text == "moved cart of <*> over to basket of <*>"


def test_three_words_that_always_vary_together_are_found_in_a_crowd():
    """Among many lines, words that hardly any other line has are what varies."""
    texts = [f"sale by a{n:b}x to b{n:b}y in c{n:b}z was closed at last" for n in range(60)]
    texts = [text.translate(str.maketrans("01", "pq")) for text in texts]
    (stats,) = run(PatternState(), 0, *texts).values()
    assert (stats.text, stats.count) == ("sale by <*> to <*> in <*> was closed at last", 60)


def test_a_crowd_of_unlike_lines_stays_apart():
    """Lines that have punctuation in common, but hardly a word, are no pattern."""
    texts = [
        " ".join(f"{letter}{n:b}".translate(str.maketrans("01", "pq")) for letter in "abcd")
        for n in range(60)
    ]
    assert len(run(PatternState(), 0, *texts)) == 60


def test_an_id_is_never_taken_back():
    """A pattern that becomes general keeps its first id; ids of merged patterns lead to it."""
    state = PatternState()
    (first,) = run(state, 0, *logins("ana"))
    (second,) = run(state, 1, *logins("ben"))
    assert first != second
    (general,) = run(state, 2, *logins("cleo", "dora", "egon", "fay"))
    assert general == first == shape_id(logins("ana")[0])
    assert state.shapes[second] == first
    (later,) = run(state, 3, *logins("gus"))
    assert later == first
    assert lineage(state) == {
        first: sorted(map(shape_id, logins("ana", "ben", "cleo", "dora", "egon", "fay", "gus")))
    }


@given(st.lists(st.lists(TEXTS, max_size=12), min_size=1, max_size=5))
def test_known_ids_always_resolve_and_cover_their_lines(windows):
    """After any windows, each id ever given still leads to one pattern, and one for all that it covered."""
    state = PatternState()
    given_for: dict[str, str] = {}
    for minute, texts in enumerate(windows):
        before = dict(state.shapes)
        patterns = run(state, minute, *texts)
        assert sum(stats.count for stats in patterns.values()) == len(set(texts))
        assert all(state.shapes[owner] == state.shapes[shape] for shape, owner in before.items())
        given_for |= {shape_id(text): text for text in texts}
    assert find_pattern_ids(state, given_for).keys() == given_for.keys()
    assert set(find_pattern_ids(state, given_for).values()) == set(state.patterns)
    assert all(state.shapes[pattern_id] == pattern_id for pattern_id in state.patterns)


@given(st.lists(st.lists(TEXTS, unique=True, max_size=15), min_size=1, max_size=4), st.randoms())
def test_the_order_of_shapes_in_a_window_changes_nothing(windows, random):
    """State and result depend on the set of shapes of each window only."""
    states = PatternState(), PatternState()
    for minute, texts in enumerate(windows):
        shuffled = random.sample(texts, len(texts))
        first, second = (summary(minute, *order) for order in (texts, shuffled))
        results = [
            assign_patterns(state, s, is_late=False) for state, s in zip(states, (first, second), strict=True)
        ]
        assert encoded(results[0]) == encoded(results[1])
    assert encoded(states[0]) == encoded(states[1])


@given(st.lists(st.lists(TEXTS, max_size=12), min_size=2, max_size=5))
def test_a_state_read_back_goes_on_as_before(windows):
    """Encoding and decoding the state between two windows changes nothing."""
    kept, read_back = PatternState(), PatternState()
    for minute, texts in enumerate(windows):
        assert run(kept, minute, *texts) == run(read_back, minute, *texts)
        read_back = msgspec.msgpack.decode(encoded(read_back), type=PatternState)
    assert kept == read_back


@given(st.lists(TEXTS, max_size=10), st.lists(TEXTS, max_size=10), st.booleans())
def test_late_and_coarsened_windows_teach_nothing(first, second, is_late):
    """A late pane, or a window whose shapes were coarsened, is assigned but leaves the state alone."""
    state = PatternState()
    run(state, 20, *first)
    before = encoded(state)
    late = assign_patterns(state, summary(19, *second, pattern_level=int(not is_late)), is_late=is_late)
    assert encoded(state) == before
    assert sum(stats.count for stats in late.patterns.values()) == len(set(second))
    assert not any(stats.is_new for stats in late.patterns.values())


def test_stats_of_merged_shapes_add_up():
    """Counts are added, the highest severity and the three examples with the smallest hash are kept."""
    window = summary(0, *logins(*USERS), traces={"t": TraceError(5, shape_id(logins("gus")[0]))})
    for number, stats in enumerate(window.patterns.values()):
        stats.errors, stats.severity = number % 2, 100 * number
        stats.exception = "Timeout" if number == 4 else ""
        stats.examples = [Example(100 - number, 0, str(number), "line")]
    before = encoded(window)
    result = assign_patterns(PatternState(), window, is_late=False)
    ((pattern_id, stats),) = result.patterns.items()
    assert (stats.count, stats.errors, stats.severity, stats.exception) == (10, 5, 900, "Timeout")
    assert [example.order for example in stats.examples] == [91, 92, 93]
    assert result.traces["t"].shape_id == pattern_id
    assert encoded(window) == before


def test_new_is_what_comes_after_the_learning_time():
    """The first windows teach; then a first sight is new, in its window and in late panes of it."""
    state, learned = PatternState(), LEARNING_SECONDS // 60
    assert not any(stats.is_new for stats in run(state, 0, "paid", "sent").values())
    assert not run(state, learned - 1, "shipped")[shape_id("shipped")].is_new
    patterns = run(state, learned, "paid", "lost")
    assert {stats.text: stats.is_new for stats in patterns.values()} == {"paid": False, "lost": True}
    assert run(state, learned, "lost", is_late=True)[shape_id("lost")].is_new
    again = run(state, learned + 1, "lost")[shape_id("lost")]
    assert (again.is_new, again.first_seen_us) == (False, learned * MINUTE_US)


def test_a_window_without_lines_changes_nothing():
    """A zero summary neither starts the learning time nor makes a pattern."""
    state = PatternState()
    assert run(state, 3) == {}
    assert state == PatternState()


def test_what_is_unseen_for_long_is_forgotten(monkeypatch):
    """A pattern comes back as new after FORGET_AFTER_SECONDS without it."""
    monkeypatch.setattr(merge, "FORGET_AFTER_SECONDS", 3600)
    state = PatternState()
    run(state, 0, "paid", "sent")
    run(state, 50, "sent")
    patterns = run(state, 61, "sent", "lost")
    assert set(state.shapes) == {shape_id("sent"), shape_id("lost")}
    assert [stats.text for stats in patterns.values() if stats.is_new] == ["lost"]
    assert run(state, 62, "paid")[shape_id("paid")].is_new


@given(st.lists(st.lists(st.text(alphabet="abc <*>", max_size=9), max_size=9), max_size=8))
def test_state_is_bounded(windows):
    """However many patterns come, the limits hold, and those seen last are kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "MAX_PATTERNS", 10)
        patch.setattr(merge, "MAX_SHAPES", 12)
        state = PatternState()
        for minute, texts in enumerate(windows):
            patterns = run(state, minute, *texts)
            assert len(state.patterns) <= 10
            assert len(state.shapes) <= 12
            assert set(state.shapes.values()) == set(state.patterns)
            assert set(patterns) <= set(state.patterns)
