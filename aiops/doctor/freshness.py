"""How old the newest rows are, and whether every line is accounted for: of the dataset, or of the store."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from apache_beam.io.filesystems import FileSystems
from google.cloud import bigquery

from aiops.doctor.checks import CALL_SECONDS, SERVER_ERRORS, Check, counted, refused
from pipeline.bigquery_client import split_dataset
from pipeline.duckdb_store import DuckDBStore, Row, StoreError
from pipeline.failed_rows import SUFFIX, FailedRowsError, find_failed_rows
from pipeline.settings import Settings
from pipeline.tables import TABLES

_LAYER: Final = "freshness"
OLDEST: Final = timedelta(minutes=15)
"""Rows of a live job are younger: windows close within minutes, and late lines wait for nobody."""

SETTLED: Final = timedelta(minutes=30)
"""Minutes of the ledger are judged when they are so old: all that came in them has ended up somewhere."""

LOOK_BACK: Final = timedelta(days=2)
MOST_BYTES_BILLED: Final = 20 << 30
"""A look at the ledger reads a few columns of all windows: of a large dataset it is not worth its price."""

_DEAR: Final = "bytes billed"
SLOW: Final = "aiops launch list  # does it run? see docs/runbooks/the-job-is-slow.md"
_LOST: Final = "# docs/runbooks/ledger-does-not-balance.md"

_WAITING: Final = "failed rows"

Ask = Callable[[str], Row]
"""The one row that SQL gives; `{place}` in it is where a table is, @since and @until are times."""


def check_dataset_freshness(
    client: bigquery.Client, dataset: str, now: datetime, *, is_live: bool
) -> Iterator[Check]:
    """Age of the newest window, and minutes of the ledger that do not balance, of the last two days."""
    project, name = split_dataset(dataset)

    def ask(sql: str) -> Row:
        values = {"since": now - LOOK_BACK, "until": now - SETTLED}
        parameters = [bigquery.ScalarQueryParameter(key, "TIMESTAMP", at) for key, at in values.items()]
        (row,) = client.query_and_wait(
            sql.format(place=f"`{project}.{name}`."),
            job_config=bigquery.QueryJobConfig(
                query_parameters=parameters, maximum_bytes_billed=MOST_BYTES_BILLED
            ),
            api_timeout=CALL_SECONDS,
            wait_timeout=3 * CALL_SECONDS,
            retry=None,  # type: ignore[arg-type]  # None is documented: do not try again
            job_retry=None,  # type: ignore[arg-type]
        )
        return dict(row.items())

    mend = f"gcloud projects add-iam-policy-binding {project} --member=user:YOU --role=roles/bigquery.jobUser"
    try:
        yield _newest_window(ask, now, is_live=is_live)
        yield _ledger(ask)
    except SERVER_ERRORS as error:
        if _DEAR in str(error):
            found = f"would read more than {MOST_BYTES_BILLED >> 30} GiB of {dataset}"
            yield Check(_LAYER, "ledger", "skipped", found)
            return
        yield refused(_LAYER, dataset, error, mend)


def check_failed_rows(settings: Settings) -> Check:
    """Whether rows wait in the folder that they are kept in while BigQuery does not take them."""
    folder = settings.failed_rows
    try:
        files = find_failed_rows(FileSystems.join(folder, f"*{SUFFIX}"))
    except FailedRowsError as error:
        return Check(_LAYER, _WAITING, "failed", str(error), "# make the folder, or mend its permissions")
    if files:
        mend = f"aiops replay failed-rows --dataset {settings.dataset} --files {shlex.quote(folder)}"
        return Check(_LAYER, _WAITING, "warning", f"{counted(len(files), 'file')} of rows in {folder}", mend)
    return Check(_LAYER, _WAITING, "ok", f"none wait in {folder}")


def check_store(settings: Settings, now: datetime) -> Iterator[Check]:
    """The local store: can it be used, and how fresh is it."""
    path = settings.store
    if not Path(path).exists():
        folder = Path(path).absolute().parent
        if os.access(folder, os.W_OK):
            yield Check("store", path, "ok", "is not there yet; the first run makes it")
        else:
            yield Check("store", path, "failed", f"cannot be made in {folder}", f"mkdir -p {folder}")
        return
    try:
        with DuckDBStore(path, read_only=True) as store:
            yield Check("store", path, "ok", f"has all {len(TABLES)} tables of this version")
            yield from _store_freshness(store, now, is_live=settings.is_streaming)
    except StoreError as error:
        busy = "is being written" in str(error)
        found = "a job is writing it: what is in it can be seen when that ends" if busy else str(error)
        yield Check("store", path, "ok" if busy else "failed", found)


def _store_freshness(store: DuckDBStore, now: datetime, *, is_live: bool) -> Iterator[Check]:
    values: dict[str, Any] = {"since": now - LOOK_BACK, "until": now - SETTLED}
    if not is_live:  # files may be of any time
        values = {"since": datetime(1, 1, 2, tzinfo=UTC), "until": now + LOOK_BACK}

    def ask(sql: str) -> Row:
        used = {name: at for name, at in values.items() if f"@{name}" in sql}
        return store.query(sql.format(place="").replace("@", "$"), used)[0]

    yield _newest_window(ask, now, is_live=is_live)
    yield _ledger(ask)


def _newest_window(ask: Ask, now: datetime, *, is_live: bool) -> Check:
    newest = ask("SELECT MAX(window_end) AS newest FROM {place}service_windows WHERE window_start >= @since")[
        "newest"
    ]
    subject = "newest window"
    if newest is None:
        why = "the job is new, or does not run" if is_live else "nothing was read yet"
        return Check(_LAYER, subject, "warning", f"none of late: {why}", SLOW * is_live)
    age = now - newest
    found = f"ended {newest:%Y-%m-%d %H:%M} UTC, {age_text(age)} ago"
    if is_live and age > OLDEST:
        return Check(_LAYER, subject, "failed", f"{found}: rows are stale", SLOW, age.total_seconds())
    return Check(_LAYER, subject, "ok", found, seconds=age.total_seconds())


def _ledger(ask: Ask) -> Check:
    row = ask(
        "SELECT COUNT(*) AS minutes, COALESCE(SUM(received), 0) AS received, "
        "COALESCE(SUM(CASE WHEN balanced THEN 0 ELSE 1 END), 0) AS unbalanced "
        "FROM {place}ledger_balance WHERE receive_minute >= @since AND receive_minute < @until"
    )
    if row["unbalanced"]:
        found = f"{row['unbalanced']:,} of {row['minutes']:,} minutes do not balance: lines were lost"
        return Check(_LAYER, "ledger", "failed", found, _LOST)
    minutes = counted(row["minutes"], "minute")
    found = f"all {row['received']:,} lines and points of {minutes} are accounted for"
    return Check(_LAYER, "ledger", "ok", found)


def age_text(age: timedelta) -> str:
    """An age for people: 40 s, 12 min, 5 h, 3 days."""
    seconds = max(0, round(age.total_seconds()))
    for unit, length in (("days", 2 * 86_400), ("h", 2 * 3600), ("min", 120)):
        if seconds >= length:
            return f"{seconds // {'days': 86_400, 'h': 3600, 'min': 60}[unit]:,} {unit}"
    return f"{seconds} s"
