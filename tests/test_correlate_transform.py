"""CorrelateAnomalies on both local runners, and its place in the graph of the job."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from correlate_bench import make_anomaly, mesh

from pipeline.main import build_job
from pipeline.settings import Settings
from transforms.coders import register_coders
from transforms.correlate.transform import DEPENDENCIES, INCIDENTS, CorrelateAnomalies
from transforms.elements import MINUTE_US, Anomaly, WindowSummary, content_id

register_coders()

CALLS = [("web", "cart"), ("cart", "db")]
MINUTES = 30
COLLECTED: list[tuple[str, bytes]] = []

Element = WindowSummary | Anomaly


def summaries_of(minute: int, tenant_id: str) -> list[WindowSummary]:
    facts = mesh(CALLS)
    return [
        WindowSummary(tenant_id, name, minute * MINUTE_US, 60, lines=found.lines, callers=found.callers)
        for name, found in facts.items()
    ]


def anomalies_of(minute: int, tenant_id: str) -> list[Anomaly]:
    """Errors that begin at db in minute 5 and last ten minutes, and reach its callers a minute later each."""
    ill = [name for delay, name in enumerate(("db", "cart", "web")) if 5 + delay <= minute < 15]
    found = [make_anomaly(name, minute, tenant_id=tenant_id) for name in ill]
    return [msgspec.structs.replace(one, anomaly_id=content_id(one.anomaly_id, tenant_id)) for one in found]


def elements_of(minute: int, tenants: tuple[str, ...]) -> list[TimestampedValue]:
    end = Timestamp(micros=(minute + 1) * MINUTE_US - 1)
    elements: list[Element] = []
    for tenant_id in tenants:
        elements += [*summaries_of(minute, tenant_id), *anomalies_of(minute, tenant_id)]
    return [TimestampedValue(element, end) for element in elements]


class AllAtOnce(beam.PTransform):
    """Everything in one bounded collection, shuffled."""

    def __init__(self, tenants: tuple[str, ...], seed: int = 0) -> None:
        self._tenants, self._seed = tenants, seed

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        elements = [one for minute in range(MINUTES) for one in elements_of(minute, self._tenants)]
        random.Random(self._seed).shuffle(elements)
        return root | beam.Create(elements) | beam.Map(lambda value: value)


def as_stream(tenants: tuple[str, ...], seed: int = 0) -> TestStream:
    """Minute by minute, shuffled within three minutes, with a watermark that follows two minutes behind."""
    rand = random.Random(seed)
    stream = TestStream()
    for first in range(0, MINUTES, 3):
        elements = [one for minute in range(first, first + 3) for one in elements_of(minute, tenants)]
        rand.shuffle(elements)
        for part in (elements[: len(elements) // 2], elements[len(elements) // 2 :]):
            stream.add_elements(part)
        stream.advance_watermark_to((first + 1 + 2) * 60 - 1)
    return stream.advance_watermark_to_infinity()


def collect(row: tuple[str, Any]) -> None:
    COLLECTED.append((row[0], msgspec.msgpack.encode(row[1])))


def key_summary(summary: Element) -> Iterator[tuple[tuple[str, str], WindowSummary]]:
    if isinstance(summary, WindowSummary):
        yield (summary.tenant_id, summary.service), summary


def only_anomalies(anomaly: Element) -> Iterator[Anomaly]:
    if isinstance(anomaly, Anomaly):
        yield anomaly


def outputs_of(source: beam.PTransform, runner: Any) -> list[tuple[str, bytes]]:
    COLLECTED.clear()
    options = PipelineOptions(streaming=isinstance(source, TestStream))
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        elements = pipeline | source
        keyed = tuple[tuple[str, str], WindowSummary]
        summaries = elements | "Summaries" >> beam.FlatMap(key_summary).with_output_types(keyed)
        anomalies = elements | "Anomalies" >> beam.FlatMap(only_anomalies).with_output_types(Anomaly)
        found = ((summaries,), (anomalies,)) | CorrelateAnomalies()
        for name in (INCIDENTS, DEPENDENCIES):
            named = found[name] | f"Name {name}" >> beam.Map(lambda row, name=name: (name, row))
            _ = named | f"Collect {name}" >> beam.Map(collect)
    return sorted(COLLECTED)


def incidents_in(outputs: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
    return [msgspec.msgpack.decode(row) for name, row in outputs if name == INCIDENTS]


@pytest.mark.slow
def test_a_stream_gives_the_incidents_and_dependencies_that_files_give() -> None:
    """Byte for byte, in any order of arrival, on both runners."""
    bounded = outputs_of(AllAtOnce(("shop",)), FnApiRunner())
    assert outputs_of(AllAtOnce(("shop",), seed=1), BundleBasedDirectRunner()) == bounded
    for seed in (2, 3):
        assert outputs_of(as_stream(("shop",), seed), BundleBasedDirectRunner()) == bounded
    incidents = sorted(incidents_in(bounded), key=lambda one: one["revision"])
    assert len({one["incident_id"] for one in incidents}) == 1
    assert [one["status"] for one in incidents] == [
        "open",
        *["updated"] * (len(incidents) - 3),
        "quiet",
        "closed",
    ]
    assert {one["root_causes"][0]["service"] for one in incidents} == {"db"}
    assert [name for name, _ in bounded].count(DEPENDENCIES) == 3 * len(CALLS)


def test_two_tenants_never_meet() -> None:
    """With the same services and the same trouble each has the rows that it has alone."""
    alone = [
        *outputs_of(AllAtOnce(("shop",)), FnApiRunner()),
        *outputs_of(AllAtOnce(("other",)), FnApiRunner()),
    ]
    assert outputs_of(AllAtOnce(("shop", "other")), FnApiRunner()) == sorted(alone)
    incidents = incidents_in(alone)
    assert {one["tenant_id"] for one in incidents} == {"shop", "other"}
    assert len({one["incident_id"] for one in incidents}) == 2


@pytest.mark.slow
def test_late_anomalies_revise_and_late_summaries_do_not() -> None:
    """An anomaly that comes after its time joins, its withdrawal takes it back; the rest stays as it was."""
    late = make_anomaly("web", 5)
    moment = Timestamp(micros=6 * MINUTE_US - 1)
    callers = summaries_of(0, "shop")[1].callers
    after = {
        9: msgspec.structs.replace(late, revision=1),
        14: msgspec.structs.replace(late, revision=2, status="withdrawn"),
        16: WindowSummary("shop", "new", 5 * MINUTE_US, 60, callers=callers, pane_index=1),
    }
    stream = TestStream()
    for minute in range(MINUTES):
        stream.add_elements(elements_of(minute, ("shop",)))
        stream.advance_watermark_to((minute + 1) * 60 + 1)
        if minute in after:
            stream.add_elements([TimestampedValue(after[minute], moment)])
    outputs = outputs_of(stream.advance_watermark_to_infinity(), BundleBasedDirectRunner())
    incidents = sorted(incidents_in(outputs), key=lambda one: one["revision"])
    listed = [late.anomaly_id in [member["anomaly_id"] for member in one["anomalies"]] for one in incidents]
    assert any(listed)
    assert not listed[-1]
    dependencies = [msgspec.msgpack.decode(row) for name, row in outputs if name == DEPENDENCIES]
    assert not any("new" in (row["caller"], row["callee"]) for row in dependencies)
    plain = incidents_in(outputs_of(AllAtOnce(("shop",)), FnApiRunner()))
    last = max(plain, key=lambda one: one["revision"])
    for name in ("anomaly_count", "affected_services", "status", "closed_at", "incident_id"):
        assert incidents[-1][name] == last[name], name


# --------------------------------------------------------------------------------- the graph


class Producers(PipelineVisitor):
    """Which step makes what another one takes."""

    def __init__(self) -> None:
        self.of: dict[beam.pvalue.PValue, AppliedPTransform] = {}
        self.steps: list[AppliedPTransform] = []

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        self.steps.append(transform_node)
        for output in transform_node.outputs.values():
            self.of[output] = transform_node

    def before(self, label: str) -> set[str]:
        """Full labels of all steps that the step `label` waits for, itself included."""
        pending = [step for step in self.steps if step.full_label.split("/")[0] == label]
        assert pending, label
        seen: set[str] = set()
        while pending:
            step = pending.pop()
            if step.full_label not in seen:
                seen.add(step.full_label)
                inputs = [*step.inputs, *(side.pvalue for side in step.side_inputs)]
                pending += [self.of[value] for value in inputs if value in self.of]
        return seen


@pytest.fixture(scope="module")
def graph_of_the_job() -> Producers:
    subscription = "projects/acme-test/subscriptions/{}".format
    topic = "projects/acme-test/topics/anomalies"
    settings = Settings(
        input_subscription=subscription("logs"),
        metrics_subscription=subscription("metrics"),
        anomaly_topic=topic,
        store=":memory:",
    )
    pipeline = beam.Pipeline(runner=BundleBasedDirectRunner(), options=PipelineOptions(streaming=True))
    build_job(pipeline, settings)
    producers = Producers()
    pipeline.visit(producers)
    return producers


@pytest.mark.parametrize(
    ("label", "metrics"),
    [
        ("Write anomalies", False),
        ("PublishAnomalies", False),
        ("Write windows", False),
        ("Write metric_anomalies", True),
        ("PublishMetricAnomalies", True),
    ],
)
def test_no_anomaly_waits_for_incidents_or_for_the_other_source(
    graph_of_the_job: Producers, label: str, metrics: bool
) -> None:
    """What is written and published of anomalies stands behind neither correlation nor the slower source."""
    first = {step.split("/")[0] for step in graph_of_the_job.before(label)}
    assert "CorrelateAnomalies" not in first
    assert ("ReadMetrics" in first, "ReadLogs" in first) == (metrics, not metrics)


@pytest.mark.parametrize("label", ["Write incidents", "Write dependencies"])
def test_incidents_see_logs_and_metrics(graph_of_the_job: Producers, label: str) -> None:
    """They stand behind both sources, and behind both detectors."""
    first = {step.split("/")[0] for step in graph_of_the_job.before(label)}
    assert {
        "ReadLogs",
        "ReadMetrics",
        "DetectAnomalies",
        "DetectMetricAnomalies",
        "CorrelateAnomalies",
    } <= first
