"""Bytes to RawEntry: the fields of a LogEntry that are read, still as they were written.

`decode_entry` takes the fast way, one typed decode. What that refuses goes to `_tolerate`, which
decides whether the line can still be used: null counts as absent, a scalar is made the scalar that
is wanted, names of BigQuery exports are understood. Anything else raises RefusedPayload.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Final, Literal, TypeGuard

import msgspec

from transforms.elements import NANOSECONDS
from transforms.parse.sources import NO_LABELS, Labels
from transforms.resources import Resource
from transforms.timestamps import format_timestamp

MAX_DEPTH: Final = 100
"""Levels of nesting that are accepted; Cloud Logging itself stops at 100 (protobuf's limit)."""

Reason = Literal[
    "too_large",
    "empty",
    "bad_utf8",
    "not_json",
    "not_an_object",
    "too_deep",
    "number_out_of_range",
    "wrong_type",
    "no_timestamp",
    "bad_timestamp",
]


class RefusedPayload(ValueError):  # noqa: N818 - a verdict on input, not an error of ours
    """The payload cannot be used. `detail` says where, without any of its values."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class RawHttpRequest(msgspec.Struct, rename="camel", gc=False):
    """HttpRequest of a LogEntry. `latency` is text such as `0.005498s`."""

    request_method: str = ""
    request_url: str = ""
    status: int = 0
    latency: str = ""
    remote_ip: str = ""


class RawOperation(msgspec.Struct, gc=False):
    """LogEntryOperation: where in a long-running operation an audit log stands."""

    first: bool = False
    last: bool = False


_NO_OBJECT: Final = msgspec.Raw(b"{}")


class RawEntry(msgspec.Struct, rename="camel", gc=False):
    """LogEntry as written. `resource` stays bytes: few different ones come, a memo knows them."""

    timestamp: str = ""
    receive_timestamp: str = ""
    log_name: str = ""
    insert_id: str = ""
    severity: str | int = ""
    text_payload: str = ""
    json_payload: dict[str, Any] | None = None
    proto_payload: dict[str, Any] | None = None
    http_request: RawHttpRequest | None = None
    resource: msgspec.Raw = _NO_OBJECT
    labels: Labels = NO_LABELS
    trace: str = ""
    span_id: str = ""
    operation: RawOperation | None = None
    audit_log: dict[str, Any] | None = msgspec.field(default=None, name="protopayload_auditlog")


class _LabeledEntry(msgspec.Struct, gc=False):
    labels: dict[str, Any] = {}


_TYPED: Final = msgspec.json.Decoder(RawEntry)
_LABELED: Final = msgspec.json.Decoder(_LabeledEntry)
_RESOURCE: Final = msgspec.json.Decoder(Resource)
_UNTYPED: Final = msgspec.json.Decoder()
_ESCAPE: Final = re.compile(
    rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|u[dD][c-fC-F][0-9a-fA-F]{2}|.)",
    re.DOTALL,
)
_DEEP_BYTES: Final = 2_000
"""A shorter line cannot be nested a thousand levels, where decoders give up, each Python at another depth."""

_NESTING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)|[\[\]{}]', re.DOTALL)


def decode_entry(payload: bytes) -> RawEntry:
    """Fields of the LogEntry in `payload`.

    Raises RefusedPayload, and nothing else, where it is not one.
    """
    if not payload.isascii():
        _check_utf8(payload)
    if len(payload) >= _DEEP_BYTES and payload.count(b"[") + payload.count(b"{") > MAX_DEPTH:
        _check_depth(payload)
    try:
        entry = _TYPED.decode(payload)
    except RecursionError:
        raise RefusedPayload("too_deep", f"nested deeper than {MAX_DEPTH} levels") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        entry = _tolerate(payload)
    if (entry.json_payload and _is_deep(entry.json_payload)) or (
        entry.proto_payload and _is_deep(entry.proto_payload)
    ):
        raise RefusedPayload("too_deep", f"nested deeper than {MAX_DEPTH} levels")
    return entry


def _check_depth(payload: bytes) -> None:
    depth = 0
    for token in _NESTING.finditer(payload):
        if token[0] in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise RefusedPayload("too_deep", f"nested deeper than {MAX_DEPTH} levels")
        elif token[0] in (b"]", b"}"):
            depth -= 1


def decode_resource(resource: bytes) -> Resource:
    """The MonitoredResource, with scalars as strings; RefusedPayload where it is none."""
    try:
        return _RESOURCE.decode(resource)
    except (msgspec.DecodeError, RecursionError):
        entry = _decode_untyped(b'{"resource":%b}' % resource)
        return _RESOURCE.decode(_encode_resource(_object(entry, "resource")))


def read_label(payload: bytes, name: str) -> str:
    """Label `name` of a payload that `decode_entry` took, be it one of `Labels` or not; "" for none."""
    try:
        labels = _LABELED.decode(payload).labels
    except msgspec.DecodeError:
        labels = _object(_decode_untyped(payload), "labels")
    return _text(labels, name, "labels.") if name in labels else ""


def decode_object(text: str) -> dict[str, Any] | None:
    """The JSON object that `text` is, or None; one that is too deep or out of range is no object."""
    if text[:1] != "{" or text[-1:] != "}":
        return None
    try:
        value = _UNTYPED.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return value if isinstance(value, dict) and not _is_deep(value) else None


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise RefusedPayload("bad_utf8", f"invalid byte at position {error.start}") from None


def _is_deep(tree: dict[str, Any]) -> bool:
    for child in tree.values():
        kind = type(child)
        if kind is dict or kind is list:
            return _is_deeper(tree)
    return False


def _is_deeper(tree: dict[str, Any]) -> bool:
    level: list[Any] = [tree]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


def _tolerate(payload: bytes) -> RawEntry:
    entry = _decode_untyped(payload)
    for exported, name in (("protopayload_auditlog", "protoPayload"), ("protopayload", "protoPayload")):
        if isinstance(entry.get(exported), dict) and not entry.get(name):
            entry[name] = entry[exported]
    http = _object(entry, "httpRequest")
    resource = _object(entry, "resource")
    operation = _object(entry, "operation")
    return RawEntry(
        timestamp=_time(entry, "timestamp"),
        receive_timestamp=_time(entry, "receiveTimestamp"),
        log_name=_text(entry, "logName"),
        insert_id=_text(entry, "insertId"),
        severity=_text(entry, "severity"),
        text_payload=_text(entry, "textPayload"),
        json_payload=_object(entry, "jsonPayload") or None,
        proto_payload=_object(entry, "protoPayload") or None,
        http_request=_http_request(http) if entry.get("httpRequest") is not None else None,
        resource=msgspec.Raw(_encode_resource(resource)),
        labels=_labels(_object(entry, "labels")),
        trace=_text(entry, "trace"),
        span_id=_text(entry, "spanId"),
        operation=RawOperation(operation.get("first") is True, operation.get("last") is True)
        if operation
        else None,
    )


def _decode_untyped(payload: bytes) -> dict[str, Any]:
    stripped = payload.removeprefix(codecs.BOM_UTF8).strip()
    if not stripped:
        raise RefusedPayload("empty", "no bytes but white space")
    if b"\\u" in stripped:
        stripped = _ESCAPE.sub(_mend_surrogate, stripped)
    try:
        value = _UNTYPED.decode(stripped)
    except RecursionError:
        raise RefusedPayload("too_deep", f"nested deeper than {MAX_DEPTH} levels") from None
    except msgspec.ValidationError as error:
        raise RefusedPayload("number_out_of_range", _where(error)) from None
    except msgspec.DecodeError as error:
        raise RefusedPayload("not_json", str(error)) from None
    if not isinstance(value, dict):
        raise RefusedPayload("not_an_object", f"a JSON {_kind(value)}")
    return value


def _mend_surrogate(match: re.Match[bytes]) -> bytes:
    """Half a character, as programs write that cut UTF-16 text, becomes the replacement character."""
    escape = match[0]
    if match[1] and match[2]:
        return escape
    return rb"\ufffd" if escape[1:3] in {b"ud", b"uD"} and len(escape) == 6 else escape


def _where(error: msgspec.ValidationError) -> str:
    return "at " + str(error).rpartition("`$")[2].strip("`.") if "`$" in str(error) else "a number"


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {dict: "object", list: "array", str: "string", int: "number", float: "number"}
    return names.get(type(value), "null")


def _wrong(path: str, wanted: str, value: object) -> RefusedPayload:
    return RefusedPayload("wrong_type", f"{path} is a JSON {_kind(value)}, wanted {wanted}")


def _text(entry: dict[str, Any], key: str, path: str = "") -> str:
    return _scalar_text(entry.get(key), path + key)


def _scalar_text(value: object, path: str) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        raise _wrong(path, "a string", value)
    return value if isinstance(value, str) else json.dumps(value)


def _object(entry: dict[str, Any], key: str, path: str = "") -> dict[str, Any]:
    value = entry.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(path + key, "an object", value)
    return value


def _texts(labels: dict[str, Any], path: str) -> dict[str, str]:
    return {
        key: _scalar_text(value, path + "[...]")[:1000] for key, value in labels.items() if value is not None
    }


def _encode_resource(resource: dict[str, Any]) -> bytes:
    named = _texts(_object(resource, "labels", "resource."), "resource.labels")
    return msgspec.json.encode({"type": _text(resource, "type", "resource."), "labels": named})


def _labels(labels: dict[str, Any]) -> Labels:
    read = {name: labels[name] for name in Labels.__struct_encode_fields__ if name in labels}
    return msgspec.convert(_texts(read, "labels"), Labels)


def _http_request(http: dict[str, Any]) -> RawHttpRequest:
    method, url, status, latency, remote_ip = (
        _text(http, key, "httpRequest.")
        for key in ("requestMethod", "requestUrl", "status", "latency", "remoteIp")
    )
    number = status.partition(".")[0]
    return RawHttpRequest(
        method, url, int(number) if number.isdecimal() and len(number) < 5 else 0, latency, remote_ip
    )


def _time(entry: dict[str, Any], key: str) -> str:
    """Text of a time that may be given as text, as a number since 1970 or as seconds and nanos."""
    value = entry.get(key)
    if isinstance(value, dict):
        seconds, nanos = value.get("seconds"), value.get("nanos") or 0
        if not _is_number(seconds) or not _is_number(nanos):
            raise _wrong(key, "a timestamp", value)
        return format_timestamp(int(seconds) * NANOSECONDS + int(nanos))
    if _is_number(value):
        return format_timestamp(_epoch_ns(value))
    return _text(entry, key)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e20


def _epoch_ns(value: float) -> int:
    """Nanoseconds of a time in seconds, milliseconds, microseconds or nanoseconds, by its size."""
    for limit, scale in ((1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1_000)):
        if abs(value) < limit:
            return int(value) * scale + round((value - int(value)) * scale)
    return int(value)
