"""What is observed of a window: the signals whose levels are learned, by name.

| signal | value over exposure | says |
| --- | --- | --- |
| lines, requests | per window | traffic |
| error_rate | errors over lines | errors |
| severity.NAME | lines of a severity (WARNING and up) over lines | errors |
| latency_p50_ms, _p95_ms, _p99_ms | logarithm, by requests | latency |
| distinct_principals, distinct_addresses | per window | traffic |
| pattern.ID | lines of a pattern over lines | patterns |
| endpoint_requests.NAME | requests of an endpoint over requests | traffic |
| endpoint_error_rate.NAME | errors over requests of an endpoint | errors |
| endpoint_latency_ms.NAME | mean logarithm, by requests of an endpoint | latency |
| field.NAME | as an operator's file says, judged by a detector of its own | fields |

Counts of parts are judged against the whole, so that twice the traffic is one finding and not fifty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
import numpy as np

from transforms.detect.baselines.book import FieldEntry
from transforms.detect.baselines.level import LevelSettings
from transforms.detect.baselines.season_table import Numbers
from transforms.elements import (
    MICROSECONDS,
    SEVERITY_NAMES,
    WARNING,
    AnomalyType,
    PatternStats,
    RequestStats,
    WindowSummary,
)
from transforms.measures import field_value
from transforms.sketches import LOG_GAMMA, distinct_estimate, latency_quantiles_us, merge_sum

FIELD: Final = "field"
MOST_PATTERNS: Final = 100
MOST_ENDPOINTS: Final = 20
LEAST_CASES: Final = 30
"""Latencies of fewer requests are gathered over windows; a quantile at the edge needs more: `_amount`."""

LEAST_BEYOND: Final = 1.5
"""Requests beyond a quantile, on average: below it one slow request would be the quantile."""

LOG_1000: Final = math.log(1000)
GATHER_US: Final = 15 * 60 * MICROSECONDS

CASES_AT_MOST: Final = 100.0
"""More requests do not make a quantile surer than so many: load, not chance, moves it then."""

_Observed = tuple[float, float]
"""(value, weight); a weight of 0 for nothing observed."""

_NOTHING: Final[_Observed] = (0.0, 0.0)


class SignalKind(NamedTuple):
    """What all signals of one prefix have in common."""

    anomaly_type: AnomalyType
    settings: LevelSettings
    observe: Callable[[Window, str], _Observed]


class Gathered(msgspec.Struct, array_like=True, gc=False):
    """Latencies of windows with too few requests to judge, until there are enough."""

    bins: dict[int, int] = {}
    since_us: int = 0

    def take(self, summary: WindowSummary) -> dict[int, int]:
        """The latencies to judge now; empty when they are still too few."""
        if self.bins and summary.window_start_us - self.since_us >= GATHER_US:
            self.bins = {}
        if not self.bins and summary.latency_count >= LEAST_CASES:
            return summary.latency_bins
        if not self.bins:
            self.since_us = summary.window_start_us
        merge_sum(self.bins, summary.latency_bins)
        if sum(self.bins.values()) < LEAST_CASES:
            return {}
        taken, self.bins = self.bins, {}
        return taken


class Window:
    """A summary, with what is computed once for all signals."""

    def __init__(self, summary: WindowSummary, latency_bins: dict[int, int]) -> None:
        self.summary = summary
        self.lines = float(summary.lines)
        self.requests = float(summary.requests)
        self._cases = sum(latency_bins.values())
        self._quantiles = latency_quantiles_us(latency_bins, (0.5, 0.95, 0.99))

    def latency(self, place: int, edge: float) -> _Observed:
        return _amount(self._quantiles[place] if self._quantiles else 0.0, self._cases, edge)


def _amount(latency_us: float, cases: int, edge: float) -> _Observed:
    """`edge` is the share of cases beyond the quantile."""
    if cases * edge < LEAST_BEYOND or latency_us <= 0:
        return _NOTHING
    return math.log(latency_us / 1000), cases / (1.0 + cases / CASES_AT_MOST)


def _severity(window: Window, name: str) -> _Observed:
    return float(window.summary.severities.get(_NUMBERS[name], 0)), window.lines


def _pattern(window: Window, pattern_id: str) -> _Observed:
    stats = window.summary.patterns.get(pattern_id)
    return (float(stats.count) if stats else 0.0), window.lines


def _endpoint_requests(window: Window, name: str) -> _Observed:
    stats = window.summary.endpoints.get(name)
    return (float(stats.count) if stats else 0.0), window.requests


def _endpoint_errors(window: Window, name: str) -> _Observed:
    stats = window.summary.endpoints.get(name)
    return (float(stats.errors), float(stats.count)) if stats else _NOTHING


def _endpoint_latency(window: Window, name: str) -> _Observed:
    """The mean of logarithms: of all measures of a latency the surest when requests are few."""
    stats = window.summary.endpoints.get(name)
    if stats is None or not stats.latency_bins:
        return _NOTHING
    cases = sum(stats.latency_bins.values())
    bins = sum(index * count for index, count in stats.latency_bins.items())
    return bins / cases * LOG_GAMMA - LOG_1000, cases / (1.0 + cases / CASES_AT_MOST)


_NUMBERS: Final = {name: number for number, name in SEVERITY_NAMES.items()}
_TRAFFIC: Final = LevelSettings(seasonal=True, least_effect=0.5, memory_minutes=20)
_DISTINCT: Final = LevelSettings(seasonal=True, least_effect=0.5, least_spread=1.2, memory_minutes=20)
_ERRORS: Final = LevelSettings(direction="up", least_effect=0.5)
_LATENCY: Final = LevelSettings(
    family="amounts",
    direction="up",
    seasonal=True,
    least_effect=0.3,
    least_spread=0.5,
    memory_minutes=60,
)
_QUANTILE: Final = msgspec.structs.replace(_LATENCY, alarm_z=12.0)
"""A quantile over all endpoints jumps when their mix does: one window alone must be far off."""

_PART: Final = LevelSettings(least_effect=1.0, alarm_z=7.0)

_FIELD: Final = LevelSettings(family="amounts")

KINDS: Final[Mapping[str, SignalKind]] = {
    "lines": SignalKind("traffic_change", _TRAFFIC, lambda window, _: (window.lines, 1.0)),
    "requests": SignalKind("traffic_change", _TRAFFIC, lambda window, _: (window.requests, 1.0)),
    "error_rate": SignalKind(
        "error_spike", _ERRORS, lambda window, _: (float(window.summary.errors), window.lines)
    ),
    "latency_p50_ms": SignalKind("latency_increase", _QUANTILE, lambda window, _: window.latency(0, 0.5)),
    "latency_p95_ms": SignalKind("latency_increase", _QUANTILE, lambda window, _: window.latency(1, 0.05)),
    "latency_p99_ms": SignalKind("latency_increase", _QUANTILE, lambda window, _: window.latency(2, 0.01)),
    "distinct_principals": SignalKind(
        "traffic_change", _DISTINCT, lambda window, _: _distinct(window.summary.principals)
    ),
    "distinct_addresses": SignalKind(
        "traffic_change", _DISTINCT, lambda window, _: _distinct(window.summary.addresses)
    ),
    "severity": SignalKind("error_spike", _ERRORS, _severity),
    "pattern": SignalKind("unusual_pattern", _PART, _pattern),
    "endpoint_requests": SignalKind("traffic_change", _PART, _endpoint_requests),
    "endpoint_error_rate": SignalKind("error_spike", _ERRORS, _endpoint_errors),
    "endpoint_latency_ms": SignalKind(
        "latency_increase", msgspec.structs.replace(_LATENCY, seasonal=False), _endpoint_latency
    ),
    FIELD: SignalKind("metric_anomaly", _FIELD, lambda _window, _name: _NOTHING),
}
"""By prefix: what stands before the first dot of a signal's name."""

