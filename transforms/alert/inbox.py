"""What comes to a tenant's book, in the order in which it is taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from transforms.alert.manage import Value
from transforms.alert.symptoms import Symptom
from transforms.alert_elements import AlertCommand, AlertEvent
from transforms.incident_elements import Incident


class AlertInput(msgspec.Struct, array_like=True):
    """Some values of one tenant that came at the same time. Empty ones only wake the tenant."""

    symptoms: list[Symptom] = []
    incidents: list[Incident] = []
    commands: list[AlertCommand] = []
    past: list[AlertEvent] = []


def in_order(arrivals: Iterable[tuple[int, AlertInput]]) -> list[tuple[int, Value]]:
    """(clock, value) by clock; at one time anomalies come first, then incidents, then commands."""
    values = [timed for arrival, given in arrivals for timed in _values(arrival, given)]
    values.sort(key=lambda item: item[:2])
    return [(arrival, value) for arrival, _, value in values]


def _values(arrival: int, given: AlertInput) -> Iterator[tuple[int, tuple[int, int, str, int], Value]]:
    for symptom in given.symptoms:
        yield arrival, (0, *symptom.order), symptom
    for incident in given.incidents:
        yield arrival, (1, incident.updated_at, incident.incident_id, incident.revision), incident
    for command in given.commands:
        yield arrival, (2, command.issued_at, command.command_id, 0), command
