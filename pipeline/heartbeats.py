"""The heartbeat of a running job: a counter, and a CloudEvent a minute where a topic is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.utils.timestamp import Timestamp

from pipeline.heartbeat_messages import Heartbeat, JobIdentity, heartbeat_message, make_heartbeat
from pipeline.publishing import publish_messages
from pipeline.ticks import EmitTicks
from transforms.clock import Clock, wall_clock_us
from transforms.coders import register_struct
from transforms.elements import MINUTE_US
from transforms.metering import count

INTERVAL_SECONDS: Final = 60
STALE_US: Final = 5 * MINUTE_US
"""A tick that comes later than this is of a time in which the job did nothing: there is no beat of it."""

_PACKAGE: Final = "aiops-agent"


def job_identity(options: PipelineOptions) -> JobIdentity:
    """Who beats: the job of `options`, launched now."""
    try:
        package = version(_PACKAGE)
    except PackageNotFoundError:  # run from a checkout that is not installed
        package = "0"
    name = options.view_as(GoogleCloudOptions).job_name or "aiops"
    return JobIdentity(name, wall_clock_us(), package, beam.__version__)


@dataclass(eq=False)
class Beat(beam.PTransform):
    """→ Heartbeat, one a minute.

    It goes through a worker, as lines do: a job whose workers do nothing is silent. It feeds nothing else.
    """

    job: JobIdentity
    interval_seconds: float = INTERVAL_SECONDS
    clock: Clock = wall_clock_us

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        register_struct(Heartbeat)
        beat = beam.ParDo(_Beat(self.job, self.clock)).with_output_types(Heartbeat)
        return root | "Clock" >> EmitTicks("heartbeat", self.interval_seconds) | "OfMinute" >> beat


class _Beat(beam.DoFn):
    def __init__(self, job: JobIdentity, clock: Clock) -> None:
        self._job, self._clock = job, clock

    def process(self, tick: Timestamp) -> Iterator[Heartbeat]:
        if self._clock() - tick.micros <= STALE_US:
            count("heartbeats")
            yield make_heartbeat(self._job, tick.micros)


@dataclass(eq=False)
class PublishHeartbeats(beam.PTransform):
    """Heartbeat → a CloudEvent, at least once."""

    topic: str

    def expand(self, beats: beam.PCollection) -> beam.PCollection:
        return publish_messages(beats, self.topic, heartbeat_message)
