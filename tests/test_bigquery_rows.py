"""Rows as BigQuery takes them: whatever a Struct holds, what is sent fits its columns, or is named."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from fake_bigquery import _problem
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_store import service_window

from pipeline.bigquery_insert import ENVELOPE_BYTES, MOST_BYTES, MOST_ROWS, Sendable, bounded_parts
from pipeline.bigquery_rows import encode_row, fail_row, timestamp_text, written_row
from pipeline.tables import TABLES, Column, struct_columns, table_columns
from transforms.elements import FailedRow

NOW_US = 1_767_261_600_000_000
_ANY = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.characters(categories=["Cs"]),
    st.binary(), st.lists(st.integers(), max_size=2),
)  # fmt: skip
_FITTING: dict[str, st.SearchStrategy[Any]] = {
    "STRING": st.text(max_size=5) | st.just("\ud800"),
    "INTEGER": st.integers(-(1 << 63), (1 << 63) - 1),
    "FLOAT": st.floats() | st.integers(-5, 5),
    "BOOLEAN": st.booleans(),
    "TIMESTAMP": st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999),
}


def _structs(struct: type[msgspec.Struct], wrong: bool) -> st.SearchStrategy[Any]:
    columns = struct_columns(struct)
    nested = dict(_nested(struct))
    values = [_values(column, nested.get(column.name), wrong) for column in columns]
    return st.tuples(*values).map(lambda found: struct(*found))


def _nested(struct: type[msgspec.Struct]) -> Any:
    for field in msgspec.inspect.type_info(struct).fields:  # type: ignore[attr-defined]
        kind = field.type
        while isinstance(kind, msgspec.inspect.Metadata | msgspec.inspect.ListType):
            kind = kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind.item_type
        if isinstance(kind, msgspec.inspect.UnionType):
            kind = next(member for member in kind.types if not isinstance(member, msgspec.inspect.NoneType))
        if isinstance(kind, msgspec.inspect.StructType):
            yield field.name, kind.cls


def _values(column: Column, struct: Any, wrong: bool) -> st.SearchStrategy[Any]:
    value = _structs(struct, wrong) if struct else _FITTING[column.kind]
    if column.mode == "REPEATED":
        value = st.lists(value, max_size=2)
    if column.mode == "NULLABLE":
        value = st.none() | value
    return value | _ANY if wrong else value


@pytest.mark.parametrize("table", ["anomalies", "incidents", "service_windows", "failed_rows"])
@settings(max_examples=40)
@given(data=st.data())
def test_what_fits_is_sent_and_taken(table: str, data: st.DataObject) -> None:
    """Values of the columns' types, to their last one, NaN and lone surrogates too, are never refused."""
    encoded = encode_row(table, data.draw(_structs(TABLES[table], wrong=False)))
    assert not encoded.problem
    assert not _problem(table_columns(table), written_row(encoded.text, NOW_US))


@pytest.mark.parametrize("table", ["anomalies", "dead_letters", "gemini_calls"])
@settings(max_examples=40)
@given(data=st.data())
def test_what_does_not_fit_is_found_before_it_is_sent(table: str, data: st.DataObject) -> None:
    """Whatever stands in a row, it becomes JSON, and has a problem exactly if BigQuery would refuse it."""
    encoded = encode_row(table, data.draw(_structs(TABLES[table], wrong=True)))
    refused = _problem(table_columns(table), written_row(encoded.text, NOW_US))
    assert not refused or encoded.problem
    assert encoded.text.isascii()
    assert json.loads(encoded.text, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"lines": 1 << 63}, "lines: an integer outside 64 bits"),
        ({"lines": True}, "lines: bool in a column of INTEGER"),
        ({"lines": "7"}, "lines: str in a column of INTEGER"),
        ({"service": None}, "service: NULL in a column that is REQUIRED"),
        ({"service": b"x"}, "service: bytes in a column of STRING"),
        ({"window_start": 253_402_300_800_000_000}, "window_start: a time outside the years 1 to 9999"),
        ({"window_start": -62_135_596_800_000_001}, "window_start: a time outside the years 1 to 9999"),
        ({"error_rate": "high"}, "error_rate: str in a column of FLOAT"),
        ({"error_rate": 10**400}, "error_rate: int too large to convert to float"),
    ],
)
def test_a_problem_names_its_column_and_not_its_value(changes: dict[str, Any], problem: str) -> None:
    """The detail of a failed row says what to mend, and the row is whole beside it."""
    row = msgspec.structs.replace(service_window("acme", "cart", 0), **changes)
    encoded = encode_row("service_windows", row)
    assert encoded.problem == problem
    assert json.loads(encoded.text)["revision"] == "0"


def test_a_row_has_the_types_that_bigquery_reads() -> None:
    """Integers are text, times RFC 3339, floats without a number their names, NULL is left out."""
    row = service_window("acme", "cart\ud800", 0, latency_p50_ms=None, error_rate=math.nan)
    sent = written_row(encode_row("service_windows", row).text, NOW_US + 1)
    assert (sent["service"], sent["lines"], sent["error_rate"]) == ("cart?", "600", "nan")
    assert sent["window_start"] == "2026-01-01T10:00:00+00:00"
    assert sent["written_at"] == "2026-01-01T10:00:00.000001+00:00"
    assert "latency_p50_ms" not in sent


def test_years_1_to_9999_can_be_written() -> None:
    """The first and the last microsecond that a TIMESTAMP holds."""
    assert timestamp_text(-62_135_596_800_000_000) == "0001-01-01T00:00:00+00:00"
    assert timestamp_text(253_402_300_799_999_999) == "9999-12-31T23:59:59.999999+00:00"


@given(st.integers(0, 5), st.integers(0, 5))
def test_the_insert_id_is_that_of_the_content(one: int, other: int) -> None:
    """The same row of the same table has the same id whenever it is written; another row another one."""
    ids = [
        encode_row("service_windows", service_window("a", "b", 0, lines=n)).insert_id for n in (one, other)
    ]
    assert (ids[0] == ids[1]) == (one == other)
    assert len(ids[0]) == 32


def test_the_insert_id_of_a_failed_row_does_not_know_when() -> None:
    """A bundle that runs again fails later; its failed row is the same, and no second one."""
    row = written_row(encode_row("service_windows", service_window("a", "b", 0)).text, NOW_US)
    rows = [fail_row("service_windows", "i", row, "refused", "invalid at x", at) for at in (1, 2)]
    assert len({encode_row("failed_rows", failed).insert_id for failed in rows}) == 1
    assert rows[0].tenant_id == "a"
    assert json.loads(rows[0].row_json) == row
    replayed = msgspec.structs.replace(rows[0], status="replayed", revision=1)
    assert encode_row("failed_rows", replayed).insert_id != encode_row("failed_rows", rows[0]).insert_id
    assert isinstance(rows[0], FailedRow)


@given(st.lists(st.integers(1, MOST_BYTES - ENVELOPE_BYTES), max_size=30), st.integers(0, 1200))
def test_a_part_fits_one_request(large: list[int], small: int) -> None:
    """Rows are cut into parts by number and by size; none is lost, and their order stays."""
    rows = [Sendable(str(number), {}, size) for number, size in enumerate([*large, *[1] * small])]
    parts = list(bounded_parts(rows))
    assert [row for part in parts for row in part] == rows
    assert all(len(part) <= MOST_ROWS for part in parts)
    assert all(sum(row.size_bytes + ENVELOPE_BYTES for row in part) <= MOST_BYTES for part in parts)
