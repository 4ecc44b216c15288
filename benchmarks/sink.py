"""Rows to BigQuery: our sink, Beam's own WriteToBigQuery, and the local store, over the same rows.

    python benchmarks/sink.py
    python benchmarks/sink.py --rows 20000 --rounds 3

Both sinks of BigQuery send to a server on this machine that takes every row at once and answers at once, in
a process of its own; so what is compared is the work of the sink. Each run is a process of its own, too.
Prints rows a second and the processor time a row, both less those of the same pipeline without a sink.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from google.auth.credentials import AnonymousCredentials

from pipeline.bigquery_client import EMULATOR_VARIABLE
from pipeline.bigquery_rows import encode_row, written_row
from pipeline.bigquery_sink import WriteToDataset
from pipeline.rows import service_window_row
from pipeline.store import WriteToStore
from transforms.coders import register_coders
from transforms.elements import MICROSECONDS, ServiceWindow, WindowSummary

DATASET = "acme-prod.aiops"
TABLE = "service_windows"
BUNDLES = 40
BEAMS = "Beam's WriteToBigQuery"


class _Taker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps({"schema": {"fields": []}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


def serve(ready: Any) -> None:
    """Take rows for ever; the port goes to `ready`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    ready.put(server.server_port)
    server.serve_forever()


def window_row(number: int) -> ServiceWindow:
    """A window of a busy service; no two are the same."""
    tenant_id, service = f"tenant-{number % 7}", f"service-{number % 97}"
    start_us = number * 60 * MICROSECONDS
    summary = WindowSummary(tenant_id, service, start_us, 60, lines=40 + number % 50)
    return service_window_row(summary)


def make_bundle(bundle: int, rows: int) -> list[tuple[str, ServiceWindow]]:
    return [(TABLE, window_row(bundle * rows + number)) for number in range(rows)]


def write_nowhere(rows: beam.PCollection, _: Path) -> None:
    _ = rows | "Ignore" >> beam.Filter(lambda _: False)


def write_ours(rows: beam.PCollection, folder: Path) -> None:
    _ = {"windows": rows} | WriteToDataset(DATASET, str(folder / "failed"))


def write_beams(rows: beam.PCollection, _: Path) -> None:
    encoded = rows | "ToJson" >> beam.Map(lambda row: written_row(encode_row(*row).text, 0))
    _ = encoded | beam.io.WriteToBigQuery(
        TABLE,
        dataset="aiops",
        project="acme-prod",
        method="STREAMING_INSERTS",
        create_disposition="CREATE_NEVER",
        insert_retry_strategy="RETRY_NEVER",
    )


def write_store(rows: beam.PCollection, folder: Path) -> None:
    _ = rows | WriteToStore(str(folder / "rows.duckdb"))


SINKS: dict[str, Callable[[beam.PCollection, Path], None]] = {
    "nothing": write_nowhere,
    "WriteToDataset": write_ours,
    BEAMS: write_beams,
    "local store": write_store,
}


def run(sink: str, rows: int, port: int, results: Any) -> None:
    """One pipeline; (seconds, processor seconds) go to `results`."""
    os.environ[EMULATOR_VARIABLE] = f"http://127.0.0.1:{port}"
    register_coders()
    anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]
    credentials = mock.patch("google.auth.default", return_value=(anonymous, "acme-prod"))
    with tempfile.TemporaryDirectory() as folder, credentials:
        started, used = time.perf_counter(), _processor_seconds()
        with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
            made = (
                pipeline
                | beam.Create(range(BUNDLES))
                | beam.Reshuffle()
                | "Rows" >> beam.FlatMap(make_bundle, rows // BUNDLES)
            )
            SINKS[sink](made, Path(folder))
        results.put((time.perf_counter() - started, _processor_seconds() - used))


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    server = spawn.Process(target=serve, args=(answers,), daemon=True)
    server.start()
    port = answers.get()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in SINKS}
    for _ in range(given.rounds):
        for name in SINKS:
            process = spawn.Process(target=run, args=(name, given.rows, port, answers))
            process.start()
            taken[name].append(answers.get())
            process.join()
    server.terminate()
    medians = {
        name: [statistics.median(part) for part in zip(*runs, strict=True)] for name, runs in taken.items()
    }
    idle_seconds, idle_used = medians.pop("nothing")
    cost = {name: (used - idle_used) / given.rows * 1e6 for name, (_, used) in medians.items()}
    for name, (seconds, _) in medians.items():
        print(f"{name:24} {given.rows / (seconds - idle_seconds):10,.0f} rows/s {cost[name]:8.0f} µs a row")
    print(f"Beam's to ours: {cost[BEAMS] / cost['WriteToDataset']:.2f}")


if __name__ == "__main__":
    main()
