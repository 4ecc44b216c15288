"""Simulated runs through the whole job: what benchmarks of detection have in common."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from aiops.query import anomalies_to_match
from aiops.simulate.config import SimulationConfig
from aiops.simulate.faults import read_truth, write_truth
from aiops.simulate.generator import deliveries, truth
from aiops.simulate.matching import FaultResult, MatchReport, is_visible, match_faults
from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run

TRUTH: Final = "truth.ndjson"
FAULT_LINES: Final = "fault_lines.json"
CONFIG: Final = "config.json"
STORE: Final = "store.duckdb"

SEVERE: Final = ("high", "critical")


@dataclass(frozen=True)
class Measured:
    """One simulated run: what was injected, and what the job made of it. Seconds are wall clock."""

    config: SimulationConfig
    report: MatchReport
    anomalies: list[dict[str, Any]]
    balanced: bool
    entries: int
    fault_lines: dict[str, int] = field(default_factory=dict)  # see `deliveries`
    simulated_seconds: float = 0.0
    job_seconds: float = 0.0

    def is_visible(self, result: FaultResult) -> bool:
        return is_visible(result.fault, self.fault_lines[result.fault.fault_id])


def measure(config: SimulationConfig, keep: Path | None = None) -> Measured:
    """Simulate, run the job, and hold what it found against the truth.

    In the folder `keep` the store and the truth stay; the logs do not, for the config makes them again.
    """
    with _folder(keep) as folder:
        logs, store = folder / "logs.ndjson", folder / STORE
        store.unlink(missing_ok=True)
        started = time.monotonic()
        fault_lines: dict[str, int] = {}
        entries = write_logs(config, logs, fault_lines)
        write_facts(folder, config, fault_lines)
        simulated = time.monotonic()
        try:
            run(["--input", str(logs), "--store", str(store)])
        finally:
            logs.unlink()
        ended = time.monotonic()
        anomalies, balanced = read_store(store)
    report = match_faults(truth(config), anomalies)
    return Measured(
        config, report, anomalies, balanced, entries, fault_lines, simulated - started, ended - simulated
    )


def write_logs(config: SimulationConfig, path: Path, fault_lines: dict[str, int]) -> int:
    """Write the entries of a run, and count the lines of its faults. Returns how many entries there are."""
    count = 0
    with path.open("wb") as file:
        for _, _, line in deliveries(config, fault_lines):
            file.write(line + b"\n")
            count += 1
    return count


def write_facts(folder: Path, config: SimulationConfig, fault_lines: dict[str, int]) -> None:
    """What is true of a run, beside what was made of it."""
    (folder / TRUTH).write_bytes(write_truth(truth(config)))
    (folder / FAULT_LINES).write_text(json.dumps(fault_lines, indent=1))
    (folder / CONFIG).write_text(json.dumps(asdict(config), indent=1))


def read_measured(folder: Path) -> Measured:
    """A run that was kept in `folder`, matched again; it took no time and has no entries."""
    anomalies, balanced = read_store(folder / STORE)
    return hold_against_truth(folder, anomalies, balanced=balanced)


def hold_against_truth(folder: Path, anomalies: list[dict[str, Any]], *, balanced: bool = True) -> Measured:
    """Anomalies of any detector against the truth in `folder`, as `match_faults` wants them."""
    config = SimulationConfig(**json.loads((folder / CONFIG).read_text()))
    with (folder / TRUTH).open("rb") as lines:
        report = match_faults(read_truth(lines), anomalies)
    fault_lines = json.loads((folder / FAULT_LINES).read_text())
    return Measured(config, report, anomalies, balanced, 0, fault_lines)


def find_runs(folders: list[Path]) -> list[Path]:
    """Folders of kept runs: those given, or those inside them, sorted by seed."""
    found = [
        path.parent for folder in folders for path in (*folder.glob(CONFIG), *folder.glob(f"*/{CONFIG}"))
    ]
    return sorted(set(found), key=lambda path: (len(path.name), path))


def read_store(store: Path) -> tuple[list[dict[str, Any]], bool]:
    """The anomalies that hold, and whether the ledger balances."""
    with DuckDBStore(str(store), read_only=True) as opened:
        return anomalies_to_match(opened), bool(opened.ledger_totals()["balanced"])


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
