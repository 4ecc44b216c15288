"""The one way in which a stage sees a key's windows in event-time order.

Beam gives no order across windows: over a bounded file the runners hand elements over in file order
and fire timers of different windows in any order. Whatever keeps a memory across windows (patterns,
gaps, history, baselines) therefore goes through `ProcessInOrder`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol, TypeVar, runtime_checkable

import apache_beam as beam
import msgspec
from apache_beam.coders import BytesCoder, TupleCoder, VarIntCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from transforms.coders import StructCoder, register_struct

S = TypeVar("S", bound=msgspec.Struct)
V = TypeVar("V", bound=msgspec.Struct, contravariant=True)
O = TypeVar("O")  # noqa: E741

IDLE_SECONDS = 8 * 24 * 3600
"""State of a key is dropped when the watermark is this far past its newest value."""


class OrderedStep(Protocol[S, V, O]):
    """The pure core of an ordered stage."""

    state_type: type[S]
    output_type: type[O]

    def initial(self) -> S:
        """The state of a key that was never seen, or not for IDLE_SECONDS."""
        ...

    def step(self, state: S, value: V, *, is_late: bool) -> Iterable[O]:
        """Handle one value; mutates `state` in place.

        `is_late` says that the value revises a window which was handled before, or comes after a
        later one: such a value must not teach anything.
        """
        ...


@runtime_checkable
class EndsTimes(Protocol):
    """An ordered step that also wants to know when it has seen all values of one timestamp."""

    def end_time(self, state: Any, time_us: int) -> Iterable[Any]:
        """Handle what the values of `time_us` have left in `state`."""
        ...


@dataclass(eq=False)
class ProcessInOrder(beam.PTransform):
    """Hand each key's values to `step` in the order of event time, as the watermark passes.

    (key, V) in the global window → (key, output) with the value's timestamp. V is WindowSummary or
    has its `window_start_us` and `pane_index`, which order values of one timestamp, as does `tie` (text)
    where a key may have several of one window. Over bounded input all values of a key are sorted and
    handled when the input ends.
    """

    step: OrderedStep[Any, Any, Any]
    value_type: type[Any]

    def expand(self, values: beam.PCollection) -> beam.PCollection:
        for struct_type in (self.value_type, self.step.output_type):
            register_struct(struct_type)
        key_type = getattr(values.element_type, "tuple_types", (Any,))[0]
        output_type = beam.typehints.Tuple[key_type, self.step.output_type]
        if not values.is_bounded:
            dofn = _make_order_dofn(self.step, self.value_type)
            return values | "Order" >> beam.ParDo(dofn).with_output_types(output_type)
        timed_type = beam.typehints.Tuple[key_type, beam.typehints.Tuple[int, self.value_type]]
        return (
            values
            | "KeepTime" >> beam.ParDo(_KeepTime()).with_output_types(timed_type)
            | "Group" >> beam.GroupByKey()
            | "Order" >> beam.ParDo(_OrderAll(self.step)).with_output_types(output_type)
        )


def _in_order(timed: Iterable[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """(micros, value) sorted by time, window and pane, then by `tie`."""
    return sorted(
        timed,
        key=lambda item: (item[0], item[1].window_start_us, item[1].pane_index, getattr(item[1], "tie", "")),
    )


def _handle_in_order(
    step: OrderedStep[Any, Any, Any], memory: Any, timed: Iterable[tuple[int, Any]], handled_up_to: int | None
) -> Iterator[tuple[int, Any]]:
    """(micros, output) of all values, which are late where their time was handled before."""
    for micros, values in groupby(_in_order(timed), key=itemgetter(0)):
        for _, value in values:
            is_late = value.pane_index > 0 or (handled_up_to is not None and micros <= handled_up_to)
            for output in step.step(memory, value, is_late=is_late):
                yield micros, output
        if isinstance(step, EndsTimes):
            for output in step.end_time(memory, micros):
                yield micros, output


# -------------------------------------------------------------------------------- bounded input


class _KeepTime(beam.DoFn):
    def process(self, element, timestamp=beam.DoFn.TimestampParam):  # type: ignore[no-untyped-def]
        key, value = element
        yield key, (timestamp.micros, value)


class _OrderAll(beam.DoFn):
    """Needs neither state nor timers, which cost the local runner more than the steps themselves."""

    def __init__(self, step: OrderedStep[Any, Any, Any]) -> None:
        self._step = step

    def process(self, element: tuple[Any, Iterable[tuple[int, Any]]]) -> Iterator[TimestampedValue]:
        key, timed = element
        memory = self._step.initial()
        for micros, output in _handle_in_order(self._step, memory, timed, None):
            yield TimestampedValue((key, output), Timestamp(micros=micros))


# -------------------------------------------------------------------------------------- streams

_PENDING = BagStateSpec("pending", TupleCoder((VarIntCoder(), BytesCoder())))
_NEXT_DUE = ReadModifyWriteStateSpec("next_due", VarIntCoder())
_HANDLED = ReadModifyWriteStateSpec("handled", VarIntCoder())
_STATE = ReadModifyWriteStateSpec("state", BytesCoder())


def _make_order_dofn(step: OrderedStep[Any, Any, Any], value_type: type[Any]) -> beam.DoFn:
    """The DoFn of `step`, with timers of its own name.

    The FnApiRunner keeps the timers of all steps in one buffer per timer name: two steps with a
    timer of the same name lose timers, now and then and silently (measured on Beam 2.77).
    """
    due_timer = TimerSpec(f"due_{type(step).__name__}", TimeDomain.WATERMARK)
    expiry_timer = TimerSpec(f"expiry_{type(step).__name__}", TimeDomain.WATERMARK)

    class _Order(beam.DoFn):
        """Buffers values, and hands them over sorted up to the watermark.

        One timer stands at the smallest pending timestamp.
        """

        def __init__(self) -> None:
            self._core = _OrderCore(step, value_type)

        def process(  # type: ignore[no-untyped-def]
            self,
            element,
            timestamp=beam.DoFn.TimestampParam,
            pending=beam.DoFn.StateParam(_PENDING),
            next_due=beam.DoFn.StateParam(_NEXT_DUE),
            due=beam.DoFn.TimerParam(due_timer),
            expiry=beam.DoFn.TimerParam(expiry_timer),
        ):
            pending.add((timestamp.micros, self._core.encode(element[1])))
            earliest = next_due.read()
            if earliest is None or timestamp.micros < earliest:
                next_due.write(timestamp.micros)
                due.set(timestamp)
            expiry.set(timestamp + IDLE_SECONDS)

        @on_timer(due_timer)
        def handle_due(  # type: ignore[no-untyped-def]
            self,
            key=beam.DoFn.KeyParam,
            fired_at=beam.DoFn.TimestampParam,
            pending=beam.DoFn.StateParam(_PENDING),
            next_due=beam.DoFn.StateParam(_NEXT_DUE),
            handled=beam.DoFn.StateParam(_HANDLED),
            state=beam.DoFn.StateParam(_STATE),
            due=beam.DoFn.TimerParam(due_timer),
        ):
            waiting = list(pending.read())
            pending.clear()
            ready = [value for value in waiting if value[0] <= fired_at.micros]
            rest = [value for value in waiting if value[0] > fired_at.micros]
            for value in rest:
                pending.add(value)
            if rest:
                earliest = min(value[0] for value in rest)
                next_due.write(earliest)
                due.set(Timestamp(micros=earliest))
            else:
                next_due.clear()
            if ready:
                yield from self._core.handle(key, ready, handled, state)

        @on_timer(expiry_timer)
        def forget(  # type: ignore[no-untyped-def]
            self,
            pending=beam.DoFn.StateParam(_PENDING),
            handled=beam.DoFn.StateParam(_HANDLED),
            state=beam.DoFn.StateParam(_STATE),
            expiry=beam.DoFn.TimerParam(expiry_timer),
        ):
            newest = max((micros for micros, _ in pending.read()), default=None)
            if newest is not None:  # a drain fires both timers: what is pending is handled first
                expiry.set(Timestamp(micros=newest) + IDLE_SECONDS)
                return
            handled.clear()
            state.clear()

    return _Order()


class _OrderCore:
    """What is done with the values of a stream that are due."""

    def __init__(self, step: OrderedStep[Any, Any, Any], value_type: type[Any]) -> None:
        self._step = step
        self._value_coder: StructCoder[Any] = StructCoder(value_type)
        self._state_coder: StructCoder[Any] = StructCoder(step.state_type)

    def encode(self, value: Any) -> bytes:
        return self._value_coder.encode(value)

    def handle(  # type: ignore[no-untyped-def]
        self, key, ready: list[tuple[int, bytes]], handled, state
    ) -> Iterator[TimestampedValue]:
        handled_up_to = handled.read()
        encoded_state = state.read()
        memory = self._step.initial() if encoded_state is None else self._state_coder.decode(encoded_state)
        values = ((micros, self._value_coder.decode(value)) for micros, value in ready)
        for micros, output in _handle_in_order(self._step, memory, values, handled_up_to):
            yield TimestampedValue((key, output), Timestamp(micros=micros))
        newest = max(micros for micros, _ in ready)
        handled.write(newest if handled_up_to is None else max(newest, handled_up_to))
        state.write(self._state_coder.encode(memory))
