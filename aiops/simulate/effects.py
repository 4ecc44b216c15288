"""What each fault does to the shop, second by second."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from aiops.simulate.entries import SECOND_NS, Writer
from aiops.simulate.faults import PROJECT, Fault, FaultType
from aiops.simulate.messages import Failure, Message
from aiops.simulate.node import Failed, Node, failed
from aiops.simulate.rhythm import poisson
from aiops.simulate.shop import Route, upstream
from aiops.simulate.values import Format, public_address
from aiops.simulate.world import World

RAMP_SECONDS: Final = 60  # until a failing dependency fails in full
ABSORBED_SECONDS: Final = 40  # for how long each further caller lives from caches and spare connections

_POSTGRES: Final = "[{pid}]: [{count}-1] db=shop,user=app "


def _error(status: int, text: str) -> Failure:
    return Failure(status, Message(text, "ERROR"))


_EXHAUSTED: Final[dict[str, tuple[Failure, ...]]] = {
    "cloud_run": (
        _error(500, "Memory limit of 512 MiB exceeded with {many} MiB used. Consider increasing the limit."),
        _error(503, "Container terminated: out of memory, exit code 137"),
    ),
    "gke": (
        _error(
            500, "java.lang.OutOfMemoryError: Java heap space\n\tat com.shop.Buffers.grow(Buffers.java:88)"
        ),
        _error(503, "connection pool exhausted: timeout waiting for idle object, active={percent}, max=80"),
        _error(500, "write /var/lib/spool/{hex}: no space left on device"),
    ),
    "app_engine": (
        _error(500, "Exceeded soft memory limit of 256 MB with {many} MB after {count} requests."),
    ),
    "cloud_function": (_error(500, "Function invocation was interrupted. Error: memory limit exceeded."),),
    "cloud_sql": (
        _error(500, _POSTGRES + "FATAL:  remaining connection slots are reserved for superusers"),
        _error(500, _POSTGRES + "ERROR:  could not extend file: No space left on device"),
    ),
}
_HANGS: Final = _error(503, "request queue is full: {many} waiting, oldest {slow_ms} ms; shedding load")
_HANGS_DB: Final = _error(503, _POSTGRES + "ERROR:  canceling statement due to statement timeout")
_CERTIFICATE: Final = (
    Message(
        "TLS certificate CN=*.shop.example of upstream {city} expires in 2 days (notAfter in {many} h)",
        "WARNING",
    ),
    Message("x509: certificate will expire soon: renew serial {hex}", "WARNING"),
)
_NEW: Final = Message(
    "fallback price list in use for region {city}: exchange service gave an empty answer {count} times",
    "WARNING",
)


class Effect:
    """One fault at work in one tenant's world. `tick` runs once for each second of the fault."""

    def __init__(self, fault: Fault, world: World) -> None:
        self.fault, self.world = fault, world
        self.random = world.random
        self.node: Node = (
            world.nodes[fault.service] if fault.service != PROJECT else next(iter(world.nodes.values()))
        )
        self._failures: list[Failed] = []
        self._new: list[Writer] = []
        self._audited = 0
        self._lines_before = self.node.lines
        self._attackers = [public_address(self.random) for _ in range(3)]

    @property
    def strength(self) -> float:
        return self.fault.intensity

    @property
    def lines(self) -> int:
        """Lines of the fault's service while it lasted, those that a silence kept back included."""
        return self._audited if self.fault.service == PROJECT else self.node.lines - self._lines_before

    def tick(self, second: int) -> None:
        _EFFECTS[self.fault.type](self, second)

    def stop(self, second: int) -> None:
        """What is logged when the fault is over."""
        if self.fault.type == "bad_deploy":
            roll_out(self.world, self.node, self._moment(second), self.node.next_revision(), "v1.8.1")

    # ------------------------------------------------------------------------- one for each type

    def latency(self, second: int) -> None:  # noqa: ARG002
        self.node.latency_add_ns = int(2.4 * self.strength * SECOND_NS)

    def slow_drift(self, second: int) -> None:
        done = (second - self.fault.start_second) / max(1, self.fault.end_second - self.fault.start_second)
        self.node.latency_factor = 1 + 4 * self.strength * done

    def errors(self, second: int) -> None:  # noqa: ARG002
        failure = self.node.service.messages.fault
        if failure is not None:
            self._fail(0.75 * self.strength, (failure,))

    def silence(self, second: int) -> None:  # noqa: ARG002
        self.node.silent = True

    def resource_exhaustion(self, second: int) -> None:
        failures = _EXHAUSTED[self.node.service.platform]
        self._fail(0.4 * self.strength, failures)
        self.node.latency_factor = 1 + 2 * self.strength
        self._log(second, 0.3 * self.strength, tuple(failure.message for failure in failures))

    def brute_force(self, second: int) -> None:
        name = self.fault.service
        routes = [route for route in self.world.routes if route.operation == "login"]
        ours = [route for route in routes if self.world.reaches(route.service, route.operation, name)]
        target = ours[0] if ours else Route(name, "login", 1)
        for _ in range(poisson(4 * self.strength, self.random.random)):
            attacker = self._attackers[int(self.random.random() * len(self._attackers))]
            self.world.request(target, self._moment(second), attacker)

    def bad_deploy(self, second: int) -> None:
        if not self._new:
            revision = self.node.next_revision()
            self._new = self.node.instances(revision)
            roll_out(self.world, self.node, self._moment(second), revision, "v1.8.0")
        failure = self.node.service.messages.regression
        if failure is not None:
            self._fail(0.65 * self.strength, (failure,))
        self.node.canary(self._new, 0.9)

    def cascading_failure(self, second: int) -> None:
        elapsed = second - self.fault.start_second
        failure = _HANGS_DB if self.node.service.platform == "cloud_sql" else _HANGS
        self._fail(0.95 * self.strength * min(1.0, (elapsed + 1) / RAMP_SECONDS), (failure,))
        self.node.hang_ns = 5 * SECOND_NS
        for name, distance in upstream(self.world.services, self.fault.service).items():
            self.world.nodes[name].absorbs = distance > 0 and elapsed < distance * ABSORBED_SECONDS

    def certificate_expiry(self, second: int) -> None:
        self._log(second, 0.2 * self.strength, _CERTIFICATE)

    def privilege_change(self, second: int) -> None:
        auditor = self.world.auditor
        for after, write in ((0, auditor.grant), (20, auditor.new_key), (45, auditor.open_firewall)):
            if second == self.fault.start_second + after:
                self._audited += 1
                self.world.audit(self._moment(second), write)

    def traffic_surge(self, second: int) -> None:  # noqa: ARG002
        self.world.surge[self.fault.service] = self.world.config.rate / 60 * 4 * self.strength

    def new_pattern(self, second: int) -> None:
        self._log(second, 0.7 * self.strength, (_NEW,))

    # ------------------------------------------------------------------------------------- tools

    def _fail(self, share: float, failures: tuple[Failure, ...]) -> None:
        if not self._failures:
            self._failures = [failed(failure) for failure in failures]
        self.node.error_share = share
        self.node.failures = self._failures

    def _moment(self, second: int) -> int:
        return second * SECOND_NS + int(self.random.random() * SECOND_NS)

    def _log(self, second: int, mean: float, messages: tuple[Message, ...]) -> None:
        for _ in range(poisson(mean, self.random.random)):
            message = messages[int(self.random.random() * len(messages))]
            said = (message.severity, _payload(message).fill(self.random))
            self.node.lines += 1
            self.world.say(self.node, self._moment(second), said)


_EFFECTS: Final[dict[FaultType, Callable[[Effect, int], None]]] = {
    "latency": Effect.latency,
    "slow_drift": Effect.slow_drift,
    "errors": Effect.errors,
    "silence": Effect.silence,
    "resource_exhaustion": Effect.resource_exhaustion,
    "brute_force": Effect.brute_force,
    "bad_deploy": Effect.bad_deploy,
    "cascading_failure": Effect.cascading_failure,
    "certificate_expiry": Effect.certificate_expiry,
    "privilege_change": Effect.privilege_change,
    "traffic_surge": Effect.traffic_surge,
    "new_pattern": Effect.new_pattern,
}

_payloads: dict[str, Format] = {}


def _payload(message: Message) -> Format:
    found = _payloads.get(message.text)
    if found is None:
        found = _payloads[message.text] = message.payload()
    return found


def roll_out(world: World, node: Node, at: int, revision: str, version: str) -> None:
    """What the audit log says of a roll-out."""
    deploy = partial(world.auditor.deploy, service=node.service, revision=revision, version=version)
    world.audit(at, deploy)
