"""Builds the job from its options and runs it: here, or on Dataflow."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult, PipelineRunner
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError

from pipeline.alert_files import check_event_files
from pipeline.alert_sinks import TENANT, PublishAlertEvents, PublishAlertEventsPerTenant
from pipeline.alert_sources import ReadAlertCommands, ReadPastAlerts
from pipeline.baselines_source import read_baselines
from pipeline.catalog_source import catalog_dependencies, read_catalog
from pipeline.duckdb_store import StoreError, acquire_store, release_store
from pipeline.gemini_client import GeminiSettings
from pipeline.graph import (
    AlertOutputs,
    GraphSettings,
    Outputs,
    build_alerts_graph,
    build_analysis_graph,
    build_graph,
    build_incidents_graph,
    build_metrics_graph,
)
from pipeline.options import OptionsError, Settings, parse_options
from pipeline.prices_source import read_price_file
from pipeline.rules_source import WatchRules
from pipeline.sinks import MakeRows, PublishAnomalies
from pipeline.snapshot_files import ReadSnapshots, check_snapshots
from pipeline.sources import END_TIME_ATTRIBUTE, InputError, ReadLogFiles, ReadLogMessages
from pipeline.store import WriteToStore
from transforms.alert.settings import AlertSettings
from transforms.analyze.settings import AnalyzeSettings
from transforms.correlate.settings import CorrelateSettings
from transforms.elements import NANOSECONDS, SEVERITY_NUMBERS
from transforms.metrics.settings import MetricSettings
from transforms.parse.settings import MeasuredField, ParseSettings
from transforms.redact.settings import DEMO_MASTER_KEY, OperatorPattern, RedactSettings
from transforms.summarize.transform import SummarizeSettings

CANCEL_SECONDS: Final = 3


def run(arguments: Sequence[str]) -> PipelineResult:
    """Run the job that `arguments` describe, and wait for it where it runs here and ends."""
    settings, options = parse_options(arguments)
    return run_job(settings, options)


def run_job(settings: Settings, options: PipelineOptions) -> PipelineResult:
    """Run the job until it has ended.

    Raises OptionsError, InputError, StoreError, SnapshotFileError, AlertFileError, or what
    `read_rules`, `read_baselines`, `read_catalog` and `read_price_file` raise.
    """
    pipeline = beam.Pipeline(runner=choose_runner(settings), options=options)
    build_job(pipeline, settings)
    with _open_store(settings.store), _rare_collections(), _expected_errors_bare(settings):
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
    if settings.reads_logs:
        rules = WatchRules(settings.rules, streaming=settings.is_streaming)
        warm_start = make_warm_start(settings)
        outputs = build_graph(pipeline, make_source(settings), rules, settings_of_stages, warm_start)
        _write(outputs, settings, "PublishAnomalies")
        found.append(outputs)
    if settings.reads_metrics:
        outputs = build_metrics_graph(pipeline, make_metrics_source(settings), settings_of_stages)
        _write(outputs, settings, "PublishMetricAnomalies")
        found.append(outputs)
    incidents = build_incidents_graph(found, settings_of_stages)
    _write_rows(incidents.rows, settings)
    if settings.enable_gemini_analysis and settings.reads_logs:
        model = gemini_settings(settings)
        found.append(build_analysis_graph(found[0], incidents, settings_of_stages, model))
        _write(found[-1], settings, "PublishGeminiAnomalies")
    alerts = build_alerts_graph(
        pipeline,
        [outputs.anomalies for outputs in found],
        settings_of_stages,
        incidents.incidents,
        make_commands(settings),
        make_past_alerts(settings),
    )
    _write_alerts(alerts, settings)


def _write(outputs: Outputs, settings: Settings, publish: str) -> None:
    _write_rows(outputs.rows, settings)
    if settings.anomaly_topic:
        _ = outputs.anomalies | publish >> PublishAnomalies(settings.anomaly_topic)


def _write_alerts(alerts: AlertOutputs, settings: Settings) -> None:
    rows = dict(alerts.rows)
    if TENANT in settings.alert_topic:
        letters = alerts.events | PublishAlertEventsPerTenant(settings.alert_topic)
        rows["unpublished"] = letters | "UnpublishedRows" >> MakeRows("dead_letters")
    elif settings.alert_topic:
        _ = alerts.events | PublishAlertEvents(settings.alert_topic)
    _write_rows(rows, settings)


def _write_rows(rows: dict[str, beam.PCollection], settings: Settings) -> None:
    for name, found in rows.items():
        _ = found | f"Write {name}" >> WriteToStore(settings.store)


def make_commands(settings: Settings) -> beam.PTransform | None:
    """Where people's commands come from, if from anywhere."""
    subscriptions = settings.command_subscriptions
    return ReadAlertCommands(subscriptions) if subscriptions else None


def make_past_alerts(settings: Settings) -> beam.PTransform | None:
    """The alerts of the past, of files and of a store that is there. Raises AlertFileError."""
    check_event_files(settings.alert_events)
    store = settings.store if Path(settings.store).is_file() else ""
    return ReadPastAlerts(settings.alert_events, store) if store or settings.alert_events else None


def make_source(settings: Settings) -> beam.PTransform:
    if settings.input_subscription:
        return ReadLogMessages(settings.input_subscription, settings.tenant)
    return ReadLogFiles(settings.input, settings.max_line_bytes, settings.tenant)


def make_metrics_source(settings: Settings) -> beam.PTransform:
    if settings.metrics_subscription:
        return ReadLogMessages(settings.metrics_subscription, settings.tenant, END_TIME_ATTRIBUTE)
    return ReadLogFiles(settings.metrics, settings.max_line_bytes, settings.tenant, "--metrics", "timeSeries")


