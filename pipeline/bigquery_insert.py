"""Rows into BigQuery through insertAll: bounded requests, bounded retries, a breaker; no Beam here.

Limits of insertAll, https://cloud.google.com/bigquery/quotas#streaming_inserts: a request has at most
10 MB and 50,000 rows, of which 500 are recommended; an insert id at most 128 characters. Copies of an
insert id are dropped for about a minute, as far as BigQuery can; the views show what remains once.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import requests
from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, RetryError, Unauthorized
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud import bigquery

from pipeline.bigquery_client import BigQueryError, make_client, split_dataset
from pipeline.bigquery_rows import JsonRow, written_row
from pipeline.breaker import Breaker

MOST_ROWS: Final = 500
MOST_BYTES: Final = 9_000_000  # of 10 MB
ENVELOPE_BYTES: Final = 150
"""What a row takes on its way beside its columns: its insert id, the time it is written, separators."""

REFUSED: Final = "refused"
"""The reason of rows that BigQuery looked at and refused one by one."""

_ROUNDS: Final = 4
_SAID_AGAIN: Final = frozenset({"stopped", "timeout", "backendError", "internalError", "rateLimitExceeded"})
_SLOW_DOWN: Final = frozenset({"rateLimitExceeded", "quotaExceeded", "backendError", "internalError"})
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.\[\]]{0,199}")


@dataclass(frozen=True)
class InsertSettings:
    """How patient the sink is. Seconds are wall clock.

    `total_seconds` bounds one request with all its retries and pauses, to which the last attempt may
    add `attempt_seconds`. After such a request nothing is asked for `breaker_seconds`.
    """

    attempt_seconds: float = 10.0
    total_seconds: float = 30.0
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 8.0
    breaker_seconds: float = 60.0


class Sendable(NamedTuple):
    """A row as it is sent. `size_bytes` is its length as JSON, without the envelope."""

    insert_id: str
    row: JsonRow
    size_bytes: int


def make_sendable(insert_id: str, text: str, written_at_us: int) -> Sendable:
    """The row of an EncodedRow, with the time that it is written."""
    return Sendable(insert_id, written_row(text, written_at_us), len(text))


class NotTaken(NamedTuple):
    """A row that is not in its table, and why: in a few fixed words, and without any value of it."""

    row: Sendable
    reason: str
    detail: str


class RowInserter:
    """Sends rows to the tables of one dataset (PROJECT.DATASET). One thread at a time uses it.

    All of a process that write one dataset share its breaker: one of them learns of an outage, and the
    others do not wait for it.
    """

    def __init__(
        self,
        dataset: str,
        settings: InsertSettings | None = None,
        connect: Callable[[str], bigquery.Client] = make_client,
    ) -> None:
        self._settings = settings or InsertSettings()
        self._project, self._dataset = split_dataset(dataset)
        self._connect = connect
        self._client: bigquery.Client | None = None  # made at the first rows: credentials may be missing
        self._breaker = _shared_breaker(dataset, self._settings.breaker_seconds)
        self._retry = Retry(
            predicate=is_transient,
            initial=self._settings.first_pause_seconds,
            maximum=self._settings.longest_pause_seconds,
            timeout=self._settings.total_seconds,
        )  # its pauses are random up to a growing bound, so that workers do not come back all at once

    def insert(self, table: str, rows: Sequence[Sendable]) -> list[NotTaken]:
        """Send `rows`; what was not taken comes back. Never raises for what a server does."""
        too_large = [row for row in rows if row.size_bytes + ENVELOPE_BYTES > MOST_BYTES]
        left = [NotTaken(row, "too_large", f"{row.size_bytes:,} bytes") for row in too_large]
        for part in bounded_parts([row for row in rows if row.size_bytes + ENVELOPE_BYTES <= MOST_BYTES]):
            left += self._insert_part(table, part)
        return left

    def close(self) -> None:
        """Close the connections to BigQuery."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _insert_part(self, table: str, rows: Sequence[Sendable]) -> list[NotTaken]:
        left: list[NotTaken] = []
        for _ in range(_ROUNDS):
            answer = self._request(table, rows)
            if isinstance(answer, _Failure):
                return left + [NotTaken(row, *answer) for row in rows]
            again = []
            for index, errors in answer.items():
                if all(reason in _SAID_AGAIN for reason, _ in errors):
                    again.append(rows[index])
                else:
                    left.append(NotTaken(rows[index], REFUSED, _in_words(errors)))
            if not again:
                return left
            rows = again
        return left + [NotTaken(row, "unavailable", "stopped again and again") for row in rows]

    def _request(self, table: str, rows: Sequence[Sendable]) -> _Answer | _Failure:
        if not self._breaker.allows():
            return _Failure("unavailable", "BigQuery failed within the last minute")
        is_outage = True
        try:
            answer = self._ask(table, rows)
            is_outage = isinstance(answer, _Failure) and answer.reason in _OUTAGES
        finally:
            self._breaker.record(is_failure=is_outage)
        return answer

    def _ask(self, table: str, rows: Sequence[Sendable]) -> _Answer | _Failure:
        try:
            if self._client is None:
                self._client = self._connect(self._project)
            place = bigquery.DatasetReference(self._project, self._dataset).table(table)
            found = self._client.insert_rows_json(
                place,
                [row.row for row in rows],
                row_ids=[row.insert_id for row in rows],
                retry=self._retry,
                timeout=self._settings.attempt_seconds,
            )
            answer = {error["index"]: _reasons(error["errors"]) for error in found}
        except RetryError as error:
            return _failure(error.cause)
        except _EXPECTED as error:
            return _failure(error)
        if answer.keys() - set(range(len(rows))):
            return _Failure("unavailable", "an error of a row that was not sent")
        return answer


