"""SumLedger and CountDeadLetters: the two ends of the ledger that are not window summaries.

Both are windowed by receive minute and revise a minute's row when more of it comes in. WatchLedger compares
both ends while a stream runs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow, GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from transforms.coders import StructCoder, register_struct
from transforms.elements import DeadLetter, LedgerEntry, LedgerSource, MetricWindow, WindowSummary
from transforms.job_log import Said
from transforms.ledger.watch import (
    LedgerDifference,
    LedgerPart,
    LedgerParts,
    MinuteKey,
    difference_of,
    fields_of,
    parts_of,
    settled_at_us,
)
from transforms.metering import count
from transforms.windowing import ALLOWED_LATENESS_SECONDS, window_into

_MINUTE = 60
_LOGGER = logging.getLogger(__name__)

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


# ------------------------------------------------------------------------------- while it runs

_PARTS = BagStateSpec("parts", StructCoder(LedgerParts))


@dataclass(eq=False)
class WatchLedger(beam.PTransform):
    """Collections of LedgerEntry (deltas), windows and DeadLetter → LedgerDifference where they differ.

    Deltas are those of Parse, not the sums in the table: sums lose what is too late for their window, as
    windows of services do, and both ends would agree on it. Windows are WindowSummary or MetricWindow. A
    minute is judged once, when nothing of it can change; so there is no false alarm, and it takes an hour
    and a quarter. Nothing loops: each minute of a tenant has one timer, and its state ends with it.
    """

    window_seconds: int
    source: LedgerSource = "logs"

    def expand(self, ends: tuple[beam.PCollection, beam.PCollection, beam.PCollection]) -> beam.PCollection:
        names = ("Received", "Windows", "DeadLetters")
        gathered = [
            end
            | f"Unwindow{name}" >> beam.WindowInto(GlobalWindows())
            | f"Gather{name}" >> beam.ParDo(_GatherParts()).with_output_types(tuple[MinuteKey, LedgerParts])
            for name, end in zip(names, ends, strict=True)
        ]
        judge = beam.ParDo(_make_judge(self.source, self.window_seconds))
        judge = judge.with_output_types(LedgerDifference)
        return gathered | "BothEnds" >> beam.Flatten() | "JudgeMinute" >> judge


class _GatherParts(beam.DoFn):
    """One element for each minute that a bundle tells of, not for each of its rows."""

    def start_bundle(self) -> None:
        self._parts: dict[MinuteKey, list[LedgerPart]] = {}
        self._earliest = MAX_TIMESTAMP

    def process(
        self,
        value: LedgerEntry | WindowSummary | MetricWindow | DeadLetter,
        timestamp: Any = beam.DoFn.TimestampParam,
    ) -> None:
        self._earliest = min(self._earliest, timestamp)
        for key, part in parts_of(value):
            self._parts.setdefault(key, []).append(part)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for key, parts in self._parts.items():
            yield WindowedValue((key, LedgerParts(parts)), self._earliest, [GlobalWindow()])


def _make_judge(source: LedgerSource, window_seconds: int) -> beam.DoFn:
    """The DoFn that judges minutes of `source`, with a timer of its own name: see `_make_order_dofn`."""
    settled_timer = TimerSpec(f"ledger_settled_{source}", TimeDomain.WATERMARK)

    class _JudgeMinute(beam.DoFn):
        def process(
            self,
            element: tuple[MinuteKey, LedgerParts],
            parts: Any = beam.DoFn.StateParam(_PARTS),
            settled: Any = beam.DoFn.TimerParam(settled_timer),
        ) -> None:
            (_, _, minute), given = element
            parts.add(given)
            due_us = settled_at_us(minute, window_seconds, ALLOWED_LATENESS_SECONDS)
            settled.set(Timestamp(micros=due_us))

        @on_timer(settled_timer)
        def judge(
            self, key: Any = beam.DoFn.KeyParam, parts: Any = beam.DoFn.StateParam(_PARTS)
        ) -> Iterator[LedgerDifference]:
            difference = difference_of(part for given in parts.read() for part in given.parts)
            parts.clear()
            count("ledger_minutes")
            count("ledger_difference", abs(difference))
            if difference:
                tenant_id, minute_source, minute = key
                found = LedgerDifference(tenant_id, minute_source, minute, difference)
                _LOGGER.warning(Said("The ledger of a minute does not balance", **fields_of(found)))
                yield found

    return _JudgeMinute()
