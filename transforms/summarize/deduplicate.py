"""Exact deduplication: copies of a line are dropped before they are counted.

A partial lists its lines in about 32 bytes each instead of counting them. Where the lists of all
bundles meet, each identity is counted once; its further copies are `duplicate` in the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b
from typing import Final

import msgspec

from transforms.elements import MINUTE_NS, LineKind, LineRecord, LogEntry, WindowSummary
from transforms.measures import count_measures
from transforms.sketches import merge_sum
from transforms.summarize.counting import count_lines

_IDENTITY_BYTES: Final = 10
_KIND_BYTES: Final = 6


def list_lines(summary: WindowSummary, kind: LineKind, entries: list[LogEntry]) -> None:
    """Add `entries`, all of `kind`, to the list of lines of `summary`."""
    kind_key = _digest(msgspec.msgpack.encode(kind), _KIND_BYTES)
    summary.line_kinds[kind_key] = kind
    for entry in entries:
        receipts = {entry.receive_time_ns // MINUTE_NS: 1}
        record = LineRecord(kind_key, entry.latency_us, receipts, entry.measures)
        merge_line(summary.distinct_lines, line_identity(entry), record)


def line_identity(entry: LogEntry) -> bytes:
    """What copies of one line share: log, timestamp and insertId, or the text where there is no insertId."""
    which = entry.insert_id or "\0" + entry.message
    return _digest(
        f"{entry.log_name}\0{entry.event_time_ns}\0{which}".encode("utf-8", "surrogatepass"), _IDENTITY_BYTES
    )


def merge_line(lines: dict[bytes, LineRecord], identity: bytes, other: LineRecord) -> None:
    """Add `other` to `lines`; where copies disagree, the smallest kind, latency and measures stand."""
    known = lines.get(identity)
    if known is None:
        lines[identity] = LineRecord(other.kind, other.latency_us, dict(other.receipts), other.measures)
        return
    known.kind, known.latency_us, known.measures = min(
        (known.kind, known.latency_us, known.measures), (other.kind, other.latency_us, other.measures)
    )
    merge_sum(known.receipts, other.receipts)


def count_listed(summary: WindowSummary) -> WindowSummary:
    """Count each listed line of `summary` once, in place, and drop the list.

    The copy that was received first is `analyzed`, all others are `duplicate`.
    """
    latencies: defaultdict[bytes, list[int]] = defaultdict(list)
    for record in summary.distinct_lines.values():
        latencies[record.kind].append(record.latency_us)
        first = min(record.receipts)
        for minute, copies in record.receipts.items():
            counts = summary.ledger.setdefault(minute, [0, 0])
            analyzed = int(minute == first)
            counts[0] += analyzed
            counts[1] += copies - analyzed
    for kind_key, values in sorted(latencies.items()):
        count_lines(summary, summary.line_kinds[kind_key], values)
    count_measures(summary.fields, (record.measures for record in summary.distinct_lines.values()))
    summary.distinct_lines, summary.line_kinds = {}, {}
    return summary


def _digest(content: bytes, size: int) -> bytes:
    return blake2b(content, digest_size=size).digest()
