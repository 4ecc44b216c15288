"""The one way in which the job cuts time into windows and revises them."""

from __future__ import annotations

from typing import Final

import apache_beam as beam
from apache_beam.transforms.trigger import AccumulationMode, AfterProcessingTime, AfterWatermark
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.timestamp import Duration

ALLOWED_LATENESS_SECONDS: Final = 70 * 60
"""An hour more than Parse lets through as not late, so that Beam never drops a line unseen."""

LATE_PANE_DELAY_SECONDS: Final = 30
"""Late data of a window is gathered this long before the window is revised."""


def window_into(seconds: int) -> beam.WindowInto:
    """Fixed windows with one pane on time and accumulating panes for late data."""
    return beam.WindowInto(
        FixedWindows(seconds),
        trigger=AfterWatermark(late=AfterProcessingTime(LATE_PANE_DELAY_SECONDS)),
        accumulation_mode=AccumulationMode.ACCUMULATING,
        allowed_lateness=Duration(ALLOWED_LATENESS_SECONDS),
    )
