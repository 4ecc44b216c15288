"""protoPayload: audit logs with what they roll out, App Engine request logs, anything else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from transforms.elements import ERROR, WARNING, LogEntry
from transforms.parse.endpoints import EndpointMasker
from transforms.parse.payloads import MAX_MESSAGE, apply_json, read_trace
from transforms.parse.raw import RawHttpRequest, decode_object
from transforms.parse.requests import apply_http_request, read_address, request_message, status_severity
from transforms.parse.severities import read_severity
from transforms.parse.sources import Source
from transforms.resources import clean_name

# google.rpc.Code: those that blame the caller are everyday noise (an update that came second).
_CALLER_CODES: Final = frozenset({1, 3, 5, 6, 7, 9, 10, 11, 16})
_DENIED_CODES: Final = frozenset({7, 16, 401, 403})

_WORKLOADS: Final = r"(?:deployments|statefulsets|daemonsets)"
_DEPLOY_METHODS: Final = re.compile(
    rf"io\.k8s\.apps\.v1\.{_WORKLOADS}\.(?:create|patch|update)"
    r"|(?:google\.cloud\.run\.v\w+\.|/)?(?:Internal)?Services\.(?:Replace|Create|Update)(?:Internal)?Service"
    r"|google\.appengine\.v\w+\.(?:Versions\.CreateVersion|Services\.UpdateService)"
    r"|google\.cloud\.functions\.v\w+\.(?:CloudFunctionsService|FunctionService)\.(?:Create|Update)Function"
)
_KUBERNETES_OWN: Final = (
    "system:serviceaccount:kube-system:",
    "system:kube-",
    "system:node:",
    "system:apiserver",
)
_NAMED: Final = re.compile(r"(?:services|functions|deployments|statefulsets|daemonsets)/([^/]{1,200})")


def apply_proto(
    entry: LogEntry, payload: dict[str, Any], source: Source, endpoints: EndpointMasker, *, is_start: bool
) -> None:
    """Fill in what a protoPayload says. `is_start`: not merely the end of a long operation."""
    kind = str(payload.get("@type", ""))
    if "methodName" in payload or "serviceName" in payload:
        _apply_audit_log(entry, payload, source, is_start=is_start)
    elif kind.endswith("RequestLog"):
        _apply_request_log(entry, payload, endpoints)
    else:
        apply_json(entry, payload, endpoints)


def _apply_audit_log(entry: LogEntry, log: Mapping[str, Any], source: Source, *, is_start: bool) -> None:
    method, service, resource = (_text(log, key) for key in ("methodName", "serviceName", "resourceName"))
    status = _inner(log, "status")
    code = status.get("code")
    entry.method_name = entry.endpoint = method
    entry.principal = _principal(_inner(log, "authenticationInfo"))
    entry.remote_ip = read_address(_text(_inner(log, "requestMetadata"), "callerIp"))
    entry.is_denied = _is_denied(entry, log, method, code)
    _raise_severity(entry, code)
    if not source.is_named:
        entry.service = clean_name(service) or entry.service
    said = _text(status, "message") or (f"code {code}" if isinstance(code, int) and code else "")
    entry.message = " ".join(filter(None, (method, resource, said, *_changes(log))))[:MAX_MESSAGE]
    if is_start and not code and _DEPLOY_METHODS.fullmatch(method):
        _apply_deploy(entry, log, source, resource)


def _is_denied(entry: LogEntry, log: Mapping[str, Any], method: str, code: object) -> bool:
    refused = any(
        isinstance(check, dict) and check.get("granted") is False and "permission" in check
        for check in _items(log.get("authorizationInfo"))
    )
    failed_login = method.startswith("google.login.") and method.endswith("Failure")
    return (
        entry.is_denied
        or failed_login
        or (isinstance(code, int) and code in _DENIED_CODES)
        or (refused and bool(code))
    )


def _raise_severity(entry: LogEntry, code: object) -> None:
    """A call that failed is at least a warning, whatever the entry says."""
    if isinstance(code, int) and code:
        is_callers = code in _CALLER_CODES or 400 <= code < 500
        severity = WARNING if is_callers else ERROR
        if severity > entry.severity:
            entry.severity = severity
            entry.severity_inferred = True


def _principal(info: Mapping[str, Any]) -> str:
    return _text(info, "principalEmail") or _text(info, "principalSubject").rpartition(":")[2]


def _changes(log: Mapping[str, Any]) -> Iterator[str]:
    """What matters to security and has no field of its own: grants, violated perimeters, login events."""
    metadata = log.get("metadata") or decode_object(_text(log, "metadataJson", 60_000)) or {}
    if isinstance(metadata, dict):
        yield _text(metadata, "violationReason")
    for delta in _items(_inner(_inner(log, "serviceData"), "policyDelta").get("bindingDeltas"))[:5]:
        if isinstance(delta, dict):
            yield f"{_text(delta, 'action')} {_text(delta, 'role')}"


def _apply_deploy(entry: LogEntry, log: Mapping[str, Any], source: Source, resource: str) -> None:
    if entry.principal.startswith(_KUBERNETES_OWN):
        return  # controllers write back what they did: no one rolled anything out
    request = _body(log, "request")
    body = request.get("service") or request.get("function") or request
    body = body if isinstance(body, dict) else request
    template = _template(body)
    if entry.method_name.endswith(".patch") and request and not template:
        return  # a patch of replicas or annotations starts no new pods
    named = _NAMED.search(resource)
    name = named[1] if named else ""
    labels = _inner(_inner(template, "metadata"), "labels")
    service = _text(labels, "app") or (source.service if source.is_named else name)
    entry.service = clean_name(service) or entry.service
    what = _image(template) or _new_revision(log, request) or source.revision or name
    entry.deploy = clean_name(what) or entry.service


def _template(body: Mapping[str, Any]) -> dict[str, Any]:
    return _inner(_inner(body, "spec"), "template") or _inner(body, "template")


def _image(template: Mapping[str, Any]) -> str:
    for container in _items(_inner(template, "spec").get("containers") or template.get("containers")):
        if isinstance(container, dict) and _text(container, "image"):
            return _text(container, "image")
    return ""


def _new_revision(log: Mapping[str, Any], request: Mapping[str, Any]) -> str:
    response = _body(log, "response")
    version = _inner(request, "version")
    return (
        _text(_inner(response, "status"), "latestCreatedRevisionName")
        or _text(response, "latestCreatedRevision").rpartition("/")[2]
        or _text(version, "id")
    )


def _apply_request_log(entry: LogEntry, log: Mapping[str, Any], endpoints: EndpointMasker) -> None:
    """google.appengine.logging.v1.RequestLog, one request with the lines that it logged."""
    status = log.get("status")
    http = RawHttpRequest(
        _text(log, "method"),
        _text(log, "resource"),
        status if isinstance(status, int) else 0,
        _text(log, "latency"),
        _text(log, "ip"),
    )
    apply_http_request(entry, http, endpoints)
    entry.is_request = True
    entry.trace_id = entry.trace_id or read_trace(_text(log, "traceId"))
    entry.revision = entry.revision or clean_name(_text(log, "versionId"))
    lines = [line for line in _items(log.get("line")) if isinstance(line, dict)]
    worst = max(lines, key=lambda line: read_severity(_text(line, "severity")) or 0, default={})
    entry.message = request_message(entry, _text(worst, "logMessage", MAX_MESSAGE))
    if entry.severity == 0:
        entry.severity = max(status_severity(entry.http_status), read_severity(_text(worst, "severity")) or 0)
        entry.severity_inferred = True


def _inner(fields: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


def _body(log: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Request or response; BigQuery exports hold them as text."""
    return _inner(log, key) or decode_object(_text(log, key + "Json", 200_000)) or {}


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(fields: Mapping[str, Any], key: str, limit: int = 500) -> str:
    value = fields.get(key)
    return value[:limit] if isinstance(value, str) else ""
