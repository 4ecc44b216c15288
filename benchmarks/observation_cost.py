"""What one observation of one signal costs: microseconds and bytes of state, encoding included.

    python benchmarks/observation_cost.py [--signals 1 1000 10000 100000] [--json]

Signals are first taught for two weeks of minutes each (a few different ones, copied to the number asked
for), so that their states are as large as in a job that has been running. Then each observation decodes
the signal's state, scores, learns, and encodes the state again: what a stateful step of the job does.
The growth with the number of signals is that of memory and caches; the work is the same.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import random
import resource
import sys
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from transforms.detect.baselines.interface import DAY_US, HOUR_US, Observation
from transforms.detect.baselines.learned import LearnedDetector, LearnedSettings, decode_detector

MINUTE_US: Final = HOUR_US // 60
TAUGHT_DAYS: Final = 14
KINDS: Final = 8
MEASURED: Final = 30_000
ROUNDS: Final = 5
SETTINGS: Final = LearnedSettings()


def value_at(source: random.Random, kind: int, time_us: int) -> float:
    """A signal with a daily rhythm, noise, and one outlier in a thousand."""
    rhythm = 1.5 + math.sin(2 * math.pi * time_us / DAY_US + kind)
    outlier = 20.0 if source.random() < 0.001 else 1.0
    return 10.0**kind * rhythm * source.lognormvariate(0.0, 0.1) * outlier


def teach(kind: int) -> bytes:
    """The state after TAUGHT_DAYS of minutes."""
    source, detector = random.Random(kind), LearnedDetector(SETTINGS)
    for time_us in range(0, TAUGHT_DAYS * DAY_US, MINUTE_US):
        observation = Observation(time_us, value_at(source, kind, time_us))
        detector.learn_one(observation, detector.score_one(observation))
    return detector.encode()


def observe(encoded: bytes, observation: Observation) -> bytes:
    """What the job does with one observation."""
    detector = decode_detector(encoded, SETTINGS)
    detector.learn_one(observation, detector.score_one(observation))
    return detector.encode()


def measure(taught: list[bytes], signals: int) -> dict[str, float]:
    """Microseconds of CPU per observation over `signals` states: median and worst of ROUNDS."""
    states = [bytes(bytearray(taught[index % KINDS])) for index in range(signals)]
    source = random.Random(signals)
    sweeps = max(1, MEASURED // signals)
    costs = []
    now_us = TAUGHT_DAYS * DAY_US
    for _ in range(ROUNDS):
        begin_us, now_us = now_us, now_us + sweeps * MINUTE_US
        values = [
            [Observation(time_us, value_at(source, index % KINDS, time_us)) for index in range(signals)]
            for time_us in range(begin_us, now_us, MINUTE_US)
        ]
        gc.collect()
        began = time.process_time()
        for observations in values:
            for index, observation in enumerate(observations):
                states[index] = observe(states[index], observation)
        costs.append((time.process_time() - began) / (signals * sweeps) * 1e6)
    sizes = [len(state) for state in states]
    return {
        "signals": signals,
        "us_median": round(sorted(costs)[ROUNDS // 2], 1),
        "us_worst_round": round(max(costs), 1),
        "bytes_mean": round(sum(sizes) / signals),
        "bytes_max": max(sizes),
        "state_mb": round(sum(sizes) / 1e6, 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--signals", type=int, nargs="+", default=[1, 1_000, 10_000, 100_000])
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    taught = [teach(kind) for kind in range(KINDS)]
    results = [measure(taught, signals) for signals in arguments.signals]
    if arguments.json:
        print(json.dumps(results, indent=1))
        return
    print(" | ".join(results[0]))
    for result in results:
        print(" | ".join(f"{value:,}" for value in result.values()))


if __name__ == "__main__":
    main()
