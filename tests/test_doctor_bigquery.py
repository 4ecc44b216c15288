"""`aiops doctor` at BigQuery: Google's client against a server of the API on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import free_port
from loopback_servers import json_server
from typer.testing import CliRunner

from aiops.cli import app
from aiops.doctor import tables
from aiops.doctor.credentials import Identity
from aiops.doctor.freshness import check_dataset_freshness
from pipeline.bigquery_client import make_client
from pipeline.tables import TABLES, bigquery_schema
from pipeline.views import view_sources

PREFIX = "/bigquery/v2/projects/acme-prod"
DATASET = f"{PREFIX}/datasets/aiops"
WORKER = Identity("worker@acme-prod.iam.gserviceaccount.com", is_service_account=True)


@dataclass
class FakeDataset:
    """One dataset with all tables and views, and answers of its two queries."""

    schemas: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    views: list[str] = field(default_factory=lambda: list(view_sources()))
    newest: datetime | None = None
    ledger: tuple[int, int, int] = (90, 12_345, 0)
    permissions: list[str] = field(default_factory=lambda: list(tables.WRITES))
    failures: dict[str, int] = field(default_factory=dict)  # a part of the path → HTTP status
    message: str = "Access Denied: \x1b[31mno"
    silent: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    queries: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        path = path.partition("?")[0]
        self.asked.append(path)
        if self.silent and self.silent in path:
            self.released.wait(30)
        for part, status in self.failures.items():
            if part in path:
                return status, {"error": {"code": status, "message": self.message}}
        if path == DATASET:
            return 200, {"datasetReference": _reference(""), "location": "EU"}
        if path == f"{DATASET}/tables":
            kinds = dict.fromkeys(self.schemas, "TABLE") | dict.fromkeys(self.views, "VIEW")
            items = [{"tableReference": _reference(name), "type": kind} for name, kind in kinds.items()]
            return 200, {"tables": items, "totalItems": len(items)}
        if path.endswith(":testIamPermissions"):
            return 200, {"permissions": [name for name in body["permissions"] if name in self.permissions]}
        if (table := path.removeprefix(f"{DATASET}/tables/")) in self.schemas:
            return 200, {"tableReference": _reference(table), "schema": {"fields": self.schemas[table]}}
        if path == f"{PREFIX}/queries":
            self.queries.append(body)
            return 200, self._rows(body["query"])
        return 404, {"error": {"code": 404, "message": "Not found"}}

    def _rows(self, sql: str) -> dict[str, Any]:
        if "service_windows" in sql:
            micros = str(int(self.newest.timestamp() * 1_000_000)) if self.newest else None
            fields, values = [("newest", "TIMESTAMP")], [micros]
        else:
            names = ("minutes", "received", "unbalanced")
            fields, values = [(name, "INTEGER") for name in names], [str(number) for number in self.ledger]
        return {
            "jobComplete": True,
            "schema": {"fields": [{"name": name, "type": kind, "mode": "NULLABLE"} for name, kind in fields]},
            "rows": [{"f": [{"v": value} for value in values]}],
            "totalRows": "1",
            "jobReference": {"projectId": "acme-prod", "jobId": "j", "location": "EU"},
        }


def _reference(table: str) -> dict[str, str]:
    return {"projectId": "acme-prod", "datasetId": "aiops", "tableId": table}


@pytest.fixture
def bigquery(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDataset]:
    """A dataset at which all is well."""
    fake = FakeDataset(newest=datetime.now(UTC) - timedelta(minutes=2))
    fake.schemas = {table: deepcopy(bigquery_schema(table)) for table in TABLES}
    with json_server(fake.answer) as address:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", address)
        yield fake
        fake.released.set()


def doctor(tmp_path: Path) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and the checks of BigQuery and of freshness."""
    logs = tmp_path / "logs.ndjson"
    logs.write_text("{}\n")
    given = ["--input", str(logs), "--dataset", "acme-prod.aiops", "--failed_rows", str(tmp_path / "rows")]
    done = CliRunner().invoke(app, ["doctor", *given, "--json"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    checks = json.loads(done.stdout)["checks"]
    return done.exit_code, [check for check in checks if check["layer"] in {"BigQuery", "freshness"}]


def complaints(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [check for check in checks if check["state"] in {"warning", "failed"}]


def test_a_dataset_as_this_version_writes_it_is_well(bigquery: FakeDataset, tmp_path: Path) -> None:
    """Tables, columns, views, the newest window and the ledger; no table is asked for twice."""
    code, checks = doctor(tmp_path)
    assert (code, complaints(checks)) == (0, [])
    subjects = [check["subject"] for check in checks]
    assert subjects == ["acme-prod.aiops", "columns", "views", "newest window", "ledger", "failed rows"]
    assert "12,345 lines" in checks[-2]["found"]
    assert len(bigquery.asked) == 2 + len(TABLES) + 2


def test_what_is_missing_names_terraform(bigquery: FakeDataset, tmp_path: Path) -> None:
    """A table, a column, a nested column and a view; and nothing is read of such a dataset."""
    del bigquery.schemas["ledger"]
    bigquery.views.remove("open_alerts")
    bigquery.schemas["deploys"] = [f for f in bigquery.schemas["deploys"] if f["name"] != "principal"]
    metrics = next(f for f in bigquery.schemas["anomalies"] if f["name"] == "metrics")
    metrics["fields"] = [f for f in metrics["fields"] if f["name"] != "deviation"]
    code, checks = doctor(tmp_path)
    found = {check["subject"]: check for check in complaints(checks)}
    assert code == 1
    assert "missing: ledger" in found["tables"]["found"]
    assert found["deploys"]["found"] == "lacks columns: principal"
    assert found["anomalies"]["found"] == "lacks columns: metrics.deviation"
    assert "missing: open_alerts" in found["views"]["found"]
    assert all("terraform" in check["mend"] for check in found.values())
    assert [check["state"] for check in checks if check["layer"] == "freshness"] == ["skipped"]


def test_no_dataset_is_one_complaint(bigquery: FakeDataset, tmp_path: Path) -> None:
    """Not one for each table of it."""
    bigquery.failures[DATASET] = 404
    code, checks = doctor(tmp_path)
    (check,) = complaints(checks)
    assert (code, check["found"]) == (1, "the dataset does not exist")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"type": "STRING"}, "another type: lines (required STRING, not required INTEGER)"),
        ({"mode": "REPEATED"}, "another type: lines (repeated INTEGER, not required INTEGER)"),
        ({"type": "INT64", "mode": "NULLABLE"}, ""),
    ],
)
def test_columns_of_another_type_are_told(change: dict[str, str], says: str) -> None:
    """BigQuery's two names of a type are one, and a column may demand less than rows hold."""
    from google.cloud.bigquery import SchemaField

    schema = bigquery_schema("service_windows")
    schema = [one | change if one["name"] == "lines" else one for one in schema]
    problems = tables.table_problems("service_windows", [SchemaField.from_api_repr(one) for one in schema])
    assert [says in problem for problem in problems] == ([True] if says else [])


