"""Who wrote a line: service, tenant, revision, instance, by resource type, labels and log name."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

import msgspec
from msgspec import field

from transforms.elements import UNKNOWN_TENANT, UNPARSED_SERVICE
from transforms.resources import (
    MACHINES,
    POD_NAME,
    PODS,
    Resource,
    clean_name,
    first_label,
    machine_group,
    service_of_resource,
    without_control,
)

_REVISION_LABELS: Final[dict[str, str]] = {
    "cloud_run_revision": "revision_name",
    "gae_app": "version_id",
    "gae_instance": "version_id",
    "dataflow_step": "job_id",
}

_LOG_NAME: Final = re.compile(
    r"(?:projects|folders|organizations|billingAccounts)/([^/]{1,200})/logs/(.*)", re.DOTALL
)


class Source(msgspec.Struct, frozen=True, gc=False):
    """What resource, labels and log name say about a line. Empty strings mean "not said"."""

    tenant_id: str
    service: str
    log_name: str = ""
    instance: str = ""
    revision: str = ""
    peer_service: str = ""
    trusted_tenant: str = ""  # what the trusted field says, where that is a label
    is_named: bool = True  # the resource names the service, not merely a machine or a log
    is_caller_side: bool = False  # a mesh access log that the caller's proxy wrote
    is_denied: bool = False


class Labels(msgspec.Struct, frozen=True, gc=False):
    """The labels of a LogEntry that are read, and no others: many logs have labels that differ from
    line to line, such as a request's id, and what these say is no part of a source.
    """

    app: str = field(default="", name="k8s-pod/app")
    app_name: str = field(default="", name="k8s-pod/app_kubernetes_io/name")
    k8s_app: str = field(default="", name="k8s-pod/k8s-app")
    pod_template_hash: str = field(default="", name="k8s-pod/pod-template-hash")
    version: str = field(default="", name="k8s-pod/version")
    app_version: str = field(default="", name="k8s-pod/app_kubernetes_io/version")
    instance_id: str = field(default="", name="instanceId")
    gce_instance: str = field(default="", name="compute.googleapis.com/resource_name")
    ec2_instance: str = field(default="", name="ec2.amazonaws.com/resource_name")
    gae_instance: str = field(default="", name="appengine.googleapis.com/instance_name")
    job_execution: str = field(default="", name="run.googleapis.com/execution_name")
    instance_group: str = field(default="", name="compute.googleapis.com/instance_group_manager/name")
    decision: str = field(default="", name="authorization.k8s.io/decision")
    machine_service: str = field(default="", name="service")
    machine_service_name: str = field(default="", name="service_name")
    machine_app: str = field(default="", name="app")
    machine_application: str = field(default="", name="application")
    source_app: str = ""
    source_canonical_service: str = ""
    source_workload: str = ""
    destination_app: str = ""
    destination_canonical_service: str = ""
    destination_service_name: str = ""
    destination_workload: str = ""

    def characters(self) -> int:
        """How long all values are together."""
        return sum(map(len, msgspec.structs.astuple(self)))


NO_LABELS: Final = Labels()


def describe_source(resource: Resource, labels: Labels, log_name: str, trusted_field: str = "") -> Source:
    """Work out who wrote a line; see docs/log-entry-fields.md for the table."""
    tenant, log_id = split_log_name(log_name)
    mesh = _mesh_source(resource, labels, log_id, tenant)
    service, is_named = _service(resource, labels, log_id)
    source = mesh or Source(
        tenant,
        clean_name(service) or UNPARSED_SERVICE,
        instance=clean_name(_instance(resource, labels)),
        revision=clean_name(_revision(resource, labels)),
        is_named=is_named,
        is_denied=labels.decision == "forbid",
    )
    trusted = clean_name(_trusted_label(trusted_field, resource))
    return msgspec.structs.replace(source, log_name=without_control(log_name)[:512], trusted_tenant=trusted)


def split_log_name(log_name: str) -> tuple[str, str]:
    """Tenant (project, folder, organization or billing account) and decoded id of a log."""
    match = _LOG_NAME.fullmatch(log_name)
    if match is None:
        return UNKNOWN_TENANT, ""
    return clean_name(match[1]) or UNKNOWN_TENANT, unquote(match[2][:600])


def _trusted_label(field_name: str, resource: Resource) -> str:
    root = "resource.labels."
    return resource.labels.get(field_name.removeprefix(root), "") if field_name.startswith(root) else ""


def _mesh_source(resource: Resource, labels: Labels, log_id: str, tenant: str) -> Source | None:
    """Source of an access log of Istio or Cloud Service Mesh, else None."""
    if not log_id.endswith("-accesslog-stackdriver"):
        return None
    caller = clean_name(labels.source_app or labels.source_canonical_service or labels.source_workload)
    called = clean_name(
        labels.destination_app
        or labels.destination_canonical_service
        or labels.destination_service_name
        or labels.destination_workload
    )
    caller = "" if caller == "unknown" else caller
    by_caller = log_id.startswith("client-")
    service = (caller if by_caller else called) or _service(resource, labels, log_id)[0]
    return Source(
        tenant,
        service or UNPARSED_SERVICE,
        instance=clean_name(_instance(resource, labels)),
        revision=clean_name(_revision(resource, labels)),
        peer_service="" if by_caller else caller,
        is_caller_side=by_caller,
    )


def _service(resource: Resource, labels: Labels, log_id: str) -> tuple[str, bool]:
    """Service, and whether resource or labels name it."""
    if resource.type in MACHINES:
        return _machine_service(labels, log_id), False
    service = service_of_resource(resource, labels.app or labels.app_name or labels.k8s_app)
    return (service, True) if service else (log_id.rpartition("/")[2], False)


def _machine_service(labels: Labels, log_id: str) -> str:
    service = (
        labels.machine_service
        or labels.machine_service_name
        or labels.machine_app
        or labels.machine_application
    )
    machine = labels.instance_group or machine_group(_labeled_instance(labels))
    return service or machine or log_id.rpartition("/")[2]


def _labeled_instance(labels: Labels) -> str:
    return (
        labels.instance_id
        or labels.gce_instance
        or labels.ec2_instance
        or labels.gae_instance
        or labels.job_execution
    )


def _revision(resource: Resource, labels: Labels) -> str:
    kind = resource.type
    if kind in PODS:
        pod = POD_NAME.fullmatch(resource.labels.get("pod_name", ""))
        made_up = labels.pod_template_hash or (pod[2] if pod else "")
        return made_up or labels.version or labels.app_version
    return resource.labels.get(_REVISION_LABELS.get(kind, ""), "")


def _instance(resource: Resource, labels: Labels) -> str:
    named = resource.labels
    return (
        named.get("pod_name") or _labeled_instance(labels) or first_label(named, ("node_name", "instance_id"))
    )
