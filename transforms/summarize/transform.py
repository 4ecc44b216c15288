"""SummarizeWindows: lines in, one summary per tenant, service and window out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import msgspec
from apache_beam.transforms.window import GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from transforms.coders import StructCoder
from transforms.elements import MICROSECONDS, LogBatch, WindowSummary
from transforms.ordering import ProcessInOrder
from transforms.summarize.deduplicate import count_listed
from transforms.summarize.gaps import FillGaps, ServiceMark
from transforms.summarize.merging import (
    copy_summary,
    drop_lone_revision,
    empty_summary,
    fit,
    merge_summaries,
    sort_summary,
)
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
        bundles = beam.ParDo(_SummarizeBundle(self.settings)).with_output_types(KeyedSummary)
        partials = batches | "SummarizeBundle" >> bundles
        merge = _MergeAtEnd() if batches.is_bounded else _MergeInWindows(self.settings.window_seconds)
        summaries = partials | merge
        gaps = (
            summaries
            | "MarkServices" >> beam.Map(_mark_service).with_output_types(tuple[str, ServiceMark])
            | "FillGaps" >> ProcessInOrder(FillGaps(), ServiceMark)
            | "KeyGaps" >> beam.MapTuple(_key_gap).with_output_types(KeyedSummary)
        )
        return (summaries, gaps) | "AddGaps" >> beam.Flatten()


@dataclass(eq=False)
class _MergeInWindows(beam.PTransform):
    """Partials of a stream: a pane when the watermark passes the window, more for late lines."""

    window_seconds: int

    def expand(self, partials: beam.PCollection) -> beam.PCollection:
        return (
            partials
            | "Window" >> window_into(self.window_seconds)
            | "Merge" >> beam.CombinePerKey(_MergeSummaries()).with_output_types(KeyedSummary)
            | "NumberPanes" >> beam.ParDo(_NumberPanes()).with_output_types(KeyedSummary)
            | "Unwindow" >> beam.WindowInto(GlobalWindows())
        )


@dataclass(eq=False)
class _MergeAtEnd(beam.PTransform):
    """Partials of bounded input: the same by a key with the window in it.

    There is one pane when the input ends, so nothing is left for the runner's windows to decide,
    and its work per key and window costs more than ours. Few partials share a window, because logs
    come sorted: combining them before the shuffle would keep every window of the input as objects.
    """

    def expand(self, partials: beam.PCollection) -> beam.PCollection:
        by_window = tuple[tuple[str, str, int], WindowSummary]
        return (
            partials
            | "KeyByWindow" >> beam.MapTuple(_key_by_window).with_output_types(by_window)
            | "Group" >> beam.GroupByKey()
            | "Merge" >> beam.ParDo(_MergeGroup()).with_output_types(KeyedSummary)
        )


class _SummarizeBundle(beam.DoFn):
    def __init__(self, settings: SummarizeSettings) -> None:
        self._settings = settings

    def process(self, batch: LogBatch) -> Iterator[TimestampedValue]:
        window_seconds = self._settings.window_seconds
        for summary in summarize_entries(
            batch.entries, window_seconds, drop_copies=self._settings.drop_copies
        ):
            yield _at_window_end(summary)


class _MergeGroup(beam.DoFn):
    def process(self, group: tuple[object, Iterable[WindowSummary]]) -> Iterator[TimestampedValue]:
        first, *others = group[1]
        merged = copy_summary(first) if others else first
        for summary in others:
            merged = merge_summaries(merged, summary)
        yield _at_window_end(_finish(merged))


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
            if not merged.window_seconds:
                merged = accumulator  # an accumulator may be changed, unlike an input
            elif accumulator.window_seconds:
                merged = merge_summaries(merged, accumulator)
        return merged

    def extract_output(self, accumulator: WindowSummary) -> WindowSummary:
        return _finish(accumulator)


def _finish(merged: WindowSummary) -> WindowSummary:
    if merged.distinct_lines:
        # A late pane goes on with what was merged: what is counted here must not stay in it.
        merged = fit(count_listed(copy_summary(merged)))
    return drop_lone_revision(sort_summary(merged))


class _NumberPanes(beam.DoFn):
    def process(self, element, pane=beam.DoFn.PaneInfoParam):  # type: ignore[no-untyped-def]
        key, summary = element
        yield key, msgspec.structs.replace(summary, pane_index=pane.index)


def _key_by_window(key: Key, summary: WindowSummary) -> tuple[tuple[str, str, int], WindowSummary]:
    return (*key, summary.window_start_us), summary


def _at_window_end(summary: WindowSummary) -> TimestampedValue:
    end_us = summary.window_start_us + summary.window_seconds * MICROSECONDS
    key = (summary.tenant_id, summary.service)
    return TimestampedValue((key, summary), Timestamp(micros=end_us - 1))


def _mark_service(element: tuple[Key, WindowSummary]) -> tuple[str, ServiceMark]:
    (tenant_id, service), summary = element
    mark = ServiceMark(service, summary.window_start_us, summary.window_seconds, summary.pane_index)
    return tenant_id, mark


def _key_gap(tenant_id: str, summary: WindowSummary) -> tuple[Key, WindowSummary]:
    return (tenant_id, summary.service), msgspec.structs.replace(summary, tenant_id=tenant_id)
