"""Anomaly scores of the product's own detector over series in the layout of the Numenta Anomaly Benchmark.

    python benchmarks/nab.py DIR --out SCORES

DIR, or DIR/data, holds `<category>/<series>.csv` with the columns timestamp and value. SCORES gets the
same files with the columns timestamp and anomaly_score, which NAB's own scorer and others read. Every
series has a detector of its own with the product's defaults and goes through it row by row: a score is
written before the detector learns its row, and nothing after it is known.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from transforms.detect.baselines.interface import Detector, Observation
from transforms.detect.baselines.learned import LearnedDetector, LearnedSettings
from transforms.elements import MICROSECONDS

Row = tuple[str, float]


def find_series(folder: Path) -> list[Path]:
    """Paths of all series, relative to the folder that holds the categories, sorted."""
    return sorted(path.relative_to(folder) for path in folder.glob("*/*.csv"))


def read_series(path: Path) -> list[Row]:
    """(timestamp as it stands there, value) of every row."""
    with path.open(newline="", encoding="utf-8") as handle:
        return [(row["timestamp"], float(row["value"])) for row in csv.DictReader(handle)]


def score_rows(detector: Detector, rows: Iterable[Row]) -> Iterator[float]:
    """The score of each row, given before the next one is looked at. Timestamps are taken for UTC."""
    for timestamp, value in rows:
        moment = datetime.fromisoformat(timestamp).replace(tzinfo=UTC)
        observation = Observation(round(moment.timestamp()) * MICROSECONDS, value)
        judgement = detector.score_one(observation)
        yield judgement.score
        detector.learn_one(observation, judgement)


def write_scores(path: Path, rows: Iterable[Row], scores: Iterable[float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["timestamp", "anomaly_score"])
        writer.writerows((timestamp, score) for (timestamp, _), score in zip(rows, scores, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="series in NAB's layout")
    parser.add_argument("--out", type=Path, required=True, metavar="SCORES", help="where to write the scores")
    arguments = parser.parse_args()
    folder = arguments.folder / "data" if (arguments.folder / "data").is_dir() else arguments.folder
    series = find_series(folder)
    if not series:
        parser.error(f"no <category>/<series>.csv in {folder}: give the folder that holds the categories")
    settings = LearnedSettings()
    began, count, alarms = time.perf_counter(), 0, 0
    for name in series:
        rows = read_series(folder / name)
        scores = list(score_rows(LearnedDetector(settings), rows))
        write_scores(arguments.out / name, rows, scores)
        count += len(rows)
        alarms += sum(score >= settings.novelty.threshold for score in scores)
    seconds = time.perf_counter() - began
    print(f"{len(series)} series, {count:,} rows, {seconds:.1f} s with reading and writing")
    print(f"{alarms} alarms at the default threshold {settings.novelty.threshold}")


if __name__ == "__main__":
    main()
