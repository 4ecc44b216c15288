"""Rows to Arrow columns, field by field: the fast way into DuckDB. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa

from pipeline.tables import TABLES, WRITTEN_AT, Column, arrow_schema, arrow_type, struct_columns


def arrow_table(table: str, rows: Sequence[msgspec.Struct], written_at_us: int) -> pa.Table:
    """`rows` (Structs of `table`) and the time they are written, as an Arrow table of its schema.

    Lone surrogates in text become "?". Raises OverflowError, naming the column, for an integer
    outside 64 bits.
    """
    schema = arrow_schema(table)
    arrays = [_arrow_array(column, rows) for column in struct_columns(TABLES[table])]
    arrays.append(pa.repeat(pa.scalar(written_at_us, arrow_type(WRITTEN_AT)), len(rows)))
    return pa.Table.from_arrays(arrays, schema=schema)


def _arrow_array(column: Column, rows: Sequence[msgspec.Struct]) -> pa.Array:
    """The values of one field of `rows`, which are Structs that have it."""
    values = list(map(attrgetter(column.name), rows))
    if column.mode != "REPEATED":
        return _arrow_record(column, values) if column.fields else _arrow_scalars(column, values)
    offsets, total = [0], 0
    for value in values:
        total += len(value)
        offsets.append(total)
    flat = [item for value in values for item in value]
    item_column = Column(column.name, column.kind, "NULLABLE", "", column.fields)
    items = _arrow_record(item_column, flat) if column.fields else _arrow_scalars(item_column, flat)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items, type=arrow_type(column))


def _arrow_record(column: Column, values: Sequence[msgspec.Struct]) -> pa.Array:
    fields = list(arrow_type(Column(column.name, column.kind, "NULLABLE", "", column.fields)))
    return pa.StructArray.from_arrays([_arrow_array(child, values) for child in column.fields], fields=fields)


def _arrow_scalars(column: Column, values: list[Any]) -> pa.Array:
    kind = arrow_type(Column(column.name, column.kind, "NULLABLE"))
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([value and value.encode("utf-8", "replace").decode() for value in values], kind)
    except OverflowError as error:
        raise OverflowError(
            f"Column {column.name} holds an integer outside 64 bits, which no table can store: "
            "reduce it where the row is made."
        ) from error
