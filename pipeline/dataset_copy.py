"""Days of a dataset as a local store: whatever reads a store can then look at BigQuery's rows. No Beam here.

BigQuery filters and does nothing else: neither sorts nor windows, which it would do in the memory of
one machine. Rows come in pages and go to disk; the views of the store show what counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from pipeline.bigquery_client import BigQueryError
from pipeline.bigquery_reader import BigQueryReader
from pipeline.table_layout import LAYOUTS
from pipeline.table_reader import GIB, Parameters
from pipeline.tables import TABLE_KEYS, table_columns

# Of what is learned only the newest is of use, and every snapshot holds all memory of a service.
_NEWEST_ALONE: Final = frozenset({"baselines"})

# Whole lives or none: an alert without its beginning is another one.
_BEGUN_SINCE: Final = {"alert_events": "opened_at"}


@dataclass(frozen=True)
class CopyScope:
    """Which rows: of days from `since` on, of one tenant and service, or of all where they are empty."""

    since: datetime
    tenant: str = ""
    service: str = ""

    @property
    def parameters(self) -> Parameters:
        return {"since": self.since, "tenant": self.tenant, "service": self.service}


Wanted = Mapping[str, Sequence[str]]
"""Table → its columns that are wanted; none for all."""


def copy_query(table: str, columns: Sequence[str] = ()) -> str:
    """What copies the rows of a CopyScope; its parameters are @since, @tenant and @service.

    The column of the table's days is compared with a value, so that other days are not read.
    """
    known = [column.name for column in table_columns(table)]
    conditions = [f"{LAYOUTS[table].day_of} >= @since", "(@tenant = '' OR tenant_id = @tenant)"]
    if "service" in known:
        conditions.append("(@service = '' OR service = @service)")
    if table in _BEGUN_SINCE:
        conditions.append(f"{_BEGUN_SINCE[table]} >= @since")
    newest = ""
    if table in _NEWEST_ALONE:
        keys = ", ".join(TABLE_KEYS[table])
        newest = (
            f"\nQUALIFY ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY revision DESC, written_at DESC) = 1"
        )
    return (
        f"SELECT {', '.join(columns or known)}\nFROM ${{dataset}}.{table}\n"
        f"WHERE {' AND '.join(conditions)}{newest}"
    )


def bytes_to_copy(reader: BigQueryReader, wanted: Wanted, scope: CopyScope) -> dict[str, int]:
    """Table → bytes that copying it would read. Nothing is read. Raises BigQueryError."""
    return {
        table: reader.bytes_of(copy_query(table, columns), scope.parameters)
        for table, columns in wanted.items()
    }


def refuse_too_much(sizes: Mapping[str, int], max_gib: float) -> None:
    """Raises BigQueryError where all tables together have more than `max_gib`."""
    total = sum(sizes.values())
    if total > max_gib * GIB:
        raise BigQueryError(
            f"This would read {total / GIB:.1f} GiB, and --max-gib allows {max_gib:g}: ask for less "
            "(--since, --tenant), or allow more. --dry-run says what each table takes."
        )


def copy_tables(
    reader: BigQueryReader, path: Path, wanted: Wanted, scope: CopyScope
) -> Iterator[tuple[str, int]]:
    """Write the rows to a new DuckDB file; opened as a store it gets what it lacks. Bounded memory.

    Yields each table with the rows that have come so far. Raises BigQueryError, and what DuckDB raises.
    """
    with duckdb.connect(str(path)) as connection:
        for table, columns in wanted.items():
            count = 0
            for batch in reader.read_batches(copy_query(table, columns), scope.parameters):
                connection.register("copied_rows", pa.Table.from_batches([batch]))
                connection.execute(f"CREATE TABLE IF NOT EXISTS {table} AS FROM copied_rows LIMIT 0")
                connection.execute(f"INSERT INTO {table} BY NAME FROM copied_rows")
                connection.unregister("copied_rows")
                count += batch.num_rows
                yield table, count
