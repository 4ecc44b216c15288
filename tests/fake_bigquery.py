"""A loopback server that speaks BigQuery's insertAll as strictly as BigQuery does, or as badly as told.

`rows` are what a table holds; copies of an insert id are dropped. Rows are held to the columns of
`pipeline/tables.py`, requests to the limits of https://cloud.google.com/bigquery/quotas#streaming_inserts.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from loopback_servers import LoopbackServer

from pipeline.bigquery_client import EMULATOR_VARIABLE
from pipeline.tables import TABLES, Column, table_columns

Json = dict[str, Any]
Behavior = Callable[["Handler", str, list[Json]], bool]
"""(handler, table, rows of the request) → whether the request was answered; False answers as usual."""

MOST_REQUEST_BYTES = 10_000_000
MOST_REQUEST_ROWS = 50_000
PROJECT = "acme-prod"


class Handler(BaseHTTPRequestHandler):
    """One request; `server.behaviors` are used up in turn, `server.always` stays."""

    server: FakeBigQuery
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(size))
        parts = urlsplit(self.path).path.strip("/").split("/")
        try:
            if parts[-1] == "insertAll":
                self._insert_all(parts[-2], body["rows"], size)
            elif parts[-1] == "queries":
                self.send_json(200, self.server.answer_query(body["query"]))
            else:
                self.fail(404, "notFound")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def do_GET(self) -> None:
        if self.server.always is not None and self.server.always(self, "", []):
            return
        if self.server.dataset_exists:
            self.send_json(200, {"datasetReference": {"projectId": PROJECT, "datasetId": "x"}})
        else:
            self.fail(404, "notFound")

    def _insert_all(self, table: str, rows: list[Json], size: int) -> None:
        server = self.server
        with server.lock:
            server.requests.append((table, len(rows), size))
            behavior = server.behaviors.pop(0) if server.behaviors else server.always
        if behavior is not None and behavior(self, table, rows):
            return
        if size > MOST_REQUEST_BYTES:
            self.fail(413, "uploadTooLarge")
        elif len(rows) > MOST_REQUEST_ROWS or any(len(row["insertId"]) > 128 for row in rows):
            self.fail(400, "invalid")
        elif table not in server.rows:
            self.fail(404, "notFound")
        else:
            self.send_json(200, server.insert(table, rows))

    def fail(self, status: int, reason: str) -> None:
        """An error as BigQuery words them."""
        said = {"message": f"not today: {reason}", "errors": [{"reason": reason, "domain": "global"}]}
        self.send_json(status, {"error": said | {"code": status}})

    def send_json(self, status: int, content: Any) -> None:
        self.send_text(status, json.dumps(content).encode())

    def send_text(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class FakeBigQuery(LoopbackServer):
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.dataset_exists = True
        self.rows: dict[str, list[Json]] = {table: [] for table in TABLES}
        self.requests: list[tuple[str, int, int]] = []  # (table, rows, bytes) of every insertAll
        self.behaviors: list[Behavior] = []
        self.always: Behavior | None = None
        self.refuse: Callable[[str, Json], str] = lambda table, row: ""  # the reason to refuse a row for
        self._seen: set[tuple[str, str]] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def insert(self, table: str, rows: list[Json]) -> Json:
        """All rows or, if one is invalid, none: the others are `stopped`, as without skipInvalidRows."""
        columns = table_columns(table)
        problems = {
            index: problem
            for index, row in enumerate(rows)
            if (problem := self.refuse(table, row["json"]) or _problem(columns, row["json"]))
        }
        if problems:
            return {
                "insertErrors": [
                    {"index": index, "errors": [_row_error(problems.get(index))]}
                    for index in range(len(rows))
                ]
            }
        with self.lock:
            for row in rows:
                if (table, row["insertId"]) not in self._seen:
                    self._seen.add((table, row["insertId"]))
                    self.rows[table].append(row["json"])
        return {}

    def forget_insert_ids(self) -> None:
        """As BigQuery does after a minute: from now on copies are stored."""
        self._seen.clear()

    def answer_query(self, sql: str) -> Json:
        """Failed rows that are not replayed yet; any other query finds nothing."""
        if "current_failed_rows" not in sql:
            return _page([], [])
        last: dict[str, Json] = {}
        for row in sorted(self.rows["failed_rows"], key=lambda row: int(row["revision"])):
            last[row["failed_row_id"]] = row
        names = ["failed_row_id", "tenant_id", "table_name", "row_json", "reason", "detail", "failed_at"]
        fields = [{"name": name, "type": "STRING", "mode": "NULLABLE"} for name in names[:-1]]
        fields.append({"name": "failed_at", "type": "INTEGER", "mode": "NULLABLE"})
        found = [row for row in last.values() if row["status"] == "failed"]
        for number, row in enumerate(found):
            found[number] = row | {"failed_at": str(1_000_000 + number)}
        return _page(fields, [{"f": [{"v": row.get(name)} for name in names]} for row in found])

    def ids(self, table: str, column: str) -> list[str]:
        """Values of a column, sorted, copies and all."""
        return sorted(row[column] for row in self.rows[table])


def _page(fields: list[Json], rows: list[Json]) -> Json:
    return {
        "jobComplete": True,
        "jobReference": {"projectId": PROJECT, "jobId": "j", "location": "EU"},
        "schema": {"fields": fields},
        "totalRows": str(len(rows)),
        "rows": rows,
    }


def _row_error(problem: str | None) -> Json:
    if problem is None:
        return {"reason": "stopped", "location": "", "debugInfo": "", "message": ""}
    reason, _, location = problem.partition("@")
    return {"reason": reason, "location": location, "message": "SECRET-VALUE cannot be read"}


def _problem(columns: tuple[Column, ...], row: Json) -> str:
    names = {column.name for column in columns}
    for name in row:
        if name not in names:
            return f"invalid@{name}"
    for column in columns:
        value = row.get(column.name)
        if column.mode == "REPEATED":
            if any(item is None or not _fits(column, item) for item in value or ()):
                return f"invalid@{column.name}"
        elif value is None:
            if column.mode == "REQUIRED":
                return f"invalid@{column.name}"
        elif not _fits(column, value):
            return f"invalid@{column.name}"
    return ""


def _fits(column: Column, value: Any) -> bool:
    try:
        match column.kind:
            case "RECORD":
                return isinstance(value, dict) and not _problem(column.fields, value)
            case "INTEGER":
                return isinstance(value, int | str) and -(1 << 63) <= int(value) < 1 << 63
            case "FLOAT":
                is_number = isinstance(value, int | float) and math.isfinite(value)
                return is_number or value in {"nan", "inf", "-inf"}
            case "BOOLEAN":
                return isinstance(value, bool)
            case "TIMESTAMP":
                return datetime.fromisoformat(value).tzinfo is not None
            case _:
                value.encode()
                return True
    except (ValueError, AttributeError, TypeError):
        return False


def typed_row(columns: tuple[Column, ...], row: Json) -> Json:
    """A row as a query of it would give it: numbers, datetimes, None for what is NULL."""
    return {column.name: _typed(column, row.get(column.name)) for column in columns}


def _typed(column: Column, value: Any) -> Any:
    if column.mode == "REPEATED":
        single = Column(column.name, column.kind, "NULLABLE", "", column.fields)
        return [_typed(single, item) for item in value or ()]
    if value is None:
        return None
    if column.kind == "RECORD":
        return typed_row(column.fields, value)
    readers: dict[str, Callable[[Any], Any]] = {
        "INTEGER": int, "FLOAT": float, "TIMESTAMP": datetime.fromisoformat,
    }  # fmt: skip
    return readers.get(column.kind, lambda same: same)(value)


# ------------------------------------------------------------------------------------- behaviors


def answer(status: int, reason: str = "backendError") -> Behavior:
    """Answer with an error."""

    def behave(handler: Handler, table: str, rows: list[Json]) -> bool:
        handler.fail(status, reason)
        return True

    return behave


def only_of(wanted: str, behavior: Behavior) -> Behavior:
    """`behavior` for one table, and nothing else for the others."""
    return lambda handler, table, rows: table == wanted and behavior(handler, table, rows)


def hang(handler: Handler, table: str, rows: list[Json]) -> bool:
    """Answer nothing until the server is closed."""
    handler.server.released.wait(60)
    handler.close_connection = True
    return True


def slow(seconds: float) -> Behavior:
    """Answer as usual, later."""

    def behave(handler: Handler, table: str, rows: list[Json]) -> bool:
        time.sleep(seconds)
        return False

    return behave


def break_off(handler: Handler, table: str, rows: list[Json]) -> bool:
    """Reset the connection before anything is stored."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
    return True


def store_and_break_off(handler: Handler, table: str, rows: list[Json]) -> bool:
    """Store the rows, and reset the connection before the answer."""
    handler.server.insert(table, rows)
    return break_off(handler, table, rows)


def babble(handler: Handler, table: str, rows: list[Json]) -> bool:
    """Store the rows, and answer 200 with what is no JSON."""
    handler.server.insert(table, rows)
    handler.send_text(200, b"<html>hello")
    return True


def answer_of_another(handler: Handler, table: str, rows: list[Json]) -> bool:
    """Answer 200 with errors of rows that nobody sent."""
    handler.send_json(200, {"insertErrors": [{"index": 10_000, "errors": [{"reason": "invalid"}]}]})
    return True


@contextmanager
def fake_bigquery(monkeypatch: Any) -> Iterator[FakeBigQuery]:
    """A server that clients of this process find by the variable of emulators."""
    server = FakeBigQuery()
    monkeypatch.setenv(EMULATOR_VARIABLE, server.address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
