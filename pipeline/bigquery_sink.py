"""WriteToDataset: rows to BigQuery, in a stage of their own, so that no alert waits for them."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import apache_beam as beam
import msgspec
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.bigquery_insert import (
    ENVELOPE_BYTES,
    MOST_BYTES,
    MOST_ROWS,
    REFUSED,
    InsertSettings,
    RowInserter,
    Sendable,
    make_sendable,
)
from pipeline.bigquery_rows import FAILED_ROWS, encode_row, fail_row, written_row
from pipeline.failed_rows import write_failed_rows
from transforms.clock import wall_clock_us
from transforms.elements import FailedRow
from transforms.metering import count

_LOGGER = logging.getLogger(__name__)
_QUIET_SECONDS: Final = 60

INVALID: Final = "invalid"
"""The reason of rows that were never sent, because BigQuery would refuse them."""

RowBatch = tuple[str, list[tuple[str, str]]]
"""(table, [(insert id, row as JSON)]): rows of one table and bundle, no more than one request holds."""

Kind = tuple[str, str]
"""(table, reason) of a failed row."""


class RowCounts:
    """What the sinks of this process did with rows, by table or by kind of failure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Begin to count anew."""
        self.taken: Counter[str] = Counter()
        self.in_table: Counter[Kind] = Counter()  # kept in the table failed_rows
        self.in_files: Counter[Kind] = Counter()
        self._warned: dict[Kind, float] = {}

    def add_taken(self, table: str, rows: int) -> None:
        """Count rows that are in their table."""
        with self._lock:
            self.taken[table] += rows

    def add_failed(self, rows: Iterable[tuple[str, str, str]], folder: str = "") -> None:
        """Count (table, reason, detail) of rows that are kept in files of `folder`, else in the table.

        Each kind is warned of once a minute, not once a row.
        """
        kinds: Counter[Kind] = Counter()
        details: dict[Kind, str] = {}
        for table, reason, detail in rows:
            kinds[table, reason] += 1
            details[table, reason] = detail
        now = time.monotonic()
        with self._lock:
            (self.in_files if folder else self.in_table).update(kinds)
            quiet = {kind for kind, last in self._warned.items() if now - last < _QUIET_SECONDS}
            told = sorted(details.keys() - quiet)
            self._warned |= dict.fromkeys(told, now)
        for table, reason in told:
            _LOGGER.warning(
                "BigQuery did not take rows of %s (%s: %s). They are kept whole in %s; "
                "`aiops replay failed-rows` sends them again.",
                *(table, reason, details[table, reason], folder or f"the table {FAILED_ROWS}"),
            )


ROW_COUNTS: Final = RowCounts()


@dataclass(eq=False)
class WriteToDataset(beam.PTransform):
    """Append (table name, row Struct) pairs to the tables of the BigQuery dataset PROJECT.DATASET.

    At least once, with insert ids; the views show a row once. A row that BigQuery refuses is kept whole in
    the table `failed_rows`; rows that it does not take at all, in files of the folder `failed_rows`. Only
    where these cannot be written either does the bundle fail, in a stage that alerts do not share.
    """

    dataset: str
    failed_rows: str
    settings: InsertSettings = field(default_factory=InsertSettings)

    def expand(self, rows: dict[str, beam.PCollection]) -> beam.PCollection:
        """Write `rows`, by what they come from, through one shuffle; the result is empty."""
        batches = [
            found
            | f"ForgetWindows {name}" >> beam.WindowInto(GlobalWindows())
            | f"GatherRows {name}" >> beam.ParDo(_GatherRows()).with_output_types(RowBatch)
            for name, found in rows.items()
        ]
        return (
            batches
            | "AllRows" >> beam.Flatten()
            | "BreakFusion" >> beam.Reshuffle()
            | "InsertRows" >> beam.ParDo(_InsertRows(self.dataset, self.failed_rows, self.settings))
        )


class _GatherRows(beam.DoFn):
    """Rows → RowBatch: a shuffle costs by its elements. Asks nobody, and so cannot fail."""

    def __init__(self) -> None:
        self._batches: dict[str, list[tuple[str, str]]] = {}
        self._bytes: Counter[str] = Counter()

    def start_bundle(self) -> None:
        self._batches, self._bytes = {}, Counter()

    def process(self, element: tuple[str, msgspec.Struct]) -> Iterator[RowBatch]:
        table, row = element
        encoded = encode_row(table, row)
        if encoded.problem:
            whole = written_row(encoded.text, wall_clock_us())
            row = fail_row(table, encoded.insert_id, whole, INVALID, encoded.problem, wall_clock_us())
            table, encoded = FAILED_ROWS, encode_row(FAILED_ROWS, row)
        size = len(encoded.text) + ENVELOPE_BYTES
        gathered = self._batches.get(table, [])
        if len(gathered) == MOST_ROWS or (gathered and self._bytes[table] + size > MOST_BYTES):
            yield self._take(table)
        self._batches.setdefault(table, []).append((encoded.insert_id, encoded.text))
        self._bytes[table] += size

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for table in list(self._batches):
            yield GlobalWindows.windowed_value(self._take(table))

    def _take(self, table: str) -> RowBatch:
        del self._bytes[table]
        return table, self._batches.pop(table)


class _InsertRows(beam.DoFn):
    """RowBatch → nothing: what is left of a bundle that could not be inserted is kept at its end."""

    def __init__(self, dataset: str, folder: str, settings: InsertSettings) -> None:
        self._dataset, self._folder, self._settings = dataset, folder, settings
        self._rows: dict[str, list[Sendable]] = {}
        self._failed: list[FailedRow] = []

    def setup(self) -> None:
        self._inserter = RowInserter(self._dataset, self._settings)

    def start_bundle(self) -> None:
        self._rows, self._failed = {}, []

    def process(self, batch: RowBatch) -> None:
        table, rows = batch
        now_us = wall_clock_us()
        pending = self._rows.setdefault(table, [])
        pending += [make_sendable(insert_id, text, now_us) for insert_id, text in rows]
        if len(pending) >= MOST_ROWS:
            self._insert(table)

    def finish_bundle(self) -> None:
        for table in list(self._rows):
            self._insert(table)
        failed, self._failed = self._failed, []
        self._keep(failed)

    def teardown(self) -> None:
        self._inserter.close()

    def _insert(self, table: str) -> None:
        rows = self._rows.pop(table)
        left = {row.insert_id: (reason, detail) for row, reason, detail in self._inserter.insert(table, rows)}
        now_us = wall_clock_us()
        taken = [row for row in rows if row.insert_id not in left]
        self._failed += [
            fail_row(table, row.insert_id, row.row, *left[row.insert_id], now_us)
            for row in rows
            if row.insert_id in left
        ]
        if table == FAILED_ROWS:  # those that were invalid before they were sent
            count("failed_rows", len(taken))
            ROW_COUNTS.add_failed(
                (row.row["table_name"], row.row["reason"], row.row["detail"]) for row in taken
            )
        else:
            ROW_COUNTS.add_taken(table, len(taken))

    def _keep(self, failed: list[FailedRow]) -> None:
        count("failed_rows", len(failed))
        now_us = wall_clock_us()
        sent: dict[str, FailedRow] = {}
        rows: list[Sendable] = []
        for row in failed:
            if row.reason == REFUSED and row.table_name != FAILED_ROWS:
                encoded = encode_row(FAILED_ROWS, row)
                sent[encoded.insert_id] = row
                rows.append(make_sendable(encoded.insert_id, encoded.text, now_us))
        for left in self._inserter.insert(FAILED_ROWS, rows):
            sent.pop(left.row.insert_id, None)
        in_table = set(sent.values())
        in_files = [row for row in failed if row not in in_table]
        if in_files:
            write_failed_rows(self._folder, in_files)
            ROW_COUNTS.add_failed(map(_kind, in_files), self._folder)
        ROW_COUNTS.add_failed(map(_kind, in_table))


def _kind(row: FailedRow) -> tuple[str, str, str]:
    return row.table_name, row.reason, row.detail
