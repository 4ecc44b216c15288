"""Bytes to RawSeries: the fields of a TimeSeries that are read, still as they were written.

`decode_payload` takes the fast way, one typed decode. What that refuses is taken apart: each series and
each point by itself, so that one bad number costs one point.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

Reason = Literal[
    "too_large",
    "empty",
    "not_json",
    "not_a_time_series",
    "wrong_type",
    "no_metric_type",
    "unknown_kind",
    "no_points",
    "no_value",
    "not_finite",
    "bad_distribution",
    "bad_interval",
    "bad_time",
]


class RefusedMetric(ValueError):  # noqa: N818 - a verdict on input, not an error of ours
    """A payload, series or point cannot be used. `detail` says where, without any of its values."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class RawInterval(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """TimeInterval: RFC 3339 texts."""

    start_time: str = ""
    end_time: str = ""


class RawExplicit(msgspec.Struct, gc=False):
    bounds: list[float] = []


class RawExponential(msgspec.Struct, rename="camel", gc=False):
    num_finite_buckets: int | str = 0
    growth_factor: float = 0.0
    scale: float = 0.0


class RawLinear(msgspec.Struct, rename="camel", gc=False):
    num_finite_buckets: int | str = 0
    width: float = 0.0
    offset: float = 0.0


class RawBucketOptions(msgspec.Struct, rename="camel", gc=False):
    explicit_buckets: RawExplicit | None = None
    exponential_buckets: RawExponential | None = None
    linear_buckets: RawLinear | None = None


class RawDistribution(msgspec.Struct, rename="camel", gc=False):
    """Distribution; 64-bit integers are JSON strings, and zeros may be left out."""

    count: int | str = 0
    mean: float | str = 0.0
    bucket_options: RawBucketOptions | None = None
    bucket_counts: list[int | str] = []


class RawValue(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """TypedValue. NaN and the infinities are JSON strings."""

    double_value: float | str | None = None
    int64_value: int | str | None = None
    bool_value: bool | None = None
    distribution_value: RawDistribution | None = None


_NO_INTERVAL: Final = RawInterval()
_NO_VALUE: Final = RawValue()
_NO_OBJECT: Final = msgspec.Raw(b"{}")


class RawPoint(msgspec.Struct, gc=False):
    """Point of a TimeSeries."""

    interval: RawInterval = _NO_INTERVAL
    value: RawValue = _NO_VALUE


Scalar = str | int | float | bool | None
"""A label as exporters write it; Cloud Monitoring's own are strings."""


class RawDescriptor(msgspec.Struct, gc=False):
    """Metric or MonitoredResource: a type and labels."""

    type: str | None = ""
    labels: dict[str, Scalar] | None = None


class RawMetadata(msgspec.Struct, rename="camel", gc=False):
    """MonitoredResourceMetadata: a pod's own labels, a machine's name."""

    system_labels: dict[str, Any] | None = None
    user_labels: dict[str, Any] | None = None


class RawSeries(msgspec.Struct, rename="camel", gc=False):
    """TimeSeries as written. What repeats from series to series stays bytes: a memo knows it."""

    metric: msgspec.Raw = _NO_OBJECT
    resource: msgspec.Raw = _NO_OBJECT
    metadata: msgspec.Raw = _NO_OBJECT
    metric_kind: str = ""
    unit: str = ""
    points: list[RawPoint] = []


class _LooseSeries(msgspec.Struct, rename="camel", gc=False):
    metric: msgspec.Raw = _NO_OBJECT
    resource: msgspec.Raw = _NO_OBJECT
    metadata: msgspec.Raw = _NO_OBJECT
    metric_kind: msgspec.Raw = msgspec.Raw(b'""')
    unit: msgspec.Raw = msgspec.Raw(b'""')
    points: list[msgspec.Raw] | None = None


class _Answer(msgspec.Struct, rename="camel", gc=False):
    time_series: list[msgspec.Raw] | None = None
    points: msgspec.Raw = msgspec.Raw(b"")


