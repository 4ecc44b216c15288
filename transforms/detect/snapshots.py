"""Snapshots of what is learned of a service: rows for people, and bytes that a later job goes on from.

`describe_service` says what is known; `encode_baselines` and `decode_baselines` carry it over. The bytes come
back from files and tables that others can write: `decode_baselines` lets nothing through that could stop a
job.
"""

from __future__ import annotations

import binascii
import math
from base64 import b64decode, b64encode
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np
import zstandard

from transforms.detect.baselines.interface import HOUR_US
from transforms.detect.baselines.level import Known, LevelBank, Vectors, find_damage
from transforms.detect.baselines.observations import (
    CASES_AT_MOST,
    KINDS,
    kind_of,
    natural_value,
    split_signal,
)
from transforms.detect.baselines.season_table import Numbers
from transforms.detect.baselines.seasons import Calendar
from transforms.detect.watch import ServiceBaselines
from transforms.elements import MINUTE_US, BaselineSnapshot, BaselineStatus

STATE_VERSION: Final = 1
"""Of `ServiceBaselines` as bytes. A change that older bytes do not decode to needs the next number, a new
file in tests/golden/baselines, and a line in docs/baselines.md."""

MAX_STATE_BYTES: Final = 4 << 20
MAX_ENTRIES: Final = 20_000
"""Of any collection of one service. The job itself stays far below."""

MAX_BIN: Final = 2_000
"""No latency of 64 bits is in a higher bin."""

SERVICE_DETECTOR: Final = "all"
_LARGEST: Final = 1 << 62
_ZSTD_LEVEL: Final = 3

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


class SnapshotError(ValueError):
    """A state that cannot be used; the text says the cause and the mend, and holds nothing of the state."""


# ------------------------------------------------------------------------------------- for people


def learned_windows(memory: ServiceBaselines) -> int:
    """How much is learned: windows that taught the signal that was taught most."""
    return int(LevelBank(memory.levels).windows.max(initial=0.0))


def describe_service(
    memory: ServiceBaselines,
    key: tuple[str, str],
    as_of_us: int,
    window_seconds: int,
    calendar: Calendar,
) -> list[BaselineSnapshot]:
    """The row of the service (`key`: tenant and service) with its state, then one for each signal."""
    names = tuple(memory.levels.names)
    if not names:
        return []
    known, weights = _describe(LevelBank(msgspec.structs.replace(memory.levels)), names, calendar)
    columns = zip(names, weights.tolist(), *(column.tolist() for column in known), strict=True)
    where = (*key, as_of_us, window_seconds)
    rows = [_signal_row(name, weight, Known(*numbers), where) for name, weight, *numbers in sorted(columns)]
    return [_service_row(memory, rows), *rows]


def _describe(bank: LevelBank, names: tuple[str, ...], calendar: Calendar) -> tuple[Known[Numbers], Numbers]:
    """What is known of windows of the usual size, and that size."""
    vectors = _vectors(names)
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


@lru_cache(maxsize=1024)
def _vectors(names: tuple[str, ...]) -> Vectors:
    return Vectors([kind_of(name).settings for name in names])


def _signal_row(
    name: str, weight: float, known: Known[float], where: tuple[str, str, int, int]
) -> BaselineSnapshot:
    tenant_id, service, as_of_us, window_seconds = where
    settings = kind_of(name).settings
    first_us = int(known.first_us)
    cautious_until = first_us + int(settings.cautious_hours * HOUR_US)

    def natural(number: float) -> float | None:
        if known.is_learning or not math.isfinite(number):
            return None
        return natural_value(name, number, weight)

    status: BaselineStatus = "alarming" if known.is_open else "ready"
    return BaselineSnapshot(
        tenant_id=tenant_id,
        service=service,
        signal=name,
        revision=as_of_us // MINUTE_US,
        as_of=as_of_us,
        detector="level",
        status="learning" if known.is_learning else status,
        learns_since=first_us,
        window_seconds=window_seconds,
        windows=int(known.windows),
        windows_missing=max(0, math.ceil(settings.learning_windows - known.windows)),
        cautious_until=cautious_until if cautious_until > as_of_us else None,
        hours_known=int(known.hours) if settings.seasonal else None,
        baseline=natural(known.expected),
        band_low=natural(known.low),
        band_high=natural(known.high),
        alarms=round(known.alarms, 3),
        state_version=STATE_VERSION,
        state="",
    )


