"""People look at a store while a job writes it: a copy as of now, whole, and the job does not wait."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sample_alerts import alert_event
from typer.testing import CliRunner

from aiops.cli import app
from pipeline import store_copy
from pipeline.duckdb_store import DuckDBStore, StoreBusyError
from pipeline.store_copy import open_copy_of

# Writes batches of 300 events of one alert, with checkpoints in between, until its input ends.
WRITER = """
import select, sys
from sample_alerts import alert_event
from pipeline.duckdb_store import DuckDBStore
with DuckDBStore(sys.argv[1]) as store:
    for number in range(0, int(sys.argv[2]), 300):
        events = [alert_event(number + place, note=f"{number + place} " * 300) for place in range(300)]
        store.append("alert_events", events)
        if number % 900 == 0:
            store.query("CHECKPOINT")
        print("written", flush=True)
        if select.select([sys.stdin], [], [], 0.15)[0]:
            break
    sys.stdin.read()
"""


@contextmanager
def writing(path: Path, events: int) -> Iterator[None]:
    """Another process holds the store, and has written to it."""
    command = [sys.executable, "-c", WRITER, str(path), str(events)]
    place = {"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parent.parent}"}
    with subprocess.Popen(command, env=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdin
        try:
            assert process.stdout.readline() == b"written\n"
            yield
        finally:
            process.stdin.close()
            assert process.wait() == 0


def busy_error(path: Path) -> StoreBusyError:
    with pytest.raises(StoreBusyError) as caught:
        DuckDBStore(str(path), read_only=True)
    return caught.value


def test_commands_look_at_a_store_that_is_being_written(tmp_path: Path) -> None:
    """They say of when it is, beside what was asked for; nothing is left behind in its folder."""
    path = tmp_path / "s.duckdb"
    with writing(path, 300):
        done = CliRunner().invoke(app, ["alerts", "list", "--store", str(path), "--json"])
        rules = CliRunner().invoke(app, ["rules", "test", "--store", str(path)])
        left = sorted(one.name for one in tmp_path.iterdir())
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[0]["alert_id"] == alert_event().alert_id
    assert "A job is writing" in done.stderr
    assert "No anomalies in 0 windows" in rules.stdout
    assert left in (["s.duckdb"], ["s.duckdb", "s.duckdb.wal"])


@pytest.mark.slow
def test_a_copy_is_a_whole_moment_of_the_store(tmp_path: Path) -> None:
    """Between transactions and checkpoints of the writer, a copy has whole batches up to some time."""
    path = tmp_path / "s.duckdb"
    counts = []
    with writing(path, 1_000_000):
        for _ in range(8):
            with open_copy_of(busy_error(path)) as store:
                (found,) = store.query(
                    "SELECT count(*) AS count, count(DISTINCT sequence) AS different, "
                    "max(sequence) AS newest FROM alert_events"
                )
            assert found["different"] == found["count"] == found["newest"] + 1
            assert found["count"] % 300 == 0
            counts.append(found["count"])
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_a_store_that_never_rests_stays_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each copy has a checkpoint in it, it is said who writes, as for a command that writes itself."""
    path = tmp_path / "s.duckdb"
    ticks = itertools.count()
    monkeypatch.setattr(store_copy, "_stamp", lambda path: (next(ticks), 0))
    monkeypatch.setattr(store_copy, "_PAUSE_SECONDS", 0.0)
    with writing(path, 300):
        busy = busy_error(path)
        with pytest.raises(StoreBusyError, match="is being written by process"), open_copy_of(busy):
            pass
    assert next(ticks) == 2 * store_copy._ATTEMPTS
