"""Coarsening: one answer, whatever was merged first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.coarsening import (
    LAST_ENDPOINT_LEVEL,
    LAST_LEVEL,
    LEVELS,
    coarsen,
    coarsen_endpoint,
)

WORDS = st.lists(
    st.sampled_from(["user", "bob", "<*>", "id=<*>", "paid", "x_1", "for:", "now", "again"]), max_size=14
)
TEXTS = WORDS.map(" ".join)
ENDPOINTS = st.one_of(
    st.text(alphabet="ab/. *", max_size=12),
    st.just("GET /a/b/c/d"),
    st.just("pkg.Carts/Get"),
    st.just("a.b.c.D"),
)
BOTH = [(coarsen, LAST_LEVEL, TEXTS | st.text()), (coarsen_endpoint, LAST_ENDPOINT_LEVEL, ENDPOINTS)]


@pytest.mark.parametrize(("function", "last", "texts"), BOTH)
def test_a_level_depends_on_the_level_below_only(function, last, texts):
    """Coarsening what was coarsened to a lower level is the same as coarsening the text itself."""

    @given(texts, st.integers(0, last), st.integers(0, last))
    def check(text, low, high):
        low, high = sorted((low, high))
        assert function(function(text, low), high) == function(text, high)

    check()


@pytest.mark.parametrize(("function", "last", "texts"), BOTH)
def test_the_first_level_that_fits_is_the_same_in_any_order(function, last, texts):
    """Merging parts one by one, coarsening as soon as they do not fit, ends as merging them at once."""

    def merge(left, right, limit):
        level = max(left[0], right[0])
        union = {function(name, level) for name in left[1] | right[1]}
        while len(union) > limit and level < last:
            level += 1
            union = {function(name, level) for name in union}
        return level, union

    @given(st.lists(st.sets(texts, max_size=6), min_size=2, max_size=6), st.integers(1, 6), st.randoms())
    def check(parts, limit, random):
        whole = merge((0, set()), (0, set().union(*parts)), limit)
        random.shuffle(parts)
        merged = (0, set())
        for part in parts:
            merged = merge(merge((0, set()), (0, part), limit), merged, limit)
        assert merged == whole

    check()


@given(st.text())
def test_everything_is_one_at_the_last_level(text):
    """The last level has one name, so any window fits."""
    assert (coarsen(text, LAST_LEVEL), coarsen_endpoint(text, LAST_ENDPOINT_LEVEL)) == ("<*>", "*")


def test_levels_keep_ever_fewer_words():
    """A line loses its unusual words first, then its end."""
    line = "user bob_7 failed to log in from <*> port <*>"
    assert [coarsen(line, level) for level in range(len(LEVELS))] == [
        line,
        "user <*> failed to log in from <*> port <*>",
        "user <*> failed to log in from <*>",
        "user <*> failed to <*>",
        "user <*>",
        "user <*>",
        "<*>",
    ]


def test_endpoints_lose_segments_from_the_end():
    """Two path segments, then one, then none are kept."""
    assert [coarsen_endpoint("POST /shop/cart/{id}/pay", level) for level in range(4)] == [
        "POST /shop/cart/{id}/pay",
        "POST /shop/cart/*",
        "POST /shop/*",
        "*",
    ]
    assert coarsen_endpoint("GET /", 2) == "GET /"
