"""The notifier's memory, in one SQLite file: what was told of each alert, and what is still to be sent.

A plan and its notices are one transaction, made before the events are acknowledged: whoever is
killed goes on where it was. A notice that was sent but not yet marked is sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from aiops.notify.notices import Notice
from aiops.notify.state_file import StateFile
from transforms.alert.next_actions import Told
from transforms.alert.situation import Situation
from transforms.alert_elements import AlertCommand
from transforms.elements import DAY_US

KEEP_SENT_US: Final = 7 * DAY_US
KEEP_ALERTS_US: Final = 60 * DAY_US
"""Twice the longest interval of repeats that a policy can have."""


class Memory(msgspec.Struct):
    """What is known of one alert: how it stands, what its channels were told, when to look again."""

    situation: Situation
    told: dict[str, Told] = {}
    due_us: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be told unless something happens."""
        return not self.situation.is_firing and all(told.is_over for told in self.told.values())


class Waiting(msgspec.Struct, frozen=True):
    """A notice that has not been sent."""

    notice: Notice
    attempts: int
    created_us: int


class Failed(msgspec.Struct, frozen=True):
    """A dead letter: a notice that was given up, or a message that could not be read (`channel` is empty)."""

    dead_id: str
    channel: str
    alert_id: str
    kind: str
    reason: str
    failed_us: int


_memory_decoder = msgspec.msgpack.Decoder(Memory)
_notice_decoder = msgspec.msgpack.Decoder(Notice)
_command_decoder = msgspec.msgpack.Decoder(AlertCommand)
_encode = msgspec.msgpack.encode
_URGENCY: Final = {"critical": 3, "high": 2, "medium": 1, "low": 0}


