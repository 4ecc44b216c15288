"""Jobs on Dataflow through its API: start one from the flex template, list, drain, cancel.

With DATAFLOW_EMULATOR_HOST (127.0.0.1:8080) the same client talks to a server on this machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from google.api_core.exceptions import (
    BadRequest,
    Conflict,
    Forbidden,
    GoogleAPICallError,
    NotFound,
    Unauthorized,
)
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import dataflow_v1beta3 as dataflow

from pipeline.settings import Settings
from pipeline.template import NOT_PARAMETERS

TIMEOUT_SECONDS: Final = 60
ACTIVE_STATES: Final = frozenset(
    {"RUNNING", "PENDING", "QUEUED", "DRAINING", "CANCELLING", "PAUSING", "PAUSED"}
)


class LaunchError(Exception):
    """Dataflow refused or cannot be reached; the message names the cause and the mend."""


@dataclass(frozen=True)
class Place:
    """Where jobs run."""

    project: str
    region: str


@dataclass(frozen=True)
class Workers:
    """What workers are; empty or 0 leaves it to the template and to Dataflow."""

    service_account: str = ""
    machine_type: str = ""
    max_workers: int = 0
    subnetwork: str = ""
    public_addresses: bool = False
    temp_location: str = ""
    kms_key: str = ""


@dataclass(frozen=True)
class Job:
    """One job as Dataflow lists it. `state` is without JOB_STATE_."""

    job_id: str
    name: str
    state: str
    created_at: datetime | None = None


def job_parameters(settings: Settings) -> dict[str, str]:
    """Parameters of the template for what was said of `settings`; defaults are left to the template."""
    return {
        name: _parameter_text(getattr(settings, name))
        for name in sorted(settings.model_fields_set - NOT_PARAMETERS)
        if getattr(settings, name) not in ("", [])
    }


def _parameter_text(value: object) -> str:
    return orjson.dumps(value).decode() if isinstance(value, list | tuple) else str(value)


def start_job(
    place: Place,
    name: str,
    template: str,
    parameters: Mapping[str, str],
    workers: Workers,
    *,
    labels: Mapping[str, str] | None = None,
    update: bool = False,
    validate_only: bool = False,
) -> Job:
    """Start the job `name`, or with `update` put it in the place of the running one of that name.

    With `validate_only` Dataflow checks and starts nothing. Raises LaunchError.
    """
    environment = dataflow.FlexTemplateRuntimeEnvironment(
        service_account_email=workers.service_account,
        machine_type=workers.machine_type,
        max_workers=workers.max_workers,
        subnetwork=workers.subnetwork,
        temp_location=workers.temp_location,
        kms_key_name=workers.kms_key,
        enable_streaming_engine=True,
        streaming_mode=dataflow.StreamingMode.STREAMING_MODE_EXACTLY_ONCE,
        ip_configuration="WORKER_IP_PUBLIC" if workers.public_addresses else "WORKER_IP_PRIVATE",
        autoscaling_algorithm="AUTOSCALING_ALGORITHM_BASIC",
        additional_user_labels={"app": "aiops-agent", **(labels or {})},
    )
    request = dataflow.LaunchFlexTemplateRequest(
        project_id=place.project,
        location=place.region,
        validate_only=validate_only,
        launch_parameter=dataflow.LaunchFlexTemplateParameter(
            job_name=name,
            container_spec_gcs_path=template,
            parameters=dict(parameters),
            environment=environment,
            update=update,
        ),
    )
    with _explained(f"job {name}"):
        client = dataflow.FlexTemplatesServiceClient(transport=_transport("flex_templates_service"))
        answer = client.launch_flex_template(request, timeout=TIMEOUT_SECONDS)
    return _job(answer.job)


def list_jobs(place: Place, *, ended: bool = False) -> list[Job]:
    """Jobs of the region, the newest first; ended ones only where asked for. Raises LaunchError."""
    which = dataflow.ListJobsRequest.Filter.ALL if ended else dataflow.ListJobsRequest.Filter.ACTIVE
    request = dataflow.ListJobsRequest(project_id=place.project, location=place.region, filter=which)
    with _explained(f"project {place.project}"):
        jobs = [_job(found) for found in _jobs_client().list_jobs(request, timeout=TIMEOUT_SECONDS)]
    return sorted(jobs, key=lambda job: (str(job.created_at or ""), job.job_id), reverse=True)


def end_job(place: Place, name_or_id: str, *, drain: bool) -> Job:
    """Ask Dataflow to drain or to cancel the active job of that name or id. Raises LaunchError."""
    job = _find_job(list_jobs(place), name_or_id, place)
    wanted = dataflow.JobState.JOB_STATE_DRAINED if drain else dataflow.JobState.JOB_STATE_CANCELLED
    request = dataflow.UpdateJobRequest(
        project_id=place.project,
        location=place.region,
        job_id=job.job_id,
        job=dataflow.Job(requested_state=wanted),
    )
    with _explained(f"job {name_or_id}"):
        _jobs_client().update_job(request, timeout=TIMEOUT_SECONDS)
    return job


def _find_job(jobs: Sequence[Job], name_or_id: str, place: Place) -> Job:
    found = [job for job in jobs if name_or_id in {job.name, job.job_id} and job.state in ACTIVE_STATES]
    if not found:
        names = ", ".join(sorted(job.name for job in jobs)) or "none"
        raise LaunchError(
            f"No active job {name_or_id} in {place.project}, {place.region}. Active are: {names}."
        )
    if len(found) > 1:
        ids = ", ".join(sorted(job.job_id for job in found))
        raise LaunchError(f"{name_or_id} is the name of {len(found)} jobs; name one by its id: {ids}.")
    return found[0]


def _job(found: Any) -> Job:
    state = dataflow.JobState(found.current_state).name.removeprefix("JOB_STATE_")
    created = found.create_time  # of a class of Google's own, which is no plain datetime to others
    created_at = datetime.fromtimestamp(created.timestamp(), UTC) if created else None
    return Job(found.id, found.name, state, created_at)


def _jobs_client() -> Any:
    return dataflow.JobsV1Beta3Client(transport=_transport("jobs_v1_beta3"))


def _transport(service: str) -> Any:
    from google.cloud.dataflow_v1beta3.services.flex_templates_service.transports import (
        FlexTemplatesServiceRestTransport,
    )
    from google.cloud.dataflow_v1beta3.services.jobs_v1_beta3.transports import JobsV1Beta3RestTransport

    transport = {
        "flex_templates_service": FlexTemplatesServiceRestTransport,
        "jobs_v1_beta3": JobsV1Beta3RestTransport,
    }[service]
    host = os.environ.get("DATAFLOW_EMULATOR_HOST", "")
    if not host:
        return transport()
    if host.rpartition(":")[0] not in {"127.0.0.1", "localhost", "[::1]"}:
        raise LaunchError("DATAFLOW_EMULATOR_HOST is for a server on this machine: 127.0.0.1:PORT.")
    return transport(host=host, url_scheme="http", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Google's errors as LaunchError with a mend; what a server says is passed on only where it is ours."""
    try:
        yield
    except NotFound as error:
        raise LaunchError(
            f"{what}: not found. Check the project, the region and the address of the template."
        ) from error
    except (Forbidden, Unauthorized) as error:
        raise LaunchError(
            f"{what}: permission denied. You need roles/dataflow.developer on the project, and "
            "roles/iam.serviceAccountUser on the service account of the workers."
        ) from error
    except Conflict as error:
        raise LaunchError(
            f"{what}: runs already. Replace it with --update, or choose another name."
        ) from error
    except BadRequest as error:
        why = re.sub(r"^[A-Z]+ https?://\S+: ", "", str(error.message))
        raise LaunchError(f"{what}: Dataflow refused it: {why}") from error
    except GoogleAPICallError as error:
        raise LaunchError(
            f"{what}: Dataflow answered {type(error).__name__}. Try again; if it stays, see "
            "https://status.cloud.google.com."
        ) from error
    except GoogleAuthError as error:
        raise LaunchError(f"{what}: no credentials. Run `gcloud auth application-default login`.") from error
    except OSError as error:
        raise LaunchError(f"{what}: Dataflow cannot be reached: {type(error).__name__}.") from error
