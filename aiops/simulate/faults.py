"""What can go wrong in the shop, and the truth that is written beside the entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from aiops.simulate.shop import Service, bypassed, upstream
from transforms.elements import MICROSECONDS

FaultType = Literal[
    "latency",
    "slow_drift",
    "errors",
    "silence",
    "resource_exhaustion",
    "brute_force",
    "bad_deploy",
    "cascading_failure",
    "certificate_expiry",
    "privilege_change",
    "traffic_surge",
    "new_pattern",
]

PROJECT: Final = "project"
"""Stands for the tenant's project itself where a fault is in no service of the shop."""

PROJECT_SERVICES: Final = (
    PROJECT,
    "cloudaudit.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "iam.googleapis.com",
)
"""Names under which audit logs of the project may be found."""


class Fault(msgspec.Struct, frozen=True):
    """One injected fault: a row of the truth file. Times are event time, `end` is exclusive."""

    fault_id: str
    type: FaultType
    tenant_id: str
    service: str
    start: str  # RFC 3339, UTC
    end: str
    start_us: int
    end_us: int
    intensity: float  # 0 to 1, of the worst that this type does
    expected_types: tuple[str, ...]  # anomaly types of which any one finds it
    affected_services: tuple[str, ...]  # the root cause and whoever feels it through calls
    root_cause: str
    detectable_by: Literal["rules", "learned"]  # whether fixed thresholds can see it at all
    touched_services: tuple[str, ...] = ()  # not ill, but called less, or going on without an ill one

    @property
    def start_second(self) -> int:
        return self.start_us // MICROSECONDS

    @property
    def end_second(self) -> int:
        return self.end_us // MICROSECONDS


@dataclass(frozen=True)
class FaultKind:
    """What is known of a fault type. `platforms` are those where it can happen, () for all."""

    expected_types: tuple[str, ...]
    detectable_by: Literal["rules", "learned"]
    spreads: Literal["", "failures", "time", "calls", "requests"]  # what others feel of it, if anything
    platforms: tuple[str, ...] = ()
    services: tuple[str, ...] = ()  # the only ones that can have it, () for all


_RUNNING: Final = ("cloud_run", "gke", "app_engine", "cloud_function")

KINDS: Final[dict[FaultType, FaultKind]] = {
    "latency": FaultKind(
        ("latency_increase", "performance_degradation"),
        "rules",
        spreads="time",
        platforms=("cloud_run", "gke"),
    ),
    "slow_drift": FaultKind(
        ("latency_increase", "performance_degradation", "metric_anomaly"),
        "learned",
        spreads="time",
        platforms=("cloud_run", "gke"),
    ),
    "errors": FaultKind(("error_spike",), "rules", spreads="failures", platforms=_RUNNING),
    "silence": FaultKind(("silence", "traffic_change"), "learned", spreads="", platforms=_RUNNING),
    "resource_exhaustion": FaultKind(
        ("resource_exhaustion",), "rules", spreads="failures", platforms=(*_RUNNING, "cloud_sql")
    ),
    "brute_force": FaultKind(("security_incident",), "rules", spreads="calls", services=("auth",)),
    "bad_deploy": FaultKind(
        ("deploy_regression", "error_spike", "new_pattern"), "rules", spreads="failures", platforms=_RUNNING
    ),
    "cascading_failure": FaultKind(
        ("error_spike", "latency_increase", "performance_degradation"),
        "rules",
        spreads="failures",
        services=("inventory", "payment", "cart", "catalog", "shop-db"),
    ),
    "certificate_expiry": FaultKind(("certificate_expiry",), "rules", spreads="", platforms=_RUNNING),
    "privilege_change": FaultKind(("security_incident",), "rules", spreads="", services=(PROJECT,)),
    "traffic_surge": FaultKind(
        ("traffic_change", "metric_anomaly"), "learned", spreads="requests", platforms=("cloud_run", "gke")
    ),
    "new_pattern": FaultKind(("new_pattern", "unusual_pattern"), "learned", spreads="", platforms=_RUNNING),
}


def can_have(kind: FaultKind, service: Service) -> bool:
    """Whether a fault of this kind can happen in the service."""
    base = service.name.rsplit("-", 1)[0] if service.name.rsplit("-", 1)[-1].isdigit() else service.name
    return (not kind.platforms or service.platform in kind.platforms) and (
        not kind.services or base in kind.services
    )


def make_fault(
    fault_type: FaultType,
    place: tuple[str, str],
    span: tuple[int, int],
    intensity: float,
    shop: dict[str, Service],
) -> Fault:
    """The truth of one fault at `place` (tenant, service) and of `span` (first and last second).

    What else is affected follows from the shop's call graph.
    """
    tenant_id, service = place
    start_second, end_second = span
    kind = KINDS[fault_type]
    affected, touched = _reach(kind, service, shop)
    return Fault(
        fault_id=f"{tenant_id}/{service}/{fault_type}/{_rfc3339(start_second)}",
        type=fault_type,
        tenant_id=tenant_id,
        service=service,
        start=_rfc3339(start_second),
        end=_rfc3339(end_second),
        start_us=start_second * MICROSECONDS,
        end_us=end_second * MICROSECONDS,
        intensity=intensity,
        expected_types=kind.expected_types,
        affected_services=affected,
        root_cause=service,
        detectable_by=kind.detectable_by,
        touched_services=touched,
    )


def _reach(
    kind: FaultKind, service: str, shop: dict[str, Service]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The services that a fault of this kind at `service` affects, and those that it only touches."""
    if service == PROJECT:
        return PROJECT_SERVICES, ()
    if not kind.spreads:
        return (service,), ()
    if kind.spreads == "requests":
        return tuple(shop), ()
    affected = tuple(upstream(shop, service, optional=kind.spreads == "time"))
    if kind.spreads != "failures":
        return affected, ()
    touched = {*upstream(shop, service, optional=True), *bypassed(shop, service)}
    return affected, tuple(name for name in shop if name in touched and name not in affected)


def _rfc3339(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_truth(faults: Iterable[Fault]) -> bytes:
    """One JSON object a line."""
    return b"".join(msgspec.json.encode(fault) + b"\n" for fault in faults)


def read_truth(lines: Iterable[bytes]) -> Iterator[Fault]:
    """The faults of a truth file. Raises msgspec.ValidationError where a line is none."""
    for line in lines:
        if line.strip():
            yield msgspec.json.decode(line, type=Fault)
