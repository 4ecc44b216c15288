"""`aiops demo`: simulate a small shop with faults, run the job over it, and show what it found."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aiops.query import anomalies_to_match, open_store
from aiops.report.command import write_report
from aiops.run import run_command
from aiops.show import anomalies as show_anomalies
from aiops.show_ledger import ledger as show_ledger
from aiops.simulate.config import SimulationConfig
from aiops.simulate.generator import deliveries, truth
from aiops.simulate.matching import MatchReport, match_faults
from aiops.simulate.output import open_output, write_lines

SHOWN_ANOMALIES = 8


def run_demo(folder: Path, seed: int, console: Console) -> int:
    """Everything from logs to report in `folder`; returns the exit code."""
    started = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        console.print(f"aiops demo: --out {folder}: {error.strerror}; name another folder", markup=False)
        return 2
    logs, store, report = (str(folder / name) for name in ("logs.ndjson.gz", "aiops.duckdb", "report.html"))
    config = SimulationConfig(seed=seed)
    console.rule("1. half an hour of a small shop, three tenants, with faults")
    with open_output(logs) as file, console.status("simulating") as status:
        count = write_lines(
            deliveries(config), file, lambda entries, _: status.update(f"simulating: {entries:,} entries")
        )
    console.print(f"{count:,} log entries in {logs}", markup=False, soft_wrap=True)

    console.rule("2. the job: Apache Beam on this machine, DuckDB as the store")
    for stale in (Path(store), Path(report)):
        stale.unlink(missing_ok=True)
    if code := run_command(["--input", logs, "--store", store], console):
        return code

    console.rule("3. the newest anomalies")
    show_anomalies(store=store, limit=SHOWN_ANOMALIES)
    console.rule("4. which of the injected faults were found")
    console.print(_fault_table(_match(store, config)))
    console.rule("5. the ledger")
    show_ledger(store=store)
    write_report(store, report)
    console.rule(f"done in {time.monotonic() - started:.0f} s")
    _say_what_next(console, store, report)
    return 0


def _match(store: str, config: SimulationConfig) -> MatchReport:
    with open_store(store) as opened:
        found = anomalies_to_match(opened)
    return match_faults(truth(config), found)


def _fault_table(matched: MatchReport) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("From", "Service", "Injected fault", "Found as"):
        table.add_column(column, no_wrap=column != "Found as")
    for result in matched.results:
        fault = result.fault
        table.add_row(
            fault.start[11:16],
            f"{fault.tenant_id} {fault.service}",
            fault.type,
            ", ".join(result.anomaly_types) if result.found else "not found",
        )
    found, of = matched.found()
    table.caption_justify = "left"
    delays = [result.delay_seconds for result in matched.results if result.delay_seconds is not None]
    after = f", at most {max(delays):.0f} s after they began" if delays else ""
    table.caption = (
        f"{found} of {of} faults were found{after}.\n"
        f"{len(matched.false_anomalies)} anomalies have no fault behind them."
    )
    return table


def _say_what_next(console: Console, store: str, report: str) -> None:
    aiops, place = _command(), shlex.quote(store)
    console.print(
        f"""
Look: open {report} in a browser, or

  {aiops} show incidents --store {place} --severity high
  {aiops} show anomalies --store {place} --severity high
  {aiops} show patterns --store {place} --service payment
  {aiops} alerts list --store {place}

Your own logs: files of LogEntries in JSON, .gz and .zst too; - is standard input.

  gcloud logging read 'severity>=INFO' --freshness 1h --format json > logs.json
  {aiops} run --input logs.json --store mine.duckdb
  {aiops} report --store mine.duckdb --out mine.html
""",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _command() -> str:
    """How this very program is called again."""
    if shutil.which("aiops"):
        return "aiops"
    program = Path(sys.argv[0])
    return str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program)
