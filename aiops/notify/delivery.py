"""Sending what waits for one channel: at its rate, again after failures, in its turn."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Sequence
from typing import Final

from aiops.notify.channel_models import AlertmanagerChannel, Channel, is_for_people
from aiops.notify.notices import Notice, Sender, SendError
from aiops.notify.outbox import Outbox, Waiting
from aiops.notify.secrets import SecretError
from aiops.notify.wording import title_of
from aiops.text import one_line
from transforms.elements import MICROSECONDS

FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 300.0
MOST_IN_A_BATCH: Final = 100
MOST_AT_ONCE: Final = 1_000
MOST_IN_A_DIGEST: Final = 20_000

Say = Callable[[str], None]


class Delivery:
    """One channel's turn; not for several threads at once.

    A failure that may pass pauses the whole channel: what waits behind it would fail as well. Pauses
    double with each failure on end, with jitter, and are as long as the server asks for.
    """

    def __init__(
        self, channel: Channel, sender: Sender, outbox: Outbox, say: Say, chance: random.Random | None = None
    ) -> None:
        self._channel = channel
        self._sender = sender
        self._outbox = outbox
        self._say = say
        self._chance = chance or random.Random()  # noqa: S311 - jitter is no secret
        self._failures = 0
        self._paused_until_us = 0

    @property
    def name(self) -> str:
        return self._channel.name

    def send_due(self, now_us: int, clock: Callable[[], int] | None = None) -> int | None:
        """Send what is due at `now_us`; returns when to look again, None if nothing waits."""
        if now_us < self._paused_until_us:
            return self._paused_until_us if self._outbox.next_due_us(self.name) is not None else None
        most = MOST_IN_A_DIGEST if is_for_people(self._channel) else MOST_AT_ONCE
        waiting = self._outbox.waiting(self.name, now_us, most)
        if waiting:
            rate = self._channel.rate
            sent = self._outbox.sent_times(self.name, now_us - rate.seconds * MICROSECONDS)
            allowed = rate.messages - len(sent)
            if allowed <= 0:
                return sent[-rate.messages] + rate.seconds * MICROSECONDS + 1
            for group in messages_of(waiting, allowed, self._channel):
                if not self._send(group, clock() if clock is not None else now_us):
                    return self._paused_until_us
        due_us = self._outbox.next_due_us(self.name)
        return None if due_us is None else max(due_us, now_us + 1)

    def _send(self, group: Sequence[Waiting], now_us: int) -> bool:
        """Send one message; returns whether to go on with the next one."""
        notices = [waiting.notice for waiting in group]
        self._outbox.count_message(self.name, now_us)
        error = self._try(notices, now_us)
        if error is None:
            self._failures = 0
            self._outbox.mark_sent(notices, now_us)
            for notice in notices:
                self._say(f"{self.name}: {_brief(notice)}" + (" (in a digest)" if len(notices) > 1 else ""))
            return True
        if error.is_final and len(group) > 1 and not is_for_people(self._channel):
            # One of them may spoil the batch; the first that pauses the channel ends the turn.
            return all(self._send([one], now_us) for one in group)
        old = [one.notice for one in group if error.is_final or self._is_too_old(one, now_us)]
        if old:
            why = str(error) if error.is_final else f"given up; at last {error}"
            self._bury(old, why, now_us)
        young = [notice for notice in notices if notice not in old]
        if error.is_final:
            return True
        self._pause(error, now_us)
        if not young:
            return False
        self._outbox.postpone(young, self._paused_until_us, str(error), now_us)
        seconds = (self._paused_until_us - now_us) / MICROSECONDS
        self._say(f"{self.name}: {error}; trying again in {seconds:.0f} s ({len(young)} waiting)")
        return False

    def _try(self, notices: list[Notice], now_us: int) -> SendError | None:
        try:
            self._sender.send(notices, now_us)
        except SendError as error:
            return error
        except SecretError as error:
            return SendError(str(error), is_final=False)
        except Exception as error:  # noqa: BLE001 - a mistake in one message must not end paging
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{place.name}, line {place.lineno}"
            return SendError(f"a mistake of aiops itself: {type(error).__name__} in {where}", is_final=True)
        return None

    def _is_too_old(self, waiting: Waiting, now_us: int) -> bool:
        return now_us - waiting.created_us >= self._channel.give_up_seconds * MICROSECONDS

    def _bury(self, notices: list[Notice], reason: str, now_us: int) -> None:
        fallback = self._channel.fallback
        self._outbox.bury(notices, one_line(reason, 500), now_us, fallback)
        for notice in notices:
            then = f"; {fallback} is told instead" if fallback and not notice.failed_channel else ""
            self._say(f"{self.name}: NOT SENT: {_brief(notice)}: {reason}{then} (aiops notify failed)")

    def _pause(self, error: SendError, now_us: int) -> None:
        self._failures += 1
        seconds = min(FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 20), LONGEST_PAUSE_SECONDS)
        seconds = max(seconds * self._chance.uniform(0.5, 1.0), error.retry_after_seconds or 0.0)
        self._paused_until_us = now_us + round(seconds * MICROSECONDS)

    def has_due(self, now_us: int) -> bool:
        """Whether something that could have been sent by now was not."""
        due_us = self._outbox.next_due_us(self.name)
        return due_us is not None and (due_us <= now_us or now_us < self._paused_until_us)

    def close(self) -> None:
        self._sender.close()


def messages_of(waiting: Sequence[Waiting], allowed: int, channel: Channel) -> list[list[Waiting]]:
    """What to send now, as messages: at most `allowed` of them, 1 or more.

    People get one for each alert up to the rate, and all that is beyond as one digest. Programs get
    each alert for itself (Alertmanager many in one post); what is beyond the rate waits.
    """
    if isinstance(channel, AlertmanagerChannel):
        starts = range(0, len(waiting), MOST_IN_A_BATCH)
        return [list(waiting[start : start + MOST_IN_A_BATCH]) for start in starts][:allowed]
    if len(waiting) <= allowed or not is_for_people(channel):
        return [[one] for one in waiting[:allowed]]
    singles = allowed - 1
    return [*([one] for one in waiting[:singles]), list(waiting[singles:])]


def _brief(notice: Notice) -> str:
    return f"{notice.kind} {one_line(notice.event.alert_id, 64)[:8]} {title_of(notice, one_line)}"
