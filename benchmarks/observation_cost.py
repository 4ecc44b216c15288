"""What one observation of one signal costs: microseconds and bytes of state, encoding included.

    python benchmarks/observation_cost.py [--detector learned|level] [--signals 1 1000 10000 100000] [--json]

`learned`: signals are first taught for two weeks of minutes each (a few different ones, copied to the
number asked for), so that their states are as large as in a job that has been running. Then each
observation decodes the signal's state, scores, learns, and encodes the state again: what a stateful step of
the job does. The growth with the number of signals is that of memory and caches; the work is the same.

`level`: services of 50 signals each (10 endpoints and their three, the service's own, and patterns), taught
for a day of minutes; then each window decodes the service's state, is judged and learned, and encodes it.
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

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from transforms.detect.baselines.book import NO_BOOK
from transforms.detect.baselines.interface import Observation
from transforms.detect.baselines.learned import LearnedDetector, LearnedSettings, decode_detector
from transforms.detect.watch import ServiceBaselines, watch_window
from transforms.elements import DAY_US, MINUTE_US, PatternStats, RequestStats, WindowSummary

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


# -------------------------------------------------------------------------------------- levels

SERVICE_SIGNALS: Final = 50
_MEMORY: Final = msgspec.msgpack.Decoder(ServiceBaselines)


def service_window(source: random.Random, time_us: int) -> WindowSummary:
    """A minute of a service: about 100 requests to 10 endpoints, and 12 patterns."""
    summary = WindowSummary("tenant", "service", time_us, 60)
    for number in range(10):
        count = max(0, round(source.gauss(10, 3)))
        bins = {110 + source.randrange(20): 1 for _ in range(count)}
        errors = int(source.random() < 0.05)
        summary.endpoints[f"GET /{number}"] = RequestStats(count, errors, 0, bins)
        summary.requests += count
        summary.errors += errors
        for index, found in bins.items():
            summary.latency_bins[index] = summary.latency_bins.get(index, 0) + found
    summary.latency_count = sum(summary.latency_bins.values())
    for number in range(12):
        count = source.randrange(20)
        summary.patterns[f"p{number}"] = PatternStats("text", count, 0, 200, [])
        summary.lines += count
    summary.severities = {200: summary.lines}
    return summary


def watch(encoded: bytes, summary: WindowSummary) -> bytes:
    """What the job does with one window of a service, beside looking at rules."""
    memory = _MEMORY.decode(encoded)
    watch_window(memory, summary, NO_BOOK)
    return msgspec.msgpack.encode(memory)


def measure_levels(signals: int, taught_windows: int = 24 * 60) -> dict[str, float]:
    """As `measure`, for services of SERVICE_SIGNALS signals."""
    source = random.Random(1)
    encoded = msgspec.msgpack.encode(ServiceBaselines())
    for minute in range(taught_windows):
        encoded = watch(encoded, service_window(source, minute * MINUTE_US))
    count = len(_MEMORY.decode(encoded).levels.names)
    states = [bytes(bytearray(encoded)) for _ in range(max(1, signals // SERVICE_SIGNALS))]
    sweeps = max(1, MEASURED // (len(states) * SERVICE_SIGNALS))
    costs, minute = [], taught_windows
    for _ in range(ROUNDS):
        windows = [service_window(source, (minute + sweep) * MINUTE_US) for sweep in range(sweeps)]
        minute += sweeps
        gc.collect()
        began = time.process_time()
        for summary in windows:
            for index, state in enumerate(states):
                states[index] = watch(state, summary)
        costs.append((time.process_time() - began) / (len(states) * sweeps * count) * 1e6)
    sizes = [len(state) / count for state in states]
    return {
        "signals": len(states) * count,
        "us_median": round(sorted(costs)[ROUNDS // 2], 1),
        "us_worst_round": round(max(costs), 1),
        "bytes_mean": round(sum(sizes) / len(sizes)),
        "bytes_max": round(max(sizes)),
        "state_mb": round(sum(map(len, states)) / 1e6, 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--signals", type=int, nargs="+", default=[1, 1_000, 10_000, 100_000])
    parser.add_argument("--detector", choices=("learned", "level"), default="learned")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.detector == "level":
        results = [measure_levels(signals) for signals in arguments.signals]
    else:
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