_OF_ENDPOINTS: Final = ("endpoint_requests", "endpoint_error_rate", "endpoint_latency_ms")
ALWAYS: Final = ("lines", "error_rate")
"""Signals of every service, also of one that never had an error."""


def _distinct(registers: dict[int, int]) -> _Observed:
    return float(distinct_estimate(registers)), 1.0


def split_signal(name: str) -> tuple[str, str]:
    """("endpoint_requests", "GET /cart") of "endpoint_requests.GET /cart"; ("lines", "") of "lines"."""
    kind, _, key = name.partition(".")
    return kind, key


def kind_of(name: str) -> SignalKind:
    return KINDS[split_signal(name)[0]]


def signals_to_begin(summary: WindowSummary, known: Sequence[str]) -> list[str]:
    """Names of signals that this window shows for the first time, as far as there is room."""
    have = set(known)
    found = [*ALWAYS]
    if summary.requests:
        found.append("requests")
    if summary.latency_count:
        found += ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms")
    if summary.principals:
        found.append("distinct_principals")
    if summary.addresses:
        found.append("distinct_addresses")
    severities = sorted(level for level in summary.severities if level >= WARNING)
    found += [f"severity.{SEVERITY_NAMES[level]}" for level in severities if level in SEVERITY_NAMES]
    begun = [name for name in found if name not in have]
    if summary.patterns:
        begun += _begin_parts(summary.patterns, ("pattern",), MOST_PATTERNS, have)
    if summary.endpoints:
        begun += _begin_parts(summary.endpoints, _OF_ENDPOINTS, MOST_ENDPOINTS, have)
    return begun


