"""Services, tenants, revisions, endpoints, audit logs, and the Beam shell."""

from __future__ import annotations

import json
import uuid
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from transforms.elements import LogEntry, PayloadBatch
from transforms.parse.endpoints import EndpointMasker, mask_route
from transforms.parse.parser import EntryParser
from transforms.parse.requests import read_latency
from transforms.parse.settings import ParseSettings
from transforms.parse.transform import BATCHES, LEDGER, ParseLogEntries

NOW_NS = 1_717_243_200_000_000_000
SETTINGS = ParseSettings(now_ns=NOW_NS)


def parse_one(kind: str = "global", named: dict[str, str] | None = None, **fields: Any) -> LogEntry:
    entry = {
        "logName": "projects/acme/logs/" + fields.pop("log", "app"),
        "timestamp": "2024-06-01T11:00:00Z",
        "resource": {"type": kind, "labels": named or {}},
        **fields,
    }
    batch = EntryParser(SETTINGS).parse_batch(PayloadBatch([json.dumps(entry).encode()]))
    assert not batch.dead_letters, batch.dead_letters
    return batch.entries[0]


POD = {"container_name": "web", "pod_name": "web-7d9f8b6c5d-x2x9z", "namespace_name": "shop"}


@pytest.mark.parametrize(
    ("kind", "named", "fields", "service"),
    [
        ("cloud_run_revision", {"service_name": "cart", "revision_name": "cart-1"}, {}, "cart"),
        ("cloud_run_job", {"job_name": "nightly"}, {}, "nightly"),
        ("k8s_container", POD, {"labels": {"k8s-pod/app": "shop-web"}}, "shop-web"),
        ("k8s_container", POD, {"labels": {"k8s-pod/app_kubernetes_io/name": "shop"}}, "shop"),
        ("k8s_container", POD, {}, "web"),
        ("k8s_pod", {"pod_name": "web-7d9f8b6c5d-x2x9z"}, {"log": "events"}, "web"),
        ("k8s_pod", {"pod_name": "db-0"}, {"log": "events"}, "db"),
        ("k8s_pod", {"pod_name": "nightly-28612345-x2x9z"}, {"log": "events"}, "nightly"),
        ("k8s_node", {"node_name": "n1"}, {"log": "kubelet"}, "kubelet"),
        ("gae_app", {"module_id": "default", "version_id": "v7"}, {}, "default"),
        ("cloud_function", {"function_name": "resize"}, {}, "resize"),
        (
            "gce_instance",
            {"instance_id": "1"},
            {"labels": {"compute.googleapis.com/resource_name": "bastion"}},
            "bastion",
        ),
        (
            "gce_instance",
            {"instance_id": "1"},
            {"labels": {"compute.googleapis.com/resource_name": "web-x7p9"}},
            "web",
        ),
        ("gce_instance", {"instance_id": "1"}, {"labels": {"application": "web"}}, "web"),
        ("gce_instance", {"instance_id": "1"}, {"log": "syslog"}, "syslog"),
        ("cloudsql_database", {"database_id": "acme:orders"}, {}, "orders"),
        ("http_load_balancer", {"backend_service_name": "be", "url_map_name": "lb"}, {}, "be"),
        ("http_load_balancer", {"backend_service_name": "", "url_map_name": "lb"}, {}, "lb"),
        ("dataflow_step", {"job_name": "etl", "job_id": "2024_1", "step_id": "s"}, {}, "etl"),
        (
            "gce_subnetwork",
            {"subnetwork_name": "s"},
            {"log": "compute.googleapis.com%2Fvpc_flows"},
            "vpc_flows",
        ),
        ("global", {}, {"log": "my%2Fown-log"}, "own-log"),
        ("", {}, {"log": ""}, "_unparsed"),
        (
            "gce_instance",
            {},
            {"jsonPayload": {"message": "m", "serviceContext": {"service": "api", "version": "3"}}},
            "api",
        ),
        (
            "cloud_run_revision",
            {"service_name": "cart"},
            {"jsonPayload": {"message": "m", "serviceContext": {"service": "api"}}},
            "cart",
        ),
    ],
)
def test_service_follows_the_resource_type(
    kind: str, named: dict[str, str], fields: dict[str, Any], service: str
) -> None:
    """Each resource type names its service in its own label; without one the log's name counts."""
    assert parse_one(kind, named, **fields).service == service


