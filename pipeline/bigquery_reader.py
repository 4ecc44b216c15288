"""Reading the tables in BigQuery: in pages, bounded in cost and in time. No Beam here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
from google.api_core.exceptions import BadRequest, Forbidden, GoogleAPIError, NotFound, RetryError
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud import bigquery
from google.cloud.bigquery import DEFAULT_RETRY
from google.cloud.bigquery.retry import DEFAULT_JOB_RETRY
from google.cloud.bigquery.table import RowIterator

from pipeline.bigquery_client import BigQueryError, make_client, no_credentials, split_dataset
from pipeline.table_reader import GIB, MOST_GIB, NO_PARAMETERS, Parameters, Row
from pipeline.views import bigquery_sql

_DEADLINE_SECONDS: Final = 300.0
_REQUEST_SECONDS: Final = 60.0
_PAGE_ROWS: Final = 50_000
_TYPES: Final = {str: "STRING", int: "INT64", datetime: "TIMESTAMP"}


class BigQueryReader:
    """The tables of `PROJECT.DATASET`, read with the credentials of this machine. Raises BigQueryError.

    BigQuery refuses a query that would read more than `max_gib`, before it costs anything. Requests that
    fail are tried again for at most `deadline_seconds`, in which a query must end as well.
    """

    def __init__(
        self, dataset: str, *, max_gib: float = MOST_GIB, deadline_seconds: float = _DEADLINE_SECONDS
    ) -> None:
        project, _ = split_dataset(dataset)
        self.dataset = dataset
        self._max_gib = max_gib
        self._seconds = deadline_seconds
        self._request_seconds = min(_REQUEST_SECONDS, deadline_seconds)
        self._client = make_client(project)

    def read(self, sql: str, parameters: Parameters = NO_PARAMETERS) -> Iterator[Row]:
        """See `TableReader`."""
        with self._explained():
            rows = self._run(sql, parameters)
            names = [field.name for field in rows.schema]
            for row in rows:
                yield dict(zip(names, row, strict=True))

    def read_batches(self, sql: str, parameters: Parameters = NO_PARAMETERS) -> Iterator[pa.RecordBatch]:
        """The same as Arrow, a page at a time: for more rows than can be held."""
        with self._explained():
            yield from self._run(sql, parameters).to_arrow_iterable()

    def bytes_of(self, sql: str, parameters: Parameters = NO_PARAMETERS) -> int:
        """What the query would read, of columns and days; clusters may make it less. It is not run."""
        with self._explained():
            config = self._config(parameters, dry_run=True)
            job = self._client.query(
                bigquery_sql(sql, self.dataset), config, timeout=self._request_seconds, **self._patience()
            )
            return int(job.total_bytes_processed)

    def close(self) -> None:
        """Let go of its connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, sql: str, parameters: Parameters) -> RowIterator:
        return self._client.query_and_wait(
            bigquery_sql(sql, self.dataset),
            job_config=self._config(parameters),
            api_timeout=self._request_seconds,
            wait_timeout=self._seconds,
            page_size=_PAGE_ROWS,
            **self._patience(),
        )

    def _patience(self) -> dict[str, Any]:
        return {
            "retry": DEFAULT_RETRY.with_timeout(self._seconds),
            "job_retry": DEFAULT_JOB_RETRY.with_timeout(self._seconds),
        }

    def _config(self, parameters: Parameters, *, dry_run: bool = False) -> bigquery.QueryJobConfig:
        return bigquery.QueryJobConfig(
            query_parameters=[
                bigquery.ScalarQueryParameter(name, _TYPES[type(value)], value)
                for name, value in parameters.items()
            ],
            maximum_bytes_billed=round(self._max_gib * GIB),
            dry_run=dry_run,
            use_query_cache=not dry_run,
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            raise BigQueryError(self._explain(error)) from error

    def _explain(self, error: BaseException) -> str:
        """The cause and the mend; the texts of BigQuery are not passed on, they may hold values."""
        cause = error
        while isinstance(cause, RetryError) and cause.cause is not None:
            cause = cause.cause
        if "bytesBilledLimitExceeded" in _reasons(cause):
            return (
                f"{self.dataset}: the query would read more than {self._max_gib:g} GiB. Ask for less "
                "(--since, --tenant), or allow more with --max-gib."
            )
        if isinstance(cause, Forbidden):
            return (
                f"{self.dataset} may not be read: it needs roles/bigquery.dataViewer on the dataset and "
                "roles/bigquery.jobUser on its project."
            )
        if isinstance(cause, NotFound):
            return (
                f"{self.dataset}, or a table or view of it, is not there. Check the name; Terraform makes "
                "all of them, see docs/deploy.md."
            )
        if isinstance(cause, BadRequest):
            return (
                f"{self.dataset} does not take the query: its tables or views may be of another version; "
                "apply the Terraform module of this one."
            )
        if isinstance(cause, GoogleAuthError) and not isinstance(cause, TransportError):
            return str(no_credentials(cause))
        return f"BigQuery failed with {type(cause).__name__} for {self._seconds:g} s. Try again later."


def _reasons(error: BaseException) -> set[str]:
    listed = getattr(error, "errors", None) or ()
    return {str(one.get("reason")) for one in listed if isinstance(one, dict)}
