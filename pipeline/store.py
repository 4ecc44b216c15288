"""WriteToStore: the Beam end of the local store. The store itself is `pipeline/duckdb_store.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import apache_beam as beam
import msgspec

from pipeline.duckdb_store import DuckDBStore, StoreError, acquire_store, release_store

__all__ = ["DuckDBStore", "StoreError", "WriteToStore"]

BATCH_ROWS: Final = 10_000


@dataclass(eq=False)
class WriteToStore(beam.PTransform):
    """Append (table name, row Struct) pairs to the DuckDB file `path`, a bundle or 10,000 rows at a time.

    For runners that work in this process: the file has one connection for all threads. A retried
    bundle appends its rows again, and the views show them once. Raises StoreError.
    """

    path: str

    def expand(self, rows: beam.PCollection[tuple[str, msgspec.Struct]]) -> beam.PCollection[None]:
        """Write `rows`; the result is empty."""
        return rows | "AppendRows" >> beam.ParDo(_AppendRows(self.path))


class _AppendRows(beam.DoFn):
    def __init__(self, path: str) -> None:
        self._path = path
        self._rows: dict[str, list[msgspec.Struct]] = {}
        self._pending = 0

    def setup(self) -> None:
        self._store = acquire_store(self._path)

    def start_bundle(self) -> None:
        self._rows, self._pending = {}, 0

    def process(self, element: tuple[str, msgspec.Struct]) -> None:
        table, row = element
        self._rows.setdefault(table, []).append(row)
        self._pending += 1
        if self._pending >= BATCH_ROWS:
            self._flush()

    def finish_bundle(self) -> None:
        self._flush()

    def teardown(self) -> None:
        release_store(self._path)

    def _flush(self) -> None:
        for table, rows in self._rows.items():
            self._store.append(table, rows)
        self._rows, self._pending = {}, 0