@pytest.mark.parametrize(
    ("kind", "named", "labels", "revision", "instance"),
    [
        (
            "cloud_run_revision",
            {"service_name": "cart", "revision_name": "cart-1"},
            {"instanceId": "00f4"},
            "cart-1",
            "00f4",
        ),
        ("k8s_container", POD, {}, "7d9f8b6c5d", "web-7d9f8b6c5d-x2x9z"),
        ("k8s_container", POD, {"k8s-pod/pod-template-hash": "abc"}, "abc", "web-7d9f8b6c5d-x2x9z"),
        ("k8s_container", {"pod_name": "db-0"}, {"k8s-pod/version": "2.1"}, "2.1", "db-0"),
        ("gae_app", {"module_id": "default", "version_id": "v7"}, {}, "v7", ""),
        ("gce_instance", {"instance_id": "17"}, {}, "", "17"),
    ],
)
def test_revision_and_instance_are_found(
    kind: str, named: dict[str, str], labels: dict[str, str], revision: str, instance: str
) -> None:
    """Revisions come from the resource or the pod's template hash, instances from pod or machine."""
    entry = parse_one(kind, named, labels=labels)
    assert (entry.revision, entry.instance) == (revision, instance)


def test_mesh_access_log_has_destination_and_source() -> None:
    """A server-side access log belongs to the destination; the source is the peer, if it is known."""
    labels = {"source_app": "cart", "destination_app": "stock"}
    http = {"requestMethod": "POST", "requestUrl": "/take", "latency": "0.005498s"}
    entry = parse_one(
        "k8s_container", POD, log="server-accesslog-stackdriver", labels=labels, httpRequest=http
    )
    assert (entry.service, entry.peer_service, entry.latency_us, entry.is_request) == (
        "stock",
        "cart",
        5498,
        True,
    )
    labels["source_app"] = "unknown"
    entry = parse_one(
        "k8s_container", POD, log="server-accesslog-stackdriver", labels=labels, httpRequest=http
    )
    assert entry.peer_service == ""


def test_mesh_access_log_of_the_caller_counts_no_request() -> None:
    """A client-side access log belongs to the caller and is not a request served."""
    entry = parse_one(
        "k8s_container",
        POD,
        log="client-accesslog-stackdriver",
        labels={"source_app": "cart", "destination_app": "stock"},
        httpRequest={"requestMethod": "GET", "requestUrl": "/a", "status": 200, "latency": "1s"},
    )
    assert (entry.service, entry.peer_service, entry.is_request) == ("cart", "", False)


# -------------------------------------------------------------------------------------- requests


def test_request_log_of_cloud_run_becomes_a_request() -> None:
    """Endpoint, status, latency, address, ids and a message come from httpRequest and trace."""
    entry = parse_one(
        "cloud_run_revision",
        {"service_name": "cart"},
        log="run.googleapis.com%2Frequests",
        httpRequest={
            "requestMethod": "GET",
            "requestUrl": "https://cart-x.a.run.app/carts/17/items?page=2",
            "status": 503,
            "latency": "1.25s",
            "remoteIp": "203.0.113.9",
        },
        trace="projects/acme/traces/ab12",
        spanId="cd",
    )
    assert (entry.endpoint, entry.http_status, entry.latency_us) == ("GET /carts/{id}/items", 503, 1_250_000)
    assert (entry.remote_ip, entry.trace_id, entry.span_id) == ("203.0.113.9", "ab12", "cd")
    assert (entry.message, entry.is_request) == ("GET /carts/{id}/items 503", True)
    assert (entry.severity, entry.severity_inferred) == (500, True)


@pytest.mark.parametrize(
    ("status", "severity", "is_denied"),
    [
        (200, 200, False),
        (401, 400, True),
        (403, 400, True),
        (404, 400, False),
        (500, 500, False),
        (999, 500, False),
    ],
)
def test_status_tells_severity_and_denial(status: int, severity: int, is_denied: bool) -> None:
    """Without a severity 5xx are errors and 4xx warnings; 401 and 403 are denials."""
    entry = parse_one(httpRequest={"status": status, "requestUrl": "/"})
    assert (entry.severity, entry.is_denied) == (severity, is_denied)


def test_load_balancer_says_why() -> None:
    """The status details of a load balancer stand in the message."""
    entry = parse_one(
        "http_load_balancer",
        {"backend_service_name": "be"},
        severity="WARNING",
        jsonPayload={"@type": "x/LoadBalancerLogEntry", "statusDetails": "failed_to_connect_to_backend"},
        httpRequest={"requestMethod": "GET", "requestUrl": "http://h/a", "status": 502},
    )
    assert (entry.message, entry.is_request) == ("GET /a 502 failed_to_connect_to_backend", True)


