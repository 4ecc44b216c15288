"""AnalyzeWithGemini as Beam runs it: streams with a clock, batches of files, nothing that waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from gemini_samples import START_US, ScriptedModel, quiet_window, truthful, window

from pipeline.analysis import KeyedNotice
from transforms.analyze.background import Background, Inline
from transforms.analyze.inbox import BatchResult
from transforms.analyze.memory import TenantMemory
from transforms.analyze.model import Model, Reply
from transforms.analyze.select import Notice, notice_of_window
from transforms.analyze.settings import AnalyzeSettings
from transforms.analyze.transform import AnalyzeWithGemini
from transforms.coders import register_coders, register_struct
from transforms.elements import MINUTE_US, Anomaly
from transforms.gemini_elements import GeminiCall, WindowEvidence

register_coders()
register_struct(Notice)

SETTINGS = AnalyzeSettings(batch_size=10, batch_timeout_seconds=60)
SEEN: dict[str, list[Any]] = {}
MODELS: dict[str, Model] = {}


@pytest.fixture(autouse=True)
def fresh() -> None:
    SEEN.clear()
    MODELS.clear()


@dataclass(frozen=True)
class Factory:
    """Makes the model that the test has put in place."""

    def connect(self) -> Model:
        return MODELS["model"]


class See(beam.DoFn):
    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, value: Any) -> None:
        SEEN.setdefault(self._name, []).append((time.monotonic(), value))


def seen(name: str) -> list[Any]:
    return [value for _, value in SEEN.get(name, [])]


def timed(evidence: WindowEvidence) -> TimestampedValue:
    at = Timestamp(micros=evidence.window_end_us - 1)
    return TimestampedValue(((evidence.tenant_id, evidence.service), notice_of_window(evidence)), at)


def second(micros: int) -> Timestamp:
    return Timestamp(micros=micros)


def run_stream(stream: TestStream, clock: Callable[[], int], jobs: Any) -> None:
    options = PipelineOptions()
    options.view_as(StandardOptions).streaming = True
    with TestPipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        found = pipeline | stream | AnalyzeWithGemini(SETTINGS, Factory(), None, clock, jobs)
        _ = found.gemini_anomalies | "SeeAnomalies" >> beam.ParDo(See("anomalies"))
        _ = found.gemini_calls | "SeeCalls" >> beam.ParDo(See("calls"))


def outcomes() -> list[tuple[str, int, str]]:
    """(service, minute, outcome) of windows."""
    calls: list[GeminiCall] = [call for call in seen("calls") if call.subject == "window"]
    return sorted((c.service, (c.window_start - START_US) // MINUTE_US, c.outcome) for c in calls)


def stream_of() -> TestStream:
    return TestStream(coder=beam.coders.registry.get_coder(beam.typehints.Any)).with_output_types(KeyedNotice)


def test_a_batch_waits_for_its_timeout_and_a_full_one_does_not() -> None:
    """After a minute of the clock, or ten windows; what is as usual is written down at once."""
    MODELS["model"] = model = ScriptedModel(truthful)
    first = [timed(window(0)), timed(quiet_window(0, "cart"))]
    full = [timed(window(minute, f"s{minute % 5}")) for minute in range(1, 11)]
    stream = (
        stream_of()
        .add_elements(first)
        .advance_watermark_to(second(START_US + MINUTE_US))
        .advance_processing_time(61)
        .add_elements(full)
        .advance_watermark_to(second(START_US + 20 * MINUTE_US))
        .advance_processing_time(1)
        .advance_watermark_to_infinity()
    )
    run_stream(stream, lambda: 0, Inline())
    assert ("cart", 0, "skipped") in outcomes()
    assert len([o for o in outcomes() if o[2] == "answered"]) == 11
    assert len(model.asked) == 6
    assert len(seen("anomalies")) == 11
    assert all(isinstance(found, Anomaly) for found in seen("anomalies"))


class Later:
    """Jobs that are ready when they were looked after three times."""

    LOOKS: ClassVar[dict[str, int]] = {}
    WORKED: ClassVar[list[str]] = []

    def result(self, job_id: str, work: Callable[[], BatchResult]) -> BatchResult | None:
        self.LOOKS[job_id] = self.LOOKS.get(job_id, 0) + 1
        if self.LOOKS[job_id] < 3:
            return None
        self.WORKED.append(job_id)
        return work()

    def ask_all(self, ask: Any, prompts: Any) -> Any:
        return map(ask, prompts)


def test_windows_that_come_while_a_batch_is_asked_about_wait_for_the_next_one() -> None:
    """None is lost and none is in two batches."""
    Later.LOOKS.clear()
    Later.WORKED.clear()
    MODELS["model"] = ScriptedModel(truthful)
    stream = stream_of()
    for minute in range(6):
        stream = (
            stream.add_elements([timed(window(minute))])
            .advance_watermark_to(second(START_US + (minute + 1) * MINUTE_US))
            .advance_processing_time(61)
        )
    for _ in range(12):
        stream = stream.advance_processing_time(61)
    run_stream(stream.advance_watermark_to_infinity(), lambda: 0, Later())
    assert [(minute, outcome in {"answered", "cached"}) for _, minute, outcome in outcomes()] == [
        (minute, True) for minute in range(6)
    ]
    assert len(Later.WORKED) == len(set(Later.WORKED)) >= 2


def test_a_drain_leaves_a_row_for_every_window_that_waits() -> None:
    """Nothing is asked any more, and nothing is lost silently."""
    MODELS["model"] = model = ScriptedModel(truthful)
    stream = stream_of().add_elements([timed(window(0)), timed(window(1))]).advance_watermark_to_infinity()
    run_stream(stream, lambda: 0, Inline())
    calls = [call for call in seen("calls") if call.subject == "window"]
    assert [(call.outcome, call.reason) for call in calls] == [("skipped", "drained")] * 2
    assert not model.asked


class StuckModel(ScriptedModel):
    """Answers when it is let go."""

    def ask(self, system: str, text: str, schema: dict[str, Any]) -> Reply:
        SEEN.setdefault("asked", []).append((time.monotonic(), threading.current_thread().name))
        LET_GO.wait(60)
        return super().ask(system, text, schema)


LET_GO = threading.Event()
LOOKS_AT_CLOCK: list[int] = []


def stepping_clock() -> int:
    """A minute and a second later each time, as the stream's own clock below."""
    LOOKS_AT_CLOCK.append(1)
    return (len(LOOKS_AT_CLOCK) - 1) * 61_000_000


