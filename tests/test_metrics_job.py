"""Whole runs of the job over metrics, alone and beside logs, over files and over a stream."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import apache_beam as beam
import msgspec
import pytest
import zstandard
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue

from aiops.simulate.config import SimulationConfig
from aiops.simulate.generator import simulate
from pipeline import graph
from pipeline.duckdb_store import DuckDBStore
from pipeline.graph import build_metrics_graph
from pipeline.main import run, run_job
from pipeline.options import parse_options
from pipeline.settings import Settings
from pipeline.stage_settings import graph_settings
from pipeline.tables import TABLES, WRITTEN_AT
from transforms.elements import PayloadBatch
from transforms.metrics.transform import SummarizeMetrics

START = datetime(2026, 1, 12, 14, tzinfo=UTC)
STEP = timedelta(minutes=10)
STEPS = 180  # 30 hours: a day of learning and six hours to be judged
SPIKE_AT = 170
EMAIL = "ann@example.com"


def time_text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def series(kind: str, name: str, moment: datetime, value: dict[str, Any], **labels: str) -> dict[str, Any]:
    interval = {"endTime": time_text(moment)}
    if kind == "DELTA":
        interval["startTime"] = time_text(moment - STEP)
    if kind == "CUMULATIVE":
        interval["startTime"] = time_text(START - STEP)
    return {
        "metric": {"type": f"custom.googleapis.com/{name}", "labels": labels},
        "resource": {
            "type": "k8s_container",
            "labels": {"project_id": "acme", "container_name": "cart", "pod_name": "cart-6d5f7c9b8f-x2x4z"},
        },
        "metricKind": kind,
        "points": [{"interval": interval, "value": value}],
    }


def all_series() -> Iterator[dict[str, Any]]:
    source = random.Random(11)
    total = 0
    for step in range(STEPS):
        moment = START + step * STEP + timedelta(seconds=30)
        spike = 40.0 if step == SPIKE_AT else 0.0
        total += source.randrange(500, 600)
        yield series("GAUGE", "queue", moment, {"doubleValue": 10 + source.random() + spike}, user=EMAIL)
        yield series("DELTA", "jobs", moment, {"int64Value": str(source.randrange(100, 110))})
        yield series("CUMULATIVE", "bytes", moment, {"int64Value": str(total)})
        counts = [str(source.randrange(5, 9)) for _ in range(5)]
        latency = {
            "count": str(sum(map(int, counts))),
            "mean": 20 + source.random(),
            "bucketOptions": {"exponentialBuckets": {"numFiniteBuckets": 4, "growthFactor": 2, "scale": 10}},
            "bucketCounts": counts,
        }
        yield series("DELTA", "latency", moment, {"distributionValue": latency})
        if step % 9 == 0:  # the same answer twice, and what cannot be used
            yield series("DELTA", "jobs", moment, {"int64Value": "105"})
            yield series("GAUGE", "queue", moment, {"doubleValue": f"NaN {EMAIL}"}, user=EMAIL)


@cache
def metric_lines() -> tuple[bytes, ...]:
    return (*(json.dumps(found).encode() for found in all_series()), b'{"broken": "ann@example.com')


def write_lines(path: Path, lines: list[bytes] | tuple[bytes, ...]) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def run_over(store: Path, *paths: Path, logs: Path | None = None) -> Path:
    arguments = ["--metrics", *map(str, paths), "--store", str(store), "--window_seconds", "600"]
    run([*arguments, *(["--input", str(logs)] if logs else [])])
    return store


def query(store: Path, sql: str) -> list[dict[str, Any]]:
    with DuckDBStore(str(store), read_only=True) as opened:
        return opened.query(sql)


def tables_of(store: Path, source: str = "{table}") -> dict[str, list[str]]:
    """All rows of all tables but the time of writing, sorted."""
    return {
        table: sorted(
            json.dumps({name: value for name, value in row.items() if name != WRITTEN_AT.name}, default=str)
            for row in query(store, f"SELECT * FROM {source.format(table=table)}")
        )
        for table in TABLES
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over all metrics in one sorted file."""
    folder = tmp_path_factory.mktemp("metrics")
    return run_over(folder / "one.duckdb", write_lines(folder / "metrics.ndjson", metric_lines()))


