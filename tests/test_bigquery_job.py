"""The whole job with BigQuery in the place of the local store."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import fake_bigquery
import pytest
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from fake_bigquery import FakeBigQuery, only_of, typed_row
from rich.console import Console
from typer.testing import CliRunner

from aiops.cli import app
from aiops.run import run_command
from aiops.simulate.config import SimulationConfig
from aiops.simulate.generator import simulate
from pipeline import bigquery_client, main
from pipeline.bigquery_insert import InsertSettings
from pipeline.bigquery_sink import WriteToDataset
from pipeline.duckdb_store import DuckDBStore
from pipeline.settings import Settings
from pipeline.store import WriteToStore
from pipeline.tables import TABLES, table_columns

CONFIG = SimulationConfig(
    seed=7, duration_seconds=420, tenants=2, rate=30.0, faults="errors@payment+2m/3m", malformed=0.01
)


@cache
def lines() -> tuple[bytes, ...]:
    return tuple(simulate(CONFIG))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBigQuery]:
    with fake_bigquery.fake_bigquery(monkeypatch) as running:
        yield running


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Half a minute, with lines that are none."""
    path = tmp_path / "logs.ndjson"
    path.write_bytes(b"\n".join(lines()[:200]) + b"\n")
    return path


def _run(*arguments: str) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=200)
    code = run_command(list(arguments), console)
    return code, console.file.getvalue()  # type: ignore[attr-defined]


def _text(row: dict[str, Any]) -> str:
    return json.dumps(row, default=datetime.isoformat)


@pytest.mark.slow
@pytest.mark.parametrize("runner", [FnApiRunner, BundleBasedDirectRunner])
def test_bigquery_gets_the_rows_that_the_local_store_gets(
    server: FakeBigQuery, tmp_path: Path, runner: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every table the same rows with the same values, apart from the time that they were written."""
    store = _run_into_both(f"acme-prod.{runner.__name__}", tmp_path, runner, monkeypatch)
    assert not (tmp_path / "failed").exists()
    _assert_same_rows(server, store)


@pytest.mark.slow
def test_after_an_outage_and_a_replay_nothing_is_lost_and_nothing_twice(
    server: FakeBigQuery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job runs to its end without BigQuery; replayed, the rows are those of the local store."""
    quick = InsertSettings(0.5, 0.1, 0.01, 0.02, breaker_seconds=0.05)
    monkeypatch.setattr(main, "WriteToDataset", partial(WriteToDataset, settings=quick))
    monkeypatch.setattr(bigquery_client, "CHECK_SECONDS", 0.1)
    server.always = fake_bigquery.answer(503)
    store = _run_into_both("acme-prod.outage", tmp_path, FnApiRunner, monkeypatch)
    assert not any(server.rows.values())
    server.always = None
    time.sleep(0.06)
    replay = ["replay", "failed-rows", "--dataset", "acme-prod.outage", "--files", str(tmp_path / "failed")]
    for _ in range(2):
        assert CliRunner().invoke(app, replay).exit_code == 0
    _assert_same_rows(server, store)


def _run_into_both(dataset: str, tmp_path: Path, runner: type[Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """One run that writes its rows to `dataset` and to a local store; the path of the store."""
    store, logs = str(tmp_path / "both.duckdb"), tmp_path / "logs.ndjson"
    logs.write_bytes(b"\n".join(lines()) + b"\n")
    write = main._write_rows

    def write_both(rows: dict[str, beam.PCollection], settings: Settings) -> None:
        write(rows, settings)
        for name, found in rows.items():
            _ = found | f"Store {name}" >> WriteToStore(store)

    monkeypatch.setattr(main, "_write_rows", write_both)
    monkeypatch.setattr(main, "choose_runner", lambda _: runner())
    main.run(
        ["--input", str(logs), "--dataset", dataset, "--failed_rows", str(tmp_path / "failed")]
    )  # fmt: skip
    return store


def _assert_same_rows(server: FakeBigQuery, store: str) -> None:
    with DuckDBStore(store, read_only=True) as opened:
        for table in TABLES:
            columns = table_columns(table)[:-1]
            stored = opened.query(f"SELECT * EXCLUDE (written_at) FROM {table}")
            sent = [typed_row(columns, row) for row in server.rows[table]]
            assert sorted(map(_text, sent)) == sorted(map(_text, stored)), table
    written = {table for table, rows in server.rows.items() if rows}
    assert written >= {"service_windows", "log_patterns", "anomalies", "incidents", "alert_events", "ledger"}


def test_the_run_says_what_was_written_where(server: FakeBigQuery, logs: Path, tmp_path: Path) -> None:
    """Rows by table, and no DuckDB file is made."""
    folder = tmp_path / "failed"
    code, said = _run(
        "--input", str(logs), "--dataset", "acme-prod.told", "--failed_rows", str(folder)
    )  # fmt: skip
    assert code == 0, said
    total = sum(map(len, server.rows.values()))
    assert f"{total:,} in acme-prod.told" in said
    assert f"{len(server.rows['service_windows'])} service_windows" in said
    assert not list(tmp_path.glob("*.duckdb"))


def test_the_run_says_what_was_not_taken(server: FakeBigQuery, logs: Path, tmp_path: Path) -> None:
    """The exit code is 1, and the command that sends the rows again is there."""
    server.always = only_of("ledger", fake_bigquery.answer(404, "notFound"))
    server.refuse = lambda table, row: "invalid@stage" if table == "dead_letters" else ""
    folder = tmp_path / "failed"
    code, said = _run("--input", str(logs), "--dataset", "acme-prod.part", "--failed_rows", str(folder))
    assert code == 1
    letters = server.rows["failed_rows"]
    assert f"{len(letters)} rows ({len(letters)} dead_letters refused), kept whole in the table" in said
    assert "ledger not_found" in said
    assert f"aiops replay failed-rows --dataset acme-prod.part --files {folder}" in said.replace("\n", "")


def test_a_dataset_that_is_not_there_is_said_before_anything_is_read(
    server: FakeBigQuery, logs: Path, tmp_path: Path
) -> None:
    """A misspelled name is an option that is wrong, not an outage."""
    server.dataset_exists = False
    code, said = _run("--input", str(logs), "--dataset", "acme-prod.typo", "--failed_rows", str(tmp_path))
    assert code == 2
    assert "There is no dataset acme-prod.typo" in said
    assert not server.requests
