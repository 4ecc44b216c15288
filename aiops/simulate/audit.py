"""Audit log entries: roll-outs, administrators at work, and changes of privileges."""

from __future__ import annotations

import json
from random import Random
from typing import Final

from aiops.simulate.shop import Service
from aiops.simulate.values import insert_id, pick, public_address

_TYPE: Final = "type.googleapis.com/google.cloud.audit.AuditLog"
_READS: Final = (
    ("storage.googleapis.com", "storage.objects.list", "storage.objects.list", "gcs_bucket"),
    ("compute.googleapis.com", "v1.compute.instances.list", "compute.instances.list", "gce_instance"),
    (
        "bigquery.googleapis.com",
        "google.cloud.bigquery.v2.TableService.ListTables",
        "bigquery.tables.list",
        "bigquery_dataset",
    ),
    (
        "cloudresourcemanager.googleapis.com",
        "GetIamPolicy",
        "resourcemanager.projects.getIamPolicy",
        "project",
    ),
    (
        "monitoring.googleapis.com",
        "google.monitoring.v3.MetricService.ListTimeSeries",
        "monitoring.timeSeries.list",
        "audited_resource",
    ),
)


class Auditor:
    """Writes audit log entries of one project."""

    def __init__(self, project: str, domain: str, random: Random) -> None:
        self._project, self._random = project, random
        self.deployer = f"ci-deployer@{project}.iam.gserviceaccount.com"
        self.people = (f"maria@{domain}", f"tom@{domain}", f"terraform@{project}.iam.gserviceaccount.com")

    def read(self, time: str, received: str) -> str:
        """A harmless read by an administrator."""
        service, method, permission, kind = pick(self._random, _READS)
        payload = self._payload(
            service, method, f"projects/{self._project}", pick(self._random, self.people), permission
        )
        return self._entry((time, received), "data_access", payload, kind)

    def deploy(self, time: str, received: str, service: Service, revision: str, version: str) -> str:
        """The roll-out of `version` of a service as `revision`."""
        image = f"europe-west1-docker.pkg.dev/{self._project}/shop/{service.name}:{version}"
        describe = {"gke": self._gke, "app_engine": self._app_engine, "cloud_function": self._function}
        api, method, resource, permission, request, kind, labels = describe.get(
            service.platform, self._cloud_run
        )(service.name, revision, image)
        payload = self._payload(api, method, resource, self.deployer, permission)
        payload["request"] = request
        return self._entry((time, received), "activity", payload, kind, **labels)

    def grant(self, time: str, received: str) -> str:
        """An outsider becomes owner of the project."""
        payload = self._payload(
            "cloudresourcemanager.googleapis.com",
            "SetIamPolicy",
            f"projects/{self._project}",
            self.people[0],
            "resourcemanager.projects.setIamPolicy",
        )
        member = f"user:contractor{self._random.getrandbits(10)}@mail.example"
        payload["serviceData"] = {
            "@type": "type.googleapis.com/google.iam.v1.logging.AuditData",
            "policyDelta": {"bindingDeltas": [{"action": "ADD", "member": member, "role": "roles/owner"}]},
        }
        return self._entry((time, received), "activity", payload, "project")

    def open_firewall(self, time: str, received: str) -> str:
        """A firewall rule lets the whole internet in."""
        payload = self._payload(
            "compute.googleapis.com",
            "v1.compute.firewalls.insert",
            f"projects/{self._project}/global/firewalls/allow-all-{self._random.getrandbits(12)}",
            self.people[0],
            "compute.firewalls.create",
        )
        payload["request"] = {
            "@type": "type.googleapis.com/compute.firewalls.insert",
            "direction": "INGRESS",
            "sourceRanges": ["0.0.0.0/0"],
            "alloweds": [{"IPProtocol": "tcp"}],
        }
        return self._entry((time, received), "activity", payload, "gce_firewall_rule", firewall_rule_id="715")

    def new_key(self, time: str, received: str) -> str:
        """A key of a service account is made."""
        payload = self._payload(
            "iam.googleapis.com",
            "google.iam.admin.v1.CreateServiceAccountKey",
            f"projects/-/serviceAccounts/{self.deployer}",
            self.people[0],
            "iam.serviceAccountKeys.create",
        )
        return self._entry((time, received), "activity", payload, "service_account", email_id=self.deployer)

    def _payload(
        self, service: str, method: str, resource: str, principal: str, permission: str
    ) -> dict[str, object]:
        return {
            "@type": _TYPE,
            "authenticationInfo": {"principalEmail": principal},
            "authorizationInfo": [{"granted": True, "permission": permission, "resource": resource}],
            "methodName": method,
            "requestMetadata": {
                "callerIp": public_address(self._random),
                "callerSuppliedUserAgent": pick(
                    self._random, ("google-cloud-sdk gcloud/548.0.0", "Terraform/1.13.4", "Mozilla/5.0")
                ),
            },
            "resourceName": resource,
            "serviceName": service,
            "status": {},
        }

    def _entry(
        self, times: tuple[str, str], log: str, payload: dict[str, object], kind: str, **labels: str
    ) -> str:
        entry = {
            "insertId": insert_id(self._random),
            "logName": f"projects/{self._project}/logs/cloudaudit.googleapis.com%2F{log}",
            "protoPayload": payload,
            "receiveTimestamp": times[1],
            "resource": {"labels": {"project_id": self._project, **labels}, "type": kind},
            "severity": "NOTICE" if log == "activity" else "INFO",
            "timestamp": times[0],
        }
        return json.dumps(entry, separators=(",", ":"))

    def _cloud_run(self, name: str, revision: str, image: str) -> _Deploy:
        template = {"metadata": {"name": revision}, "spec": {"containers": [{"image": image}]}}
        request: dict[str, object] = {"service": {"metadata": {"name": name}, "spec": {"template": template}}}
        labels = {
            "configuration_name": name,
            "location": "europe-west1",
            "revision_name": revision,
            "service_name": name,
        }
        resource = f"namespaces/{self._project}/services/{name}"
        return (
            "run.googleapis.com",
            "google.cloud.run.v1.Services.ReplaceService",
            resource,
            "run.services.update",
            request,
            "cloud_run_revision",
            labels,
        )

    def _gke(self, name: str, revision: str, image: str) -> _Deploy:  # noqa: ARG002
        containers = [{"image": image, "name": name}]
        request: dict[str, object] = {
            "kind": "Deployment",
            "spec": {"template": {"spec": {"containers": containers}}},
        }
        return (
            "k8s.io",
            "io.k8s.apps.v1.deployments.patch",
            f"apps/v1/namespaces/shop/deployments/{name}",
            "io.k8s.apps.v1.deployments.patch",
            request,
            "k8s_cluster",
            {"cluster_name": "shop", "location": "europe-west1"},
        )

    def _app_engine(self, name: str, revision: str, image: str) -> _Deploy:
        request: dict[str, object] = {
            "version": {"id": revision, "deployment": {"container": {"image": image}}}
        }
        return (
            "appengine.googleapis.com",
            "google.appengine.v1.Versions.CreateVersion",
            f"apps/{self._project}/services/{name}/versions/{revision}",
            "appengine.versions.create",
            request,
            "gae_app",
            {"module_id": name, "version_id": revision},
        )

    def _function(self, name: str, revision: str, image: str) -> _Deploy:  # noqa: ARG002
        resource = f"projects/{self._project}/locations/europe-west1/functions/{name}"
        return (
            "cloudfunctions.googleapis.com",
            "google.cloud.functions.v1.CloudFunctionsService.UpdateFunction",
            resource,
            "cloudfunctions.functions.update",
            {"function": {"name": resource, "dockerRegistry": image}},
            "cloud_function",
            {"function_name": name, "region": "europe-west1"},
        )


_Deploy = tuple[str, str, str, str, dict[str, object], str, dict[str, str]]
