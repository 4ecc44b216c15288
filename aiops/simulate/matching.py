"""Which injected faults were found, how fast, and which anomalies are false."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from aiops.simulate.faults import PROJECT, Fault
from transforms.elements import MICROSECONDS

GRACE_SECONDS: Final = 300
"""An anomaly may begin this long after the end of its fault: windows of `over: 5m` trail it."""


LEAST_LINES: Final = 5
"""Of the fault's service while it lasted; with fewer, a fault leaves no trace that could be found."""


def is_visible(fault: Fault, lines: int) -> bool:
    """Whether a fault left a trace, by the lines that `deliveries` counted for it.

    Those of its service while it lasted, without a database's housekeeping; for a silence those that
    it kept back. A fault in the project itself consists of its few audit entries: one is enough.
    """
    return lines >= (1 if fault.service == PROJECT else LEAST_LINES)


class FaultResult(msgspec.Struct, frozen=True):
    """What became of one fault. `delay_seconds` runs from its start to the end of the first window."""

    fault: Fault
    found: bool
    delay_seconds: float | None
    matches: int
    related: int  # other anomalies in the services it affects or touches, while it lasts
    anomaly_types: tuple[str, ...]  # of the matches


class MatchReport(msgspec.Struct, frozen=True):
    """All faults, and the anomalies that no fault explains."""

    results: list[FaultResult]
    false_anomalies: list[Mapping[str, Any]]

    def found(self, detectable_by: str | None = None) -> tuple[int, int]:
        """How many faults were found, of how many."""
        chosen = [result for result in self.results if detectable_by in {None, result.fault.detectable_by}]
        return sum(result.found for result in chosen), len(chosen)


def match_faults(
    truth: Iterable[Fault], anomalies: Iterable[Mapping[str, Any]], grace_seconds: int = GRACE_SECONDS
) -> MatchReport:
    """Hold anomalies against the truth.

    An anomaly is a mapping with tenant_id, service, anomaly_type, anomaly_severity, window_start
    and window_end (microseconds). It finds a fault when the tenant is equal, the service is one
    that the fault touches, its window overlaps the fault (plus `grace_seconds` after it) and its
    type is expected. With another type, or at a service that the fault only touches, it is related to
    the fault; all others are false.
    """
    faults = sorted(truth, key=lambda fault: (fault.start_us, fault.fault_id))
    matches: dict[str, list[Mapping[str, Any]]] = {fault.fault_id: [] for fault in faults}
    related = dict.fromkeys(matches, 0)
    false = []
    for anomaly in anomalies:
        touched = [fault for fault in faults if _touches(fault, anomaly, grace_seconds * MICROSECONDS)]
        for fault in touched:
            if anomaly["anomaly_type"] in fault.expected_types and anomaly["service"] in _affected(fault):
                matches[fault.fault_id].append(anomaly)
            else:
                related[fault.fault_id] += 1
        if not touched:
            false.append(anomaly)
    results = [_result(fault, matches[fault.fault_id], related[fault.fault_id]) for fault in faults]
    return MatchReport(results, false)


def _touches(fault: Fault, anomaly: Mapping[str, Any], grace_us: int) -> bool:
    return (
        anomaly["tenant_id"] == fault.tenant_id
        and anomaly["service"] in {*_affected(fault), *fault.touched_services}
        and anomaly["window_end"] > fault.start_us
        and anomaly["window_start"] < fault.end_us + grace_us
    )


def _affected(fault: Fault) -> set[str]:
    return {fault.root_cause, *fault.affected_services}


def _result(fault: Fault, matches: list[Mapping[str, Any]], related: int) -> FaultResult:
    first = min((anomaly["window_end"] for anomaly in matches), default=None)
    return FaultResult(
        fault=fault,
        found=first is not None,
        delay_seconds=None if first is None else (first - fault.start_us) / MICROSECONDS,
        matches=len(matches),
        related=related,
        anomaly_types=tuple(sorted({str(anomaly["anomaly_type"]) for anomaly in matches})),
    )
