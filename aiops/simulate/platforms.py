"""What each platform's log entries look like: one writer for the entries of one instance.

Shapes follow Cloud Logging's documentation of each resource type.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from aiops.simulate.entries import Line, Served, Writer, members, named, render_line, severity_of, stream
from aiops.simulate.values import insert_id, letters


class CloudRunWriter:
    """Request logs and container output of a Cloud Run revision."""

    def __init__(self, project: str, service: str, revision: str, random: Random) -> None:
        labels = {
            "configuration_name": service,
            "location": "europe-west1",
            "project_id": project,
            "revision_name": revision,
            "service_name": service,
        }
        self._resource = members({"labels": labels, "type": "cloud_run_revision"})
        self._labels = members({"instanceId": f"00{letters(random, 38, '0123456789abcdef')}"})
        self._log = f"projects/{project}/logs/run.googleapis.com%2F"
        self._trace = f"projects/{project}/traces/"
        self._url = f"https://{service}-{letters(random, 10, 'abcdefghijklmnopqrstuvwxyz')}-ew.a.run.app"

    def access(self, random: Random, served: Served) -> str:
        return (
            f'{{"httpRequest":{{"latency":"{served.latency_s:.9f}s","protocol":"HTTP/1.1",'
            f'"remoteIp":"{served.address}","requestMethod":"{served.method}","requestUrl":"{self._url}{served.path}",'
            f'"responseSize":"{served.size}","status":{served.status},"userAgent":"{served.agent}"}},'
            f'"insertId":"{random.getrandbits(96):024x}","labels":{self._labels},"logName":"{self._log}requests",'
            f'"receiveTimestamp":"{served.received}","resource":{self._resource},'
            f'"severity":"{severity_of(served.status)}","spanId":"{served.span}","timestamp":"{served.time}",'
            f'"trace":"{self._trace}{served.trace}"}}'
        )

    def log(self, random: Random, line: Line) -> str:
        insert, log = f"{random.getrandbits(96):024x}", self._log + stream(line.severity)
        return render_line(insert, self._labels, log, self._resource, named(line, self._trace))


class GkeWriter:
    """Mesh access logs and container output of one pod."""

    def __init__(self, project: str, service: str, revision: str, random: Random) -> None:
        pod = f"{revision}-{letters(random, 5, 'bcdfghjklmnpqrstvwxz2456789')}"
        self._resource = self._of(project, service, pod)
        self._proxy = self._of(project, "istio-proxy", pod)
        self._labels = members(
            {
                "k8s-pod/app": service,
                "k8s-pod/pod-template-hash": revision.removeprefix(f"{service}-"),
            }
        )
        self._log = f"projects/{project}/logs/"
        self._trace = f"projects/{project}/traces/"
        self._service = service

    @staticmethod
    def _of(project: str, container: str, pod: str) -> str:
        labels = {
            "cluster_name": "shop",
            "container_name": container,
            "location": "europe-west1",
            "namespace_name": "shop",
            "pod_name": pod,
            "project_id": project,
        }
        return members({"labels": labels, "type": "k8s_container"})

    def access(self, random: Random, served: Served) -> str:
        flag = '"response_flag":"UT",' if served.status == 504 else ""
        return (
            f'{{"httpRequest":{{"latency":"{served.latency_s:.6f}s","requestMethod":"{served.method}",'
            f'"requestUrl":"{served.path}","status":{served.status}}},'
            f'"insertId":"{insert_id(random)}","labels":{{"destination_app":"{self._service}",'
            f"{flag}"
            f'"source_app":"{served.caller}"}},"logName":"{self._log}server-accesslog-stackdriver",'
            f'"receiveTimestamp":"{served.received}","resource":{self._proxy},"severity":"INFO",'
            f'"spanId":"{served.span}","timestamp":"{served.time}","trace":"{self._trace}{served.trace}"}}'
        )

    def log(self, random: Random, line: Line) -> str:
        # What a container prints as plain text belongs to no trace, unless the error reporter added it.
        if line.severity == "INFO" and line.payload[1] == "t":
            line = Line(line.time, line.received, line.severity, line.payload)
        log = self._log + stream(line.severity)
        return render_line(insert_id(random), self._labels, log, self._resource, named(line, self._trace))


class AppEngineWriter:
    """Request logs (protoPayload RequestLog) and output of an App Engine service."""

    def __init__(self, project: str, service: str, revision: str, random: Random) -> None:
        labels = {
            "module_id": service,
            "project_id": project,
            "version_id": revision,
            "zone": "europe-west1-b",
        }
        self._resource = members({"labels": labels, "type": "gae_app"})
        self._log = f"projects/{project}/logs/"
        self._trace = f"projects/{project}/traces/"
        host = f"{service}-dot-{project}.ew.r.appspot.com"
        self._app = f'"appEngineRelease":"1.9.71","appId":"e~{project}","host":"{host}"'
        self._labels = members({"clone_id": letters(random, 48, "0123456789abcdef")})
        self._service, self._version = service, revision

    def access(self, random: Random, served: Served) -> str:
        return (
            f'{{"httpRequest":{{"status":{served.status}}},"insertId":"{insert_id(random)}",'
            f'"labels":{self._labels},"logName":"{self._log}appengine.googleapis.com%2Frequest_log",'
            f'"protoPayload":{{"@type":"type.googleapis.com/google.appengine.logging.v1.RequestLog",{self._app},'
            f'"finished":true,"first":true,"httpVersion":"HTTP/1.1","ip":"{served.address}","latency":"{served.latency_s:.6f}s",'
            f'"method":"{served.method}","moduleId":"{self._service}","resource":"{served.path}",'
            f'"responseSize":"{served.size}","status":{served.status},"versionId":"{self._version}"}},'
            f'"receiveTimestamp":"{served.received}","resource":{self._resource},'
            f'"severity":"{severity_of(served.status)}","spanId":"{served.span}","timestamp":"{served.time}",'
            f'"trace":"{self._trace}{served.trace}"}}'
        )

    def log(self, random: Random, line: Line) -> str:
        log = self._log + stream(line.severity)
        return render_line(insert_id(random), self._labels, log, self._resource, named(line, self._trace))


class CloudFunctionWriter:
    """Output of a Cloud Function; its record of a request is the line on the end of the execution."""

    def __init__(self, project: str, service: str, revision: str, random: Random) -> None:
        labels = {"function_name": service, "project_id": project, "region": "europe-west1"}
        self._resource = members({"labels": labels, "type": "cloud_function"})
        self._log = f"projects/{project}/logs/cloudfunctions.googleapis.com%2Fcloud-functions"
        self._trace = f"projects/{project}/traces/"
        self._version = revision.rsplit("-", 1)[-1]
        self._instance = f"00{letters(random, 30, '0123456789abcdef')}"

    def access(self, random: Random, served: Served) -> str:
        how = f"status code: {served.status}" if served.status < 500 else "status: error"
        text = f"Function execution took {served.latency_s * 1000:.0f} ms, finished with {how}"
        payload = f'"textPayload":"{text}"'
        return self.log(
            random, Line(served.time, served.received, "DEBUG", payload, served.trace, served.span)
        )

    def log(self, random: Random, line: Line) -> str:
        execution = line.span[:12] or insert_id(random)[:12]
        labels = (
            f'{{"execution_id":"{execution}","instance_id":"{self._instance}","version":"{self._version}"}}'
        )
        insert = f"{random.getrandbits(96):024x}"
        return render_line(insert, labels, self._log, self._resource, named(line, self._trace))


class CloudSqlWriter:
    """The PostgreSQL log of a Cloud SQL instance. Queries are not logged, only what is odd."""

    def __init__(self, project: str, service: str, revision: str, random: Random) -> None:  # noqa: ARG002
        labels = {"database_id": f"{project}:{service}", "project_id": project, "region": "europe-west1"}
        self._resource = members({"labels": labels, "type": "cloudsql_database"})
        self._log = f"projects/{project}/logs/cloudsql.googleapis.com%2Fpostgres.log"

    def access(self, random: Random, served: Served) -> str:  # noqa: ARG002
        return ""

    def log(self, random: Random, line: Line) -> str:
        prefix = f'"textPayload":"{line.time[:10]} {line.time[11:23]} UTC '
        text = line.payload.replace('"textPayload":"', prefix, 1)
        insert = f"s={letters(random, 8)};i={random.getrandbits(24):x}"
        plain = Line(line.time, line.received, line.severity, text)
        return render_line(insert, "", self._log, self._resource, plain)


class LoadBalancerWriter:
    """Request logs of the external Application Load Balancer."""

    def __init__(self, project: str, service: str, revision: str, random: Random) -> None:  # noqa: ARG002
        labels = {
            "backend_service_name": service,
            "forwarding_rule_name": f"{service}-https",
            "project_id": project,
            "target_proxy_name": f"{service}-proxy",
            "url_map_name": service,
        }
        self._resource = members({"labels": labels, "type": "http_load_balancer"})
        self._log = f"projects/{project}/logs/requests"
        self._trace = f"projects/{project}/traces/"
        self._host = f"https://www.{project}.example"

    def access(self, random: Random, served: Served) -> str:
        details = "backend_timeout" if served.status == 504 else "response_sent_by_backend"
        severity = "INFO" if served.status < 400 else "WARNING"
        return (
            f'{{"httpRequest":{{"latency":"{served.latency_s:.6f}s","remoteIp":"{served.address}","requestMethod":"{served.method}",'
            f'"requestUrl":"{self._host}{served.path}","responseSize":"{served.size}","status":{served.status},'
            f'"userAgent":"{served.agent}"}},"insertId":"{insert_id(random)}",'
            f'"jsonPayload":{{"@type":"type.googleapis.com/google.cloud.loadbalancing.type.LoadBalancerLogEntry",'
            f'"statusDetails":"{details}"}},"logName":"{self._log}",'
            f'"receiveTimestamp":"{served.received}","resource":{self._resource},"severity":"{severity}",'
            f'"spanId":"{served.span}","timestamp":"{served.time}","trace":"{self._trace}{served.trace}"}}'
        )

    def log(self, random: Random, line: Line) -> str:
        plain = Line(line.time, line.received, line.severity, line.payload)
        return render_line(insert_id(random), "", self._log, self._resource, plain)


WriterFactory = Callable[[str, str, str, Random], Writer]
"""From project, service, revision and chance."""

WRITERS: Final[
    dict[
        str,
        type[
            CloudRunWriter
            | GkeWriter
            | AppEngineWriter
            | CloudFunctionWriter
            | CloudSqlWriter
            | LoadBalancerWriter
        ],
    ]
] = {
    "cloud_run": CloudRunWriter,
    "gke": GkeWriter,
    "app_engine": AppEngineWriter,
    "cloud_function": CloudFunctionWriter,
    "cloud_sql": CloudSqlWriter,
    "load_balancer": LoadBalancerWriter,
}


def revision_name(platform: str, service: str, number: int, random: Random) -> str:
    """What the platform calls the `number`-th roll-out of a service."""
    if platform == "cloud_run":
        return f"{service}-{number:05d}-{letters(random, 3, 'bcdfghjkmnpqrstvwxyz')}"
    if platform == "gke":
        return f"{service}-{letters(random, 10, '456789bcdf')}"
    if platform == "app_engine":
        return f"202601{number % 28 + 1:02d}t{number % 24:02d}1500"
    return f"{service}-{number}"
