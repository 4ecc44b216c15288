"""What is read back from BigQuery, by the real client from a server on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args, get_type_hints

import apache_beam as beam
import google.auth
import msgspec
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.bigquery import SchemaField
from google.cloud.bigquery.table import RowIterator
from hypothesis import given, settings
from hypothesis import strategies as st
from query_server import DATASET, Fault, QueryServer, query_server
from sample_alerts import START_US, alert_event
from typer.testing import CliRunner, Result

from aiops.cli import app
from pipeline import alert_sources
from pipeline.alert_log import stored_events, write_events
from pipeline.alert_sources import _ReadPastAlerts
from pipeline.bigquery_client import EMULATOR_VARIABLE, BigQueryError
from pipeline.bigquery_reader import BigQueryReader
from pipeline.bigquery_rows import encode_row
from pipeline.duckdb_store import DuckDBStore
from pipeline.main import make_past_alerts
from pipeline.settings import Settings
from pipeline.table_reader import struct_of_row
from pipeline.tables import Column, bigquery_schema, struct_columns
from transforms.alert_elements import AlertCommand, AlertEvent, Matcher
from transforms.elements import BaselineSnapshot

COUNT = "SELECT COUNT(*) AS found FROM ${dataset}.alert_events WHERE tenant_id = @tenant"
ACME = {"tenant": "acme"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "s.duckdb")
    with DuckDBStore(path) as store:
        store.append(
            "alert_events",
            [
                alert_event(),
                alert_event(1, silenced_until=START_US, matchers=[Matcher("type", "=~", "a|b")]),
                alert_event(2, status="resolved", occurred_at=START_US + 40 * 86_400_000_000),
                alert_event(tenant_id="globex", note="läuft 猫"),
                alert_event(tenant_id="initech", status="resolved"),
            ],
        )
    return path


@pytest.fixture
def server(path: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[QueryServer]:
    with query_server(path) as running:
        monkeypatch.setenv(EMULATOR_VARIABLE, running.address)
        yield running


@pytest.fixture
def reader(server: QueryServer) -> Iterator[BigQueryReader]:
    with BigQueryReader(DATASET, max_gib=1.0, deadline_seconds=0.5) as opened:
        yield opened


@pytest.mark.parametrize("page_rows", [1, 2, 100])
@pytest.mark.parametrize(("tenant", "past_days"), [(None, None), ("acme", None), (None, 30), ("initech", 30)])
def test_events_come_back_as_from_a_store(
    path: str, server: QueryServer, reader: BigQueryReader, tenant: str, past_days: int, page_rows: int
) -> None:
    """One text asks both, and each event, nested or null or of any script, is the same, over any pages."""
    server.page_rows = page_rows
    with DuckDBStore(path) as store:
        expected = stored_events(store, tenant, past_days=past_days)
    assert stored_events(reader, tenant, past_days=past_days) == expected
    assert expected or tenant == "initech"


def test_values_are_parameters_and_bytes_are_bounded(server: QueryServer, reader: BigQueryReader) -> None:
    """What is asked for never becomes text of the query, and BigQuery is told what it may read at most."""
    evil = "x' OR '1' = '1"
    assert list(reader.read(COUNT, {"tenant": evil})) == [{"found": 0}]
    (asked,) = server.queries()
    assert evil not in asked["query"]
    assert asked["maximumBytesBilled"] == str(1 << 30)
    assert not asked["useLegacySql"]


def test_what_a_query_would_read_is_told_without_running_it(
    server: QueryServer, reader: BigQueryReader
) -> None:
    """A dry run: nothing is read, nothing is paid."""
    server.bytes_read = 3 << 40
    assert reader.bytes_of(COUNT, ACME) == 3 << 40
    assert not server.queries()
    assert server.requests[0][1]["configuration"]["dryRun"] is True


def test_batches_have_the_pages(server: QueryServer, reader: BigQueryReader) -> None:
    """As Arrow, nested records and times included, a page at a time."""
    server.page_rows = 2
    sql = "SELECT alert_id, matchers, occurred_at FROM ${dataset}.alert_events ORDER BY occurred_at, alert_id"
    batches = list(reader.read_batches(sql))
    assert [batch.num_rows for batch in batches] == [2, 2, 1]
    last = batches[2].to_pylist()[0]
    assert last["occurred_at"] == datetime.fromtimestamp(START_US / 1e6 + 40 * 86_400, UTC)
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert {"name": "type", "operator": "=~", "value": "a|b"} in [
        one for row in rows for one in row["matchers"]
    ]


@pytest.mark.parametrize(
    "faults", [[Fault(503)], [Fault(500), Fault(0)], [Fault(403, "rateLimitExceeded")]], ids=str
)
def test_what_passes_is_tried_again(
    server: QueryServer, faults: list[Fault], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of the server, broken connections and limits of rate are not told where the next try answers."""
    server.faults += faults
    with BigQueryReader(DATASET, deadline_seconds=20) as reader:
        assert list(reader.read(COUNT, ACME)) == [{"found": 3}]
    assert len(server.queries()) == len(faults) + 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(403, "accessDenied"), "roles/bigquery.jobUser"),
        (Fault(404, "notFound"), "is not there"),
        (Fault(400, "invalidQuery"), "another version"),
        (Fault(400, "bytesBilledLimitExceeded"), "more than 1 GiB.*--max-gib"),
    ],
)
def test_what_does_not_pass_is_said_at_once_with_the_mend(
    server: QueryServer, reader: BigQueryReader, fault: Fault, said: str
) -> None:
    """One request; the error names cause and mend, and nothing of what BigQuery wrote."""
    server.faults.append(fault)
    with pytest.raises(BigQueryError, match=said) as caught:
        list(reader.read(COUNT, ACME))
    assert "hunter2" not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", [Fault(503), Fault(500), Fault(503, "", 0.7), Fault(0)], ids=str)