def test_application_line_with_request_context_is_no_request() -> None:
    """A log line that mentions its request without a latency is not counted as one served."""
    entry = parse_one(
        jsonPayload={"message": "saved"}, httpRequest={"requestMethod": "GET", "requestUrl": "/a"}
    )
    assert (entry.message, entry.endpoint, entry.is_request) == ("saved", "GET /a", False)


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("0.005498s", 5498),
        ("0s", 0),
        ("3.5s", 3_500_000),
        ("12ms", 12_000),
        ("1e-3s", 1000),
        ("", -1),
        ("s", -1),
        ("-1s", -1),
        ("nans", -1),
        ("infs", -1),
        ("1e400s", -1),
        ("soon", -1),
        ("9" * 400 + "s", -1),
        ("5", -1),
    ],
)
def test_latency_is_read_in_microseconds(text: str, microseconds: int) -> None:
    """Durations become whole microseconds; anything else is no latency."""
    assert read_latency(text) == microseconds


# ------------------------------------------------------------------------------------- endpoints


@pytest.mark.parametrize(
    ("url", "route"),
    [
        ("/", "/"),
        ("", ""),
        ("/api/v1/orders/17", "/api/v1/orders/{id}"),
        ("/orders/17/items/4?x=1#top", "/orders/{id}/items/{id}"),
        ("https://shop.example:8443/a/17", "/a/{id}"),
        ("https://shop.example", "/"),
        ("/a/0B81FA28-1F68-4A42-9E5A-3C1B0E1D2F3A/b", "/a/{id}/b"),
        ("/a/0b81fa281f684a429e5a3c1b0e1d2f3a", "/a/{id}"),
        ("/commits/9fceb02d", "/commits/{id}"),
        ("/s/AbC3dEf6GhI9jKlMnOp2", "/s/{id}"),
        ("/t/QxZkLmVbTyWpRsNdHjGfCzXv", "/t/{id}"),
        ("/u/ann@example.com", "/u/{id}"),
        ("/d/2024-06-01", "/d/{id}"),
        ("/static/main.8f3ab2c1.js", "/static/main.{id}.js"),
        ("/cart;jsessionid=ABC123", "/cart"),
        ("/shop.v1.Orders/Place", "/shop.v1.Orders/Place"),
        ("/api/1.0/oauth2/v1beta1/userinfo", "/api/1.0/oauth2/v1beta1/userinfo"),
        ("/getLeftTicketOfIntervalForRoute", "/getLeftTicketOfIntervalForRoute"),
        ("/very-long-name-of-a-static-page-about-us", "/very-long-name-of-a-static-page-about-us"),
        ("/.well-known/openid-configuration", "/.well-known/openid-configuration"),
        ("/contacts/{id}", "/contacts/{id}"),
        ("queue process", "queue process"),
    ],
)
def test_ids_in_routes_are_masked(url: str, route: str) -> None:
    """Numbers, UUIDs, hashes, tokens, dates and addresses are ids; words and versions are not."""
    assert mask_route(url) == route


@given(st.integers(0, 2**70) | st.uuids() | st.uuids().map(lambda value: value.hex))
def test_every_number_and_uuid_is_masked(value: int | uuid.UUID | str) -> None:
    """No number and no UUID ever stays in an endpoint."""
    assert EndpointMasker().endpoint("GET", f"/a/{value}/b") == "GET /a/{id}/b"


@given(st.lists(st.text(alphabet="/aZ09-._~%@?#;:{}é", max_size=40), max_size=6))
def test_memory_of_endpoints_never_changes_the_answer(urls: list[str]) -> None:
    """An endpoint does not depend on what the masker saw before, and masking twice changes nothing."""
    masker = EndpointMasker()
    for url in urls:
        endpoint = masker.endpoint("", url)
        assert endpoint == EndpointMasker().endpoint("", url)
        assert endpoint == mask_route(url).strip()


# ------------------------------------------------------------------------------------ audit logs


def audit(method: str, **log: Any) -> dict[str, Any]:
    return {
        "log": "cloudaudit.googleapis.com%2Factivity",
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "serviceName": "storage.googleapis.com",
            "methodName": method,
            "resourceName": "projects/acme/buckets/b",
            "authenticationInfo": {"principalEmail": "ann@example.com"},
            "requestMetadata": {"callerIp": "203.0.113.9"},
            **log,
        },
    }


