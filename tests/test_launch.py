"""`aiops launch` through Google's own client, against a server of the Dataflow API on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from loopback_servers import json_server
from typer.testing import CliRunner, Result

from aiops.cli import app
from pipeline.options import parse_options
from pipeline.template import job_arguments

PLACE = ["--project", "my-project", "--region", "europe-west1"]
SOURCE = [
    *("--input_subscription", "projects/my-project/subscriptions/logs"),
    *("--dataset", "my-project.aiops", "--failed_rows", "gs://bucket/failed-rows"),
]
TEMPLATE = ["--template", "gs://bucket/aiops.json"]
PREFIX = "/v1b3/projects/my-project/locations/europe-west1"


@dataclass
class FakeDataflow:
    """Jobs by id, the requests that came, and an HTTP status to fail with."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    failure: int = 0

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.requests.append((method, path, body))
        if self.failure:
            return self.failure, {"error": {"code": self.failure, "message": "no", "status": "X"}}
        url = urlsplit(path)
        if method == "POST" and url.path == f"{PREFIX}/flexTemplates:launch":
            name = body["launchParameter"]["jobName"]
            job = {"id": f"id-{name}", "name": name, "currentState": "JOB_STATE_QUEUED"}
            self.jobs[job["id"]] = job
            return 200, {"job": job}
        if method == "GET" and url.path == f"{PREFIX}/jobs":
            jobs = [j for j in self.jobs.values() if self._listed(j, parse_qs(url.query))]
            page = int(parse_qs(url.query).get("pageToken", ["0"])[0])
            more = {"nextPageToken": str(page + 1)} if page + 1 < len(jobs) else {}
            return 200, {"jobs": jobs[page : page + 1]} | more
        if method == "PUT" and url.path.removeprefix(f"{PREFIX}/jobs/") in self.jobs:
            job = self.jobs[url.path.removeprefix(f"{PREFIX}/jobs/")]
            return 200, job | {"requestedState": body["requestedState"]}
        return 404, {"error": {"code": 404, "message": "no such thing"}}

    @staticmethod
    def _listed(job: dict[str, Any], query: dict[str, list[str]]) -> bool:
        return query.get("filter") in (["ALL"], ["1"]) or job["currentState"] != "JOB_STATE_DONE"


@pytest.fixture
def dataflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDataflow]:
    fake = FakeDataflow()
    with json_server(fake.answer) as address:
        monkeypatch.setenv("DATAFLOW_EMULATOR_HOST", address)
        yield fake


def _launch(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, ["launch", *arguments], input=answer)


def test_a_job_is_started_with_checked_parameters(dataflow: FakeDataflow) -> None:
    """Options of the job become parameters of the template; workers are private and exactly-once."""
    arguments = [*SOURCE, "--services", "cart,checkout", "--window-seconds=120", "--redact_patterns=a=b,c"]
    done = _launch(
        *("start", "aiops", *PLACE, *TEMPLATE, "--service-account", "w@my-project.iam.gserviceaccount.com"),
        *("--max-workers", "4", "--subnetwork", "regions/europe-west1/subnetworks/s", *arguments),
    )
    assert done.exit_code == 0, done.output
    assert "Started aiops, job id-aiops" in done.output
    ((_, _, body),) = dataflow.requests
    launched = body["launchParameter"]
    assert launched["containerSpecGcsPath"] == "gs://bucket/aiops.json"
    assert launched["parameters"] == {
        "dataset": "my-project.aiops",
        "failed_rows": "gs://bucket/failed-rows",
        "input_subscription": "projects/my-project/subscriptions/logs",
        "redact_patterns": '["a=b,c"]',
        "services": '["cart","checkout"]',
        "window_seconds": "120",
    }
    environment = launched["environment"]
    assert environment["ipConfiguration"] in {"WORKER_IP_PRIVATE", 2}
    assert environment["streamingMode"] in {"STREAMING_MODE_EXACTLY_ONCE", 1}
    assert environment["enableStreamingEngine"]
    assert (environment["maxWorkers"], environment["subnetwork"]) == (4, "regions/europe-west1/subnetworks/s")
    assert environment["serviceAccountEmail"] == "w@my-project.iam.gserviceaccount.com"
    back = job_arguments([f"--{name}={value}" for name, value in launched["parameters"].items()])
    assert parse_options(back)[0] == parse_options(arguments)[0]


