"""Bounded and unbounded input go different ways through the runner: the results must not differ."""

from __future__ import annotations

import apache_beam as beam
import msgspec
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue

from aiops.simulate.config import SimulationConfig
from aiops.simulate.generator import simulate
from pipeline.graph import build_graph
from pipeline.rules_source import WatchRules
from pipeline.settings import Settings
from pipeline.stage_settings import graph_settings
from transforms.elements import PayloadBatch

CONFIG = SimulationConfig(seed=3, duration_seconds=300, tenants=1, rate=40.0, faults="errors@payment+1m/2m")
COLLECTED: list[tuple[str, bytes]] = []


class FromBatches(beam.PTransform):
    def __init__(self, config: SimulationConfig) -> None:
        super().__init__()
        self._config = config

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        return root | beam.Create([PayloadBatch(list(simulate(self._config)))])


class FromStream(beam.PTransform):
    """The same lines minute by minute, the watermark following."""

    def __init__(self, config: SimulationConfig) -> None:
        super().__init__()
        self._config = config

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        config = self._config
        stream = TestStream().advance_watermark_to(config.start_second - 1)
        lines: dict[bytes, list[bytes]] = {}
        for line in simulate(config):
            lines.setdefault(line.split(b'"timestamp":"')[1][:16], []).append(line)
        for number, (_, mine) in enumerate(sorted(lines.items())):
            second = config.start_second + 60 * number
            stream = stream.add_elements([TimestampedValue(PayloadBatch(mine), second)])
            stream = stream.advance_watermark_to(second + 61)
        return root | stream.advance_watermark_to(config.end_second + 7200).advance_watermark_to_infinity()


def collect(row: tuple[str, msgspec.Struct]) -> None:
    COLLECTED.append((row[0], msgspec.msgpack.encode(row[1])))


def rows_of(
    source: beam.PTransform, runner: beam.runners.PipelineRunner, *, streaming: bool
) -> list[tuple[str, bytes]]:
    COLLECTED.clear()
    settings = graph_settings(Settings(input=["-"], received_at="2026-01-12T15:00:00Z"))
    with beam.Pipeline(runner=runner, options=PipelineOptions(streaming=streaming)) as pipeline:
        outputs = build_graph(pipeline, source, WatchRules(), settings)
        for name, rows in outputs.rows.items():
            _ = rows | f"Collect {name}" >> beam.Map(collect)
    return sorted(COLLECTED)


def test_a_stream_gives_the_rows_that_a_file_gives() -> None:
    """Windows, patterns, anomalies and the ledger are the same, byte for byte."""
    bounded = rows_of(FromBatches(CONFIG), FnApiRunner(), streaming=False)
    stream = rows_of(FromStream(CONFIG), BundleBasedDirectRunner(), streaming=True)
    assert {table for table, _ in bounded} == {"service_windows", "log_patterns", "anomalies", "ledger"}
    assert stream == bounded


def failing(number: int) -> bytes:
    return msgspec.json.encode(
        {
            "insertId": f"i{number}",
            "logName": "projects/acme/logs/stdout",
            "timestamp": "2026-01-12T14:00:30Z",
            "receiveTimestamp": "2026-01-12T14:00:31Z",
            "severity": "ERROR" if number < 20 else "INFO",
            "resource": {"type": "cloud_run_revision", "labels": {"service_name": "cart"}},
            "textPayload": "checkout failed" if number < 20 else "checkout done",
        }
    )


class WithLateLines(beam.PTransform):
    """20 errors of 20 lines on time, and 400 good lines of the same minute after it was over."""

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        start = CONFIG.start_second
        return root | (
            TestStream()
            .add_elements([TimestampedValue(PayloadBatch([failing(n) for n in range(20)]), start + 30)])
            .advance_watermark_to(start + 120)
            .add_elements([TimestampedValue(PayloadBatch([failing(n) for n in range(20, 420)]), start + 30)])
            .advance_processing_time(120)
            .advance_watermark_to(start + 7200)
            .advance_processing_time(120)
            .advance_watermark_to_infinity()
        )


def test_late_lines_revise_the_window_and_withdraw_what_no_longer_holds() -> None:
    """The second pane holds all lines; the error spike of the first is withdrawn by it."""
    # When all is done the runner waits for a processing-time timer that it dropped with its window,
    # and reports the stall as a tuple, which cannot be raised.
    with pytest.raises(TypeError, match="exceptions must derive"):
        rows_of(WithLateLines(), BundleBasedDirectRunner(), streaming=True)
    rows = list(COLLECTED)
    windows = sorted(
        (row["revision"], row["lines"], row["errors"])
        for row in (msgspec.msgpack.decode(row) for table, row in rows if table == "service_windows")
    )
    assert windows == [(0, 20, 20), (1, 420, 20)]
    spikes = sorted(
        (row["revision"], row["status"])
        for row in (msgspec.msgpack.decode(row) for table, row in rows if table == "anomalies")
        if row["detector"] == "rule:error-spike"
    )
    assert spikes == [(0, "open"), (1, "withdrawn")]
