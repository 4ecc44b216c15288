"""ManageAlerts: anomalies, incidents and commands in, the log of what happens to alerts out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import apache_beam as beam
from apache_beam.coders import TupleCoder, VarIntCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import GlobalWindow, GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from transforms.alert.book import AlertBook
from transforms.alert.catalog import EMPTY_CATALOG, ServiceCatalog
from transforms.alert.inbox import AlertInput, in_order
from transforms.alert.manage import advance, flush, next_due_us, replay
from transforms.alert.rebuild import rebuild_book
from transforms.alert.settings import AlertSettings
from transforms.alert.symptoms import Symptom, symptom_of
from transforms.alert.thin import (
    HOLD_SECONDS,
    SHARDS,
    Shard,
    combine_symptoms,
    pass_symptoms,
    release_symptoms,
    shard_of,
)
from transforms.alert_elements import AlertCommand, AlertEvent
from transforms.clock import Clock, wall_clock_us
from transforms.coders import StructCoder, register_struct
from transforms.elements import MICROSECONDS, Anomaly
from transforms.incident_elements import Incident
from transforms.timers import arm_timer

TICK_SECONDS: Final = 1
"""What comes in this time is taken at once: state is read and written once a tick, not per anomaly."""

KeyedInput = tuple[str, AlertInput]
"""(tenant_id, values)"""

ShardedInput = tuple[tuple[str, int], AlertInput]
"""((tenant_id, shard), values)"""


@dataclass(eq=False)
class ManageAlerts(beam.PTransform):
    """Anomaly → AlertEvent, led by `incidents` and `commands` where given.

    `past` is the log so far: the books of tenants begin with it, before anything else is taken. It
    must be bounded. Of a stream the clock is the wall clock, of bounded input the time of its values.
    There is no event time here, so that nothing slow holds an alert back.
    """

    settings: AlertSettings = field(default_factory=AlertSettings)
    catalog: ServiceCatalog = EMPTY_CATALOG
    incidents: beam.PCollection | None = None  # of Incident
    commands: beam.PCollection | None = None  # of AlertCommand, or of (tenant whose topic it came on, it)
    past: beam.PCollection | None = None  # of AlertEvent
    clock: Clock = wall_clock_us

    def expand(self, anomalies: beam.PCollection) -> beam.PCollection:
        for struct_type in (Incident, AlertCommand, AlertEvent, AlertInput):
            register_struct(struct_type)
        others = {"Incidents": self.incidents, "Commands": self.commands}
        given = {name: values for name, values in others.items() if values is not None}
        keyed = [
            values | f"Key{name}" >> beam.Map(_key_value).with_output_types(KeyedInput)
            for name, values in given.items()
        ]
        past = self.past
        if past is not None:
            past = past | "KeyPast" >> beam.Map(_key_value).with_output_types(KeyedInput)
        if all(values.is_bounded for values in (anomalies, *given.values())):
            manage: beam.PTransform = _ReplayAlerts(self.settings, self.catalog, keyed, past)
        else:
            manage = _LiveAlerts(self.settings, self.catalog, keyed, past, self.clock)
        return anomalies | manage


def _key_value(value: Incident | AlertCommand | AlertEvent | tuple[str, AlertCommand]) -> KeyedInput:
    if isinstance(value, tuple):  # a command may claim another tenant: the book of this one answers that
        return value[0], AlertInput(commands=[value[1]])
    if isinstance(value, Incident):
        return value.tenant_id, AlertInput(incidents=[value])
    if isinstance(value, AlertCommand):
        return value.tenant_id, AlertInput(commands=[value])
    return value.tenant_id, AlertInput(past=[value])


# -------------------------------------------------------------------------------- bounded input


@dataclass(eq=False)
class _ReplayAlerts(beam.PTransform):
    """All of a tenant at once, sorted: the same in any order and split."""

    settings: AlertSettings
    catalog: ServiceCatalog
    others: list[beam.PCollection]
    past: beam.PCollection | None

    def expand(self, anomalies: beam.PCollection) -> beam.PCollection:
        keyed = anomalies | "KeyAnomalies" >> beam.ParDo(_KeyAnomaly(self.settings)).with_output_types(
            KeyedInput
        )
        parts = [keyed, *self.others, *([self.past] if self.past is not None else [])]
        replay_all = beam.ParDo(_Replay(self.settings, self.catalog)).with_output_types(AlertEvent)
        return (
            [part | f"Unwindow{n}" >> beam.WindowInto(GlobalWindows()) for n, part in enumerate(parts)]
            | "Gather" >> beam.Flatten()
            | "Group" >> beam.GroupByKey()
            | "Replay" >> replay_all
        )


class _KeyAnomaly(beam.DoFn):
    def __init__(self, settings: AlertSettings) -> None:
        self._settings = settings

    def process(self, anomaly: Anomaly) -> Iterator[KeyedInput]:
        yield anomaly.tenant_id, AlertInput([symptom_of(anomaly, self._settings)])


class _Replay(beam.DoFn):
    def __init__(self, settings: AlertSettings, catalog: ServiceCatalog) -> None:
        self._settings, self._catalog = settings, catalog

    def process(self, element: tuple[str, Iterable[AlertInput]]) -> Iterator[TimestampedValue]:
        tenant_id, inputs = element
        arrivals: list[tuple[int, AlertInput]] = []
        past: list[AlertEvent] = []
        for given in inputs:
            past += given.past
            arrivals += [(symptom.detected_at, AlertInput([symptom])) for symptom in given.symptoms]
            arrivals += [
                (incident.updated_at, AlertInput(incidents=[incident])) for incident in given.incidents
            ]
            arrivals += [(command.issued_at, AlertInput(commands=[command])) for command in given.commands]
        values = in_order(arrivals)
        book = rebuild_book(tenant_id, past, values[0][0] if values else None, self._settings)
        for event in replay(book, values, self._settings, self._catalog):
            yield _at_its_time(event)
        if values:  # a log without anything new stays as it is
            for event in flush(book, self._settings, self._catalog):
                yield _at_its_time(event)


def _at_its_time(event: AlertEvent) -> TimestampedValue:
    return TimestampedValue(event, Timestamp(micros=event.occurred_at))


# -------------------------------------------------------------------------------------- streams


@dataclass(eq=False)
class _LiveAlerts(beam.PTransform):
    """A book per tenant in state, and one timer in processing time."""

    settings: AlertSettings
    catalog: ServiceCatalog
    others: list[beam.PCollection]
    past: beam.PCollection | None
    clock: Clock

    def expand(self, anomalies: beam.PCollection) -> beam.PCollection:
        thinned = (
            anomalies
            | "Unwindow" >> beam.WindowInto(GlobalWindows())
            | "CombineBundle" >> beam.ParDo(_CombineBundle(self.settings)).with_output_types(ShardedInput)
            | "Thin" >> beam.ParDo(_Thin(self.settings, self.clock)).with_output_types(KeyedInput)
        )
        others = [
            part | f"Unwindow{n}" >> beam.WindowInto(GlobalWindows()) for n, part in enumerate(self.others)
        ]
        manage = _Manage(self.settings, self.catalog, self.clock)
        if self.past is None:
            taken = (thinned, *others) | "Gather" >> beam.Flatten()
            return taken | "Manage" >> beam.ParDo(manage, {}).with_output_types(AlertEvent)
        # As a side input, because then nothing live is taken before it is there.
        past = self.past | "UnwindowPast" >> beam.WindowInto(GlobalWindows()) | "Group" >> beam.GroupByKey()
        wake = past | "Wake" >> beam.Map(_wake).with_output_types(KeyedInput)
        taken = (thinned, *others, wake) | "Gather" >> beam.Flatten()
        return taken | "Manage" >> beam.ParDo(manage, beam.pvalue.AsDict(past)).with_output_types(AlertEvent)


def _wake(element: tuple[str, Iterable[AlertInput]]) -> KeyedInput:
    return element[0], AlertInput()


class _CombineBundle(beam.DoFn):
    def __init__(self, settings: AlertSettings) -> None:
        self._settings = settings

    def start_bundle(self) -> None:
        self._symptoms: dict[tuple[str, int], list[Symptom]] = {}
        self._latest = Timestamp(micros=0)

    def process(self, anomaly: Anomaly, timestamp: Any = beam.DoFn.TimestampParam) -> None:
        symptom = symptom_of(anomaly, self._settings)
        self._symptoms.setdefault((symptom.tenant_id, shard_of(symptom)), []).append(symptom)
        self._latest = max(self._latest, timestamp)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for key, symptoms in self._symptoms.items():
            given = AlertInput(combine_symptoms(symptoms))
            yield WindowedValue((key, given), self._latest, [GlobalWindow()])


_SHARD = ReadModifyWriteStateSpec("shard", StructCoder(Shard))
_RELEASE = TimerSpec("release_symptoms", TimeDomain.REAL_TIME)


class _Thin(beam.DoFn):
    def __init__(self, settings: AlertSettings, clock: Clock) -> None:
        # Twice its share: fingerprints do not fall evenly.
        self._most = -(-2 * settings.most_fingerprints // SHARDS)
        self._clock = clock

    def process(
        self,
        element: ShardedInput,
        state: Any = beam.DoFn.StateParam(_SHARD),
        release: Any = beam.DoFn.TimerParam(_RELEASE),
    ) -> Iterator[KeyedInput]:
        (tenant_id, _), given = element
        shard: Shard = state.read() or Shard()
        now = self._clock()
        was_holding = shard.is_holding
        going = pass_symptoms(shard, given.symptoms, now, self._most)
        if shard.is_holding and not was_holding:
            release.set(Timestamp(micros=now + HOLD_SECONDS * MICROSECONDS))
        state.write(shard)
        if going:
            yield tenant_id, AlertInput(going)

    @on_timer(_RELEASE)
    def release(
        self,
        key: Any = beam.DoFn.KeyParam,
        state: Any = beam.DoFn.StateParam(_SHARD),
    ) -> Iterator[KeyedInput]:
        shard: Shard = state.read() or Shard()
        held = release_symptoms(shard)
        state.clear()  # a minute of a quiet shard need not be remembered
        if held:
            yield key[0], AlertInput(held)


_INBOX = BagStateSpec("inbox", TupleCoder((VarIntCoder(), StructCoder(AlertInput))))
_BOOK = ReadModifyWriteStateSpec("book", StructCoder(AlertBook))
_PHASE = ReadModifyWriteStateSpec("phase", VarIntCoder())
_ARMED_AT = ReadModifyWriteStateSpec("armed_at", VarIntCoder())
_DUE = TimerSpec("alerts_due", TimeDomain.REAL_TIME)
_END = TimerSpec("alerts_end", TimeDomain.WATERMARK)
_NEW, _LOADED, _ENDED = range(3)


class _Manage(beam.DoFn):
    """Puts what comes into the tenant's inbox, and takes all of it at the next tick.

    Each value is taken at the clock of its arrival, so a timer that fires late, or a worker that was
    away, resolves nothing of which anomalies have come. The timer of event time stands at the end of
    all time: it fires when the job is drained, and keeps what is due in days from blocking that.
    """

    def __init__(self, settings: AlertSettings, catalog: ServiceCatalog, clock: Clock) -> None:
        self._settings, self._catalog, self._clock = settings, catalog, clock

    def process(
        self,
        element: KeyedInput,
        past: dict[str, Iterable[AlertInput]],
        inbox: Any = beam.DoFn.StateParam(_INBOX),
        state: Any = beam.DoFn.StateParam(_BOOK),
        phase: Any = beam.DoFn.StateParam(_PHASE),
        armed_at: Any = beam.DoFn.StateParam(_ARMED_AT),
        due: Any = beam.DoFn.TimerParam(_DUE),
        end: Any = beam.DoFn.TimerParam(_END),
    ) -> None:
        tenant_id, given = element
        now = self._clock()
        if not phase.read():
            phase.write(_LOADED)
            end.set(GlobalWindow().max_timestamp())
            events = [event for part in past.get(tenant_id, ()) for event in part.past]
            state.write(rebuild_book(tenant_id, events, now, self._settings))
        inbox.add((now, given))
        arm_timer(armed_at, due, now + TICK_SECONDS * MICROSECONDS)

    @on_timer(_DUE)
    def take(
        self,
        key: Any = beam.DoFn.KeyParam,
        fired_at: Any = beam.DoFn.TimestampParam,
        inbox: Any = beam.DoFn.StateParam(_INBOX),
        state: Any = beam.DoFn.StateParam(_BOOK),
        phase: Any = beam.DoFn.StateParam(_PHASE),
        armed_at: Any = beam.DoFn.StateParam(_ARMED_AT),
        due: Any = beam.DoFn.TimerParam(_DUE),
    ) -> Iterator[AlertEvent]:
        now = max(self._clock(), fired_at.micros)
        book, events = self._take_inbox(key, now, inbox, state)
        armed_at.clear()
        if phase.read() == _ENDED:
            events += flush(book, self._settings, self._catalog, now)
        elif (following := next_due_us(book, self._settings)) is not None:
            arm_timer(armed_at, due, following)
        state.write(book)
        yield from events

    @on_timer(_END)
    def end(
        self,
        key: Any = beam.DoFn.KeyParam,
        inbox: Any = beam.DoFn.StateParam(_INBOX),
        state: Any = beam.DoFn.StateParam(_BOOK),
        phase: Any = beam.DoFn.StateParam(_PHASE),
        armed_at: Any = beam.DoFn.StateParam(_ARMED_AT),
        due: Any = beam.DoFn.TimerParam(_DUE),
    ) -> Iterator[AlertEvent]:
        now = self._clock()
        book, events = self._take_inbox(key, now, inbox, state)
        events += flush(book, self._settings, self._catalog, now)
        phase.write(_ENDED)
        state.write(book)
        armed_at.clear()
        due.clear()
        yield from events

    def _take_inbox(
        self, tenant_id: str, now: int, inbox: Any, state: Any
    ) -> tuple[AlertBook, list[AlertEvent]]:
        book: AlertBook = state.read() or AlertBook(tenant_id)
        events = list(replay(book, in_order(inbox.read()), self._settings, self._catalog))
        inbox.clear()
        return book, events + advance(book, now, self._settings, self._catalog)
