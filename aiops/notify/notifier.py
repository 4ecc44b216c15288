"""From events to notices: the pure clock with a memory. Sends nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from aiops.notify.notices import Notice
from aiops.notify.outbox import Memory, Outbox
from transforms.alert.next_actions import Action, next_actions
from transforms.alert.notify_policy import Policy
from transforms.alert.situation import Situation, changes_situations, fold_event
from transforms.alert_elements import AlertEvent
from transforms.elements import MICROSECONDS

_FORGET_EVERY_US: Final = 3600 * MICROSECONDS


class Notifier:
    """Alerts that live are in memory, all others in the outbox's file."""

    def __init__(
        self,
        policy: Policy,
        outbox: Outbox,
        now_us: int,
        answer: Callable[[str], str] = lambda _: "",
    ) -> None:
        """`answer` gives the options of `aiops alerts` that reach the alerts of a tenant."""
        self._policy = policy
        self._answer = answer
        self._outbox = outbox
        self._living = {memory.situation.event.alert_id: memory for memory in outbox.living()}
        self._forgot_us = now_us
        for memory in self._living.values():
            memory.due_us = now_us  # the policy may have changed since

    def take(self, events: Iterable[AlertEvent], now_us: int) -> None:
        """Take events, in any order and with copies; when it returns, what follows from them is kept."""
        changed: dict[str, Memory] = {}
        for event in events:
            if not changes_situations(event):
                continue
            memory = changed.get(event.alert_id) or self._find(event.alert_id)
            situation = fold_event(memory.situation if memory is not None else None, event)
            if memory is None:
                memory = Memory(situation)
            elif situation == memory.situation:
                continue
            memory.situation = situation
            changed[event.alert_id] = memory
        with self._outbox.transaction():
            for memory in changed.values():
                self._plan(memory, now_us)

    def tick(self, now_us: int) -> None:
        """Plan what is due by time alone."""
        due = [one for one in self._living.values() if one.due_us is not None and one.due_us <= now_us]
        if due:
            with self._outbox.transaction():
                for memory in due:
                    self._plan(memory, now_us)
        if now_us - self._forgot_us >= _FORGET_EVERY_US:
            self._forgot_us = now_us
            self._outbox.forget_old(now_us)

    def next_due_us(self) -> int | None:
        times = (memory.due_us for memory in self._living.values())
        return min((time for time in times if time is not None), default=None)

    def _find(self, alert_id: str) -> Memory | None:
        return self._living.get(alert_id) or self._outbox.memory(alert_id)

    def _plan(self, memory: Memory, now_us: int) -> None:
        plan = next_actions(memory.situation, memory.told, self._policy, now_us)
        memory.told, memory.due_us = plan.told, plan.due_us
        answer = self._answer(memory.situation.event.tenant_id)
        notices = [_notice(action, memory.situation, now_us, answer) for action in plan.actions]
        self._outbox.commit(memory, notices, plan.commands, now_us)
        alert_id = memory.situation.event.alert_id
        if memory.is_over:
            self._living.pop(alert_id, None)
        else:
            self._living[alert_id] = memory


def _notice(action: Action, situation: Situation, now_us: int, answer: str) -> Notice:
    return Notice(
        notice_id=action.notice_id,
        channel=action.channel,
        kind=action.kind,
        event=situation.event,
        told_at_us=now_us,
        route=action.route,
        step=action.step,
        count=action.count,
        severity_before=action.severity_before,
        answer=answer,
    )
