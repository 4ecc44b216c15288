"""A clock for a streaming job: an element every so many seconds, on every runner."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp


@dataclass(eq=False)
class EmitTicks(beam.PTransform):
    """The time of each tick as Timestamp, in the global window: at the launch, then every `interval_seconds`.

    A job that was away gets the ticks that it missed, at once. `name` tells the timers of clocks apart.
    """

    name: str
    interval_seconds: float

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        if isinstance(root.pipeline.runner, BundleBasedDirectRunner):
            tick = beam.ParDo(_make_clock(self.name, self.interval_seconds))
            return root | "Start" >> beam.Create([("", 0)]) | "Tick" >> tick.with_output_types(Timestamp)
        impulses = PeriodicImpulse(start_timestamp=Timestamp.now(), fire_interval=self.interval_seconds)
        seconds = root | "Impulses" >> impulses
        return seconds | "Tick" >> beam.Map(Timestamp.of).with_output_types(Timestamp)


def _make_clock(name: str, interval_seconds: float) -> beam.DoFn:
    """For the BundleBasedDirectRunner, which can run neither PeriodicImpulse nor any other splittable DoFn.

    Behind a Create the watermark is at the end of time from the start, so that what comes of ticks can be
    a side input there; timers still fire. On Dataflow a timer that is set again and again blocks a drain.
    """
    tick_timer = TimerSpec(f"tick_{name}", TimeDomain.REAL_TIME)

    class _Clock(beam.DoFn):
        def process(
            self,
            element: tuple[str, int],  # noqa: ARG002
            tick: Any = beam.DoFn.TimerParam(tick_timer),
        ) -> Iterator[Timestamp]:
            now = Timestamp.now()
            tick.set(now + interval_seconds)
            yield now

        @on_timer(tick_timer)
        def tick(
            self,
            fired_at: Any = beam.DoFn.TimestampParam,
            tick: Any = beam.DoFn.TimerParam(tick_timer),
        ) -> Iterator[Timestamp]:
            now = max(fired_at, Timestamp.now())
            tick.set(now + interval_seconds)
            yield now

    return _Clock()
