"""Stored windows as summaries again, so that rules can be tried on what a job has written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

from transforms.elements import (
    MICROSECONDS,
    SEVERITY_NUMBERS,
    Example,
    PatternStats,
    RequestStats,
    WindowSummary,
)
from transforms.sketches import distinct_add, latency_bin

APPROXIMATED: Final = (
    "From stored windows: latency is rebuilt from its 50th, 95th and 99th percentiles, that of endpoints "
    "from the 95th alone; distinct users and addresses of several windows are taken to be the same ones, and "
    "roll-outs are not known. All else is exact."
)

LEARNED_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "service_windows": (
        *("tenant_id", "service", "window_start", "window_end", "revision", "lines", "errors", "warnings"),
        *("requests", "denials", "severities", "statuses", "latency_p50_ms", "latency_p95_ms"),
        *("latency_p99_ms", "endpoints", "distinct_principals", "distinct_addresses", "written_at"),
    ),
    "log_patterns": (
        *("tenant_id", "service", "window_start", "revision", "pattern_id", "pattern", "count", "errors"),
        *("severity", "exception", "is_new", "written_at"),
    ),
}
"""Table → the columns that summaries need to be learned from: examples, which are large, are for people."""

_MOST_DISTINCT: Final = 5_000


def read_summaries(
    connection: Any, tenant: str = "", service: str = "", since_us: int = 0
) -> Iterator[WindowSummary]:
    """The last revision of each stored window as a summary, by tenant, service and time.

    `connection` is to a store with the tables of `transforms.elements`. Empty names mean all.
    """
    scope = {"tenant": tenant, "service": service, "since_us": max(0, since_us)}
    patterns = groupby(_read_rows(connection, _PATTERNS_SQL, scope), _window_of)
    group = next(patterns, None)
    for row in _read_rows(connection, _WINDOWS_SQL, scope):
        summary, window = _summary_of(row), _window_of(row)
        while group and group[0] < window:
            group = next(patterns, None)
        if group and group[0] == window:
            summary.patterns = {one["pattern_id"]: _pattern_of(one) for one in group[1]}
        yield summary


def _window_of(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["tenant_id"], row["service"], row["start_us"]


def _read_rows(connection: Any, sql: str, scope: dict[str, Any]) -> Iterator[dict[str, Any]]:
    cursor = connection.cursor().execute(sql, scope)
    names = [column[0] for column in cursor.description]
    while rows := cursor.fetchmany(1000):
        for row in rows:
            yield dict(zip(names, row, strict=True))


_SCOPE: Final = """
WHERE ($tenant = '' OR tenant_id = $tenant) AND ($service = '' OR service = $service)
  AND window_start >= make_timestamptz($since_us)
"""

_WINDOWS_SQL: Final = f"""
SELECT *, CAST(epoch_us(window_start) AS BIGINT) AS start_us, CAST(epoch_us(window_end) AS BIGINT) AS end_us
FROM service_windows
{_SCOPE}
QUALIFY row_number() OVER (
  PARTITION BY tenant_id, service, window_start ORDER BY revision DESC, written_at DESC
) = 1
ORDER BY tenant_id, service, window_start
"""  # noqa: S608

_PATTERNS_SQL: Final = f"""
WITH last_panes AS (
  SELECT * FROM log_patterns
  {_SCOPE}
  QUALIFY rank() OVER (PARTITION BY tenant_id, service, window_start ORDER BY revision DESC) = 1
)
SELECT tenant_id, service, CAST(epoch_us(window_start) AS BIGINT) AS start_us,
       pattern_id, pattern, "count", errors, severity, exception, is_new, example
FROM last_panes
QUALIFY row_number() OVER (
  PARTITION BY tenant_id, service, window_start, pattern_id ORDER BY written_at DESC
) = 1
ORDER BY tenant_id, service, window_start, pattern_id
"""  # noqa: S608


def _summary_of(row: dict[str, Any]) -> WindowSummary:
    bins = _bins_of(row)
    severities = json.loads(row["severities"] or "{}")
    statuses = {int(status): count for status, count in json.loads(row["statuses"] or "{}").items()}
    middle_us = round((row["latency_p50_ms"] or 0) * 1000)
    return WindowSummary(
        tenant_id=row["tenant_id"],
        service=row["service"],
        window_start_us=row["start_us"],
        window_seconds=(row["end_us"] - row["start_us"]) // MICROSECONDS,
        lines=row["lines"],
        errors=row["errors"],
        warnings=row["warnings"],
        requests=row["requests"],
        denials=row["denials"],
        severities={SEVERITY_NUMBERS.get(name, 0): count for name, count in severities.items()},
        statuses=statuses,
        latency_count=sum(bins.values()),
        latency_sum_us=middle_us * sum(bins.values()),
        slow_requests=sum(count for index, count in bins.items() if index > latency_bin(1_000_000)),
        latency_bins=bins,
        endpoints=_endpoints_of(row["endpoints"]),
        principals=_registers(row["distinct_principals"]),
        addresses=_registers(row["distinct_addresses"]),
        pane_index=0,
    )


def _bins_of(row: dict[str, Any]) -> dict[int, int]:
    """Latency bins with the stored percentiles."""
    if row["latency_p50_ms"] is None or not row["requests"]:
        return {}
    last = row["requests"] - 1
    up_to = [int(0.5 * last) + 1, int(0.95 * last) + 1, row["requests"]]
    bins: Counter[int] = Counter()
    below = 0
    for column, rank in zip(("latency_p50_ms", "latency_p95_ms", "latency_p99_ms"), up_to, strict=True):
        bins[latency_bin(round((row[column] or 0) * 1000))] += max(0, rank - below)
        below = max(below, rank)
    return {index: count for index, count in bins.items() if count}


def _endpoints_of(text: str | None) -> dict[str, RequestStats]:
    endpoints = {}
    for name, stats in json.loads(text or "{}").items():
        requests = int(stats.get("requests", 0))
        p95_us = round((stats.get("latency_p95_ms") or 0) * 1000)
        bins = {latency_bin(p95_us): requests} if p95_us else {}
        endpoints[name] = RequestStats(requests, int(stats.get("errors", 0)), p95_us * requests, bins)
    return endpoints


def _registers(distinct: int) -> dict[int, int]:
    registers: dict[int, int] = {}
    for number in range(min(distinct, _MOST_DISTINCT)):
        distinct_add(registers, str(number))
    return registers


def _pattern_of(row: dict[str, Any]) -> PatternStats:
    example = row["example"]
    return PatternStats(
        row["pattern"],
        row["count"],
        row["errors"],
        SEVERITY_NUMBERS.get(row["severity"], 0),
        [Example(0, row["start_us"], "", example)] if example else [],
        row["exception"] or "",
        is_new=row["is_new"],
    )
