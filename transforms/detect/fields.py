"""The fields that conditions and descriptions can name: one table for each thing a rule looks at.

The tables are the only place where fields are listed: the types that CEL checks, the values and the
pages of the docs come from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

from transforms.detect.signals import PatternSignals, Span, merge_bins
from transforms.elements import MICROSECONDS, MINUTE_US
from transforms.sketches import latency_quantile_us

FieldType = Literal["int", "double", "bool", "string"]
FieldValue = int | float | bool | str
Subject = Literal["window", "pattern", "endpoint"]

_COSTLY: Final = re.compile(r"latency|usual|distinct_(?!patterns)")

T = TypeVar("T")


class Field(NamedTuple, Generic[T]):
    """One name that a condition may use."""

    type: FieldType
    meaning: str
    compute: Callable[[T], FieldValue]


class PatternView:
    """One pattern, or all that a `match` found, within a span. Texts are those of the newest window."""

    def __init__(self, span: Span, pattern_ids: Sequence[str], text: str, exception: str) -> None:
        self.span = span
        self.text = text
        self.exception = exception
        self._ids = pattern_ids
        self.total: PatternSignals = span.pattern_total(pattern_ids)
        self.count, self.errors = self.total.count, self.total.errors

    @cached_property
    def before(self) -> PatternSignals:
        """The same patterns' lines in all windows before the span."""
        return self.span.pattern_before(self._ids)


class EndpointView:
    """One endpoint's requests within a span."""

    def __init__(self, span: Span, name: str) -> None:
        self.name = name
        self._parts = span.endpoint(name)
        self.count = sum(stats.count for stats in self._parts)
        self.errors = sum(stats.errors for stats in self._parts)

    def latency_ms(self, quantile: float) -> float:
        """Latency of the endpoint's requests in milliseconds; 0 without requests."""
        return (latency_quantile_us(self._bins, quantile) or 0.0) / 1000

    @property
    def latency_mean_ms(self) -> float:
        """Mean latency of the endpoint's requests; 0 without requests."""
        return _ratio(sum(stats.latency_sum_us for stats in self._parts), sum(self._bins.values())) / 1000

    @cached_property
    def _bins(self) -> dict[int, int]:
        return merge_bins(stats.latency_bins for stats in self._parts)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _usual_error_rate(span: Span) -> float:
    return _ratio(sum(window.errors for window in span.before), sum(window.lines for window in span.before))


def _recent_deploys(span: Span) -> int:
    since = span.newest.window_start_us - 30 * MINUTE_US
    earlier = (window.deploys for window in span.before if window.window_start_us >= since)
    return span.total("deploys") + sum(earlier)


def _count(name: str, meaning: str) -> Field[Span]:
    return Field("int", meaning, lambda span: span.total(name))


def _rate(part: str, whole: str) -> Field[Span]:
    meaning = f"{part} / {whole}; 0 without {whole}."
    return Field("double", meaning, lambda span: _ratio(span.total(part), span.total(whole)))


def _usual(part: str, meaning: str) -> Field[Span]:
    return Field(
        "double", meaning, lambda span: span.usual(sum(getattr(window, part) for window in span.before))
    )


