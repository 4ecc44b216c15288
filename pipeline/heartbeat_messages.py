"""Heartbeats of the job as CloudEvents: one a minute says that it works. No Beam here.

docs/events.md is the contract; docs/schemas/heartbeat.v1.json describes `data`.
"""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import quote

import msgspec

from pipeline.cloud_events import SPEC_VERSION, CloudEvent, cloud_event_message, rfc3339, sequence_text
from pipeline.messages import Message
from transforms.elements import MINUTE_US, Timestamp, content_id, describe

HEARTBEAT_SCHEMA: Final = "urn:aiops:schema:heartbeat:v1"
HEARTBEAT_TYPE: Final = "internal.aiops.job.heartbeat.v1"


class Heartbeat(msgspec.Struct, frozen=True):
    """The job was at work in this minute, or at most five later. The data of a CloudEvent."""

    heartbeat_id: Annotated[str, describe("Hash of job, start and minute: copies have the same.")]
    job_name: Annotated[str, describe("Name of the job.")]
    job_started_at: Annotated[Timestamp, describe("When it was launched.")]
    minute: Annotated[Timestamp, describe("The minute that it tells of.")]
    sequence: Annotated[int, describe("Minutes since the launch; one that is missing was not worked in.")]
    version: Annotated[str, describe("Version of the job.")]
    beam_version: Annotated[str, describe("Version of Apache Beam.")]


class JobIdentity(msgspec.Struct, frozen=True):
    """What all heartbeats of a job have in common."""

    job_name: str
    job_started_at: int  # microseconds since 1970
    version: str
    beam_version: str


def make_heartbeat(job: JobIdentity, time_us: int) -> Heartbeat:
    """The heartbeat of the minute that `time_us` is in; the same for all times of a minute."""
    minute = time_us // MINUTE_US * MINUTE_US
    return Heartbeat(
        heartbeat_id=content_id("heartbeat", job.job_name, job.job_started_at, minute),
        job_name=job.job_name,
        job_started_at=job.job_started_at,
        minute=minute,
        sequence=(minute - job.job_started_at // MINUTE_US * MINUTE_US) // MINUTE_US,
        version=job.version,
        beam_version=job.beam_version,
    )


def heartbeat_message(beat: Heartbeat) -> Message:
    """The message that `beat` is published as."""
    envelope = CloudEvent(
        specversion=SPEC_VERSION,
        id=beat.heartbeat_id,
        source=f"/jobs/{quote(beat.job_name, safe='')}",
        type=HEARTBEAT_TYPE,
        subject=beat.job_name,
        time=rfc3339(beat.minute),
        sequence=sequence_text(beat.sequence),
        dataschema=HEARTBEAT_SCHEMA,
        data=beat,
    )
    return cloud_event_message(envelope, {"job_name": beat.job_name, "sequence": envelope.sequence})