def test_waiting_ends(server: QueryServer, reader: BigQueryReader, fault: Fault) -> None:
    """BigQuery that is down, or slower than anybody waits, is given up in time."""
    server.faults += [fault] * 50
    begin = time.monotonic()
    with pytest.raises(BigQueryError, match="Try again later"):
        list(reader.read(COUNT, ACME))
    assert time.monotonic() - begin < 10


def test_pages_that_fail_are_tried_again(server: QueryServer) -> None:
    """A result is read to its end although pages in the middle failed at first."""
    server.page_rows = 1
    with BigQueryReader(DATASET, deadline_seconds=20) as reader:
        rows = reader.read("SELECT sequence FROM ${dataset}.alert_events ORDER BY sequence")
        found = [next(rows)["sequence"], next(rows)["sequence"]]
        server.faults += [Fault(503), Fault(0)]
        assert found + [row["sequence"] for row in rows] == [0, 0, 0, 1, 2]


@pytest.mark.parametrize("name", ["", "aiops", "acme-prod.ai-ops", "acme-prod.a` WHERE", "acme-prod.aiops\n"])
def test_names_that_are_no_dataset_never_reach_a_query(name: str) -> None:
    """The name stands in the text of queries: it is checked first."""
    with pytest.raises(BigQueryError, match=r"e\.g\. acme-prod\.aiops"):
        BigQueryReader(name)


# ------------------------------------------------------------------- what was written, read back


@pytest.mark.parametrize(("table", "struct"), [("alert_events", AlertEvent), ("baselines", BaselineSnapshot)])
@settings(max_examples=40)
@given(data=st.data())
def test_what_was_written_is_read_back(table: str, struct: type[msgspec.Struct], data: st.DataObject) -> None:
    """Any row that the sink sends is, read by the client, the Struct that it was made of."""
    row = data.draw(_structs(struct))
    encoded = encode_row(table, row)
    assert not encoded.problem
    written = msgspec.json.decode(encoded.text)
    columns = struct_columns(struct)
    page = {"rows": [{"f": [_cell(column, written.get(column.name)) for column in columns]}]}
    # As SELECTed: times in microseconds, see struct_select.
    fields = [
        SchemaField.from_api_repr({**field, "type": "INTEGER"} if field["type"] == "TIMESTAMP" else field)
        for field in bigquery_schema(table)[:-1]
    ]
    (read,) = RowIterator(None, None, "/x", fields, first_page_response=page, total_rows=1)
    assert struct_of_row(dict(read.items()), struct) == row


