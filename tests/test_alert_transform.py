"""ManageAlerts on both local runners: a stream with timers, and bounded input in any order."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

import apache_beam as beam
import pytest
from alert_bench import MINUTE, START, contradiction, make_anomaly, make_incident
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from benchmarks.storm import Worker
from transforms.alert.settings import AlertSettings
from transforms.alert.transform import ManageAlerts
from transforms.alert_elements import AlertCommand, AlertEvent
from transforms.coders import StructCoder, register_coders
from transforms.elements import MICROSECONDS, Anomaly
from transforms.incident_elements import Incident

register_coders()

START_SECONDS = START // MICROSECONDS
COLLECTED: list[AlertEvent] = []
"""Both runners run in this process."""


class Wall:
    """A wall clock that says when the newest anomaly was detected."""

    now = START


def wall() -> int:
    return Wall.now


def look_at_clock(anomaly: Anomaly) -> Anomaly:
    Wall.now = max(Wall.now, anomaly.detected_at)
    return anomaly


def collect(event: AlertEvent) -> None:
    COLLECTED.append(event)


def of_stream(
    stream: TestStream, past: list[AlertEvent] | None = None, **given: Any
) -> list[tuple[str, str, int]]:
    """(service, event type, seconds after START) in the order of the log."""
    COLLECTED.clear()
    Wall.now = START
    options = PipelineOptions(streaming=True)
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        anomalies = pipeline | stream | beam.Map(look_at_clock).with_output_types(Anomaly)
        log = pipeline | "Past" >> beam.Create(past) if past is not None else None
        _ = anomalies | ManageAlerts(clock=wall, past=log, **given) | beam.Map(collect)
    assert contradiction([*(past or []), *COLLECTED]) == ""
    ordered = sorted(COLLECTED, key=lambda event: (event.occurred_at, event.service, event.sequence))
    return [
        (event.service, event.event_type, (event.occurred_at - START) // MICROSECONDS) for event in ordered
    ]


def stream_at_start() -> TestStream:
    return TestStream(coder=StructCoder(Anomaly)).advance_processing_time(START_SECONDS)


def test_a_stream_opens_after_the_group_wait_and_resolves_by_quiet() -> None:
    """The timer of processing time opens, tells and resolves; the watermark has no part in it."""
    stream = (
        stream_at_start()
        .add_elements([make_anomaly("cart"), make_anomaly("pay"), make_anomaly("cart")])
        .advance_processing_time(31)
        .add_elements([make_anomaly("cart", "latency", at=START + 40 * MICROSECONDS)])
        .advance_processing_time(3600)
        .advance_watermark_to_infinity()
    )
    assert of_stream(stream) == [
        ("cart", "opened", 30),
        ("pay", "opened", 30),
        ("cart", "updated", 330),
        ("pay", "resolved", 930),
        ("cart", "resolved", 940),
    ]


def test_the_end_of_a_stream_tells_what_waits_and_waits_for_nothing() -> None:
    """A drain opens groups that wait, and is not held up by quiet that is due in minutes."""
    stream = stream_at_start().add_elements([make_anomaly("cart")]).advance_watermark_to_infinity()
    [(service, event_type, seconds)] = of_stream(stream)
    assert (service, event_type) == ("cart", "opened")
    assert seconds <= 30


def test_a_drain_does_not_wait_for_what_is_due_later() -> None:
    """An open alert would resolve in 15 minutes: the job ends without it, and the alert stays open."""
    stream = stream_at_start().add_elements([make_anomaly("cart")]).advance_processing_time(31)
    assert of_stream(stream.advance_watermark_to_infinity()) == [("cart", "opened", 30)]


def test_after_a_drain_no_timer_is_set_again() -> None:
    """Dataflow waits for timers of processing time: what is due in weeks must not be left behind."""
    worker = Worker(AlertSettings())
    started = worker.now
    worker.push(started, "bundle", [make_anomaly("cart", tenant_id="t", at=START)])
    worker.run(started + 60)
    key = worker._keys["manage", "t"]
    states = (key["inbox"], key["book"], key["phase"], key["armed_at"])
    assert key["due"].due_us is not None
    assert list(worker._manage.end("t", *states, key["due"])) == []
    assert key["due"].due_us is None
    worker.push(worker.now, "bundle", [make_anomaly("pay", tenant_id="t", at=START)])
    worker.run(worker.now + 60)
    assert [event.service for _, event in worker.log] == ["cart", "pay"]
    assert key["due"].due_us is None


def test_a_stream_begins_with_the_log_of_the_past() -> None:
    """An open alert stays the same alert; one whose tenant is silent now resolves by quiet all the same."""
    first = stream_at_start().add_elements(
        [make_anomaly("cart"), make_anomaly("pay"), make_anomaly("mail", tenant_id="quiet")]
    )
    of_stream(first.advance_watermark_to_infinity())
    past = list(COLLECTED)
    second = (
        stream_at_start()
        .add_elements([make_anomaly("cart"), make_anomaly("cart", "latency", severity="critical")])
        .advance_processing_time(3600)
        .advance_watermark_to_infinity()
    )
    assert [(service, event_type) for service, event_type, _ in of_stream(second, past)] == [
        ("cart", "escalated"),
        ("cart", "resolved"),
        ("mail", "resolved"),
        ("pay", "resolved"),
    ]


def bounded(
    anomalies: Iterable[Anomaly],
    incidents: Iterable[Incident] = (),
    commands: Iterable[AlertCommand] = (),
    past: list[AlertEvent] | None = None,
    runner: type = FnApiRunner,
) -> list[AlertEvent]:
    COLLECTED.clear()
    with beam.Pipeline(runner=runner()) as pipeline:
        given = {
            "incidents": pipeline | "Incidents" >> beam.Create(list(incidents), reshuffle=False),
            "commands": pipeline | "Commands" >> beam.Create(list(commands), reshuffle=False),
            "past": pipeline | "Past" >> beam.Create(past or [], reshuffle=False),
        }
        timed = [TimestampedValue(one, Timestamp(micros=one.detected_at)) for one in anomalies]
        source = pipeline | beam.Create(timed) | beam.Map(lambda one: one).with_output_types(Anomaly)
        _ = source | ManageAlerts(AlertSettings(), **given) | beam.Map(collect)
    return sorted(COLLECTED, key=lambda event: (event.occurred_at, event.alert_id, event.sequence))


def history() -> tuple[list[Anomaly], list[Incident], list[AlertCommand]]:
    anomalies = [
        make_anomaly(service, detector, severity, START + minute * MINUTE, tenant_id=tenant)
        for tenant in ("acme", "globex")
        for minute in (0, 1, 2, 30, 31, 75)
        for service, detector, severity in (
            ("cart", "error_rate", "high"),
            ("db", "latency", "low"),
            ("db", f"detector-{minute}", "critical" if minute > 30 else "low"),
        )
    ]
    members = [one for one in anomalies if one.tenant_id == "acme"][:3]
    incident = make_incident(members, "db", updated_at=START + 90 * MICROSECONDS)
    command = AlertCommand("c1", "acme", "comment", "ann", START + 5 * MINUTE, alert_id="x", note="?")
    return anomalies, [incident], [command]


@pytest.mark.parametrize("runner", [FnApiRunner, BundleBasedDirectRunner])
def test_bounded_input_gives_the_same_log_in_any_order(runner: type) -> None:
    """Each value is taken at its own time, sorted; the last alerts stay open, for the end is not quiet."""
    anomalies, incidents, commands = history()
    expected = bounded(anomalies, incidents, commands)
    assert contradiction(expected) == ""
    assert {event.event_type for event in expected} >= {
        *("opened", "updated", "escalated", "resolved", "reopened", "rejected"),
    }
    assert any(event.inhibited_by for event in expected)
    last = {event.alert_id: event for event in expected if event.group_key != "rejected"}
    assert all(event.status == "open" for event in last.values())
    Random(7).shuffle(anomalies)
    assert bounded(anomalies, incidents, commands, runner=runner) == expected


def test_the_same_file_again_over_its_own_log_says_nothing_new() -> None:
    """A run over a store that has the log already adds nothing for what it knows."""
    anomalies, incidents, commands = history()
    log = bounded(anomalies, incidents, commands)
    again = bounded(anomalies, (), commands, past=log)
    assert [event for event in again if event.event_type in {"opened", "reopened", "rejected"}] == []
    assert contradiction([*log, *again]) == ""


def test_tenants_have_nothing_in_common() -> None:
    """Each has a book of its own: the same services give alerts of their own."""
    anomalies, _, _ = history()
    log = bounded(anomalies)
    alone = bounded([one for one in anomalies if one.tenant_id == "acme"])
    assert [event for event in log if event.tenant_id == "acme"] == alone
    assert len({event.alert_id for event in log}) == 2 * len({event.alert_id for event in alone})


def test_no_input_gives_no_log() -> None:
    """Nor does a log alone."""
    assert bounded([]) == []
    log = bounded([make_anomaly()])
    assert bounded([], past=log) == []
