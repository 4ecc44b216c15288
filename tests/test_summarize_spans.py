"""Spans of a few traces of a window: mergeable, bounded, and never larger than their lines."""

from __future__ import annotations

import json
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.elements import LogEntry
from transforms.summarize.merging import copy_summary, empty_summary, merge_summaries, sort_summary
from transforms.summarize.partials import summarize_entries
from transforms.summarize.spans import MAX_SPAN_TRACES, MAX_TRACE_SPANS, Spans, keep_spans, spans_of

TRACES = [f"{number:032x}" for number in range(MAX_SPAN_TRACES + 6)]
SPANS = ["", *(f"{number:016x}" for number in range(MAX_TRACE_SPANS + 4))]


def line(trace_id: str, span_id: str, parent: str = "") -> LogEntry:
    return LogEntry(
        "acme", "cart", 10**18, 200, "done", trace_id=trace_id, span_id=span_id, parent_span_id=parent
    )


lines = st.lists(
    st.builds(line, st.sampled_from(["", *TRACES]), st.sampled_from(SPANS), st.sampled_from(SPANS[:4])),
    max_size=120,
)


def merge(parts: list[Spans]) -> Spans:
    total: Spans = {}
    for part in parts:
        keep_spans(total, part)
    return dict(sorted(total.items()))


@given(lines, lines, lines)
def test_merging_spans_is_associative_and_commutative(a, b, c) -> None:
    """Any order and any grouping gives what all lines together give."""
    whole = spans_of([*a, *b, *c])
    one, two, three = spans_of(a), spans_of(b), spans_of(c)
    for order in ((one, two, three), (three, one, two), (two, three, one)):
        assert merge(list(order)) == whole
    assert merge([merge([one, two]), three]) == merge([one, merge([two, three])]) == whole
    assert (one, two, three) == (spans_of(a), spans_of(b), spans_of(c))


@given(lines)
def test_merging_spans_twice_changes_nothing(some) -> None:
    """Copies of lines say nothing new."""
    assert merge([spans_of(some), spans_of(some)]) == spans_of(some)


@given(lines, st.randoms(use_true_random=False))
def test_spans_are_bounded_and_named(some, random) -> None:
    """At most so many of so many traces, in the order of their names, none without a name."""
    shuffled = list(some)
    random.shuffle(shuffled)
    found = spans_of(shuffled)
    assert msgspec.msgpack.encode(found) == msgspec.msgpack.encode(spans_of(some))
    assert len(found) <= MAX_SPAN_TRACES
    assert all(0 < len(spans) <= MAX_TRACE_SPANS for spans in found.values())
    assert "" not in found
    assert all("" not in spans for spans in found.values())


def test_the_merged_summary_shares_nothing_with_its_parts() -> None:
    """A part may be merged again elsewhere."""
    (part,) = summarize_entries([line(TRACES[0], "a")], 60)
    (other,) = summarize_entries([line(TRACES[0], "b", "a")], 60)
    merged = merge_summaries(copy_summary(part), other)
    merge_summaries(merged, other)
    assert merged.spans == {TRACES[0]: {"a": "", "b": "a"}}
    assert part.spans == {TRACES[0]: {"a": ""}}
    assert other.spans == {TRACES[0]: {"b": "a"}}
    empty = merge_summaries(empty_summary(), other)
    merge_summaries(empty, part)
    assert other.spans == {TRACES[0]: {"b": "a"}}


def test_services_that_share_traces_keep_the_same_ones() -> None:
    """Else no call between them would be seen."""
    kept = []
    for seed in (1, 2):
        order = list(TRACES)
        random.Random(seed).shuffle(order)
        kept.append(set(spans_of([line(trace_id, f"s{seed}") for trace_id in order])))
    assert kept[0] == kept[1]
    assert len(kept[0]) == MAX_SPAN_TRACES


def test_of_two_parents_of_one_span_the_same_is_kept_in_any_order() -> None:
    """A line that names none does not hide one that does."""
    named = [line("t", "s"), line("t", "s", "p"), line("t", "s", "q")]
    assert spans_of(named) == spans_of(named[::-1]) == {"t": {"s": "q"}}


@pytest.mark.parametrize("number", [1, 30, 1000])
def test_spans_encode_smaller_than_the_lines_that_name_them(number: int) -> None:
    """One line, thirty or a thousand: ids are written once."""
    made = [line(f"{n % 50:032x}", f"{n:016x}", f"{n // 2:016x}") for n in range(number)]
    raw = [
        json.dumps(
            {
                "logName": "projects/acme/logs/x",
                "trace": e.trace_id,
                "spanId": e.span_id,
                "parent": e.parent_span_id,
            }
        )
        for e in made
    ]
    (with_spans,) = summarize_entries(made, 60)
    (without,) = summarize_entries([line(entry.trace_id, "") for entry in made], 60)
    grown = len(msgspec.msgpack.encode(sort_summary(with_spans))) - len(
        msgspec.msgpack.encode(sort_summary(without))
    )
    assert 0 < grown <= sum(map(len, raw))
    assert grown <= 20_000
