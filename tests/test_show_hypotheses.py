"""What Gemini claimed and was not believed: `aiops show hypotheses`, and the report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import sample_store as sample
from typer.testing import CliRunner, Result

from aiops.cli import app
from aiops.report.command import write_report
from pipeline.duckdb_store import DuckDBStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(sample.build_store(tmp_path_factory.mktemp("hypotheses") / "aiops.duckdb"))


def show(*arguments: str, columns: int = 140) -> Result:
    environment = {"COLUMNS": str(columns), "TERM": "dumb"}
    return CliRunner().invoke(app, ["show", "hypotheses", *arguments], env=environment)


def test_a_claim_stands_beside_the_recount(store: str) -> None:
    """What was claimed, why it was not believed, and the number that is not so; others are left out."""
    said = " ".join(show("--store", store, "--tenant", "acme").stdout.split())
    for part in ("Half of all payments fail.", "wrong_number", "errors: claimed 960, counted 301"):
        assert part in said, part
    assert "lines: claimed" not in said


@pytest.mark.parametrize("columns", [80, 140])
def test_hostile_claims_reach_the_terminal_as_plain_text(store: str, columns: int) -> None:
    """No escape sequence and no markup of a model's answer has an effect."""
    result = show("--store", store, columns=columns)
    assert result.exit_code == 0, result.output
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", result.stdout)


def test_filters_leave_hypotheses_out(store: str) -> None:
    """By tenant, service, reason and time; JSON has whole rows."""
    rows = json.loads(show("--store", store, "--json").stdout)
    assert [row["tenant_id"] for row in rows] == ["globex", "acme"]
    assert rows[1]["checks"][0] == {
        "metric": "errors", "subject": "w1", "claimed": 960.0, "actual": 301.0, "holds": False,
    }  # fmt: skip
    for option in (("--tenant", "acme"), ("--service", "payments"), ("--type", "wrong_number")):
        found = json.loads(show("--store", store, "--json", *option).stdout)
        assert [row["service"] for row in found] == ["payments"], option
    assert len(json.loads(show("--store", store, "--json", "--since", "30m").stdout)) == 1
    assert "No hypotheses with --type late" in show("--store", store, "--type", "late").stdout


def test_the_report_folds_what_is_not_believed(store: str, tmp_path: Path) -> None:
    """Marked as such, closed until asked for; a report without any says nothing of it."""
    page = write(store, tmp_path)
    section = page[page.index('<h2 id="hypotheses">') :].partition("</section>")[0]
    assert "None of it is an anomaly or an alert." in section
    assert '<details class="more"><summary>2 hypotheses</summary>' in section
    assert "Half of all payments fail." in section
    assert "<script" not in section
    empty = str(tmp_path / "empty.duckdb")
    with DuckDBStore(empty) as opened:
        opened.append("service_windows", [sample.service_window("acme", "shop", 0)])
    assert "Not believed" not in write(empty, tmp_path)


def write(store: str, folder: Path) -> str:
    out = folder / "report.html"
    write_report(store, str(out))
    return out.read_text(encoding="utf-8")
