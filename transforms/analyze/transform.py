"""AnalyzeWithGemini: windows that are not as usual in, anomalies, hypotheses and the record of it all out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import GlobalWindow, GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from transforms.analyze.analyst import Analyst, Analyzed
from transforms.analyze.background import Background, Jobs
from transforms.analyze.calls import window_row
from transforms.analyze.inbox import (
    BatchResult,
    Task,
    TaskBatch,
    analyze_batch,
    in_order,
    leave_out,
    replay_tasks,
)
from transforms.analyze.memory import TenantMemory
from transforms.analyze.model import ModelFactory
from transforms.analyze.narrative import needs_narrative
from transforms.analyze.select import Notice, Selected, SelectWindows
from transforms.analyze.settings import AnalyzeSettings
from transforms.clock import Clock, wall_clock_us
from transforms.coders import StructCoder, register_struct
from transforms.elements import MICROSECONDS, Anomaly
from transforms.gemini_elements import GeminiCall, Hypothesis
from transforms.incident_elements import Incident
from transforms.ordering import ProcessInOrder
from transforms.timers import arm_timer

ANOMALIES: Final = "gemini_anomalies"
HYPOTHESES: Final = "hypotheses"
CALLS: Final = "gemini_calls"
NARRATED: Final = "narrated_incidents"

POLL_SECONDS: Final = 2
"""How often a batch that is being asked about is looked after."""

KeyedTask = tuple[str, Task]
"""(tenant_id, task)"""


@dataclass(eq=False)
class AnalyzeWithGemini(beam.PTransform):
    """((tenant, service), Notice) → Anomaly, Hypothesis, GeminiCall and Incident, tagged.

    `incidents` get a narrative. No page stands behind this: windows come here beside the way to alerts, and
    in a stream no thread of a worker waits for an answer, see `_AnalyzeLive`. Of bounded input event time
    is the clock.
    """

    settings: AnalyzeSettings
    factory: ModelFactory
    incidents: beam.PCollection | None = None
    clock: Clock = wall_clock_us
    jobs: Jobs = field(default_factory=Background)

    def expand(self, notices: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        for struct_type in (Notice, Selected, Task, Analyzed, Hypothesis, GeminiCall, Incident):
            register_struct(struct_type)
        selected = notices | "SelectWindows" >> ProcessInOrder(SelectWindows(), Notice)
        parted = selected | "PartSelected" >> beam.ParDo(_PartSelected()).with_outputs(CALLS, main="tasks")
        tasks = [parted["tasks"] | "WindowTasks" >> beam.Map(_same).with_output_types(KeyedTask)]
        if self.incidents is not None:
            keyed = beam.FlatMap(_key_incident).with_output_types(KeyedTask)
            tasks.append(self.incidents | "IncidentTasks" >> keyed)
        unwindowed = [
            part | f"Unwindow{place}" >> beam.WindowInto(GlobalWindows()) for place, part in enumerate(tasks)
        ]
        gathered = unwindowed | "Gather" >> beam.Flatten()
        if gathered.is_bounded:
            replay = beam.ParDo(_Replay(self.settings, self.factory)).with_output_types(Analyzed)
            analyzed = gathered | "Group" >> beam.GroupByKey() | "Replay" >> replay
        else:
            live = _AnalyzeLive(self.settings, self.factory, self.clock, self.jobs, uuid4().hex)
            analyzed = gathered | "Analyze" >> beam.ParDo(live).with_output_types(Analyzed)
        skipped = parted[CALLS] | "SkippedCalls" >> beam.Map(_same).with_output_types(Analyzed)
        everything = (analyzed, skipped) | "AllCalls" >> beam.Flatten()
        return everything | "PartAnalyzed" >> beam.ParDo(_PartAnalyzed()).with_output_types(
            Anomaly, **{HYPOTHESES: Hypothesis, CALLS: GeminiCall, NARRATED: Incident}
        ).with_outputs(HYPOTHESES, CALLS, NARRATED, main=ANOMALIES)


def _same(value: Any) -> Any:
    return value


def _key_incident(incident: Incident) -> Iterator[KeyedTask]:
    if needs_narrative(incident):
        yield incident.tenant_id, Task(incident=incident)


class _PartSelected(beam.DoFn):
    """Windows that are asked about by tenant; of those that are not, the row that says why."""

    def process(
        self, element: tuple[tuple[str, str], Selected]
    ) -> Iterator[KeyedTask | beam.pvalue.TaggedOutput]:
        (tenant_id, _), selected = element
        if selected.skipped is None:
            yield tenant_id, Task(selected=selected)
            return
        at_us = selected.window.window_end_us
        call = window_row(selected, "skipped", selected.skipped, "full", at_us)
        yield beam.pvalue.TaggedOutput(CALLS, Analyzed(call=call))


class _PartAnalyzed(beam.DoFn):
    def process(self, analyzed: Analyzed) -> Iterator[Anomaly | beam.pvalue.TaggedOutput]:
        if analyzed.anomaly is not None:
            at = Timestamp(micros=analyzed.anomaly.window_end - 1)
            yield TimestampedValue(analyzed.anomaly, at)
        tagged = {HYPOTHESES: analyzed.hypothesis, CALLS: analyzed.call, NARRATED: analyzed.incident}
        for tag, value in tagged.items():
            if value is not None:
                yield beam.pvalue.TaggedOutput(tag, value)


# -------------------------------------------------------------------------------- bounded input


class _Replay(beam.DoFn):
    """All of a tenant at once, sorted: the same in any order and split."""

    def __init__(self, settings: AnalyzeSettings, factory: ModelFactory) -> None:
        self._settings, self._factory = settings, factory

    def setup(self) -> None:
        self._analyst = Analyst(self._settings, self._factory.connect(), Background().ask_all)

    def process(self, element: tuple[str, Iterable[Task]]) -> Iterator[Analyzed]:
        yield from replay_tasks(self._analyst, element[1], self._settings)


# -------------------------------------------------------------------------------------- streams

_INBOX = BagStateSpec("inbox", StructCoder(Task))
_WAITING = ReadModifyWriteStateSpec("waiting", VarIntCoder())
_BATCH = ReadModifyWriteStateSpec("batch", StructCoder(TaskBatch))
_MEMORY = ReadModifyWriteStateSpec("memory", StructCoder(TenantMemory))
_ARMED_AT = ReadModifyWriteStateSpec("armed_at", VarIntCoder())
_DUE = TimerSpec("analysis_due", TimeDomain.REAL_TIME)
_END = TimerSpec("analysis_end", TimeDomain.WATERMARK)


class _AnalyzeLive(beam.DoFn):
    """Gathers a tenant's tasks, hands a batch to threads of its own, and looks after it now and then.

    The batch and what is remembered stay in state until the answer is there. So a worker's threads never
    wait for Gemini, a bundle that is repeated finds the answer in this process, and a worker that is lost
    costs one more request. The timer of event time fires when the job is drained.
    """

    def __init__(
        self, settings: AnalyzeSettings, factory: ModelFactory, clock: Clock, jobs: Jobs, run_id: str
    ) -> None:
        self._settings, self._factory, self._clock, self._jobs = settings, factory, clock, jobs
        self._run_id = run_id  # tells jobs of this pipeline from those of another one in this process

    def setup(self) -> None:
        self._analyst = Analyst(self._settings, self._factory.connect(), self._jobs.ask_all)

    def process(
        self,
        element: KeyedTask,
        inbox: Any = beam.DoFn.StateParam(_INBOX),
        waiting: Any = beam.DoFn.StateParam(_WAITING),
        armed_at: Any = beam.DoFn.StateParam(_ARMED_AT),
        due: Any = beam.DoFn.TimerParam(_DUE),
        end: Any = beam.DoFn.TimerParam(_END),
    ) -> None:
        task = element[1]
        inbox.add(task)
        count = (waiting.read() or 0) + 1
        waiting.write(count)
        now = self._clock()
        is_urgent = count >= self._settings.batch_size or task.incident is not None
        arm_timer(armed_at, due, now if is_urgent else now + self._settings.batch_timeout_us)
        end.set(GlobalWindow().max_timestamp())

    @on_timer(_DUE)
    def take(
        self,
        key: Any = beam.DoFn.KeyParam,
        inbox: Any = beam.DoFn.StateParam(_INBOX),
        waiting: Any = beam.DoFn.StateParam(_WAITING),
        batch_state: Any = beam.DoFn.StateParam(_BATCH),
        memory_state: Any = beam.DoFn.StateParam(_MEMORY),
        armed_at: Any = beam.DoFn.StateParam(_ARMED_AT),
        due: Any = beam.DoFn.TimerParam(_DUE),
    ) -> Iterator[Analyzed]:
        now = self._clock()
        armed_at.clear()
        batch = batch_state.read() or self._next_batch(inbox, waiting, now)
        if not batch.tasks:
            return
        memory: TenantMemory = memory_state.read() or TenantMemory()
        done = self._jobs.result(f"{self._run_id} {key} {batch.batch_id}", self._job(memory, batch))
        if done is None:
            batch_state.write(batch)
            arm_timer(armed_at, due, now + POLL_SECONDS * MICROSECONDS)
            return
        batch_state.clear()
        memory_state.write(done.memory)
        yield from done.analyzed
        if left := waiting.read():
            is_full = left >= self._settings.batch_size
            arm_timer(armed_at, due, now if is_full else now + self._settings.batch_timeout_us)

    def _next_batch(self, inbox: Any, waiting: Any, now_us: int) -> TaskBatch:
        tasks = in_order(inbox.read())
        taken, left = tasks[: self._settings.batch_size], tasks[self._settings.batch_size :]
        inbox.clear()
        for task in left:
            inbox.add(task)
        waiting.write(len(left))
        return TaskBatch(taken, now_us)

    def _job(self, memory: TenantMemory, batch: TaskBatch) -> Callable[[], BatchResult]:
        return lambda: analyze_batch(self._analyst, memory, batch.tasks, batch.begun_us)

    @on_timer(_END)
    def leave(
        self,
        inbox: Any = beam.DoFn.StateParam(_INBOX),
        waiting: Any = beam.DoFn.StateParam(_WAITING),
        batch_state: Any = beam.DoFn.StateParam(_BATCH),
        memory_state: Any = beam.DoFn.StateParam(_MEMORY),
    ) -> Iterator[Analyzed]:
        """The job is drained: nothing is asked any more, and the windows that wait say so."""
        batch = batch_state.read()
        tasks = in_order([*(batch.tasks if batch else []), *inbox.read()])
        for state in (inbox, waiting, batch_state, memory_state):
            state.clear()
        yield from leave_out(tasks, "drained", self._clock())
