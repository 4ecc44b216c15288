"""Whether a confidence of 0.9 means that nine in ten are true: the reliability of confidence_score.

    python benchmarks/calibration.py DIR... [--bins N] [--detector PREFIX] [--by detector|type] [--json]

DIR holds runs that `learned.py --keep` kept, or is one of them: give those of some seeds to fit on, those of
others to check. An anomaly is true when a fault explains it, be it of the expected type or related; see
docs/simulator.md. For each bin of confidence: how many anomalies, their mean confidence, the share that is
true with its Wilson interval of 95 % (too narrow where several anomalies come of one cause). The expected
calibration error is the mean distance of confidence and share over the bins, weighted by their numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.simulated import Measured, find_runs, read_measured

Z_95: Final = 1.959964


class Verdict(NamedTuple):
    """One anomaly: how sure its detector was, what it is, and whether a fault explains it."""

    confidence: float
    detector: str
    anomaly_type: str
    is_true: bool


@dataclass(frozen=True)
class Bin:
    """Anomalies with a confidence from `low` to below `high`; the last bin has 1.0 in it."""

    low: float
    high: float
    count: int
    mean_confidence: float
    share_true: float
    wilson_low: float
    wilson_high: float


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="kept runs")
    parser.add_argument("--bins", type=int, default=10, help="of equal width from 0 to 1 (default 10)")
    parser.add_argument("--detector", default="", help="only detectors that begin with this")
    parser.add_argument("--by", choices=("detector", "type"), help="one more table for each")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.bins < 1:
        parser.error("--bins must be at least 1")
    runs = find_runs(options.folders)
    if not runs:
        parser.error("no run in these folders: keep some with learned.py --keep DIR")
    verdicts = [
        verdict
        for run in runs
        for verdict in judge(read_measured(run))
        if verdict.detector.startswith(options.detector)
    ]
    tables = {"all": verdicts}
    for name in sorted({_name(verdict, options.by) for verdict in verdicts}) if options.by else ():
        tables[name] = [verdict for verdict in verdicts if _name(verdict, options.by) == name]
    result = {name: measure_reliability(of, options.bins) for name, of in tables.items()}
    if options.json:
        print(json.dumps({name: _as_json(bins) for name, bins in result.items()}, indent=1))
    else:
        print("\n\n".join(as_text(name, bins) for name, bins in result.items()))


def judge(run: Measured) -> list[Verdict]:
    """A verdict on each anomaly of a run."""
    false = {anomaly["anomaly_id"] for anomaly in run.report.false_anomalies}
    return [
        Verdict(
            anomaly["confidence_score"],
            anomaly["detector"],
            anomaly["anomaly_type"],
            anomaly["anomaly_id"] not in false,
        )
        for anomaly in run.anomalies
    ]


def measure_reliability(verdicts: Iterable[Verdict], bins: int) -> list[Bin]:
    """The bins that have anomalies, from low to high confidence."""
    members: dict[int, list[Verdict]] = {}
    for verdict in verdicts:
        members.setdefault(min(bins - 1, int(verdict.confidence * bins + 1e-9)), []).append(verdict)
    return [_bin(number / bins, (number + 1) / bins, members[number]) for number in sorted(members)]


def _bin(low: float, high: float, members: Sequence[Verdict]) -> Bin:
    count, true = len(members), sum(verdict.is_true for verdict in members)
    mean = sum(sorted(verdict.confidence for verdict in members)) / count
    return Bin(low, high, count, mean, true / count, *wilson_interval(true, count))


def wilson_interval(true: int, count: int, z: float = Z_95) -> tuple[float, float]:
    """Where the share behind `true` of `count` lies, with a confidence of 95 % by default.

    (0, 1) for no observations. Source: Wilson (1927), JASA 22.
    """
    if not count:
        return 0.0, 1.0
    share, weight = true / count, z * z / count
    middle = share + weight / 2
    half = z * sqrt(share * (1 - share) / count + weight / (4 * count))
    return max(0.0, (middle - half) / (1 + weight)), min(1.0, (middle + half) / (1 + weight))


def expected_calibration_error(bins: Sequence[Bin]) -> float | None:
    """Mean distance of confidence and share of true ones, weighted by numbers; None without anomalies.

    Source: Naeini, Cooper & Hauskrecht (2015), AAAI.
    """
    count = sum(one.count for one in bins)
    if not count:
        return None
    return sum(one.count * abs(one.share_true - one.mean_confidence) for one in bins) / count


def _name(verdict: Verdict, by: str) -> str:
    return verdict.detector if by == "detector" else verdict.anomaly_type


def _as_json(bins: Sequence[Bin]) -> dict[str, object]:
    return {
        "count": sum(one.count for one in bins),
        "expected_calibration_error": expected_calibration_error(bins),
        "bins": [asdict(one) for one in bins],
    }


def as_text(name: str, bins: Sequence[Bin]) -> str:
    error = expected_calibration_error(bins)
    lines = [
        f"{name}: {sum(one.count for one in bins)} anomalies, "
        f"expected calibration error {'-' if error is None else format(error, '.3f')}",
        "",
        "| confidence | anomalies | mean | true | 95 % |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.low:.2f} to {one.high:.2f} | {one.count} | {one.mean_confidence:.3f} | {one.share_true:.3f} "
        f"| {one.wilson_low:.3f} to {one.wilson_high:.3f} |"
        for one in bins
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
