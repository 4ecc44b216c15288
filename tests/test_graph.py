"""A walk over the graph of the job: what waits for what, and that nothing slow stands before a page."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import get_dofn_specs

from pipeline.main import build_job
from pipeline.options import parse_options

EVERYTHING = [
    *("--input_subscription", "projects/acme-prod/subscriptions/logs"),
    *("--metrics_subscription", "projects/acme-prod/subscriptions/metrics"),
    *("--anomaly_topic", "projects/acme-prod/topics/anomalies"),
    *("--heartbeat_topic", "projects/acme-prod/topics/heartbeats"),
    *("--commands", "acme=projects/acme-prod/subscriptions/acme-commands"),
    *("--commands", "globex=projects/acme-prod/subscriptions/globex-commands"),
]
SLOW = {"ReadMetrics", "ReadCommands", "CorrelateAnomalies", "AnalyzeWithGemini"}
"""What no page may wait for."""


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

    def before(self, node: Any) -> list[Any]:
        """`node` and all steps that feed it, by side inputs as well."""
        found: dict[str, Any] = {}
        waiting = [node]
        while waiting:
            node = waiting.pop()
            if node.full_label in found:
                continue
            found[node.full_label] = node
            inputs = [*node.inputs, *(given.pvalue for given in node.side_inputs)]
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


@pytest.fixture(params=["alerts", "alerts-{tenant}"])
def graph(request: pytest.FixtureRequest, tmp_path: Any) -> Graph:
    """The whole job over streams: with one topic, and with one a tenant."""
    return _graph(request.param, tmp_path)


@pytest.fixture(params=["alerts", "alerts-{tenant}"])
def cloud_graph(request: pytest.FixtureRequest, tmp_path: Any) -> Graph:
    """The same with BigQuery in the place of the local store."""
    return _graph(request.param, tmp_path, "--dataset=acme-prod.aiops", "--failed_rows=failed-rows")


def _graph(topic: str, tmp_path: Any, *arguments: str) -> Graph:
    (tmp_path / "past.ndjson").touch()
    past = ("--alert_events", str(tmp_path / "past.ndjson"))
    return graph_of("--alert_topic", f"projects/acme-prod/topics/{topic}", *past, *arguments)


def graph_of(*arguments: str) -> Graph:
    settings, options = parse_options([*EVERYTHING, *arguments])
    pipeline = beam.Pipeline(runner=BundleBasedDirectRunner(), options=options)
    build_job(pipeline, settings)
    return Graph(pipeline)


def test_logs_and_metrics_meet_in_alerts_and_incidents_only(graph: Graph) -> None:
    """Until ManageAlerts no step of one path is fed by the other, but for incidents, which wait for both."""
    meeting = [graph.step("AllAnomalies"), graph.step("CorrelateAnomalies/Together")]
    late = {step.full_label for first in meeting for step in (first, *graph.after(first))}
    fed_by = {
        frozenset(graph.sources(step) & {"ReadLogs", "ReadMetrics"})
        for step in graph.steps
        if step.full_label not in late
    }
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
    fed_by = {frozenset(graph.sources(step) & {"ReadLogs", *SLOW}) for step in waiting}
    assert fed_by == {frozenset({"ReadLogs"}), frozenset({"ReadMetrics"})}


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


def test_dead_letters_of_all_kinds_are_published_and_feed_nothing_else() -> None:
    """Those of logs, metrics, commands and unpublished alerts go to one topic, and to no other step."""
    topics = "projects/acme-prod/topics"
    graph = graph_of(
        *("--alert_topic", f"{topics}/alerts-{{tenant}}"), "--dead_letter_topic", f"{topics}/dead-letters"
    )
    meeting = graph.step("PublishDeadLetters/AllDeadLetters")
    assert len({letters.windowing.windowfn for letters in meeting.inputs}) == 1, "one coder for all"
    ways = [graph.maker[letters] for letters in meeting.inputs]
    makers = {graph.maker[letters].full_label.split("/")[0] for way in ways for letters in way.inputs}
    assert makers == {
        "CountDeadLetters",
        "CountMetricDeadLetters",
        "ParseAlertCommands",
        "PublishAlertEventsPerTenant",
    }
    assert {step.full_label.split("/")[0] for step in graph.after(meeting)} == {"PublishDeadLetters"}


@pytest.mark.parametrize("ending", ["WatchLedger/JudgeMinute", "WatchMetricLedger/JudgeMinute"])
def test_the_watch_of_the_ledger_feeds_nothing(graph: Graph, ending: str) -> None:
    """It looks on: what it waits for, an hour and more, nobody else waits for."""
    assert waits_for_event_time(graph.step(ending))
    assert graph.after(graph.step(ending)) == []


def test_heartbeats_stand_for_themselves(graph: Graph) -> None:
    """They come from no source of data and feed nothing but their topic, so that they hold back nothing."""
    beats = graph.step("Beat/OfMinute")
    assert graph.sources(beats) == {"Beat"}
    after = graph.after(graph.step("Beat/Clock/Start/Impulse"))
    assert beats in after
    assert {step.full_label.split("/")[0] for step in after} == {"Beat", "PublishHeartbeats"}


def test_no_message_shares_a_stage_with_bigquery(cloud_graph: Graph) -> None:
    """A shuffle stands before each request to BigQuery, and nothing that is published comes after it.

    So a server that fails holds up its own stage alone.
    """
    insert = cloud_graph.step("InsertRows")
    shuffle = cloud_graph.step("BreakFusion/ReshufflePerKey/GroupByKey")
    assert shuffle in cloud_graph.before(insert)
    behind = {step.full_label for step in cloud_graph.after(shuffle)}
    assert not [label for label in behind if not label.startswith("WriteToDataset/")]
    rows = cloud_graph.step("WriteToDataset/AllRows")
    assert {label for label in cloud_graph.sources(rows) if label.startswith("Read")} >= {
        *("ReadLogs", "ReadMetrics", "ReadCommands"),
    }


def test_the_walk_knows_what_waits(graph: Graph) -> None:
    """Windows and ordered steps are seen as steps that wait, and incidents lead to alerts: tests can fail."""
    waiting = {step.full_label for step in graph.steps if waits_for_event_time(step)}
    for part in (
        "SummarizeWindows",
        "MergeShapes",
        "WatchServices",
        "SummarizeMetrics",
        "CorrelateAnomalies",
    ):
        assert any(label.startswith(part) for label in waiting), part
    incidents = graph.step("CorrelateTenant/Order")
    assert graph.sources(incidents) >= {"ReadLogs", "ReadMetrics"}
    assert incidents in graph.before(graph.step("Manage"))
    assert incidents not in graph.before(graph.step("CombineBundle"))
