"""What a jsonPayload or textPayload says: message, severity, exception, request, trace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from transforms.elements import ERROR, LogEntry
from transforms.parse.endpoints import EndpointMasker
from transforms.parse.raw import decode_object
from transforms.parse.requests import apply_access_line, apply_json_request, request_message
from transforms.parse.sanitize import sanitize_text
from transforms.parse.severities import LEVEL_KEYS, infer_json_severity, infer_text_severity
from transforms.parse.stacks import find_exception, find_stack
from transforms.resources import clean_name

MAX_MESSAGE: Final = 32_768
"""Characters of a message that are kept; what follows helps nobody to read a log."""

MESSAGE_KEYS: Final = (
    "message", "msg", "MESSAGE", "Message", "log", "short_message", "textPayload", "text", "event",
    "error", "err", "exception", "error_message", "errorMessage", "body", "description", "reason",
)  # fmt: skip
"""Where JSON loggers write the message, the most telling first."""
_MESSAGE_NAMES: Final = frozenset(MESSAGE_KEYS)

STACK_KEYS: Final = (
    "stack_trace", "stackTrace", "stacktrace", "stack", "exc_info", "traceback", "error.stack",
    "error.stack_trace", "exception.stacktrace", "exception", "error", "err",
)  # fmt: skip
_TYPE_KEYS: Final = (
    "type",
    "class",
    "name",
    "exception.type",
    "error.type",
    "error.kind",
    "exception_class",
    "exc_type",
)
_BOXES: Final = ("fields", "Fields")  # where Rust's tracing and mozlog put what belongs to the message
_TRACE_KEYS: Final = ("logging.googleapis.com/trace", "trace", "trace_id", "traceId", "traceID", "trace.id")
_SPAN_KEYS: Final = ("logging.googleapis.com/spanId", "span_id", "spanId", "spanID", "span.id")
_PARENT_KEYS: Final = ("parent_span_id", "parentSpanId", "parent_id", "parentId", "parent.id")
_REQUEST_KEYS: Final = (
    "request", "req", "method", "httpRequest", "requestMethod", "request_method", "http_method",
    "http.method", "http.request.method", "grpc.code",
)  # fmt: skip
_CONTEXT_KEYS: Final = ("serviceContext", "context", "connection", "involvedObject")
_TELLING: Final = frozenset(
    [*STACK_KEYS, *_TRACE_KEYS, *_SPAN_KEYS, *_PARENT_KEYS, *_REQUEST_KEYS, *_CONTEXT_KEYS, *_BOXES]
)
_ERROR_EVENT: Final = "ReportedErrorEvent"
_PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}


def apply_text(entry: LogEntry, text: str, endpoints: EndpointMasker) -> None:
    """Make `text` the message, with what it says of severity, exception or request."""
    if text[:1] == "{":
        payload = decode_object(text.rstrip())
        if payload:
            apply_json(entry, payload, endpoints)
            return
    if "\x1b" in text:
        text = sanitize_text(text)  # colors stand between a line's start and its level
    entry.message = text[:MAX_MESSAGE].strip()
    if '"' in text and "HTTP/" in text and not entry.endpoint:
        apply_access_line(entry, text, endpoints)
    if entry.severity == 0:
        _infer_severity(entry, infer_text_severity(entry.message))
    if "\n" in entry.message:
        _apply_stack(entry, entry.message, becomes_message=True)


def apply_json(entry: LogEntry, payload: dict[str, Any], endpoints: EndpointMasker) -> None:
    """Fill in what a JSON object says. The message is its usual field, else the object itself."""
    fields: Mapping[str, Any] = payload
    if entry.severity == 0:
        _infer_json_severity(entry, payload)
    is_telling = not _TELLING.isdisjoint(payload)
    if is_telling:
        boxed = next((payload[box] for box in _BOXES if isinstance(payload.get(box), dict)), None)
        fields = {**boxed, **payload} if boxed else payload
        if not entry.endpoint:
            apply_json_request(entry, fields, endpoints)
    message = _message(fields)
    if message:
        apply_text(entry, message, endpoints) if message[:1] != "{" else _apply_inner(
            entry, message, endpoints
        )
    elif entry.endpoint:
        entry.message = request_message(entry, _detail(payload))
    else:
        entry.message = _described(payload)
    if is_telling:
        _apply_context(entry, fields, endpoints)
        _apply_ids(entry, fields)
        _apply_exception(entry, fields)
    if entry.severity == 0:
        _infer_last(entry, payload)


def canonical_json(payload: Mapping[str, Any]) -> str:
    """Compact JSON with sorted keys: the same object always gives the same text."""
    try:
        return msgspec.json.encode(payload, order="deterministic").decode()
    except OverflowError:  # an integer of more than 64 bits
        return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _infer_severity(entry: LogEntry, severity: int) -> None:
    if severity:
        entry.severity = severity
        entry.severity_inferred = True


def _infer_json_severity(entry: LogEntry, payload: Mapping[str, Any]) -> None:
    for key in LEVEL_KEYS:
        value = payload.get(key)
        if value is not None:
            severity = infer_json_severity(key, value)
            if severity:
                _infer_severity(entry, severity)
                return


def _infer_last(entry: LogEntry, payload: Mapping[str, Any]) -> None:
    """What tells the severity less well than level and message: journald's priority, a stack."""
    if entry.exception or str(payload.get("@type", "")).endswith(_ERROR_EVENT):
        _infer_severity(entry, ERROR)
        return
    keys = ("type",) if "involvedObject" in payload else ("PRIORITY", "priority")
    for key in keys:  # journald gives all of a service's output one priority
        severity = infer_json_severity(key, payload.get(key))
        if severity:
            _infer_severity(entry, severity)
            return


