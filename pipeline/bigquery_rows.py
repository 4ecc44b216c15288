"""Structs to rows as BigQuery takes them, checked against the columns of their table. Pure.

What BigQuery would refuse is found here first, by the types and ranges of
https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from pipeline.tables import TABLES, WRITTEN_AT, Column, Kind, struct_columns
from transforms.elements import UNKNOWN_TENANT, FailedRow, content_id

FAILED_ROWS: Final = "failed_rows"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US: Final = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST_US: Final = (datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC) - _EPOCH) // timedelta(microseconds=1)
_INT64: Final = range(-(1 << 63), 1 << 63)
_MOST_PROBLEMS: Final = 5

JsonRow = dict[str, Any]
"""Column → value, as JSON: integers and times are text, what is NULL is left out."""


class EncodedRow(NamedTuple):
    """A row, ready to be sent but for the time that it is written.

    `insert_id` depends on nothing but table and row, so that a bundle that runs again repeats it.
    """

    insert_id: str
    text: str  # a JSON object in ASCII: as long as it is on its way
    problem: str = ""  # what BigQuery would refuse it for, without any value of it


def encode_row(table: str, row: msgspec.Struct) -> EncodedRow:
    """`row`, a Struct of `table`, as BigQuery takes it.

    Lone surrogates in text become "?", as in the local store. A value that its column cannot hold
    stays as it is, or as its text, and is named in `problem`. Raises KeyError for an unknown table.
    """
    problems: list[str] = []
    text = json.dumps(_record(struct_columns(TABLES[table]), row, "", problems))
    # When a row failed says nothing about which row it is.
    identity = (row.failed_row_id, row.revision) if isinstance(row, FailedRow) else (text,)
    return EncodedRow(content_id(table, *identity), text, "; ".join(problems[:_MOST_PROBLEMS]))


def written_row(text: str, written_at_us: int) -> JsonRow:
    """The row of an EncodedRow's `text`, with the time that it is written."""
    row: JsonRow = json.loads(text)
    row[WRITTEN_AT.name] = timestamp_text(written_at_us)
    return row


def fail_row(table: str, insert_id: str, row: JsonRow, reason: str, detail: str, failed_at: int) -> FailedRow:
    """The FailedRow that keeps `row` whole."""
    tenant_id = row.get("tenant_id")
    tenant_id = tenant_id if isinstance(tenant_id, str) else UNKNOWN_TENANT
    return FailedRow(insert_id, tenant_id, table, json.dumps(row), reason, detail, failed_at)


@lru_cache(1 << 12)
def timestamp_text(time_us: int) -> str:
    """Microseconds since 1970 as RFC 3339. Raises OverflowError before year 1 and after 9999."""
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat()


def _record(columns: Iterable[Column], row: Any, prefix: str, problems: list[str]) -> JsonRow:
    found = {}
    for column in columns:
        value = getattr(row, column.name)
        if column.mode == "REPEATED":
            found[column.name] = _values(column, value, prefix, problems)
        elif value is not None:
            found[column.name] = _value(column, value, prefix, problems)
        elif column.mode == "REQUIRED":
            problems.append(f"{prefix}{column.name}: NULL in a column that is REQUIRED")
    return found


def _values(column: Column, values: Any, prefix: str, problems: list[str]) -> list[Any]:
    if not isinstance(values, list | tuple):
        problems.append(f"{prefix}{column.name}: {type(values).__name__} in a column of lists")
        return [str(values)]
    if None in values:
        problems.append(f"{prefix}{column.name}: NULL in a list")
    return [_value(column, value, prefix, problems) for value in values]


def _value(column: Column, value: Any, prefix: str, problems: list[str]) -> Any:
    if column.kind == "RECORD" and isinstance(value, msgspec.Struct):
        return _record(column.fields, value, f"{prefix}{column.name}.", problems)
    try:
        return _ENCODERS[column.kind](value)
    except (TypeError, OverflowError) as error:
        problems.append(f"{prefix}{column.name}: {error}")
        return value if isinstance(value, str | int | None) else str(value)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise _misfit(value, "STRING")
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _integer(value: Any) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _misfit(value, "INTEGER")
    if value not in _INT64:
        raise OverflowError("an integer outside 64 bits")
    return str(value)  # a JSON number would be a float to some, exact to 2**53 only


def _float(value: Any) -> float | str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _misfit(value, "FLOAT")
    number = float(value)
    return number if math.isfinite(number) else str(number)  # JSON has no NaN; BigQuery takes its name


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _misfit(value, "BOOLEAN")
    return value


def _timestamp(value: Any) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _misfit(value, "TIMESTAMP")
    if not _FIRST_US <= value <= _LAST_US:
        raise OverflowError("a time outside the years 1 to 9999")
    return timestamp_text(value)


def _no_record(value: Any) -> str:
    raise _misfit(value, "RECORD")


def _misfit(value: Any, kind: Kind) -> TypeError:
    return TypeError(f"{type(value).__name__} in a column of {kind}")


_ENCODERS: Final[dict[Kind, Callable[[Any], Any]]] = {
    "STRING": _string,
    "INTEGER": _integer,
    "FLOAT": _float,
    "BOOLEAN": _boolean,
    "TIMESTAMP": _timestamp,
    "RECORD": _no_record,
}