def test_audit_log_gives_method_principal_and_status() -> None:
    """Method, principal, caller and status of an audit log are read; the method is the endpoint."""
    status = {"code": 7, "message": "no access"}
    entry = parse_one("gcs_bucket", {}, severity="INFO", **audit("storage.objects.get", status=status))
    assert (entry.method_name, entry.endpoint, entry.principal) == ("storage.objects.get",) * 2 + (
        "ann@example.com",
    )
    assert (entry.service, entry.remote_ip) == ("storage.googleapis.com", "203.0.113.9")
    assert entry.message == "storage.objects.get projects/acme/buckets/b no access"
    assert (entry.is_denied, entry.severity, entry.severity_inferred) == (True, 400, True)


@pytest.mark.parametrize(
    ("said", "code", "severity"),
    [("NOTICE", 0, 300), ("ERROR", 5, 500), ("DEFAULT", 5, 400), ("INFO", 13, 500), ("CRITICAL", 13, 600)],
)
def test_failed_calls_are_at_least_warnings(said: str, code: int, severity: int) -> None:
    """A status code raises the severity, to ERROR where the server is to blame, and never lowers it."""
    assert parse_one(severity=said, **audit("m", status={"code": code})).severity == severity


def test_denials_are_seen_however_they_are_said() -> None:
    """Unauthenticated calls, refused logins and forbidden Kubernetes calls are denials."""
    assert parse_one(**audit("m", status={"code": 16})).is_denied
    assert parse_one(**audit("google.login.LoginService.loginFailure")).is_denied
    assert parse_one(labels={"authorization.k8s.io/decision": "forbid"}, **audit("m")).is_denied
    assert not parse_one(labels={"authorization.k8s.io/decision": "allow"}, **audit("m", status={})).is_denied


def test_grants_stand_in_the_message() -> None:
    """Roles that an IAM change grants are named, so that rules can match them."""
    delta = {
        "policyDelta": {"bindingDeltas": [{"action": "ADD", "role": "roles/owner", "member": "user:x@y.z"}]}
    }
    assert parse_one(**audit("SetIamPolicy", serviceData=delta)).message.endswith(" ADD roles/owner")


def _deployment(image: str, app: str = "") -> dict[str, Any]:
    template: dict[str, Any] = {"spec": {"containers": [{"image": image}]}}
    if app:
        template["metadata"] = {"labels": {"app": app}}
    return {"spec": {"template": template}}


KUBERNETES = {"resourceName": "apps/v1/namespaces/shop/deployments/web", "serviceName": "k8s.io"}
RUN = {"service_name": "cart", "revision_name": ""}


@pytest.mark.parametrize(
    ("kind", "named", "method", "log", "service", "deploy"),
    [
        (
            "k8s_cluster",
            {},
            "io.k8s.apps.v1.deployments.create",
            {**KUBERNETES, "request": _deployment("web:2")},
            "web",
            "web:2",
        ),
        (
            "k8s_cluster",
            {},
            "io.k8s.apps.v1.deployments.patch",
            {**KUBERNETES, "request": _deployment("web:2", "shop")},
            "shop",
            "web:2",
        ),
        ("k8s_cluster", {}, "io.k8s.apps.v1.deployments.update", KUBERNETES, "web", "web"),
        (
            "cloud_run_revision",
            RUN,
            "google.cloud.run.v1.Services.ReplaceService",
            {"request": {"service": _deployment("cart:2")}},
            "cart",
            "cart:2",
        ),
        (
            "cloud_run_revision",
            RUN,
            "google.cloud.run.v2.Services.UpdateService",
            {"request": {"service": {"template": {"containers": [{"image": "cart:3"}]}}}},
            "cart",
            "cart:3",
        ),
        (
            "cloud_run_revision",
            RUN,
            "google.cloud.run.v1.Services.CreateService",
            {"response": {"status": {"latestCreatedRevisionName": "cart-00002"}}},
            "cart",
            "cart-00002",
        ),
        (
            "gae_app",
            {"module_id": "default", "version_id": "v8"},
            "google.appengine.v1.Versions.CreateVersion",
            {},
            "default",
            "v8",
        ),
        (
            "cloud_function",
            {"function_name": "resize"},
            "google.cloud.functions.v1.CloudFunctionsService.UpdateFunction",
            {},
            "resize",
            "resize",
        ),
        (
            "audited_resource",
            {"service": "storage.googleapis.com"},
            "google.cloud.functions.v2.FunctionService.UpdateFunction",
            {"resourceName": "projects/p/locations/l/functions/resize"},
            "resize",
            "resize",
        ),
    ],
)
def test_deploys_are_seen_in_audit_logs(
    *, kind: str, named: dict[str, str], method: str, log: dict[str, Any], service: str, deploy: str
) -> None:
    """Roll-outs of Kubernetes, Cloud Run, App Engine and Cloud Functions name service and what came."""
    entry = parse_one(kind, named, **audit(method, **log))
    assert (entry.service, entry.deploy) == (service, deploy)


