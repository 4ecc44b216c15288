"""`aiops fetch`: days of a dataset as a store, by the real client from a server that has its rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from query_server import DATASET, Fault, QueryServer, query_server
from sample_views import build_views_store
from typer.testing import CliRunner, Result

from aiops.cli import app
from pipeline.bigquery_client import EMULATOR_VARIABLE
from pipeline.dataset_copy import copy_query
from pipeline.duckdb_store import DuckDBStore
from pipeline.tables import TABLES, table_columns

EVER = ("--since", "2001-01-01T00:00:00Z")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_views_store(tmp_path_factory.mktemp("fetch") / "s.duckdb")


@pytest.fixture
def server(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[QueryServer]:
    with query_server(str(path)) as running:
        monkeypatch.setenv(EMULATOR_VARIABLE, running.address)
        yield running


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "160", "TERM": "dumb"})


def fetch(out: Path, *arguments: str) -> Result:
    return command("fetch", "--dataset", DATASET, "--out", str(out), *arguments)


def rows_of(path: Path, table: str) -> list[str]:
    columns = ", ".join(column.name for column in table_columns(table))
    with DuckDBStore(str(path), read_only=True) as store:
        return sorted(map(repr, store.query(f'SELECT {columns} FROM "{table}"')))


@pytest.mark.slow
def test_a_copy_has_the_rows_of_the_dataset(server: QueryServer, path: Path, tmp_path: Path) -> None:
    """All rows of all tables, copies and revisions too, as they are; so commands tell the same of them."""
    server.page_rows = 300
    out = tmp_path / "copy.duckdb"
    done = fetch(out, *EVER)
    assert done.exit_code == 0, done.output
    for table in TABLES:
        assert rows_of(out, table) == rows_of(path, table), table
    assert f"{len(rows_of(path, 'anomalies')):,} anomalies" in done.output
    assert [one.name for one in tmp_path.iterdir()] == ["copy.duckdb"]
    for arguments in (("show", "incidents", "--json"), ("alerts", "list", "--all"), ("rules", "test")):
        of_copy, of_store = (command(*arguments, "--store", str(one)) for one in (out, path))
        assert of_copy.exit_code == 0, of_copy.output
        assert of_copy.output == of_store.output


def test_a_copy_is_of_what_was_asked_for(server: QueryServer, tmp_path: Path) -> None:
    """Tables, tenant and service; alerts that began before the time are left out whole."""
    out = tmp_path / "copy.duckdb"
    wanted = ("--tables", "service_windows, ledger,alert_events", "--tenant", "acme", "--service", "payments")
    done = fetch(out, *EVER, *wanted)
    assert done.exit_code == 0, done.output
    with DuckDBStore(str(out), read_only=True) as store:
        places = store.query("SELECT DISTINCT tenant_id, service FROM service_windows")
        assert places == [{"tenant_id": "acme", "service": "payments"}]
        assert {row["tenant_id"] for row in store.query("SELECT tenant_id FROM ledger")} == {"acme"}
        assert not store.query("SELECT * FROM anomalies")
    assert len(server.queries()) == 3
    assert "opened_at >= @since" in copy_query("alert_events")
    late = fetch(tmp_path / "late.duckdb", "--since", "1m")
    assert late.exit_code == 0, late.output
    assert "No rows in" in late.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--tables", "windows"), 2, "'windows' is not one of service_windows"),
        (("--max-gib", "0.001"), 1, "--max-gib allows 0.001"),
        (("--since", "yesterday"), 2, "neither a span"),
        (("--dry-run",), 0, "all"),
    ],
)
def test_what_is_not_copied_leaves_no_file(
    server: QueryServer, tmp_path: Path, arguments: Any, code: int, said: str
) -> None:
    """Nothing is read, and nothing is made."""
    out = tmp_path / "copy.duckdb"
    done = fetch(out, *arguments)
    assert done.exit_code == code, done.output
    assert said in done.output
    assert not server.queries()
    assert not list(tmp_path.iterdir())


def test_a_copy_that_fails_in_the_middle_leaves_no_file(server: QueryServer, tmp_path: Path) -> None:
    """Half a copy would look like all there is."""
    server.faults.append(Fault(403, "accessDenied"))
    done = fetch(tmp_path / "copy.duckdb")
    assert done.exit_code == 1
    assert "may not be read" in done.output
    server.page_rows = 100
    before = server.answer

    def answer(path: str, options: Any, body: Any) -> Any:
        if "pageToken" in options:
            return 404, {"error": {"code": 404, "message": "gone", "errors": [{"reason": "notFound"}]}}
        return before(path, options, body)

    server.answer = answer  # type: ignore[method-assign]
    done = fetch(tmp_path / "copy.duckdb", *EVER)
    assert done.exit_code == 1
    assert "is not there" in done.output
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_left_alone(server: QueryServer, tmp_path: Path) -> None:
    """Somebody's store is never written over."""
    out = tmp_path / "aiops.duckdb"
    out.write_text("mine")
    done = fetch(out)
    assert done.exit_code == 1
    assert "is there already" in done.output
    assert out.read_text() == "mine"
    assert not server.requests
