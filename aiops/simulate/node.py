"""One service as it runs: its instances, what it logs, and how well it is at the moment."""

from __future__ import annotations

from random import Random
from typing import Final

from aiops.simulate.entries import Writer
from aiops.simulate.messages import Failure, Message, ServiceMessages
from aiops.simulate.platforms import WRITERS, revision_name
from aiops.simulate.shop import Call, Operation, Service
from aiops.simulate.values import Format

Said = tuple[str, Format]
"""Severity and payload."""

Failed = tuple[int, Format]
"""Status and payload."""

_FRONTS: Final = ("load_balancer", "cloud_run")


class CompiledCall:
    """A call with its texts rendered and its target found."""

    __slots__ = (
        "chance",
        "degraded",
        "failed",
        "node",
        "operation",
        "optional",
        "retried",
        "timed_out",
        "timeout_ns",
    )

    def __init__(
        self,
        node: Node,
        operation: Compiled,
        *,
        chance: float,
        optional: bool,
        retried: bool,
        timeout_ms: int,
    ) -> None:
        self.node, self.operation = node, operation
        self.chance, self.optional, self.retried = chance, optional, retried
        self.timeout_ns = timeout_ms * 1_000_000
        if node.service.platform == "cloud_sql":
            text, reason = f"query on {node.service.name} ", "connection reset by peer"
        else:
            text, reason = f"call to {node.service.name}.{operation.name} ", "503 Service Unavailable"
        self.failed = Message(f"{text}failed: {reason}, {{attempt}} attempts").payload()
        self.timed_out = Message(
            f"{text}timed out: context deadline exceeded after {timeout_ms} ms"
        ).payload()
        self.degraded = Message(f"{text}failed, going on without it ({{ms}} ms spent)").payload()


class Compiled:
    """An operation with its formats rendered."""

    __slots__ = (
        "chatty",
        "compiled_calls",
        "everyday",
        "fixed_path",
        "method",
        "name",
        "path",
        "path_varies",
        "refused",
        "refused_status",
        "source",
        "work_ns",
    )

    def __init__(self, operation: Operation, messages: ServiceMessages) -> None:
        self.source, self.name, self.method = operation, operation.name, operation.method
        self.work_ns = int(operation.work_ms * 1_000_000)
        self.refused, self.refused_status = operation.refused, operation.refused_status
        self.path = Format.inside(operation.path)
        self.path_varies, self.fixed_path = "{" in operation.path, operation.path
        self.everyday: list[Said] = [
            (message.severity, message.payload()) for message in messages.everyday.get(operation.name, ())
        ]
        self.chatty: list[Said] = [(message.severity, message.payload()) for message in messages.chatter]
        self.compiled_calls: list[CompiledCall] = []

    @property
    def calls(self) -> tuple[Call, ...]:
        return self.source.calls


class Node:
    """A service of one tenant. Faults change its attributes; `recover` undoes them."""

    def __init__(self, project: str, service: Service, random: Random) -> None:
        self.project, self.service, self._random = project, service, random
        messages = service.messages
        self.operations = {operation.name: Compiled(operation, messages) for operation in service.operations}
        self.warnings = [said(message) for message in messages.warnings]
        self.rare = [said(message) for message in messages.rare]
        self.background = [failed(failure) for failure in messages.background]
        self.denials = (
            _DENIED.payload() if "login" in self.operations and service.platform == "cloud_run" else None
        )
        if service.name.startswith("frontend"):
            self.denials = None
        self.is_front = service.platform in _FRONTS and "home" in self.operations
        self.logs = service.platform not in {"load_balancer", "cloud_sql"}
        self.logs_access = service.platform != "cloud_sql"
        self.logs_at_end = service.platform in {"gke", "cloud_function"}
        self.caller_address = (
            f"10.{random.getrandbits(6)}.{random.getrandbits(8)}.{random.getrandbits(7) + 2}"
        )
        self.open = True
        self.lines = 0  # so far, those that a fault kept back included; not the housekeeping of a database
        self.roll_outs = 12 + random.getrandbits(5)
        self.writers: list[Writer] = []
        self._stable: list[Writer] = []
        self.restart(self.next_revision())
        self.recover()

    def link(self, nodes: dict[str, Node]) -> None:
        """Find the targets of all calls; a service that is left out of the shop is not called."""
        for operation in self.operations.values():
            operation.compiled_calls = [
                CompiledCall(
                    nodes[call.service],
                    nodes[call.service].operations[call.operation],
                    chance=call.chance,
                    optional=call.optional,
                    retried=call.retried,
                    timeout_ms=call.timeout_ms,
                )
                for call in operation.source.calls
                if call.service in nodes
            ]

    def choose(self, chance: float) -> int:
        """The instance that serves a call, by a number of 0 to 1."""
        if not self.new_from:
            return int(chance * len(self.writers))
        if chance < self.new_share:
            return self.new_from + int(chance / self.new_share * (len(self.writers) - self.new_from))
        return int((chance - self.new_share) / (1 - self.new_share) * self.new_from)

    def recover(self) -> None:
        """Back to how the service is on a good day."""
        self.error_share = 0.0
        self.failures: list[Failed] = self.background
        self.latency_factor = 1.0
        self.latency_add_ns = 0
        self.hang_ns = 0
        self.silent = False
        self.absorbs = False
        self.new_from = 0
        self.new_share = 0.0
        self.writers = self._stable

    def next_revision(self) -> str:
        self.roll_outs += 1
        return revision_name(self.service.platform, self.service.name, self.roll_outs, self._random)

    def restart(self, revision: str) -> None:
        """All instances run `revision` from now on."""
        self._stable = self.writers = self.instances(revision)

    def instances(self, revision: str) -> list[Writer]:
        writer = WRITERS[self.service.platform]
        return [
            writer(self.project, self.service.name, revision, self._random)
            for _ in range(self.service.instances)
        ]

    def canary(self, writers: list[Writer], share: float) -> None:
        """`share` of the calls go to the instances `writers` of a new revision."""
        self.new_from = len(self._stable)
        self.new_share = min(share, 0.999)
        self.writers = [*self._stable, *writers]


_DENIED: Final = Message(
    "login of {email} from @address@ denied: wrong password",
    "WARNING",
    {"component": "sessions", "reason": "invalid_credentials"},
)


def said(message: Message) -> Said:
    """A message with its payload rendered."""
    return message.severity, message.payload()


def failed(failure: Failure) -> Failed:
    """A failure with its payload rendered."""
    return failure.status, failure.message.payload()
