"""Whole runs of the job over files: the ledger, determinism, and what a broken run leaves behind."""

from __future__ import annotations

import json
import random
import re
from functools import cache
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from aiops.query import anomalies_to_match
from aiops.simulate.config import SimulationConfig
from aiops.simulate.generator import simulate, truth
from aiops.simulate.matching import match_faults
from pipeline import graph
from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run, run_job
from pipeline.options import parse_options
from pipeline.tables import TABLES, WRITTEN_AT
from transforms.summarize.transform import SummarizeWindows

EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}")
RECEIVED_AT = "2026-01-12T15:00:00Z"


def shop(malformed: float = 0.0) -> SimulationConfig:
    """Ten minutes of two tenants, one with two faults."""
    return SimulationConfig(
        seed=7,
        duration_seconds=600,
        tenants=2,
        rate=60.0,
        faults="errors@payment+2m/3m,latency@cart+5m/3m",
        copies=0.02,
        late=0.01,
        malformed=malformed,
    )


@cache
def shop_lines(malformed: float = 0.0) -> tuple[bytes, ...]:
    return tuple(simulate(shop(malformed)))


def write_lines(path: Path, lines: list[bytes] | tuple[bytes, ...]) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def run_over(store: Path, *inputs: Path, arguments: tuple[str, ...] = ()) -> Path:
    names = [str(path) for path in inputs]
    run(["--input", *names, "--store", str(store), "--received_at", RECEIVED_AT, *arguments])
    return store


def tables_of(store: Path, source: str = "{table}") -> dict[str, list[str]]:
    """All rows of all tables but the time of writing, sorted."""
    with DuckDBStore(str(store), read_only=True) as opened:
        return {
            table: sorted(
                json.dumps(
                    {name: value for name, value in row.items() if name != WRITTEN_AT.name}, default=str
                )
                for row in opened.query(f"SELECT * FROM {source.format(table=table)}")
            )
            for table in TABLES
        }


def ledger_of(store: Path) -> dict[str, Any]:
    with DuckDBStore(str(store), read_only=True) as opened:
        return opened.ledger_totals()


@pytest.mark.parametrize("malformed", [0.0, 0.05, 0.5, 1.0])
def test_the_ledger_balances_with_any_share_of_malformed_lines(tmp_path: Path, malformed: float) -> None:
    """Every line is analyzed, late, duplicate, filtered or a dead letter, whatever comes in."""
    lines = shop_lines(malformed)
    store = run_over(tmp_path / "s.duckdb", write_lines(tmp_path / "logs.ndjson", lines))
    totals = ledger_of(store)
    assert totals["balanced"]
    assert totals["received"] == len([line for line in lines if line.strip()])
    assert (totals["dead_lettered"] > 0) == (malformed > 0)
    assert totals["late"] > 0 or malformed == 1.0


def test_the_ledger_balances_with_filters_and_exact_deduplication(tmp_path: Path) -> None:
    """Filtered lines and dropped copies are accounted for as such."""
    path = write_lines(tmp_path / "logs.ndjson", shop_lines())
    arguments = ("--deduplicate", "exact", "--min_severity", "WARNING")
    totals = ledger_of(run_over(tmp_path / "s.duckdb", path, arguments=arguments))
    assert totals["balanced"]
    assert totals["duplicate"] > 0
    assert totals["filtered"] > 0