@pytest.mark.parametrize(
    ("method", "log", "fields"),
    [
        ("io.k8s.apps.v1.deployments.patch", {**KUBERNETES, "request": {"spec": {"replicas": 3}}}, {}),
        ("io.k8s.apps.v1.deployments.status.patch", KUBERNETES, {}),
        (
            "io.k8s.apps.v1.deployments.update",
            {
                **KUBERNETES,
                "authenticationInfo": {
                    "principalEmail": "system:serviceaccount:kube-system:deployment-controller"
                },
            },
            {},
        ),
        ("io.k8s.apps.v1.deployments.create", {**KUBERNETES, "status": {"code": 7}}, {}),
        ("google.cloud.run.v2.Services.UpdateService", {}, {"operation": {"last": True}}),
        ("google.cloud.run.v2.Services.GetService", {}, {}),
    ],
)
def test_what_rolls_nothing_out_is_no_deploy(
    method: str, log: dict[str, Any], fields: dict[str, Any]
) -> None:
    """Scaling, status writes, controllers, failures and ends of operations are no deploys."""
    assert parse_one("k8s_cluster", {}, **audit(method, **log), **fields).deploy == ""


def test_request_log_of_app_engine_is_a_request() -> None:
    """A RequestLog gives endpoint, status, latency and its worst line."""
    log = {
        "@type": "type.googleapis.com/google.appengine.logging.v1.RequestLog",
        "method": "GET",
        "resource": "/a/17",
        "status": 500,
        "latency": "0.5s",
        "ip": "203.0.113.9",
        "versionId": "v7",
        "line": [{"severity": "INFO", "logMessage": "fine"}, {"severity": "ERROR", "logMessage": "boom"}],
    }
    entry = parse_one(
        "gae_app", {"module_id": "default"}, log="appengine.googleapis.com%2Frequest_log", protoPayload=log
    )
    assert (entry.service, entry.revision, entry.message) == ("default", "v7", "GET /a/{id} 500 boom")
    assert (entry.latency_us, entry.severity, entry.is_request) == (500_000, 500, True)


def test_exported_audit_log_is_understood() -> None:
    """Audit logs as BigQuery exports write them give the same."""
    log = audit("storage.objects.get")["protoPayload"]
    entry = parse_one("gcs_bucket", {}, protopayload_auditlog=log, textPayload=None, httpRequest=None)
    assert (entry.method_name, entry.principal) == ("storage.objects.get", "ann@example.com")
    assert parse_one("gcs_bucket", {}, protopayload_auditlog=log).method_name == "storage.objects.get"


# ------------------------------------------------------------------------------------------ Beam


def _describe(batch: Any) -> tuple[list[str], int]:
    return [entry.message for entry in batch.entries], len(batch.dead_letters)


def _count(delta: Any) -> tuple[str, int, int, int]:
    return delta.tenant_id, delta.received, delta.late, delta.filtered


def test_transform_gives_batches_and_the_ledger() -> None:
    """ParseLogEntries gives one LogBatch a PayloadBatch, and ledger deltas under their tag."""
    good = json.dumps(
        {"logName": "projects/acme/logs/x", "timestamp": "2024-06-01T11:00:00Z", "textPayload": "hi"}
    )
    batch = PayloadBatch([good.encode(), b"{bad"])
    with TestPipeline(runner="FnApiRunner") as pipeline:
        parsed = pipeline | beam.Create([batch]) | ParseLogEntries(SETTINGS)
        assert_that(parsed[BATCHES] | "Describe" >> beam.Map(_describe), equal_to([(["hi"], 1)]), "batches")
        expected = [("acme", 1, 0, 0), ("_unknown", 1, 0, 0)]
        assert_that(parsed[LEDGER] | "Count" >> beam.Map(_count), equal_to(expected), "deltas")
