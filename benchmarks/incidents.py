"""Whether incidents name the cause: simulated faults through the whole job.

    python benchmarks/incidents.py [--seeds N] [--first-seed S] [--types TYPE+TYPE] [--jobs J] [--json]

For each seed: an hour of three tenants with two faults each, of random place, time and strength;
by default cascading failures, which everybody above feels. A fault is told by the first incident of its
tenant that opens while it lasts, or up to five minutes after, with one of its services in it. Of that
incident's last revision the rank of the true cause counts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from transforms.elements import MICROSECONDS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aiops.simulate.config import SimulationConfig
from aiops.simulate.faults import PROJECT, Fault
from aiops.simulate.generator import truth
from aiops.simulate.matching import GRACE_SECONDS, is_visible
from benchmarks.simulated import write_logs
from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run

MINUTES: Final = 60
TENANTS: Final = 3
FAULTS: Final = 2  # of each tenant

_INCIDENTS: Final = """
SELECT incident_id, tenant_id, epoch_us(started_at) AS started_us, epoch_us(opened_at) AS opened_us,
       affected_services, list_transform(root_causes, lambda cause: cause.service) AS causes
FROM current_incidents ORDER BY opened_at, incident_id
"""


class Told(NamedTuple):
    """What incidents say of one fault. `rank` is that of the true cause, from 1; None where it is missing."""

    fault: Fault
    incidents: int  # that open while it lasts
    rank: int | None
    delay_seconds: float | None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds (default 20)")
    parser.add_argument("--first-seed", type=int, default=1, help="the first of them (default 1)")
    parser.add_argument("--types", default="cascading_failure", help="fault types, joined with +")
    parser.add_argument("--jobs", type=int, default=2, help="seeds at once (default 2)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    with ProcessPoolExecutor(arguments.jobs) as pool:
        runs = list(pool.map(measure, seeds, [arguments.types] * len(seeds)))
    result = summarize([told for run_told, _ in runs for told in run_told], sum(count for _, count in runs))
    print(json.dumps(result) if arguments.json else as_text(result))


def measure(seed: int, types: str) -> tuple[list[Told], int]:
    """The visible faults of one run, and how many incidents there were."""
    config = SimulationConfig(
        seed=seed,
        duration_seconds=MINUTES * 60,
        tenants=TENANTS,
        faults=f"random:{FAULTS * TENANTS}:{types}",
    )
    with TemporaryDirectory() as folder:
        logs, store = Path(folder) / "logs.ndjson", Path(folder) / "store.duckdb"
        lines: dict[str, int] = {}
        write_logs(config, logs, lines)
        run(["--input", str(logs), "--store", str(store)])
        with DuckDBStore(str(store), read_only=True) as opened:
            incidents = opened.query(_INCIDENTS)
    faults = [fault for fault in truth(config) if is_visible(fault, lines[fault.fault_id])]
    told = [tell(fault, incidents) for fault in faults]
    first = sum(one.rank == 1 for one in told)
    print(f"seed {seed}: {first} of {len(told)} causes first, {len(incidents)} incidents", file=sys.stderr)
    return told, len(incidents)


def tell(fault: Fault, incidents: Iterable[dict[str, Any]]) -> Told:
    """What the incidents (rows of `current_incidents`, by opening) say of `fault`."""
    services = {fault.root_cause, *fault.affected_services, *fault.touched_services}
    mine = [
        incident
        for incident in incidents
        if incident["tenant_id"] == fault.tenant_id
        and fault.start_us <= incident["opened_us"] <= fault.end_us + GRACE_SECONDS * MICROSECONDS
        and not services.isdisjoint(incident["affected_services"])
    ]
    if not mine:
        return Told(fault, 0, None, None)
    causes = list(dict.fromkeys(mine[0]["causes"]))
    names = {name for name in causes if fault.root_cause in {PROJECT, name}}
    rank = min((causes.index(name) + 1 for name in names), default=None)
    return Told(fault, len(mine), rank, (mine[0]["opened_us"] - fault.start_us) / MICROSECONDS)


def summarize(told: Sequence[Told], incidents: int) -> dict[str, Any]:
    """Shares of faults, all and by type."""

    def figures(some: Sequence[Told]) -> dict[str, float]:
        ranks = [one.rank or 99 for one in some]
        shares = {f"first_{k}": sum(rank <= k for rank in ranks) / len(some) for k in (1, 3)}
        return {"faults": len(some), "told": sum(one.incidents > 0 for one in some) / len(some), **shares}

    types = sorted({one.fault.type for one in told})
    return {
        "all": figures(told),
        "by_type": {name: figures([one for one in told if one.fault.type == name]) for name in types},
        "incidents": incidents,
        "missed": [
            f"{one.fault.fault_id}: {'rank ' + str(one.rank) if one.incidents else 'no incident'}"
            for one in told
            if one.rank != 1
        ],
    }


def as_text(result: dict[str, Any]) -> str:
    lines = [
        "| faults | number | told by an incident | cause first | among first 3 |",
        "| --- |" + " --- |" * 4,
    ]
    for name, figures in [("all", result["all"]), *result["by_type"].items()]:
        shares = " | ".join(f"{figures[key]:.3f}" for key in ("told", "first_1", "first_3"))
        lines.append(f"| {name} | {figures['faults']} | {shares} |")
    lines += [
        "",
        f"incidents: {result['incidents']}",
        "not first:",
        *(f"  {one}" for one in result["missed"]),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
