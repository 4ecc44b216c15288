"""Elements to rows: what a merged WindowSummary becomes in `service_windows`, `log_patterns` and `deploys`.

Pure. JSON columns have sorted keys, so that the same summary gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from operator import itemgetter
from types import MappingProxyType
from typing import Final

import orjson
from msgspec.structs import astuple

from transforms.alert.catalog import CatalogEntry, ServiceObjective
from transforms.detect.signals import Band
from transforms.elements import (
    MICROSECONDS,
    MINUTE_US,
    SEVERITY_NAMES,
    Deploy,
    FieldStats,
    LogPattern,
    PatternStats,
    RequestStats,
    Service,
    ServiceWindow,
    WindowSummary,
    deploy_id,
)
from transforms.measures import MILLION, field_value
from transforms.sketches import bin_value, distinct_estimate, latency_quantile_us
from transforms.summarize.health import health_score

_NO_BANDS: Final[Mapping[str, Band]] = MappingProxyType({})


def service_window_row(
    summary: WindowSummary, bands: Mapping[str, Band] = _NO_BANDS, slo: ServiceObjective | None = None
) -> ServiceWindow:
    """Row of `service_windows` for `summary`, whose patterns are merged (keyed by pattern_id).

    `bands` say what learned detectors expected of it, by signal; `slo` what the service promises.
    """
    return ServiceWindow(
        tenant_id=summary.tenant_id,
        service=summary.service,
        window_start=summary.window_start_us,
        window_end=summary.window_start_us + summary.window_seconds * MICROSECONDS,
        revision=summary.pane_index,
        lines=summary.lines,
        errors=summary.errors,
        error_rate=summary.errors / summary.lines if summary.lines else 0.0,
        warnings=summary.warnings,
        requests=summary.requests,
        denials=summary.denials,
        retimed=summary.retimed,
        severity_inferred=summary.severity_inferred,
        latency_p50_ms=_quantile_ms(summary.latency_bins, 0.5),
        latency_p95_ms=_quantile_ms(summary.latency_bins, 0.95),
        latency_p99_ms=_quantile_ms(summary.latency_bins, 0.99),
        distinct_principals=distinct_estimate(summary.principals),
        distinct_addresses=distinct_estimate(summary.addresses),
        distinct_instances=distinct_estimate(summary.instances),
        distinct_patterns=len(summary.patterns),
        new_patterns=sum(stats.is_new for stats in summary.patterns.values()),
        pattern_level=summary.pattern_level,
        endpoint_level=summary.endpoint_level,
        health_score=health_score(summary),
        severities=_json({severity_name(number): count for number, count in summary.severities.items()}),
        statuses=_json(summary.statuses),
        fields=_json({name: _field_figures(stats) for name, stats in summary.fields.items()}),
        endpoints=_json({name: _request_figures(stats) for name, stats in summary.endpoints.items()}),
        callers=_json({name: _request_figures(stats) for name, stats in summary.callers.items()}),
        revisions=_json(summary.revisions),
        bands=_json(
            {
                name: {"baseline": band.baseline, "low": band.low, "high": band.high}
                for name, band in bands.items()
            }
        ),
        ledger=_json({minute * 60: counts for minute, counts in summary.ledger.items()}),
        failed_requests=summary.failed_requests,
        timed_requests=summary.latency_count,
        slow_requests=_slower_than(summary.latency_bins, slo.latency_ms) if slo and slo.latency_ms else None,
    )


def service_row(summary: WindowSummary, entry: CatalogEntry, version: str) -> Service:
    """Row of `services` for the service of `summary`, of which the catalog of `version` says `entry`."""
    return Service(
        tenant_id=summary.tenant_id,
        service=summary.service,
        revision=summary.window_start_us // MINUTE_US,
        as_of=summary.window_start_us,
        owner=entry.owner,
        tier=entry.tier,
        channel=entry.channel,
        runbook=entry.runbook,
        calls=list(entry.calls),
        slo_percent=entry.slo.availability_percent if entry.slo else None,
        slo_latency_ms=entry.slo.latency_ms if entry.slo else None,
        slo_days=entry.slo.window_days if entry.slo else None,
        catalog_version=version,
    )


def log_pattern_rows(summary: WindowSummary) -> list[LogPattern]:
    """Rows of `log_patterns` for `summary`, ordered by pattern_id."""
    return [_log_pattern_row(summary, *item) for item in sorted(summary.patterns.items(), key=itemgetter(0))]


def _log_pattern_row(summary: WindowSummary, pattern_id: str, stats: PatternStats) -> LogPattern:
    return LogPattern(
        tenant_id=summary.tenant_id,
        service=summary.service,
        pattern_id=pattern_id,
        window_start=summary.window_start_us,
        revision=summary.pane_index,
        pattern=stats.text,
        count=stats.count,
        errors=stats.errors,
        severity=severity_name(stats.severity),
        exception=stats.exception,
        first_seen=stats.first_seen_us or summary.window_start_us,
        is_new=stats.is_new,
        example=min(stats.examples, key=lambda example: example.order).message if stats.examples else "",
    )


def deploy_rows(summary: WindowSummary) -> list[Deploy]:
    """Rows of `deploys` for `summary`, in the order of time."""
    return [
        Deploy(
            deploy_id=deploy_id(summary.tenant_id, summary.service, event),
            tenant_id=summary.tenant_id,
            service=summary.service,
            deployed_at=event.event_time_us,
            method_name=event.method_name,
            what=event.what,
            principal=event.principal,
            window_start=summary.window_start_us,
            revision=summary.pane_index,
        )
        for event in sorted(summary.deploys, key=astuple)
    ]


@cache
def severity_name(number: int) -> str:
    """Cloud Logging's name of severity `number`; a number between two names is the lower one's."""
    return SEVERITY_NAMES[max((known for known in SEVERITY_NAMES if known <= number), default=0)]


def _request_figures(stats: RequestStats) -> dict[str, int | float | None]:
    p95 = _quantile_ms(stats.latency_bins, 0.95)
    return {"requests": stats.count, "errors": stats.errors, "latency_p95_ms": p95}


def _field_figures(stats: FieldStats) -> dict[str, int | float]:
    return {
        "count": stats.count,
        "mean": field_value(stats, "mean"),
        "min": stats.smallest / MILLION,
        "max": stats.largest / MILLION,
        "p95": round(field_value(stats, "p95"), 6),
    }


def _slower_than(bins: dict[int, int], latency_ms: int) -> int:
    return sum(count for index, count in bins.items() if bin_value(index) > latency_ms * 1_000)


def _quantile_ms(bins: dict[int, int], q: float) -> float | None:
    latency_us = latency_quantile_us(bins, q)
    return None if latency_us is None else round(latency_us / 1_000, 3)


def _json(value: Mapping[str, object] | Mapping[int, object]) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS).decode()