def test_a_partial_that_is_lost_unbalances_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropping one window summary anywhere before the store shows as a difference."""

    class LosesOne(beam.PTransform):
        def __init__(self, settings: Any) -> None:
            self._real = SummarizeWindows(settings)

        def expand(self, batches: beam.PCollection) -> beam.PCollection:
            return batches | self._real | beam.Filter(is_not_first_of_payment)

    start_us = SimulationConfig().start_second * 1_000_000

    def is_not_first_of_payment(pair: Any) -> bool:
        (tenant_id, service), summary = pair
        return (tenant_id, service, summary.window_start_us) != ("acme-shop", "payment", start_us)

    monkeypatch.setattr(graph, "SummarizeWindows", LosesOne)
    store = run_over(tmp_path / "s.duckdb", write_lines(tmp_path / "logs.ndjson", shop_lines()))
    totals = ledger_of(store)
    assert not totals["balanced"]
    assert totals["difference"] > 0


@pytest.mark.parametrize("mode", ["off", "exact"])
def test_the_tables_are_the_same_however_the_input_was_ordered_and_split(tmp_path: Path, mode: str) -> None:
    """Shuffled lines in several files give the very rows that one sorted file gives."""
    lines = list(shop_lines(0.05))
    arguments = ("--deduplicate", mode)
    one = run_over(tmp_path / "one.duckdb", write_lines(tmp_path / "one.ndjson", lines), arguments=arguments)
    random.Random(1).shuffle(lines)
    third = len(lines) // 3
    parts = [
        write_lines(tmp_path / f"part{n}.ndjson", lines[n * third : (n + 1) * third if n < 2 else None])
        for n in range(3)
    ]
    many = run_over(tmp_path / "many.duckdb", *parts, arguments=arguments)
    assert tables_of(many) == tables_of(one)


@pytest.mark.slow
def test_what_is_learned_is_the_same_however_the_input_was_ordered_and_split(tmp_path: Path) -> None:
    """Levels, silence and new patterns, and what was expected: the same to the last digit."""
    config = SimulationConfig(
        seed=3,
        duration_seconds=50 * 60,
        tenants=1,
        rate=60.0,
        faults="traffic_surge@catalog+30m/5m,silence@recommendation+40m/6m,new_pattern@checkout+45m/4m",
    )
    lines = list(simulate(config))
    expected = tables_of(run_over(tmp_path / "one.duckdb", write_lines(tmp_path / "logs.ndjson", lines)))
    detectors = {json.loads(row)["detector"] for row in expected["anomalies"]}
    assert {"level", "silence", "new_pattern"} <= detectors
    random.Random(1).shuffle(lines)
    parts = [write_lines(tmp_path / f"part{part}.ndjson", lines[part::5]) for part in range(5)]
    found = tables_of(run_over(tmp_path / "many.duckdb", *parts))
    assert found["anomalies"] == expected["anomalies"]
    assert found["service_windows"] == expected["service_windows"]


def test_repeated_bundles_change_nothing(tmp_path: Path) -> None:
    """With every bundle run twice, the views hold the same."""
    path = write_lines(tmp_path / "logs.ndjson", shop_lines())
    once = run_over(tmp_path / "once.duckdb", path)
    settings, _ = parse_options(
        ["--input", str(path), "--store", str(tmp_path / "twice.duckdb"), "--received_at", RECEIVED_AT]
    )
    run_job(settings, PipelineOptions(direct_runner_bundle_repeat=1))
    views = "current_{table}"
    assert tables_of(tmp_path / "twice.duckdb", views) == tables_of(once, views)


def test_a_run_that_is_repeated_ends_in_the_same_views(tmp_path: Path) -> None:
    """Rows are appended again, and the views show each once."""
    path = write_lines(tmp_path / "logs.ndjson", shop_lines())
    store = run_over(tmp_path / "s.duckdb", path)
    before = tables_of(store, "current_{table}")
    run_over(store, path)
    assert tables_of(store, "current_{table}") == before
    assert ledger_of(store)["balanced"]


def test_the_job_finds_the_faults_that_were_injected(tmp_path: Path) -> None:
    """Errors and latency are found in the service and time where they were put."""
    store = run_over(tmp_path / "s.duckdb", write_lines(tmp_path / "logs.ndjson", shop_lines()))
    with DuckDBStore(str(store), read_only=True) as opened:
        rows = anomalies_to_match(opened)
    matched = match_faults(truth(shop()), rows)
    assert [result.fault.type for result in matched.results if not result.found] == []
    assert matched.false_anomalies == []


def test_nothing_secret_is_stored(tmp_path: Path) -> None:
    """No e-mail address and no client address of the input stands in any table."""
    lines = list(shop_lines(0.2))
    store = run_over(tmp_path / "s.duckdb", write_lines(tmp_path / "logs.ndjson", lines))
    stored = "\n".join(row for rows in tables_of(store).values() for row in rows)
    entries = [json.loads(line) for line in shop_lines()]
    addresses = {
        entry["httpRequest"]["remoteIp"] for entry in entries if "remoteIp" in entry.get("httpRequest", {})
    }
    assert addresses
    assert not [address for address in addresses if address in stored]
    assert EMAIL.search(b"".join(lines).decode("utf-8", "replace"))
    assert EMAIL.findall(stored) == []
