"""Snapshots of what is learned of a service, as rows for people: see `describe_service`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np

from transforms.detect.baseline_state import STATE_VERSION, encode_baselines
from transforms.detect.baselines.book import BaselineBook, tenant_calendar
from transforms.detect.baselines.level import Known, LevelBank, LevelSettings, Vectors
from transforms.detect.baselines.observations import CASES_AT_MOST, natural_value, split_signal
from transforms.detect.baselines.season_table import Numbers
from transforms.detect.baselines.seasons import Calendar
from transforms.detect.deviations import LEVEL
from transforms.detect.single_snapshots import describe_singles
from transforms.detect.watch import ServiceBaselines, Who, level_settings, level_vectors
from transforms.elements import HOUR_US, MINUTE_US, BaselineSnapshot, BaselineStatus

SERVICE_DETECTOR: Final = "all"

_WHOLES: Final = {
    "error_rate": "lines",
    "severity": "lines",
    "pattern": "lines",
    "endpoint_requests": "requests",
    "endpoint_error_rate": "endpoint_requests.",
    "endpoint_latency_ms": "endpoint_requests.",
    "latency_p50_ms": "requests",
    "latency_p95_ms": "requests",
    "latency_p99_ms": "requests",
}
"""By prefix: the signal whose usual value is the exposure (or the cases) of a usual window; others have 1.

After a point at the end stands the name of the endpoint.
"""


def describe_service(
    memory: ServiceBaselines,
    key: tuple[str, str],
    as_of_us: int,
    window_seconds: int,
    book: BaselineBook,
) -> list[BaselineSnapshot]:
    """The row of the service (`key`: tenant and service) with its state, then one for each signal."""
    who = (book, *key)
    base = BaselineSnapshot(
        tenant_id=key[0],
        service=key[1],
        signal="",
        revision=as_of_us // MINUTE_US,
        as_of=as_of_us,
        detector=SERVICE_DETECTOR,
        status="learning",
        learns_since=as_of_us,
        window_seconds=window_seconds,
        windows=0,
        windows_missing=0,
        cautious_until=None,
        hours_known=None,
        baseline=None,
        band_low=None,
        band_high=None,
        alarms=0.0,
        state_version=STATE_VERSION,
        state="",
    )
    rows = [*_level_rows(memory, who, base), *describe_singles(memory, who, base)]
    rows.sort(key=lambda row: row.signal)
    return [_service_row(memory, rows, base), *rows] if rows else []


def _level_rows(memory: ServiceBaselines, who: Who, base: BaselineSnapshot) -> Iterator[BaselineSnapshot]:
    names = tuple(memory.levels.names)
    if not names:
        return
    bank = LevelBank(msgspec.structs.replace(memory.levels))
    vectors = level_vectors(who, names, base.window_seconds)
    known, weights = _describe(bank, names, vectors, tenant_calendar(who[0], who[1]))
    columns = zip(names, weights.tolist(), *(column.tolist() for column in known), strict=True)
    for name, weight, *numbers in columns:
        yield _level_row(name, weight, Known(*numbers), level_settings(who, name), base)


def _describe(
    bank: LevelBank, names: tuple[str, ...], vectors: Vectors, calendar: Calendar
) -> tuple[Known[Numbers], Numbers]:
    """What is known of windows of the usual size, and that size."""
    usual = bank.describe(np.ones(len(names)), vectors, calendar).expected
    weights = _usual_weights(names, usual, vectors)
    weights = _usual_weights(names, usual * weights, vectors)  # what is a part of a part
    return bank.describe(weights, vectors, calendar), weights


def _usual_weights(names: tuple[str, ...], expected: Numbers, vectors: Vectors) -> Numbers:
    # One number more, for the wholes that are not known, and another, for signals that are no part.
    wholes = np.append(np.nan_to_num(expected), (0.0, 1.0))[_places_of_wholes(names)]
    return np.asarray(np.where(vectors.is_events, wholes, wholes / (1.0 + wholes / CASES_AT_MOST)))


@lru_cache(maxsize=1024)
def _places_of_wholes(names: tuple[str, ...]) -> list[int]:
    places = {name: place for place, name in enumerate(names)}
    found = []
    for name in names:
        kind, part = split_signal(name)
        whole = _WHOLES.get(kind, "")
        if not whole:
            found.append(len(names) + 1)
        else:
            found.append(places.get(whole + part if whole.endswith(".") else whole, len(names)))
    return found


def _level_row(
    name: str, weight: float, known: Known[float], settings: LevelSettings, base: BaselineSnapshot
) -> BaselineSnapshot:
    first_us = int(known.first_us)
    cautious_until = first_us + int(settings.cautious_hours * HOUR_US)

    def natural(number: float) -> float | None:
        if known.is_learning or not math.isfinite(number):
            return None
        return natural_value(name, number, weight)

    status: BaselineStatus = "alarming" if known.is_open else "ready"
    return msgspec.structs.replace(
        base,
        signal=name,
        detector=LEVEL,
        status="learning" if known.is_learning else status,
        learns_since=first_us,
        windows=int(known.windows),
        windows_missing=max(0, math.ceil(settings.learning_windows - known.windows)),
        cautious_until=cautious_until if cautious_until > base.as_of else None,
        hours_known=int(known.hours) if math.isfinite(known.hours) else None,
        baseline=natural(known.expected),
        band_low=natural(known.low),
        band_high=natural(known.high),
        alarms=round(known.alarms, 3),
    )


def _service_row(
    memory: ServiceBaselines, rows: list[BaselineSnapshot], base: BaselineSnapshot
) -> BaselineSnapshot:
    most = max(rows, key=lambda row: row.windows)
    is_alarming = memory.silence.alarmed or any(row.status == "alarming" for row in rows)
    return msgspec.structs.replace(
        base,
        status="learning" if most.status == "learning" else "alarming" if is_alarming else "ready",
        learns_since=min(row.learns_since for row in rows),
        windows=most.windows,
        windows_missing=most.windows_missing,
        cautious_until=most.cautious_until,
        hours_known=max((row.hours_known for row in rows if row.hours_known is not None), default=None),
        alarms=round(math.fsum(row.alarms for row in rows), 3),
        state=encode_baselines(memory),
    )
