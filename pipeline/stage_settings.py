"""From the job's options, and the files that they name, to what each stage needs to know."""

from __future__ import annotations

import logging
import time

from pipeline.baselines_source import read_baselines
from pipeline.catalog_source import catalog_dependencies, read_catalog
from pipeline.gemini_client import GeminiSettings
from pipeline.graph import GraphSettings
from pipeline.prices_source import read_price_file
from pipeline.redaction_key import FileKey, NoAccessError, SecretKey
from pipeline.settings import OptionsError, Settings
from transforms.alert.settings import AlertSettings
from transforms.analyze.settings import AnalyzeSettings
from transforms.correlate.settings import CorrelateSettings
from transforms.elements import NANOSECONDS, SEVERITY_NUMBERS
from transforms.metrics.settings import MetricSettings
from transforms.parse.settings import MeasuredField, ParseSettings
from transforms.redact.settings import (
    DemoKey,
    KeySource,
    OperatorPattern,
    RedactSettings,
    check_master_key,
)
from transforms.summarize.transform import SummarizeSettings

_LOGGER = logging.getLogger(__name__)


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


def redact_settings(settings: Settings) -> RedactSettings:
    """Key and patterns of redaction; the key is looked at here, and read again where it is used.

    Raises OptionsError.
    """
    key = _key_source(settings)
    try:
        patterns = tuple(OperatorPattern(*_kind_and_pattern(text)) for text in settings.redact_patterns)
        made = RedactSettings(key, settings.key_version, patterns)
    except ValueError as error:
        raise OptionsError(f"--redact_patterns: {error}") from None
    try:
        check_master_key(key.read())
    except ValueError as error:
        option = "--redaction_key_file" if settings.redaction_key_file else "--redaction_key_secret"
        raise OptionsError(f"{option}: {error}") from None
    except NoAccessError as error:
        if settings.runner == "DirectRunner":
            raise
        _LOGGER.warning(
            "%s. It was tried with other credentials than the job's, so this may be as it is", error
        )
    return made


def _key_source(settings: Settings) -> KeySource:
    if settings.redaction_key_file:
        return FileKey(settings.redaction_key_file)
    return SecretKey(settings.redaction_key_secret) if settings.redaction_key_secret else DemoKey()


def _kind_and_pattern(text: str) -> tuple[str, str]:
    kind, separator, pattern = text.partition("=")
    if not separator:
        raise OptionsError(f"--redact_patterns {text}: write kind=RE2, e.g. customer=CU-[0-9]{{8}}")
    return kind, pattern
