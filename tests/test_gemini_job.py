"""The whole job with Gemini on, against a server over real HTTP: what comes out, and what does not change."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fake_gemini import Behavior, fail, raw, reset, response, say, serving
from gemini_samples import answer, finding, truthful
from test_job import EMAIL, RECEIVED_AT, shop_lines, write_lines

from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run

pytestmark = pytest.mark.slow


def run_with(
    tmp_path: Path, behavior: Behavior | None, *more: str, name: str = "s"
) -> tuple[Path, list[str]]:
    """The store after a run, and the prompts that were sent."""
    lines = write_lines(tmp_path / "shop.ndjson", shop_lines())
    store = tmp_path / f"{name}.duckdb"
    arguments = ["--input", str(lines), "--store", str(store), "--received_at", RECEIVED_AT]
    if behavior is None:
        run(arguments)
        return store, []
    with serving(behavior) as server:
        run([*arguments, "--enable_gemini_analysis", "--gemini_base_url", server.url,
             "--gemini_timeout_seconds", "1"])  # fmt: skip
        return store, server.prompts()


def rows(store: Path, sql: str) -> list[dict[str, Any]]:
    with DuckDBStore(str(store), read_only=True) as opened:
        return opened.query(sql)


def lines_of(store: Path, table: str, where: str = "true") -> list[str]:
    found = rows(store, f"SELECT * EXCLUDE (written_at) FROM current_{table} WHERE {where}")
    return sorted(json.dumps(row, default=str) for row in found)


def about_windows(prompts: list[str]) -> list[dict[str, Any]]:
    return [body for body in map(json.loads, prompts) if "windows" in body]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_with(tmp_path_factory.mktemp("plain"), None)[0]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run with a model that speaks the truth, and what it was sent."""
    return run_with(tmp_path_factory.mktemp("told"), say(truthful))


def test_anomalies_of_gemini_stand_beside_those_of_rules(told: tuple[Path, list[str]], plain: Path) -> None:
    """Every window has one outcome, every claim holds, and rules find what they find without Gemini."""
    store, prompts = told
    found = rows(store, "SELECT * FROM current_anomalies WHERE detector = 'gemini'")
    assert found
    assert {row["anomaly_severity"] for row in found} <= {"low", "medium"}
    windows = rows(store, "SELECT tenant_id, service, window_start FROM current_service_windows")
    outcomes = rows(store, "SELECT * FROM current_gemini_calls WHERE subject = 'window'")
    assert Counter((r["tenant_id"], r["service"], r["window_start"]) for r in outcomes) == Counter(
        (r["tenant_id"], r["service"], r["window_start"]) for r in windows
    )
    assert {row["outcome"] for row in outcomes} == {"answered", "cached", "skipped"}
    assert lines_of(store, "anomalies", "detector <> 'gemini'") == lines_of(plain, "anomalies")
    trust = rows(store, "SELECT sum(claims) AS n, min(verified_claim_share) AS share FROM gemini_cost")[0]
    assert trust["n"] > 0
    assert trust["share"] == 1
    spent = rows(store, "SELECT sum(requests) AS requests, sum(cost_usd) AS usd FROM gemini_cost")[0]
    assert spent["requests"] == len(prompts)
    assert spent["usd"] == pytest.approx(len(prompts) * (900 * 0.75 + 150 * 3.75) / 1e6)


def test_prompts_hold_neither_raw_values_nor_another_tenants_service(told: tuple[Path, list[str]]) -> None:
    """What is sent was redacted, is of one service, and of no tenant by name."""
    store, prompts = told
    text = "\n".join(prompts)
    raw_text = b"\n".join(shop_lines()).decode()
    addresses = set(re.findall(r"\b(?:\d{1,3}\.){3}\d{1,3}\b", raw_text)) | set(EMAIL.findall(raw_text))
    assert len(addresses) > 20
    assert not [address for address in addresses if address in text]
    bodies = about_windows(prompts)
    asked = Counter(body["service"] for body in bodies)
    assert sum(asked.values()) == len(bodies)
    requests = rows(store, "SELECT tenant_id, service FROM current_gemini_calls WHERE subject = 'batch'")
    assert Counter(row["service"] for row in requests) == asked


def test_every_pattern_of_errors_of_a_window_that_is_asked_about_is_in_the_prompt(
    told: tuple[Path, list[str]],
) -> None:
    """Nothing that failed is sampled away."""
    store, prompts = told
    shown = {(body["service"], p["text"]) for body in about_windows(prompts) for p in body["patterns"]}
    patterns = rows(
        store,
        "SELECT DISTINCT service, pattern FROM current_log_patterns WHERE errors > 0 OR severity IN "
        "('ERROR', 'CRITICAL', 'ALERT', 'EMERGENCY')",
    )
    assert patterns
    missing = [row for row in patterns if (row["service"], " ".join(row["pattern"].split())) not in shown]
    assert [row for row in missing if len(row["pattern"]) <= 240] == []