# ------------------------------------------------------------------------------------- results


def test_metrics_become_windows_of_each_signal(store: Path) -> None:
    """Rates, means and percentiles, a row for each window; the first point of a total has no rate."""
    rows = query(
        store,
        "SELECT metric_type, statistic, count(*) AS n, count(value) AS numbers, avg(value) AS mean "
        "FROM current_metric_windows GROUP BY ALL ORDER BY ALL",
    )
    found = {
        (row["metric_type"].rpartition("/")[2], row["statistic"]): (row["n"], row["numbers"]) for row in rows
    }
    assert found == {
        ("queue", "value"): (STEPS, STEPS),
        ("jobs", "rate"): (STEPS, STEPS),
        ("bytes", "rate"): (STEPS, STEPS - 1),
        ("latency", "mean"): (STEPS, STEPS),
        ("latency", "p95"): (STEPS, STEPS),
    }
    means = {row["metric_type"].rpartition("/")[2]: row["mean"] for row in rows if row["statistic"] == "rate"}
    assert means["jobs"] == pytest.approx(105 / 600, rel=0.02)
    assert means["bytes"] == pytest.approx(550 / 600, rel=0.02)


def test_a_spike_after_a_day_of_learning_is_an_anomaly(store: Path) -> None:
    """One anomaly, in the window and series where it was put; nothing else alarms."""
    (anomaly,) = query(store, "SELECT * FROM current_anomalies")
    assert anomaly["window_start"] == START + SPIKE_AT * STEP
    assert (anomaly["tenant_id"], anomaly["service"], anomaly["detector"]) == ("acme", "cart", "learned")
    assert anomaly["signal"] == "custom.googleapis.com/queue"
    assert "cart-6d5f7c9b8f-x2x4z" in anomaly["description"]
    (row,) = query(store, "SELECT * FROM current_metric_windows WHERE label = 'anomalous'")
    assert row["window_start"] == anomaly["window_start"]
    assert row["value"] == pytest.approx(anomaly["metrics"][0]["value"])


def test_points_are_accounted_for(store: Path) -> None:
    """Received points are analyzed, duplicates or dead letters; a payload that is no JSON counts as one."""
    (balance,) = query(
        store,
        "SELECT source, sum(received)::INT AS received, sum(analyzed)::INT AS analyzed, "
        "sum(duplicate)::INT AS duplicate, sum(dead_lettered)::INT AS dead, bool_and(balanced) AS balanced "
        "FROM ledger_balance GROUP BY source",
    )
    copies = STEPS // 9
    assert balance == {
        "source": "metrics",
        "received": 4 * STEPS + 2 * copies + 1,
        "analyzed": 4 * STEPS,
        "duplicate": copies,
        "dead": copies + 1,
        "balanced": True,
    }


def test_nothing_secret_of_a_metric_is_stored(store: Path) -> None:
    """Labels and dead letters are redacted, and labels stay JSON."""
    stored = "\n".join(row for rows in tables_of(store).values() for row in rows)
    assert EMAIL not in stored
    (row,) = query(store, "SELECT DISTINCT labels FROM metric_windows WHERE metric_type LIKE '%queue'")
    assert json.loads(row["labels"])["user"].startswith("<email:v1:")


