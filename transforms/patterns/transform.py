"""MinePatterns and MergeShapes: lines to shapes in the bundle, shapes to patterns window by window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam

from transforms.elements import LogBatch, WindowSummary
from transforms.metering import timed
from transforms.ordering import ProcessInOrder
from transforms.patterns.merge import LEARNING_SECONDS, PatternState, assign_patterns
from transforms.patterns.shapes import ShapeMiner


@dataclass(eq=False)
class MinePatterns(beam.PTransform):
    """LogBatch → the same LogBatch, with shape_id and shape of every entry set in place."""

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return batches | "Mine" >> beam.ParDo(_MineDoFn()).with_output_types(LogBatch)


@dataclass(eq=False)
class MergeShapes(beam.PTransform):
    """((tenant, service), WindowSummary) by shape → the same by pattern, in event-time order per key.

    `learning_seconds`: no pattern is called new for so long after a service's first window.
    """

    learning_seconds: int = LEARNING_SECONDS

    def expand(self, summaries: beam.PCollection) -> beam.PCollection:
        return summaries | "Merge" >> ProcessInOrder(MergeShapesStep(self.learning_seconds), WindowSummary)


@dataclass(frozen=True)
class MergeShapesStep:
    """`assign_patterns` as an OrderedStep."""

    learning_seconds: int = LEARNING_SECONDS
    state_type = PatternState
    output_type = WindowSummary

    def initial(self) -> PatternState:
        return PatternState()

    def step(self, state: PatternState, value: WindowSummary, *, is_late: bool) -> Iterator[WindowSummary]:
        yield assign_patterns(state, value, is_late=is_late, learning_seconds=self.learning_seconds)


class _MineDoFn(beam.DoFn):
    def setup(self) -> None:
        self._miner = ShapeMiner()

    def process(self, batch: LogBatch) -> Iterator[LogBatch]:
        with timed("patterns_us"):
            self._miner.mine(batch.entries)
        yield batch
