"""SummarizeWindows: lines in, one summary per tenant, service and window out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import msgspec
from apache_beam.transforms.window import GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from transforms.coders import StructCoder
from transforms.elements import LogBatch, WindowSummary
from transforms.ordering import ProcessInOrder
from transforms.summarize.deduplicate import count_listed
from transforms.summarize.gaps import FillGaps, ServiceMark
from transforms.summarize.merging import copy_summary, empty_summary, fit, merge_summaries, sort_summary
from transforms.summarize.partials import summarize_entries
from transforms.windowing import window_into

Key = tuple[str, str]
"""(tenant_id, service)"""

KeyedSummary = tuple[Key, WindowSummary]


@dataclass(frozen=True)
class SummarizeSettings:
    window_seconds: int = 60
    drop_copies: bool = False


@dataclass(eq=False)
class SummarizeWindows(beam.PTransform):
    """LogBatch → ((tenant, service), WindowSummary), zero summaries for gaps included.

    Late lines revise the summary: a later pane holds all lines of the window again, with a higher
    `pane_index`.
    """

    settings: SummarizeSettings

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        settings = self.settings
        summaries = (
            batches
            | "SummarizeBundle" >> beam.ParDo(_SummarizeBundle(settings)).with_output_types(KeyedSummary)
            | "Window" >> window_into(settings.window_seconds)
            | "Merge" >> beam.CombinePerKey(_MergeSummaries()).with_output_types(KeyedSummary)
            | "NumberPanes" >> beam.ParDo(_NumberPanes()).with_output_types(KeyedSummary)
            | "Unwindow" >> beam.WindowInto(GlobalWindows())
        )
        gaps = (
            summaries
            | "MarkServices" >> beam.Map(_mark_service).with_output_types(tuple[str, ServiceMark])
            | "FillGaps" >> ProcessInOrder(FillGaps(), ServiceMark)
            | "KeyGaps" >> beam.MapTuple(_key_gap).with_output_types(KeyedSummary)
        )
        return (summaries, gaps) | "AddGaps" >> beam.Flatten()


class _SummarizeBundle(beam.DoFn):
    def __init__(self, settings: SummarizeSettings) -> None:
        self._settings = settings

    def process(self, batch: LogBatch) -> Iterator[TimestampedValue]:
        window_seconds = self._settings.window_seconds
        for summary in summarize_entries(
            batch.entries, window_seconds, drop_copies=self._settings.drop_copies
        ):
            end = Timestamp(micros=summary.window_start_us) + window_seconds
            key = (summary.tenant_id, summary.service)
            yield TimestampedValue((key, summary), end - Duration(micros=1))


class _MergeSummaries(beam.CombineFn):
    def get_accumulator_coder(self) -> StructCoder[WindowSummary]:
        return StructCoder(WindowSummary)

    def create_accumulator(self) -> WindowSummary:
        return empty_summary()

    def add_input(self, accumulator: WindowSummary, summary: WindowSummary) -> WindowSummary:
        if not accumulator.window_seconds:
            return copy_summary(summary)
        return merge_summaries(accumulator, summary)

    def merge_accumulators(self, accumulators: Iterable[WindowSummary]) -> WindowSummary:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            if accumulator.window_seconds:
                merged = self.add_input(merged, accumulator)
        return merged

    def extract_output(self, accumulator: WindowSummary) -> WindowSummary:
        # A late pane goes on with the accumulator: what is counted here must not stay in it.
        return sort_summary(fit(count_listed(copy_summary(accumulator))))


class _NumberPanes(beam.DoFn):
    def process(self, element, pane=beam.DoFn.PaneInfoParam):  # type: ignore[no-untyped-def]
        key, summary = element
        yield key, msgspec.structs.replace(summary, pane_index=pane.index)


def _mark_service(element: tuple[Key, WindowSummary]) -> tuple[str, ServiceMark]:
    (tenant_id, service), summary = element
    mark = ServiceMark(service, summary.window_start_us, summary.window_seconds, summary.pane_index)
    return tenant_id, mark


def _key_gap(tenant_id: str, summary: WindowSummary) -> tuple[Key, WindowSummary]:
    return (tenant_id, summary.service), msgspec.structs.replace(summary, tenant_id=tenant_id)
