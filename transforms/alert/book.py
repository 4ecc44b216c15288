"""All that is known of one tenant's alerts. Rebuilt from the log of events where it is lost.

Times are microseconds of the clock that `apply` and `advance` are given, 0 for never. Everything is
bounded by AlertSettings. Fields may be added at the end with a default: the state of running jobs
is made of these structs.
"""

from __future__ import annotations

from typing import Final

import msgspec

from transforms.alert.symptoms import STORM, Symptom
from transforms.alert_elements import AlertFinding, AlertStatus, Matcher, Verdict
from transforms.elements import AnomalySeverity

MOST_IDS: Final = 100
ACTIVE: Final[frozenset[AlertStatus]] = frozenset({"open", "acknowledged"})


class FindingState(msgspec.Struct, array_like=True):
    """A fingerprint of an alert."""

    finding: AlertFinding
    seen_at: int  # clock


class AlertState(msgspec.Struct, array_like=True):
    """One alert: what its newest event says, and what came after that event."""

    alert_id: str
    group_key: str
    service: str
    status: AlertStatus = "open"
    severity: AnomalySeverity = "low"
    sequence: int = 0  # of its next event
    summary: str = ""
    example: str = ""
    recommended_actions: list[str] = []
    anomaly_types: list[str] = []
    detectors: list[str] = []
    pattern_ids: list[str] = []
    endpoints: list[str] = []
    anomaly_count: int = 0
    findings: dict[str, FindingState] = {}  # by fingerprint, the one seen longest ago first
    anomaly_ids: dict[str, int] = {}  # the newest, with their revision
    forgotten_anomalies: int = 0  # no longer in `anomaly_ids`
    incident_id: str = ""
    root_cause: str = ""
    inhibited_by: str = ""
    silence_id: str = ""
    silenced_until: int = 0
    verdict: Verdict = ""
    opened_at: int = 0
    last_seen_at: int = 0  # detection time of its newest anomaly: event time
    active_at: int = 0  # clock of its newest anomaly
    last_event_at: int = 0
    grouped_at: int = 0  # when it last told of findings
    update_at: int = 0  # when it tells of new ones; 0 for nothing to tell
    resolved_at: int = 0
    is_resolved_by_people: bool = False
    reopened_at: list[int] = []
    doublings: int = 0  # of the quiet that resolving takes
    new_fingerprints: dict[str, None] = {}  # since its last event
    new_anomaly_ids: list[str] = []

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE

    @property
    def is_storm(self) -> bool:
        return self.group_key == STORM


class PendingGroup(msgspec.Struct, array_like=True):
    """Symptoms of a group that has no open alert, gathered for the group wait."""

    group_key: str
    first_at: int  # clock
    symptoms: dict[str, Symptom] = {}  # by anomaly id
    fingerprints: dict[str, None] = {}
    more: int = 0  # anomalies beyond those
    more_severity: AnomalySeverity = "low"


class Silence(msgspec.Struct, array_like=True):
    """A silence that has not ended. With an `alert_id` it is about that alert, else about all that match."""

    silence_id: str
    until: int
    opened_at: int
    alert_id: str = ""
    matchers: list[Matcher] = []
    sequence: int = 0  # of its next event; only those by matchers have a life of their own
    last_event_at: int = 0


class IncidentMark(msgspec.Struct, array_like=True):
    """What alerts need of the newest revision of an incident."""

    incident_id: str
    revision: int
    root_cause: str
    title: str
    opened_at: int
    is_closed: bool
    anomaly_ids: set[str] = set()
    fingerprints: set[str] = set()


class AlertBook(msgspec.Struct, array_like=True):
    """All state of one tenant. `alerts` holds the resolved ones too, for as long as they are kept."""

    tenant_id: str
    alerts: dict[str, AlertState] = {}
    groups: dict[str, str] = {}  # group key → its newest alert
    pending: dict[str, PendingGroup] = {}  # by group key
    silences: dict[str, Silence] = {}
    incidents: dict[str, IncidentMark] = {}
    command_ids: dict[str, None] = {}  # oldest first
    withdrawn: dict[str, int] = {}  # anomalies that no longer hold, with the revision that said so
    tracked: int = 0  # fingerprints of open alerts and pending groups, the storm's left out
    due_hint: int = 0  # nothing is due before; 0 for unknown
    pruned_at: int = 0
    is_unsettled: bool = False  # silences and inhibition must be looked at again
    forgotten: dict[str, int] = {}  # next sequence of alerts that are no longer kept

    def active_alerts(self) -> list[AlertState]:
        """Alerts that are neither resolved nor false positives, by id."""
        return sorted((a for a in self.alerts.values() if a.is_active), key=lambda alert: alert.alert_id)

    def hint(self, due_us: int) -> None:
        """Something is due at `due_us`."""
        self.due_hint = min(self.due_hint, due_us)
