"""`aiops warm-start`, `--warm_start` and `aiops show baselines`, over whole runs and stores."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from query_server import DATASET, query_server
from rich.console import Console
from typer.testing import CliRunner, Result

from aiops.cli import app
from aiops.run import run_command
from aiops.simulate.config import SimulationConfig
from aiops.simulate.generator import simulate
from aiops.warm_start import learn_service
from pipeline.bigquery_client import EMULATOR_VARIABLE
from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run
from pipeline.rows import log_pattern_rows, service_window_row
from transforms.detect.history import TrackHistory
from transforms.elements import MINUTE_US, BaselineSnapshot, PatternStats, RequestStats, WindowSummary
from transforms.sketches import latency_bin

START_US = 1_767_225_600_000_000
BORDER = "2026-01-12T14:30:00"


def command(*arguments: str, columns: int = 160) -> Result:
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": str(columns), "TERM": "dumb"})


def rows_of(store: Path, sql: str) -> list[dict[str, Any]]:
    with DuckDBStore(str(store), read_only=True) as opened:
        return opened.query(sql)


def window(minute: int, service: str = "shop") -> WindowSummary:
    lines = 80 + minute * 7 % 20
    errors = minute % 3
    bins = {latency_bin(20_000): lines - 9, latency_bin(400_000): 9}
    return WindowSummary(
        "acme", service, START_US + minute * MINUTE_US, 60, lines=lines, errors=errors, requests=lines,
        severities={200: lines - errors, 500: errors} if errors else {200: lines},
        latency_count=lines, latency_bins=bins, endpoints={"GET /a": RequestStats(lines, errors, 0, bins)},
        patterns={"p": PatternStats("[red]boom[/] <*>", lines, errors, 500, [])},
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two services over 90 minutes, one of which has a snapshot."""
    path = tmp_path / "aiops.duckdb"
    step = TrackHistory(snapshot_us=60 * MINUTE_US)
    state = step.initial()
    windows = [window(minute, name) for minute in range(90) for name in ("shop", "[b]cart")]
    of_shop = [one for one in windows if one.service == "shop"]
    snapshots = [
        row
        for one in of_shop
        for history in step.step(state, one, is_late=False)
        for row in history.snapshots
    ]
    with DuckDBStore(str(path)) as opened:
        opened.append("service_windows", [service_window_row(one) for one in windows])
        opened.append("log_patterns", [row for one in windows for row in log_pattern_rows(one)])
        opened.append("baselines", snapshots)
    return path


# ------------------------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run over 70 minutes, one over the first 30, and three over the rest: cold, warm, from history."""
    folder = tmp_path_factory.mktemp("runs")
    config = SimulationConfig(
        seed=5, duration_seconds=4200, tenants=1, services=6, rate=60.0, faults="errors@payment+50m/8m"
    )
    halves: dict[bool, list[bytes]] = {True: [], False: []}
    for line in simulate(config):
        halves[json.loads(line)["timestamp"] < BORDER].append(line)
    inputs = {"whole": halves[True] + halves[False], "first": halves[True], "second": halves[False]}
    for name, content in inputs.items():
        (folder / f"{name}.ndjson").write_bytes(b"\n".join(content) + b"\n")
    stores = {name: folder / f"{name}.duckdb" for name in ("whole", "first", "cold", "exact", "history")}
    _run(folder / "whole.ndjson", stores["whole"])
    _run(folder / "first.ndjson", stores["first"])
    _run(folder / "second.ndjson", stores["cold"])
    for name, options in (("exact", ["--from-snapshots"]), ("history", [])):
        out = folder / f"{name}.snapshots"
        result = command("warm-start", "--store", str(stores["first"]), "--out", str(out), *options)
        assert result.exit_code == 0, result.output
        _run(folder / "second.ndjson", stores[name], "--warm_start", str(out))
    return stores


def _run(path: Path, store: Path, *options: str) -> None:
    run(["--input", str(path), "--store", str(store), "--snapshot_minutes", "30", *options])


def _levels(store: Path) -> list[tuple[Any, ...]]:
    rows = rows_of(
        store,
        "SELECT * FROM current_anomalies WHERE detector = 'level' AND window_start >= '2026-01-12 14:30:00Z' "
        "ORDER BY anomaly_id",
    )
    return [(row["anomaly_id"], row["anomaly_severity"], row["description"]) for row in rows]


@pytest.mark.slow
def test_a_run_from_snapshots_finds_the_anomalies_of_one_long_run(runs: dict[str, Path]) -> None:
    """What levels tell of the rest is the same, to the last digit; a cold run is still learning."""
    whole = _levels(runs["whole"])
    assert any(description.startswith("error rate") for _, _, description in whole)
    assert _levels(runs["exact"]) == whole
    assert _levels(runs["cold"]) != whole


