"""The Beam steps of the patterns room, on the FnApiRunner."""

from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import TimestampedValue

from transforms.coders import register_coders
from transforms.elements import LogBatch, LogEntry, PatternStats, WindowSummary, content_id
from transforms.patterns.transform import MergeShapes, MinePatterns

USERS = ["ana", "ben", "cleo", "dora", "egon", "fay"]


def test_mined_batches_carry_shapes():
    """MinePatterns sets the shape of each entry of a batch."""
    register_coders()
    batch = LogBatch([LogEntry("shop", "cart", 0, 200, f"paid {number}") for number in range(3)])

    def check(batches):
        assert [[entry.shape for entry in b.entries] for b in batches] == [["paid <*>"] * 3]

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        assert_that(pipeline | beam.Create([batch]) | MinePatterns(), check)


@pytest.mark.parametrize("step", [1, -1])
def test_windows_are_merged_in_event_time_order(step):
    """In whatever order windows arrive, the pattern's id is that of the shape seen first."""
    register_coders()
    windows = []
    for minute, user in enumerate(USERS):
        text = f"login of {user} from <*>"
        patterns = {content_id(text)[:16]: PatternStats(text, 1, 0, 200, [])}
        value = WindowSummary("shop", "cart", minute * 60_000_000, 60, lines=1, patterns=patterns)
        windows.append(TimestampedValue((("shop", "cart"), value), minute * 60 + 59))

    def check(outputs):
        ((key, last),) = [output for output in outputs if output[1].window_start_us == 300_000_000]
        assert key == ("shop", "cart")
        assert list(last.patterns) == [content_id("login of ana from <*>")[:16]]
        assert [stats.text for stats in last.patterns.values()] == ["login of <*> from <*>"]

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        assert_that(
            pipeline | beam.Create(windows[::step]) | beam.Map(lambda value: value) | MergeShapes(), check
        )