def make_warm_start(settings: Settings) -> beam.PTransform | None:
    """What the job begins with. Raises SnapshotFileError where a file cannot be used."""
    if not settings.warm_start:
        return None
    check_snapshots(settings.warm_start, settings.window_seconds)
    return ReadSnapshots(settings.warm_start, settings.window_seconds)


def graph_settings(settings: Settings) -> GraphSettings:
    """What the stages need of the options and of the files that they name.

    Raises OptionsError, or what `read_baselines`, `read_catalog` and `read_price_file` raise.
    """
    book, catalog = read_baselines(settings.baselines), read_catalog(settings.catalog)
    now_ns = int(time.time()) * NANOSECONDS
    return GraphSettings(
        parse=ParseSettings(
            services=frozenset(settings.services),
            min_severity=SEVERITY_NUMBERS[settings.min_severity],
            max_payload_bytes=settings.max_line_bytes,
            received_at_ns=settings.received_at_ns,
            now_ns=now_ns,
            trusted_tenant_field=settings.trusted_tenant_field,
            fields=tuple(MeasuredField(field.name, field.path, field.service) for field in book.fields),
        ),
        redact=redact_settings(settings),
        summarize=SummarizeSettings(settings.window_seconds, drop_copies=settings.deduplicate == "exact"),
        confidence_floor=settings.confidence_floor,
        snapshot_minutes=settings.snapshot_minutes,
        correlate=CorrelateSettings(
            within_minutes=settings.correlation_minutes, dependencies=catalog_dependencies(catalog)
        ),
        baselines=book,
        alerts=AlertSettings(
            group_by=settings.group_by,
            group_wait_seconds=settings.group_wait_seconds,
            group_interval_seconds=settings.group_interval_seconds,
            resolve_after_seconds=settings.resolve_after_seconds,
            reopen_within_seconds=settings.reopen_within_seconds,
        ),
        catalog=catalog,
        analyze=analyze_settings(settings),
        metrics=MetricSettings(
            services=frozenset(settings.services),
            max_payload_bytes=settings.max_line_bytes,
            received_at_ns=settings.received_at_ns,
            now_ns=now_ns,
            trusted_tenant_field=settings.trusted_tenant_field,
        ),
    )


def analyze_settings(settings: Settings) -> AnalyzeSettings:
    """What the analysis may do and spend. Raises what `read_price_file` raises."""
    return AnalyzeSettings(
        model=settings.gemini_model,
        batch_size=settings.batch_size,
        batch_timeout_seconds=settings.batch_timeout_seconds,
        tokens_per_day=settings.gemini_tokens_per_day,
        requests_per_day=settings.gemini_requests_per_day,
        repeat_minutes=settings.gemini_repeat_minutes,
        confidence_floor=settings.confidence_floor,
        prices=read_price_file(settings.gemini_prices),
    )


def gemini_settings(settings: Settings) -> GeminiSettings:
    """Where and how Gemini is asked."""
    return GeminiSettings(
        model=settings.gemini_model,
        project=settings.gemini_project,
        location=settings.gemini_location,
        base_url=settings.gemini_base_url,
        temperature=settings.gemini_temperature,
        timeout_seconds=settings.gemini_timeout_seconds,
        total_seconds=2 * settings.gemini_timeout_seconds,
        concurrency=settings.gemini_concurrency,
    )


def choose_runner(settings: Settings) -> PipelineRunner | str:
    """The engine, chosen here: Beam's own choice for "DirectRunner" depends on what it can download."""
    if settings.runner != "DirectRunner":
        return settings.runner
    return BundleBasedDirectRunner() if settings.is_streaming else FnApiRunner()


def redact_settings(settings: Settings) -> RedactSettings:
    """Key and patterns of redaction. Raises OptionsError."""
    key = DEMO_MASTER_KEY
    if settings.redaction_key_file:
        key = _read_key(settings.redaction_key_file)
    try:
        patterns = tuple(OperatorPattern(*_kind_and_pattern(text)) for text in settings.redact_patterns)
        return RedactSettings(
            master_key=key, key_version=settings.redaction_key_version, operator_patterns=patterns
        )
    except ValueError as error:
        raise OptionsError(f"--redact_patterns or --redaction_key_file: {error}") from None


def _read_key(path: str) -> bytes:
    try:
        with FileSystems.open(path) as file:
            key: bytes = file.read().strip()
    except (OSError, BeamIOError) as error:
        cause = getattr(error, "strerror", None) or type(error).__name__
        raise OptionsError(
            f"--redaction_key_file {path}: cannot be read ({cause}); check path and permissions"
        ) from error
    return key


def _kind_and_pattern(text: str) -> tuple[str, str]:
    kind, separator, pattern = text.partition("=")
    if not separator:
        raise OptionsError(f"--redact_patterns {text}: write kind=RE2, e.g. customer=CU-[0-9]{{8}}")
    return kind, pattern


@contextmanager
def _open_store(path: str) -> Iterator[None]:
    # Held from start to end: a store that cannot be used is found before anything is read, and no
    # other run comes in between.
    acquire_store(path)
    try:
        yield
    finally:
        release_store(path)


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
            if isinstance(link, (InputError, StoreError)):
                raise link from None
            if isinstance(link, (GoogleAPICallError, GoogleAuthError)):
                used = (
                    *(settings.input_subscription, settings.metrics_subscription, settings.anomaly_topic),
                    *(settings.alert_topic, *settings.commands),
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
