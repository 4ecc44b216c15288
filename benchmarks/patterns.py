"""Accuracy and speed of the pattern miner on labeled logs, against drain3 0.9.11.

    python benchmarks/patterns.py DIR [--out PREDICTIONS_DIR] [--no-rival] [--json]

DIR holds `<Set>/<Set>_2k.log_structured.csv` as loghub has them: LineId, Content (the message) and,
for the accuracy, EventId. The job's own code runs with its own settings: every line gets a shape, each
window of lines is merged into patterns as it closes, and what the shapes belong to in the end labels
the lines. Accuracy as in Khan et al., ICSE 2022, and Jiang et al., ISSTA 2024: GA is the share of lines,
FGA the harmonic mean of the shares of predicted and of true groups, in groups that hold exactly the
lines of one true group.

drain3 pins libraries that Beam cannot live with, so it is installed into an environment of its own and
measured there, single-threaded, in turns with this miner.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter, defaultdict
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from transforms.elements import MICROSECONDS, PatternStats, WindowSummary
from transforms.patterns.merge import PatternState, assign_patterns, find_pattern_ids
from transforms.patterns.shapes import ShapeMiner

RIVAL: Final = "drain3==0.9.11"
WINDOW_LINES: Final = 200
ROUNDS: Final = 7
SUFFIX: Final = "_2k.log_structured.csv"

_RIVAL_CODE: Final = r"""
import json, sys, time
from drain3 import TemplateMiner
from drain3.template_miner_config import TemplateMinerConfig
from drain3.masking import MaskingInstruction

MASKS = [
    (r"((?<=[^A-Za-z0-9])|^)(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})((?=[^A-Za-z0-9])|$)", "IP"),
    (r"((?<=[^A-Za-z0-9])|^)(0x[a-fA-F0-9]+)((?=[^A-Za-z0-9])|$)", "HEX"),
    (r"((?<=[^A-Za-z0-9])|^)([\-\+]?\d+)((?=[^A-Za-z0-9])|$)", "NUM"),
]
sets = json.loads(sys.stdin.readline())

def run():
    labels = {}
    for name, lines in sets.items():
        config = TemplateMinerConfig()
        config.masking_instructions = [MaskingInstruction(*mask) for mask in MASKS]
        miner = TemplateMiner(config=config)
        labels[name] = [miner.add_log_message(line)["cluster_id"] for line in lines]
    return labels

print(json.dumps(run()), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    run()
    print(time.perf_counter() - start, flush=True)
"""


class LogSet(NamedTuple):
    """One labeled file. `events` is None where the file has no labels."""

    name: str
    line_ids: list[str]
    lines: list[str]
    events: list[str] | None


class Accuracy(NamedTuple):
    """Shares, 0 to 1."""

    ga: float
    fga: float


def read_sets(folder: Path) -> list[LogSet]:
    """All sets below `folder`, by name."""
    sets = []
    for path in sorted(folder.rglob("*" + SUFFIX)):
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        events = [row["EventId"] for row in rows] if rows and "EventId" in rows[0] else None
        name = path.name.removesuffix(SUFFIX)
        sets.append(LogSet(name, [row["LineId"] for row in rows], [row["Content"] for row in rows], events))
    return sets


def mine(lines: list[str], window_lines: int = WINDOW_LINES) -> list[tuple[str, str]]:
    """(pattern_id, pattern) of every line, as the job finds them, window by window."""
    miner, state = ShapeMiner(), PatternState()
    shapes: list[tuple[str, str]] = []
    for start in range(0, len(lines), window_lines):
        window = list(map(miner.shape, lines[start : start + window_lines]))
        patterns = {
            shape_id: PatternStats(text, count, 0, 0, [])
            for (shape_id, text), count in Counter(window).items()
        }
        summary = WindowSummary("tenant", "service", start * MICROSECONDS, window_lines, patterns=patterns)
        assign_patterns(state, summary, is_late=False)
        shapes += window
    owners = find_pattern_ids(state, dict(shapes))
    texts = {pattern_id: pattern.text for pattern_id, pattern in state.patterns.items()}
    return [(owners[shape_id], texts.get(owners[shape_id], text)) for shape_id, text in shapes]


def score(predicted: list[str], true: list[str]) -> Accuracy:
    """GA and FGA of one label per line on both sides."""
    found, wanted = ({frozenset(group) for group in _groups(labels)} for labels in (predicted, true))
    right = found & wanted
    return Accuracy(sum(map(len, right)) / len(true), 2 * len(right) / (len(found) + len(wanted)))


def _groups(labels: list[str]) -> list[list[int]]:
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for line, label in enumerate(labels):
        groups[label].append(line)
    return list(groups.values())


def write_predictions(out: Path, log_set: LogSet, labels: list[tuple[str, str]]) -> None:
    """`<Set>.csv` with LineId, template_id and template, as scorers of such data read it."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / f"{log_set.name}.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["LineId", "template_id", "template"])
        writer.writerows((line, *label) for line, label in zip(log_set.line_ids, labels, strict=True))


