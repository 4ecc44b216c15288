"""Served requests: from httpRequest, from access log lines and from what JSON loggers write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from transforms.elements import LogEntry
from transforms.parse.endpoints import EndpointMasker
from transforms.parse.raw import RawHttpRequest

_MAX_LATENCY_US: Final = 10**13
_ADDRESS: Final = re.compile(r"[0-9a-fA-F]{0,4}[0-9a-fA-F.:]{3,45}(?:%\w{1,16})?")
_DURATION: Final = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(ns|us|µs|μs|ms|s|m|h)")
_UNITS_US: Final = {"ns": 0.001, "us": 1.0, "µs": 1.0, "μs": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7, "h": 3.6e9}

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PROPFIND")
_METHOD: Final = f"({'|'.join(_METHODS)})"
_REQUEST_LINE: Final = re.compile(_METHOD + r" (\S{1,2000})(?: HTTP/[\d.]{1,3})?")
_ACCESS_LINE: Final = re.compile(r'"' + _METHOD + r' (\S{1,2000}) HTTP/[\d.]{1,3}" (\d{3})\b')

_METHOD_KEYS: Final = (
    "method",
    "requestMethod",
    "request_method",
    "http_method",
    "http.method",
    "http.request.method",
)
_PATH_KEYS: Final = (
    "route", "http.route", "path", "uri", "url", "requestUrl", "request_uri", "http.target", "url.path",
    "originalUrl",
)  # fmt: skip
_STATUS_KEYS: Final = (
    "status", "statusCode", "status_code", "code", "responseStatusCode", "response_code",
    "http.status_code", "http.response.status_code",
)  # fmt: skip
_ADDRESS_KEYS: Final = (
    "remoteIp", "remote_ip", "remote_addr", "remoteAddress", "client_ip", "clientIp", "clientAddress",
    "client_addr",
)  # fmt: skip
_LATENCY_KEYS_US: Final = {
    "latency": 0.0,  # 0: only with a unit, for a bare number may be anything
    "duration": 0.0,
    "elapsed": 0.0,
    "request_time": 1e6,
    "req_time": 1e6,
    "latency_seconds": 1e6,
    "duration_seconds": 1e6,
    "responseTime": 1e3,
    "response_time_ms": 1e3,
    "latency_ms": 1e3,
    "latencyMs": 1e3,
    "duration_ms": 1e3,
    "durationMs": 1e3,
    "elapsed_ms": 1e3,
    "grpc.time_ms": 1e3,
}
_GRPC_DENIED: Final = frozenset(
    {"PermissionDenied", "Unauthenticated", "PERMISSION_DENIED", "UNAUTHENTICATED"}
)


def read_latency(text: str) -> int:
    """Microseconds of a duration such as `0.005498s`; -1 where it is none."""
    try:
        latency = int(float(text[:-1]) * 1e6 + 0.5) if text[-1:] == "s" else -1
    except (ValueError, OverflowError):
        return _read_duration(text, 0.0)
    return latency if 0 <= latency < _MAX_LATENCY_US else -1


def _read_duration(value: object, scale_us: float) -> int:
    """Microseconds of a number of `scale_us` each, or of text with units (`1m2.5s`, `12ms`)."""
    latency = -1.0
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        latency = value * scale_us if scale_us and abs(value) < 1e12 else -1.0
    elif isinstance(value, str) and 0 < len(value) < 40:
        parts = list(_DURATION.finditer(value))
        if parts and "".join(part[0] for part in parts) == value:
            latency = sum(float(part[1]) * _UNITS_US[part[2]] for part in parts)
        elif scale_us and re.fullmatch(r"\d{1,12}(\.\d{1,12})?", value, re.ASCII):
            latency = float(value) * scale_us
    return int(latency + 0.5) if 0 <= latency < _MAX_LATENCY_US else -1


def read_address(text: str) -> str:
    """`text` where it looks like an IP address, else "": audit logs also write `private` here."""
    return text if _ADDRESS.fullmatch(text) else ""


def status_severity(status: int) -> int:
    """Severity of an HTTP status, as Cloud Run gives it: 5xx ERROR, 4xx WARNING, else INFO."""
    return 500 if status >= 500 else 400 if status >= 400 else 200


def apply_http_request(entry: LogEntry, http: RawHttpRequest, endpoints: EndpointMasker) -> None:
    """Fill in what httpRequest says, but not the message."""
    status = http.status if 0 < http.status < 1000 else 0
    entry.http_status = status
    entry.endpoint = endpoints.endpoint(http.request_method, http.request_url)
    if http.latency:
        entry.latency_us = read_latency(http.latency)
    entry.remote_ip = http.remote_ip if len(http.remote_ip) < 64 else ""
    if status in {401, 403}:
        entry.is_denied = True


def request_message(entry: LogEntry, detail: str = "") -> str:
    """`GET /orders/{id} 502 failed_to_connect_to_backend`: few different texts for many requests."""
    message = f"{entry.endpoint} {entry.http_status}" if entry.http_status else entry.endpoint
    return f"{message} {detail}" if detail else message


def apply_access_line(entry: LogEntry, text: str, endpoints: EndpointMasker) -> None:
    """Fill in what a line of an access log says (common or combined format, Envoy's format)."""
    match = _ACCESS_LINE.search(text[:4000])
    if match is None:
        return
    _apply_request(entry, match[1], match[2], int(match[3]), endpoints)
    first = text.partition(" ")[0]
    entry.remote_ip = entry.remote_ip or read_address(first)


def apply_json_request(entry: LogEntry, fields: Mapping[str, Any], endpoints: EndpointMasker) -> None:
    """Fill in the request that a JSON payload describes, if it does."""
    request, response = (
        fields.get(keys[0]) or fields.get(keys[1]) for keys in (("req", "request"), ("res", "response"))
    )
    inner = fields.get("httpRequest")
    where = [part for part in (fields, inner, request, response) if isinstance(part, Mapping)]
    method, path = _first_text(where, _METHOD_KEYS), _first_text(where, _PATH_KEYS)
    line = _REQUEST_LINE.fullmatch(request) if isinstance(request, str) else None
    status = _first_status(where)
    if line:
        method, path = line[1], line[2]
    if line or (path and status and method.upper() in _METHODS):
        _apply_request(entry, method.upper(), path, status, endpoints)
    elif "grpc.code" in fields and isinstance(fields.get("grpc.method"), str):
        service = str(fields.get("grpc.service", ""))[:100]
        entry.endpoint = endpoints.endpoint("", f"/{service}/{fields['grpc.method']}")
        entry.is_request = True
        entry.is_denied = entry.is_denied or str(fields["grpc.code"]) in _GRPC_DENIED
    if entry.is_request:
        _apply_json_details(entry, where)


def _apply_json_details(entry: LogEntry, where: list[Mapping[str, Any]]) -> None:
    entry.remote_ip = entry.remote_ip or read_address(_first_text(where, _ADDRESS_KEYS))
    for key, scale in _LATENCY_KEYS_US.items():
        for part in where:
            if entry.latency_us < 0 and key in part:
                entry.latency_us = _read_duration(part[key], scale)


def _apply_request(entry: LogEntry, method: str, path: str, status: int, endpoints: EndpointMasker) -> None:
    entry.is_request = True
    entry.endpoint = endpoints.endpoint(method, path)
    if 100 <= status < 600:
        entry.http_status = status
        entry.is_denied = entry.is_denied or status in {401, 403}


def _first_text(where: list[Mapping[str, Any]], keys: tuple[str, ...]) -> str:
    for part in where:
        for key in keys:
            value = part.get(key)
            if isinstance(value, str) and value:
                return value
    return ""


def _first_status(where: list[Mapping[str, Any]]) -> int:
    for part in where:
        for key in _STATUS_KEYS:
            value = part.get(key)
            text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
            if len(text) == 3 and text.isdecimal() and 100 <= int(text) < 600:
                return int(text)
    return 0
