"""The benchmarks of learned detection run on made-up data."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from pathlib import Path

from benchmarks.nab import find_series, read_series, score_rows
from benchmarks.observation_cost import MINUTE_US, SETTINGS, measure, measure_levels, observe
from transforms.detect.baselines.interface import Observation
from transforms.detect.baselines.learned import LearnedDetector, LearnedSettings

ROOT = Path(__file__).resolve().parents[1]


def write_series(path: Path, days: int, spike_at: int) -> None:
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["timestamp", "value"])
        for index in range(days * 24):
            value = 99.0 if index == spike_at else 10 + math.sin(index / 24 * 2 * math.pi)
            writer.writerow([f"2020-01-{1 + index // 24:02d} {index % 24:02d}:00:00", value])


def run_nab(folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "nab.py"), str(folder), "--out", str(out)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def test_nab_scores_have_the_rows_of_the_series(tmp_path: Path) -> None:
    """One score for each row, in its order, the highest one where the anomaly is."""
    write_series(tmp_path / "in" / "data" / "made" / "up.csv", 10, 200)
    done = run_nab(tmp_path / "in", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rows = read_series(tmp_path / "in" / "data" / "made" / "up.csv")
    with (tmp_path / "out" / "made" / "up.csv").open(newline="") as handle:
        scores = list(csv.DictReader(handle))
    assert [row["timestamp"] for row in scores] == [timestamp for timestamp, _ in rows]
    values = [float(row["anomaly_score"]) for row in scores]
    assert max(values) == values[200] > LearnedSettings().novelty.threshold
    assert find_series(tmp_path / "out") == [Path("made/up.csv")]


def test_nab_scores_are_strictly_online(tmp_path: Path) -> None:
    """Scores of the first rows are the same when the later rows are missing."""
    write_series(tmp_path / "made" / "up.csv", 10, 150)
    rows = read_series(tmp_path / "made" / "up.csv")
    whole = list(score_rows(LearnedDetector(LearnedSettings()), rows))
    assert list(score_rows(LearnedDetector(LearnedSettings()), rows[:160])) == whole[:160]


def test_a_folder_without_series_is_named(tmp_path: Path) -> None:
    """A wrong folder gives an error that says what was looked for."""
    done = run_nab(tmp_path, tmp_path / "out")
    assert done.returncode == 2
    assert "<category>/<series>.csv" in done.stderr


def test_cost_is_measured_on_states_that_change() -> None:
    """Observing gives back another state, and the figures are of the number of signals asked for."""
    empty = LearnedDetector(SETTINGS).encode()
    first = observe(empty, Observation(MINUTE_US, 1.0))
    assert first not in (empty, observe(first, Observation(2 * MINUTE_US, 2.0)))
    result = measure([empty] * 8, 40_000)
    assert result["signals"] == 40_000
    assert result["bytes_max"] <= 4096
    assert result["us_median"] > 0


def test_the_cost_of_levels_is_that_of_whole_services() -> None:
    """State and time are divided by the signals that a service has."""
    result = measure_levels(30_000, taught_windows=30)
    assert 20_000 <= result["signals"] <= 40_000
    assert result["bytes_max"] <= 4096
    assert result["us_median"] > 0