WINDOW_FIELDS: Final[dict[str, Field[Span]]] = {
    "lines": _count("lines", "Lines analyzed."),
    "errors": _count("errors", "Lines of severity ERROR or above, or of HTTP status 500 or above."),
    "error_rate": _rate("errors", "lines"),
    "warnings": _count("warnings", "Lines of severity WARNING."),
    "warning_rate": _rate("warnings", "lines"),
    "requests": _count("requests", "Lines that are the record of one served request."),
    "request_errors": _count("request_errors", "Requests that failed, over all endpoints."),
    "request_error_rate": _rate("request_errors", "requests"),
    "status_4xx": Field(
        "int", "Lines of HTTP status 400 to 499.", lambda span: span.statuses_between(400, 499)
    ),
    "status_429": Field(
        "int", "Lines of HTTP status 429, too many requests.", lambda span: span.statuses_between(429, 429)
    ),
    "status_5xx": Field(
        "int", "Lines of HTTP status 500 to 599.", lambda span: span.statuses_between(500, 599)
    ),
    "denials": _count("denials", "Lines that say permission denied or not authenticated."),
    "denial_rate": _rate("denials", "lines"),
    "latency_p50_ms": Field(
        "double",
        "Median latency of requests, within 2 %; 0 without requests.",
        lambda span: span.latency_ms(0.5),
    ),
    "latency_p95_ms": Field(
        "double",
        "95th percentile of latency, within 2 %; 0 without requests.",
        lambda span: span.latency_ms(0.95),
    ),
    "latency_p99_ms": Field(
        "double",
        "99th percentile of latency, within 2 %; 0 without requests.",
        lambda span: span.latency_ms(0.99),
    ),
    "latency_mean_ms": Field(
        "double",
        "Mean latency; 0 without requests.",
        lambda span: _ratio(span.total("latency_sum_us"), span.total("latency_count")) / 1000,
    ),
    "slow_requests": _count("slow_requests", "Requests slower than a second."),
    "slow_rate": _rate("slow_requests", "requests"),
    "distinct_principals": Field(
        "int", "Distinct users, estimated within 4 %.", lambda span: span.distinct_principals
    ),
    "distinct_addresses": Field(
        "int", "Distinct remote addresses, estimated within 4 %.", lambda span: span.distinct_addresses
    ),
    "distinct_patterns": Field(
        "int", "Distinct patterns in the newest window.", lambda span: len(span.newest.patterns)
    ),
    "new_patterns": Field(
        "int",
        "Patterns of the newest window that were never seen before.",
        lambda span: sum(pattern.is_new for pattern in span.newest.patterns.values()),
    ),
    "error_patterns": Field(
        "int",
        "Patterns of the newest window that have errors.",
        lambda span: sum(pattern.errors > 0 for pattern in span.newest.patterns.values()),
    ),
    "deploys": _count("deploys", "Roll-outs that audit logs report for the service."),
    "recent_deploys": Field(
        "int", "Roll-outs in the span or within the 30 minutes before its newest window.", _recent_deploys
    ),
    "window_seconds": Field("int", "Length of the span.", lambda span: span.span_us // MICROSECONDS),
    "history_windows": Field(
        "int",
        "Windows the service has been known for before the span, at most 60.",
        lambda span: span.windows_before,
    ),
    "usual_lines": _usual(
        "lines", "Lines to be expected in the span, from the windows before; 0 without history."
    ),
    "usual_errors": _usual(
        "errors", "Errors to be expected in the span, from the windows before; 0 without history."
    ),
    "usual_error_rate": Field(
        "double", "errors / lines over the windows before the span; 0 without history.", _usual_error_rate
    ),
    "usual_denials": _usual(
        "denials", "Denials to be expected in the span, from the windows before; 0 without history."
    ),
    "usual_latency_p95_ms": Field(
        "double",
        "Median of the 95th percentiles of the windows before the span; 0 without requests.",
        lambda span: span.usual_latency_p95_ms,
    ),
}

PATTERN_FIELDS: Final[dict[str, Field[PatternView]]] = {
    "pattern.count": Field(
        "int", "Lines of the pattern; with `match` and no `per`, of all that match.", lambda view: view.count
    ),
    "pattern.errors": Field("int", "Of these, lines that are errors.", lambda view: view.errors),
    "pattern.share": Field(
        "double", "pattern.count / lines.", lambda view: _ratio(view.count, view.span.total("lines"))
    ),
    "pattern.severity": Field(
        "int",
        "Highest severity: 400 WARNING, 500 ERROR, 600 CRITICAL, 700 ALERT, 800 EMERGENCY.",
        lambda view: view.total.severity,
    ),
    "pattern.is_new": Field(
        "bool", "Whether it was seen for the first time in the span.", lambda view: view.total.is_new
    ),
    "pattern.text": Field(
        "string", "The pattern: the line with its variable parts as placeholders.", lambda view: view.text
    ),
    "pattern.exception": Field("string", "Type of the exception, or empty.", lambda view: view.exception),
    "pattern.usual_count": Field(
        "double",
        "Lines of it to be expected in the span, from the windows before; 0 without history.",
        lambda view: view.span.usual(view.before.count),
    ),
    "pattern.usual_errors": Field(
        "double",
        "Errors of it to be expected in the span; 0 without history.",
        lambda view: view.span.usual(view.before.errors),
    ),
}

ENDPOINT_FIELDS: Final[dict[str, Field[EndpointView]]] = {
    "endpoint.name": Field("string", "Route or method, ids masked.", lambda view: view.name),
    "endpoint.requests": Field("int", "Requests of the endpoint.", lambda view: view.count),
    "endpoint.errors": Field("int", "Of these, failed ones.", lambda view: view.errors),
    "endpoint.error_rate": Field(
        "double", "endpoint.errors / endpoint.requests.", lambda view: _ratio(view.errors, view.count)
    ),
    "endpoint.latency_p50_ms": Field(
        "double", "Median latency of the endpoint, within 2 %.", lambda view: view.latency_ms(0.5)
    ),
    "endpoint.latency_p95_ms": Field(
        "double", "95th percentile of its latency, within 2 %.", lambda view: view.latency_ms(0.95)
    ),
    "endpoint.latency_p99_ms": Field(
        "double", "99th percentile of its latency, within 2 %.", lambda view: view.latency_ms(0.99)
    ),
    "endpoint.latency_mean_ms": Field(
        "double", "Mean latency of the endpoint; 0 without requests.", lambda view: view.latency_mean_ms
    ),
}


@cache
def costly_fields() -> frozenset[str]:
    """Fields that look through sketches or the whole history; conditions ask for them last."""
    names = (*WINDOW_FIELDS, *PATTERN_FIELDS, *ENDPOINT_FIELDS)
    return frozenset(name for name in names if _COSTLY.search(name))


@cache
def field_types(subject: Subject) -> Mapping[str, FieldType]:
    """Type of each field that a rule over `subject` may name."""
    types: dict[str, FieldType] = {name: field.type for name, field in WINDOW_FIELDS.items()}
    if subject == "pattern":
        types.update({name: field.type for name, field in PATTERN_FIELDS.items()})
    if subject == "endpoint":
        types.update({name: field.type for name, field in ENDPOINT_FIELDS.items()})
    return MappingProxyType(types)


def fields_markdown() -> str:
    """The tables as they stand in docs/rules.md."""
    lines = _markdown("every rule", WINDOW_FIELDS)
    lines += _markdown("`per: pattern` or `match`", PATTERN_FIELDS)
    lines += _markdown("`per: endpoint`", ENDPOINT_FIELDS)
    return "\n".join(lines) + "\n"


def _markdown(whose: str, fields: Mapping[str, Field[Any]]) -> list[str]:
    rows = [f"| `{name}` | {field.type} | {field.meaning} |" for name, field in fields.items()]
    return ["", f"For {whose}:", "", "| field | type | meaning |", "| --- | --- | --- |", *rows]
