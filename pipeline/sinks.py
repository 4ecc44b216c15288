"""What is written: rows of tables, and anomalies and dead letters as JSON messages to Pub/Sub topics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import apache_beam as beam
import msgspec
from apache_beam.transforms.window import GlobalWindows

from pipeline.messages import Message, element_message
from pipeline.publishing import publish_messages
from pipeline.row_metrics import meter_row, meter_window
from pipeline.rows import deploy_rows, log_pattern_rows, service_row, service_window_row
from transforms.alert.catalog import EMPTY_CATALOG, ServiceCatalog
from transforms.detect.history import WindowHistory
from transforms.elements import CANARY_SERVICE, DAY_US, MICROSECONDS, Anomaly, DeadLetter

_DEAD_LETTER_BYTES: Final = 64 << 10

Row = tuple[str, msgspec.Struct]
"""(table name, row)"""

WINDOW_TABLES: Final = ("service_windows", "services", "log_patterns", "deploys", "baselines")
"""Where `window_rows` puts its rows."""


@dataclass(eq=False)
class MakeRows(beam.PTransform):
    """Anomaly, DeadLetter, … → Row of `table`."""

    table: str

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        return rows | "NameTable" >> beam.Map(_row_of, self.table)


@dataclass(eq=False)
class MakeWindowRows(beam.PTransform):
    """((tenant, service), WindowHistory) → Row of service_windows and of what belongs to windows."""

    catalog: ServiceCatalog = EMPTY_CATALOG

    def expand(self, histories: beam.PCollection) -> beam.PCollection:
        return histories | "WindowRows" >> beam.FlatMapTuple(window_rows, self.catalog)


def window_rows(
    key: tuple[str, str], history: WindowHistory, catalog: ServiceCatalog = EMPTY_CATALOG
) -> Iterator[Row]:
    """The row of the window, those of its patterns and deploys, and of the snapshots that it brings.

    The first window of a service, and the one that begins a day, bring what `catalog` says of it too.
    """
    meter_window(history.summary)
    summary, entry = history.summary, catalog.entry(*key)
    yield "service_windows", service_window_row(summary, history.bands, entry.slo)
    begins_day = summary.window_start_us % DAY_US < summary.window_seconds * MICROSECONDS
    has_entry = catalog.entries and summary.service != CANARY_SERVICE
    if has_entry and (begins_day or not history.past):
        yield "services", service_row(summary, entry, catalog.version)
    for row in log_pattern_rows(history.summary):
        yield "log_patterns", row
    for deploy in deploy_rows(history.summary):
        yield "deploys", deploy
    for snapshot in history.snapshots:
        yield "baselines", snapshot


def _row_of(row: msgspec.Struct, table: str) -> Row:
    meter_row(table, row)
    return table, row


@dataclass(eq=False)
class PublishAnomalies(beam.PTransform):
    """Anomaly → a message of JSON, with the attributes that subscribers filter on.

    At least once: `anomaly_id` and `revision` let a subscriber drop what it has seen. One with more
    evidence than a message holds is cut, and marked with the attribute `truncated`.
    """

    topic: str

    def expand(self, anomalies: beam.PCollection) -> beam.PCollection:
        return publish_messages(anomalies, self.topic, anomaly_message)


def anomaly_message(anomaly: Anomaly) -> Message:
    """The message that announces `anomaly`."""
    attributes = {
        "anomaly_id": anomaly.anomaly_id,
        "revision": str(anomaly.revision),
        "status": anomaly.status,
        "tenant_id": anomaly.tenant_id,
        "service": anomaly.service,
        "anomaly_type": anomaly.anomaly_type,
        "anomaly_severity": anomaly.anomaly_severity,
    }
    return element_message(anomaly, attributes)


@dataclass(eq=False)
class PublishDeadLetters(beam.PTransform):
    """Collections of DeadLetter, redacted → messages of JSON, with tenant, stage and reason as attributes.

    At least once: `dead_letter_id` and `revision` let a subscriber drop what it has seen; `count` of the
    last revision counts.
    """

    topic: str

    def expand(self, letters: dict[str, beam.PCollection]) -> beam.PCollection:
        """Publish `letters`, by what they come from, through one step."""
        unwindowed = [  # a runner may read all inputs of a Flatten in the coder of one, windows included
            found | f"ForgetWindows {name}" >> beam.WindowInto(GlobalWindows())
            for name, found in letters.items()
        ]
        return publish_messages(
            unwindowed | "AllDeadLetters" >> beam.Flatten(), self.topic, dead_letter_message
        )


def dead_letter_message(letter: DeadLetter) -> Message:
    """The message that tells of `letter`."""
    attributes = {"tenant_id": letter.tenant_id, "stage": letter.stage, "reason": letter.reason}
    return element_message(letter, attributes, _DEAD_LETTER_BYTES)
