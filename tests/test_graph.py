"""A walk over the graph of the job: what waits for what, and that nothing slow stands before a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import get_dofn_specs
from apache_beam.transforms.window import FixedWindows

from pipeline.graph import build_alerts_graph, build_graph, build_metrics_graph
from pipeline.main import (
    build_job,
    graph_settings,
    make_commands,
    make_metrics_source,
    make_past_alerts,
    make_source,
)
from pipeline.options import Settings, parse_options
from pipeline.rules_source import WatchRules
from transforms.elements import Anomaly
from transforms.incident_elements import Incident

EVERYTHING = [
    *("--input_subscription", "projects/acme-prod/subscriptions/logs"),
    *("--metrics_subscription", "projects/acme-prod/subscriptions/metrics"),
    *("--anomaly_topic", "projects/acme-prod/topics/anomalies"),
    *("--commands", "acme=projects/acme-prod/subscriptions/acme-commands"),
    *("--commands", "globex=projects/acme-prod/subscriptions/globex-commands"),
]
SLOW = {"ReadMetrics", "ReadCommands", "CorrelateAnomalies", "AnalyzeWithGemini"}
"""What no page may wait for."""


class Correlated(beam.PTransform):
    """Stands for all that takes event time over logs and metrics: incidents of 15 minutes."""

    def expand(self, anomalies: Any) -> Any:
        return (
            anomalies
            | beam.WindowInto(FixedWindows(900))
            | beam.Map(lambda anomaly: (anomaly.tenant_id, anomaly))
            | beam.GroupByKey()
            | beam.FlatMap(no_incidents).with_output_types(Incident)
        )


def no_incidents(element: tuple[str, Iterable[Anomaly]]) -> Iterator[Incident]:
    yield from ()


def build_with_incidents(pipeline: beam.Pipeline, settings: Settings) -> None:
    stages = graph_settings(settings)
    rules = WatchRules(settings.rules, streaming=True)
    logs = build_graph(pipeline, make_source(settings), rules, stages).anomalies
    metrics = build_metrics_graph(pipeline, make_metrics_source(settings), stages).anomalies
    both = (logs, metrics) | "CorrelateAnomaliesOfBoth" >> beam.Flatten()
    incidents = both | "CorrelateAnomalies" >> Correlated()
    build_alerts_graph(
        pipeline, [logs, metrics], stages, incidents, make_commands(settings), make_past_alerts(settings)
    )


class Graph:
    """Steps that do something, and what each is fed by."""

    def __init__(self, pipeline: beam.Pipeline) -> None:
        self.steps: list[Any] = []
        self.maker: dict[Any, Any] = {}  # of a collection

        class Walk(beam.pipeline.PipelineVisitor):
            def visit_transform(_, node: Any) -> None:  # noqa: N805
                self.steps.append(node)
                self.maker |= dict.fromkeys(node.outputs.values(), node)

        pipeline.visit(Walk())

    def step(self, ending: str) -> Any:
        """The one step whose label ends so."""
        (found,) = [node for node in self.steps if node.full_label.endswith(ending)]
        return found

    def before(self, node: Any, *, side: bool = True) -> list[Any]:
        """`node` and all steps that feed it, by side inputs as well."""
        found: dict[str, Any] = {}
        waiting = [node]
        while waiting:
            node = waiting.pop()
            if node.full_label in found:
                continue
            found[node.full_label] = node
            inputs = [*node.inputs, *(given.pvalue for given in node.side_inputs if side)]
            waiting += [self.maker[value] for value in inputs if value in self.maker]
        return list(found.values())

    def after(self, node: Any) -> list[Any]:
        """All steps that `node` feeds."""
        return [step for step in self.steps if step is not node and node in self.before(step)]

    def sources(self, node: Any) -> set[str]:
        """First parts of the labels of all that feeds `node`."""
        return {step.full_label.split("/")[0] for step in self.before(node)}


def waits_for_event_time(node: Any) -> bool:
    """Whether the step holds elements back until a watermark has passed."""
    if isinstance(node.transform, beam.GroupByKey):
        return True
    return TimeDomain.WATERMARK in timers_of(node).values()


def timers_of(node: Any) -> dict[str, str]:
    if not isinstance(node.transform, beam.ParDo):
        return {}
    _, timers = get_dofn_specs(node.transform.fn)
    return {timer.name.removeprefix("ts-"): timer.time_domain for timer in timers}


@pytest.fixture(params=["--alert_topic", "--alert_topic_per_tenant", "incidents"])
def graph(request: pytest.FixtureRequest, tmp_path: Any) -> Graph:
    """The whole job over streams: with one topic, with one a tenant, and with incidents."""
    (tmp_path / "past.ndjson").touch()
    name = "alerts-{tenant}" if "tenant" in request.param else "alerts"
    settings, options = parse_options(
        [
            *EVERYTHING,
            *("--alert_topic", f"projects/acme-prod/topics/{name}"),
            *("--alert_events", str(tmp_path / "past.ndjson")),
        ]
    )
    pipeline = beam.Pipeline(runner=BundleBasedDirectRunner(), options=options)
    if request.param == "incidents":
        build_with_incidents(pipeline, settings)
    else:
        build_job(pipeline, settings)
    return Graph(pipeline)


def test_logs_and_metrics_meet_in_alerts_only(graph: Graph) -> None:
    """Until ManageAlerts no step of one path is fed by the other; incidents may wait for both."""
    meeting = graph.step("AllAnomalies")
    late = {step.full_label for step in graph.after(meeting)} | {meeting.full_label}
    fed_by = set()
    for step in graph.steps:
        if step.full_label not in late and not step.full_label.startswith(("Correlate", "ManageAlerts")):
            fed_by.add(frozenset(graph.sources(step) & {"ReadLogs", "ReadMetrics"}))
    assert fed_by == {frozenset(), frozenset({"ReadLogs"}), frozenset({"ReadMetrics"})}


def test_a_flatten_is_all_that_stands_between_anomalies_and_alerts(graph: Graph) -> None:
    """Each anomaly is on its way to its alert with no step that waits, since it was found."""
    taking = graph.step("CombineBundle")
    meeting = graph.step("AllAnomalies")
    between = [step for step in graph.before(taking) if step in graph.after(meeting)]
    assert between
    assert not [step.full_label for step in between if waits_for_event_time(step)]


def test_nothing_slow_stands_before_a_page(graph: Graph) -> None:
    """Walking back from what opens alerts along its anomalies: whatever waits, waits for one source."""
    waiting = [step for step in graph.before(graph.step("CombineBundle")) if waits_for_event_time(step)]
    assert waiting
    for step in waiting:
        sources = graph.sources(step)
        assert not (sources & SLOW if "ReadLogs" in sources else sources & (SLOW - {"ReadMetrics"})), step


def test_what_opens_alerts_waits_for_nothing_itself(graph: Graph) -> None:
    """From the anomalies to `opened` only the wall clock is waited for, and the bounded past once."""
    manage, taking = graph.step("Manage"), graph.step("CombineBundle")
    between = [step for step in graph.before(manage) if step in graph.after(taking) and step is not manage]
    assert not [step.full_label for step in between if waits_for_event_time(step)]
    # The one timer of event time stands at the end of all time, for a drain.
    assert {
        name for name, domain in timers_of(manage).items() if domain == TimeDomain.WATERMARK
    } == {"alerts_end"}  # fmt: skip
    for given in manage.side_inputs:
        assert given.pvalue.is_bounded
        assert graph.sources(graph.maker[given.pvalue]) & {"ReadLogs", *SLOW} == set()


def test_nothing_slow_stands_between_an_alert_and_its_message(graph: Graph) -> None:
    """Events go to topics and store at once."""
    after = graph.after(graph.step("Manage"))
    assert after
    assert not [step.full_label for step in after if waits_for_event_time(step)]


def test_the_walk_knows_what_waits(graph: Graph) -> None:
    """Windows, ordered steps and incidents are seen as steps that wait: the other tests can fail."""
    waiting = {step.full_label for step in graph.steps if waits_for_event_time(step)}
    for part in ("SummarizeWindows", "MergeShapes", "WatchServices", "SummarizeMetrics"):
        assert any(label.startswith(part) for label in waiting), part
    for step in graph.steps:
        if step.full_label.startswith("CorrelateAnomalies/GroupByKey"):
            assert graph.sources(step) >= {"ReadLogs", "ReadMetrics"}
            assert step in graph.before(graph.step("Manage"))
