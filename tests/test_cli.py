"""The command `aiops`: what people see, and what scripts get as exit code.

A process of its own takes seconds to start: it is for what only a process shows, such as signals, pipes and
whatever the libraries print.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner, Result

from aiops.cli import app
from aiops.simulate.config import SimulationConfig
from aiops.simulate.generator import simulate
from pipeline.duckdb_store import DuckDBStore

AIOPS = [sys.executable, "-c", "from aiops.cli import main; main()"]
ENVIRONMENT = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
LINES = list(simulate(SimulationConfig(seed=3, duration_seconds=120, tenants=1, rate=20.0, faults="")))

pytestmark = pytest.mark.slow


def aiops(*arguments: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*AIOPS, *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        env=ENVIRONMENT,
        timeout=120,
        check=False,
    )


def called(*arguments: str) -> Result:
    """The same in this process."""
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "80", "NO_COLOR": "1"})


def said(result: subprocess.CompletedProcess[bytes]) -> str:
    return result.stderr.decode()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    path = tmp_path / "logs.json"
    path.write_bytes(b"\n".join(LINES) + b"\n")
    return path


def test_a_run_says_what_it_found_and_nothing_else(tmp_path: Path, logs: Path) -> None:
    """Lines, anomalies, alerts, dead letters and the ledger, six lines, and no noise of the libraries."""
    result = aiops("run", "--input", str(logs), cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout == b""
    beginnings = [line.split(":")[0].split(" ")[0] for line in said(result).splitlines()]
    assert beginnings == ["Read", "Anomalies", "Alerts", "Dead", "Ledger", "Warning"]
    assert f"balanced: {len(LINES):,} received = {len(LINES):,} analyzed" in said(result)
    assert "--redaction_key_file" in said(result)


def test_a_key_of_ones_own_silences_the_warning(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo key is warned of only while it is used."""
    monkeypatch.chdir(tmp_path)
    Path("key").write_text("0123456789abcdef")
    result = called("run", "--input", str(logs), "--redaction_key_file", "key")
    assert result.exit_code == 0
    assert "Warning" not in result.stderr


def test_an_array_from_a_pipe_is_read(tmp_path: Path) -> None:
    """What gcloud prints can be piped in as it is."""
    printed = json.dumps([json.loads(line) for line in LINES], indent=2).encode()
    result = aiops("run", "--input", "-", cwd=tmp_path, stdin=printed)
    assert result.returncode == 0
    assert f"Read {len(LINES):,} lines" in said(result)


@pytest.mark.parametrize(
    ("content", "code", "said_why"),
    [
        (b"", 0, "the input held no lines"),
        (b"no json\nat all\n", 1, "no line is a LogEntry in JSON"),
        (gzip.compress(b"\n".join(LINES), mtime=0)[:-9], 1, "is damaged or incomplete"),
        (b"PK\x03\x04", 2, "is a zip archive: unpack it"),
    ],
)
def test_unusable_input_shows_in_summary_and_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, code: int, said_why: str
) -> None:
    """Scripts see by the exit code that not all input could be used; people see why."""
    monkeypatch.chdir(tmp_path)
    Path("input").write_bytes(content)
    result = called("run", "--input", "input")
    assert result.exit_code == code
    assert said_why in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said_why"),
    [
        (["--input", "gone.json"], "--input gone.json: no such file"),
        (["--input", "logs.json", "--window_seconds", "x"], "--window_seconds: must be a whole number"),
        (["--input", "logs.json", "--store", "gone/s.duckdb"], "gone/s.duckdb cannot be opened"),
        (["--input", "logs.json", "--store", "logs.json"], "is not a DuckDB file"),
        (["--input", "logs.json", "--store", ":memory:"], ":memory: is no local file"),
        (["--input", "logs.json", "--rules", "gone.yaml"], "gone.yaml cannot be read"),
        (
            ["--input", "logs.json", "--redaction_key_file", "gone"],
            "--redaction_key_file gone: cannot be read",
        ),
        (["--input", "a[/red]b.json"], "--input a[/red]b.json: no such file"),
    ],
)
def test_what_is_wrong_at_launch_is_one_message(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said_why: str
) -> None:
    """Exit code 2, the cause on one line, and no traceback."""
    monkeypatch.chdir(tmp_path)
    result = called("run", *arguments)
    assert result.exit_code == 2
    assert said_why in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_store_that_another_run_writes_is_refused_at_once(tmp_path: Path, logs: Path) -> None:
    """Of two runs on one store the second ends, and names the process that has it."""
    with duckdb.connect(str(tmp_path / "s.duckdb")):
        result = aiops("run", "--input", str(logs), "--store", "s.duckdb", cwd=tmp_path)
    assert result.returncode == 2
    assert f"is being written by process {os.getpid()}" in said(result)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_how_to_go_on_and_can_be_repeated(
    tmp_path: Path, logs: Path, number: signal.Signals, code: int
) -> None:
    """A signal in the middle of a run ends it within seconds; a repeated run is complete."""
    arguments = ["run", "--input", str(logs), "-", "--store", "s.duckdb"]
    process = subprocess.Popen(
        [*AIOPS, *arguments], cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "s.duckdb").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)  # it waits for standard input now
    process.send_signal(number)
    assert process.stdin is not None
    assert process.stderr is not None
    message = process.stderr.read().decode()
    process.stdin.close()
    assert process.wait(timeout=20) == code
    assert "stopped" in message
    assert "Traceback" not in message
    assert called("run", "--input", str(logs), "--store", str(tmp_path / "s.duckdb")).exit_code == 0
    with DuckDBStore(str(tmp_path / "s.duckdb"), read_only=True) as store:
        totals = store.ledger_totals()
    assert (totals["received"], totals["balanced"]) == (len(LINES), True)


@pytest.mark.parametrize(
    "command",
    [
        ["run"],
        ["show"],
        ["show", "anomalies"],
        ["report"],
        ["rules"],
        ["rules", "check"],
        ["simulate"],
        ["demo"],
    ],
)
def test_every_command_has_help_that_fits_80_columns(command: list[str]) -> None:
    """--help ends with 0, and no line is wider than a small terminal but examples to copy."""
    result = called(*command, "--help")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith("  ")] == []


def test_the_command_alone_needs_no_slow_import(tmp_path: Path) -> None:
    """Help comes at once, because Beam is not loaded for it."""
    result = aiops("--help", cwd=tmp_path)
    assert result.returncode == 0
    assert max(map(len, result.stdout.decode().splitlines())) <= 80
    code = "import sys, aiops.cli; sys.exit('apache_beam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_a_job_without_gemini_does_not_load_its_client() -> None:
    """It takes a second of every start."""
    code = "import sys, pipeline.main; sys.exit('google.genai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_an_unknown_command_is_named() -> None:
    """A typing error gives exit code 2 and names what was typed."""
    result = called("shwo")
    assert result.exit_code == 2
    assert "shwo" in result.stderr
