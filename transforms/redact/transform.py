"""The Beam shell of redaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import apache_beam as beam

from transforms.elements import DeadLetter, LogBatch, MetricBatch
from transforms.metering import count_dead_letters, timed
from transforms.redact.redactor import Redactor
from transforms.redact.series import MetricRedactor
from transforms.redact.settings import RedactSettings

DEAD_LETTERS: Final = "dead_letters"


@dataclass(eq=False)
class RedactLogBatches(beam.PTransform):
    """LogBatch → LogBatch without secrets and personal data; the tag `dead_letters` holds DeadLetter.

    Entries are changed in place. Dead letters leave the batch here, redacted, so that none can be
    written with its raw payload; batches whose entries all became dead letters end here.
    """

    settings: RedactSettings

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, batches: beam.PCollection[LogBatch]) -> beam.pvalue.DoOutputsTuple:
        redact = beam.ParDo(_RedactDoFn(self.settings))
        redact = redact.with_output_types(LogBatch, **{DEAD_LETTERS: DeadLetter})
        return batches | "Redact" >> redact.with_outputs(DEAD_LETTERS, main="batches")


class _RedactDoFn(beam.DoFn):
    def __init__(self, settings: RedactSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        self._redactor = Redactor(self._settings)

    def process(self, batch: LogBatch) -> Iterator[LogBatch | beam.pvalue.TaggedOutput]:
        with timed("redact_us"):
            batch = self._redactor.batch(batch)
        count_dead_letters(batch.dead_letters)
        for letter in batch.dead_letters:
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
        batch.dead_letters = []
        if batch.entries:
            yield batch


@dataclass(eq=False)
class RedactMetricBatches(beam.PTransform):
    """MetricBatch → MetricBatch, as RedactLogBatches does it; the tag `dead_letters` holds DeadLetter."""

    settings: RedactSettings

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, batches: beam.PCollection[MetricBatch]) -> beam.pvalue.DoOutputsTuple:
        redact = beam.ParDo(_RedactMetrics(self.settings))
        redact = redact.with_output_types(MetricBatch, **{DEAD_LETTERS: DeadLetter})
        return batches | "Redact" >> redact.with_outputs(DEAD_LETTERS, main="batches")


class _RedactMetrics(beam.DoFn):
    def __init__(self, settings: RedactSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        self._redactor = MetricRedactor(Redactor(self._settings))

    def process(self, batch: MetricBatch) -> Iterator[MetricBatch | beam.pvalue.TaggedOutput]:
        batch = self._redactor.batch(batch)
        count_dead_letters(batch.dead_letters)
        for letter in batch.dead_letters:
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
        batch.dead_letters = []
        if batch.series:
            yield batch
