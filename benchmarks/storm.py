"""A storm in one tenant, and what it does to the alerts of the others.

    python benchmarks/storm.py
    python benchmarks/storm.py --anomalies 100000 --seconds 1 --group_wait 1

One worker with one thread does everything in the order of arrival, through the DoFns of ManageAlerts,
with state encoded and decoded at each access. Its clock is simulated: it stands still while nothing
is to be done, and moves by the processor time that the work takes on this machine. The delay of an alert is
that from the arrival of its anomaly to its `opened` event. Prints the delays of the other tenants
with and without the storm, their ratio, and the number of events that the storm gave.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from apache_beam.utils.timestamp import Timestamp

from transforms.alert.catalog import EMPTY_CATALOG
from transforms.alert.settings import AlertSettings
from transforms.alert.transform import (
    _ARMED_AT,
    _BOOK,
    _INBOX,
    _PHASE,
    _SHARD,
    _CombineBundle,
    _Manage,
    _Thin,
)
from transforms.alert_elements import AlertEvent
from transforms.elements import MICROSECONDS, Anomaly, content_id

START_US = 1_700_000_000 * MICROSECONDS
BUNDLE = 100
STORM_TENANT = "storm"


class Cell:
    """One state of one key, as bytes."""

    def __init__(self, coder: Any, *, is_bag: bool) -> None:
        self._coder, self._is_bag = coder, is_bag
        self._parts: list[bytes] = []

    def read(self) -> Any:
        values = [self._coder.decode(part) for part in self._parts]
        return values if self._is_bag else (values[0] if values else None)

    def write(self, value: Any) -> None:
        self._parts = [self._coder.encode(value)]

    def add(self, value: Any) -> None:
        self._parts.append(self._coder.encode(value))

    def clear(self) -> None:
        self._parts = []

    @property
    def size(self) -> int:
        return sum(map(len, self._parts))


class Timer:
    """One timer of one key."""

    def __init__(self) -> None:
        self.due_us: int | None = None

    def set(self, when: Timestamp) -> None:
        self.due_us = when.micros

    def clear(self) -> None:
        self.due_us = None


@dataclass
class Worker:
    """One thread that takes what is due first."""

    settings: AlertSettings
    now: float = START_US / 1e6
    log: list[tuple[float, AlertEvent]] = field(default_factory=list)
    largest_state: int = 0

    def __post_init__(self) -> None:
        self._queue: list[tuple[float, int, str, Any]] = []
        self._order = 0
        self._keys: dict[tuple[str, Any], dict[str, Any]] = defaultdict(self._new_key)
        self._combine = _CombineBundle(self.settings)
        self._thin = _Thin(self.settings, self.clock)
        self._manage = _Manage(self.settings, EMPTY_CATALOG, self.clock)

    def clock(self) -> int:
        return int(self.now * 1e6)

    def _new_key(self) -> dict[str, Any]:
        single = {spec.name: Cell(spec.coder, is_bag=False) for spec in (_SHARD, _BOOK, _PHASE, _ARMED_AT)}
        return {**single, "inbox": Cell(_INBOX.coder, is_bag=True), "due": Timer(), "end": Timer()}

    def push(self, when: float, kind: str, payload: Any) -> None:
        self._order += 1
        heapq.heappush(self._queue, (when, self._order, kind, payload))

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            when, _, kind, payload = heapq.heappop(self._queue)
            self.now = max(self.now, when)
            started = time.process_time()
            outputs = list(getattr(self, f"_do_{kind}")(payload))
            self.now += time.process_time() - started
            for stage, output in outputs:
                if stage == "event":
                    self.log.append((self.now, output))
                else:
                    self.push(self.now, stage, output)

    def _do_bundle(self, anomalies: list[Anomaly]) -> Iterator[tuple[str, Any]]:
        self._combine.start_bundle()
        for anomaly in anomalies:
            self._combine.process(anomaly, Timestamp(micros=anomaly.detected_at))
        for windowed in self._combine.finish_bundle():
            yield "thin", windowed.value

    def _do_thin(self, element: Any) -> Iterator[tuple[str, Any]]:
        key = self._keys["thin", element[0]]
        for output in self._thin.process(element, key["shard"], key["due"]):
            yield "manage", output
        self._arm("thin", element[0])

    def _do_manage(self, element: Any) -> Iterator[tuple[str, Any]]:
        key = self._keys["manage", element[0]]
        states = (key["inbox"], key["book"], key["phase"], key["armed_at"])
        self._manage.process(element, {}, *states, key["due"], key["end"])
        self._arm("manage", element[0])
        return iter(())

    def _do_timer(self, name: tuple[str, Any, int]) -> Iterator[tuple[str, Any]]:
        stage, tenant, due_us = name
        key = self._keys[stage, tenant]
        if key["due"].due_us != due_us:
            return
        key["due"].clear()
        if stage == "thin":
            for output in self._thin.release(tenant, key["shard"]):
                yield "manage", output
        else:
            states = (key["inbox"], key["book"], key["phase"], key["armed_at"])
            for event in self._manage.take(tenant, Timestamp(micros=due_us), *states, key["due"]):
                yield "event", event
            self.largest_state = max(self.largest_state, key["book"].size)
        self._arm(stage, tenant)

    def _arm(self, stage: str, key: Any) -> None:
        due_us = self._keys[stage, key]["due"].due_us
        if due_us is not None:
            self.push(due_us / 1e6, "timer", (stage, key, due_us))


def make_anomaly(tenant: str, service: str, detector: str, at: float) -> Anomaly:
    at_us = int(at * 1e6)
    window_start = at_us - 60 * MICROSECONDS
    return Anomaly(
        anomaly_id=content_id(tenant, service, "", detector, "error_rate", "", window_start),
        revision=0,
        status="open",
        tenant_id=tenant,
        service=service,
        endpoint="",
        anomaly_type="error_spike",
        anomaly_severity="high",
        description=f"Errors of {service} are 14 times what is usual, seen by {detector}",
        detector=detector,
        signal="error_rate",
        rules_version="",
        window_start=window_start,
        window_end=at_us,
        confidence_score=0.9,
        below_confidence_floor=False,
        metrics=[],
        evidence=[],
        recommended_actions=["Look at the newest revision", "Compare the patterns of errors"],
        gemini_analysis="",
        detected_at=at_us,
    )


def arrivals(storm: int, seconds: float, tenants: int) -> list[tuple[float, Anomaly]]:
    """Each other tenant has an anomaly of a new service every 2 seconds; the storm comes after 10."""
    begin, chance = START_US / 1e6, random.Random(1)
    others = [
        (when, make_anomaly(f"tenant-{tenant}", f"service-{step}", "detector", when))
        for tenant in range(tenants)
        for step in range(45)
        for when in [begin + 2 * step + chance.random()]
    ]
    stormy = [
        (when, make_anomaly(STORM_TENANT, f"service-{n % 5000}", f"detector-{n}", when))
        for n in range(storm)
        for when in [begin + 10 + chance.random() * seconds]
    ]
    return sorted([*others, *stormy], key=lambda timed: timed[0])


def run(storm: int, seconds: float, settings: AlertSettings, tenants: int = 20) -> Worker:
    """The worker after 1,200 seconds of its clock; bundles hold what came in a tenth of a second."""
    worker = Worker(settings)
    bundles: dict[int, list[Anomaly]] = defaultdict(list)
    for when, anomaly in arrivals(storm, seconds, tenants):
        bundles[int(when * 10)].append(anomaly)
    for tenth, anomalies in bundles.items():
        for at in range(0, len(anomalies), BUNDLE):
            worker.push((tenth + 1) / 10, "bundle", anomalies[at : at + BUNDLE])
    worker.run(START_US / 1e6 + 1200)
    return worker


def delays(worker: Worker) -> list[float]:
    """Seconds from the end of an other tenant's window to its `opened`, sorted."""
    return sorted(
        when - event.last_seen_at / 1e6
        for when, event in worker.log
        if event.event_type == "opened" and event.tenant_id != STORM_TENANT
    )


def quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


def storm_events(worker: Worker) -> Counter[str]:
    return Counter(event.event_type for _, event in worker.log if event.tenant_id == STORM_TENANT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--anomalies", type=int, default=100_000, help="of the storm, all different")
    parser.add_argument("--seconds", type=float, default=60, help="that the storm takes to arrive")
    parser.add_argument("--group_wait", type=int, default=30, help="seconds; less makes delays of work show")
    arguments = parser.parse_args()
    settings = AlertSettings(group_wait_seconds=arguments.group_wait)
    calm, stormy = run(0, 1, settings), run(arguments.anomalies, arguments.seconds, settings)
    usual, under = delays(calm), delays(stormy)
    print(f"{arguments.anomalies} anomalies in {arguments.seconds:g} s, group wait {arguments.group_wait} s")
    print(f"{'delay of other tenants':24}{'p50':>8}{'p95':>8}{'most':>8}  opened")
    for name, values in (("without the storm", usual), ("with it", under)):
        figures = "".join(f"{quantile(values, share):8.2f}" for share in (0.5, 0.95, 1))
        print(f"{name:24}{figures}{len(values):8}")
    print(f"ratio of p95: {quantile(under, 0.95) / quantile(usual, 0.95):.2f} (goal: at most 2)")
    events = storm_events(stormy)
    print(f"events of the storm's tenant: {sum(events.values())} ({dict(sorted(events.items()))})")
    print(f"largest state of a tenant: {stormy.largest_state / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