class Rival:
    """drain3 in its own environment, one process that runs when told to."""

    def __init__(self, environment: Path, sets: list[LogSet]) -> None:
        python = environment / "bin" / "python"
        if not (environment / "installed").exists():
            venv.create(environment, with_pip=True, clear=True)
            subprocess.run(
                [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", RIVAL], check=True
            )
            (environment / "installed").touch()
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        self._process = subprocess.Popen(
            [python, "-c", _RIVAL_CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=clean, cwd=environment,
        )  # fmt: skip
        self.labels: dict[str, list[int]] = json.loads(self._ask(json.dumps({s.name: s.lines for s in sets})))

    def seconds(self) -> float:
        """Time of one run over all sets."""
        return float(self._ask("run"))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{RIVAL} ended; remove its environment and run again, or use --no-rival")
        return answer


def seconds_of(sets: list[LogSet], window_lines: int) -> float:
    """Time of one run over all sets, with memos and state empty at the start of each."""
    start = time.perf_counter()
    for log_set in sets:
        mine(log_set.lines, window_lines)
    return time.perf_counter() - start


def measure(sets: list[LogSet], window_lines: int, rival: Rival | None) -> dict[str, float]:
    """Medians over alternate runs, in lines per second."""
    lines = sum(len(log_set.lines) for log_set in sets)
    own, other = [], []
    for _ in range(ROUNDS):
        own.append(seconds_of(sets, window_lines))
        if rival:
            other.append(rival.seconds())
    speed = {"lines_per_second": lines / statistics.median(own)}
    if rival:
        speed["rival_lines_per_second"] = lines / statistics.median(other)
        speed["ratio"] = statistics.median(b / a for a, b in zip(own, other, strict=True))
    return speed


def average(accuracies: list[Accuracy]) -> Accuracy:
    return Accuracy(*(statistics.fmean(column) for column in zip(*accuracies, strict=True)))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help=f"folder with <Set>/<Set>{SUFFIX}")
    parser.add_argument("--out", type=Path, help="folder to write <Set>.csv with the predictions to")
    parser.add_argument("--no-rival", action="store_true", help="leave drain3 out")
    parser.add_argument(
        "--rival-env", type=Path, default=Path(tempfile.gettempdir()) / "aiops-bench-drain3",
        help="folder of drain3's environment, made when it is not there",
    )  # fmt: skip
    parser.add_argument("--window-lines", type=int, default=WINDOW_LINES, help="lines in a window")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    sets = read_sets(options.folder)
    if not sets:
        parser.error(f"no *{SUFFIX} below {options.folder}")
    result = run(sets, options.out, options.window_lines, None if options.no_rival else options.rival_env)
    print(json.dumps(result, indent=1) if options.json else describe(result))
    return 0


Result = dict[str, dict[str, dict[str, float]]]
"""part → row → column → figure; parts are `sets` and `speed`."""


def run(sets: list[LogSet], out: Path | None, window_lines: int, rival_env: Path | None) -> Result:
    """All figures of one run."""
    rival = Rival(rival_env, sets) if rival_env else None
    rows: dict[str, dict[str, float]] = {}
    own_accuracy, rival_accuracy = [], []
    for log_set in sets:
        labels = mine(log_set.lines, window_lines)
        if out:
            write_predictions(out, log_set, labels)
        pattern_ids = [pattern_id for pattern_id, _ in labels]
        row: dict[str, float] = {"lines": len(labels), "patterns": len(set(pattern_ids))}
        if log_set.events:
            own = score(pattern_ids, log_set.events)
            own_accuracy.append(own)
            row |= {"GA": own.ga, "FGA": own.fga}
            if rival:
                other = score([str(label) for label in rival.labels[log_set.name]], log_set.events)
                rival_accuracy.append(other)
                row |= {"drain3 GA": other.ga, "drain3 FGA": other.fga}
        rows[log_set.name] = row
    if own_accuracy:
        rows["average"] = dict(zip(("GA", "FGA"), average(own_accuracy), strict=True))
    if rival_accuracy:
        rows["average"] |= dict(zip(("drain3 GA", "drain3 FGA"), average(rival_accuracy), strict=True))
    speed = measure(sets, window_lines, rival)
    if rival:
        rival.close()
    return {"sets": rows, "speed": {"all": speed}}


def _cell(row: dict[str, float], column: str) -> str:
    if column not in row:
        return ""
    return f"{row[column]:.0f}" if column in {"lines", "patterns"} else f"{row[column]:.3f}"


def describe(result: Result) -> str:
    """The figures as a table."""
    columns = ["lines", "patterns", "GA", "FGA", "drain3 GA", "drain3 FGA"]
    table = [f"{'set':12s}" + "".join(f"{column:>12s}" for column in columns)]
    for name, row in result["sets"].items():
        cells = (_cell(row, column) for column in columns)
        table.append(f"{name:12s}" + "".join(f"{cell:>12s}" for cell in cells))
    speed = result["speed"]["all"]
    table.append(f"\n{speed['lines_per_second']:,.0f} lines per second, one thread, cold memos")
    if "ratio" in speed:
        table.append(
            f"{RIVAL} with masks: {speed['rival_lines_per_second']:,.0f}; ratio {speed['ratio']:.2f}"
        )
    return "\n".join(table)


if __name__ == "__main__":
    sys.exit(main())
