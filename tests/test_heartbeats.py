"""The sign of life of a running job: which minute it tells of, on which runner, and when it is silent."""

from __future__ import annotations

import json
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from pipeline import ticks
from pipeline.heartbeat_messages import (
    HEARTBEAT_SCHEMA,
    Heartbeat,
    JobIdentity,
    heartbeat_message,
    make_heartbeat,
)
from pipeline.heartbeats import STALE_US, Beat, _Beat, job_identity
from transforms.elements import MINUTE_US

START = 1_768_226_430_000_000  # 2026-01-12T14:00:30Z
JOB = JobIdentity("aiops", START, "0.1.0", "2.77.0")
SCHEMA = Path(__file__).parent.parent / "docs" / "schemas" / "heartbeat.v1.json"
BEATS: list[Heartbeat] = []


@given(st.integers(0, 10_000), st.integers(0, MINUTE_US - 1), st.integers(0, MINUTE_US - 1))
def test_all_ticks_of_a_minute_are_one_heartbeat(minutes: int, first: int, second: int) -> None:
    """Copies have the same id; the sequence counts minutes since the launch, and none is left out."""
    minute = (START // MINUTE_US + minutes) * MINUTE_US
    beat = make_heartbeat(JOB, minute + first)
    assert beat == make_heartbeat(JOB, minute + second)
    assert (beat.minute, beat.sequence) == (minute, minutes)
    assert make_heartbeat(JOB, minute + MINUTE_US).heartbeat_id != beat.heartbeat_id


def test_jobs_and_launches_do_not_share_heartbeats() -> None:
    """A second job of the name, or another job, beats under ids of its own."""
    others = [JobIdentity("aiops", START + 1, "0.1.0", "2.77.0"), JobIdentity("b", START, "0.1.0", "2.77.0")]
    ids = {make_heartbeat(job, START).heartbeat_id for job in (JOB, *others)}
    assert len(ids) == 3


def test_a_heartbeat_is_a_cloud_event() -> None:
    """Envelope, attributes and schema as docs/events.md say them."""
    message = heartbeat_message(make_heartbeat(JOB, START + 3 * MINUTE_US))
    event = json.loads(message.data)
    data = event.pop("data")
    assert event == {
        "specversion": "1.0",
        "id": data["heartbeat_id"],
        "source": "/jobs/aiops",
        "type": "internal.aiops.job.heartbeat.v1",
        "subject": "aiops",
        "time": "2026-01-12T14:03:00.000000Z",
        "datacontenttype": "application/json",
        "dataschema": HEARTBEAT_SCHEMA,
        "sequence": "0000000003",
    }
    assert message.attributes["ce-type"] == event["type"]
    assert message.attributes["job_name"] == "aiops"
    schema = json.loads(SCHEMA.read_text())
    assert schema["$id"] == HEARTBEAT_SCHEMA
    assert set(schema["required"]) == set(data)


def test_a_job_is_known_by_the_name_that_it_was_launched_with() -> None:
    """The job's name comes from Beam's own option; here it is aiops."""
    assert job_identity(PipelineOptions(["--job_name=aiops-prod"])).job_name == "aiops-prod"
    assert job_identity(PipelineOptions([])).job_name == "aiops"


def collect(beat: Heartbeat) -> None:
    BEATS.append(beat)


def test_the_local_streaming_runner_beats_as_time_passes() -> None:
    """At the launch, and once for each minute of the runner's clock."""
    BEATS.clear()
    start = int(time.time())
    stream = TestStream(coder=beam.coders.BytesCoder()).advance_processing_time(start + 61)
    for _ in range(3):
        stream = stream.advance_processing_time(60)
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=PipelineOptions(["--streaming"])) as root:
        _ = root | stream.advance_watermark_to_infinity()
        _ = root | Beat(JOB) | beam.Map(collect)
    minutes = [beat.minute // MINUTE_US for beat in BEATS]
    assert len(minutes) >= 4
    assert minutes == list(range(minutes[0], minutes[0] + len(minutes)))


def test_other_runners_beat_by_impulses(monkeypatch: pytest.MonkeyPatch) -> None:
    """PeriodicImpulse, as on Dataflow, gives a tick at once and one each interval."""

    def ending_impulse(start_timestamp: Timestamp, fire_interval: float) -> PeriodicImpulse:
        return PeriodicImpulse(start_timestamp, start_timestamp + 4 * fire_interval, fire_interval)

    monkeypatch.setattr(ticks, "PeriodicImpulse", ending_impulse)
    BEATS.clear()
    with beam.Pipeline(runner=FnApiRunner()) as root:
        _ = root | Beat(JOB, interval_seconds=0.3) | beam.Map(collect)
    assert len(BEATS) == 4


def test_a_minute_in_which_nothing_was_done_has_no_heartbeat() -> None:
    """Ticks that are made up for later say nothing of the time before; the counter counts what was told."""
    now = START + 60 * MINUTE_US
    late = [now, now - STALE_US, now - STALE_US - 1, START]
    root = beam.Pipeline(runner=FnApiRunner())
    _ = root | beam.Create([Timestamp(micros=tick) for tick in late]) | beam.ParDo(_Beat(JOB, lambda: now))
    result = root.run()
    (counter,) = result.metrics().query()["counters"]
    assert (counter.key.metric.name, counter.committed) == ("heartbeats", 2)
