"""How memory fades."""

from __future__ import annotations

import math
from functools import lru_cache


@lru_cache(maxsize=1024)
def decay_factor(passed_us: int, memory_us: int) -> float:
    """What is left of a sum after `passed_us` when it fades with the time constant `memory_us`."""
    return math.exp(-passed_us / memory_us)