def test_columns_beyond_ours_are_told_only_where_rows_must_have_them() -> None:
    """A newer version's columns are no problem, as long as they may be empty."""
    from google.cloud.bigquery import SchemaField

    for mode, expected in (("NULLABLE", []), ("REQUIRED", ["demands columns that may be empty: extra"])):
        extra = {"name": "extra", "type": "STRING", "mode": mode}
        schema = [SchemaField.from_api_repr(one) for one in [*bigquery_schema("ledger"), extra]]
        assert tables.table_problems("ledger", schema) == expected


def test_a_refusal_names_the_role(bigquery: FakeDataset, tmp_path: Path) -> None:
    """403 is a failed check, once, and what the server says is printed harmlessly."""
    bigquery.failures["/tables/"] = 403
    code, checks = doctor(tmp_path)
    (check,) = complaints(checks)
    assert (code, "Forbidden" in check["found"]) == (1, True)
    assert "roles/bigquery.dataViewer" in check["mend"]


def test_who_may_not_query_is_told_of_the_role(bigquery: FakeDataset, tmp_path: Path) -> None:
    """Tables can be seen, freshness cannot."""
    bigquery.failures["/queries"] = 403
    code, checks = doctor(tmp_path)
    (check,) = complaints(checks)
    assert (code, check["layer"]) == (1, "freshness")
    assert "roles/bigquery.jobUser" in check["mend"]


