"""`aiops replay failed-rows`: after it nothing is lost, and the views show nothing twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import fake_bigquery
import msgspec
import pytest
from fake_bigquery import FakeBigQuery, answer, only_of
from sample_store import service_window
from typer.testing import CliRunner, Result

from aiops.cli import app
from pipeline.bigquery_insert import MOST_ROWS, InsertSettings, make_sendable
from pipeline.bigquery_rows import encode_row, fail_row, written_row
from pipeline.duckdb_store import DuckDBStore
from pipeline.failed_rows import read_failed_rows, write_failed_rows
from pipeline.replay import FAILED_QUERY
from transforms.elements import FailedRow

NOW_US = 1_767_261_600_000_000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBigQuery]:
    quick = InsertSettings(1.0, 0.2, 0.01, 0.02, 30)
    monkeypatch.setattr("pipeline.bigquery_insert.InsertSettings", lambda: quick)
    with fake_bigquery.fake_bigquery(monkeypatch) as running:
        yield running


@pytest.fixture
def dataset(request: pytest.FixtureRequest) -> str:
    return f"acme-prod.r{abs(hash(request.node.nodeid))}"


def failed(first: int, number: int, table: str = "service_windows") -> list[FailedRow]:
    """Rows as the job keeps them."""
    rows = []
    for at in range(first, first + number):
        encoded = encode_row("service_windows", service_window("acme", f"s{at:04}", at))
        row = written_row(encoded.text, NOW_US)
        rows.append(fail_row(table, encoded.insert_id, row, "unavailable", "ReadTimeout", NOW_US))
    return rows


def into_table(server: FakeBigQuery, rows: list[FailedRow]) -> None:
    encoded = [encode_row("failed_rows", row) for row in rows]
    sent = [make_sendable(row.insert_id, row.text, NOW_US) for row in encoded]
    assert server.insert("failed_rows", [{"insertId": row.insert_id, "json": row.row} for row in sent]) == {}


def replay(dataset: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["replay", "failed-rows", "--dataset", dataset, *arguments])


def test_rows_of_files_and_of_the_table_are_sent_and_marked(
    server: FakeBigQuery, dataset: str, tmp_path: Path
) -> None:
    """As they were sent at first, with the time of then; files are renamed, rows of the table revised."""
    path = Path(write_failed_rows(str(tmp_path), failed(0, 1200)))
    into_table(server, failed(2000, 3))
    done = replay(dataset, "--files", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "Sent 1,203 rows (1,203 service_windows)." in done.output
    assert len(set(server.ids("service_windows", "service"))) == len(server.rows["service_windows"]) == 1203
    assert {row["written_at"] for row in server.rows["service_windows"]} == {"2026-01-01T10:00:00+00:00"}
    assert max(rows for _, rows, _ in server.requests) <= MOST_ROWS
    assert [found.name for found in tmp_path.iterdir()] == [f"{path.name}.replayed"]
    assert sorted(row["status"] for row in server.rows["failed_rows"]) == ["failed"] * 3 + ["replayed"] * 3


def test_the_query_finds_what_nobody_has_sent_again(tmp_path: Path) -> None:
    """A row's mark hides it; asked of the local store, which has the same tables and views."""
    rows = failed(0, 3)
    with DuckDBStore(str(tmp_path / "s.duckdb")) as store:
        store.append("failed_rows", rows)
        store.append("failed_rows", [msgspec.structs.replace(rows[1], status="replayed", revision=1)])
        sql = FAILED_QUERY.replace("`VIEW`", "current_failed_rows").replace("UNIX_MICROS", "epoch_us")
        found = [FailedRow(**row) for row in store.query(sql)]
    assert found == sorted((rows[0], rows[2]), key=lambda row: row.failed_row_id)


def test_a_second_replay_finds_nothing(server: FakeBigQuery, dataset: str, tmp_path: Path) -> None:
    """What was taken is not sent again."""
    write_failed_rows(str(tmp_path), failed(0, 2))
    into_table(server, failed(5, 1))
    assert replay(dataset, "--files", str(tmp_path)).exit_code == 0
    server.requests.clear()
    done = replay(dataset, "--files", str(tmp_path))
    assert (done.exit_code, server.requests) == (0, [])
    assert "Sent 0 rows." in done.output


def test_a_replay_that_broke_off_can_be_repeated(server: FakeBigQuery, dataset: str, tmp_path: Path) -> None:
    """Rows that were taken, but not marked, are the same rows with the same insert ids."""
    rows = failed(0, 3)
    write_failed_rows(str(tmp_path), rows)
    into_table(server, rows)
    assert replay(dataset, "--files", str(tmp_path)).exit_code == 0
    assert server.ids("service_windows", "service") == ["s0000", "s0001", "s0002"]


