"""The loop of `aiops notify`: events in, notices out, a thread for each channel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from aiops.notify.command_log import CommandLog, CommandLogError
from aiops.notify.delivery import Delivery
from aiops.notify.feeds import Feed
from aiops.notify.notifier import Notifier
from aiops.notify.outbox import Outbox
from transforms.clock import wall_clock_us
from transforms.elements import MICROSECONDS

POLL_SECONDS: Final = 2.0
LONGEST_SLEEP_SECONDS: Final = 1.0
STOP_SECONDS: Final = 10.0
_COMMANDS_EVERY_US: Final = 5 * MICROSECONDS

Say = Callable[[str], None]


class Workers:
    """One thread for each channel, so that one that hangs holds up no other."""

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self._stop = threading.Event()
        self.error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._work, args=(delivery,), name=f"notify-{delivery.name}", daemon=True)
            for delivery in deliveries
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Let each end what it is sending; returns whether all did in time."""
        self._stop.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, delivery: Delivery) -> None:
        try:
            while not self._stop.is_set():
                due_us = delivery.send_due(wall_clock_us(), wall_clock_us)
                wait = LONGEST_SLEEP_SECONDS if due_us is None else (due_us - wall_clock_us()) / MICROSECONDS
                self._stop.wait(min(max(wait, 0.0), LONGEST_SLEEP_SECONDS))
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends
            self.error = error
        finally:
            delivery.close()


def run_until_stopped(notifier: Notifier, feed: Feed, workers: Workers, log: Callable[[int], None]) -> None:
    """Take events and look at the clock until a signal comes or a worker cannot go on."""
    workers.start()
    while workers.error is None:
        events = feed.poll(POLL_SECONDS)
        notifier.take(events, wall_clock_us())
        feed.taken()
        notifier.tick(wall_clock_us())
        log(wall_clock_us())
    raise workers.error


def run_once(
    notifier: Notifier, feed: Feed, deliveries: Sequence[Delivery], log: Callable[[int], None]
) -> bool:
    """Take what is there, send what is due, each once; returns whether nothing due is left."""
    while events := feed.poll(feed.once_seconds):
        notifier.take(events, wall_clock_us())
        feed.taken()
    feed.taken()
    notifier.tick(wall_clock_us())
    for _ in range(2):  # a fallback is told in the second round
        for delivery in deliveries:
            delivery.send_due(wall_clock_us(), wall_clock_us)
    log(wall_clock_us())
    return not any(delivery.has_due(wall_clock_us()) for delivery in deliveries)


def command_writer(outbox: Outbox, command_log: CommandLog | None, say: Say) -> Callable[[int], None]:
    """A function that hands commands on, every few seconds; a failure is said once, and nothing is lost."""
    next_us, is_failing = 0, False

    def write(now: int) -> None:
        nonlocal next_us, is_failing
        if command_log is None or now < next_us:
            return
        next_us = now + _COMMANDS_EVERY_US
        commands = outbox.waiting_commands()
        if not commands:
            return
        try:
            command_log.write(commands, now)
        except CommandLogError as error:
            if not is_failing:
                say(f"What was repeated and escalated is not in the log yet: {error}")
            is_failing = True
            return
        is_failing = False
        outbox.mark_logged(commands)

    return write
