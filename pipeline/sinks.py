"""What is written: rows of tables, and anomalies as JSON messages to a Pub/Sub topic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import apache_beam as beam
import msgspec
from apache_beam.io.gcp.pubsub import PubsubMessage, WriteToPubSub

from pipeline.rows import deploy_rows, log_pattern_rows, service_window_row
from transforms.detect.history import WindowHistory
from transforms.elements import Anomaly

Row = tuple[str, msgspec.Struct]
"""(table name, row)"""

WINDOW_TABLES: Final = ("service_windows", "log_patterns", "deploys", "baselines")
"""Where `window_rows` puts its rows."""


@dataclass(eq=False)
class MakeRows(beam.PTransform):
    """Anomaly, DeadLetter, … → Row of `table`."""

    table: str

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        return rows | "NameTable" >> beam.Map(_row_of, self.table)


@dataclass(eq=False)
class MakeWindowRows(beam.PTransform):
    """((tenant, service), WindowHistory) → Row of service_windows, log_patterns, deploys, baselines."""

    def expand(self, histories: beam.PCollection) -> beam.PCollection:
        return histories | "WindowRows" >> beam.FlatMapTuple(window_rows)


def window_rows(key: tuple[str, str], history: WindowHistory) -> Iterator[Row]:  # noqa: ARG001
    """The row of the window, those of its patterns and deploys, and of the snapshots that it brings."""
    yield "service_windows", service_window_row(history.summary, history.bands)
    for row in log_pattern_rows(history.summary):
        yield "log_patterns", row
    for deploy in deploy_rows(history.summary):
        yield "deploys", deploy
    for snapshot in history.snapshots:
        yield "baselines", snapshot


def _row_of(row: msgspec.Struct, table: str) -> Row:
    return table, row


@dataclass(eq=False)
class PublishAnomalies(beam.PTransform):
    """Anomaly → a message of JSON, with the attributes that subscribers filter on.

    At least once: `anomaly_id` and `revision` let a subscriber drop what it has seen.
    """

    topic: str

    def expand(self, anomalies: beam.PCollection) -> beam.PCollection:
        return (
            anomalies
            | "ToMessage" >> beam.Map(anomaly_message)
            | "WriteToPubSub" >> WriteToPubSub(self.topic, with_attributes=True)
        )


def anomaly_message(anomaly: Anomaly) -> PubsubMessage:
    """The message that announces `anomaly`."""
    return PubsubMessage(
        msgspec.json.encode(anomaly),
        {
            "anomaly_id": anomaly.anomaly_id,
            "revision": str(anomaly.revision),
            "status": anomaly.status,
            "tenant_id": anomaly.tenant_id,
            "service": anomaly.service,
            "anomaly_type": anomaly.anomaly_type,
            "anomaly_severity": anomaly.anomaly_severity,
        },
    )
