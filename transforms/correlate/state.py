"""All that correlation keeps of one tenant. Pure; every part is bounded."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import msgspec

from transforms.correlate.clues import ServiceFacts
from transforms.correlate.services import Growth, OwnLatency
from transforms.correlate.symptoms import Symptoms
from transforms.correlate.topology import Topology
from transforms.correlate.traces import FailingTraces
from transforms.elements import Anomaly, AnomalySeverity
from transforms.incident_elements import IncidentAnomaly, IncidentStatus, NearbyDeploy

MAX_MEMBERS: Final = 200
"""Anomalies that an incident lists; beyond it they are counted."""

MAX_LISTED: Final = 5_000
"""Anomalies that all incidents of a tenant list; beyond it each lists FEW_MEMBERS."""

FEW_MEMBERS: Final = 10

MAX_SERVICES: Final = 200
"""Services that an incident tells apart."""

MAX_DEPLOYS: Final = 100
"""Roll-outs that an incident lists; beyond it they are counted."""

MAX_INCIDENTS: Final = 500
"""Incidents of a tenant that take anomalies; beyond it what is linked to none goes to the one of STORM."""

MAX_GROUPS: Final = 500
"""Services with new anomalies that are told apart at one time; beyond it the lesser ones go to STORM."""

STORM: Final = "storm"
"""Domain of the incident that counts what is too much to be told apart."""


class IncidentState(msgspec.Struct):
    """An incident that still takes anomalies."""

    incident_id: str
    domain: str  # "" for operations; what is kept apart has a name, see linking.py
    opened_us: int
    started_us: int
    last_us: int  # end of its newest anomalous window
    updated_us: int
    revision: int = 0
    status: IncidentStatus = "open"
    severity: AnomalySeverity = "low"
    members: list[IncidentAnomaly] = []
    count: int = 0
    unlisted: dict[str, int] = {}  # service → severity, 0 to 3, of its worst anomaly that is not listed
    joins: dict[str, float] = {}  # service → strength of what joined it, 0 to 1
    symptoms: dict[str, Symptoms] = {}
    growth: dict[str, Growth] = {}  # own latencies that grew while it lasts
    deploys: list[NearbyDeploy] = []
    deploys_left_out: int = 0
    unlisted_deploys: list[str] = []  # ids of those left out that may come again


class TenantMemory(msgspec.Struct, dict=True):
    """State of one tenant. `facts` and `anomalies` are those of the timestamp under way.

    Whoever changes `deploys` calls `deploys_changed`.
    """

    tenant_id: str = ""
    now_us: int = -1  # end of the newest window
    window_us: int = 0
    topology: Topology = msgspec.field(default_factory=Topology)
    own: dict[str, OwnLatency] = {}
    grown: dict[str, Growth] = {}  # services whose own latency grew in the newest window
    seen_us: dict[str, int] = {}  # service → its newest window
    traces: FailingTraces = msgspec.field(default_factory=FailingTraces)
    deploys: list[NearbyDeploy] = []
    incidents: list[IncidentState] = []
    facts: dict[str, ServiceFacts] = {}
    facts_start_us: int = -1
    anomalies: list[Anomaly] = []

    @cached_property  # no field: it is not encoded
    def rolled_out(self) -> dict[str, set[str]]:
        """What was rolled out of late, by service."""
        found: dict[str, set[str]] = {}
        for deploy in self.deploys:
            found.setdefault(deploy.service, set()).add(deploy.what)
        return found

    def deploys_changed(self) -> None:
        """Forget what follows from the deploys."""
        self.__dict__.pop("rolled_out", None)
