"""A signal that stands still although it hardly ever does: a stuck sensor, a dead exporter, a full queue.

Under independence, a signal that repeats its last value with probability p stands still for n
observations with probability p**n. Runs of equal values are not independent (nights are quiet), so a
run must also be several times as long as the longest one that was normal.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

LEAST: Final = 10  # repeats: shorter runs come from rounding and from clipping at a limit
LONGER_THAN_KNOWN: Final = 5
CHANCE: Final = 1e-9
LIVELY: Final = 0.5
"""Only a signal that repeats its last value less often can be flat: others stand still by nature."""


class Flatness(msgspec.Struct, array_like=True, gc=False):
    """Memory of runs of equal values. Counts are of observations."""

    value: float = math.nan
    run: int = 0  # how often `value` was repeated so far
    longest: int = 0  # longest run that was normal
    count: int = 0
    repeats: int = 0


def flat_limit(memory: Flatness) -> int | None:
    """Repeats from which on a run is abnormal; None for a signal that often stands still."""
    share = (memory.repeats + 1) / (memory.count + 2)
    if share >= LIVELY:
        return None
    return max(LEAST, math.ceil(math.log(CHANCE) / math.log(share)), LONGER_THAN_KNOWN * memory.longest)


def learn_run(memory: Flatness, value: float, *, learning: bool) -> None:
    """Count `value`. A run is known when it ends, but never one that reached the limit, unless `learning`."""
    limit = flat_limit(memory)
    is_known = learning or limit is None or memory.run < limit
    if value != memory.value:
        if is_known:
            memory.longest = max(memory.longest, memory.run)
        memory.value, memory.run = value, 0
        memory.count += 1
        return
    memory.run += 1
    if learning:
        memory.longest = max(memory.longest, memory.run)
    if is_known:
        memory.count += 1
        memory.repeats += 1
