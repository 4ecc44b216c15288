"""Which services failed in which traces, and who failed first. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Final

import msgspec

from transforms.correlate.clues import ServiceFacts

MAX_TRACES: Final = 1_000
USUAL_WINDOWS: Final = 60


class FailingTrace(msgspec.Struct, array_like=True):
    """When each service first failed in a trace."""

    failures: dict[str, int]  # service → microseconds

    @property
    def first_us(self) -> int:
        return min(self.failures.values())

    def order(self) -> list[str]:
        """Services in the order in which they failed."""
        return sorted(self.failures, key=lambda service: (self.failures[service], service))


class FailingTraces(msgspec.Struct, dict=True):
    """Failing traces of the last while; `usual` is how many begin to fail at a service in a calm window.

    Whoever adds or drops one calls `changed`.
    """

    by_id: dict[str, FailingTrace] = {}
    usual: dict[str, float] = {}
    windows: dict[str, int] = {}  # calm ones of each service, up to USUAL_WINDOWS

    @cached_property  # no field: it is not encoded
    def by_service(self) -> dict[str, dict[str, int]]:
        """Service → trace that it failed in → when that trace first failed."""
        found: dict[str, dict[str, int]] = {}
        for trace_id, trace in self.by_id.items():
            first_us = trace.first_us
            for service in trace.failures:
                found.setdefault(service, {})[trace_id] = first_us
        return found

    def changed(self) -> None:
        """Forget what follows from the traces."""
        self.__dict__.pop("by_service", None)


def observe_traces(traces: FailingTraces, facts: Mapping[str, ServiceFacts]) -> None:
    """Add the errors of one window."""
    for service, found in sorted(facts.items()):
        for trace_id, error in found.traces.items():
            trace = traces.by_id.setdefault(trace_id, FailingTrace({}))
            known = trace.failures.get(service)
            at_us = error.event_time_us
            trace.failures[service] = at_us if known is None else min(known, at_us)
    traces.changed()


def learn_first(traces: FailingTraces, calm: Collection[str], start_us: int, end_us: int) -> None:
    """Count how many traces of a window began to fail at each of the `calm` services."""
    counts = first_failures(traces, start_us, end_us)
    for service in calm:
        traces.windows[service] = min(traces.windows.get(service, 0) + 1, USUAL_WINDOWS)
    for service in sorted({*traces.usual, *counts} & set(calm)):
        usual = traces.usual.get(service, 0.0)
        traces.usual[service] = usual + (counts.get(service, 0) - usual) / traces.windows[service]
    traces.usual = {service: usual for service, usual in traces.usual.items() if usual > 1e-3}


def first_failures(traces: FailingTraces, from_us: int, to_us: int) -> dict[str, int]:
    """Traces that began to fail in [from_us, to_us), by the service that failed first."""
    counts: dict[str, int] = {}
    for trace in traces.by_id.values():
        if from_us <= trace.first_us < to_us:
            first = trace.order()[0]
            counts[first] = counts.get(first, 0) + 1
    return dict(sorted(counts.items()))


def shared_traces(traces: FailingTraces, one: str, other: str, from_us: int) -> int:
    """Traces since `from_us` in which both services failed."""
    of_one, of_other = traces.by_service.get(one, {}), traces.by_service.get(other, {})
    return sum(of_one[trace_id] >= from_us for trace_id in of_one.keys() & of_other.keys())


def forget_traces(traces: FailingTraces, before_us: int) -> None:
    """Drop traces that failed before that, and the oldest beyond MAX_TRACES."""
    kept = [
        (trace.first_us, trace_id) for trace_id, trace in traces.by_id.items() if trace.first_us >= before_us
    ]
    kept = sorted(kept)[-MAX_TRACES:]
    if len(kept) < len(traces.by_id):
        traces.by_id = {trace_id: traces.by_id[trace_id] for _, trace_id in kept}
        traces.changed()
