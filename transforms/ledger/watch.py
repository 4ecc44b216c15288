"""Whether the ledger of a receive minute balances, from what rows say of it. Pure.

Both ends are added up here once more, while the job runs: what came in is taken from Parse itself, what
became of it from where it ended up. The sum of a minute does not depend on the order in which rows come, nor
on how often.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec
import orjson

from transforms.elements import (
    MICROSECONDS,
    MINUTE_US,
    DeadLetter,
    LedgerEntry,
    MetricWindow,
    WindowSummary,
    content_id,
)
from transforms.job_log import LogFields
from transforms.timestamps import FUTURE_SECONDS

_MINUTE_SECONDS: Final = 60
_NOT_IN_THE_LEDGER: Final = frozenset({"parse_commands", "publish_alerts"})
_METRIC_STAGE: Final = "parse_metrics"

MinuteKey = tuple[str, str, int]
"""(tenant_id, source, receive_minute): microseconds since 1970"""


class LedgerPart(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one row says of one receive minute. A later revision of a row takes the place of the former.

    `row` is a hash of the row's key, or 0 for a delta: those are added up, for each comes once.
    """

    balance: int  # what came in, less what is accounted for
    row: int = 0
    revision: int = 0


class LedgerParts(msgspec.Struct, array_like=True, gc=False):
    """Parts of one minute."""

    parts: list[LedgerPart]


class LedgerDifference(msgspec.Struct, frozen=True):
    """A receive minute that does not balance: `difference` more came in than is accounted for."""

    tenant_id: str
    source: str
    receive_minute: int
    difference: int


def parts_of(
    value: LedgerEntry | WindowSummary | MetricWindow | DeadLetter,
) -> Iterator[tuple[MinuteKey, LedgerPart]]:
    """What `value` says of each receive minute that it knows of."""
    if isinstance(value, LedgerEntry):
        yield _of_delta(value)
    elif isinstance(value, WindowSummary):
        yield from _of_window(value)
    elif isinstance(value, MetricWindow):
        yield from _of_metric_window(value)
    elif value.stage not in _NOT_IN_THE_LEDGER:
        yield _of_letter(value)


def difference_of(parts: Iterable[LedgerPart]) -> int:
    """What came in and is not accounted for; below 0 where more is accounted for than came in."""
    deltas, rows = 0, dict[int, tuple[int, int]]()
    for part in parts:
        if part.row:
            rows[part.row] = max(rows.get(part.row, (-1, 0)), (part.revision, part.balance))
        else:
            deltas += part.balance
    return deltas + sum(balance for _, balance in rows.values())


def settled_at_us(receive_minute: int, window_seconds: int, lateness_seconds: int) -> int:
    """Event time from which on nothing of the minute can change.

    The newest line of it is as far in the future as clocks are believed; its window is revised as long as
    late lines are taken, and one minute more is left for what is on its way.
    """
    wait = _MINUTE_SECONDS + FUTURE_SECONDS + window_seconds + lateness_seconds + _MINUTE_SECONDS
    return receive_minute + wait * MICROSECONDS


def fields_of(found: LedgerDifference) -> LogFields:
    """`found` as the log says it."""
    minute = datetime.fromtimestamp(found.receive_minute // MICROSECONDS, UTC)
    return LogFields(
        tenant_id=found.tenant_id,
        source=found.source,
        receive_minute=f"{minute:%Y-%m-%dT%H:%M:%SZ}",
        difference=found.difference,
    )


def _of_delta(entry: LedgerEntry) -> tuple[MinuteKey, LedgerPart]:
    key = entry.tenant_id, entry.source, entry.receive_minute
    return key, LedgerPart(entry.received - entry.late - entry.filtered)


def _of_window(summary: WindowSummary) -> Iterator[tuple[MinuteKey, LedgerPart]]:
    row = _row("window", summary.tenant_id, summary.service, summary.window_start_us)
    for minute, counts in summary.ledger.items():
        key = summary.tenant_id, "logs", minute * MINUTE_US
        yield key, LedgerPart(-sum(counts), row, summary.pane_index)


def _of_metric_window(window: MetricWindow) -> Iterator[tuple[MinuteKey, LedgerPart]]:
    row = _row("metric_window", window.tenant_id, window.service, window.series_id, window.window_start)
    for second, counts in orjson.loads(window.ledger).items():
        key = window.tenant_id, "metrics", int(second) * MICROSECONDS
        yield key, LedgerPart(-sum(counts), row, window.revision)


def _of_letter(letter: DeadLetter) -> tuple[MinuteKey, LedgerPart]:
    source = "metrics" if letter.stage == _METRIC_STAGE else "logs"
    row = _row("letter", letter.dead_letter_id)
    return (letter.tenant_id, source, letter.receive_minute), LedgerPart(-letter.count, row, letter.revision)


def _row(*key: str | int) -> int:
    return int(content_id(*key)[:15], 16) + 1
