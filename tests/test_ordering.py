"""The ordering mechanism on both local runners."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
import msgspec
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from transforms.coders import register_coders
from transforms.elements import WindowSummary
from transforms.ordering import IDLE_SECONDS, ProcessInOrder

register_coders()


class Seen(msgspec.Struct):
    starts: list[int] = []


class ListSeen:
    """A step that outputs what it has seen so far, and whether the value was late."""

    state_type = Seen
    output_type = str

    def initial(self) -> Seen:
        return Seen()

    def step(self, state: Seen, value: WindowSummary, *, is_late: bool) -> Iterator[str]:
        if not is_late:
            state.starts.append(value.window_start_us)
        yield f"{value.window_start_us}:{len(state.starts)}:{'late' if is_late else 'on time'}"


def at(second: int, key: str = "k", pane: int = 0) -> TimestampedValue:
    summary = WindowSummary("t", "s", second, 60, pane_index=pane)
    return TimestampedValue((key, summary), Timestamp(second))


class TimestampedCreate(beam.PTransform):
    def __init__(self, values: list[TimestampedValue]) -> None:
        self._values = values

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        return root | beam.Create(self._values) | beam.Map(lambda value: value)


COLLECTED: list[tuple[str, str]] = []


def collect(output: tuple[str, str]) -> None:
    COLLECTED.append(output)


def outputs_of(source: beam.PTransform, runner: beam.runners.PipelineRunner) -> list[tuple[str, str]]:
    """What the step puts out, in that order; both runners run in this process."""
    COLLECTED.clear()
    options = PipelineOptions(streaming=isinstance(source, TestStream))
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        _ = pipeline | source | ProcessInOrder(ListSeen(), WindowSummary) | beam.Map(collect)
    return list(COLLECTED)


@pytest.mark.parametrize("runner", [FnApiRunner, BundleBasedDirectRunner])
def test_values_of_bounded_input_are_handled_in_event_time_order(runner: type) -> None:
    """Whatever the order of arrival, each key's values come sorted."""
    values = [at(second, key) for second in (50, 10, 40, 20, 30) for key in ("k", "l")]
    outputs = outputs_of(TimestampedCreate(values), runner())
    for key in ("k", "l"):
        expected = [f"{second}:{n + 1}:on time" for n, second in enumerate((10, 20, 30, 40, 50))]
        assert [output for its_key, output in outputs if its_key == key] == expected


def test_values_wait_for_the_watermark_and_late_ones_are_told() -> None:
    """In a stream a value is handled once the watermark passes it; one that comes later is late."""
    stream = (
        TestStream()
        .add_elements([at(20), at(10)])
        .advance_watermark_to(15)
        .add_elements([at(18)])
        .advance_watermark_to(30)
        .add_elements([at(12), at(20, pane=1)])
        .advance_watermark_to(60)
        .add_elements([at(70)])
        .advance_watermark_to_infinity()
    )
    assert outputs_of(stream, BundleBasedDirectRunner()) == [
        ("k", "10:1:on time"),
        ("k", "18:2:on time"),
        ("k", "20:3:on time"),
        ("k", "12:3:late"),
        ("k", "20:3:late"),
        ("k", "70:4:on time"),
    ]


def test_a_key_is_forgotten_when_it_is_idle() -> None:
    """State expires, and a value after that starts from the initial state."""
    later = 10 + IDLE_SECONDS + 100
    stream = (
        TestStream()
        .add_elements([at(10)])
        .advance_watermark_to(20)
        .advance_watermark_to(later)
        .add_elements([at(later + 10)])
        .advance_watermark_to_infinity()
    )
    expected = [("k", "10:1:on time"), ("k", f"{later + 10}:1:on time")]
    assert outputs_of(stream, BundleBasedDirectRunner()) == expected


class Tied(msgspec.Struct):
    """A value of which a key has several in one window."""

    window_start_us: int
    pane_index: int
    tie: str


class Times(msgspec.Struct):
    waiting: list[str] = []


class EndTimes:
    """A step that says what each timestamp had when it is over."""

    state_type = Times
    output_type = str

    def initial(self) -> Times:
        return Times()

    def step(self, state: Times, value: Tied, *, is_late: bool) -> Iterator[str]:
        state.waiting.append(value.tie + ("!" if is_late else ""))
        yield from ()

    def end_time(self, state: Times, time_us: int) -> Iterator[str]:
        yield f"{time_us // 1_000_000}:{''.join(state.waiting)}"
        state.waiting = []


def tied(second: int, tie: str) -> TimestampedValue:
    return TimestampedValue(("k", Tied(second, 0, tie)), Timestamp(second))


def ends_of(source: beam.PTransform, runner: beam.runners.PipelineRunner) -> list[tuple[str, str]]:
    COLLECTED.clear()
    options = PipelineOptions(streaming=isinstance(source, TestStream))
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        _ = pipeline | source | ProcessInOrder(EndTimes(), Tied) | beam.Map(collect)
    return list(COLLECTED)


@pytest.mark.parametrize("runner", [FnApiRunner, BundleBasedDirectRunner])
def test_a_step_hears_when_a_timestamp_is_over(runner: type) -> None:
    """Once for each, with all its values in the order of `tie`, whatever order they came in."""
    values = [tied(second, tie) for tie in "cab" for second in (20, 10)]
    assert ends_of(TimestampedCreate(values), runner()) == [("k", "10:abc"), ("k", "20:abc")]


def test_a_timestamp_that_was_over_is_over_once_more_for_late_values() -> None:
    """In a stream, with what came late alone."""
    stream = (
        TestStream()
        .add_elements([tied(10, "b"), tied(20, "x"), tied(10, "a")])
        .advance_watermark_to(15)
        .add_elements([tied(20, "w"), tied(10, "c")])
        .advance_watermark_to(40)
        .advance_watermark_to_infinity()
    )
    assert ends_of(stream, BundleBasedDirectRunner()) == [("k", "10:ab"), ("k", "10:c!"), ("k", "20:wx")]