class _Failure(NamedTuple):
    """Why nothing of a request was taken, or nobody knows whether it was."""

    reason: str
    detail: str


_Answer = dict[int, list[tuple[str, str]]]
"""Index of a row that was not taken → (reason, location) of each of its errors."""

_OUTAGES: Final = frozenset({"unavailable", "quota", "no_credentials"})
_BAD_ANSWER: Final = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
)  # a 200 that is not what it should be
_EXPECTED: Final = (
    *(GoogleAPICallError, GoogleAuthError, BigQueryError, requests.RequestException, OSError),
    *_BAD_ANSWER,
)

_breakers: dict[str, Breaker] = {}
_breakers_lock: Final = threading.Lock()


def _shared_breaker(dataset: str, seconds: float) -> Breaker:
    with _breakers_lock:
        return _breakers.setdefault(dataset, Breaker(1, seconds, time.monotonic))


def is_transient(error: BaseException) -> bool:
    """Whether the same request may be taken a little later."""
    if isinstance(error, GoogleAPICallError):
        code = int(error.code or 0)
        return code in {408, 429} or code >= 500 or (code == 403 and _reason_of(error) in _SLOW_DOWN)
    if isinstance(error, requests.exceptions.SSLError):
        return False
    return isinstance(
        error,
        requests.ConnectionError
        | requests.Timeout
        | requests.exceptions.ChunkedEncodingError
        | requests.exceptions.ContentDecodingError
        | requests.exceptions.JSONDecodeError
        | ConnectionError
        | TransportError,
    )


def bounded_parts(rows: Sequence[Sendable]) -> Iterator[list[Sendable]]:
    """`rows` in their order, in parts that one request can hold; each row alone must fit."""
    part: list[Sendable] = []
    size = 0
    for row in rows:
        row_bytes = row.size_bytes + ENVELOPE_BYTES
        if part and (len(part) == MOST_ROWS or size + row_bytes > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += row_bytes
    if part:
        yield part


def _failure(error: BaseException | None) -> _Failure:
    name = type(error).__name__
    if isinstance(error, NotFound):
        return _Failure("not_found", "the table or its dataset is not there")
    if isinstance(error, Forbidden | Unauthorized) and _reason_of(error) not in _SLOW_DOWN:
        return _Failure("forbidden", f"{name} {_reason_of(error)}".rstrip())
    if isinstance(error, GoogleAPICallError) and int(error.code or 0) in {403, 429}:
        return _Failure("quota", f"{name} {_reason_of(error)}".rstrip())
    if isinstance(error, GoogleAPICallError) and not is_transient(error):
        return _Failure("request_refused", f"{name} {_reason_of(error)}".rstrip())
    if isinstance(error, GoogleAuthError | BigQueryError) and not isinstance(error, TransportError):
        return _Failure("no_credentials", name)
    return _Failure("unavailable", name)


def _reason_of(error: GoogleAPICallError) -> str:
    first = next(iter(error.errors or ()), None)
    return _word(first.get("reason")) if isinstance(first, dict) else ""


def _reasons(errors: Any) -> list[tuple[str, str]]:
    return [(_word(error.get("reason")), _word(error.get("location"))) for error in errors]


def _in_words(errors: Sequence[tuple[str, str]]) -> str:
    # Without the message: it quotes the value.
    return "; ".join(f"{reason} at {place}" if place else reason for reason, place in errors[:5])


def _word(value: object) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""
