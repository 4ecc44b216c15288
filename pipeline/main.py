"""Builds the job from its options and runs it: here, or on Dataflow."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult, PipelineRunner
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError

from pipeline.alert_files import check_event_files
from pipeline.alert_sinks import TENANT, PublishAlertEvents, PublishAlertEventsPerTenant
from pipeline.alert_sources import ReadAlertCommands, ReadPastAlerts
from pipeline.bigquery_client import check_dataset
from pipeline.bigquery_sink import WriteToDataset
from pipeline.duckdb_store import StoreError, acquire_store, release_store
from pipeline.failed_rows import FailedRowsError
from pipeline.graph import (
    AlertOutputs,
    Outputs,
    build_alerts_graph,
    build_analysis_graph,
    build_graph,
    build_incidents_graph,
    build_metrics_graph,
)
from pipeline.heartbeats import Beat, PublishHeartbeats, job_identity
from pipeline.options import parse_options
from pipeline.rules_source import WatchRules
from pipeline.settings import Settings
from pipeline.sinks import MakeRows, PublishAnomalies, PublishDeadLetters
from pipeline.snapshot_files import ReadSnapshots, check_snapshots
from pipeline.sources import END_TIME_ATTRIBUTE, InputError, ReadLogFiles, ReadLogMessages
from pipeline.stage_settings import gemini_settings, graph_settings
from pipeline.store import WriteToStore

CANCEL_SECONDS: Final = 3
SERIES: Final = "timeSeries"
"""The list that the API's answers have series in."""


def run(arguments: Sequence[str]) -> PipelineResult:
    """Run the job that `arguments` describe, and wait for it where it runs here and ends."""
    settings, options = parse_options(arguments)
    return run_job(settings, options)


def run_job(settings: Settings, options: PipelineOptions) -> PipelineResult:
    """Run the job until it has ended.

    Raises OptionsError, InputError, StoreError, BigQueryError, FailedRowsError, SnapshotFileError,
    AlertFileError, or what `read_rules`, `read_baselines`, `read_catalog` and `read_price_file` raise.
    """
    pipeline = beam.Pipeline(runner=choose_runner(settings), options=options)
    build_job(pipeline, settings)
    with _open_output(settings), _rare_collections(), _expected_errors_bare(settings):
        result = pipeline.run()
        try:
            result.wait_until_finish()
        except BaseException:
            _cancel(result)
            raise
    return result


def build_job(pipeline: beam.Pipeline, settings: Settings) -> None:
    """The graph of the job with the sources and sinks that `settings` name."""
    settings_of_stages = graph_settings(settings)
    found: list[Outputs] = []
    rows: dict[str, beam.PCollection] = {}
    letters: dict[str, beam.PCollection | None] = {}
    if settings.reads_logs:
        rules = WatchRules(settings.rules, streaming=settings.is_streaming)
        warm_start = make_warm_start(settings)
        outputs = build_graph(pipeline, make_source(settings), rules, settings_of_stages, warm_start)
        rows |= outputs.rows
        letters["logs"] = outputs.dead_letters
        _publish(outputs, settings, "PublishAnomalies")
        found.append(outputs)
    if settings.reads_metrics:
        outputs = build_metrics_graph(pipeline, make_metrics_source(settings), settings_of_stages)
        rows |= outputs.rows
        letters["metrics"] = outputs.dead_letters
        _publish(outputs, settings, "PublishMetricAnomalies")
        found.append(outputs)
    incidents = build_incidents_graph(found, settings_of_stages)
    rows |= incidents.rows
    if settings.enable_gemini_analysis and settings.reads_logs:
        model = gemini_settings(settings)
        found.append(build_analysis_graph(found[0], incidents, settings_of_stages, model))
        rows |= found[-1].rows
        _publish(found[-1], settings, "PublishGeminiAnomalies")
    alerts = build_alerts_graph(
        pipeline,
        [outputs.anomalies for outputs in found],
        settings_of_stages,
        incidents.incidents,
        make_commands(settings),
        make_past_alerts(settings),
    )
    unpublished = _publish_alerts(alerts, settings)
    if unpublished is not None:
        rows["unpublished"] = unpublished | "UnpublishedRows" >> MakeRows("dead_letters")
    _write_rows(rows | alerts.rows, settings)
    letters |= {"commands": alerts.dead_letters, "alerts": unpublished}
    _publish_dead_letters(letters, settings)
    if settings.is_streaming:
        _beat(pipeline, settings)


def _publish(outputs: Outputs, settings: Settings, step: str) -> None:
    if settings.anomaly_topic:
        _ = outputs.anomalies | step >> PublishAnomalies(settings.anomaly_topic)


def _publish_alerts(alerts: AlertOutputs, settings: Settings) -> beam.PCollection | None:
    """Publish what people should know of; dead letters of what could not be, where there can be some."""
    if TENANT in settings.alert_topic:
        return alerts.events | PublishAlertEventsPerTenant(settings.alert_topic)
    if settings.alert_topic:
        _ = alerts.events | PublishAlertEvents(settings.alert_topic)
    return None


