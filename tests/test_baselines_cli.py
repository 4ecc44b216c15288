"""`aiops baselines check`, `--baselines`, and the page that documents both."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aiops.baselines import app
from pipeline.baselines_source import read_baselines
from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run
from pipeline.operator_files import FileUnreadableError
from pipeline.options import parse_options
from pipeline.stage_settings import graph_settings
from transforms.detect.baselines.book_loading import BookError, load_book

WIDE = {"COLUMNS": "160"}
DOCS = Path(__file__).parent.parent / "docs" / "baselines.md"
CONFIGURATION = re.compile(r"## Configuration\n.*?```yaml\n(.*?)```", re.DOTALL)
FIELDS = "fields:\n  - {name: queue_depth, path: jsonPayload.queue.depth, service: 'work*'}\n"


def documented() -> str:
    found = CONFIGURATION.search(DOCS.read_text("utf-8"))
    assert found is not None
    return found[1]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_file_of_the_docs_is_explained_in_words(tmp_path: Path) -> None:
    """Each tenant's calendar, each signal and each field is told, and what holds for all others."""
    path = write(tmp_path / "baselines.yaml", documented())
    result = CliRunner().invoke(app, ["check", str(path)], env=WIDE)
    assert result.exit_code == 0
    for said in (
        "clock: America/New_York",
        "days off: saturday and sunday",
        "holidays, compared with days off: 2026-12-25, 2027-01-01",
        "nothing alarms: 2026-11-22 02:00 to 2026-11-22 04:00, payment and db-* only (kernel update)",
        "nothing alarms: every sunday, 02:00 to 04:00",
        "alarms only when higher than usual",
        "severity: at most medium",
        "not watched",
        "settings: threshold 0.1",
        "the highest in a window of jsonPayload.queue.depth, read from lines of services worker-*",
        "all others",
        load_book(documented()).version,
    ):
        assert said in result.output, said


def test_without_a_file_the_defaults_are_explained() -> None:
    """Nothing has to be configured, and one can see what that means."""
    result = CliRunner().invoke(app, ["check"], env=WIDE)
    assert result.exit_code == 0
    assert "clock: UTC" in result.output
    assert "as the product does" in result.output


def test_every_problem_of_every_file_is_told(tmp_path: Path) -> None:
    """All mistakes by line, unreadable files too, and the exit code says so."""
    good, bad = (
        write(tmp_path / "good.yaml", ""),
        write(tmp_path / "bad.yaml", "signals: [{severity: x}]\na: 1"),
    )
    missing = tmp_path / "missing.yaml"
    result = CliRunner().invoke(app, ["check", str(good), str(bad), str(missing)], env=WIDE)
    assert result.exit_code == 1
    assert f"{bad}:1: a signal: severity must be one of low, medium, high, critical" in result.output
    assert f'{bad}:2: unknown key "a"' in result.output
    assert f"The baselines file {missing} cannot be read (FileNotFoundError)" in result.output


def test_what_a_file_says_steers_no_terminal(tmp_path: Path) -> None:
    """Markup and escapes of a file are shown, not obeyed."""
    span = '{every: day, from: 01:00, to: 02:00, note: "[bold]x"}'
    text = f'calendars: [{{tenant: "[red]a", maintenance: [{span}]}}]'
    result = CliRunner().invoke(app, ["check", str(write(tmp_path / "a.yaml", text))], env=WIDE)
    assert "[red]a" in result.output
    assert "([bold]x)" in result.output
    evil = write(tmp_path / "b.yaml", 'calendars: [{"\\e[31m": 1, note: "\\e[2J"}]')
    result = CliRunner().invoke(app, ["check", str(evil)], env=WIDE)
    assert result.exit_code == 1
    assert "\x1b" not in result.output


def settings_with(path: Path | str) -> object:
    return graph_settings(parse_options(["--input", "-", "--baselines", str(path)])[0])


def test_a_job_does_not_start_with_a_wrong_file(tmp_path: Path) -> None:
    """An unreadable file and a mistaken one end the start, with the mend."""
    with pytest.raises(
        FileUnreadableError, match=r"check the path and the permissions, or leave --baselines out"
    ):
        settings_with(tmp_path / "none.yaml")
    with pytest.raises(FileUnreadableError):
        settings_with(tmp_path)
    with pytest.raises(BookError, match=r"b\.yaml:1: unknown key"):
        settings_with(write(tmp_path / "b.yaml", "field: []"))
    (tmp_path / "c.yaml").write_bytes(b"calendars: [{tenant: '\xff'}]")
    assert read_baselines(str(tmp_path / "c.yaml")).calendars[0].tenant == "\ufffd"


def line(second: int, depth: object) -> str:
    return json.dumps(
        {
            "logName": "projects/acme/logs/stdout",
            "timestamp": f"2026-01-12T14:00:{second:02d}Z",
            "insertId": str(second),
            "resource": {"type": "cloud_run_revision", "labels": {"service_name": "worker"}},
            "jsonPayload": {"message": "working", "queue": {"depth": depth}},
        }
    )


@pytest.mark.parametrize("deduplicate", ["off", "exact"])
def test_fields_reach_the_store(tmp_path: Path, deduplicate: str) -> None:
    """A whole run: numbers of lines become a column of the window; a copy counts once if asked for."""
    depths = [1, 2, "3.5", "deep", -0.5]
    lines = [line(second, depth) for second, depth in enumerate(depths)]
    logs = write(tmp_path / "logs.ndjson", "\n".join([*lines, lines[0]]) + "\n")
    book = write(tmp_path / "baselines.yaml", FIELDS)
    store = tmp_path / "aiops.duckdb"
    run(
        ["--input", str(logs), "--store", str(store), "--baselines", str(book), "--deduplicate", deduplicate,
         "--received_at", "2026-01-12T14:05:00Z"]
    )  # fmt: skip
    with DuckDBStore(str(store), read_only=True) as opened:
        rows = opened.query("SELECT fields FROM service_windows WHERE service = 'worker'")
    figures = json.loads(rows[0]["fields"])["queue_depth"]
    count, total = (4, 6.0) if deduplicate == "exact" else (5, 7.0)
    p95 = figures.pop("p95")
    assert figures == {"count": count, "mean": total / count, "min": -0.5, "max": 3.5}
    assert p95 == pytest.approx(2.0, rel=0.02)
