"""MetricParser: a batch of payloads to a MetricBatch, every point counted exactly once."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import repeat
from typing import Final

from transforms.dead_letters import broken_dead_letter, make_dead_letter
from transforms.elements import (
    MINUTE_NS,
    MINUTE_US,
    NANOSECONDS,
    BrokenPayload,
    Buckets,
    DeadLetter,
    LedgerEntry,
    MetricBatch,
    MetricPoint,
    MetricPoints,
    PayloadBatch,
    Statistic,
)
from transforms.metrics.describe import SeriesNames, describe_series
from transforms.metrics.distributions import read_buckets, read_count, read_integer
from transforms.metrics.raw import (
    RawDistribution,
    RawPoint,
    RawSeries,
    RawValue,
    Reason,
    RefusedMetric,
    SeriesPart,
    decode_payload,
)
from transforms.metrics.settings import MetricSettings
from transforms.rates import P95, bucket_quantile
from transforms.timestamps import FUTURE_NS, YEAR_2000_NS, TimestampParser

STAGE: Final = "parse_metrics"
LARGEST_VALUE: Final = 1e100
"""Larger numbers are no measurements; sums of them would not be finite."""

_MAX_SERIES_KEPT: Final = 16_384
_MAX_SERIES_KEY: Final = 8_192

Reading = tuple[Statistic, float | None, int, Buckets | None]
"""statistic, value, weight, buckets: see MetricPoint"""


class MetricParser:
    """Parses payloads with one set of settings. Remembers a bounded number of series and seconds,
    which makes it fast and never changes what it answers. Not for several threads.
    """

    def __init__(self, settings: MetricSettings) -> None:
        self._settings = settings
        self._timestamps = TimestampParser()
        self._names: dict[tuple[bytes, bytes, bytes, str, str, str], SeriesNames] = {}
        self._lateness_ns = settings.lateness_seconds * NANOSECONDS

    def parse_batch(self, batch: PayloadBatch) -> MetricBatch:
        """Points by series, dead letters (still raw) and the ledger. Never raises for the content."""
        gathered = _Gathered(batch.tenant_id)
        for payload, publish_ns in zip(batch.payloads, batch.publish_times_ns or repeat(0), strict=False):
            gathered.receive(publish_ns or self._settings.received_at_ns)
            if len(payload) > self._settings.max_payload_bytes:
                reason = f"more than {self._settings.max_payload_bytes} bytes"
                gathered.refuse(payload, RefusedMetric("too_large", reason), 1)
                continue
            for part in decode_payload(payload):
                if isinstance(part, SeriesPart):
                    self._add_series(part, publish_ns, gathered)
                else:
                    gathered.refuse(*part, 1)
        for broken in batch.broken:
            gathered.receive(broken.publish_time_ns or self._settings.received_at_ns)
            gathered.refuse_broken(broken)
        return gathered.batch()

    def _add_series(self, part: SeriesPart, publish_ns: int, gathered: _Gathered) -> None:
        raw = part.series
        count = len(raw.points) + len(part.refused)
        try:
            names = self._find_names(raw, gathered.tenant_id)
            if not count:
                raise RefusedMetric("no_points", "points is empty")
        except RefusedMetric as refused:
            gathered.refuse(part.raw, refused, max(1, count))
            return
        refusals: defaultdict[Reason, list[str]] = defaultdict(list)
        for where, reason in part.refused:
            refusals[reason].append(where)
        is_filtered = bool(self._settings.services) and names.service not in self._settings.services
        latest_ns = (publish_ns or self._settings.now_ns) + FUTURE_NS
        late = filtered = 0
        for number, point in enumerate(raw.points):
            try:
                start_ns, end_ns = self._read_times(point, names, latest_ns)
                readings = _read_value(names, point.value, (end_ns - start_ns) / NANOSECONDS)
            except RefusedMetric as refused:
                refusals[refused.reason].append(f"points[{number}]: {refused.detail}")
                continue
            if is_filtered:
                filtered += 1
            elif publish_ns and publish_ns - end_ns > self._lateness_ns:
                late += 1
            else:
                gathered.add(names, start_ns, end_ns, readings)
        for reason, details in refusals.items():
            more = f" and {len(details) - 1} more" if len(details) > 1 else ""
            gathered.refuse(part.raw, RefusedMetric(reason, details[0] + more), len(details), names.tenant_id)
        gathered.count(names.tenant_id, count - sum(map(len, refusals.values())), late, filtered)

    def _find_names(self, raw: RawSeries, tenant_id: str) -> SeriesNames:
        metric, resource, metadata = b"" + raw.metric, b"" + raw.resource, b"" + raw.metadata
        key = (metric, resource, metadata, raw.metric_kind, raw.unit, tenant_id)
        names = self._names.get(key)
        if names is None:
            names = describe_series(raw, tenant_id, self._settings.trusted_tenant_field)
            if len(metric) + len(resource) + len(metadata) + len(raw.unit) <= _MAX_SERIES_KEY:
                if len(self._names) >= _MAX_SERIES_KEPT:
                    self._names.clear()
                self._names[key] = names
        return names

    def _read_times(self, point: RawPoint, names: SeriesNames, latest_ns: int) -> tuple[int, int]:
        """Start and end in nanoseconds; a gauge has no start, and 0 stands for none."""
        interval = point.interval
        end_ns = self._timestamps.parse(interval.end_time) if interval.end_time else None
        if end_ns is None or not YEAR_2000_NS <= end_ns <= latest_ns:
            raise RefusedMetric("bad_time", "interval.endTime is missing, before 2000 or in the future")
        if names.kind == "GAUGE":
            return 0, end_ns
        start_ns = self._timestamps.parse(interval.start_time) if interval.start_time else 0
        is_wrong = start_ns is None or start_ns < 0 or start_ns > end_ns
        if start_ns is None or is_wrong or (names.kind == "DELTA" and not 0 < start_ns < end_ns):
            raise RefusedMetric("bad_interval", "interval.startTime is missing, or not before endTime")
        return start_ns, end_ns


class _Gathered:
    """What becomes of a batch: points by series, dead letters, and counts by tenant and minute."""

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        # By identity, for hashing names costs more than all the rest; the names are kept, so that no
        # other object can get their id. The same series may come twice, which changes nothing.
        self._by_names: dict[int, tuple[SeriesNames, dict[Statistic, MetricPoints]]] = {}
        self._letters: list[DeadLetter] = []
        self._counts: dict[tuple[str, int], list[int]] = {}
        self._receipts: dict[int, int] = {}
        self._minute = 0

    def receive(self, receive_ns: int) -> None:
        """What follows was received at that time."""
        minute = receive_ns // MINUTE_NS
        if minute != self._minute:
            self._minute, self._receipts = minute, {minute: 1}

    def add(self, names: SeriesNames, start_ns: int, end_ns: int, readings: list[Reading]) -> None:
        start_ns = start_ns if names.kind == "CUMULATIVE" else 0
        receipts = self._receipts  # shared by all points of the minute: nothing changes it
        entry = self._by_names.get(id(names))
        if entry is None:
            entry = self._by_names[id(names)] = names, {}
        for statistic, value, weight, buckets in readings:
            known = entry[1].get(statistic)
            if known is None:
                known = entry[1][statistic] = MetricPoints(names.series(statistic), [])
            known.points.append(MetricPoint(end_ns, value, receipts, start_ns, weight, buckets))
            receipts = _NO_RECEIPTS

    def count(self, tenant_id: str, received: int, late: int = 0, filtered: int = 0) -> None:
        counts = self._counts.setdefault((tenant_id, self._minute), [0, 0, 0])
        counts[0] += received
        counts[1] += late
        counts[2] += filtered

    def refuse(self, raw: bytes, refused: RefusedMetric, count: int, tenant_id: str = "") -> None:
        """Count `count` points as received, and make a dead letter that stands for them."""
        tenant_id = tenant_id or self.tenant_id
        reason, detail, minute_us = refused.reason, refused.detail, self._minute * MINUTE_US
        self._refuse(make_dead_letter(STAGE, reason, detail, raw, tenant_id, minute_us, count))

    def refuse_broken(self, broken: BrokenPayload) -> None:
        """The same for a message that could not be unpacked: one point."""
        self._refuse(broken_dead_letter(STAGE, broken, self.tenant_id, self._minute * MINUTE_US))

    def _refuse(self, letter: DeadLetter) -> None:
        self.count(letter.tenant_id, letter.count)
        self._letters.append(letter)

    def batch(self) -> MetricBatch:
        ledger = [
            LedgerEntry(tenant_id, minute * MINUTE_US, received, late, filtered, source="metrics")
            for (tenant_id, minute), (received, late, filtered) in sorted(self._counts.items())
        ]
        series = [points for _, by_statistic in self._by_names.values() for points in by_statistic.values()]
        return MetricBatch(series, self._letters, ledger)


_NO_RECEIPTS: Final[dict[int, int]] = {}


def _read_value(names: SeriesNames, value: RawValue, seconds: float) -> list[Reading]:
    """What a point says. Raises RefusedMetric."""
    if value.distribution_value is not None:
        return _read_distribution(names, value.distribution_value)
    number = _read_number(value)
    if names.kind == "GAUGE":
        return [("value", number, 0, None)]
    return [("rate", number / seconds if names.kind == "DELTA" else number, 0, None)]


def _read_number(value: RawValue) -> float:
    number: float
    if value.double_value is not None:
        try:
            number = float(value.double_value)
        except ValueError:
            raise RefusedMetric("wrong_type", "doubleValue is no number") from None
    elif value.int64_value is not None:
        integer = read_integer(value.int64_value)
        if integer is None:
            raise RefusedMetric("wrong_type", "int64Value is no integer of 64 bits")
        number = float(integer)
    elif value.bool_value is not None:
        number = float(value.bool_value)
    else:
        raise RefusedMetric("no_value", "none of doubleValue, int64Value, boolValue, distributionValue")
    return _finite(number, "the value")


def _read_distribution(names: SeriesNames, distribution: RawDistribution) -> list[Reading]:
    count = read_count(distribution.count)
    try:
        mean = _finite(float(distribution.mean), "the mean")
    except ValueError as error:
        if isinstance(error, RefusedMetric):
            raise
        raise RefusedMetric("bad_distribution", "mean is no number") from None
    buckets = read_buckets(distribution)
    readings: list[Reading]
    if names.kind == "CUMULATIVE":
        readings = [("mean", count * mean, count, None)]
        return [*readings, ("p95", None, 0, buckets)] if buckets is not None else readings
    readings = [("mean", mean if count else None, 0, None)]
    if buckets is not None:
        readings.append(("p95", bucket_quantile(buckets, P95), 0, None))
    return readings


def _finite(number: float, what: str) -> float:
    if not math.isfinite(number) or abs(number) > LARGEST_VALUE:
        raise RefusedMetric("not_finite", f"{what} is not finite, or beyond {LARGEST_VALUE:g}")
    return number
