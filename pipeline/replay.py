"""Failed rows are sent again, with the insert ids of then, and what is taken is marked. No Beam graph here.

A file whose rows are taken is renamed; of one of which some stay, these become a file of their own. A row of
the table `failed_rows` gets the revision `replayed`, which its view shows. Where marking breaks off, rows
are sent once more at the next replay, and the views show them once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import requests
from apache_beam.io.filesystems import FileSystems
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery

from pipeline.bigquery_client import CHECK_SECONDS, BigQueryError, make_client, split_dataset
from pipeline.bigquery_insert import MOST_ROWS, RowInserter, Sendable, make_sendable
from pipeline.bigquery_rows import FAILED_ROWS, encode_row
from pipeline.failed_rows import mark_replayed, read_failed_rows, write_failed_rows
from pipeline.tables import TABLES
from transforms.elements import FailedRow

DAMAGED: Final = "damaged"

FAILED_QUERY: Final = """
SELECT failed_row_id, tenant_id, table_name, row_json, reason, detail, UNIX_MICROS(failed_at) AS failed_at
FROM `VIEW` WHERE status = 'failed' ORDER BY failed_at, failed_row_id"""


@dataclass
class ReplayCounts:
    """What a replay did: rows by table that are taken, and by (table, reason) those that stay."""

    taken: Counter[str] = field(default_factory=Counter)
    left: Counter[tuple[str, str]] = field(default_factory=Counter)
    damaged: Counter[str] = field(default_factory=Counter)  # lines by file


def read_failed_table(dataset: str) -> Iterator[list[FailedRow]]:
    """Rows of the table `failed_rows` that nobody has sent again, some at a time.

    `dataset` is one that `check_dataset` has seen. Raises BigQueryError.
    """
    client = make_client(split_dataset(dataset)[0])
    sql = FAILED_QUERY.replace("VIEW", f"{dataset}.current_{FAILED_ROWS}")
    try:
        retry = bigquery.DEFAULT_RETRY.with_timeout(6 * CHECK_SECONDS)
        found = client.query_and_wait(sql, retry=retry, job_retry=retry, page_size=MOST_ROWS)
        for page in found.pages:
            yield [FailedRow(**dict(row.items())) for row in page]
    except (GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
        raise BigQueryError(
            f"The failed rows of {dataset} cannot be read ({type(error).__name__}): check that its views are "
            "there (terraform apply), and that you may read them and run queries in the project."
        ) from error
    finally:
        client.close()


def replay_table(rows: Sequence[FailedRow], inserter: RowInserter, counts: ReplayCounts, now_us: int) -> None:
    """Send `rows` of the table `failed_rows` again, and mark those that are taken."""
    left = {row.failed_row_id for row in send_again(rows, inserter, counts)}
    marks = [
        msgspec.structs.replace(row, row_json="", status="replayed", revision=1)
        for row in rows
        if row.failed_row_id not in left
    ]
    encoded = [encode_row(FAILED_ROWS, mark) for mark in marks]
    sent = [make_sendable(row.insert_id, row.text, now_us) for row in encoded]
    for unmarked in inserter.insert(FAILED_ROWS, sent):
        counts.left[FAILED_ROWS, unmarked.reason] += 1


def replay_file(path: str, inserter: RowInserter, counts: ReplayCounts) -> None:
    """Send the rows of a file again, and rename it where any is taken. Raises FailedRowsError."""
    rows, damaged = read_failed_rows(path)
    if damaged:
        counts.damaged[path] += damaged
    left = send_again(rows, inserter, counts)
    if left and len(left) == len(rows):
        return
    if left:
        write_failed_rows(FileSystems.split(path)[0], left)
    mark_replayed(path)


def send_again(rows: Sequence[FailedRow], inserter: RowInserter, counts: ReplayCounts) -> list[FailedRow]:
    """Send `rows`; those that are not taken come back, with the reason of now."""
    left: list[FailedRow] = []
    by_table: dict[str, dict[str, tuple[FailedRow, Sendable]]] = {}
    for row in rows:
        sendable = _sendable(row)
        if sendable is None:
            left.append(msgspec.structs.replace(row, reason=DAMAGED, detail="no row of a known table"))
        else:
            by_table.setdefault(row.table_name, {})[row.failed_row_id] = row, sendable
    for table, sent in by_table.items():
        not_taken = inserter.insert(table, [sendable for _, sendable in sent.values()])
        left += [
            msgspec.structs.replace(sent[other.row.insert_id][0], reason=other.reason, detail=other.detail)
            for other in not_taken
        ]
        counts.taken[table] += len(sent) - len(not_taken)
    counts.left.update((row.table_name, row.reason) for row in left)
    return left


def _sendable(row: FailedRow) -> Sendable | None:
    try:
        content = json.loads(row.row_json)
    except (ValueError, RecursionError):
        return None
    if row.table_name not in TABLES or not isinstance(content, dict):
        return None
    return Sendable(row.failed_row_id, content, len(row.row_json))
