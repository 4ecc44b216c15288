"""`aiops show`: filters, tables that can be read and JSON that can be parsed, whatever log text holds."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sample_store as sample
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from aiops.query import parse_since
from aiops.show import app
from aiops.text import escape_json_text, one_line, visible_text
from pipeline.duckdb_store import DuckDBStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(sample.build_store(tmp_path_factory.mktemp("show") / "aiops.duckdb"))


def show(*arguments: str, columns: int = 80) -> Result:
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": str(columns), "TERM": "dumb"})


def show_json(*arguments: str) -> Any:
    result = show(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


# ---------------------------------------------------------------------------------- filters


def test_anomalies_come_newest_first_without_withdrawn_ones(store: str) -> None:
    """What no longer holds is left out, and shown with --all."""
    rows = show_json("anomalies", "--store", store)
    times = [row["window_start"] for row in rows]
    assert times == sorted(times, reverse=True)
    assert {row["status"] for row in rows} == {"open"}
    everything = show_json("anomalies", "--store", store, "--all")
    assert len(everything) == len(rows) + 1


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--tenant", "globex"], {"latency_increase", "new_pattern"}),
        (["--service", "inventory"], {"silence"}),
        (["--severity", "critical"], {"error_spike"}),
        (["--severity", "MEDIUM", "--tenant", "globex"], {"latency_increase"}),
        (["--type", "silence"], {"silence"}),
        (["--since", "10m"], {"latency_increase", "silence"}),
        (["--since", "2026-01-01T10:52:00Z"], {"silence"}),
        (["--since", "2026-01-01T12:52:00+02:00"], {"silence"}),
        (["--tenant", "nobody"], set()),
        (["--tenant", "' OR 1=1 --"], set()),
    ],
)
def test_filters_leave_out_what_does_not_match(store: str, filters: list[str], expected: set[str]) -> None:
    """Each filter narrows, and values are never read as SQL."""
    assert {row["anomaly_type"] for row in show_json("anomalies", "--store", store, *filters)} == expected


def test_a_roomy_table_shows_value_and_expectation(store: str) -> None:
    """Of the metric that an anomaly rests on first; a narrower table leaves the words alone."""
    roomy = show("anomalies", "--store", store, "--service", "payments", columns=160).output
    assert re.search(r"error_spike\s+31\.4 %\s+0\.4 \(0 to 2\) %", roomy)
    assert "Expected" not in show("anomalies", "--store", store, columns=120).output


def test_json_names_the_leading_metric(store: str) -> None:
    """Beside all metrics, with how far it is from what was expected; bands of windows are objects."""
    row = show_json("anomalies", "--store", store, "--service", "payments", "--limit", "1")[0]
    leading = row["leading_metric"]
    assert (leading["name"], leading["value"], leading["band_high"]) == ("error_rate", 0.314, 0.02)
    assert leading["words"] == "78 × the expected"
    window = show_json("windows", "--store", store, "--service", "payments", "--limit", "1")[0]
    assert window["bands"]["error_rate"] == {"baseline": 0.003, "low": 0.0, "high": 0.02}


def test_an_anomaly_without_numbers_is_shown(tmp_path: Path) -> None:
    """A dash in the table, null in JSON."""
    path = str(tmp_path / "x.duckdb")
    with DuckDBStore(path) as opened:
        opened.append("anomalies", [sample.anomaly("acme", "shop", 1, metrics=[])])
    assert re.search(r"error_spike\s+–\s+–", show("anomalies", "--store", path, columns=160).output)
    assert show_json("anomalies", "--store", path)[0]["leading_metric"] is None


def test_severity_means_at_least(store: str) -> None:
    """`--severity high` shows high and critical; for patterns it is the severity of a log line."""
    anomalies = show_json("anomalies", "--store", store, "--severity", "high")
    assert {row["anomaly_severity"] for row in anomalies} == {"high", "critical"}
    patterns = show_json("patterns", "--store", store, "--severity", "warning")
    assert {row["severity"] for row in patterns} == {"WARNING", "ERROR"}


def test_limits_hold_and_the_table_says_what_is_left(store: str) -> None:
    """A table shows 50 rows unless told otherwise and names the rest; JSON shows all."""
    assert len(show_json("windows", "--store", store)) == 480
    assert len(show_json("windows", "--store", store, "--limit", "7")) == 7
    assert "50 of 480 windows; more with --limit" in show("windows", "--store", store).output


def test_windows_since_include_the_window_that_the_time_falls_in(store: str) -> None:
    """Five minutes before the newest data are five windows of each service."""
    rows = show_json("windows", "--store", store, "--since", "5m", "--service", "search")
    assert [row["window_start"][11:16] for row in rows] == ["10:59", "10:58", "10:57", "10:56", "10:55"]


def test_patterns_are_summed_over_windows(store: str) -> None:
    """A pattern is one row with all its lines, the most frequent first."""
    rows = show_json("patterns", "--store", store, "--tenant", "acme", "--service", "payments")
    assert [row["count"] for row in rows] == [18_000, 1_800, 1_200]
    new = show_json("patterns", "--store", store, "--new", "--service", "payments")
    assert [(row["severity"], row["errors"], row["is_new"]) for row in new] == [("ERROR", 1_800, True)]


def test_deploys_come_newest_first_and_say_what_and_by_whom(store: str) -> None:
    """A roll-out is found by its service, with what came and who did it."""
    rows = show_json("deploys", "--store", store)
    assert [row["service"] for row in rows] == ["checkout", "orders", "payments"]
    assert [row["service"] for row in show_json("deploys", "--store", store, "--since", "20m")] == [
        "checkout"
    ]
    table = show("deploys", "--store", store, "--service", "payments", columns=160).output
    assert "2026-01-01 10:23" in table
    assert "payments:v2.4.0" in table
    assert "<email:v1:0a1b2c3d4e>" in table


def test_dead_letters_are_found_by_reason(store: str) -> None:
    """--type looks into the reason and the stage."""
    assert [
        row["dead_letter_id"] for row in show_json("dead-letters", "--store", store, "--type", "json")
    ] == ["d1"]
    assert len(show_json("dead-letters", "--store", store, "--type", "parse")) == 2


# ----------------------------------------------------------------------------------- ledger


def test_the_ledger_has_totals_tenants_and_minutes(store: str) -> None:
    """One object says whether all lines are accounted for, and where they are not."""
    ledger = show_json("ledger", "--store", store)
    counts = ("analyzed", "late", "duplicate", "filtered", "dead_lettered")
    assert ledger["received"] == sum(ledger[name] for name in counts) + 12
    assert (ledger["balanced"], ledger["difference"], ledger["unbalanced_minutes"]) == (False, 12, 1)
    assert [(row["tenant_id"], row["balanced"]) for row in ledger["tenants"]] == [
        ("acme", True),
        ("globex", True),
        ("initech", False),
    ]
    wrong = [minute for minute in ledger["minutes"] if not minute["balanced"]]
    assert [(row["tenant_id"], row["receive_minute"]) for row in wrong] == [
        ("initech", "2026-01-01T10:30:00Z")
    ]
    assert show_json("ledger", "--store", store, "--tenant", "acme")["balanced"]


def test_the_ledger_table_names_the_minutes_that_do_not_balance(store: str) -> None:
    """People see the difference, the minute and what to do."""
    output = " ".join(show("ledger", "--store", store).output.split())
    assert "no (+12)" in output
    assert "01-01 10:30 initech" in output
    assert "run it again over the same input" in output
    balanced = show("ledger", "--store", store, "--tenant", "acme").output
    assert "Every line received is accounted for." in balanced


# ----------------------------------------------------------------------------------- output

COMMANDS = ("anomalies", "windows", "patterns", "deploys", "dead-letters", "ledger")


@pytest.mark.parametrize("columns", [80, 160])
@pytest.mark.parametrize("command", COMMANDS)
def test_tables_fit_the_terminal(store: str, command: str, columns: int) -> None:
    """No line is wider than the terminal, and no header is cut."""
    output = show(command, "--store", store, columns=columns).output
    assert max(len(line) for line in output.splitlines()) <= columns
    assert "…" not in output.splitlines()[0]


@pytest.mark.parametrize("arguments", [[], ["--json"]])
@pytest.mark.parametrize("command", COMMANDS)
def test_log_text_cannot_steer_the_terminal(store: str, command: str, arguments: list[str]) -> None:
    """No control or format character of a log line reaches the terminal, and markup shows as text."""
    output = show(command, "--store", store, *arguments, columns=160).stdout
    unsafe = {
        character for character in output if unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"}
    }
    assert unsafe <= {"\n"}
    if command == "patterns":
        assert "[bold red]" in output.replace("\n", "")


def test_json_keeps_the_hostile_text_as_it_is(store: str) -> None:
    """Escapes are harmless to print and lose nothing."""
    rows = show_json("patterns", "--store", store, "--service", "orders", "--severity", "WARNING")
    assert [row["pattern"] for row in rows] == [sample.HOSTILE]


def test_json_columns_are_objects(store: str) -> None:
    """Counts by severity, status and endpoint need no second parsing."""
    row = show_json("windows", "--store", store, "--limit", "1")[0]
    assert row["severities"] == {"ERROR": 3, "INFO": 597}
    assert row["window_start"] == "2026-01-01T10:59:00Z"


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_result_says_what_to_do(tmp_path: Path, store: str, command: str) -> None:
    """An empty store says how to fill one, too narrow a filter says which; JSON stays JSON."""
    DuckDBStore(str(tmp_path / "empty.duckdb")).close()
    empty = show(command, "--store", str(tmp_path / "empty.duckdb"))
    assert "aiops run" in empty.output
    assert "--tenant nobody" in " ".join(show(command, "--store", store, "--tenant", "nobody").output.split())
    nothing = show_json(command, "--store", str(tmp_path / "empty.duckdb"))
    assert nothing == [] if command != "ledger" else nothing["balanced"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_that_cannot_be_read_ends_with_code_1(tmp_path: Path, command: str) -> None:
    """The cause and the mend go to standard error, without a traceback."""
    result = show(command, "--store", str(tmp_path / "none.duckdb"))
    assert result.exit_code == 1
    assert "There is no store at" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--severity", "terrible"], "is not one of low, medium, high, critical"),
        (["--since", "yesterday"], "is neither a span"),
        (["--limit", "0"], "greater than or equal to 1"),
    ],
)
def test_a_wrong_filter_is_explained(store: str, arguments: list[str], message: str) -> None:
    """A usage error names the option and what it takes."""
    result = show("anomalies", "--store", store, *arguments, columns=160)
    assert result.exit_code == 2
    assert message in result.stderr
    assert arguments[0] in result.stderr


# ------------------------------------------------------------------------------------- text


def test_no_unsafe_character_is_left() -> None:
    """Of all of Unicode, only joiners, newline and tab stay invisible."""
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    left = {c for c in visible_text(everything) if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert left == {"\n", "\t", "\u200c", "\u200d"}


@given(st.text())
def test_showing_text_twice_changes_nothing(text: str) -> None:
    """Stand-ins are themselves visible, and one line stays one line."""
    assert visible_text(visible_text(text)) == visible_text(text)
    assert len(one_line(text).splitlines()) <= 1


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_escaped_json_has_the_same_value(text: str) -> None:
    """Escaping for the terminal changes no value."""
    assert json.loads(escape_json_text(json.dumps(text, ensure_ascii=False))) == text


def test_a_cut_is_said() -> None:
    """Long text is cut, with the number of characters that are missing."""
    assert visible_text("x" * 10_000, 10) == "x" * 10 + " … 9,990 more characters"


@given(st.text(max_size=20))
def test_any_since_is_a_time_or_a_usage_error(text: str) -> None:
    """Whatever is typed after --since, nothing but these two comes out."""
    with contextlib.suppress(typer.BadParameter):
        assert parse_since(text, datetime(2026, 1, 1, tzinfo=UTC)).tzinfo is not None