@pytest.mark.slow
def test_a_run_from_history_finds_nearly_the_same(runs: dict[str, Path]) -> None:
    """Errors and traffic are learned exactly; the outage of payment is found when it begins."""

    def errors(name: str) -> list[tuple[Any, ...]]:
        return [row for row in _levels(runs[name]) if row[2].startswith(("error rate", "lines of severity"))]

    assert errors("history") == errors("whole") != []


@pytest.mark.slow
def test_bands_are_there_from_the_first_window_on(runs: dict[str, Path]) -> None:
    """A warm start needs no learning time: the rest has the bands of the long run."""
    sql = (
        "SELECT service, window_start, bands FROM current_service_windows "
        "WHERE window_start >= '2026-01-12 14:30:00Z' AND service = 'payment' ORDER BY ALL"
    )
    assert rows_of(runs["exact"], sql) == rows_of(runs["whole"], sql)
    assert rows_of(runs["cold"], sql)[0]["bands"] == "{}"


# ----------------------------------------------------------------------------- the commands


def test_warm_start_learns_from_windows_what_the_job_learned(store: Path, tmp_path: Path) -> None:
    """All but latency of endpoints: the same status and the same bands, from the store alone."""
    out = tmp_path / "learned.ndjson"
    result = command("warm-start", "--store", str(store), "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "2 services, 0.1 days" in result.output
    assert "Not in a store" in result.output
    written = [msgspec.json.decode(line, type=BaselineSnapshot) for line in out.read_bytes().splitlines()]
    assert [(row.service, row.as_of) for row in written] == [
        (name, START_US + 90 * MINUTE_US) for name in ("[b]cart", "shop")
    ]
    step = TrackHistory(snapshot_us=90 * MINUTE_US)
    state = step.initial()
    live = [
        rows
        for n in range(90)
        for one in step.step(state, window(n), is_late=False)
        for rows in one.snapshots
    ]
    again = learn_service(("acme", "shop"), [window(minute) for minute in range(90)])
    assert len(live) == len(again) > 10
    for row in live:
        if row.signal and not row.signal.startswith("endpoint_latency"):
            assert row == next(one for one in again if one.signal == row.signal)


@pytest.mark.parametrize(
    ("options", "page_rows"), [((), 1_000), (("--from-snapshots",), 7), (("--service", "shop"), 25)]
)
def test_a_dataset_teaches_what_a_store_with_its_rows_teaches(
    store: Path, tmp_path: Path, options: tuple[str, ...], page_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From BigQuery the same is learned, to the last byte, in pages of any size; nothing is left behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    since = ("--since", "2026-01-01T00:10:00Z")
    outs = {name: tmp_path / name for name in ("store", "dataset")}
    of_store = command("warm-start", "--store", str(store), "--out", str(outs["store"]), *since, *options)
    with query_server(str(store)) as server:
        server.page_rows = page_rows
        monkeypatch.setenv(EMULATOR_VARIABLE, server.address)
        arguments = ("--dataset", DATASET, "--out", str(outs["dataset"]), *since, *options)
        of_dataset = command("warm-start", *arguments)
    assert of_dataset.exit_code == 0, of_dataset.output
    assert outs["dataset"].read_bytes() == outs["store"].read_bytes() != b""
    assert of_dataset.output.replace(str(outs["dataset"]), "") == of_store.output.replace(
        str(outs["store"]), ""
    )
    assert not list((tmp_path / "temp").iterdir())


def test_only_the_days_and_columns_that_teach_are_read(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days are named by a value, and the large columns that teach nothing are not asked for."""
    with query_server(str(store)) as server:
        monkeypatch.setenv(EMULATOR_VARIABLE, server.address)
        arguments = ("--dataset", DATASET, "--since", "2026-01-01T00:00:00Z", "--tenant", "acme")
        done = command("warm-start", *arguments, "--out", str(tmp_path / "out"))
        assert done.exit_code == 0, done.output
        windows, patterns = server.queries()
    for query in (windows, patterns):
        assert "WHERE window_start >= @since AND" in query["query"]
        values = {one["name"]: one["parameterValue"]["value"] for one in query["queryParameters"]}
        assert values == {"since": "2026-01-01 00:00:00+00:00", "tenant": "acme", "service": ""}
    assert not re.search("ledger|bands|callers|fields", windows["query"])
    assert "example" not in patterns["query"]


def test_what_warm_start_would_read_is_said_and_bounded(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--dry-run names the bytes of each table; beyond --max-gib nothing is read, nor written."""
    out = tmp_path / "out"
    arguments = ("warm-start", "--dataset", DATASET, "--out", str(out))
    with query_server(str(store)) as server:
        monkeypatch.setenv(EMULATOR_VARIABLE, server.address)
        server.bytes_read = 6 << 30
        dry = command(*arguments, "--dry-run")
        assert dry.exit_code == 0, dry.output
        assert re.search(r"service_windows +6\.000\s+log_patterns +6\.000\s+all +12\.000", dry.output)
        refused = command(*arguments, "--max-gib", "10")
        assert refused.exit_code == 1
        assert "12.0 GiB, and --max-gib allows 10" in refused.output
        assert not server.queries()
    assert not out.exists()


def test_warm_start_takes_what_is_asked_for(store: Path, tmp_path: Path) -> None:
    """Filters leave services and times out; without anything left there is no file."""
    out = tmp_path / "learned.ndjson"

    def services(*options: str) -> list[tuple[str, int]]:
        result = command("warm-start", "--store", str(store), "--out", str(out), *options)
        assert result.exit_code == 0, result.output
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        return [(row["service"], row["windows"]) for row in rows]

    assert services("--service", "shop") == [("shop", 90)]
    assert services("--since", "30m") == [("[b]cart", 30), ("shop", 30)]
    assert services("--from-snapshots") == [("shop", 60)]
    out.unlink()
    nothing = command("warm-start", "--store", str(store), "--out", str(out), "--tenant", "nobody")
    assert nothing.exit_code == 1
    assert "nothing to learn from" in nothing.output
    assert not out.exists()
    folder = command("warm-start", "--store", str(store), "--out", str(tmp_path / "none" / "x"))
    assert folder.exit_code == 1
    assert "name another with --out" in folder.output


def test_snapshots_of_another_version_are_not_exported(store: Path, tmp_path: Path) -> None:
    """They are counted, and the way out is said."""
    with DuckDBStore(str(store)) as opened:
        opened.cursor().execute("UPDATE baselines SET state_version = 9")
    out = tmp_path / "learned.ndjson"
    result = command("warm-start", "--store", str(store), "--out", str(out), "--from-snapshots")
    assert result.exit_code == 1
    assert "1 snapshots were made by another version" in result.output


def test_a_run_refuses_snapshots_that_it_cannot_use(store: Path, tmp_path: Path) -> None:
    """Before anything is read, with file, line and mend, and exit code 2."""
    out, logs = tmp_path / "learned.ndjson", tmp_path / "logs.ndjson"
    logs.write_text("{}\n")
    assert command("warm-start", "--store", str(store), "--out", str(out)).exit_code == 0
    lines = out.read_text().splitlines()
    lines[1] = lines[1].replace('"state_version":1', '"state_version":2')
    out.write_text("\n".join(lines))
    console = Console(record=True, width=200, file=(tmp_path / "console").open("w"))
    code = run_command(
        ["--input", str(logs), "--store", str(tmp_path / "s.duckdb"), "--warm_start", str(out)], console
    )
    assert code == 2
    text = console.export_text()
    assert "learned.ndjson, line 2: it is of state version 2" in text
    assert "make it anew with `aiops warm-start`" in text
    assert not (tmp_path / "s.duckdb").exists()


def test_show_baselines_tells_what_is_learned_and_what_is_missing(store: Path) -> None:
    """Services first; with a filter their signals, with status, band, and what they still need."""
    services = command("show", "baselines", "--store", str(store))
    assert services.exit_code == 0, services.output
    assert "shop" in services.output
    assert "cautious until 2026-01-02 00:00" in services.output
    signals = command("show", "baselines", "--store", str(store), "--service", "shop", "--signal", "l*")
    assert "latency_p95_ms" in signals.output
    assert "error_rate" not in signals.output
    rows = json.loads(command("show", "baselines", "--store", str(store), "--json").stdout)
    lines = next(row for row in rows if row["signal"] == "lines")
    assert lines["status"] == "ready"
    assert lines["band_low"] < lines["baseline"] < lines["band_high"]
    assert "state" not in lines
    ready = command("show", "baselines", "--store", str(store), "--status", "ready", "--json")
    assert {row["status"] for row in json.loads(ready.stdout)} == {"ready"}
    assert (
        "No baselines with --service none"
        in command("show", "baselines", "--store", str(store), "--service", "none").output
    )
    narrow = command("show", "baselines", "--store", str(store), columns=80)
    assert max(map(len, narrow.output.splitlines())) <= 80
