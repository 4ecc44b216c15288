"""A simulated cascade through the whole job: one incident that names its cause, in any order of the input."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from aiops.simulate.config import SimulationConfig
from aiops.simulate.faults import Fault
from aiops.simulate.generator import simulate, truth
from benchmarks.incidents import tell
from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run

pytestmark = pytest.mark.slow

CASCADE = SimulationConfig(
    seed=4, duration_seconds=1500, tenants=2, rate=150.0, faults="cascading_failure@payment+15m/5m"
)
QUERIES = {
    "incidents": "SELECT * EXCLUDE (written_at) FROM incidents ORDER BY incident_id, revision",
    "dependencies": "SELECT * EXCLUDE (written_at) FROM dependencies "
    "ORDER BY tenant_id, caller, callee, revision",
    "current": "SELECT * EXCLUDE (written_at), epoch_us(opened_at) AS opened_us, "
    "list_transform(root_causes, lambda cause: cause.service) AS causes FROM current_incidents "
    "ORDER BY opened_at, incident_id",
}
Tables = dict[str, list[dict[str, Any]]]


def tables_after(store: Path, inputs: list[Path]) -> Tables:
    run(["--input", *map(str, inputs), "--store", str(store), "--received_at", "2026-01-12T15:00:00Z"])
    with DuckDBStore(str(store), read_only=True) as opened:
        return {name: opened.query(sql) for name, sql in QUERIES.items()}


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    return list(simulate(CASCADE))


@pytest.fixture(scope="module")
def tables(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("cascade")
    (folder / "logs.ndjson").write_bytes(b"\n".join(lines))
    return tables_after(folder / "store.duckdb", [folder / "logs.ndjson"])


def the_fault() -> Fault:
    (fault,) = truth(CASCADE)
    return fault


def test_the_incident_of_a_cascade_names_the_service_that_broke(tables: Tables) -> None:
    """One incident opens while it lasts; its first cause is the true one, with reasons and effects."""
    fault = the_fault()
    told = tell(fault, tables["current"])
    assert (told.incidents, told.rank) == (1, 1)
    assert told.delay_seconds is not None
    assert told.delay_seconds <= 180
    (incident,) = [
        one
        for one in tables["current"]
        if one["tenant_id"] == fault.tenant_id and fault.root_cause in one["affected_services"]
    ]
    assert incident["affected_services"][0] == fault.root_cause
    assert {*fault.affected_services} & {*incident["affected_services"][1:]}
    assert incident["root_causes"][0]["reasons"]
    assert fault.root_cause in {effect["cause"] for effect in incident["effects"]}
    assert all(anomaly["joined_because"] for anomaly in incident["anomalies"])


def test_tenants_without_a_fault_have_no_severe_incident(tables: Tables) -> None:
    """Nor does anything of the other tenant's stand in theirs."""
    fault = the_fault()
    others = [one for one in tables["current"] if one["tenant_id"] != fault.tenant_id]
    assert not [one["title"] for one in others if one["severity"] in {"high", "critical"}]
    assert {row["tenant_id"] for row in tables["dependencies"]} == {"acme-shop", "globex-retail"}


def test_the_dependencies_are_those_of_the_shop(tables: Tables) -> None:
    """Callers are named by traces or access logs, none calls itself, and all ends are services."""
    edges = {(row["caller"], row["callee"]) for row in tables["dependencies"]}
    assert {("checkout", "payment"), ("frontend", "checkout")} <= edges
    assert all(caller != callee for caller, callee in edges)


def test_shuffled_and_split_input_gives_the_same_incidents(
    tables: Tables, lines: list[bytes], tmp_path: Path
) -> None:
    """To the last byte: revisions, reasons, scores and times."""
    shuffled = list(lines)
    random.Random(5).shuffle(shuffled)
    parts = [tmp_path / f"part{number}.ndjson" for number in range(3)]
    for number, part in enumerate(parts):
        part.write_bytes(b"\n".join(shuffled[number::3]))
    again = tables_after(tmp_path / "store.duckdb", parts)
    assert json.dumps(again, default=str) == json.dumps(tables, default=str)
    assert len(tables["incidents"]) > 1
