"""A simulated shop that publishes its logs as time goes on, with a fault where a test wants one."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from google.cloud import pubsub_v1

from aiops.simulate.config import SimulationConfig
from aiops.simulate.generator import simulate
from pipeline.alert_commands import command_message
from pipeline.sources import TIMESTAMP_ATTRIBUTE
from transforms.alert_elements import AlertCommand

TENANT: Final = "acme-shop"
NO_COMMAND: Final = command_message(
    AlertCommand("c0", "globex", "comment", "eve", time.time_ns() // 1_000, "f" * 32, note="not mine")
).data
_SECONDS: Final = 900
_USUAL: Final = ""


class LiveShop(threading.Thread):
    """Publishes a compressed message a second, of about twelve lines; of errors in the service `failing`.

    A copy of one command that has no effect goes with it: the local runner waits half a minute at a
    subscription that has nothing to give, and reads nothing else meanwhile. For each message that it
    pulls, ten at most, the local runner goes through the whole graph; hence few messages.
    """

    def __init__(
        self, publisher: pubsub_v1.PublisherClient, logs: str, commands: str, faulty: Iterable[str]
    ) -> None:
        super().__init__(daemon=True)
        self._publisher, self._logs, self._commands = publisher, logs, commands
        self._start_second = int(time.time()) + 5
        self._lines = {service: self._simulate(service) for service in (_USUAL, *faulty)}
        self._stopped = threading.Event()
        self.failing = _USUAL
        self.sent: Counter[int] = Counter()  # lines by receive minute, since 1970

    def _simulate(self, service: str) -> dict[int, list[bytes]]:
        """Lines by second from the start."""
        start = datetime.fromtimestamp(self._start_second, UTC)
        config = SimulationConfig(
            start=start.isoformat(),
            duration_seconds=_SECONDS,
            tenants=1,
            services=6,
            rate=120.0,
            noise=False,
            faults=f"errors@{service}+0s/{_SECONDS}s" if service else "none",
        )
        lines = defaultdict(list)
        for line in simulate(config):
            moment = datetime.fromisoformat(json.loads(line)["receiveTimestamp"])
            lines[int(moment.timestamp()) - self._start_second].append(line)
        return lines

    def run(self) -> None:
        for second in range(_SECONDS):
            if self._stopped.wait(max(0.0, self._start_second + second + 1 - time.time())):
                return
            self._publisher.publish(self._commands, NO_COMMAND)
            if lines := self._lines[self.failing][second]:
                moment = datetime.fromtimestamp(self._start_second + second, UTC).isoformat()
                packed = gzip.compress(b"\n".join(lines))
                attributes = {TIMESTAMP_ATTRIBUTE: moment.replace("+00:00", "Z")}
                self._publisher.publish(self._logs, packed, **attributes)
                self.sent.update(_minute(json.loads(line)["receiveTimestamp"]) for line in lines)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def _minute(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp()) // 60
