"""ParseLogEntries: payloads in, entries, dead letters and the ledger out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import apache_beam as beam

from transforms.elements import LedgerEntry, LogBatch, PayloadBatch
from transforms.metering import count, count_received, timed
from transforms.parse.parser import EntryParser
from transforms.parse.settings import ParseSettings

BATCHES: Final = "batches"
LEDGER: Final = "ledger"


@dataclass(eq=False)
class ParseLogEntries(beam.PTransform):
    """PayloadBatch → LogBatch under `BATCHES`, the main tag, and LedgerEntry deltas under `LEDGER`.

    Dead letters travel inside the batch, for they are still raw: RedactLogBatches gives them out.
    """

    settings: ParseSettings

    def expand(self, payloads: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        parse = beam.ParDo(_ParseBatch(self.settings)).with_output_types(LogBatch, **{LEDGER: LedgerEntry})
        return payloads | "ParseBatch" >> parse.with_outputs(LEDGER, main=BATCHES)


class _ParseBatch(beam.DoFn):
    def __init__(self, settings: ParseSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        self._parser = EntryParser(self._settings)

    def process(self, batch: PayloadBatch) -> Iterator[LogBatch | beam.pvalue.TaggedOutput | LedgerEntry]:
        with timed("parse_us"):
            parsed = self._parser.parse_batch(batch)
        count("bytes", sum(map(len, batch.payloads)))
        count_received("lines", parsed.ledger)
        yield parsed
        for delta in parsed.ledger:
            yield beam.pvalue.TaggedOutput(LEDGER, delta)