def _publish_dead_letters(letters: dict[str, beam.PCollection | None], settings: Settings) -> None:
    there = {name: found for name, found in letters.items() if found is not None}
    if settings.dead_letter_topic:
        _ = there | PublishDeadLetters(settings.dead_letter_topic)


def _beat(pipeline: beam.Pipeline, settings: Settings) -> None:
    beats = pipeline | Beat(job_identity(pipeline.options))
    if settings.heartbeat_topic:
        _ = beats | PublishHeartbeats(settings.heartbeat_topic)


def _write_rows(rows: dict[str, beam.PCollection], settings: Settings) -> None:
    if settings.dataset:
        _ = rows | WriteToDataset(settings.dataset, settings.failed_rows)
        return
    for name, found in rows.items():
        _ = found | f"Write {name}" >> WriteToStore(settings.store)


def make_commands(settings: Settings) -> beam.PTransform | None:
    """Where people's commands come from, if from anywhere."""
    subscriptions = settings.command_subscriptions
    return ReadAlertCommands(subscriptions) if subscriptions else None


def make_past_alerts(settings: Settings) -> beam.PTransform | None:
    """The alerts of the past: of files, and of dataset or store. Raises AlertFileError."""
    check_event_files(settings.alert_events)
    if settings.dataset:
        return ReadPastAlerts(settings.alert_events, dataset=settings.dataset)
    store = settings.store if Path(settings.store).is_file() else ""
    return ReadPastAlerts(settings.alert_events, store) if store or settings.alert_events else None


def make_source(settings: Settings) -> beam.PTransform:
    if settings.input_subscription:
        return ReadLogMessages(settings.input_subscription, settings.max_line_bytes, settings.tenant)
    return ReadLogFiles(settings.input, settings.max_line_bytes, settings.tenant)


def make_metrics_source(settings: Settings) -> beam.PTransform:
    if settings.metrics_subscription:
        return ReadLogMessages(
            settings.metrics_subscription,
            settings.max_line_bytes,
            settings.tenant,
            END_TIME_ATTRIBUTE,
            SERIES,
        )
    return ReadLogFiles(settings.metrics, settings.max_line_bytes, settings.tenant, "--metrics", SERIES)


def make_warm_start(settings: Settings) -> beam.PTransform | None:
    """What the job begins with. Raises SnapshotFileError where a file cannot be used."""
    if not settings.warm_start:
        return None
    check_snapshots(settings.warm_start, settings.window_seconds)
    return ReadSnapshots(settings.warm_start, settings.window_seconds)


def choose_runner(settings: Settings) -> PipelineRunner | str:
    """The engine, chosen here: Beam's own choice for "DirectRunner" depends on what it can download."""
    if settings.runner != "DirectRunner":
        return settings.runner
    return BundleBasedDirectRunner() if settings.is_streaming else FnApiRunner()


@contextmanager
def _open_output(settings: Settings) -> Iterator[None]:
    if settings.dataset:
        check_dataset(settings.dataset)
        yield
        return
    # Held from start to end: a store that cannot be used is found before anything is read, and no
    # other run comes in between.
    acquire_store(settings.store)
    try:
        yield
    finally:
        release_store(settings.store)


def _cancel(result: PipelineResult) -> None:
    # The streaming runner waits for its current pull of messages, which may take minutes when there
    # are none; its threads end with the process.
    thread = threading.Thread(target=result.cancel, daemon=True)
    thread.start()
    thread.join(CANCEL_SECONDS)


@contextmanager
def _expected_errors_bare(settings: Settings) -> Iterator[None]:
    # Beam raises a copy with the step's name in it, or a RuntimeError: the original is in the chain.
    try:
        yield
    except Exception as error:
        links: list[BaseException] = [error]
        while (link := links[-1].__cause__ or links[-1].__context__) is not None:
            links.append(link)
        for link in reversed(links):
            if isinstance(link, (InputError, StoreError, FailedRowsError)):
                raise link from None
            if isinstance(link, (GoogleAPICallError, GoogleAuthError)):
                used = (
                    *(settings.input_subscription, settings.metrics_subscription, settings.anomaly_topic),
                    *(
                        settings.alert_topic,
                        settings.dead_letter_topic,
                        settings.heartbeat_topic,
                        *settings.commands,
                    ),
                )
                names = " and ".join(filter(None, used))
                raise InputError(
                    f"Pub/Sub failed with {type(link).__name__}: check that {names} exists, and that your "
                    "credentials (gcloud auth application-default login) may use it"
                ) from link
        raise


@contextmanager
def _rare_collections() -> Iterator[None]:
    # A batch holds tens of thousands of objects without cycles; looking through them at Python's usual
    # rate costs a twentieth of the job and frees nothing.
    usual = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