def test_a_look_at_the_ledger_has_a_price(bigquery: FakeDataset, tmp_path: Path) -> None:
    """BigQuery is told what it may cost at most; where that is too little, the check is left out."""
    doctor(tmp_path)
    assert {query["maximumBytesBilled"] for query in bigquery.queries} == {str(20 << 30)}
    bigquery.failures["/queries"] = 400
    bigquery.message = "Query exceeded limit for bytes billed: 1. 2 or higher required."
    code, checks = doctor(tmp_path)
    assert (code, complaints(checks)) == (0, [])
    assert [check["state"] for check in checks if check["subject"] == "ledger"] == ["skipped"]


@pytest.mark.parametrize("lacks", ["", "bigquery.tables.updateData"])
def test_the_right_to_write_is_asked_for(lacks: str, bigquery: FakeDataset) -> None:
    """As whoever the credentials are; only an emulator has no rights."""
    bigquery.permissions = [name for name in bigquery.permissions if name != lacks]
    client = make_client("acme-prod")
    found = {check.subject: check for check in tables.check_tables(client, "acme-prod.aiops", WORKER)}
    assert found["permissions"].state == ("failed" if lacks else "ok")
    assert lacks in found["permissions"].found
    assert ("roles/bigquery.dataEditor" in found["permissions"].mend) is bool(lacks)


@pytest.mark.parametrize(
    ("hours", "is_live", "state"),
    [
        (0.1, True, "ok"),
        (3, True, "failed"),
        (3, False, "ok"),
        (None, True, "warning"),
        (None, False, "warning"),
    ],
)
def test_stale_rows_fail_where_a_job_streams(
    hours: float | None, is_live: bool, state: str, bigquery: FakeDataset
) -> None:
    """Old rows of files are as old as the files; none at all may be a new job."""
    now = datetime.now(UTC)
    bigquery.newest = now - timedelta(hours=hours) if hours is not None else None
    client = make_client("acme-prod")
    check = next(check_dataset_freshness(client, "acme-prod.aiops", now, is_live=is_live))
    assert (check.subject, check.state) == ("newest window", state)
    assert ("3 h ago" in check.found) is (hours == 3)
    assert bool(check.mend) is (is_live and state != "ok")


def test_lines_that_were_lost_fail(bigquery: FakeDataset, tmp_path: Path) -> None:
    """A ledger that does not balance says how many minutes do not, and names the runbook."""
    bigquery.ledger = (90, 12_345, 2)
    code, checks = doctor(tmp_path)
    (check,) = complaints(checks)
    assert (code, "2 of 90 minutes do not balance" in check["found"]) == (1, True)
    runbook = check["mend"].removeprefix("# ")
    assert (Path(__file__).parent.parent / runbook).is_file()


def test_rows_that_wait_for_a_replay_are_told(bigquery: FakeDataset, tmp_path: Path) -> None:
    """With the command that sends them again; those that were sent are done with."""
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "a.ndjson.replayed").touch()
    assert complaints(doctor(tmp_path)[1]) == []
    (folder / "b.ndjson").touch()
    code, checks = doctor(tmp_path)
    (check,) = complaints(checks)
    assert (code, check["state"], "1 file of" in check["found"]) == (0, "warning", True)
    assert check["mend"] == f"aiops replay failed-rows --dataset acme-prod.aiops --files {folder}"


def test_a_server_that_is_silent_is_waited_for_once(
    bigquery: FakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within its bound, and no other question is put to it."""
    monkeypatch.setitem(tables._CALL, "timeout", 0.5)
    bigquery.silent = "/tables"
    begun = time.monotonic()
    code, checks = doctor(tmp_path)
    assert time.monotonic() - begun < 10
    (check,) = complaints(checks)
    assert (code, "does not answer" in check["found"]) == (1, True)
    assert len(bigquery.asked) == 2


def test_a_server_that_is_not_there_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that nobody listens at is no hang."""
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    code, checks = doctor(tmp_path)
    (check,) = complaints(checks)
    assert (code, "unset BIGQUERY_EMULATOR_HOST" in check["mend"]) == (1, True)
