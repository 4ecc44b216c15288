"""What goes on in every project on any day, without meaning anything."""

from __future__ import annotations

from typing import Final

from aiops.simulate.effects import roll_out
from aiops.simulate.entries import SECOND_NS
from aiops.simulate.messages import Message
from aiops.simulate.node import Node
from aiops.simulate.rhythm import is_weekend, local_hour, poisson
from aiops.simulate.values import Format
from aiops.simulate.world import World

ADMIN_READS: Final = 1 / 45  # a second
ROUTINE_DEPLOYS: Final = 1 / 14_400  # a second of working hours
CHECKPOINT_SECONDS: Final = 300

_DATABASE: Final = (
    Message(
        "[{pid}]: [1-1] db=shop,user=app LOG:  connection authorized: user=app database=shop SSL enabled"
    ),
    Message('[{pid}]: [1-1] db=,user= LOG:  automatic vacuum of table "shop.stock": {many} tuples removed'),
    Message(
        "[{pid}]: [2-1] db=shop,user=app LOG:  disconnection: session time: 0:00:{percent}.{many} user=app"
    ),
)
_CHECKPOINT: Final = Message(
    "[26]: [{many}-1] db=,user= LOG:  checkpoint complete: wrote {many} buffers ({percent}.2%); sync={ms} ms"
)


class Background:
    """Administrators, roll-outs that go well, and the housekeeping of the database."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._lines = [message.payload() for message in _DATABASE]
        self._checkpoint = _CHECKPOINT.payload()
        self._databases = [node for node in world.nodes.values() if node.service.platform == "cloud_sql"]
        self._deployable = [node for node in world.nodes.values() if node.logs]

    def tick(self, second: int) -> None:
        world, chance = self.world, self.world.random.random
        for _ in range(poisson(ADMIN_READS, chance)):
            world.audit(self._moment(second), world.auditor.read)
        for node in self._databases:
            if chance() < 0.15:
                self._say(node, second, self._lines[int(chance() * len(self._lines))])
            if second % CHECKPOINT_SECONDS == 0:
                self._say(node, second, self._checkpoint)
        working = 9 <= local_hour(world.tenant, second) < 17 and not is_weekend(world.tenant, second)
        if working and chance() < ROUTINE_DEPLOYS and self._deployable:
            node = self._deployable[int(chance() * len(self._deployable))]
            if node.new_from:
                return  # another roll-out is under way
            revision = node.next_revision()
            roll_out(world, node, self._moment(second), revision, f"v1.7.{node.roll_outs}")
            node.restart(revision)

    def _moment(self, second: int) -> int:
        return second * SECOND_NS + int(self.world.random.random() * SECOND_NS)

    def _say(self, node: Node, second: int, payload: Format) -> None:
        self.world.say(node, self._moment(second), ("INFO", payload.fill(self.world.random)))
