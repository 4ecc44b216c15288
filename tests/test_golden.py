"""Golden cases: each folder of tests/golden has an input and what the tables must hold after it.

UPDATE_GOLDEN=1 writes what they hold now; read the difference before committing it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
QUERIES = {
    "anomalies": "SELECT * EXCLUDE (written_at, rules_version) FROM current_anomalies ORDER BY anomaly_id",
    "windows": "SELECT tenant_id, service, window_start, lines, errors, requests, denials, retimed, "
    "latency_p95_ms, health_score, severities, endpoints, ledger FROM current_service_windows "
    "ORDER BY tenant_id, service, window_start",
    "patterns": "SELECT tenant_id, service, pattern, severity, sum(count)::BIGINT AS count, "
    "min(example) AS example "
    "FROM current_log_patterns GROUP BY ALL ORDER BY ALL",
    "metrics": "SELECT * EXCLUDE (written_at, min, max, window_end) FROM current_metric_windows "
    "QUALIFY window_start >= max(window_start) OVER () - INTERVAL 1 HOUR "
    "ORDER BY tenant_id, service, metric_type, statistic, series_id, window_start",
    "dead_letters": "SELECT tenant_id, reason, detail, payload, payload_bytes, count "
    "FROM current_dead_letters ORDER BY ALL",
    "ledger": "SELECT * FROM ledger_balance ORDER BY ALL",
}


@pytest.mark.parametrize("case", CASES)
def test_the_tables_hold_what_the_golden_case_says(case: str, tmp_path: Path) -> None:
    """The job over the case's input ends in the very rows that were reviewed."""
    folder = GOLDEN / case
    store = str(tmp_path / "golden.duckdb")
    files = {"--input": folder / "input.ndjson", "--metrics": folder / "metrics.ndjson"}
    given = [text for option, path in files.items() if path.is_file() for text in (option, str(path))]
    run([*given, "--store", store, "--received_at", "2026-03-02T10:05:00Z"])
    with DuckDBStore(store, read_only=True) as opened:
        found = {name: rows_of(opened, sql) for name, sql in QUERIES.items()}
    expected = folder / "expected.json"
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert found == json.loads(expected.read_text(encoding="utf-8"))


def rows_of(store: DuckDBStore, sql: str) -> list[dict[str, Any]]:
    rows = store.query(sql)
    plain: list[dict[str, Any]] = json.loads(json.dumps(rows, default=str))
    return plain
