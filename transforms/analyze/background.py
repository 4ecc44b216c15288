"""Threads that wait for Gemini, so that no thread of the runner does."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

from transforms.analyze.inbox import BatchResult
from transforms.analyze.model import Reply
from transforms.analyze.prompt import Prompt

BATCHES_AT_ONCE: Final = 8
REQUESTS_AT_ONCE: Final = 16
"""Threads; how many of them may ask at once is the client's to say."""

MOST_JOBS: Final = 64


class Jobs(Protocol):
    """Where batches are worked on. Picklable; `Background` but in tests."""

    def result(self, job_id: str, work: Callable[[], BatchResult]) -> BatchResult | None:
        """What the job became; None while it is worked on, which this begins if need be."""
        ...

    def ask_all(self, ask: Callable[[Prompt], Reply], prompts: Sequence[Prompt]) -> Iterable[Reply]:
        """Replies in the order of `prompts`."""
        ...


class Background:
    """Threads of this process, shared by all that are made. A result stays for a bundle that is repeated."""

    def result(self, job_id: str, work: Callable[[], BatchResult]) -> BatchResult | None:
        with _LOCK:
            future = _JOBS.get(job_id)
            if future is None:
                future = _JOBS[job_id] = _pool("batches", BATCHES_AT_ONCE).submit(work)
                while len(_JOBS) > MOST_JOBS and next(iter(_JOBS.values())).done():
                    _JOBS.popitem(last=False)
        return future.result() if future.done() else None

    def ask_all(self, ask: Callable[[Prompt], Reply], prompts: Sequence[Prompt]) -> Iterable[Reply]:
        if len(prompts) < 2:
            return [ask(prompt) for prompt in prompts]
        return list(_pool("requests", REQUESTS_AT_ONCE).map(ask, prompts))


_LOCK: Final = threading.RLock()
_JOBS: Final[OrderedDict[str, Future[BatchResult]]] = OrderedDict()
_POOLS: Final[dict[str, ThreadPoolExecutor]] = {}


def _pool(name: str, threads: int) -> ThreadPoolExecutor:
    with _LOCK:
        if name not in _POOLS:
            _POOLS[name] = ThreadPoolExecutor(threads, thread_name_prefix=f"gemini-{name}")
        return _POOLS[name]


class Inline:
    """Everything at once in the caller's thread, for commands and tests."""

    def result(self, job_id: str, work: Callable[[], BatchResult]) -> BatchResult | None:  # noqa: ARG002
        return work()

    def ask_all(self, ask: Callable[[Prompt], Reply], prompts: Sequence[Prompt]) -> Iterable[Reply]:
        return map(ask, prompts)
