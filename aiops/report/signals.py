"""Lines, error rate and p95 latency of services over time, with what was expected of them, from the store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiops.report.bands import Point, Series, Unit
from aiops.report.charts import TimeAxis
from pipeline.duckdb_store import DuckDBStore, Row

DRAWN: Final[dict[str, tuple[str, Unit]]] = {
    "lines": ("lines", "per_minute"),
    "error_rate": ("errors", "share"),
    "latency_p95_ms": ("p95", "ms"),
}
"""Signals that have a chart: title and unit by name, in the order of the page."""

_ENDLESS: Final = 1e15
LEAST_REQUESTS: Final = 30
"""The p95 of fewer requests is not compared: the detector judges it over several windows."""


@dataclass(frozen=True)
class ChartSpan:
    """The stretch of time of one service that a chart shows."""

    tenant: str
    service: str
    axis: TimeAxis


ServiceSeries = dict[str, Series]
"""By signal; the keys are those of DRAWN."""

# An average over the windows that are there: the last bucket of a run may hold fewer than the others.
# Of rates and latencies a sum means nothing, so the worst window speaks for its bucket, beside its own band.
_SERIES_SQL: Final = """
WITH spans AS (SELECT unnest($spans, recursive := true)),
windows AS (
  SELECT number, CAST(epoch(window_start) - start AS BIGINT) // bucket AS place, lines, requests,
         CASE WHEN lines > 0 THEN errors / lines END AS error_rate, latency_p95_ms,
         epoch(window_end) - epoch(window_start) AS seconds,
         from_json(CASE WHEN json_valid(bands) THEN bands ELSE '{}' END, $form) AS bands
  FROM report_windows JOIN spans ON tenant_id = tenant AND service = served
   AND epoch(window_start) >= start AND epoch(window_start) < start + bucket * buckets),
points AS (
  SELECT number, place, lines, seconds, bands.lines AS band,
         {'value': error_rate, 'baseline': bands.error_rate.baseline, 'low': bands.error_rate.low,
          'high': bands.error_rate.high} AS rate,
         CASE WHEN requests >= $least_requests
           THEN {'value': latency_p95_ms, 'baseline': bands.latency_p95_ms.baseline,
                 'low': bands.latency_p95_ms.low, 'high': bands.latency_p95_ms.high}
           ELSE {'value': latency_p95_ms, 'baseline': NULL, 'low': NULL, 'high': NULL} END AS p95
  FROM windows)
SELECT number, place, 60 * sum(lines) / sum(seconds) AS per_minute,
  CASE WHEN count(*) = count(band.high) THEN
    {'baseline': 60 * sum(band.baseline) / sum(seconds), 'low': 60 * sum(band.low) / sum(seconds),
     'high': 60 * sum(band.high) / sum(seconds)} END AS lines_band,
  arg_max(rate, {'off': coalesce(rate.value > rate.high, false), 'value': rate.value})
    FILTER (rate.value IS NOT NULL) AS rate,
  arg_max(p95, {'off': coalesce(p95.value > p95.high, false), 'value': p95.value})
    FILTER (p95.value IS NOT NULL) AS p95
FROM points WHERE seconds > 0 GROUP BY number, place
"""
_BAND: Final = ("baseline", "low", "high")
_NUMBERS: Final = '{"baseline":"DOUBLE","low":"DOUBLE","high":"DOUBLE"}'
_FORM: Final = f'{{"lines":{_NUMBERS},"error_rate":{_NUMBERS},"latency_p95_ms":{_NUMBERS}}}'


def find_series(store: DuckDBStore, spans: Sequence[ChartSpan]) -> list[ServiceSeries]:
    """The signals of each span, from the table `report_windows` that the report selects.

    A bucket of several windows shows their lines together, against the sum of their bands, and the rate
    and p95 of the worst window, against its own band: one above it if there is one, else the highest.
    Lines have a band where every window of the bucket has one. Raises StoreError.
    """
    if not spans:
        return []
    rows = store.query(
        _SERIES_SQL,
        {
            "spans": [
                {
                    "number": number,
                    "tenant": span.tenant,
                    "served": span.service,
                    "start": int(span.axis.start.timestamp()),
                    "bucket": span.axis.bucket_seconds,
                    "buckets": span.axis.buckets,
                }
                for number, span in enumerate(spans)
            ],
            "form": _FORM,
            "least_requests": LEAST_REQUESTS,
        },
    )
    points = [{name: [Point()] * span.axis.buckets for name in DRAWN} for span in spans]
    for row in rows:
        mine, place = points[row["number"]], row["place"]
        mine["lines"][place] = _point(row["per_minute"], row["lines_band"])
        for name, column, most in (("error_rate", "rate", 1.0), ("latency_p95_ms", "p95", _ENDLESS)):
            if row[column] is not None:
                mine[name][place] = _point(row[column]["value"], row[column], most)
    return [{name: Series(*DRAWN[name], mine[name]) for name in DRAWN} for mine in points]


def _point(value: float | None, band: Row | None, most: float = _ENDLESS) -> Point:
    """Stored numbers as a point; what is not finite is as if it were not there."""
    if value is not None and not math.isfinite(value):
        value = None
    if band is None or any(band[name] is None or math.isnan(band[name]) for name in _BAND):
        return Point(value)
    baseline, low, high = (min(max(0.0, float(band[name])), most) for name in _BAND)
    return Point(value, baseline, min(low, high), max(low, high))