def _service_row(memory: ServiceBaselines, rows: list[BaselineSnapshot]) -> BaselineSnapshot:
    most = max(rows, key=lambda row: row.windows)
    is_alarming = memory.silence.alarmed or any(row.status == "alarming" for row in rows)
    return msgspec.structs.replace(
        most,
        signal="",
        detector=SERVICE_DETECTOR,
        status="learning" if most.status == "learning" else "alarming" if is_alarming else "ready",
        learns_since=min(row.learns_since for row in rows),
        hours_known=max((row.hours_known for row in rows if row.hours_known is not None), default=None),
        baseline=None,
        band_low=None,
        band_high=None,
        alarms=round(sum(row.alarms for row in rows), 3),
        state=encode_baselines(memory),
    )


# ----------------------------------------------------------------------------------- for machines


def encode_baselines(memory: ServiceBaselines) -> str:
    """All memory of a service as text; the same memory gives the same text."""
    # What is known of the hours around is computed again where it is missing.
    levels = msgspec.structs.replace(memory.levels, half_hour=-1, around=b"")
    plain = msgspec.to_builtins(
        msgspec.structs.replace(memory, levels=levels), builtin_types=(bytes,), str_keys=False
    )
    packed = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(msgspec.msgpack.encode(_in_order(plain)))
    return b64encode(packed).decode("ascii")


def _in_order(value: Any) -> Any:
    """Dicts by key, all the way down: they are written in the order in which they were filled."""
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(item) for item in value] if isinstance(value, list | tuple) else value


def decode_baselines(state: str, version: int) -> ServiceBaselines:
    """What `encode_baselines` gave. Raises SnapshotError for anything that the job could not go on from."""
    if version != STATE_VERSION:
        raise SnapshotError(
            f"it is of state version {version}, and this version of the product reads {STATE_VERSION}: "
            "make it anew with `aiops warm-start`"
        )
    try:
        memory = msgspec.msgpack.decode(_unpack(state), type=ServiceBaselines)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SnapshotError(f"its state is damaged ({type(error).__name__}): {_MEND}") from None
    if problem := find_problem(memory):
        raise SnapshotError(f"its state is damaged ({problem}): {_MEND}")
    return memory


_MEND: Final = "take the file as it was written, or make it anew with `aiops warm-start`"


def _unpack(state: str) -> bytes:
    if len(state) > 2 * MAX_STATE_BYTES:
        raise SnapshotError(f"its state is longer than {2 * MAX_STATE_BYTES:,} characters: {_MEND}")
    try:
        packed = b64decode(state, validate=True)
        size = zstandard.get_frame_parameters(packed).content_size
        if not 0 < size <= MAX_STATE_BYTES:
            raise SnapshotError(f"its state would unpack to more than {MAX_STATE_BYTES:,} bytes: {_MEND}")
        return zstandard.ZstdDecompressor().decompress(packed, allow_extra_data=False)
    except (binascii.Error, zstandard.ZstdError, ValueError, MemoryError) as error:
        if isinstance(error, SnapshotError):
            raise
        raise SnapshotError(f"its state is damaged ({type(error).__name__}): {_MEND}") from None


def find_problem(memory: ServiceBaselines) -> str:
    """What in a decoded state would stop or poison a job, in a few words; "" for a sound one."""
    levels = memory.levels
    if problem := find_damage(levels):
        return problem
    if any(split_signal(name)[0] not in KINDS for name in levels.names):
        return "it has signals that this version does not know"
    seasonal = [name for name in levels.names if kind_of(name).settings.seasonal]
    if sorted(levels.seasonal) != sorted(seasonal):
        return "its hours belong to other signals"
    if any(not 0 <= index <= MAX_BIN or count < 0 for index, count in memory.latencies.bins.items()):
        return "its latencies are none"
    plain = msgspec.to_builtins(memory, builtin_types=(bytes,), str_keys=False)
    return _bounds_problem(plain)


def _bounds_problem(value: Any) -> str:
    """What is wrong with numbers and sizes anywhere in plain data."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        if len(value) > MAX_ENTRIES:
            return "it has more entries than any service"
        return next(filter(None, map(_bounds_problem, value)), "")
    if isinstance(value, int | float) and not -_LARGEST < value < _LARGEST:
        return "a number is beyond all bounds"
    return ""
