"""What waits for Gemini: windows and incidents of a tenant, and how they are cut into batches. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from transforms.analyze.analyst import Analyst, Analyzed
from transforms.analyze.calls import window_row
from transforms.analyze.memory import TenantMemory
from transforms.analyze.select import Selected
from transforms.analyze.settings import AnalyzeSettings
from transforms.elements import content_id
from transforms.gemini_elements import SkipReason
from transforms.incident_elements import Incident


class Task(msgspec.Struct, frozen=True, gc=False):
    """A window or an incident that is asked about."""

    selected: Selected | None = None
    incident: Incident | None = None

    @property
    def at_us(self) -> int:
        """Event time of the end of what it is about."""
        if self.selected is not None:
            return self.selected.window.window_end_us
        return self.incident.updated_at if self.incident is not None else 0

    @property
    def key(self) -> tuple[int, str, str, int]:
        """What orders tasks and tells one from another."""
        if self.selected is not None:
            window = self.selected.window
            return self.at_us, "0window", window.service, window.window_start_us
        if self.incident is not None:
            return self.at_us, "1incident", self.incident.incident_id, self.incident.revision
        return self.at_us, "", "", 0


class TaskBatch(msgspec.Struct):
    """Tasks that are analyzed together, and when that began."""

    tasks: list[Task]
    begun_us: int

    @property
    def batch_id(self) -> str:
        """The same for the same tasks, whoever analyzes them."""
        return content_id(*(str(task.key) for task in self.tasks))


class BatchResult(msgspec.Struct, frozen=True):
    """What a batch became, and what is remembered of it."""

    analyzed: list[Analyzed]
    memory: TenantMemory


def in_order(tasks: Iterable[Task]) -> list[Task]:
    """Tasks by event time, each once."""
    once = {task.key: task for task in tasks}
    return [once[key] for key in sorted(once)]


def analyze_batch(analyst: Analyst, memory: TenantMemory, tasks: Sequence[Task], now_us: int) -> BatchResult:
    """Incidents first: somebody is awake for them. `memory` is changed and handed back."""
    found: list[Analyzed] = []
    for task in tasks:
        if task.incident is not None:
            found += analyst.narrate(memory, task.incident, now_us)
    windows = [task.selected for task in tasks if task.selected is not None]
    if windows:
        found += analyst.analyze(memory, windows, now_us)
    return BatchResult(found, memory)


def replay_tasks(analyst: Analyst, tasks: Iterable[Task], settings: AnalyzeSettings) -> Iterator[Analyzed]:
    """All tasks of a tenant from files, with event time as the clock: any order gives the same."""
    memory = TenantMemory()
    for batch in cut_batches(in_order(tasks), settings):
        yield from analyze_batch(analyst, memory, batch, batch[-1].at_us).analyzed


def cut_batches(tasks: Sequence[Task], settings: AnalyzeSettings) -> Iterator[list[Task]]:
    """Batches of at most `batch_size` tasks and `batch_timeout_seconds` of event time."""
    batch: list[Task] = []
    for task in tasks:
        is_full = len(batch) >= settings.batch_size
        if batch and (is_full or task.at_us - batch[0].at_us >= settings.batch_timeout_us):
            yield batch
            batch = []
        batch.append(task)
    if batch:
        yield batch


def leave_out(tasks: Iterable[Task], reason: SkipReason, now_us: int) -> Iterator[Analyzed]:
    """Rows of windows that are not analyzed after all."""
    for task in tasks:
        if task.selected is not None:
            yield Analyzed(call=window_row(task.selected, "skipped", reason, "rules_only", now_us))
