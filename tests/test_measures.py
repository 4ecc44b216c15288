"""Numeric fields of lines: what is read, and what is kept of a window."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.elements import FieldStats, Measures, PayloadBatch
from transforms.measures import (
    LARGEST_MEASURE,
    MILLION,
    count_measures,
    field_quantile,
    field_sum,
    field_value,
    merge_fields,
)
from transforms.parse.measuring import read_measure
from transforms.parse.parser import EntryParser
from transforms.parse.settings import MeasuredField, ParseSettings

NOW_NS = 1_717_243_200_000_000_000
values = st.integers(-LARGEST_MEASURE, LARGEST_MEASURE) | st.integers(-5, 5)


def counted(numbers: list[int]) -> FieldStats:
    fields: dict[str, FieldStats] = {}
    count_measures(fields, [(("depth", number),) for number in numbers])
    return fields["depth"]


# ---------------------------------------------------------------------------------- one value


@pytest.mark.parametrize(
    ("value", "millionths"),
    [
        (4, 4_000_000),
        (-2.5, -2_500_000),
        (0, 0),
        ("12.5", 12_500_000),
        (" 7 ", 7_000_000),
        ("1e3", 1_000_000_000),
        ("-.5", -500_000),
        (0.0000004, 0),
        (1e300, LARGEST_MEASURE),
        (-(10**40), -LARGEST_MEASURE),
        ("1e999", None),
        (math.inf, None),
        (math.nan, None),
        ("NaN", None),
        ("infinity", None),
        (True, None),
        (None, None),
        ("", None),
        ("12,5", None),
        ("12 ms", None),
        ("1_000", None),
        ("0x10", None),
        ("\u0661\u0662", None),
        ("9" * 41, None),
        ([1], None),
        ({"a": 1}, None),
    ],
)
def test_numbers_and_text_that_is_one_are_read(value: object, millionths: int | None) -> None:
    """Everything else is nothing; what is too large counts as the largest."""
    assert read_measure(value) == millionths


@given(st.integers() | st.floats() | st.text(max_size=50) | st.booleans())
def test_no_value_raises_or_leaves_the_range(value: object) -> None:
    """A measure always fits 64 bits."""
    measure = read_measure(value)
    assert measure is None or -LARGEST_MEASURE <= measure <= LARGEST_MEASURE


# ---------------------------------------------------------------------------------- one line


FIELDS = (
    MeasuredField("queue_depth", "jsonPayload.queue.depth", "worker-*"),
    MeasuredField("load", "jsonPayload.load"),
)


def measures_of(
    service: str = "worker-1", fields: tuple[MeasuredField, ...] = FIELDS, **payload: Any
) -> Measures:
    entry = {
        "logName": "projects/acme/logs/stdout",
        "timestamp": "2024-06-01T11:00:00Z",
        "resource": {"type": "cloud_run_revision", "labels": {"service_name": service}},
        **payload,
    }
    parser = EntryParser(ParseSettings(now_ns=NOW_NS, fields=fields))
    batch = parser.parse_batch(PayloadBatch([json.dumps(entry).encode()]))
    assert not batch.dead_letters
    return batch.entries[0].measures


@pytest.mark.parametrize(
    ("payload", "measures"),
    [
        ({"queue": {"depth": 4}, "load": "0.5"}, (("load", 500_000), ("queue_depth", 4_000_000))),
        ({"queue.depth": 4}, (("queue_depth", 4_000_000),)),
        ({"queue": {"depth": "deep"}, "load": 1}, (("load", 1_000_000),)),
        ({"queue": [4]}, ()),
        ({"queue": {"depth": {"now": 4}}}, ()),
        ({"message": "hello"}, ()),
    ],
)
def test_fields_are_found_where_the_path_leads(payload: dict[str, Any], measures: Measures) -> None:
    """By keys, or by one key with points in it; what is no number there is left out."""
    assert measures_of(jsonPayload=payload) == measures
    assert measures_of(textPayload=json.dumps(payload)) == measures


def test_fields_are_of_their_services() -> None:
    """A service that the glob does not stand for has no such measure."""
    payload = {"queue": {"depth": 4}, "load": 1}
    assert measures_of("shop", jsonPayload=payload) == (("load", 1_000_000),)
    assert measures_of("shop", FIELDS[:1], jsonPayload=payload) == ()


def test_lines_without_an_object_and_jobs_without_fields_have_no_measures() -> None:
    """Text, audit logs and the default settings measure nothing."""
    assert measures_of(textPayload="load=1") == ()
    assert measures_of(protoPayload={"methodName": "a", "load": 1}) == ()
    assert measures_of(fields=(), jsonPayload={"load": 1}) == ()


# -------------------------------------------------------------------------------- one window


@given(st.lists(values, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_a_window_is_the_same_however_it_was_split(numbers: list[int], chance: random.Random) -> None:
    """Counted at once, or merged from parts in any order, it is equal and shares nothing."""
    shuffled = chance.sample(numbers, len(numbers))
    cut = chance.randrange(len(numbers) + 1)
    merged: dict[str, FieldStats] = {}
    for part in (shuffled[:cut], shuffled[cut:]):
        if part:
            other = {"depth": counted(part)}
            merge_fields(merged, other)
            other["depth"].bins.clear()
    assert merged["depth"] == counted(numbers)


@given(st.lists(values, min_size=1, max_size=30))
def test_sums_are_exact_and_encode(numbers: list[int]) -> None:
    """Sums past 64 bits survive the way between machines."""
    stats = msgspec.msgpack.decode(msgspec.msgpack.encode(counted(numbers)), type=FieldStats)
    assert field_sum(stats) == sum(numbers)
    assert (stats.count, stats.smallest, stats.largest) == (len(numbers), min(numbers), max(numbers))
    assert field_value(stats, "sum") == sum(numbers) / MILLION
    assert field_value(stats, "mean") == sum(numbers) / (len(numbers) * MILLION)
    assert field_value(stats, "max") == max(numbers) / MILLION


@given(st.lists(values, min_size=1, max_size=30), st.floats(0, 1))
def test_quantiles_are_within_two_percent(numbers: list[int], q: float) -> None:
    """Of positive, negative and zero values alike."""
    exact = sorted(numbers)[math.floor(q * (len(numbers) - 1))] / MILLION
    assert field_quantile(counted(numbers), q) == pytest.approx(exact, rel=0.0201, abs=1e-6)
