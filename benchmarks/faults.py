"""Which injected faults the job finds, and what it finds where nothing is wrong, over many seeds.

    python benchmarks/faults.py [--seeds N] [--quiet-hours H] [--rate R] [--json]

For each seed: the demo's half hour with its faults (three tenants), and then H hours of three
tenants without faults, with the ordinary noise: errors, slow requests, routine deploys. Both run
through the whole job, from file to store.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aiops.simulate.config import SimulationConfig
from aiops.simulate.matching import MatchReport
from benchmarks.simulated import SEVERE, measure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20, help="seeds 1 to N (default 20)")
    parser.add_argument("--quiet-hours", type=float, default=24.0, help="quiet hours per seed (default 24)")
    parser.add_argument(
        "--rate", type=float, default=30.0, help="user requests a minute in quiet (default 30)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    seeds = range(1, arguments.seeds + 1)
    with_faults = [match(SimulationConfig(seed=seed)) for seed in seeds]
    quiet: list[MatchReport] = []
    if arguments.quiet_hours:
        config = SimulationConfig(
            duration_seconds=round(arguments.quiet_hours * 3600), rate=arguments.rate, faults="none"
        )
        quiet = [match(replace(config, seed=seed)) for seed in seeds]
    result = summarize(with_faults, quiet, arguments.quiet_hours)
    print(json.dumps(result) if arguments.json else as_text(result))


def match(config: SimulationConfig) -> MatchReport:
    """Simulate, run the job, and hold what it found against the truth."""
    measured = measure(config)
    if not measured.balanced:
        sys.exit(f"seed {config.seed}: the ledger does not balance")
    report = measured.report
    found, of = report.found("rules")
    kind = f"{found} of {of} faults" if of else "quiet"
    print(f"seed {config.seed}: {kind}, {len(report.false_anomalies)} without a fault", file=sys.stderr)
    return report


def summarize(with_faults: list[MatchReport], quiet: list[MatchReport], quiet_hours: float) -> dict[str, Any]:
    results = [result for report in with_faults for result in report.results]
    seen = [result for result in results if result.fault.detectable_by == "rules"]
    by_type: dict[str, list[int]] = {}
    for result in seen:
        counts = by_type.setdefault(result.fault.type, [0, 0])
        counts[0] += result.found
        counts[1] += 1
    tenant_days = len(quiet) * SimulationConfig().tenants * quiet_hours / 24
    false = [anomaly for report in quiet for anomaly in report.false_anomalies]
    severe = [anomaly for anomaly in false if anomaly["anomaly_severity"] in SEVERE]
    delays = [result.delay_seconds for result in seen if result.delay_seconds is not None]
    return {
        "faults_found": sum(result.found for result in seen),
        "faults": len(seen),
        "by_type": by_type,
        "median_delay_seconds": median(delays) if delays else None,
        "anomalies_without_a_fault_in_the_demo": sum(len(report.false_anomalies) for report in with_faults),
        "quiet_tenant_days": tenant_days,
        "quiet_anomalies": len(false),
        "quiet_anomalies_per_tenant_and_day": len(false) / tenant_days if tenant_days else None,
        "quiet_severe_anomalies": len(severe),
        "quiet_severe_per_tenant_and_week": len(severe) / tenant_days * 7 if tenant_days else None,
        "quiet_detectors": sorted({f"{anomaly['detector']} at {anomaly['service']}" for anomaly in false}),
    }


def as_text(result: dict[str, Any]) -> str:
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in result.items() if name != "by_type"]
    lines += ["", "| fault | found | of |", "| --- | --- | --- |"]
    lines += [f"| {name} | {found} | {of} |" for name, (found, of) in sorted(result["by_type"].items())]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
