"""SumLedger and CountDeadLetters: the two ends of the ledger that are not window summaries.

Both are windowed by receive minute and revise a minute's row when more of it comes in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam
import msgspec
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from transforms.coders import StructCoder, register_struct
from transforms.elements import DeadLetter, LedgerEntry
from transforms.windowing import window_into

_MINUTE = 60

LedgerKey = tuple[str, str, int]
"""(tenant_id, source, receive_minute)"""


@dataclass(eq=False)
class SumLedger(beam.PTransform):
    """LedgerEntry of bundles → one LedgerEntry per tenant and receive minute, and its revisions."""

    def expand(self, entries: beam.PCollection) -> beam.PCollection:
        return (
            entries
            | "AtReceiveMinute" >> beam.ParDo(_AtReceiveMinute()).with_output_types(LedgerEntry)
            | "Window" >> window_into(_MINUTE)
            | "Key" >> beam.Map(_ledger_key).with_output_types(tuple[LedgerKey, LedgerEntry])
            | "Sum" >> beam.CombinePerKey(_SumLedger()).with_output_types(tuple[LedgerKey, LedgerEntry])
            | "Revise" >> beam.ParDo(_Revise()).with_output_types(LedgerEntry)
        )


@dataclass(eq=False)
class CountDeadLetters(beam.PTransform):
    """DeadLetter → one DeadLetter for all identical ones of a receive minute, and its revisions."""

    def expand(self, letters: beam.PCollection) -> beam.PCollection:
        return (
            letters
            | "AtReceiveMinute" >> beam.ParDo(_AtReceiveMinute()).with_output_types(DeadLetter)
            | "Window" >> window_into(_MINUTE)
            | "Key" >> beam.Map(_letter_key).with_output_types(tuple[str, DeadLetter])
            | "Count" >> beam.CombinePerKey(_CountLetters()).with_output_types(tuple[str, LetterCounts])
            | "Revise" >> beam.ParDo(_Revise()).with_output_types(DeadLetter)
        )


class LetterCounts(msgspec.Struct):
    """Dead letters by id."""

    letters: dict[str, DeadLetter] = {}


register_struct(LetterCounts)


class _AtReceiveMinute(beam.DoFn):
    def process(self, element, timestamp=beam.DoFn.TimestampParam):  # type: ignore[no-untyped-def]
        # Never earlier than the element: what came in out of step with its clock is not dropped.
        yield TimestampedValue(element, max(timestamp, Timestamp(micros=element.receive_minute)))


class _Revise(beam.DoFn):
    """Unpacks the values of a pane and numbers them by it."""

    def process(self, element, pane=beam.DoFn.PaneInfoParam):  # type: ignore[no-untyped-def]
        _, value = element
        for row in value.letters.values() if isinstance(value, LetterCounts) else (value,):
            yield msgspec.structs.replace(row, revision=pane.index)


def _ledger_key(entry: LedgerEntry) -> tuple[LedgerKey, LedgerEntry]:
    return (entry.tenant_id, entry.source, entry.receive_minute), entry


def _letter_key(letter: DeadLetter) -> tuple[str, DeadLetter]:
    # 256 keys a minute, not one for each letter: the runner's work per key and window outweighs ours.
    return letter.dead_letter_id[:2], letter


class _SumLedger(beam.CombineFn):
    def get_accumulator_coder(self) -> StructCoder[LedgerEntry]:
        return StructCoder(LedgerEntry)

    def create_accumulator(self) -> LedgerEntry:
        return LedgerEntry("", 0, 0, 0, 0)

    def add_input(self, sums: LedgerEntry, entry: LedgerEntry) -> LedgerEntry:
        return LedgerEntry(
            entry.tenant_id or sums.tenant_id,
            entry.receive_minute or sums.receive_minute,
            sums.received + entry.received,
            sums.late + entry.late,
            sums.filtered + entry.filtered,
            source=entry.source if entry.tenant_id else sums.source,
        )

    def merge_accumulators(self, accumulators: Iterable[LedgerEntry]) -> LedgerEntry:
        merged = self.create_accumulator()
        for sums in accumulators:
            merged = self.add_input(merged, sums)
        return merged

    def extract_output(self, sums: LedgerEntry) -> LedgerEntry:
        return sums


class _CountLetters(beam.CombineFn):
    def get_accumulator_coder(self) -> StructCoder[LetterCounts]:
        return StructCoder(LetterCounts)

    def create_accumulator(self) -> LetterCounts:
        return LetterCounts()

    def add_input(self, counts: LetterCounts, letter: DeadLetter) -> LetterCounts:
        known = counts.letters.get(letter.dead_letter_id)
        total = letter.count + (known.count if known else 0)
        counts.letters[letter.dead_letter_id] = msgspec.structs.replace(letter, count=total)
        return counts

    def merge_accumulators(self, accumulators: Iterable[LetterCounts]) -> LetterCounts:
        merged = self.create_accumulator()
        for counts in accumulators:
            for letter in counts.letters.values():
                merged = self.add_input(merged, letter)
        return merged

    def extract_output(self, counts: LetterCounts) -> LetterCounts:
        return counts
