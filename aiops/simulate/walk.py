"""One trace: a user's request and all the calls that follow from it, with what they log.

Latency and failures reach the callers because a call is served before its caller goes on.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Final, NamedTuple

from aiops.simulate.entries import SECOND_NS, Served
from aiops.simulate.node import Compiled, CompiledCall, Node, Said

if TYPE_CHECKING:
    from aiops.simulate.world import World

HOP_NS: Final = 700_000  # one way between two services
RETRY_AFTER_NS: Final = 20_000_000
ABSORBED_NS: Final = 300_000_000  # after which a caller with a spare answer gives it

BACKGROUND_ERRORS: Final = 0.0007  # of calls
BACKGROUND_WARNINGS: Final = 0.004
SLOW: Final = 0.003  # of calls take SLOW_FACTOR times as long
SLOW_FACTOR: Final = 12
REDACTABLE: Final = 0.001  # of calls log something that must be redacted


class Client(NamedTuple):
    """Who makes the request. One that is refused has its login denied."""

    trace: str
    address: str
    agent: str
    refused: bool


class Arrival(NamedTuple):
    """A call as it reaches a service: when (nanoseconds), in which span, from whom."""

    at: int
    parent_span: str = ""
    caller: str = "unknown"


class _Place(NamedTuple):
    """Where a call is served: the service, the operation, the instance, and the span."""

    node: Node
    operation: Compiled
    instance: int
    span: str
    parent_span: str


class Walk:
    """Serves one user's request."""

    __slots__ = ("client", "path", "random", "world")

    def __init__(self, world: World, client: Client) -> None:
        self.world, self.client, self.random = world, client, world.random
        self.path = ""  # of the user's request: the edge and the frontend see the same

    def serve(self, node: Node, operation: Compiled, arrival: Arrival) -> tuple[int, int]:
        """Serve one call. Returns when it ends (nanoseconds) and its HTTP status."""
        chance = self.random.random
        span = f"{self.random.getrandbits(64):016x}"
        place = _Place(node, operation, node.choose(chance()), span, arrival.parent_span)
        work = self._work_ns(node, operation)
        now = arrival.at + work // 2
        status = self._fail(place, now)
        if not status:
            now, status = self._calls(place, now)
        end = now + work - work // 2
        if not status:
            status = self._answer(operation)
            self._tell(place, status, end - work // 4)
        if node.hang_ns and status == 503:
            end += int(node.hang_ns * (0.8 + 0.4 * chance()))
        if node.logs_access:
            node.lines += 1
            if not node.silent:
                self._record(place, arrival, end, status)
        return end, status

    def _work_ns(self, node: Node, operation: Compiled) -> int:
        """The service's own time: a fixed and an exponential part, and what a fault adds."""
        chance = self.random.random
        work = int(operation.work_ns * (0.65 - 0.35 * log(1 - chance())) * node.latency_factor)
        if chance() < SLOW and self.world.noise:
            work *= SLOW_FACTOR
        if node.latency_add_ns and chance() < 0.92:
            work += int(node.latency_add_ns * (0.7 + 0.6 * chance()))
        return work

    def _fail(self, place: _Place, at: int) -> int:
        """The status of a failure of the service itself, 0 if it does not fail. Logs it."""
        node, chance = place.node, self.random.random()
        if place.instance >= node.new_from and chance < node.error_share:
            failures = node.failures
        elif self.world.noise and chance > 1 - BACKGROUND_ERRORS and node.background:
            failures = node.background
        else:
            return 0
        status, payload = failures[int(self.random.random() * len(failures))]
        self._say(place, at, ("ERROR", payload))
        return status

    def _calls(self, place: _Place, now: int) -> tuple[int, int]:
        """Make the calls of an operation. Returns when they are done and a status, 0 if all is well."""
        for call in place.operation.compiled_calls:
            if not call.node.open or (call.chance < 1 and self.random.random() >= call.chance):
                continue
            end, status = self._call(place, call, now)
            if status >= 500 and call.retried and not place.node.absorbs:
                end, status = self._call(place, call, end + RETRY_AFTER_NS)
            now = end
            if status >= 500:
                status = self._cope(place, call, now, status)
            if status >= 400:
                return now, status
        return now, 0

    def _call(self, place: _Place, call: CompiledCall, now: int) -> tuple[int, int]:
        arrival = Arrival(now + HOP_NS, place.span, place.node.service.name)
        end, status = self.serve(call.node, call.operation, arrival)
        patience = ABSORBED_NS if place.node.absorbs else call.timeout_ns
        if end - now > patience:
            return now + patience, 504
        return end + HOP_NS, status

    def _cope(self, place: _Place, call: CompiledCall, now: int, status: int) -> int:
        """What a caller makes of a failed call: it does without, or fails too."""
        absorbed = call.optional or place.node.absorbs
        payload = call.degraded if absorbed else call.timed_out if status == 504 else call.failed
        if place.node.logs:
            self._say(place, now, ("WARNING" if absorbed else "ERROR", payload))
        if absorbed:
            return 0
        return status if place.node.service.platform == "load_balancer" else 503

    def _answer(self, operation: Compiled) -> int:
        if self.client.refused and operation.refused_status == 401:
            return 401
        if operation.refused and self.random.random() < operation.refused:
            return operation.refused_status
        return 200

    def _tell(self, place: _Place, status: int, at: int) -> None:
        """What the service says of a call that it could answer."""
        node, chance = place.node, self.random.random()
        if status == 401 and node.denials is not None:
            payload = node.denials.fill(self.random).replace("@address@", self.client.address)
            told = (self.client.trace, place.span, place.instance)
            node.lines += 1
            self.world.say(node, at, ("WARNING", payload), told)
        if status != 200:
            return
        for lines in (place.operation.everyday, place.operation.chatty):
            if lines:
                self._say(place, at, lines[int(chance * 7919) % len(lines)])
        if not self.world.noise:
            return
        if chance < BACKGROUND_WARNINGS and node.warnings:
            self._say(place, at, node.warnings[int(self.random.random() * len(node.warnings))])
        elif chance > 1 - REDACTABLE and node.rare:
            self._say(place, at, node.rare[int(self.random.random() * len(node.rare))])

    def _say(self, place: _Place, at: int, said: Said) -> None:
        severity, payload = said
        text = payload.fill(self.random)
        if text[-1] == "}" and place.parent_span:
            text = f'{text[:-1]},"parent_span_id":"{place.parent_span}"}}'
        place.node.lines += 1
        self.world.say(place.node, at, (severity, text), (self.client.trace, place.span, place.instance))

    def _record(self, place: _Place, arrival: Arrival, end: int, status: int) -> None:
        """The platform's record of the call."""
        node, operation, world = place.node, place.operation, self.world
        path = self.path if node.is_front else ""
        if not path:
            path = operation.path.fill(self.random) if operation.path_varies else operation.fixed_path
            if node.is_front:
                self.path = path
        written = end if node.logs_at_end else arrival.at
        received = world.received(end)
        text = world.clock.text
        served = Served(
            text(written),
            text(received),
            operation.method,
            path,
            status,
            (end - arrival.at) / SECOND_NS,
            self.client.trace,
            place.span,
            arrival.caller,
            self.client.address if node.is_front else node.caller_address,
            self.client.agent if node.is_front else "shop-client/3.2",
            300 + self.random.getrandbits(13),
        )
        world.put(written, received, node.writers[place.instance].access(self.random, served))
