"""The entries of a run, one second after the other, and the truth of what is wrong in them.

Memory does not grow with the run: only entries of requests still under way are held back.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from random import Random
from typing import Final

from aiops.simulate.background import Background
from aiops.simulate.config import SimulationConfig
from aiops.simulate.effects import Effect
from aiops.simulate.entries import SECOND_NS, Clock
from aiops.simulate.faults import Fault
from aiops.simulate.malformed import damage
from aiops.simulate.plans import plan_faults
from aiops.simulate.rhythm import make_tenants
from aiops.simulate.world import Delivery, World

COPY_DELAY_NS: Final = 5 * SECOND_NS


def truth(config: SimulationConfig) -> list[Fault]:
    """The faults of the run, by start. Raises ValueError for a plan that cannot be read."""
    return plan_faults(config)


def simulate(config: SimulationConfig) -> Iterator[bytes]:
    """LogEntries as lines of JSON, without line ends, in order of event time.

    With `out_of_order` in the order of receipt. Event times lie within [start, end).
    """
    return (line for _, _, line in deliveries(config))


def deliveries(config: SimulationConfig, lines: dict[str, int] | None = None) -> Iterator[Delivery]:
    """The same with (when it comes, event time, line); both times in nanoseconds.

    `lines` gets, by fault_id, how many lines the service of each fault had while it lasted, those that
    a silence kept back included: a fault with hardly any leaves no trace. It is whole at the end.
    """
    pending: dict[int, list[Delivery]] = {}
    clock = Clock()
    faults = truth(config)
    counts = {} if lines is None else lines
    tenants = [
        _TenantRun(World(config, tenant, pending, clock), faults, counts)
        for tenant in make_tenants(config.tenants, config.first_tenant)
    ]
    spoil = _Spoiler(config)
    for second in range(config.start_second, config.end_second):
        for tenant in tenants:
            tenant.tick(second)
        if second in pending:
            yield from spoil.apply(sorted(pending.pop(second)))
    for tenant in tenants:
        tenant.count_lines()
    while pending:
        yield from spoil.apply(sorted(pending.pop(min(pending))))
    yield from spoil.rest()


class _TenantRun:
    """One tenant's world with its faults as they come and go."""

    def __init__(self, world: World, faults: list[Fault], lines: dict[str, int]) -> None:
        self.world, self._lines = world, lines
        self._to_come = [fault for fault in faults if fault.tenant_id == world.tenant.tenant_id][::-1]
        self._active: list[Effect] = []
        self._background = Background(world) if world.config.noise else None

    def tick(self, second: int) -> None:
        self._change_faults(second)
        for effect in self._active:
            effect.tick(second)
        if self._background is not None:
            self._background.tick(second)
        self.world.visit(second)

    def count_lines(self) -> None:
        """Count also for the faults that last until the end of the run."""
        for effect in self._active:
            self._lines[effect.fault.fault_id] = effect.lines

    def _change_faults(self, second: int) -> None:
        while self._to_come and self._to_come[-1].start_second <= second:
            self._active.append(Effect(self._to_come.pop(), self.world))
        ended = [effect for effect in self._active if effect.fault.end_second <= second]
        for effect in ended:
            self._lines[effect.fault.fault_id] = effect.lines
            self._active.remove(effect)
            effect.stop(second)
        if ended:
            self.world.surge.clear()
            for node in self.world.nodes.values():
                node.recover()


class _Spoiler:
    """Copies and damaged lines, as shares of what is delivered."""

    def __init__(self, config: SimulationConfig) -> None:
        self._random = Random(f"spoiler {config.seed}")  # noqa: S311
        self._copies, self._malformed, self._shuffled = config.copies, config.malformed, config.out_of_order
        self._late_copies: list[Delivery] = []

    def apply(self, entries: list[Delivery]) -> Iterator[Delivery]:
        """A copy follows its entry at once, or in the order of receipt up to 5 seconds later."""
        if not self._copies and not self._malformed:
            yield from entries
            return
        chance = self._random.random
        for come, at, line in entries:
            while self._late_copies and self._late_copies[0][0] <= come:
                yield heappop(self._late_copies)
            delivered = line
            if self._malformed and chance() < self._malformed:
                delivered = damage(line, self._random)
            yield come, at, delivered
            if self._copies and chance() < self._copies:
                if self._shuffled:
                    heappush(self._late_copies, (come + int(chance() * COPY_DELAY_NS), at, delivered))
                else:
                    yield come, at, delivered

    def rest(self) -> Iterator[Delivery]:
        """Copies that come after the last entry."""
        yield from sorted(self._late_copies)