class Outbox(StateFile):
    """What the file holds, as values. Safe with several threads; raises StateError."""

    # ------------------------------------------------------------------------------- alerts

    def memory(self, alert_id: str) -> Memory | None:
        rows = self.rows("SELECT memory FROM alerts WHERE alert_id = ?", alert_id)
        return _memory_decoder.decode(rows[0][0]) if rows else None

    def living(self) -> list[Memory]:
        """Every alert of which something may have to be told without a new event."""
        rows = self.rows("SELECT memory FROM alerts WHERE NOT is_over")
        return [_memory_decoder.decode(row[0]) for row in rows]

    def commit(
        self, memory: Memory, notices: Iterable[Notice], commands: Iterable[AlertCommand], now_us: int
    ) -> None:
        """Keep a plan: what will have been told, what to send, what to log. All of it or nothing.

        A notice takes the place of one to the same channel that still waits: only how the alert stands
        last is told, and never in the wrong order.
        """
        with self.transaction():
            self.run(
                "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?)",
                *(memory.situation.event.alert_id, _encode(memory), memory.is_over, now_us),
            )
            for notice in notices:
                self._add(self._supersede(notice, now_us), now_us)
            for command in commands:
                self.run(
                    "INSERT OR IGNORE INTO commands VALUES (?, ?, 0, ?)",
                    *(command.command_id, _encode(command), now_us),
                )

    def _supersede(self, notice: Notice, now_us: int) -> Notice:
        where = "alert_id = ? AND channel = ? AND status = 'waiting'"
        key = (notice.event.alert_id, notice.channel)
        for (blob,) in self.rows(f"SELECT notice FROM notices WHERE {where}", *key):  # noqa: S608
            before = _notice_decoder.decode(blob)
            if before.severity_before:
                notice = msgspec.structs.replace(notice, severity_before=before.severity_before)
        self.run(
            f"UPDATE notices SET status = 'superseded', changed_us = ? WHERE {where}",  # noqa: S608
            now_us,
            *key,
        )
        return notice

    def _add(self, notice: Notice, now_us: int) -> None:
        urgency = _URGENCY[notice.event.severity]
        self.run(
            "INSERT OR IGNORE INTO notices VALUES (?, ?, ?, ?, 'waiting', ?, 0, ?, ?, ?, '')",
            *(notice.notice_id, notice.channel, notice.event.alert_id, _encode(notice), urgency),
            *(now_us, now_us, now_us),
        )

    # ------------------------------------------------------------------------------ sending

    def waiting(self, channel: str, now_us: int, limit: int = 1_000) -> list[Waiting]:
        """What is to be sent to `channel` now: what was not tried yet first, of these the worst."""
        rows = self.rows(
            "SELECT notice, attempts, created_us FROM notices WHERE status = 'waiting' AND channel = ? "
            "AND due_us <= ? ORDER BY attempts, urgency DESC, created_us, notice_id LIMIT ?",
            *(channel, now_us, limit),
        )
        return [Waiting(_notice_decoder.decode(blob), tries, created) for blob, tries, created in rows]

    def next_due_us(self, channel: str) -> int | None:
        """When something waits to be sent to `channel`, or None."""
        rows = self.rows("SELECT min(due_us) FROM notices WHERE status = 'waiting' AND channel = ?", channel)
        due: int | None = rows[0][0]
        return due

    def count_message(self, channel: str, now_us: int) -> None:
        """Remember that something is sent now: rates are kept across restarts."""
        self.run("INSERT INTO messages VALUES (?, ?)", channel, now_us)

    def sent_times(self, channel: str, since_us: int) -> list[int]:
        """When messages were sent to `channel` after `since_us`, the earliest first."""
        sql = "SELECT sent_us FROM messages WHERE channel = ? AND sent_us > ? ORDER BY sent_us"
        return [row[0] for row in self.rows(sql, channel, since_us)]

    def mark_sent(self, notices: Sequence[Notice], now_us: int) -> None:
        """What has arrived has arrived, even if it was superseded on its way."""
        self._mark(notices, "status = 'sent', reason = '', changed_us = ? WHERE notice_id = ?", now_us)

    def postpone(self, notices: Sequence[Notice], due_us: int, reason: str, now_us: int) -> None:
        """Try again at `due_us`, unless something newer waits by then."""
        change = "attempts = attempts + 1, due_us = ?, reason = ?, changed_us = ?"
        self._mark(notices, f"{change} WHERE notice_id = ? AND status = 'waiting'", due_us, reason, now_us)

    def bury(self, notices: Sequence[Notice], reason: str, now_us: int, fallback: str = "") -> None:
        """Give up; the channel `fallback` is told in its place, if there is one."""
        with self.transaction():
            self._mark(
                notices, "status = 'dead', reason = ?, changed_us = ? WHERE notice_id = ?", reason, now_us
            )
            for notice in notices:
                if fallback and not notice.failed_channel and not notice.is_over:
                    self._add(_instead(notice, fallback, reason), now_us)

    def _mark(self, notices: Sequence[Notice], change: str, *values: object) -> None:
        with self.transaction():
            for notice in notices:
                self.run(f"UPDATE notices SET {change}", *values, notice.notice_id)  # noqa: S608

    # ----------------------------------------------------------------------------- commands

    def waiting_commands(self) -> list[AlertCommand]:
        rows = self.rows("SELECT command FROM commands WHERE NOT is_done ORDER BY changed_us LIMIT 1000")
        return [_command_decoder.decode(row[0]) for row in rows]

    def mark_logged(self, commands: Iterable[AlertCommand]) -> None:
        with self.transaction():
            for command in commands:
                self.run("UPDATE commands SET is_done = 1 WHERE command_id = ?", command.command_id)

    # ------------------------------------------------------------------------- dead letters

    def refuse(self, message_id: str, reason: str, now_us: int) -> None:
        """A message that could not be read; nothing of it is kept."""
        self.run("INSERT OR IGNORE INTO refused VALUES (?, ?, ?)", message_id, reason, now_us)

    def failed(self) -> list[Failed]:
        """All dead letters, the newest first."""
        rows = self.rows("SELECT notice, reason, changed_us FROM notices WHERE status = 'dead'")
        letters = [
            Failed(notice.notice_id, notice.channel, notice.event.alert_id, notice.kind, reason, when)
            for notice, reason, when in ((_notice_decoder.decode(blob), *rest) for blob, *rest in rows)
        ]
        refused = self.rows("SELECT message_id, reason, refused_us FROM refused")
        letters += [Failed(name, "", "", "message", reason, when) for name, reason, when in refused]
        return sorted(letters, key=lambda letter: (-letter.failed_us, letter.dead_id))

    def retry(self, start_of_id: str, now_us: int) -> tuple[list[Failed], list[Failed]]:
        """Send dead notices again, whose ids begin so; returns them, and those that are out of date.

        That an alert began is not told once it is over: a pager would open it for good.
        """
        chosen = [one for one in self.failed() if one.channel and one.dead_id.startswith(start_of_id)]
        late = [one for one in chosen if one.kind != "resolved" and not self._is_firing(one.alert_id)]
        again = [one for one in chosen if one not in late]
        for one in again:
            self.run(
                "UPDATE notices SET status = 'waiting', attempts = 0, created_us = ?, due_us = ? "
                "WHERE notice_id = ? AND status = 'dead'",
                *(now_us, now_us, one.dead_id),
            )
        return again, late

    def _is_firing(self, alert_id: str) -> bool:
        memory = self.memory(alert_id)
        return memory is None or memory.situation.is_firing

    # ------------------------------------------------------------------------------- the file

    def forget_old(self, now_us: int) -> None:
        """Drop what nothing depends on any more; dead letters stay for 60 days."""
        for sql, limit in (
            ("DELETE FROM alerts WHERE is_over AND changed_us < ?", KEEP_ALERTS_US),
            ("DELETE FROM notices WHERE status IN ('sent', 'superseded') AND changed_us < ?", KEEP_SENT_US),
            ("DELETE FROM notices WHERE status = 'dead' AND changed_us < ?", KEEP_ALERTS_US),
            ("DELETE FROM commands WHERE is_done AND changed_us < ?", KEEP_SENT_US),
            ("DELETE FROM messages WHERE sent_us < ?", KEEP_SENT_US),
            ("DELETE FROM refused WHERE refused_us < ?", KEEP_ALERTS_US),
        ):
            self.run(sql, now_us - limit)


def _instead(notice: Notice, fallback: str, reason: str) -> Notice:
    return msgspec.structs.replace(
        notice,
        notice_id=f"{notice.notice_id}-instead",
        channel=fallback,
        failed_channel=notice.channel,
        failed_reason=reason,
    )
