"""Stored windows as summaries again, so that rules can be tried on what a job has written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from transforms.elements import SEVERITY_NUMBERS, Example, PatternStats, RequestStats, WindowSummary
from transforms.sketches import distinct_add, latency_bin

APPROXIMATED: Final = (
    "From stored windows: latency is rebuilt from its 50th, 95th and 99th percentiles, that of endpoints "
    "from the 95th alone; distinct users and addresses of several windows are taken to be the same ones, and "
    "roll-outs are not known. All else is exact."
)

_MOST_DISTINCT: Final = 5_000


def read_summaries(connection: Any, tenant: str = "", service: str = "") -> Iterator[WindowSummary]:
    """The last revision of each stored window as a summary, by tenant, service and time.

    `connection` is to a store with the tables of `transforms.elements`. Empty names mean all.
    """
    scope = {"tenant": tenant, "service": service}
    cursor = connection.cursor().execute(_WINDOWS_SQL, scope)
    names = [column[0] for column in cursor.description]
    while rows := cursor.fetchmany(1000):
        for row in rows:
            summary = _summary_of(dict(zip(names, row, strict=True)))
            summary.patterns = _patterns_of(connection, summary)
            yield summary


_WINDOWS_SQL: Final = """
SELECT *, CAST(epoch_us(window_start) AS BIGINT) AS start_us, CAST(epoch_us(window_end) AS BIGINT) AS end_us
FROM service_windows
WHERE ($tenant = '' OR tenant_id = $tenant) AND ($service = '' OR service = $service)
QUALIFY row_number() OVER (
  PARTITION BY tenant_id, service, window_start ORDER BY revision DESC, written_at DESC
) = 1
ORDER BY tenant_id, service, window_start
"""

_PATTERNS_SQL: Final = """
SELECT pattern_id, pattern, count, errors, severity, exception, is_new, example
FROM log_patterns
WHERE tenant_id = $tenant AND service = $service AND window_start = make_timestamptz($start_us)
QUALIFY rank() OVER (ORDER BY revision DESC) = 1
    AND row_number() OVER (PARTITION BY pattern_id ORDER BY written_at DESC) = 1
"""


def _summary_of(row: dict[str, Any]) -> WindowSummary:
    bins = _bins_of(row)
    severities = json.loads(row["severities"] or "{}")
    statuses = {int(status): count for status, count in json.loads(row["statuses"] or "{}").items()}
    middle_us = round((row["latency_p50_ms"] or 0) * 1000)
    return WindowSummary(
        tenant_id=row["tenant_id"],
        service=row["service"],
        window_start_us=row["start_us"],
        window_seconds=(row["end_us"] - row["start_us"]) // 1_000_000,
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


def _patterns_of(connection: Any, summary: WindowSummary) -> dict[str, PatternStats]:
    scope = {"tenant": summary.tenant_id, "service": summary.service, "start_us": summary.window_start_us}
    rows = connection.cursor().execute(_PATTERNS_SQL, scope).fetchall()
    return {
        pattern_id: PatternStats(
            text,
            count,
            errors,
            SEVERITY_NUMBERS.get(severity, 0),
            [Example(0, summary.window_start_us, "", example)] if example else [],
            exception or "",
            is_new=is_new,
        )
        for pattern_id, text, count, errors, severity, exception, is_new, example in rows
    }
