"""The SQLite file under the notifier's memory: its tables, its locks, and errors that say the mend."""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Self

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS alerts (
  alert_id TEXT PRIMARY KEY, memory BLOB NOT NULL, is_over INTEGER NOT NULL, changed_us INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS alerts_by_life ON alerts (is_over, changed_us);
CREATE TABLE IF NOT EXISTS notices (
  notice_id TEXT PRIMARY KEY, channel TEXT NOT NULL, alert_id TEXT NOT NULL, notice BLOB NOT NULL,
  status TEXT NOT NULL, urgency INTEGER NOT NULL, attempts INTEGER NOT NULL, created_us INTEGER NOT NULL,
  due_us INTEGER NOT NULL, changed_us INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS notices_by_channel ON notices (status, channel, due_us);
CREATE INDEX IF NOT EXISTS notices_by_alert ON notices (alert_id, channel, status);
CREATE TABLE IF NOT EXISTS messages (channel TEXT NOT NULL, sent_us INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS messages_by_time ON messages (channel, sent_us);
CREATE TABLE IF NOT EXISTS commands (
  command_id TEXT PRIMARY KEY, command BLOB NOT NULL, is_done INTEGER NOT NULL, changed_us INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS refused (
  message_id TEXT PRIMARY KEY, reason TEXT NOT NULL, refused_us INTEGER NOT NULL);
"""


class StateError(Exception):
    """The state file cannot be used; the text says why and what to do."""


class StateFile:
    """The file, open. Safe with several threads; `":memory:"` keeps nothing. Raises StateError."""

    def __init__(self, path: str) -> None:
        self._lock = threading.RLock()
        self._path = path
        self._claim: IO[str] | None = None
        try:
            if path != ":memory:":
                Path(path).touch(mode=0o600)  # texts of alerts are for whoever runs this
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(_SCHEMA)
        except OSError as error:
            raise StateError(
                f"{path} cannot be opened: {error.strerror}. Mend it, or name another."
            ) from None
        except sqlite3.DatabaseError as error:
            raise _explain(error, path) from None

    def rows(self, sql: str, *values: object) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.DatabaseError as error:
                raise _explain(error, self._path) from None

    def run(self, sql: str, *values: object) -> None:
        self.rows(sql, *values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; within another one, a part of that."""
        with self._lock:
            if self._db.in_transaction:
                yield
                return
            self.run("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.run("ROLLBACK")
                raise
            self.run("COMMIT")

    def copy_into(self, other: Self) -> None:
        """Make `other` a copy of this file."""
        with self._lock:
            self._db.backup(other._db)

    def claim(self) -> None:
        """Be the only notifier of this file until it is closed. Raises StateError."""
        claim = Path(f"{self._path}.lock").open("w")  # noqa: SIM115 - held until close
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            claim.close()
            raise StateError(
                f"{self._path} is in use by another `aiops notify`; stop it, or name another --state."
            ) from None
        self._claim = claim

    def close(self) -> None:
        with self._lock:
            self._db.close()
            if self._claim is not None:
                self._claim.close()
                self._claim = None


def _explain(error: sqlite3.DatabaseError, path: str) -> StateError:
    text = str(error).lower()
    if "locked" in text:
        return StateError(f"{path} is in use by another `aiops notify`; stop it, or name another --state.")
    if "not a database" in text or "malformed" in text or "no such column" in text:
        return StateError(f"{path} is no state of `aiops notify`; name another file with --state.")
    if "full" in text:
        return StateError(f"{path}: the disk is full. Free space, then start again: nothing is lost.")
    if Path(path).is_dir() or "unable to open" in text or "readonly" in text:
        return StateError(f"{path} cannot be opened for writing: make its folder, or mend its permissions.")
    return StateError(f"{path} cannot be used ({type(error).__name__}); name another file with --state.")
