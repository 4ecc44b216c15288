"""Timers in processing time of which the earliest counts."""

from __future__ import annotations

from typing import Any

from apache_beam.utils.timestamp import Timestamp


def arm_timer(armed_at: Any, timer: Any, at_us: int) -> None:
    """Set `timer` to `at_us`, unless it stands earlier.

    Beam does not say what a timer is set to: the state `armed_at` does. Whoever the timer calls clears it.
    """
    armed = armed_at.read()
    if not armed or armed > at_us:
        timer.set(Timestamp(micros=at_us))
        armed_at.write(at_us)