def test_what_is_refused_again_stays(server: FakeBigQuery, dataset: str, tmp_path: Path) -> None:
    """In a file of its own, with the reason of now; the others are taken."""
    write_failed_rows(str(tmp_path), failed(0, 3))
    into_table(server, failed(5, 2))
    server.refuse = lambda table, row: "invalid@lines" if row.get("service") in {"s0001", "s0006"} else ""
    done = replay(dataset, "--files", str(tmp_path))
    assert done.exit_code == 1
    assert "Not taken: 2 rows of service_windows: refused" in done.output
    assert server.ids("service_windows", "service") == ["s0000", "s0002", "s0005"]
    (left,) = tmp_path.glob("*.ndjson")
    (row,) = read_failed_rows(str(left)).rows
    assert (row.reason, row.detail) == ("refused", "invalid at lines")
    server.refuse = lambda table, row: ""
    assert replay(dataset, "--files", str(tmp_path)).exit_code == 0
    assert server.ids("service_windows", "service") == ["s0000", "s0001", "s0002", "s0005", "s0006"]


def test_while_bigquery_is_down_everything_stays(server: FakeBigQuery, dataset: str, tmp_path: Path) -> None:
    """One request is tried, not one for each file; the files are as they were."""
    paths = [write_failed_rows(str(tmp_path), failed(at, 2)) for at in (0, 10, 20)]
    server.always = answer(503)
    done = replay(dataset, "--files", str(tmp_path))
    assert done.exit_code == 1
    assert "Not taken: 6 rows of service_windows: unavailable" in done.output
    assert sorted(map(str, tmp_path.iterdir())) == sorted(paths)


def test_a_mark_that_is_not_taken_is_told(server: FakeBigQuery, dataset: str) -> None:
    """The row itself is in its table; the next replay sends it once more, which changes nothing."""
    into_table(server, failed(0, 1))
    server.always = only_of("failed_rows", answer(403, "accessDenied"))
    done = replay(dataset)
    assert done.exit_code == 1
    assert "Not taken: 1 rows of failed_rows: forbidden" in done.output
    server.always = None
    assert replay(dataset).exit_code == 0
    assert server.ids("service_windows", "service") == ["s0000"]


def test_a_dry_run_counts(server: FakeBigQuery, dataset: str, tmp_path: Path) -> None:
    """Nothing is sent, nothing renamed."""
    path = write_failed_rows(str(tmp_path), failed(0, 2))
    into_table(server, failed(5, 1))
    done = replay(dataset, "--files", f"{tmp_path}/*", "--dry-run")
    assert done.exit_code == 0
    assert "Would send 3 rows (3 service_windows)." in done.output
    assert (server.requests, Path(path).is_file()) == ([], True)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda row: msgspec.structs.replace(row, table_name="no_such_table"),
        lambda row: msgspec.structs.replace(row, row_json="{"),
        lambda row: msgspec.structs.replace(row, row_json="[" * 100_000),
        lambda row: msgspec.structs.replace(row, row_json="7"),
    ],
    ids=["table", "broken JSON", "deep JSON", "no object"],
)
def test_a_row_that_nobody_can_send_stays(
    server: FakeBigQuery, dataset: str, tmp_path: Path, spoil: object
) -> None:
    """A file that somebody edited harms its own rows only."""
    good, bad = failed(0, 2)
    write_failed_rows(str(tmp_path), [good, spoil(bad)])  # type: ignore[operator]
    done = replay(dataset, "--files", str(tmp_path))
    assert done.exit_code == 1
    assert ": damaged" in done.output
    assert server.ids("service_windows", "service") == ["s0000"]
    assert len(list(tmp_path.glob("*.ndjson"))) == 1


def test_a_line_that_broke_off_is_told(server: FakeBigQuery, dataset: str, tmp_path: Path) -> None:
    """A disk that was full leaves half a line; the rows before it are sent."""
    path = Path(write_failed_rows(str(tmp_path), failed(0, 2)))
    path.write_bytes(path.read_bytes()[:-20])
    done = replay(dataset, "--files", str(path))
    assert done.exit_code == 1
    assert "Damaged: 1 lines of" in done.output
    assert len(server.rows["service_windows"]) == 1


def test_a_replay_that_cannot_start_says_why(server: FakeBigQuery, tmp_path: Path) -> None:
    """A dataset that is not there ends with exit code 2, before anything is sent."""
    server.dataset_exists = False
    done = replay("acme-prod.typo", "--files", str(tmp_path))
    assert done.exit_code == 2
    assert "There is no dataset acme-prod.typo" in done.output
    assert "--dataset: must be a project and a dataset" in replay("x`; DROP").output


def test_the_same_rows_are_the_same_file(tmp_path: Path) -> None:
    """In any order; each row is a line of JSON that anybody can read."""
    rows = failed(0, 3)
    paths = {write_failed_rows(str(tmp_path), order) for order in (rows, rows[::-1], rows * 2)}
    (path,) = paths
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["table_name"] for line in lines] == ["service_windows"] * 3
