"""The one way in which the job counts what it does: Beam metrics with the names of `job_metrics`.

Counted is where elements are many in one: a batch, a window, a row. Shells count, pure cores do not.
Outside of a running job nothing happens. Metrics are approximate: a bundle that is repeated counts again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from apache_beam.metrics.metric import Metrics

from transforms.clock import wall_clock_us
from transforms.elements import DeadLetter, LedgerEntry
from transforms.job_metrics import KINDS, NAMESPACE, dead_letter_metric


def count(name: str, amount: int = 1) -> None:
    """Add to a counter. An `amount` of 0 makes it known, so that its first growth can be seen.

    Raises KeyError for a name that is not in the list of `job_metrics`.
    """
    _counter(name).inc(amount)


def observe(name: str, value: int) -> None:
    """Add a value to a distribution. Raises KeyError as `count` does."""
    _distribution(name).update(value)


def observe_age(name: str, since_us: int) -> None:
    """Add to a distribution how many milliseconds ago `since_us` was, by the clock of this machine."""
    observe(name, (wall_clock_us() - since_us) // 1_000)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Add to a distribution how many microseconds the body took."""
    started_ns = time.perf_counter_ns()
    yield
    observe(name, (time.perf_counter_ns() - started_ns) // 1_000)


def count_received(name: str, deltas: Iterable[LedgerEntry]) -> None:
    """Count what a batch says that came in, under `name`, and of lines what became of it at once."""
    sums = [(delta.received, delta.late, delta.filtered) for delta in deltas]
    received, late, filtered = map(sum, zip(*sums, strict=True)) if sums else (0, 0, 0)
    count(name, received)
    if name == "lines":
        count("late_lines", late)
        count("filtered_lines", filtered)


def count_dead_letters(letters: Iterable[DeadLetter]) -> None:
    """Count `letters` in all and by reason."""
    reasons: Counter[str] = Counter()
    for letter in letters:
        reasons[dead_letter_metric(letter.reason)] += letter.count
    count("dead_letters", reasons.total())
    for name, amount in reasons.items():
        count(name, amount)


@cache
def _counter(name: str) -> Any:
    if KINDS[name] != "counter":
        raise KeyError(name)
    return Metrics.counter(NAMESPACE, name)


@cache
def _distribution(name: str) -> Any:
    if KINDS[name] != "distribution":
        raise KeyError(name)
    return Metrics.distribution(NAMESPACE, name)
