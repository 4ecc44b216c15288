"""`aiops explain`: one incident by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_gemini import fail, say, serving
from test_narratives import claimed, incident
from typer.testing import CliRunner

from aiops.cli import app
from pipeline.duckdb_store import DuckDBStore

RUNNER = CliRunner()


@pytest.fixture
def store(tmp_path: Path) -> str:
    path = str(tmp_path / "s.duckdb")
    with DuckDBStore(path) as opened:
        opened.append(
            "incidents",
            [
                incident(incident_id="abc1", title="payment: \x1b[31mred\x1b[0m"),
                incident(incident_id="abd2", severity="low"),
            ],
        )
    return path


def test_a_dry_run_shows_the_prompt_and_sends_nothing(store: str) -> None:
    """Somebody can read what would leave the house, and about how much it is."""
    found = RUNNER.invoke(app, ["explain", "abc1", "--store", store, "--dry-run"])
    assert found.exit_code == 0
    assert "Prompt i1, about" in found.stdout
    assert '"candidates"' in found.stdout
    assert "\x1b" not in found.stdout
    as_json = json.loads(
        RUNNER.invoke(app, ["explain", "abc1", "--store", store, "--dry-run", "--json"]).stdout
    )
    assert json.loads(as_json["prompt"])["severity"] == "high"


def test_prompt_answer_checks_and_cost_are_shown(store: str) -> None:
    """One request, also for an incident that is too small for one of its own."""
    with serving(say(claimed())) as server:
        found = RUNNER.invoke(app, ["explain", "abd", "--store", store, "--gemini_base_url", server.url])
    assert found.exit_code == 0, found.output
    shown = " ".join(found.stdout.split())
    assert "Answer, as it came" in shown
    assert "4711 users" in shown
    assert "[unverified] users" in shown
    assert "[check before use: command]" in shown
    assert "900 tokens in, 150 out, $0.00" in shown
    assert len(server.requests) == 1


def test_without_an_answer_the_template_is_shown_and_the_exit_code_is_1(store: str) -> None:
    """The reason is a word of gemini_calls."""
    with serving(fail(400)) as server:
        found = RUNNER.invoke(
            app, ["explain", "abc", "--store", store, "--gemini_base_url", server.url, "--json"]
        )
    assert found.exit_code == 1
    said = json.loads(found.stdout)
    assert (said["outcome"], said["reason"], said["narrated_by"]) == ("failed", "bad_request", "template")


@pytest.mark.parametrize(
    ("name", "said"),
    [("ab", "More than one incident"), ("zz", "No incident"), ("a'--", "letters and digits")],
)
def test_an_incident_that_is_not_there_is_named_with_the_mend(store: str, name: str, said: str) -> None:
    """An id may be shortened as far as it stays one."""
    found = RUNNER.invoke(app, ["explain", name, "--store", store, "--dry-run"])
    assert found.exit_code != 0
    assert said in found.output
