"""A server that answers BigQuery's queries from a local store and takes rows into it, or fails as told."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
from loopback_servers import LoopbackServer

from pipeline.duckdb_store import DuckDBStore
from pipeline.tables import Column, arrow_schema, table_columns
from pipeline.views import PLACE, duckdb_sql

DATASET = "aiops-test.aiops"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = {pa.string(): "STRING", pa.int64(): "INTEGER", pa.float64(): "FLOAT", pa.bool_(): "BOOLEAN"}


class Fault(NamedTuple):
    """How the next request fails: after `seconds`, with `status`; 0 breaks the connection off."""

    status: int
    reason: str = "backendError"
    seconds: float = 0.0


class QueryServer:
    """jobs.query, jobs.insert of dry runs, jobs.get, getQueryResults and insertAll on the store at `path`.

    `page_rows` at most are in an answer, `bytes_read` is what each query would read.
    """

    def __init__(self, path: str) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []  # path, body
        self.faults: list[Fault] = []
        self.page_rows = 1_000_000
        self.bytes_read = 1 << 20
        self._store = DuckDBStore(path)
        self._results: list[tuple[list[Any], list[Any]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self._answer(json.loads(body))

            def do_GET(self) -> None:
                self._answer({})

            def _answer(self, body: dict[str, Any]) -> None:
                url = urlsplit(self.path)
                outer.requests.append((url.path, body))
                fault = outer.faults.pop(0) if outer.faults else None
                if fault is not None:
                    time.sleep(fault.seconds)
                    if fault.status == 0:
                        self.close_connection = True
                        return
                    status, found = fault.status, _error(fault.status, fault.reason)
                else:
                    status, found = outer.answer(url.path, parse_qs(url.query), body)
                text = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Quiet."""

        self._server = LoopbackServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def queries(self) -> list[dict[str, Any]]:
        """The bodies of what was asked to be run."""
        return [body for path, body in self.requests if path.endswith("/queries") and body]

    def answer(
        self, path: str, options: Mapping[str, list[str]], body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        if path.endswith("/queries"):
            if int(body.get("maximumBytesBilled", 1 << 62)) < self.bytes_read:
                return 400, _error(400, "bytesBilledLimitExceeded")
            sql, values = _as_duckdb(body)
            result = self._store.cursor().sql(sql, params=values).to_arrow_table()
            rows = [{"f": [_cell(value) for value in row.values()]} for row in result.to_pylist()]
            self._results.append(([_field(field) for field in result.schema], rows))
            return 200, self._page(len(self._results) - 1, 0)
        if path.endswith("/jobs"):
            return 200, self._job("dry", dry=True)
        if path.endswith("/insertAll"):
            table = path.split("/")[-2]
            rows = [_record(row["json"], table_columns(table)) for row in body["rows"]]
            cursor = self._store.cursor().register("rows", pa.Table.from_pylist(rows, arrow_schema(table)))
            cursor.execute(f"INSERT INTO {table} BY NAME FROM rows")
            return 200, {}
        if path.endswith("/datasets/aiops"):
            return 200, {"datasetReference": {"projectId": "aiops-test", "datasetId": "aiops"}}
        job = path.rpartition("/")[2]
        if "/jobs/" in path:
            return 200, self._job(job)
        return 200, self._page(int(job), int(options.get("pageToken", ["0"])[0]))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._store.close()

    def _page(self, job: int, start: int) -> dict[str, Any]:
        fields, rows = self._results[job]
        end = start + self.page_rows
        more = {"pageToken": str(end)} if end < len(rows) else {}
        return {
            "jobReference": {"projectId": "aiops-test", "jobId": str(job), "location": "EU"},
            "jobComplete": True,
            "schema": {"fields": fields},
            "totalRows": str(len(rows)),
            "rows": rows[start:end],
            **more,
        }

    def _job(self, job: str, *, dry: bool = False) -> dict[str, Any]:
        table = {"projectId": "aiops-test", "datasetId": "_hidden", "tableId": f"result{job}"}
        return {
            "jobReference": {"projectId": "aiops-test", "jobId": job, "location": "EU"},
            "configuration": {"jobType": "QUERY", "dryRun": dry, "query": {"destinationTable": table}},
            "statistics": {"query": {"totalBytesProcessed": str(self.bytes_read)}},
            "status": {"state": "DONE"},
        }


@contextmanager
def query_server(path: str) -> Iterator[QueryServer]:
    server = QueryServer(path)
    try:
        yield server
    finally:
        server.close()


def _error(status: int, reason: str) -> dict[str, Any]:
    return {
        "error": {"code": status, "message": "hunter2", "errors": [{"reason": reason, "message": "hunter2"}]}
    }


def _as_duckdb(body: dict[str, Any]) -> tuple[str, dict[str, object]]:
    takes = {"STRING": str, "INT64": int, "TIMESTAMP": datetime.fromisoformat}
    values = {
        parameter["name"]: takes[parameter["parameterType"]["type"]](parameter["parameterValue"]["value"])
        for parameter in body.get("queryParameters", ())
    }
    sql: str = body["query"]
    used = {name: values[name] for name in re.findall(r"@(\w+)", sql)}
    return duckdb_sql(sql.replace(f"`{DATASET}`.", PLACE)), used


def _field(field: pa.Field) -> dict[str, Any]:
    kind, mode = field.type, "NULLABLE"
    if pa.types.is_list(kind):
        kind, mode = kind.value_type, "REPEATED"
    if pa.types.is_struct(kind):
        return {"name": field.name, "type": "RECORD", "mode": mode, "fields": [_field(one) for one in kind]}
    return {"name": field.name, "type": _KINDS.get(kind, "TIMESTAMP"), "mode": mode}


def _record(row: Mapping[str, Any], columns: tuple[Column, ...]) -> dict[str, Any]:
    return {column.name: _value(row.get(column.name), column) for column in columns}


def _value(value: Any, column: Column) -> Any:
    if isinstance(value, list):
        return [_value(one, column) for one in value]
    if value is None:
        return None
    if column.fields:
        return _record(value, column.fields)
    if column.kind == "TIMESTAMP":
        return (datetime.fromisoformat(value) - EPOCH) // timedelta(microseconds=1)
    return int(value) if column.kind == "INTEGER" else value


def _cell(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"v": [_cell(one) for one in value]}
    if isinstance(value, dict):
        return {"v": {"f": [_cell(one) for one in value.values()]}}
    if isinstance(value, bool):
        return {"v": str(value).lower()}
    if isinstance(value, datetime):
        return {"v": str(round(value.timestamp() * 1_000_000))}
    return {"v": None if value is None else str(value)}
