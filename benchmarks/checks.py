"""Checks on real data that CI makes where the data is at hand.

    python -m benchmarks.checks DIR

DIR holds logentries.ndjson, trainticket/ and loghub2k/. Prints a line a check; exits 1 when one fails.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson

from benchmarks import patterns
from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run
from transforms.elements import LogBatch, PayloadBatch
from transforms.parse.parser import EntryParser
from transforms.parse.settings import ParseSettings

LEAST_GA = 0.86
LEAST_FGA = 0.83


def main() -> None:
    data = Path(sys.argv[1])
    failed = [name for name, passed, said in checks(data) if not report(name, said, passed=passed)]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def report(name: str, said: str, *, passed: bool) -> bool:
    print(f"{'ok    ' if passed else 'FAILED'} {name}: {said}")
    return passed


def checks(data: Path) -> Iterator[tuple[str, bool, str]]:
    """(name, whether it passed, what was found) of each check."""
    entries = [orjson.dumps(orjson.loads(line)["entry"]) for line in (data / "logentries.ndjson").open("rb")]
    yield "every entry of logentries.ndjson parses", *parses(entries)
    for name in ("logs", "mesh"):
        with gzip.open(data / "trainticket" / f"{name}.ndjson.gz") as file:
            yield f"every line of TrainTicket's {name} parses", *parses(file.read().splitlines())
    yield "the ledger balances over TrainTicket", *balances(data / "trainticket")
    sets = patterns.read_sets(data / "loghub2k")
    accuracy = patterns.run(sets, None, patterns.WINDOW_LINES, None)["sets"]["average"]
    ga, fga = accuracy["GA"], accuracy["FGA"]
    yield f"GA ≥ {LEAST_GA} on loghub2k", ga >= LEAST_GA, f"{ga:.3f}"
    yield f"FGA ≥ {LEAST_FGA} on loghub2k", fga >= LEAST_FGA, f"{fga:.3f}"


def parses(lines: list[bytes]) -> tuple[bool, str]:
    batch: LogBatch = EntryParser(ParseSettings()).parse_batch(PayloadBatch(lines))
    parsed = len(lines) - len(batch.dead_letters)
    return parsed == len(lines), f"{parsed:,} of {len(lines):,}"


def balances(folder: Path) -> tuple[bool, str]:
    with tempfile.TemporaryDirectory() as scratch:
        store = f"{scratch}/store.duckdb"
        run(["--input", f"{folder}/logs.ndjson.gz", f"{folder}/mesh.ndjson.gz", "--store", store])
        with DuckDBStore(store, read_only=True) as opened:
            totals = opened.ledger_totals()
    return totals["balanced"] and totals["dead_lettered"] == 0, f"{totals['received']:,} lines received"


if __name__ == "__main__":
    main()
