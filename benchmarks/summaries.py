"""Merged windows of simulated logs in a file: a detector can be run over them in seconds, without parsing.

`summarize_lines` does what the job does up to MergeShapes, in the same order, without Beam.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from transforms.elements import PayloadBatch, WindowSummary
from transforms.parse.parser import EntryParser
from transforms.parse.settings import ParseSettings
from transforms.patterns.merge import PatternState
from transforms.patterns.shapes import ShapeMiner
from transforms.patterns.transform import MergeShapesStep
from transforms.redact.redactor import Redactor
from transforms.redact.settings import DemoKey, RedactSettings
from transforms.summarize.gaps import FillGaps, GapState, ServiceMark
from transforms.summarize.merging import merge_summaries, sort_summary
from transforms.summarize.partials import summarize_entries

CHUNK_LINES: Final = 20_000
WINDOW_SECONDS: Final = 60
SUMMARIES: Final = "summaries.msgpack"
_LENGTH_BYTES: Final = 4


def write_summaries(path: Path, summaries: Iterable[WindowSummary]) -> int:
    """Write `summaries` in their order, each as MessagePack behind its length. Returns how many."""
    encoder, count = msgspec.msgpack.Encoder(), 0
    with path.open("wb") as file:
        for summary in summaries:
            encoded = encoder.encode(summary)
            file.write(len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded)
            count += 1
    return count


def read_summaries(path: Path) -> Iterator[WindowSummary]:
    """The summaries of a file in the order they were written: by window, and by service in a window."""
    decoder = msgspec.msgpack.Decoder(WindowSummary)
    with path.open("rb") as file:
        while length := file.read(_LENGTH_BYTES):
            yield decoder.decode(file.read(int.from_bytes(length, "big")))


def summarize_lines(lines: Iterable[bytes], window_seconds: int = WINDOW_SECONDS) -> Iterator[WindowSummary]:
    """Windows by pattern, zero summaries for gaps included, of `lines` that come in order of event time.

    Each key's windows come in their order; a gap comes when the tenant's next window closes it.
    """
    gaps, memory = _Gaps(), _Patterns()
    for summary in _merge(_summarize_chunks(lines, window_seconds)):
        for gap in gaps.before(summary):
            yield memory.assign(gap)
        yield memory.assign(summary)


def _summarize_chunks(lines: Iterable[bytes], window_seconds: int) -> Iterator[list[WindowSummary]]:
    parser, miner = EntryParser(ParseSettings()), ShapeMiner()
    redactor = Redactor(RedactSettings(DemoKey()))
    rest = iter(lines)
    while chunk := list(islice(rest, CHUNK_LINES)):
        batch = redactor.batch(parser.parse_batch(PayloadBatch(chunk)))
        miner.mine(batch.entries)
        yield list(summarize_entries(batch.entries, window_seconds, drop_copies=False))


def _merge(chunks: Iterable[list[WindowSummary]]) -> Iterator[WindowSummary]:
    """Whole windows by time, tenant and service. The newest of a chunk may go on in the next one."""
    waiting: dict[tuple[int, str, str], WindowSummary] = {}
    for chunk in chunks:
        for summary in chunk:
            key = (summary.window_start_us, summary.tenant_id, summary.service)
            known = waiting.get(key)
            waiting[key] = summary if known is None else merge_summaries(known, summary)
        newest_us = max(start_us for start_us, _, _ in waiting)
        for key in sorted(key for key in waiting if key[0] < newest_us):
            yield sort_summary(waiting.pop(key))
    for key in sorted(waiting):
        yield sort_summary(waiting[key])


class _Gaps:
    """FillGaps of every tenant."""

    def __init__(self) -> None:
        self._step = FillGaps()
        self._states: dict[str, GapState] = {}

    def before(self, summary: WindowSummary) -> Iterator[WindowSummary]:
        """Zero summaries of the tenant's last window, once a later one begins."""
        state = self._states.setdefault(summary.tenant_id, self._step.initial())
        mark = ServiceMark(summary.service, summary.window_start_us, summary.window_seconds, 0)
        for gap in self._step.step(state, mark, is_late=False):
            gap.tenant_id = summary.tenant_id
            yield gap


class _Patterns:
    """MergeShapes of every service."""

    def __init__(self) -> None:
        self._step = MergeShapesStep()
        self._states: dict[tuple[str, str], PatternState] = {}

    def assign(self, summary: WindowSummary) -> WindowSummary:
        key = (summary.tenant_id, summary.service)
        state = self._states.setdefault(key, self._step.initial())
        (assigned,) = self._step.step(state, summary, is_late=False)
        return assigned