FAILURES = [
    pytest.param(say("{"), "bad_json", id="bad-json"),
    pytest.param(say('{"findings": [{}]}'), "wrong_schema", id="wrong-schema"),
    pytest.param(say("", "MAX_TOKENS"), "truncated", id="truncated"),
    pytest.param(raw(response(None, "SAFETY")), "blocked", id="safety"),
    pytest.param(fail(400), "bad_request", id="400"),
    pytest.param(fail(403), "permission_denied", id="403"),
    pytest.param(fail(429, Retry_After="60"), "rate_limited", id="429"),
    pytest.param(fail(500), "server_error", id="500"),
    pytest.param(reset, "connection", id="reset"),
]


@pytest.mark.parametrize(("behavior", "reason"), FAILURES)
def test_with_gemini_broken_the_rest_is_as_without_it(
    behavior: Behavior, reason: str, tmp_path: Path, plain: Path
) -> None:
    """Alerts, anomalies and incidents stay; each window says why it was not analyzed."""
    store, _ = run_with(tmp_path, behavior)
    for table in ("anomalies", "incidents", "alert_events", "service_windows"):
        assert lines_of(store, table) == lines_of(plain, table), table
    told = rows(store, "SELECT outcome, reason FROM current_gemini_calls WHERE subject = 'window'")
    failed = Counter(row["reason"] for row in told if row["outcome"] == "failed")
    assert failed[reason] > 0
    assert set(failed) <= {reason, "breaker_open"}
    assert len(told) == len(rows(store, "SELECT 1 FROM current_service_windows"))


def test_wrong_numbers_end_as_hypotheses_and_never_as_alerts(tmp_path: Path, plain: Path) -> None:
    """They can be read, with what the recount says; alerts are those without Gemini."""

    def lie(text: str) -> str:
        body = json.loads(text)
        claim = {"metric": "lines", "window": "w1", "value": 123456789}
        return answer(finding(service=body.get("service", ""), claims=[claim]))

    store, _ = run_with(tmp_path, say(lie))
    found = rows(store, "SELECT * FROM current_hypotheses")
    assert found
    assert {row["reason"] for row in found} == {"wrong_number"}
    assert {check["holds"] for row in found for check in row["checks"]} == {False}
    assert lines_of(store, "alert_events") == lines_of(plain, "alert_events")
    assert rows(store, "SELECT max(verified_claim_share) AS share FROM gemini_cost")[0]["share"] == 0


def test_the_same_files_and_answers_give_the_same_rows_in_any_order(
    told: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """Event time is the clock of files: nothing depends on the order of lines but the time it took."""
    first, _ = told
    lines = write_lines(tmp_path / "turned.ndjson", shop_lines()[::-1])
    second = tmp_path / "b.duckdb"
    with serving(say(truthful)) as server:
        run(["--input", str(lines), "--store", str(second), "--received_at", RECEIVED_AT,
             "--enable_gemini_analysis", "--gemini_base_url", server.url])  # fmt: skip
    for table in ("hypotheses", "anomalies"):
        assert lines_of(first, table) == lines_of(second, table), table
    sql = "SELECT * EXCLUDE (written_at, latency_ms) FROM current_gemini_calls ORDER BY call_id"
    assert rows(first, sql) == rows(second, sql)


def test_incidents_of_high_severity_are_told_with_and_without_gemini(
    told: tuple[Path, list[str]], plain: Path
) -> None:
    """The same headings; with Gemini its words are a later row of the same revision."""
    sql = "SELECT incident_id, revision, severity, narrative, narrated_by FROM current_incidents"
    without = rows(plain, sql)
    assert {row["narrated_by"] for row in without if row["severity"] in {"high", "critical"}} == {"template"}
    assert all(row["narrative"].startswith("What: ") for row in without if row["narrated_by"])
    store, _ = told
    narrated = [row for row in rows(store, sql) if row["severity"] in {"high", "critical"}]
    assert {row["narrated_by"] for row in narrated} == {"gemini"}
    assert {"Things fail." in row["narrative"] for row in narrated} == {True}
    assert {(row["incident_id"], row["revision"]) for row in narrated} == {
        (row["incident_id"], row["revision"]) for row in without if row["narrated_by"]
    }
