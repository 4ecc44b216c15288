"""The whole job on one page. Sources, rules and sinks are arguments: a test, a laptop and Dataflow
build the same graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import apache_beam as beam

from pipeline.alert_sources import ParseAlertCommands
from pipeline.analysis import AddNarratives, MakeNotices
from pipeline.sinks import MakeRows, MakeWindowRows
from transforms.alert.catalog import EMPTY_CATALOG, ServiceCatalog
from transforms.alert.settings import AlertSettings
from transforms.alert.transform import ManageAlerts
from transforms.analyze.model import ModelFactory
from transforms.analyze.settings import AnalyzeSettings
from transforms.analyze.transform import AnalyzeWithGemini
from transforms.coders import register_coders
from transforms.correlate.settings import CorrelateSettings
from transforms.correlate.transform import CorrelateAnomalies
from transforms.detect.baselines.book import NO_BOOK, BaselineBook
from transforms.detect.history import WindowHistory
from transforms.detect.transform import DetectAnomalies, DetectMetricAnomalies, WatchServices
from transforms.elements import MINUTE_US, WindowSummary
from transforms.ledger.transform import CountDeadLetters, SumLedger, WatchLedger
from transforms.metrics.settings import MetricSettings
from transforms.metrics.transform import ParseMetrics, SummarizeMetrics
from transforms.parse.settings import ParseSettings
from transforms.parse.transform import ParseLogEntries
from transforms.patterns.transform import MergeShapes, MinePatterns
from transforms.redact.settings import RedactSettings
from transforms.redact.transform import RedactLogBatches, RedactMetricBatches
from transforms.summarize.transform import SummarizeSettings, SummarizeWindows

register_coders()


@dataclass(frozen=True)
class GraphSettings:
    """What the stages need to know."""

    parse: ParseSettings
    redact: RedactSettings
    summarize: SummarizeSettings
    confidence_floor: float
    baselines: BaselineBook = NO_BOOK
    metrics: MetricSettings = field(default_factory=MetricSettings)
    correlate: CorrelateSettings = field(default_factory=CorrelateSettings)
    snapshot_minutes: int = 60  # of event time between snapshots of what is learned; 0 for none
    alerts: AlertSettings = field(default_factory=AlertSettings)
    catalog: ServiceCatalog = EMPTY_CATALOG
    analyze: AnalyzeSettings = field(default_factory=AnalyzeSettings)


@dataclass(frozen=True)
class Outputs:
    """What the job finds, before it is written anywhere."""

    anomalies: beam.PCollection  # of Anomaly
    rows: dict[str, beam.PCollection]  # of (table name, row), by what they come from
    dead_letters: beam.PCollection | None = None  # of DeadLetter
    summaries: beam.PCollection | None = None  # of ((tenant, service), WindowSummary), of logs
    histories: beam.PCollection | None = None  # of ((tenant, service), WindowHistory), of logs
    differences: beam.PCollection | None = None  # of LedgerDifference, of a stream


@dataclass(frozen=True)
class Incidents:
    """What the anomalies of a job become together."""

    incidents: beam.PCollection  # of Incident
    rows: dict[str, beam.PCollection]


@dataclass(frozen=True)
class AlertOutputs:
    """What becomes of anomalies that somebody should know of."""

    events: beam.PCollection  # of AlertEvent
    rows: dict[str, beam.PCollection]  # of (table name, row), by what they come from
    dead_letters: beam.PCollection | None = None  # of DeadLetter, of commands


def build_graph(
    root: beam.Pipeline,
    source: beam.PTransform,
    rules: beam.PTransform,
    settings: GraphSettings,
    warm_start: beam.PTransform | None = None,
) -> Outputs:
    """Apply the job to the logs that `source` reads, beginning with what `warm_start` learned before."""
    payloads = root | "ReadLogs" >> source  # PayloadBatch
    rule_book = root | "ReadRules" >> rules

    parsed = payloads | ParseLogEntries(settings.parse)  # LogBatch
    redacted = parsed.batches | RedactLogBatches(settings.redact)  # no secret past this line
    summaries = (
        redacted.batches
        | MinePatterns()
        | SummarizeWindows(settings.summarize)  # ((tenant, service), WindowSummary)
        | MergeShapes()
    )
    learned = root | "ReadSnapshots" >> warm_start if warm_start else None
    watch = WatchServices(settings.baselines, settings.snapshot_minutes * MINUTE_US, learned)
    histories = summaries | watch  # ((tenant, service), WindowHistory)
    anomalies = histories | DetectAnomalies(rule_book, settings.confidence_floor)

    ledger = parsed.ledger | SumLedger()
    dead_letters = redacted.dead_letters | CountDeadLetters()
    differences = None
    if not payloads.is_bounded:  # of a file the view says it
        windows = histories | "KeptWindows" >> beam.MapTuple(_summary_of).with_output_types(WindowSummary)
        watch_ledger = WatchLedger(settings.summarize.window_seconds)
        differences = (parsed.ledger, windows, dead_letters) | watch_ledger
    return Outputs(
        anomalies,
        rows={
            "windows": histories | MakeWindowRows(settings.catalog),
            "anomalies": anomalies | "AnomalyRows" >> MakeRows("anomalies"),
            "dead_letters": dead_letters | "DeadLetterRows" >> MakeRows("dead_letters"),
            "ledger": ledger | "LedgerRows" >> MakeRows("ledger"),
        },
        dead_letters=dead_letters,
        summaries=summaries,
        histories=histories,
        differences=differences,
    )


def _summary_of(key: tuple[str, str], history: WindowHistory) -> WindowSummary:  # noqa: ARG001
    return history.summary


def build_metrics_graph(root: beam.Pipeline, source: beam.PTransform, settings: GraphSettings) -> Outputs:
    """Apply the job to the metrics that `source` reads: beside the logs, and joined with them nowhere.

    A Flatten would make the logs wait for the slower of both.
    """
    payloads = root | "ReadMetrics" >> source  # PayloadBatch

    parsed = payloads | ParseMetrics(settings.metrics)  # MetricBatch
    redacted = parsed.batches | RedactMetricBatches(settings.redact)  # no secret past this line
    summaries = redacted.batches | SummarizeMetrics(settings.summarize.window_seconds)
    judged = summaries | DetectMetricAnomalies(settings.confidence_floor, settings.baselines)

    ledger = parsed.ledger | "SumMetricLedger" >> SumLedger()
    dead_letters = redacted.dead_letters | "CountMetricDeadLetters" >> CountDeadLetters()
    differences = None
    if not payloads.is_bounded:
        watch_ledger = WatchLedger(settings.summarize.window_seconds, "metrics")
        ends = parsed.ledger, judged.metric_windows, dead_letters
        differences = ends | "WatchMetricLedger" >> watch_ledger
    return Outputs(
        judged.metric_anomalies,
        rows={
            "metric_windows": judged.metric_windows | "MetricWindowRows" >> MakeRows("metric_windows"),
            "metric_anomalies": judged.metric_anomalies | "MetricAnomalyRows" >> MakeRows("anomalies"),
            "metric_dead_letters": dead_letters | "MetricDeadLetterRows" >> MakeRows("dead_letters"),
            "metric_ledger": ledger | "MetricLedgerRows" >> MakeRows("ledger"),
        },
        differences=differences,
        dead_letters=dead_letters,
    )


def build_incidents_graph(outputs: Sequence[Outputs], settings: GraphSettings) -> Incidents:
    """Bring together what was found in logs and in metrics.

    It waits for the slowest of them, so that no page stands behind it: an alert opens when its anomaly
    comes, and hears of its incident later.
    """
    summaries = [found.summaries for found in outputs if found.summaries is not None]
    correlate = CorrelateAnomalies(settings.correlate)
    found = (tuple(summaries), tuple(output.anomalies for output in outputs)) | correlate
    return Incidents(
        found.incidents,
        rows={
            "incidents": found.incidents | AddNarratives() | "IncidentRows" >> MakeRows("incidents"),
            "dependencies": found.dependencies | "DependencyRows" >> MakeRows("dependencies"),
        },
    )


def build_analysis_graph(
    outputs: Outputs, incidents: Incidents, settings: GraphSettings, gemini: ModelFactory
) -> Outputs:
    """Let Gemini look at what is not as usual in logs, and tell of incidents in words.

    A branch that nothing waits for: what it finds reaches alerts when it is there, see ManageAlerts.
    """
    notices = (outputs.histories, outputs.anomalies) | MakeNotices()  # ((tenant, service), Notice)
    analyzed = notices | AnalyzeWithGemini(settings.analyze, gemini, incidents.incidents)
    return Outputs(
        analyzed.gemini_anomalies,
        rows={
            "gemini_anomalies": analyzed.gemini_anomalies | "GeminiAnomalyRows" >> MakeRows("anomalies"),
            "hypotheses": analyzed.hypotheses | "HypothesisRows" >> MakeRows("hypotheses"),
            "gemini_calls": analyzed.gemini_calls | "GeminiCallRows" >> MakeRows("gemini_calls"),
            "narrated_incidents": analyzed.narrated_incidents | "NarratedRows" >> MakeRows("incidents"),
        },
    )


def build_alerts_graph(
    root: beam.Pipeline,
    anomalies: Sequence[beam.PCollection],
    settings: GraphSettings,
    incidents: beam.PCollection | None = None,
    commands: beam.PTransform | None = None,
    past_events: beam.PTransform | None = None,
) -> AlertOutputs:
    """Lead the alerts of all `anomalies`, of logs and of metrics, through their lives.

    Here both meet, for the first time and the last: there is no event time in ManageAlerts, so that
    neither metrics nor `incidents` nor commands hold an alert of logs back.
    """
    rows = {}
    taken = dead_letters = None
    if commands is not None:
        messages = root | "ReadCommands" >> commands  # (tenant, body, publish time)
        parsed = messages | ParseAlertCommands(settings.redact)  # (tenant, AlertCommand)
        taken, dead_letters = parsed.commands, parsed.dead_letters
        rows["command_dead_letters"] = dead_letters | "CommandDeadLetterRows" >> MakeRows("dead_letters")
    past = root | "ReadPastAlerts" >> past_events if past_events is not None else None
    events = (
        anomalies
        | "AllAnomalies" >> beam.Flatten()
        | ManageAlerts(settings.alerts, settings.catalog, incidents, taken, past)
    )
    rows["alert_events"] = events | "AlertEventRows" >> MakeRows("alert_events")
    return AlertOutputs(events, rows, dead_letters)
