"""WatchServices and DetectAnomalies: windows of services in, anomalies out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import apache_beam as beam
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from transforms.detect.baselines.book import NO_BOOK, BaselineBook
from transforms.detect.findings import CONFIDENCE_FLOOR, make_anomaly
from transforms.detect.history import TrackHistory, WindowHistory
from transforms.detect.metrics import JudgedMetric, JudgeMetric
from transforms.detect.rule_model import RuleBook, newest_book
from transforms.detect.rules import evaluate_rules
from transforms.elements import Anomaly, BaselineSnapshot, MetricSummary, MetricWindow, WindowSummary
from transforms.ordering import ProcessInOrder


@dataclass(eq=False)
class WatchServices(beam.PTransform):
    """((tenant, service), WindowSummary) → ((tenant, service), WindowHistory), in the order of event time.

    Each window comes with those before it, and with what learned detectors found in it; now and then
    with snapshots of what is learned, `snapshot_us` of event time apart (0: never). `warm_start` are
    snapshots to begin with, keyed and timed as windows are: see `snapshot_event`.
    """

    baselines: BaselineBook = NO_BOOK
    snapshot_us: int = 0
    warm_start: beam.PCollection | None = None

    def expand(self, summaries: beam.PCollection) -> beam.PCollection:
        if self.warm_start is not None:
            # They are bounded: once they are read, the watermark is that of the windows alone.
            summaries = (summaries, self.warm_start) | "WithSnapshots" >> beam.Flatten()
        step = TrackHistory(self.baselines, self.snapshot_us)
        return summaries | "TrackHistory" >> ProcessInOrder(step, WindowSummary)


def snapshot_event(snapshot: BaselineSnapshot) -> TimestampedValue:
    """A service's snapshot as WatchServices takes it: a summary of no window, at the time it is as of.

    So it comes after the windows that it knows, and before those that it does not.
    """
    key = snapshot.tenant_id, snapshot.service
    value = WindowSummary(
        *key, snapshot.as_of, snapshot.window_seconds, snapshot=snapshot.state.encode("ascii")
    )
    return TimestampedValue((key, value), Timestamp(micros=snapshot.as_of))


@dataclass(eq=False)
class DetectAnomalies(beam.PTransform):
    """((tenant, service), WindowHistory) in the global window → Anomaly, with the window's timestamp.

    `rules` is a collection of RuleBook in the global window, of which the newest counts. It is read
    as a list, not as a singleton: runners differ in whether a new book replaces the ones before or
    is added to them. Which rules a window meets while they change depends on when it is handled;
    each anomaly carries the `rules_version` it was found with.
    """

    rules: beam.PCollection
    confidence_floor: float = CONFIDENCE_FLOOR

    def expand(self, histories: beam.PCollection) -> beam.PCollection:
        detect = beam.ParDo(_EvaluateRules(self.confidence_floor), books=beam.pvalue.AsList(self.rules))
        return histories | "EvaluateRules" >> detect.with_output_types(Anomaly)


class _EvaluateRules(beam.DoFn):
    """Stateless: all memory is in the history that comes along."""

    def __init__(self, confidence_floor: float) -> None:
        self._confidence_floor = confidence_floor

    def process(
        self, element: tuple[tuple[str, str], WindowHistory], books: Iterable[RuleBook]
    ) -> Iterator[Anomaly]:
        _, history = element
        yield from evaluate_rules(newest_book(books), history, self._confidence_floor)
        for finding in history.findings:
            yield make_anomaly(history.summary, finding, self._confidence_floor)


METRIC_WINDOWS: Final = "metric_windows"
METRIC_ANOMALIES: Final = "metric_anomalies"


@dataclass(eq=False)
class DetectMetricAnomalies(beam.PTransform):
    """((tenant, service, series id), MetricSummary) → MetricWindow under `METRIC_WINDOWS`, the main tag,
    and Anomaly, with its window's timestamp, under `METRIC_ANOMALIES`.
    """

    confidence_floor: float = CONFIDENCE_FLOOR
    baselines: BaselineBook = NO_BOOK

    def expand(self, summaries: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        step = JudgeMetric(self.baselines, self.confidence_floor)
        part = beam.ParDo(_PartJudged()).with_output_types(MetricWindow, **{METRIC_ANOMALIES: Anomaly})
        return (
            summaries
            | "JudgeMetric" >> ProcessInOrder(step, MetricSummary)
            | "PartJudged" >> part.with_outputs(METRIC_ANOMALIES, main=METRIC_WINDOWS)
        )


class _PartJudged(beam.DoFn):
    def process(
        self, element: tuple[tuple[str, str, str], JudgedMetric]
    ) -> Iterator[MetricWindow | beam.pvalue.TaggedOutput]:
        judged = element[1]
        yield judged.row
        if (anomaly := judged.anomaly) is not None:
            at = Timestamp(micros=anomaly.window_end - 1)
            yield beam.pvalue.TaggedOutput(METRIC_ANOMALIES, TimestampedValue(anomaly, at))