def _message(fields: Mapping[str, Any]) -> str:
    if _MESSAGE_NAMES.isdisjoint(fields):
        return ""
    for key in MESSAGE_KEYS:
        value = fields.get(key)
        if isinstance(value, str) and value:
            error = fields.get("error") if key in {"message", "msg", "event"} else None
            if isinstance(error, str) and error and error not in value:
                return f"{value}: {error}"
            return value
        if isinstance(value, dict):
            inner = _message(value) if key in {"error", "err", "exception", "body", "event"} else ""
            if inner:
                return inner
    return ""


def _apply_inner(entry: LogEntry, message: str, endpoints: EndpointMasker) -> None:
    """A message that is itself JSON, as runtimes wrap it; only once, so that no nesting counts."""
    inner = decode_object(message.rstrip())
    text = _message(inner) if inner else ""
    if inner and entry.severity == 0:
        _infer_json_severity(entry, inner)
    if inner:
        _apply_ids(entry, inner)
        _apply_exception(entry, inner)
    if text[:1] == "{" or not text:
        entry.message = (text or message)[:MAX_MESSAGE]
    else:
        apply_text(entry, text, endpoints)


def _detail(payload: Mapping[str, Any]) -> str:
    """Why a load balancer answered as it did."""
    value = payload.get("statusDetails") or payload.get("response_flags") or ""
    return value[:200] if isinstance(value, str) else ""


def _described(payload: dict[str, Any]) -> str:
    connection = payload.get("connection")
    if isinstance(connection, dict) and "src_ip" in connection:
        protocol = connection.get("protocol")
        name = _PROTOCOLS.get(protocol, str(protocol)[:8]) if isinstance(protocol, int) else ""
        ends = [
            f"{str(connection.get(f'{end}_ip', ''))[:45]}:{str(connection.get(f'{end}_port', ''))[:5]}"
            for end in ("src", "dest")
        ]
        verdict = payload.get("disposition") or payload.get("reporter") or ""
        return " ".join(filter(None, (str(verdict)[:20], name, " -> ".join(ends))))
    return canonical_json({key: payload[key] for key in payload if key != "@type"})[:MAX_MESSAGE]


def _apply_stack(entry: LogEntry, text: str, *, becomes_message: bool) -> bool:
    stack = find_stack(text)
    if stack is None:
        return False
    entry.exception = stack.exception[:200]
    entry.frames = stack.frames
    if becomes_message and stack.said:
        entry.message = stack.said
    if entry.severity == 0:
        _infer_severity(entry, ERROR)
    return True


def _apply_exception(entry: LogEntry, fields: Mapping[str, Any]) -> None:
    """Exception and frames from the fields that loggers have for them, unless the message had them."""
    for key in STACK_KEYS:
        value = fields.get(key)
        where = value if isinstance(value, dict) else fields
        if isinstance(value, dict):
            value = next((value[name] for name in STACK_KEYS if isinstance(value.get(name), str)), "")
            entry.exception = entry.exception or _type_name(where)
        if isinstance(value, str) and value and not entry.frames:
            named = entry.exception
            found = _apply_stack(entry, value, becomes_message=entry.message == value.strip())
            entry.exception = named or entry.exception or ("" if found else find_exception(value))
    entry.exception = entry.exception or _type_name({k: v for k, v in fields.items() if "." in k or "_" in k})


def _type_name(fields: Mapping[str, Any]) -> str:
    for key in _TYPE_KEYS:
        value = fields.get(key)
        if isinstance(value, str) and value:
            return clean_name(value)
    return ""


def _apply_context(entry: LogEntry, fields: Mapping[str, Any], endpoints: EndpointMasker) -> None:
    """The shapes of Error Reporting and of Kubernetes events."""
    context = fields.get("context")
    if isinstance(context, dict):
        location = context.get("reportLocation")
        if isinstance(location, dict) and not entry.frames:
            entry.frames = "{} ({}:{})".format(
                *(str(location.get(key, ""))[:200] for key in ("functionName", "filePath", "lineNumber"))
            )
        user = context.get("user")
        if isinstance(user, str):
            entry.principal = entry.principal or user[:200]
        if isinstance(context.get("httpRequest"), dict) and not entry.endpoint:
            apply_json_request(entry, {"httpRequest": context["httpRequest"]}, endpoints)
            entry.is_request = False  # it says during which request the error came
    if isinstance(fields.get("involvedObject"), dict) and isinstance(fields.get("reason"), str):
        reason = fields["reason"][:100]
        if not entry.message.startswith(reason):
            entry.message = f"{reason}: {entry.message}"


def _apply_ids(entry: LogEntry, fields: Mapping[str, Any]) -> None:
    entry.trace_id = entry.trace_id or read_trace(_text(fields, _TRACE_KEYS))
    entry.span_id = entry.span_id or _text(fields, _SPAN_KEYS)
    entry.parent_span_id = entry.parent_span_id or _text(fields, _PARENT_KEYS)


def read_trace(trace: str) -> str:
    """Trace id of `projects/<p>/traces/<id>` or of a bare id; "" for none and for all zeros."""
    trace_id = trace.rpartition("/")[2][:64]
    return "" if trace_id[:1] == "0" and len(trace_id) > 3 and not trace_id.strip("0") else trace_id


def _text(fields: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    for key in keys:
        value = fields.get(key)
        if isinstance(value, str) and value:
            return value[:200]
    return ""
