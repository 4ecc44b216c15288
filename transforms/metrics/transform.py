"""ParseMetrics and SummarizeMetrics: payloads to points, points to windows of series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import apache_beam as beam
import msgspec
from apache_beam.transforms.window import GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from transforms.elements import DAY_US, MICROSECONDS, LedgerEntry, MetricBatch, MetricSummary, PayloadBatch
from transforms.metering import count_received
from transforms.metrics.parse import MetricParser
from transforms.metrics.settings import MetricSettings
from transforms.metrics.windows import merge_summaries, summarize_points
from transforms.windowing import window_into

BATCHES: Final = "batches"
LEDGER: Final = "ledger"

Key = tuple[str, str, str]
"""(tenant_id, service, series_id)"""

KeyedSummary = tuple[Key, MetricSummary]


@dataclass(eq=False)
class ParseMetrics(beam.PTransform):
    """PayloadBatch → MetricBatch under `BATCHES`, the main tag, and LedgerEntry deltas under `LEDGER`.

    Dead letters travel inside the batch, for they are still raw: RedactMetricBatches gives them out.
    """

    settings: MetricSettings

    def expand(self, payloads: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        parse = beam.ParDo(_ParseBatch(self.settings)).with_output_types(MetricBatch, **{LEDGER: LedgerEntry})
        return payloads | "ParseBatch" >> parse.with_outputs(LEDGER, main=BATCHES)


@dataclass(eq=False)
class SummarizeMetrics(beam.PTransform):
    """MetricBatch → ((tenant, service, series id), MetricSummary).

    A stream gives one window at a time, and again with a higher `pane_index` when late points revise
    it. Bounded input gives all windows of a day at once: metrics have a point or two in a window, and
    the runner's work is per element.
    """

    window_seconds: int

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        by_day = bool(batches.is_bounded)
        bundles = beam.ParDo(_SummarizeBatch(self.window_seconds, by_day=by_day))
        partials = batches | "SummarizeBatch" >> bundles.with_output_types(KeyedSummary)
        return partials | (_MergeAtEnd() if by_day else _MergeInWindows(self.window_seconds))


@dataclass(eq=False)
class _MergeInWindows(beam.PTransform):
    window_seconds: int

    def expand(self, partials: beam.PCollection) -> beam.PCollection:
        return (
            partials
            | "Window" >> window_into(self.window_seconds)
            | "Group" >> beam.GroupByKey()
            | "Merge" >> beam.ParDo(_MergePane()).with_output_types(KeyedSummary)
            | "Unwindow" >> beam.WindowInto(GlobalWindows())
        )


@dataclass(eq=False)
class _MergeAtEnd(beam.PTransform):
    def expand(self, partials: beam.PCollection) -> beam.PCollection:
        by_day = tuple[tuple[str, str, str, int], MetricSummary]
        return (
            partials
            | "KeyByDay" >> beam.MapTuple(_key_by_day).with_output_types(by_day)
            | "Group" >> beam.GroupByKey()
            | "Merge" >> beam.ParDo(_MergeDay()).with_output_types(KeyedSummary)
        )


class _ParseBatch(beam.DoFn):
    def __init__(self, settings: MetricSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        self._parser = MetricParser(self._settings)

    def process(self, batch: PayloadBatch) -> Iterator[MetricBatch | beam.pvalue.TaggedOutput]:
        parsed = self._parser.parse_batch(batch)
        count_received("points", parsed.ledger)
        yield parsed
        for delta in parsed.ledger:
            yield beam.pvalue.TaggedOutput(LEDGER, delta)


class _SummarizeBatch(beam.DoFn):
    def __init__(self, window_seconds: int, *, by_day: bool) -> None:
        self._window_seconds = window_seconds
        self._by_day = by_day

    def process(self, batch: MetricBatch) -> Iterator[TimestampedValue]:
        for summary in summarize_points(batch.series, self._window_seconds, by_day=self._by_day):
            yield _at_window_end(summary)


class _MergePane(beam.DoFn):
    """Panes accumulate: a late one holds all partials of the window again."""

    def process(self, element, pane=beam.DoFn.PaneInfoParam):  # type: ignore[no-untyped-def]
        key, summaries = element
        yield key, msgspec.structs.replace(merge_summaries(summaries), pane_index=pane.index)


class _MergeDay(beam.DoFn):
    def process(self, group: tuple[object, Iterable[MetricSummary]]) -> Iterator[TimestampedValue]:
        yield _at_window_end(merge_summaries(group[1]))


def _key_by_day(key: Key, summary: MetricSummary) -> tuple[tuple[str, str, str, int], MetricSummary]:
    return (*key, summary.window_start_us // DAY_US), summary


def _at_window_end(summary: MetricSummary) -> TimestampedValue:
    end_us = summary.window_start_us + summary.window_seconds * MICROSECONDS
    series = summary.series
    return TimestampedValue(
        ((series.tenant_id, series.service, series.series_id), summary), Timestamp(micros=end_us - 1)
    )
