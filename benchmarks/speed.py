"""How fast the job is, on one core, against two rivals in the same run.

    python benchmarks/speed.py [--entries N] [--input FILE] [--rounds N] [--json]

orjson    a bare loop of orjson over the lines: the limit for any Python job
plain     a Beam pipeline that for each line parses with orjson, windows and counts; nothing else
job       the whole job of this project: file to store, with redaction, patterns, rules
exact     the same with --deduplicate=exact

Each run is a process of its own on the first core, in turn; medians are shown. Then, in one
process and without Beam, where the time of a line goes, and what a partial weighs against its lines.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import orjson

WINDOW_SECONDS = 60
BUNDLES = (1, 30, 1000)


def main() -> None:
    arguments = parse_arguments()
    if arguments.run:
        print(json.dumps(run_one(arguments.run, arguments.input)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = (
            plain_file(arguments.input, Path(folder))
            if arguments.input
            else simulated_file(arguments.entries)
        )
        result = measure(path, arguments.rounds, arguments.only)
        if not arguments.only:
            result["stages"] = profile_stages(path)
            result["bundles"] = weigh_bundles(path)
    if arguments.json:
        print(json.dumps(result))
    else:
        print_result(path, result)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--entries", type=int, default=1_000_000, help="simulated entries (default 1,000,000)"
    )
    parser.add_argument("--input", default="", help="file of LogEntries to take instead, .gz too")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--only", default="", help="measure only these, e.g. job or job,exact")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--run", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


# --------------------------------------------------------------------------------------- input


def simulated_file(entries: int) -> Path:
    """Simulated entries of three tenants; kept in the temporary folder for the next call."""
    from aiops.simulate.config import SimulationConfig
    from aiops.simulate.generator import simulate

    path = Path(tempfile.gettempdir()) / f"aiops-speed-{entries}.ndjson"
    if path.exists():
        return path
    config = SimulationConfig(seed=1, duration_seconds=30 * 86_400, rate=1_500.0, faults="none")
    print(f"simulating {entries:,} entries", file=sys.stderr)
    with path.with_suffix(".part").open("wb") as file:
        for line in islice(simulate(config), entries):
            file.write(line + b"\n")
    path.with_suffix(".part").rename(path)
    return path


def plain_file(name: str, folder: Path) -> Path:
    """`name`, decompressed if need be, so that no run is slowed by that."""
    if not name.endswith(".gz"):
        return Path(name)
    path = folder / Path(name).stem
    with gzip.open(name) as packed, path.open("wb") as file:
        while block := packed.read(1 << 24):
            file.write(block)
    return path


def read_lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


# ---------------------------------------------------------------------------------------- runs


def measure(path: Path, rounds: int, only: str) -> dict[str, Any]:
    names = only.split(",") if only else list(RUNS)
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            command = [sys.executable, __file__, "--run", name, "--input", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"the run {name} failed:\n{done.stderr}")
            figures[name].append(json.loads(done.stdout.splitlines()[-1]))
    result: dict[str, Any] = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for name, runs in figures.items()
    }
    if "job" in result:
        rate = result["job"]["entries_per_second"]
        result["entries_per_second"] = round(rate)
        result["peak_rss_mib"] = result["job"]["peak_rss_mib"]
        for rival in ("plain", "orjson"):
            if rival in result:
                ratios = [
                    job["entries_per_second"] / other["entries_per_second"]
                    for job, other in zip(figures["job"], figures[rival], strict=True)
                ]
                result[f"ratio_to_{'plain_beam' if rival == 'plain' else rival}"] = round(
                    statistics.median(ratios), 3
                )
    return result


def run_one(name: str, path: str) -> dict[str, float]:
    """Run `name` over `path` in this process, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    work = RUNS[name](Path(path))
    started = time.perf_counter()
    entries = work()
    seconds = time.perf_counter() - started
    entries = entries or sum(1 for _ in iter_lines(Path(path)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "entries_per_second": entries / seconds,
        "seconds": seconds,
        "entries": entries,
        "peak_rss_mib": peak,
    }


def orjson_loop(path: Path) -> Callable[[], int]:
    def work() -> int:
        entries = 0
        with path.open("rb") as file:
            for line in file:
                orjson.loads(line)
                entries += 1
        return entries

    return work


def plain_beam(path: Path) -> Callable[[], int]:
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.window import FixedWindows, TimestampedValue

    def parse(line: str) -> TimestampedValue:
        entry = orjson.loads(line)
        labels = entry["resource"]["labels"]
        service = labels.get("service_name") or labels.get("container_name") or labels.get("module_id")
        moment = time_of(entry["timestamp"])
        return TimestampedValue(((entry["logName"], service), 1), moment)

    def work() -> int:
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            _ = (
                pipeline
                | beam.io.ReadFromText(str(path))
                | beam.Map(parse)
                | beam.WindowInto(FixedWindows(WINDOW_SECONDS))
                | beam.CombinePerKey(sum)
            )
        return 0

    return work


def time_of(timestamp: str) -> float:
    """Seconds since 1970 of an RFC 3339 time, the shortest way."""
    from datetime import datetime

    return datetime.fromisoformat(timestamp[:26].rstrip("Z") + "+00:00").timestamp()


def whole_job(*arguments: str) -> Callable[[Path], Callable[[], int]]:
    def prepare(path: Path) -> Callable[[], int]:
        from pipeline.main import run
        from pipeline.sources import READ_PROGRESS

        def work() -> int:
            with tempfile.TemporaryDirectory() as folder:
                run(["--input", str(path), "--store", f"{folder}/speed.duckdb", *arguments])
            return READ_PROGRESS.lines

        return work

    return prepare


RUNS: dict[str, Callable[[Path], Callable[[], int]]] = {
    "orjson": orjson_loop,
    "plain": plain_beam,
    "job": whole_job(),
    "exact": whole_job("--deduplicate", "exact"),
}

# -------------------------------------------------------------------- where the time of a line goes


def stages() -> list[tuple[str, Callable[[Any], Any]]]:
    """The hot path as the DoFns call it, without Beam."""
    from pipeline.settings import Settings
    from pipeline.stage_settings import graph_settings
    from transforms.elements import LogBatch
    from transforms.parse.parser import EntryParser
    from transforms.patterns.shapes import ShapeMiner
    from transforms.redact.redactor import Redactor
    from transforms.summarize.partials import summarize_entries

    settings = graph_settings(Settings(input=["-"]))
    parser, redactor, miner = EntryParser(settings.parse), Redactor(settings.redact), ShapeMiner()

    def mine(batch: LogBatch) -> LogBatch:
        miner.mine(batch.entries)
        return batch

    return [
        ("parse", parser.parse_batch),
        ("redact", redactor.batch),
        ("mine", mine),
        ("summarize", lambda batch: summarize_entries(batch.entries, WINDOW_SECONDS)),
    ]


def profile_stages(path: Path) -> dict[str, float]:
    """Microseconds per line of each stage, over batches as they are read from files."""
    from pipeline.log_files import EntryReader
    from transforms.elements import PayloadBatch

    spent: dict[str, float] = {}
    count = windows = 0
    with path.open("rb") as file:
        batches = stages()
        for lines in EntryReader(file, 1 << 20).batches():
            value: Any = PayloadBatch(lines)
            for name, stage in batches:
                started = time.perf_counter()
                value = stage(value)
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - started
            count += len(lines)
            windows += len(value)
    figures = {f"{name}_us": round(seconds / count * 1e6, 3) for name, seconds in spent.items()}
    return figures | {"lines_per_partial": round(count / max(windows, 1), 1)}


def weigh_bundles(path: Path) -> list[dict[str, float]]:
    """Speed of the hot path, and size of partials against lines, by lines per bundle."""
    from transforms.elements import PayloadBatch

    lines = list(islice(iter_lines(path), 30_000))
    rows = []
    for size in BUNDLES:
        work = stages()
        partial_bytes = 0
        started = time.perf_counter()
        for start in range(0, len(lines), size):
            value: Any = PayloadBatch(lines[start : start + size])
            for _, stage in work:
                value = stage(value)
            partial_bytes += sum(len(msgspec.msgpack.encode(partial)) for partial in value)
        seconds = time.perf_counter() - started
        rows.append(
            {
                "lines_per_bundle": size,
                "lines_per_second": round(len(lines) / seconds),
                "partial_bytes_per_line_byte": round(partial_bytes / sum(map(len, lines)), 3),
            }
        )
    return rows


def iter_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            yield line.rstrip(b"\n")


# -------------------------------------------------------------------------------------- output


def print_result(path: Path, result: dict[str, Any]) -> None:
    print(f"{path.name}\n")
    print("| run | entries/s | seconds | peak MiB |\n| --- | --- | --- | --- |")
    for name in RUNS:
        if name in result:
            run = result[name]
            rate, seconds, peak = (run[key] for key in ("entries_per_second", "seconds", "peak_rss_mib"))
            print(f"| {name} | {rate:,.0f} | {seconds:.1f} | {peak:,.0f} |")
    for name in ("ratio_to_plain_beam", "ratio_to_orjson"):
        if name in result:
            print(f"\n{name.replace('_', ' ')}: {result[name]:.2f}")
    for name, figure in result.get("stages", {}).items():
        print(f"{name.replace('_us', ', µs per line').replace('_', ' ')}: {figure}")
    if "bundles" in result:
        print("\n| lines per bundle | lines/s | partial bytes / line bytes |\n| --- | --- | --- |")
        for row in result["bundles"]:
            weight = row["partial_bytes_per_line_byte"]
            print(f"| {row['lines_per_bundle']} | {row['lines_per_second']:,} | {weight} |")


if __name__ == "__main__":
    main()