def _structs(struct: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Rows of any values that a Struct and its columns can hold."""
    hints = get_type_hints(struct)
    fields = {column.name: _values(column, hints[column.name]) for column in struct_columns(struct)}
    return st.fixed_dictionaries(fields).map(lambda values: struct(**values))


def _values(column: Column, hint: Any) -> st.SearchStrategy[Any]:
    arguments = get_args(hint)
    if column.mode == "REPEATED":
        return st.lists(_single(column, arguments[0]), max_size=2)
    if column.mode == "NULLABLE":
        return st.none() | _single(column, arguments[0])
    return _single(column, hint)


def _single(column: Column, hint: Any) -> st.SearchStrategy[Any]:
    if column.fields:
        return _structs(hint)
    return st.sampled_from(get_args(hint)) if get_args(hint) else _PLAIN[column.kind]


_PLAIN = {
    "STRING": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    "INTEGER": st.integers(-(1 << 63), (1 << 63) - 1),
    "FLOAT": st.floats(allow_nan=False, allow_infinity=False),
    "BOOLEAN": st.booleans(),
    "TIMESTAMP": st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999),
}


def _cell(column: Column, value: Any) -> dict[str, Any]:
    """A value of insertAll as jobs.query answers with it."""
    if isinstance(value, list):
        return {"v": [_cell(column, one) for one in value]}
    if isinstance(value, dict):
        return {"v": {"f": [_cell(one, value.get(one.name)) for one in column.fields]}}
    if column.kind == "TIMESTAMP" and value is not None:
        return {"v": str((datetime.fromisoformat(value) - EPOCH) // timedelta(microseconds=1))}
    return {"v": str(value).lower() if isinstance(value, bool) else None if value is None else str(value)}


# -------------------------------------------------------------------------- the start of a job


def test_a_job_with_a_dataset_begins_with_its_alerts(server: QueryServer, tmp_path: Path) -> None:
    """Those of files and of the dataset, each event once, with the client that each worker makes itself."""
    past = tmp_path / "past.ndjson"
    with past.open("wb") as file:
        write_events([alert_event(), alert_event(tenant_id="umbrella")], file)
    asked = Settings(input=["-"], dataset=DATASET, failed_rows=str(tmp_path), alert_events=[str(past)])
    with TestPipeline() as pipeline:
        read = make_past_alerts(asked)
        found = pipeline | read | beam.Map(lambda event: (event.tenant_id, event.sequence))
        known = [("acme", 0), ("acme", 1), ("acme", 2), ("globex", 0), ("umbrella", 0)]
        assert_that(found, equal_to(known))


@pytest.mark.parametrize(
    "fault", [Fault(503), Fault(403, "accessDenied"), Fault(404, "notFound"), None], ids=str
)
def test_a_job_goes_on_without_the_past(
    server: QueryServer,
    fault: Fault | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """BigQuery that is down, or may not be read, costs the past and not the alerts; the log says so."""
    monkeypatch.setattr(alert_sources, "PAST_SECONDS", 0.5)
    if fault is None:
        monkeypatch.delenv(EMULATOR_VARIABLE)
        monkeypatch.setattr(google.auth, "default", _no_credentials)
    server.faults += [fault] * 50 if fault else []
    assert list(_ReadPastAlerts("", DATASET).process([])) == []
    assert "alerts may be opened again" in caplog.text


def test_a_job_goes_on_without_events_of_another_version(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An event that this version cannot know is no reason to stop."""
    with DuckDBStore(path) as store:
        store.query("UPDATE alert_events SET status = 'snoozed' WHERE sequence = 2")
    with query_server(path) as running:
        monkeypatch.setenv(EMULATOR_VARIABLE, running.address)
        assert list(_ReadPastAlerts("", DATASET).process([])) == []
    assert "alerts may be opened again" in caplog.text


def _no_credentials(**_: object) -> None:
    raise DefaultCredentialsError


# ------------------------------------------------------------------------------- the commands


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "160", "TERM": "dumb"})


def test_alerts_of_a_dataset_are_shown_and_exported(server: QueryServer, path: str, tmp_path: Path) -> None:
    """`aiops alerts` and `aiops quality` tell of a dataset what they tell of a store with its rows."""
    alert = alert_event().alert_id[:8]
    for arguments in (
        ("alerts", "list", "--all", "--json"),
        ("alerts", "list", "--tenant", "globex"),
        ("alerts", "show", alert, "--tenant", "acme"),
        ("quality", "--all"),
    ):
        of_dataset = command(*arguments, "--dataset", DATASET)
        assert of_dataset.exit_code == 0, of_dataset.output
        assert of_dataset.output == command(*arguments, "--store", path).output
    exported = [tmp_path / name for name in ("dataset", "store")]
    command("alerts", "export", "--dataset", DATASET, "--out", str(exported[0]))
    command("alerts", "export", "--store", path, "--out", str(exported[1]))
    assert exported[0].read_bytes() == exported[1].read_bytes() != b""


def test_people_act_on_a_dataset_by_the_job(server: QueryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The id is looked up in the dataset, and the command goes to the topic; without one nothing is done."""
    sent: list[tuple[str, AlertCommand]] = []
    monkeypatch.setattr("aiops.alerts.sending.send_command", lambda topic, one: sent.append((topic, one)))
    alert = alert_event(tenant_id="globex").alert_id
    topic = "projects/aiops-test/topics/commands"
    done = command("alerts", "ack", alert[:8], "--dataset", DATASET, "--topic", topic, "--actor", "ann")
    assert done.exit_code == 0, done.output
    assert [(to, one.action, one.tenant_id, one.alert_id) for to, one in sent] == [
        (topic, "acknowledge", "globex", alert)
    ]
    for arguments in (("ack", alert), ("silence", "--matcher", "service=x", "--for", "1h")):
        refused = command("alerts", *arguments, "--dataset", DATASET)
        assert refused.exit_code == 1
        assert "--topic" in refused.output
    assert len(sent) == 1


def test_a_dataset_that_cannot_be_read_is_said_in_one_line(server: QueryServer) -> None:
    """Cause and mend, and exit code 1."""
    server.faults.append(Fault(403, "accessDenied"))
    refused = command("alerts", "list", "--dataset", DATASET)
    assert refused.exit_code == 1
    assert "Error: aiops-test.aiops may not be read" in refused.output
    wrong = command("alerts", "list", "--dataset", "aiops")
    assert wrong.exit_code == 1
    assert "e.g. acme-prod.aiops" in wrong.output