def test_a_running_job_is_replaced_only_when_asked(dataflow: FakeDataflow) -> None:
    """--update and --validate-only reach Dataflow; without them both are false."""
    for flags, update, validate in (
        ([], False, False),
        (["--update"], True, False),
        (["--validate-only"], False, True),
    ):
        dataflow.requests.clear()
        assert _launch("start", "aiops", *PLACE, *TEMPLATE, *flags, *SOURCE).exit_code == 0
        ((_, _, body),) = dataflow.requests
        assert bool(body["launchParameter"].get("update")) is update
        assert bool(body.get("validateOnly")) is validate


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["aiops", *TEMPLATE], "--input"),
        (["aiops", *TEMPLATE, *SOURCE[:2]], "give --dataset PROJECT.DATASET"),
        (["aiops", *TEMPLATE, *SOURCE, "--min_severity", "LOUD"], "--min_severity"),
        (["aiops", *TEMPLATE, *SOURCE, "--nonsense", "1"], "--nonsense"),
        (["AIOps", *TEMPLATE, *SOURCE], "a-z"),
        (["aiops", "--template", "aiops.json", *SOURCE], "gs://"),
    ],
)
def test_a_wrong_option_never_reaches_dataflow(
    arguments: list[str], complaint: str, dataflow: FakeDataflow
) -> None:
    """What the job would refuse minutes later on a worker is refused here and now."""
    done = _launch("start", *arguments, *PLACE)
    assert done.exit_code == 2
    assert complaint in done.output
    assert not dataflow.requests


def test_jobs_are_listed_page_by_page(dataflow: FakeDataflow) -> None:
    """Active ones, all of them with --all, the newest first; --json is one object a line."""
    for number, state in enumerate(("RUNNING", "DONE", "DRAINING")):
        dataflow.jobs[f"id-{number}"] = {
            "id": f"id-{number}", "name": f"job-{number}", "currentState": f"JOB_STATE_{state}",
            "createTime": f"2026-01-0{number + 1}T10:00:00Z",
        }  # fmt: skip
    done = _launch("list", *PLACE, "--json")
    assert [json.loads(line)["name"] for line in done.output.splitlines()] == ["job-2", "job-0"]
    done = _launch("list", *PLACE, "--all")
    assert all(text in done.output for text in ("job-0", "job-1", "job-2", "draining", "done"))


def test_no_jobs_are_said_to_be_none(dataflow: FakeDataflow) -> None:
    """An empty list is a sentence."""
    assert "No active jobs" in _launch("list", *PLACE).output


@pytest.mark.parametrize(
    ("command", "state"), [("drain", "JOB_STATE_DRAINED"), ("stop", "JOB_STATE_CANCELLED")]
)
def test_a_job_is_ended_by_name_or_id(command: str, state: str, dataflow: FakeDataflow) -> None:
    """Drain finishes what is in flight, stop cancels; both find the job by either."""
    dataflow.jobs["id-1"] = {"id": "id-1", "name": "aiops", "currentState": "JOB_STATE_RUNNING"}
    for job in ("aiops", "id-1"):
        yes = ["--yes"] if command == "stop" else []
        assert _launch(command, job, *PLACE, *yes).exit_code == 0
        method, path, body = dataflow.requests[-1]
        assert (method, urlsplit(path).path) == ("PUT", f"{PREFIX}/jobs/id-1")
        wanted = {"JOB_STATE_DRAINED": 8, "JOB_STATE_CANCELLED": 5}[state]
        assert body["requestedState"] in {state, wanted}


def test_stop_asks_first(dataflow: FakeDataflow) -> None:
    """A no leaves the job alone, and the question says what would be lost."""
    dataflow.jobs["id-1"] = {"id": "id-1", "name": "aiops", "currentState": "JOB_STATE_RUNNING"}
    done = _launch("stop", "aiops", *PLACE, answer="n\n")
    assert done.exit_code == 1
    assert "drain" in done.output
    assert not dataflow.requests


def test_a_job_that_is_not_there_is_named(dataflow: FakeDataflow) -> None:
    """The error lists the active jobs, so that a typing error shows."""
    dataflow.jobs["id-1"] = {"id": "id-1", "name": "aiops-prod", "currentState": "JOB_STATE_RUNNING"}
    done = _launch("drain", "aiops", *PLACE)
    assert done.exit_code == 1
    assert "Active are: aiops-prod" in done.output


@pytest.mark.parametrize(
    ("status", "mend"),
    [
        (403, "roles/dataflow.developer"),
        (401, "credentials"),
        (404, "not found"),
        (409, "--update"),
        (400, "refused it: no"),
    ],
)
def test_an_answer_that_is_an_error_names_the_mend(status: int, mend: str, dataflow: FakeDataflow) -> None:
    """No traceback, exit code 1."""
    dataflow.failure = status
    done = _launch("start", "aiops", *PLACE, *TEMPLATE, *SOURCE)
    assert done.exit_code == 1
    assert mend in done.output
    assert "Traceback" not in done.output


def test_only_this_machine_is_talked_to_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable for tests cannot send a launch to somebody else's server."""
    monkeypatch.setenv("DATAFLOW_EMULATOR_HOST", "dataflow.example.com:80")
    done = _launch("list", *PLACE)
    assert done.exit_code == 1
    assert "on this machine" in done.output
