"""Precision of rules, detectors and services by what people said of alerts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_alerts import START_US, alert_event
from typer.testing import CliRunner

from aiops.cli import app
from aiops.quality import Quality, judge_alerts, wilson_interval
from pipeline.duckdb_store import DuckDBStore
from transforms.alert.view import AlertView, fold_events
from transforms.alert_elements import AlertEvent, Matcher


def alert(service: str, said: str = "", **changes: Any) -> list[AlertEvent]:
    """An alert that was opened, and what somebody said of it."""
    opened = alert_event(0, service=service, **changes)
    last: dict[str, dict[str, Any]] = {
        "useful": {"event_type": "commented", "verdict": "useful", "command_id": "c"},
        "false_positive": {
            "event_type": "false_positive", "status": "false_positive", "verdict": "false_positive",
        },
        "note": {"event_type": "resolved", "status": "resolved", "command_id": "c", "note": "a deploy"},
        "resolved": {"event_type": "resolved", "status": "resolved", "command_id": "c"},
        "quiet": {"event_type": "resolved", "status": "resolved", "note": "Quiet for 15 minutes"},
    }  # fmt: skip
    return [opened, *([alert_event(1, service=service, **(changes | last[said]))] if said else [])]


def views(*lives: list[AlertEvent]) -> list[AlertView]:
    return list(fold_events(event for life in lives for event in life).values())


def by_name(found: list[Quality]) -> dict[tuple[str, str], Quality]:
    return {(one.group, one.name): one for one in found}


def counts(one: Quality) -> tuple[int, int, int, int, int]:
    return one.alerts, one.useful, one.false_positives, one.undecided, one.unjudged


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", (1, 0, 0, 0, 1)),
        ("useful", (1, 1, 0, 0, 0)),
        ("false_positive", (1, 0, 1, 0, 0)),
        ("note", (1, 0, 0, 1, 0)),
        ("resolved", (1, 0, 0, 0, 1)),
        ("quiet", (1, 0, 0, 0, 1)),
    ],
)
def test_what_people_said_is_counted(said: str, expected: tuple[int, ...]) -> None:
    """A verdict decides, a person's note on resolving is undecided, quiet says nothing."""
    assert counts(judge_alerts(views(alert("payment", said)))[0]) == expected


def test_an_alert_counts_for_each_rule_and_detector_that_found_it() -> None:
    """Rules and detectors are told apart; services of two tenants are two; silences are no alerts."""
    lives = [
        alert("payment", "useful", detectors=["rule:errors", "level"]),
        alert("cart", "false_positive", detectors=["rule:errors"]),
        alert("cart", "useful", tenant_id="globex", detectors=["level", "level"]),
        [alert_event(alert_id="5" * 32, matchers=[Matcher("service", "=", "x")])],
    ]
    found = by_name(judge_alerts(views(*lives)))
    assert counts(found["all", ""]) == (3, 2, 1, 0, 0)
    assert counts(found["rule", "errors"]) == (2, 1, 1, 0, 0)
    assert counts(found["detector", "level"]) == (2, 2, 0, 0, 0)
    assert found["rule", "errors"].precision == 0.5
    assert set(found) >= {("service", "acme payment"), ("service", "acme cart"), ("service", "globex cart")}
    assert found["service", "acme cart"].precision == 0.0


def test_without_a_verdict_there_is_no_precision() -> None:
    """Alerts of which nobody said anything are not taken for right ones."""
    one = judge_alerts(views(alert("payment", "note")))[0]
    assert (one.precision, one.low, one.high) == (None, None, None)
    assert judge_alerts([]) == []


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        *((0, 0, 0.0, 1.0), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)),
        *((5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)),
    ],
)
def test_wilson_intervals(successes: int, trials: int, low: float, high: float) -> None:
    """Figures of Newcombe (1998) and of the formula by hand."""
    found = wilson_interval(successes, trials)
    assert found == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_wilson_intervals_hold_the_share_and_narrow(useful: int, false: int) -> None:
    """The interval holds the share, is within 0 to 1, mirrors, and narrows with ten times the trials."""
    trials = useful + false
    low, high = wilson_interval(useful, trials)
    assert 0 <= low <= high <= 1
    mirrored = wilson_interval(false, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low))
    if trials:
        assert low <= useful / trials + 1e-12
        assert high >= useful / trials - 1e-12
        narrow = wilson_interval(10 * useful, 10 * trials)
        assert narrow.high - narrow.low < high - low


def test_the_command_shows_verdicts_of_a_store(tmp_path: Path) -> None:
    """Rules with a verdict come with counts and interval; --all has the others; JSON has numbers."""
    path = str(tmp_path / "s.duckdb")
    events = [
        *alert("payment", "useful", detectors=["rule:errors"]),
        *alert("cart", "", detectors=["rule:unsaid"], opened_at=START_US),
    ]
    with DuckDBStore(path) as store:
        store.append("alert_events", events)
    run = CliRunner().invoke
    shown = run(app, ["quality", "--store", path]).output
    assert "errors" in shown
    assert "100%" in shown
    assert "21%–100%" in shown
    assert "unsaid" not in shown
    assert "unsaid" in run(app, ["quality", "--store", path, "--all"]).output
    found = json.loads(run(app, ["quality", "--store", path, "--json"]).output)
    assert {(one["group"], one["name"], one["precision"]) for one in found} >= {
        ("rule", "errors", 1.0),
        ("rule", "unsaid", None),
    }
    nothing = run(app, ["quality", "--store", path, "--service", "cart"]).output
    assert "Nobody has said yet whether any of 1 alerts was right" in " ".join(nothing.split())
    assert (
        "No alerts with --service other"
        in run(app, ["quality", "--store", path, "--service", "other"]).output
    )