def _begin_parts(
    parts: Mapping[str, PatternStats] | Mapping[str, RequestStats],
    kinds: Sequence[str],
    most: int,
    have: set[str],
) -> Iterable[str]:
    """Names of the parts that have not a signal of each of `kinds`; of at most `most` parts in all."""
    missing = [key for key in parts if any(f"{kind}.{key}" not in have for kind in kinds)]
    if not missing:
        return ()
    known = {key for kind, key in map(split_signal, have) if kind in kinds}
    new = sorted((key for key in missing if key not in known), key=lambda key: (-parts[key].count, key))
    begun = [*sorted(known.intersection(missing)), *new[: max(0, most - len(known))]]
    return [name for key in begun for kind in kinds if (name := f"{kind}.{key}") not in have]


def observe_window(
    summary: WindowSummary, names: Sequence[str], gathered: Gathered
) -> tuple[Numbers, Numbers]:
    """Values and weights of the signals `names` in this window; mutates `gathered`."""
    window = Window(summary, gathered.take(summary))
    observed = [observe(window, key) for observe, key in _plan(tuple(names))]
    pairs = np.array(observed, dtype=float).reshape(len(observed), 2)
    return pairs[:, 0], pairs[:, 1]


@lru_cache(maxsize=1024)
def _plan(names: tuple[str, ...]) -> list[tuple[Callable[[Window, str], _Observed], str]]:
    split = [split_signal(name) for name in names]
    return [(KINDS[kind].observe, key) for kind, key in split]


def observe_fields(summary: WindowSummary, fields: Iterable[FieldEntry]) -> Iterator[tuple[str, float]]:
    """(signal, value) of the numeric fields that lines of this window had."""
    for field in fields:
        stats = summary.fields.get(field.name)
        if stats is not None and stats.count:
            yield f"{FIELD}.{field.name}", field_value(stats, field.take)


def natural_value(name: str, value: float, weight: float) -> float:
    """The value as people read it: a rate between 0 and 1, milliseconds, or a count."""
    kind, _ = split_signal(name)
    if KINDS[kind].settings.family == "amounts":
        return math.exp(min(value, 700.0))
    if kind.endswith("error_rate"):
        return value / weight if weight else 0.0
    return value
