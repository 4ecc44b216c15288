"""What a monitored resource says about who wrote a log line or a metric.

Logs and metrics of one thing must end up at the same service, so both are read with these tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

_MAX_NAME: Final = 200

# Resource type → resource labels that name the service, the first that is filled in counts.
SERVICE_LABELS: Final[dict[str, tuple[str, ...]]] = {
    "cloud_run_revision": ("service_name", "configuration_name"),
    "cloud_run_job": ("job_name",),
    "cloud_run_worker_pool": ("worker_pool_name",),
    "cloud_function": ("function_name",),
    "gae_app": ("module_id",),
    "gae_instance": ("module_id",),
    "cloudsql_database": ("database_id",),
    "http_load_balancer": ("backend_service_name", "url_map_name", "forwarding_rule_name"),
    "internal_http_lb_rule": ("backend_service_name", "url_map_name", "forwarding_rule_name"),
    "dataflow_step": ("job_name", "job_id"),
    "dataproc_cluster": ("cluster_name",),
    "cloud_composer_environment": ("environment_name",),
    "cloud_dataproc_batch": ("batch_id",),
    "generic_task": ("job", "namespace"),
    "generic_node": ("namespace",),
    "pubsub_topic": ("topic_id",),
    "pubsub_subscription": ("subscription_id",),
    "cloud_scheduler_job": ("job_id",),
    "cloud_tasks_queue": ("queue_id",),
    "gcs_bucket": ("bucket_name",),
    "bigquery_dataset": ("dataset_id",),
    "redis_instance": ("instance_id",),
    "redis.googleapis.com/Cluster": ("cluster_id",),
    "spanner_instance": ("instance_id",),
    "alloydb.googleapis.com/Instance": ("instance_id",),
    "aiplatform.googleapis.com/Endpoint": ("endpoint_id",),
    "build": ("build_trigger_id",),
    "api": ("service",),
    "threat_detector": ("detector_name",),
    # These have metrics only.
    "https_lb_rule": ("backend_target_name", "backend_name", "url_map_name", "forwarding_rule_name"),
    "prometheus_target": ("job", "namespace"),
    "istio_canonical_service": ("canonical_service_name",),
    "dataflow_job": ("job_name", "job_id"),
    "gke_container": ("container_name",),
}
MACHINES: Final = frozenset({"gce_instance", "aws_ec2_instance", "baremetalsolution.googleapis.com/Instance"})
PODS: Final = frozenset({"k8s_container", "k8s_pod"})
_NO_BACKEND: Final = frozenset({"UNKNOWN", "INVALID_BACKEND"})

# The alphabet of names that Kubernetes makes up has no vowels: no word is mistaken for one.
POD_NAME: Final = re.compile(
    r"(.+?)-(?:(?:([bcdfghjklmnpqrstvwxz2456789]{6,10}|\d{8,10})-)?[bcdfghjklmnpqrstvwxz2456789]{5}|\d{1,3})"
)
_GROUP_MEMBER: Final = re.compile(r"(.+)-(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{4}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Resource(msgspec.Struct):
    """MonitoredResource of a LogEntry or of a TimeSeries."""

    type: str = ""
    labels: dict[str, str] = {}


def service_of_resource(resource: Resource, pod_app: str = "") -> str:
    """Service that the resource names, else "". `pod_app` is what a pod's own labels call its app."""
    kind, named = resource.type, resource.labels
    if kind in PODS:
        pod = POD_NAME.fullmatch(named.get("pod_name", ""))
        workload = pod[1] if pod else named.get("pod_name", "")
        return pod_app or named.get("container_name", "") or workload
    service = first_label(named, SERVICE_LABELS.get(kind, ()))
    if service in _NO_BACKEND:
        service = first_label(named, SERVICE_LABELS[kind][1:])
    return service.rpartition(":")[2] if kind == "cloudsql_database" else service


def machine_group(name: str) -> str:
    """Name of the group that the machine `name` is a member of; the machine's own where it is in none."""
    member = _GROUP_MEMBER.fullmatch(name)
    return member[1] if member else name


def first_label(labels: Mapping[str, str], keys: tuple[str, ...]) -> str:
    """The first of `keys` that is filled in, else ""."""
    for key in keys:
        value = labels.get(key)
        if value:
            return value
    return ""


def clean_name(name: str) -> str:
    """A name as it may stand in a key or on a terminal: no control characters, not endless."""
    return without_control(name.strip()[:_MAX_NAME])


def without_control(text: str) -> str:
    """`text` without control characters and lone surrogates."""
    return text if text.isprintable() else _CONTROL.sub("", text)
