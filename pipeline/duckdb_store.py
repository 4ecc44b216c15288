"""The local store: BigQuery's tables in one DuckDB file, append-only, with views that take the last row.

No Beam here: `aiops show` and `aiops report` open a store without it. The job writes through
`WriteToStore` in `pipeline/store.py`.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import duckdb
import msgspec

from pipeline.columns import arrow_table
from pipeline.table_reader import NO_PARAMETERS, Parameters, Row
from pipeline.tables import TABLES, duckdb_ddl, duckdb_type, table_columns
from pipeline.views import duckdb_sql, view_statements

__all__ = ["DuckDBStore", "Row", "StoreBusyError", "StoreError", "acquire_store", "release_store"]

_FETCHED_ROWS: Final = 1_000

# A store whose tables carry this mark has these very tables and views: nothing to migrate.
_SCHEMA_MARK: Final = hashlib.blake2b(
    "\n".join([*map(duckdb_ddl, TABLES), *view_statements()]).encode(), digest_size=8
).hexdigest()


class StoreError(Exception):
    """The store cannot be used; the message names the cause and the mend."""


class StoreBusyError(StoreError):
    """Another process writes the store at `path`."""

    def __init__(self, text: str, path: str) -> None:
        super().__init__(text)
        self.path = path


class DuckDBStore:
    """One DuckDB file with all tables. Safe with several threads; one process writes at a time.

    Opening creates the file and adds missing tables, columns and views; with `read_only` a file
    must be there, and others may read it at the same time. Raises StoreError.
    """

    def __init__(
        self, path: str, *, read_only: bool = False, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.path = path
        self._clock = clock
        self._last_written_us = 0
        self._lock = threading.RLock()
        if read_only and not Path(path).is_file():
            raise StoreError(
                f"There is no store at {path}. Fill one with "
                f"`aiops run --input 'logs/*.ndjson' --store {path}`, or name another with --store."
            )
        self._connection = _connect(path, read_only=read_only)
        try:
            if not self._is_current():
                self._migrate(read_only=read_only)
        except duckdb.Error as error:
            self._connection.close()
            raise _explain(error, path) from error
        except BaseException:
            self._connection.close()
            raise

    def append(self, table: str, rows: Sequence[msgspec.Struct]) -> None:
        """Add `rows` (Structs of `table`) in one transaction; each gets the same `written_at`.

        Raises KeyError for an unknown table and StoreError where DuckDB refuses, the disk is full
        or an integer does not fit 64 bits. Lone surrogates in text become "?".
        """
        if not rows:
            return
        with self._lock:
            try:
                batch = arrow_table(table, rows, self._written_at())
                self._connection.register("appended_rows", batch)
                self._connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM appended_rows")  # noqa: S608
                self._connection.unregister("appended_rows")
            except OverflowError as error:
                raise StoreError(str(error)) from error
            except duckdb.Error as error:
                raise _explain(error, self.path) from error

    def query(self, sql: str, parameters: Sequence[object] | dict[str, object] = ()) -> list[Row]:
        """Rows of `sql` as dicts; times are datetimes in UTC.

        Values go in as `parameters`, never into `sql`. Raises StoreError.
        """
        with self._lock:
            try:
                result = self._connection.execute(sql, parameters or None)
                names = [column[0] for column in result.description or ()]
                return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
            except duckdb.Error as error:
                raise _explain(error, self.path) from error

    def read(self, sql: str, parameters: Parameters = NO_PARAMETERS) -> Iterator[Row]:
        """See `TableReader`. What the store is asked in between does not disturb it."""
        try:
            with self._lock:
                cursor = self._connection.cursor()
            used = {name: value for name, value in parameters.items() if re.search(rf"@{name}\b", sql)}
            result = cursor.execute(duckdb_sql(sql), used or None)
            names = [column[0] for column in result.description or ()]
            while rows := result.fetchmany(_FETCHED_ROWS):
                yield from (dict(zip(names, row, strict=True)) for row in rows)
        except duckdb.Error as error:
            raise _explain(error, self.path) from error

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """For results that are too large to hold; what it raises is DuckDB's own."""
        return self._connection.cursor()

    def ledger_totals(self, tenant: str | None = None, source: str | None = None) -> Row:
        """Sums of `ledger_balance` over all minutes, of one tenant or of all, of one source or of both.

        `balanced` is true only where every minute balances: two errors of opposite sign do not hide
        each other. An empty store balances with zeros.
        """
        sums = ", ".join(
            f"CAST(coalesce(sum({name}), 0) AS BIGINT) AS {name}"
            for name in (
                "received",
                "analyzed",
                "late",
                "duplicate",
                "filtered",
                "dead_lettered",
                "difference",
            )
        )
        return self.query(
            f"SELECT {sums}, count(*) FILTER (NOT balanced) AS unbalanced_minutes, "  # noqa: S608
            "coalesce(bool_and(balanced), true) AS balanced FROM ledger_balance "
            "WHERE ($tenant IS NULL OR tenant_id = $tenant) AND ($source IS NULL OR source = $source)",
            {"tenant": tenant, "source": source},
        )[0]

    def close(self) -> None:
        """Write what is pending to the file and let other processes have it."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _written_at(self) -> int:
        # Strictly growing, so that of two equal revisions the later one wins even within a microsecond.
        self._last_written_us = max(self._clock() // 1_000, self._last_written_us + 1)
        return self._last_written_us

    def _is_current(self) -> bool:
        marked = self._connection.execute(
            "SELECT count(*) FROM duckdb_tables() WHERE comment = ? AND list_contains(?, table_name)",
            [_SCHEMA_MARK, list(TABLES)],
        ).fetchall()
        return marked == [(len(TABLES),)]

    def _migrate(self, *, read_only: bool) -> None:
        if read_only:
            self._connection.close()
            self._connection = _connect(self.path, read_only=False)
        self._connection.begin()
        for table in TABLES:
            self._connection.execute(duckdb_ddl(table))
            self._add_columns(table)
        for statement in view_statements():
            self._connection.execute(statement)
        for table in TABLES:
            self._connection.execute(f"COMMENT ON TABLE {table} IS '{_SCHEMA_MARK}'")
        self._connection.commit()

    def _add_columns(self, table: str) -> None:
        relation = self._connection.table(table)
        stored = dict(zip(relation.columns, relation.types, strict=True))
        defaults = {field.name: field.default for field in msgspec.structs.fields(TABLES[table])}
        for column in table_columns(table):
            wanted = duckdb_type(column)
            if column.name not in stored:
                default = defaults.get(column.name)
                filled = f" DEFAULT '{default}'" if isinstance(default, str) else ""
                self._connection.execute(f'ALTER TABLE {table} ADD COLUMN "{column.name}" {wanted}{filled}')
                continue
            change = _type_change(stored[column.name], self._connection.type(wanted))
            if change == "wider":
                self._connection.execute(f'ALTER TABLE {table} ALTER COLUMN "{column.name}" TYPE {wanted}')
            elif change == "other":
                raise StoreError(
                    f"{self.path}: column {table}.{column.name} is {stored[column.name]}, but this version "
                    f"writes {wanted}. The store was made by another version: name a new file with --store."
                )


def _type_change(stored: Any, wanted: Any) -> str:
    """How `wanted` differs from `stored`: "same", "wider" (fields were added), or "other"."""
    if stored == wanted:
        return "same"
    if stored.id != wanted.id or stored.id not in {"list", "struct"}:
        return "other"
    old, new = dict(stored.children), dict(wanted.children)
    changes = {_type_change(old[name], new[name]) for name in old.keys() & new.keys()}
    if "other" in changes:
        return "other"
    if old.keys() - new.keys():
        return "same"  # the store knows more than this version: nothing is taken away
    return "wider" if new.keys() - old.keys() or "wider" in changes else "same"


# --------------------------------------------------------------------------- connecting, errors


def _connect(path: str, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    _refuse_other_files(path)
    try:
        connection = duckdb.connect(path, read_only=read_only)
    except duckdb.ConnectionException:
        # This process has the file open for writing: share that.
        connection = duckdb.connect(path)
    except duckdb.Error as error:
        raise _explain(error, path) from error
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _refuse_other_files(path: str) -> None:
    # DuckDB also opens CSV, JSON and Parquet files and databases elsewhere, and makes a database in
    # memory beside them: what the job writes there would be lost without an error.
    if not path or re.match(r"[a-z0-9]{2,}:|:", path):
        raise StoreError(f"{path or '(no name)'} is no local file. Name one with --store.")
    try:
        with Path(path).open("rb") as file:
            start = file.read(12)
    except OSError:
        return  # it does not exist, or DuckDB will say why it cannot be read
    if start and start[8:12] != b"DUCK":
        raise StoreError(
            f"{path} is not a DuckDB file. Name another file with --store; this one is left alone."
        )


def _explain(error: duckdb.Error, path: str) -> StoreError:
    """A StoreError that names the cause of `error` and what to do."""
    text = str(error)
    lowered = text.lower()
    if "conflicting lock" in lowered:
        holder = re.search(r"PID (\d+)", text)
        who = f"process {holder.group(1)}" if holder else "another process"
        return StoreBusyError(
            f"{path} is being written by {who}. Wait until it ends or stop it, then try again.", path
        )
    if "not a valid duckdb database" in lowered:
        return StoreError(
            f"{path} is not a DuckDB file. Name another file with --store; this one is left alone."
        )
    if "newer version" in lowered or "storage version" in lowered:
        return StoreError(
            f"{path} was written by a newer DuckDB. Upgrade (`make setup`) or name another file."
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return StoreError(
            f"{path}: DuckDB ran out of memory. Ask for less (--since, --tenant) or free memory."
        )
    if any(
        sign in lowered for sign in ("corrupt", "checksum", "could not read enough bytes", "replaying wal")
    ):
        return StoreError(
            f"{path} is damaged. Move it away (with {path}.wal, if there) and run again over the same input: "
            "the same rows come out."
        )
    if any(sign in lowered for sign in ("no space left", "out of disk")):
        return StoreError(f"{path}: the disk is full. Free space there, then run again over the same input.")
    if any(sign in lowered for sign in ("cannot open file", "could not read from file", "permission denied")):
        cause = re.sub(r"\s+", " ", text.rsplit(":", 1)[-1]).strip()
        return StoreError(
            f"{path} cannot be opened: {cause}. Make its folder, mend its permissions, or name another."
        )
    missing = re.search(r"NOT NULL constraint failed: (\w+\.\w+)", text)
    if missing:
        return StoreError(
            f"A row without a value for {missing[1]} was not stored: fill it where the row is made."
        )
    # DuckDB quotes values in some messages, and those may be log text: only the kind is passed on.
    return StoreError(
        f"{path}: DuckDB failed with {type(error).__name__}. Run again; if it stays, use a new --store."
    )


# ------------------------------------------------------------------- one store for many threads

_shared: dict[str, tuple[DuckDBStore, int]] = {}
_shared_lock = threading.Lock()


def acquire_store(path: str) -> DuckDBStore:
    """The process's one writable store of `path`; each acquire_store needs a release_store."""
    key = str(Path(path).resolve())
    with _shared_lock:
        store, users = _shared.get(key) or (DuckDBStore(path), 0)
        _shared[key] = store, users + 1
        return store


def release_store(path: str) -> None:
    """Give back what acquire_store gave; the last one closes the file."""
    key = str(Path(path).resolve())
    with _shared_lock:
        if key not in _shared:
            return
        store, users = _shared.pop(key)
        if users > 1:
            _shared[key] = store, users - 1
        else:
            store.close()
