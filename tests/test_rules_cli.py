"""`aiops rules check` and `aiops rules test`, and the page that documents rules."""
# ruff: noqa: E501 - rules read best on one line

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from aiops.rules import app
from aiops.stored_windows import read_summaries
from pipeline.duckdb_store import DuckDBStore
from pipeline.rows import log_pattern_rows, service_window_row
from transforms.detect.fields import fields_markdown
from transforms.detect.rule_loading import load_rules
from transforms.detect.signals import signals_of
from transforms.elements import PatternStats, RequestStats, WindowSummary
from transforms.sketches import distinct_add, distinct_estimate, latency_bin

START_US = 1_767_225_600_000_000
WIDE = {"COLUMNS": "200"}
DOCS = Path(__file__).parent.parent / "docs" / "rules.md"


def window(minute: int, errors: int, pane: int = 0) -> WindowSummary:
    principals: dict[int, int] = {}
    for user in range(9):
        distinct_add(principals, str(user))
    bins = {latency_bin(20_000): 60, latency_bin(400_000): 30, latency_bin(2_000_000): 10}
    return WindowSummary(
        "acme", "shop", START_US + minute * 60_000_000, 60, lines=100, errors=errors, requests=100, denials=3,
        severities={200: 100 - errors, 500: errors}, statuses={200: 100 - errors, 500: errors},
        latency_count=100, latency_bins=bins, endpoints={"GET /a": RequestStats(100, errors, 0, bins)},
        patterns={"p": PatternStats("[red]boom[/] <*>", 100, errors, 500, [])}, principals=principals, pane_index=pane,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "aiops.duckdb"
    with DuckDBStore(str(path)) as opened:
        for summary in [window(0, 1), window(1, 60), window(2, 0), window(2, 30, pane=1), window(3, 0)]:
            opened.append("service_windows", [service_window_row(summary)])
            opened.append("log_patterns", log_pattern_rows(summary))
    return path


def test_check_explains_rules_in_words(tmp_path: Path) -> None:
    """Each rule is told with its conditions, its ladder and whom it is different for."""
    path = tmp_path / "rules.yaml"
    path.write_text(
        "rules:\n  - {name: error-spike, over: 5m, overrides: [{tenant: acme, for: 3m, enabled: false}]}\n"
    )
    result = CliRunner().invoke(app, ["check", str(path)], env=WIDE)
    assert result.exit_code == 0
    assert "the window, over 5m; error_rate >= 0.1 && errors >= 10; while it lasts" in result.output
    assert (
        "critical if error_rate > 0.5 && errors >= 20, else high if error_rate > 0.2, else medium"
        in result.output
    )
    assert "for tenant acme: for 3m; off" in result.output


def test_check_lists_every_problem_of_every_file(tmp_path: Path) -> None:
    """All problems of all files are told by line, and the exit code says so."""
    good, bad, worse = tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "worse.yaml"
    good.write_text("rules: []")
    bad.write_text("rules:\n  - {name: error-spike, over: 5, when: eror > 1}")
    worse.write_text("rule: []")
    result = CliRunner().invoke(app, ["check", str(good), str(bad), str(worse)], env=WIDE)
    assert result.exit_code == 1
    assert f'{bad}:2: rule "error-spike": over must be a duration such as 90s, 5m or 1h' in result.output
    assert f'{worse}:1: unknown key "rule"; did you mean "rules"?' in result.output


def test_rules_can_be_tried_on_a_store(store: Path) -> None:
    """The last revision of each stored window is judged, and log text is shown as it is."""
    result = CliRunner().invoke(app, ["test", "--store", str(store), "--rule", "error-spike"], env=WIDE)
    assert result.exit_code == 0
    assert "1 anomalies in 4 windows" in result.output  # 60 % is told at once; 30 % a minute later is no rise
    assert "60% of 100 lines are errors (60)" in result.output
    result = CliRunner().invoke(app, ["test", "--store", str(store)], env=WIDE)
    assert "[red]boom[/] <*>" in result.output


def test_a_file_can_be_tried_on_part_of_a_store(store: Path, tmp_path: Path) -> None:
    """--rules, --service and --since narrow what is shown; earlier windows still count as history."""
    path = tmp_path / "rules.yaml"
    path.write_text(
        "extends: none\nrules:\n  - {name: a, type: error_spike, description: '{errors}', when: errors > 0, over: 3m, repeat: 1m}"
    )
    arguments = ["test", "--store", str(store), "--rules", str(path), "--since", "2026-01-01T00:02:00Z"]
    assert "2 anomalies in 2 windows" in CliRunner().invoke(app, arguments, env=WIDE).output
    assert (
        "No anomalies in 0 windows"
        in CliRunner().invoke(app, [*arguments, "--service", "none"], env=WIDE).output
    )


@pytest.mark.parametrize(
    ("arguments", "code", "cause"),
    [
        (["--store", "none.duckdb"], 1, "There is no store at none.duckdb"),
        (["--store", "STORE", "--rule", "spike"], 2, 'there is no rule "spike"'),
        (["--store", "STORE", "--since", "noon"], 2, "give a time as"),
        (["--store", "STORE", "--rules", "none.yaml"], 2, "cannot be read"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    store: Path, arguments: list[str], code: int, cause: str
) -> None:
    """A wrong argument is told with its cause."""
    result = CliRunner().invoke(
        app, ["test", *(str(store) if one == "STORE" else one for one in arguments)], env=WIDE
    )
    assert result.exit_code == code
    assert cause in result.output


def test_a_stored_window_keeps_its_figures(store: Path) -> None:
    """What is rebuilt from a store has the percentiles, counts and distinct users of the window."""
    original = window(0, 1)
    with DuckDBStore(str(store), read_only=True) as opened:
        rebuilt = next(iter(read_summaries(opened._connection)))
    assert (rebuilt.lines, rebuilt.errors, rebuilt.statuses) == (
        original.lines,
        original.errors,
        original.statuses,
    )
    assert distinct_estimate(rebuilt.principals) == distinct_estimate(original.principals)
    assert signals_of(rebuilt).latency_p95_us == pytest.approx(signals_of(original).latency_p95_us, rel=0.05)
    assert rebuilt.endpoints["GET /a"].count == 100


def test_the_page_lists_the_fields_that_there_are() -> None:
    """The tables of fields in the docs are those that conditions are checked against."""
    page = DOCS.read_text()
    begin, end = "fields_markdown -->\n", "<!-- end -->"
    assert page.split(begin)[1].split(end)[0] == fields_markdown()


def test_the_example_of_the_page_is_a_good_file() -> None:
    """The file that the docs show can be loaded."""
    example = DOCS.read_text().split("```yaml\n")[1].split("```")[0]
    assert any(rule.name == "slow-imports" for rule in load_rules(example).rules)