_SERIES: Final = msgspec.json.Decoder(RawSeries)
_LOOSE: Final = msgspec.json.Decoder(_LooseSeries)
_ANSWER: Final = msgspec.json.Decoder(_Answer)
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_POINT: Final = msgspec.json.Decoder(RawPoint)
_TEXT: Final = msgspec.json.Decoder(str)
# A string, or a number that JSON does not have but programs write.
_NOT_A_NUMBER: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?(?:NaN|Infinity)', re.DOTALL)
_FAILURES: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class SeriesPart(msgspec.Struct, gc=False):
    """One TimeSeries of a payload. `refused` are points that could not be decoded: (detail, reason)."""

    series: RawSeries
    raw: bytes
    refused: list[tuple[str, Reason]] = []


def decode_payload(payload: bytes) -> Iterator[SeriesPart | tuple[bytes, RefusedMetric]]:
    """The TimeSeries in `payload`: one, an array of them, or the API's answer `{"timeSeries": [...]}`.

    What cannot be read comes out as its bytes and why. Raises nothing for the payload's content.
    """
    payload = payload.removeprefix(codecs.BOM_UTF8).strip()
    try:
        if payload[:1] == b"{" and payload.find(b'"timeSeries"') < 0:
            yield SeriesPart(_SERIES.decode(payload), payload)
            return
    except _FAILURES:
        pass
    if b"NaN" in payload or b"Infinity" in payload:
        payload = _NOT_A_NUMBER.sub(_quote_literal, payload)
    try:
        parts = _split(payload)
    except RefusedMetric as refused:
        yield payload, refused
        return
    for part in parts:
        yield _decode_part(part)


def _quote_literal(match: re.Match[bytes]) -> bytes:
    return match[0] if match[0].startswith(b'"') else b'"%b"' % match[0]


def _split(payload: bytes) -> list[bytes]:
    if not payload:
        raise RefusedMetric("empty", "no bytes but white space")
    try:
        if payload[:1] == b"[":
            return [bytes(part) for part in _LIST.decode(payload)]
        answer = _ANSWER.decode(payload)
    except msgspec.ValidationError:
        raise RefusedMetric("not_a_time_series", "neither a TimeSeries nor a list of them") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedMetric("not_json", _position(error)) from None
    except RecursionError:
        raise RefusedMetric("not_json", "nested too deeply") from None
    return [payload] if answer.time_series is None else [bytes(part) for part in answer.time_series]


def _position(error: Exception) -> str:
    # The message of a decoder is fixed text and a position; that of Unicode quotes a byte.
    return str(error) if isinstance(error, msgspec.DecodeError) else "invalid UTF-8"


def _decode_part(part: bytes) -> SeriesPart | tuple[bytes, RefusedMetric]:
    try:
        return SeriesPart(_SERIES.decode(part), part)
    except _FAILURES:
        pass
    try:
        loose = _LOOSE.decode(part)
        series = RawSeries(
            loose.metric,
            loose.resource,
            loose.metadata,
            _text(loose.metric_kind, "metricKind"),
            _text(loose.unit, "unit"),
        )
    except RefusedMetric as refused:
        return part, refused
    except msgspec.ValidationError:
        return part, RefusedMetric("not_a_time_series", "its fields are not those of a TimeSeries")
    except _FAILURES as error:
        return part, RefusedMetric("not_json", _position(error))
    refused_points: list[tuple[str, Reason]] = []
    for number, point in enumerate(loose.points or ()):
        try:
            series.points.append(_POINT.decode(point))
        except msgspec.ValidationError as error:
            reason: Reason = "not_finite" if "out of range" in str(error) else "wrong_type"
            refused_points.append((f"points[{number}]", reason))
        except _FAILURES:
            refused_points.append((f"points[{number}]", "not_json"))
    return SeriesPart(series, part, refused_points)


def _text(value: msgspec.Raw, name: str) -> str:
    if bytes(value) == b"null":
        return ""
    try:
        return _TEXT.decode(value)
    except _FAILURES:
        raise RefusedMetric("wrong_type", f"{name} is no string") from None
