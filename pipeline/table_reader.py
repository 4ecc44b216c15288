"""Reading the tables in BigQuery and in a local store by one text of SQL (docs/decisions/0013)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

import msgspec

from pipeline.tables import struct_columns

Row = dict[str, Any]
S = TypeVar("S", bound=msgspec.Struct)
Parameters = Mapping[str, str | int | datetime]

GIB: Final = 1 << 30
MOST_GIB: Final = 20.0
"""What BigQuery may read for one command unless somebody says otherwise: it takes cents for it."""

NO_PARAMETERS: Final[Parameters] = {}


class TableReader(Protocol):
    """Whatever has the tables and views. It is asked in what both dialects have in common."""

    def read(self, sql: str, parameters: Parameters = NO_PARAMETERS) -> Iterator[Row]:
        """Rows of `sql`, a few at a time. `${dataset}.` stands before tables and views, `@name` for a value.

        Values go in as `parameters`, never into `sql`. Raises StoreError or BigQueryError.
        """
        ...


def struct_select(struct: type[msgspec.Struct], table: str) -> str:
    """What to SELECT of `table` for the fields of `struct`: times in microseconds, as Structs hold them."""
    return ", ".join(
        f"UNIX_MICROS({table}.{column.name}) AS {column.name}"
        if column.kind == "TIMESTAMP"
        else f"{table}.{column.name}"
        for column in struct_columns(struct)
    )


def struct_of_row(row: Row, struct: type[S]) -> S:
    """The Struct that was written as `row`; a column that was added later has its default."""
    nullable = {column.name for column in struct_columns(struct) if column.mode == "NULLABLE"}
    known = {name: value for name, value in row.items() if value is not None or name in nullable}
    return msgspec.convert(known, struct)
