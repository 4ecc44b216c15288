"""One tenant's shop at work: requests walk through the services and every one of them logs."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from itertools import accumulate
from random import Random
from typing import Final

from aiops.simulate.audit import Auditor
from aiops.simulate.config import SimulationConfig
from aiops.simulate.entries import SECOND_NS, Clock, Line
from aiops.simulate.node import Node
from aiops.simulate.rhythm import Tenant, local_hour, poisson, traffic_factor
from aiops.simulate.shop import Route, build_shop
from aiops.simulate.values import public_address
from aiops.simulate.walk import Arrival, Client, Walk

_AGENTS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/143.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6) Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Firefox/146.0",
    "ShopApp/7.4 (Android 16)",
)
ATTACK_AGENT: Final = "python-requests/2.32.5"
Delivery = tuple[int, int, bytes]
"""When a line comes (nanoseconds), its event time (nanoseconds), the line."""


class World:
    """The state of one tenant. Entries go to `pending`, by the second in which they come."""

    def __init__(
        self, config: SimulationConfig, tenant: Tenant, pending: dict[int, list[Delivery]], clock: Clock
    ) -> None:
        self.config, self.tenant, self.clock = config, tenant, clock
        self.random = Random(f"{config.seed} {tenant.tenant_id}")  # noqa: S311
        self.services, self.routes = build_shop(config.services)
        self.auditor = Auditor(tenant.tenant_id, tenant.domain, self.random)
        self.surge: dict[str, float] = {}  # extra requests a second by service
        self._pending = pending
        self._last_ns = config.end_second * SECOND_NS
        self.noise = config.noise
        self.nodes = {
            service.name: Node(tenant.tenant_id, service, self.random) for service in self.services.values()
        }
        for node in self.nodes.values():
            node.link(self.nodes)
        self._weights = list(accumulate(route.weight for route in self.routes))
        self._visitors = [public_address(self.random) for _ in range(2000)]

    # ------------------------------------------------------------------------------ traffic

    def visit(self, second: int) -> None:
        """All that users do in one second."""
        hour = local_hour(self.tenant, second)
        for node in self.nodes.values():
            first, last = node.service.hours
            node.open = first <= hour < last
        random = self.random.random
        start = second * SECOND_NS
        factor = traffic_factor(self.tenant, second, quiet_nights=self.config.quiet_nights)
        for _ in range(poisson(self.config.rate / 60 * factor, random)):
            route = self.routes[bisect(self._weights, random() * self._weights[-1])]
            self.request(route, start + int(random() * SECOND_NS))
        for service, extra in self.surge.items():
            routes = self._routes_to(service)
            for _ in range(poisson(extra, random)):
                self.request(routes[int(random() * len(routes))], start + int(random() * SECOND_NS))

    def _routes_to(self, service: str) -> list[Route]:
        """What users do that reaches the service."""
        routes = [route for route in self.routes if self.reaches(route.service, route.operation, service)]
        return routes or self.routes

    def reaches(self, name: str, operation: str, goal: str) -> bool:
        if name == goal:
            return True
        node = self.nodes.get(name)
        return node is not None and any(
            self.reaches(call.service, call.operation, goal) for call in node.operations[operation].calls
        )

    def request(self, route: Route, at: int, attacker: str = "") -> None:
        """One user's request, through all the services that it needs.

        That of an attacker, who is known by an address, is refused where a login is checked.
        """
        bits = self.random.getrandbits(128)
        agent = ATTACK_AGENT if attacker else _AGENTS[bits & 3]
        client = Client(
            f"{bits:032x}", attacker or self._visitors[bits % len(self._visitors)], agent, bool(attacker)
        )
        node = self.nodes[route.service]
        Walk(self, client).serve(node, node.operations[route.operation], Arrival(at))

    # ------------------------------------------------------------------------------- output

    def put(self, at: int, received: int, line: str) -> None:
        """Take up one entry; what is logged after the end of the run is left out."""
        if at < self._last_ns:
            come = received if self.config.out_of_order else at
            entry = (come, at, line.encode())
            second = come // SECOND_NS
            bucket = self._pending.get(second)
            if bucket is None:
                self._pending[second] = [entry]
            else:
                bucket.append(entry)

    def received(self, at: int) -> int:
        """When Cloud Logging receives what was written at `at`: 0.2 to 3 seconds later, mostly soon."""
        chance = self.random.random()
        delay = 200_000_000 + int(chance * chance * chance * 2_800_000_000)
        if self.config.late and self.random.random() < self.config.late:
            delay += int((660 + 1140 * self.random.random()) * SECOND_NS)
        return at + delay

    def say(
        self, node: Node, at: int, said: tuple[str, str], told: tuple[str, str, int] = ("", "", -1)
    ) -> None:
        """One line of a service's own log.

        `said` is severity and payload, `told` the trace, the span and the instance (-1 for any).
        """
        if node.silent:
            return
        trace, span, where = told
        writers = node.writers
        writer = writers[where if where >= 0 else int(self.random.random() * len(writers))]
        received = self.received(at)
        time = self.clock.text
        self.put(at, received, writer.log(self.random, Line(time(at), time(received), *said, trace, span)))

    def audit(self, at: int, write: Callable[[str, str], str]) -> None:
        """One audit log entry; `write` makes it from the texts of its time and of its receipt."""
        received = self.received(at)
        self.put(at, received, write(self.clock.text(at), self.clock.text(received)))
