"""Whose metric it is, and what it is called: tenant, service, instance, labels of a TimeSeries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from transforms.elements import UNKNOWN_TENANT, UNPARSED_SERVICE, MetricKind, MetricSeries, Statistic
from transforms.metrics.raw import RawDescriptor, RawMetadata, RawSeries, RefusedMetric, Scalar
from transforms.resources import (
    MACHINES,
    Resource,
    clean_name,
    first_label,
    machine_group,
    service_of_resource,
    without_control,
)

MAX_TYPE_CHARACTERS: Final = 500
MAX_LABELS_BYTES: Final = 16_384
_MAX_UNIT: Final = 64

_KINDS: Final[dict[str, MetricKind]] = {"GAUGE": "GAUGE", "DELTA": "DELTA", "CUMULATIVE": "CUMULATIVE"}
_POD_APP: Final = ("app", "app.kubernetes.io/name", "k8s-app")
_NAMED_BY_METRIC: Final = ("service", "service_name", "app", "application")
_MACHINE_NAME: Final = ("instance_name", "instance_id")
_INSTANCES: Final = ("pod_name", "instance", "instance_id", "task_id", "node_name", "host")

_DESCRIPTOR: Final = msgspec.json.Decoder(RawDescriptor | None)
_METADATA: Final = msgspec.json.Decoder(RawMetadata | None)


class SeriesNames(msgspec.Struct, frozen=True, gc=False):
    """What metric, resource and metadata of a TimeSeries say."""

    tenant_id: str
    service: str
    instance: str
    metric_type: str
    kind: MetricKind
    labels: str
    unit: str

    def series(self, statistic: Statistic) -> MetricSeries:
        """The signal `statistic` of this TimeSeries."""
        unit = f"{self.unit}/s" if statistic == "rate" and self.unit else self.unit
        return MetricSeries(
            self.tenant_id,
            self.service,
            self.metric_type,
            self.kind,
            statistic,
            self.labels,
            self.instance,
            unit,
        )


def describe_series(raw: RawSeries, tenant_id: str = "", trusted_field: str = "") -> SeriesNames:
    """Names of `raw`; see docs/metrics.md for the table. `tenant_id` is that of the source, or "".

    Raises RefusedMetric where it has no metric type, or one of its parts is something else.
    """
    metric, resource = _descriptor(raw.metric, "metric"), _descriptor(raw.resource, "resource")
    metric_type = without_control((metric.type or "").strip())
    if not metric_type:
        raise RefusedMetric("no_metric_type", "metric.type is empty")
    if len(metric_type) > MAX_TYPE_CHARACTERS:
        raise RefusedMetric("too_large", f"metric.type has more than {MAX_TYPE_CHARACTERS} characters")
    kind = _KINDS.get(raw.metric_kind)
    if kind is None:
        raise RefusedMetric("unknown_kind", "metricKind is none of GAUGE, DELTA, CUMULATIVE")
    own, named = _texts(metric.labels), _texts(resource.labels)
    resource_type = without_control(resource.type or "")
    metadata = _metadata(raw.metadata)
    service, instance = _place(Resource(resource_type, named), own, metadata)
    tenant = tenant_id or _trusted(trusted_field, own, named) or clean_name(named.get("project_id", ""))
    return SeriesNames(
        tenant or UNKNOWN_TENANT,
        clean_name(service) or UNPARSED_SERVICE,
        clean_name(instance),
        metric_type,
        kind,
        _labels_text(own, named, resource_type),
        without_control(raw.unit)[:_MAX_UNIT],
    )


def _place(resource: Resource, own: Mapping[str, str], metadata: RawMetadata) -> tuple[str, str]:
    """Service and instance."""
    system = _only_texts(metadata.system_labels)
    user = _only_texts(metadata.user_labels)
    named = resource.labels
    if resource.type in MACHINES:
        machine = own.get("instance_name") or system.get("name") or named.get("instance_id", "")
        group = system.get("instance_group") or machine_group(machine)
        return first_label(user, _NAMED_BY_METRIC) or group, machine
    service = service_of_resource(resource, first_label(user, _POD_APP))
    service = service or first_label(own, _NAMED_BY_METRIC) or resource.type
    return service, first_label(named, _INSTANCES) or first_label(own, _MACHINE_NAME)


def _descriptor(raw: msgspec.Raw, name: str) -> RawDescriptor:
    try:
        return _DESCRIPTOR.decode(raw) or RawDescriptor()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RefusedMetric("wrong_type", f"{name} is no object of a type and labels") from None


def _metadata(raw: msgspec.Raw) -> RawMetadata:
    # It only helps to find a name: what is odd in it costs that name, no point.
    try:
        return _METADATA.decode(raw) or RawMetadata()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return RawMetadata()


def _texts(labels: Mapping[str, Scalar] | None) -> dict[str, str]:
    return {
        without_control(name): without_control(value if isinstance(value, str) else _json_text(value))
        for name, value in (labels or {}).items()
        if value is not None
    }


def _json_text(value: Scalar) -> str:
    return msgspec.json.encode(value).decode()


def _only_texts(labels: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: value for name, value in (labels or {}).items() if isinstance(value, str)}


def _trusted(field: str, own: Mapping[str, str], named: Mapping[str, str]) -> str:
    for root, labels in (("resource.labels.", named), ("labels.", own)):
        if field.startswith(root):
            return clean_name(labels.get(field.removeprefix(root), ""))
    return ""


def _labels_text(own: Mapping[str, str], named: Mapping[str, str], resource_type: str) -> str:
    labels = {**own, **{f"resource.{name}": value for name, value in named.items()}}
    if resource_type:
        labels["resource.type"] = resource_type
    text = msgspec.json.encode(labels, order="deterministic")
    if len(text) > MAX_LABELS_BYTES:
        raise RefusedMetric("too_large", f"labels of more than {MAX_LABELS_BYTES} bytes")
    return text.decode()