def test_no_thread_of_the_runner_waits_for_an_answer() -> None:
    """A job whose Gemini never answers goes on, and ends, as if there were none."""
    MODELS["model"] = StuckModel(truthful)
    stream = stream_of().add_elements([timed(window(0))])
    for minute in range(1, 8):
        stream = (
            stream.advance_watermark_to(second(START_US + minute * MINUTE_US))
            .advance_processing_time(61)
            .add_elements([timed(quiet_window(minute))])
        )
    options = PipelineOptions()
    options.view_as(StandardOptions).streaming = True
    with TestPipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        notices = pipeline | stream.advance_watermark_to_infinity()
        _ = notices | "SeeOthers" >> beam.ParDo(See("others"))
        found = notices | AnalyzeWithGemini(SETTINGS, Factory(), None, stepping_clock, Background())
        _ = found.gemini_calls | "SeeCalls" >> beam.ParDo(See("calls"))
    threads = [thread for _, thread in SEEN["asked"]]
    LET_GO.set()
    assert [thread.startswith("gemini-batches") for thread in threads] == [True]
    assert len(seen("others")) == 8
    assert outcomes() == [("payment", minute, "skipped") for minute in range(8)]
    reasons = [call.reason for call in seen("calls")]
    assert (reasons.count("drained"), reasons.count("nothing_new")) == (1, 7)


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_repeated_bundle_finds_the_answer_and_asks_nothing() -> None:
    """The same batch of the same pipeline is worked on once in a process."""
    worked: list[int] = []

    def work() -> BatchResult:
        worked.append(1)
        return BatchResult([], TenantMemory())

    jobs = Background()
    wait_until(lambda: jobs.result("run tenant batch", work) is not None)
    assert jobs.result("run tenant batch", work) is not None
    assert worked == [1]


@pytest.mark.parametrize("order", [1, -1])
def test_files_are_analyzed_in_event_time_whatever_their_order(order: int) -> None:
    """Equal evidence is asked about once, and the first window of it is the one."""
    MODELS["model"] = model = ScriptedModel(truthful)
    windows = [window(minute) for minute in (0, 1, 30, 31)][::order]
    with TestPipeline() as pipeline:
        timed_windows = [timed(one) for one in windows]
        notices = pipeline | beam.Create(timed_windows) | beam.Map(lambda v: v).with_output_types(KeyedNotice)
        found = notices | AnalyzeWithGemini(SETTINGS, Factory())
        _ = found.gemini_calls | "SeeCalls" >> beam.ParDo(See("calls"))
    assert [(minute, outcome) for _, minute, outcome in outcomes()] == [
        (0, "answered"), (1, "cached"), (30, "cached"), (31, "cached")]  # fmt: skip
    assert len(model.asked) == 1
