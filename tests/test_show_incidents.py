"""`aiops show incidents`, `incident` and `topology`: filters, a story to be read, JSON, hostile text."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import sample_store as sample
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from aiops.cli import app
from aiops.query_incidents import reach_of
from pipeline.duckdb_store import DuckDBStore
from transforms.elements import content_id

CASCADE = content_id("acme", "cascade")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(sample.build_store(tmp_path_factory.mktemp("show") / "aiops.duckdb"))


def show(*arguments: str, columns: int = 80) -> Result:
    return CliRunner().invoke(app, ["show", *arguments], env={"COLUMNS": str(columns), "TERM": "dumb"})


def show_json(*arguments: str) -> Any:
    result = show(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


# ---------------------------------------------------------------------------------- incidents


def test_incidents_that_are_not_closed_come_first(store: str) -> None:
    """Of each the newest first, and each once, as it last stood."""
    rows = show_json("incidents", "--store", store)
    assert [row["status"] for row in rows] == ["quiet", "updated", "closed"]
    assert rows[1]["title"].startswith("payments: 31.4 %")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--tenant", "acme"], {"updated"}),
        (["--service", "reports"], {"updated"}),
        (["--service", "search"], {"closed"}),
        (["--severity", "medium"], {"updated", "closed"}),
        (["--status", "closed"], {"closed"}),
        (["--active"], {"updated", "quiet"}),
        (["--since", "10m"], {"closed"}),
        (["--since", "2026-01-01T10:32:00Z"], {"updated", "closed"}),
        (["--tenant", "' OR 1=1 --"], set()),
    ],
)
def test_filters_of_incidents_narrow(store: str, filters: list[str], expected: set[str]) -> None:
    """A service finds what affects it, severity means at least, since is the time of the last change."""
    assert {row["status"] for row in show_json("incidents", "--store", store, *filters)} == expected


def test_the_list_names_what_the_story_asks_for(store: str) -> None:
    """The beginning of an id, its severity and what happened, at 80 columns and at 140."""
    for columns in (80, 140):
        out = show("incidents", "--store", store, "--tenant", "acme", columns=columns).output
        assert CASCADE[:8] in out
        assert max(map(len, out.splitlines())) <= columns
    assert "No closed incidents with --tenant acme" in " ".join(
        show("incidents", "--store", store, "--status", "closed", "--tenant", "acme").output.split()
    )


# ---------------------------------------------------------------------------------- one incident


def test_the_story_tells_cause_effects_and_what_to_do(store: str) -> None:
    """Why with reasons, who feels it as a tree, why each anomaly joined, roll-outs, traces, next steps."""
    result = show("incident", CASCADE[:6], "--store", store)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert max(len(line) for line in result.output.split("Look further")[0].splitlines()) <= 80
    for part in (
        "critical payments: 31.4 %",
        "tenant acme · updated 2026-01-01 10:36 UTC · since 2026-01-01 10:24 UTC, for 12 min",
        "1. payments score 0.81 (pod payments-7d9f-x, revision payments:v2.4.0, signal error_rate)",
        "- payments:v2.4.0 was rolled out 1 min before it began",
        "2. checkout score 0.15",
        "then frontend 0.04",
        "payments the cause └── checkout 10:25 half of its lines └── frontend 10:31 it is slow",
        "No chain of calls that is known leads to: reports errors of reports name payments",
        "10:25 critical payments 31.4 % of payments's lines",
        "it opened the incident",
        "236 more are counted, not listed",
        "10:23 payments payments:v2.4.0 1 min before it began",
        "1,003 more are counted, not listed: aiops show deploys has them.",
        "10:25:00 payments → checkout → frontend 4bf92f3577b34da6",
        "• Check the roll-outs of the last hour.",
        "aiops show anomalies --store",
        "--tenant acme --service payments --since 2026-01-01T09:54:00Z",
    ):
        assert part in said, part


def test_json_of_an_incident_adds_actions_and_commands(store: str) -> None:
    """To the row as the table has it."""
    row = show_json("incident", CASCADE, "--store", store)
    assert row["incident_id"] == CASCADE
    assert row["recommended_actions"][0] == "Check the roll-outs of the last hour."
    assert all(command.startswith("aiops ") for command in row["commands"])
    assert [cause["service"] for cause in row["root_causes"]] == ["payments", "checkout", "frontend"]


def test_a_prefix_must_fit_one_incident(store: str) -> None:
    """None and several are errors that say what to do; --tenant may tell them apart."""
    none = show("incident", "zz", "--store", store)
    assert none.exit_code == 1
    assert "see `aiops show incidents`" in none.stderr
    several = show("incident", "", "--store", store)
    assert several.exit_code == 1
    assert CASCADE in several.stderr
    assert show("incident", "", "--store", store, "--tenant", "acme").exit_code == 0


def test_long_stories_are_cut_unless_asked_for(tmp_path: Path) -> None:
    """Thirty anomalies, then how many more there are; --all shows them."""
    path = str(tmp_path / "x.duckdb")
    members = [sample.member("acme", "shop", minute, f"because {minute}") for minute in range(45)]
    with DuckDBStore(path) as opened:
        opened.append("incidents", [sample.incident("acme", "x", 0, anomalies=members, anomaly_count=45)])
    short = show("incident", content_id("acme", "x"), "--store", path).output
    assert "15 more with --all" in short
    assert "because 44" not in short
    assert "because 44" in show("incident", content_id("acme", "x"), "--store", path, "--all").output


def test_an_incident_whose_anomalies_were_withdrawn_is_told(tmp_path: Path) -> None:
    """No cause, no service, no anomaly: still a story."""
    path = str(tmp_path / "x.duckdb")
    empty = sample.incident(
        "acme", "x", 0, status="closed", anomalies=[], anomaly_count=0, affected_services=[], root_causes=[]
    )
    with DuckDBStore(path) as opened:
        opened.append("incidents", [empty])
    assert "withdrawn" in show("incident", content_id("acme", "x"), "--store", path).output
    assert show_json("incident", content_id("acme", "x"), "--store", path)["recommended_actions"] == []


def test_hostile_text_neither_steers_the_terminal_nor_a_shell(store: str) -> None:
    """No escapes, no overrides, no markup; names are quoted in commands that people paste."""
    key = content_id("globex", "hostile")
    outs = [
        show("incidents", "--store", store).output,
        show("incident", key, "--store", store).output,
        show("topology", "--store", store).output,
        show("topology", "--store", store, "--service", "orders").output,
    ]
    for out in outs:
        assert not [c for c in out if c != "\n" and unicodedata.category(c) in {"Cc", "Cf"}]
    assert "[bold red]markup[/bold red]" in " ".join(outs[1].split())
    commands = show_json("incident", key, "--store", store)["commands"]
    assert all(re.search(r"--service '<script>", line) for line in commands[:3])


# ---------------------------------------------------------------------------------- topology


def test_topology_shows_each_edge_once_as_its_newest_source_tells(store: str) -> None:
    """A day unused is forgotten, but not what is configured; traces know no errors."""
    rows = show_json("topology", "--store", store, "--tenant", "acme")
    edges = {(row["caller"], row["callee"]): row for row in rows}
    assert len(rows) == len(edges) == 5
    assert ("frontend", "retired") not in edges
    assert edges["checkout", "payments"]["error_share"] == 0.25
    assert edges["payments", "ledger"]["error_share"] is None
    assert edges["nightly", "ledger"]["is_used"] is True
    every = show_json("topology", "--store", store, "--tenant", "acme", "--all")
    assert {("frontend", "retired"): False}.items() <= {
        (row["caller"], row["callee"]): row["is_used"] for row in every
    }.items()


def test_topology_of_a_service_goes_up_and_down(store: str) -> None:
    """Callers and their callers, callees and theirs, each with the number of steps."""
    rows = show_json("topology", "--store", store, "--service", "payments")
    found = {(row["direction"], row["caller"], row["callee"]): row["steps"] for row in rows}
    assert found["upstream", "checkout", "payments"] == 1
    assert found["upstream", "frontend", "checkout"] == 2
    assert found["downstream", "payments", "ledger"] == 1
    assert found["downstream", "ledger", "checkout"] == 2
    out = show("topology", "--store", store, "--service", "payments").output
    assert "Upstream" in out
    assert re.search(r"checkout → payments\s+mesh\s+20\s+25\.0\s+12\s+48\.5", out)
    assert max(map(len, out.splitlines())) <= 80


def test_topology_says_what_is_missing(store: str, tmp_path: Path) -> None:
    """An empty store, a filter that leaves nothing, and a limit."""
    with DuckDBStore(str(tmp_path / "empty.duckdb")):
        pass
    assert "aiops run" in show("topology", "--store", str(tmp_path / "empty.duckdb")).output
    assert "Leave out a filter" in " ".join(
        show("topology", "--store", store, "--service", "nobody").output.split()
    )
    assert "2 of 6 dependencies" in show("topology", "--store", store, "--limit", "2").output


names = st.sampled_from("abcde")
graphs = st.lists(st.tuples(names, names).filter(lambda edge: edge[0] != edge[1]), unique=True)


@given(graphs, names)
def test_reach_follows_shortest_paths_in_any_graph(calls: list[tuple[str, str]], service: str) -> None:
    """Circles end, no edge comes twice in a direction, and steps are the length of the shortest path."""
    edges = [{"tenant_id": "t", "caller": caller, "callee": callee} for caller, callee in calls]
    found = reach_of(edges, service)
    keys = [(row["direction"], row["caller"], row["callee"]) for row in found]
    assert len(keys) == len(set(keys))
    distance, frontier = {service: 0}, [service]
    for name in frontier:
        for caller, callee in calls:
            if caller == name and callee not in distance:
                distance[callee] = distance[name] + 1
                frontier.append(callee)
    down = {(row["caller"], row["callee"]): row["steps"] for row in found if row["direction"] == "downstream"}
    assert down == {edge: distance[edge[0]] + 1 for edge in calls if edge[0] in distance}
