"""A circuit breaker: after failures in a row nothing is asked for a while, then one question tries."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Breaker:
    """Closed: all may ask. Open: nobody, for `seconds`. Half-open: one at a time, whose outcome decides."""

    def __init__(self, failures: int, seconds: float, monotonic: Callable[[], float]) -> None:
        self._most = failures
        self._seconds = seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_at: float | None = None
        self._is_trying = False

    @property
    def is_open(self) -> bool:
        """Whether questions are refused, or one of them is on trial."""
        return self._opened_at is not None

    def allows(self) -> bool:
        """Whether a question may be asked; whoever is told so must `record` or `abandon`."""
        with self._lock:
            if self._opened_at is None:
                return True
            if self._is_trying or self._monotonic() - self._opened_at < self._seconds:
                return False
            self._is_trying = True
            return True

    def record(self, *, is_failure: bool) -> None:
        """What came of a question."""
        with self._lock:
            self._is_trying = False
            if not is_failure:
                self._failures, self._opened_at = 0, None
                return
            self._failures += 1
            if self._failures >= self._most:
                self._opened_at = self._monotonic()

    def abandon(self) -> None:
        """The question was not asked after all."""
        with self._lock:
            self._is_trying = False
