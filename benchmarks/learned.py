"""What the job finds in days of simulated logs, with nights, a weekend and random faults, over many seeds.

    python benchmarks/learned.py [--seeds N] [--first-seed S] [--days D] [--rate R] [--services N]
                                 [--faults N] [--nights half|all|none] [--jobs N] [--keep DIR] [--json]
    python benchmarks/learned.py --summaries DIR [the same]

Each seed is one tenant, the simulator's first five in turn (five time zones and weekends), from a Thursday
or a Friday on, so that a weekend is inside. Every second seed has no traffic at night. Logs go through the
whole job, from file to store. A fault counts when it left a trace (`is_visible`); the others are counted
apart. With --keep, DIR/SEED gets the store and the truth: `calibration.py` reads them. With --summaries
no job runs: DIR/SEED gets the merged windows and the truth, see `summaries.py`.

At the default of 60 user requests a minute nearly every fault by day leaves dozens of lines, and a seed is
about 2 million entries: two minutes of one core, 20 seeds on two cores 20 to 25 minutes. A higher rate
would hide what is hard in learned detection, small counts, and take as many times as long.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aiops.simulate.config import SimulationConfig
from aiops.simulate.generator import deliveries, truth
from benchmarks.detection_report import as_text, summarize
from benchmarks.simulated import Measured, measure, write_facts
from benchmarks.summaries import SUMMARIES, summarize_lines, write_summaries

STARTS: Final = ("2026-01-15T00:00:00Z", "2026-01-16T00:00:00Z")
"""A Thursday and a Friday."""

TENANTS: Final = 5
T = TypeVar("T")


def main(arguments: list[str] | None = None) -> None:
    options = _read_options(arguments)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    configs = [scenario(seed, options) for seed in seeds]
    if options.summaries:
        for said in _each(partial(summarize_run, options.summaries), configs, options.jobs):
            print(said, file=sys.stderr)
        return
    measured = []
    for one in _each(partial(measure_run, options.keep), configs, options.jobs):
        measured.append(one)
        print(progress(one), file=sys.stderr)
    result = summarize(sorted(measured, key=lambda one: one.config.seed))
    print(json.dumps(result, indent=1) if options.json else as_text(result))


def _read_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--first-seed", type=int, default=1, help="the first of them (default 1)")
    parser.add_argument("--days", type=float, default=3.0, help="of each seed (default 3)")
    parser.add_argument("--rate", type=float, default=60.0, help="user requests a minute (default 60)")
    parser.add_argument("--services", type=int, default=10, help="of each tenant (default 10)")
    parser.add_argument("--faults", type=int, default=24, help="random faults of each seed (default 24)")
    parser.add_argument(
        "--nights",
        choices=("half", "all", "none"),
        default="half",
        help="which seeds have no traffic at night (default half: those with an even number)",
    )
    parser.add_argument("--jobs", type=int, default=2, help="seeds at the same time (default 2)")
    parser.add_argument("--keep", type=Path, help="keep stores and truth in this folder")
    parser.add_argument("--summaries", type=Path, help="write merged windows to this folder, and run no job")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    for name in ("seeds", "jobs"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    try:
        truth(scenario(options.first_seed, options))
    except ValueError as error:
        parser.error(str(error))
    return options


def scenario(seed: int, options: argparse.Namespace) -> SimulationConfig:
    """The run of a seed. Tenant, day of the week and nights vary with different periods."""
    return SimulationConfig(
        seed=seed,
        start=STARTS[seed // 2 % 2],
        duration_seconds=round(options.days * 86_400),
        tenants=1,
        first_tenant=1 + (seed - 1) % TENANTS,
        services=options.services,
        rate=options.rate,
        faults=f"random:{options.faults}",
        quiet_nights=options.nights == "all" or (options.nights == "half" and seed % 2 == 0),
    )


def _each(work: Callable[[SimulationConfig], T], configs: list[SimulationConfig], jobs: int) -> Iterator[T]:
    """`work` on every config, in processes of their own, as it gets done."""
    if jobs == 1:
        yield from map(work, configs)
        return
    # A fresh interpreter each: Beam has threads, which a fork does not copy, and keeps what it grew to.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
        try:
            for future in as_completed([pool.submit(work, config) for config in configs]):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # the pool would run all that is left first
            raise


def measure_run(keep: Path | None, config: SimulationConfig) -> Measured:
    return measure(config, keep / str(config.seed) if keep else None)


def summarize_run(folder: Path, config: SimulationConfig) -> str:
    """Write the merged windows of a seed. Returns what to say of it."""
    target = folder / str(config.seed)
    target.mkdir(parents=True, exist_ok=True)
    fault_lines: dict[str, int] = {}
    lines = (line for _, _, line in deliveries(config, fault_lines))
    unfinished = target / f"{SUMMARIES}.part"
    count = write_summaries(unfinished, summarize_lines(lines))
    write_facts(target, config, fault_lines)
    unfinished.rename(target / SUMMARIES)
    return f"seed {config.seed}: {count:,} windows in {target / SUMMARIES}"


def progress(one: Measured) -> str:
    visible = [result for result in one.report.results if one.is_visible(result)]
    found = sum(result.found for result in visible)
    return (
        f"seed {one.config.seed}: {found} of {len(visible)} visible faults, "
        f"{len(one.report.false_anomalies)} anomalies without one; {one.entries:,} entries, "
        f"simulated in {one.simulated_seconds:.0f} s, run in {one.job_seconds:.0f} s"
        f"{'' if one.balanced else '; THE LEDGER DOES NOT BALANCE'}"
    )


if __name__ == "__main__":
    main()