def test_order_and_split_of_the_input_change_nothing(store: Path, tmp_path: Path) -> None:
    """Shuffled points in several files, lists and answers give the very rows that one sorted file gives."""
    lines = list(metric_lines())
    random.Random(1).shuffle(lines)
    broken = [line for line in lines if line.startswith(b'{"broken')]
    found = [json.loads(line) for line in lines if line not in broken]
    third = len(found) // 3
    answer = {"timeSeries": found[:third], "nextPageToken": "x", "unit": "1"}
    paths = [tmp_path / name for name in ("answer.json", "list.json.gz", "lines.zst", "broken.ndjson")]
    paths[0].write_text(json.dumps(answer, indent=2), encoding="utf-8")
    paths[1].write_bytes(gzip.compress(json.dumps(found[third : 2 * third]).encode()))
    plain = b"\n".join(json.dumps(one).encode() for one in found[2 * third :])
    paths[2].write_bytes(zstandard.compress(plain))
    write_lines(paths[3], broken)
    many, one = tables_of(run_over(tmp_path / "many.duckdb", *paths)), tables_of(store)
    # A dead letter shows its bytes, and printing changed the blanks between them.
    assert [len(tables.pop("dead_letters")) for tables in (many, one)] == [STEPS // 9 + 1] * 2
    assert many == one


def test_bundles_and_runs_that_are_repeated_change_nothing(store: Path, tmp_path: Path) -> None:
    """With every bundle run twice, and the whole run once more, the views hold the same."""
    path = write_lines(tmp_path / "metrics.ndjson", metric_lines())
    arguments = ["--metrics", str(path), "--store", str(tmp_path / "s.duckdb"), "--window_seconds", "600"]
    for _ in range(2):
        settings, _ = parse_options(arguments)
        run_job(settings, PipelineOptions(direct_runner_bundle_repeat=1))
    views = "current_{table}"
    assert tables_of(tmp_path / "s.duckdb", views) == tables_of(store, views)


def test_a_metric_partial_that_is_lost_unbalances_the_ledger_of_metrics_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropping one summary shows as a difference of the metrics; the logs still balance."""

    class LosesOne(beam.PTransform):
        def __init__(self, window_seconds: int) -> None:
            self._real = SummarizeMetrics(window_seconds)

        def expand(self, batches: beam.PCollection) -> beam.PCollection:
            return batches | self._real | beam.Filter(is_not_first_of_the_queue)

    def is_not_first_of_the_queue(pair: Any) -> bool:
        summary = pair[1]
        is_first = summary.window_start_us <= START.timestamp() * 1_000_000
        return not (is_first and summary.series.metric_type.endswith("queue"))

    monkeypatch.setattr(graph, "SummarizeMetrics", LosesOne)
    logs = write_lines(tmp_path / "logs.ndjson", log_lines())
    store = run_over(tmp_path / "s.duckdb", write_lines(tmp_path / "m.ndjson", metric_lines()), logs=logs)
    with DuckDBStore(str(store), read_only=True) as opened:
        assert opened.ledger_totals(source="logs")["balanced"]
        totals = opened.ledger_totals(source="metrics")
    assert not totals["balanced"]
    assert totals["difference"] > 0


@cache
def log_lines() -> tuple[bytes, ...]:
    return tuple(simulate(SimulationConfig(seed=7, duration_seconds=120, tenants=1, rate=40.0)))


def test_logs_and_metrics_of_one_run_do_not_touch_each_other(store: Path, tmp_path: Path) -> None:
    """Read together, each gives the rows that it gives alone."""
    logs = write_lines(tmp_path / "logs.ndjson", log_lines())
    alone = tmp_path / "logs.duckdb"
    run(["--input", str(logs), "--store", str(alone), "--window_seconds", "600"])
    path = write_lines(tmp_path / "metrics.ndjson", metric_lines())
    both = tables_of(run_over(tmp_path / "both.duckdb", path, logs=logs))
    separate = [tables_of(alone), tables_of(store)]
    assert both == {table: sorted(separate[0][table] + separate[1][table]) for table in TABLES}


# ------------------------------------------------------------------------------------ streams

COLLECTED: list[tuple[str, bytes]] = []
SECOND = int(START.timestamp())


def batch_of(steps: range) -> PayloadBatch:
    """The points of these steps, each published a minute after its end."""
    batch = PayloadBatch([], [])
    for step in reversed(steps):
        end = START + step * STEP + timedelta(seconds=30)
        mine = [line for line in metric_lines() if f'"endTime": "{time_text(end)}"'.encode() in line]
        batch.payloads += mine
        batch.publish_times_ns += [(int(end.timestamp()) + 60) * 10**9] * len(mine)
    return batch


class FromBatches(beam.PTransform):
    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        return root | beam.Create([batch_of(range(6))])


class FromStream(beam.PTransform):
    """The same points window by window, the watermark following."""

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        stream = TestStream().advance_watermark_to(SECOND - 1)
        for step in range(6):
            second = SECOND + 600 * step
            stream = stream.add_elements([TimestampedValue(batch_of(range(step, step + 1)), second)])
            stream = stream.advance_watermark_to(second + 601)
        return root | stream.advance_watermark_to(SECOND + 20_000).advance_watermark_to_infinity()


class WithLatePoints(beam.PTransform):
    """A window of one point on time, and one more of it when it was over."""

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        def batch(second: int, value: float) -> TimestampedValue:
            moment = START + timedelta(seconds=second)
            line = json.dumps(series("GAUGE", "queue", moment, {"doubleValue": value})).encode()
            return TimestampedValue(PayloadBatch([line], [(SECOND + 1210) * 10**9]), SECOND + second)

        return root | (
            TestStream()
            .add_elements([batch(630, 1.0)])
            .advance_watermark_to(SECOND + 1210)
            .add_elements([batch(730, 3.0)])
            .advance_processing_time(120)
            .advance_watermark_to(SECOND + 20_000)
            .advance_processing_time(120)
            .advance_watermark_to_infinity()
        )


def collect(row: tuple[str, msgspec.Struct]) -> None:
    COLLECTED.append((row[0], msgspec.msgpack.encode(row[1])))


def rows_of(source: beam.PTransform, runner: Any, *, streaming: bool) -> list[tuple[str, bytes]]:
    COLLECTED.clear()
    settings = graph_settings(Settings(metrics=["-"], window_seconds=600))
    with beam.Pipeline(runner=runner, options=PipelineOptions(streaming=streaming)) as pipeline:
        outputs = build_metrics_graph(pipeline, source, settings)
        for name, rows in outputs.rows.items():
            _ = rows | f"Collect {name}" >> beam.Map(collect)
    return sorted(COLLECTED)


def test_a_stream_of_metrics_gives_the_rows_that_a_file_gives() -> None:
    """Windows, dead letters and the ledger are the same, byte for byte; totals keep their last point."""
    bounded = rows_of(FromBatches(), FnApiRunner(), streaming=False)
    stream = rows_of(FromStream(), BundleBasedDirectRunner(), streaming=True)
    assert {table for table, _ in bounded} == {"metric_windows", "dead_letters", "ledger"}
    assert sum(table == "metric_windows" for table, _ in bounded) == 6 * 5
    assert stream == bounded


def test_late_points_revise_their_window() -> None:
    """The second pane holds both points, and counts both in the ledger."""
    # See tests/test_windowing_modes.py for why the runner ends with this error.
    with pytest.raises(TypeError, match="exceptions must derive"):
        rows_of(WithLatePoints(), BundleBasedDirectRunner(), streaming=True)
    rows = [msgspec.msgpack.decode(row) for table, row in COLLECTED if table == "metric_windows"]
    found = sorted((row["revision"], row["points"], row["value"]) for row in rows)
    assert found == [(0, 1, 1.0), (1, 2, 2.0)]
    assert json.loads(max(rows, key=lambda row: row["revision"])["ledger"]) == {
        str((SECOND + 1210) // 60 * 60): [2, 0]
    }
