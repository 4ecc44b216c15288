"""The wall clock, in the unit of all times."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]


def wall_clock_us() -> int:
    """Microseconds since 1970-01-01 UTC, now."""
    return time.time_ns() // 1_000
