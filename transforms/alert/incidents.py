"""Incidents as alerts see them: which one an alert is part of, and which alert speaks for it."""

from __future__ import annotations

from typing import Final

from transforms.alert.book import AlertBook, AlertState, IncidentMark
from transforms.alert.silences import find_silence
from transforms.alert.turn import Turn, is_worse
from transforms.incident_elements import Incident

_MOST_INCIDENT_IDS: Final = 200
_MOST_TITLE: Final = 200


def take_incident(turn: Turn, incident: Incident) -> None:
    """Attach `incident` to the open alerts of its anomalies.

    The first incident of an alert is told at once. What changes of it later is told with the next
    `updated`, because an incident has a revision a minute.
    """
    book = turn.book
    known = book.incidents.get(incident.incident_id)
    if known is not None and known.revision >= incident.revision:
        return
    mark = _mark(incident)
    book.incidents.pop(mark.incident_id, None)
    book.incidents[mark.incident_id] = mark
    _forget_incidents(turn)
    for alert in book.active_alerts():
        if not is_part_of(alert, mark):
            continue
        was = alert.incident_id, alert.root_cause
        if not alert.incident_id:
            link_incident(book, alert)
            turn.emit(alert, "updated", note=f"Part of an incident: {mark.title}")
            book.is_unsettled = True
        elif was != _best_link(book, alert):
            schedule_update(turn, alert)


def is_part_of(alert: AlertState, mark: IncidentMark) -> bool:
    return not (
        mark.anomaly_ids.isdisjoint(alert.anomaly_ids) and mark.fingerprints.isdisjoint(alert.findings)
    )


def link_incident(book: AlertBook, alert: AlertState) -> bool:
    """Give `alert` the incident that it is part of now; whether that changed anything."""
    link = _best_link(book, alert)
    changed = link != (alert.incident_id, alert.root_cause)
    alert.incident_id, alert.root_cause = link
    return changed


def schedule_update(turn: Turn, alert: AlertState) -> None:
    """Have `alert` tell what is new, after the group wait and not before the group interval has passed."""
    if not alert.update_at:
        settings = turn.settings
        alert.update_at = max(
            turn.now + settings.group_wait_us, alert.grouped_at + settings.group_interval_us
        )
        turn.book.hint(alert.update_at)


def _best_link(book: AlertBook, alert: AlertState) -> tuple[str, str]:
    # Of several incidents the newest that is open; a closed one only where the alert has no other.
    marks = [mark for mark in book.incidents.values() if is_part_of(alert, mark)]
    if not marks:
        return alert.incident_id, alert.root_cause
    best = max(marks, key=lambda mark: (not mark.is_closed, mark.opened_at, mark.incident_id))
    return best.incident_id, best.root_cause


def _mark(incident: Incident) -> IncidentMark:
    anomalies = incident.anomalies[:_MOST_INCIDENT_IDS]
    return IncidentMark(
        incident_id=incident.incident_id,
        revision=incident.revision,
        root_cause=incident.root_causes[0].service if incident.root_causes else "",
        title=incident.title[:_MOST_TITLE],
        opened_at=incident.opened_at,
        is_closed=incident.status == "closed",
        anomaly_ids={anomaly.anomaly_id for anomaly in anomalies},
        fingerprints={anomaly.fingerprint for anomaly in anomalies} - {""},
    )


def _forget_incidents(turn: Turn) -> None:
    incidents = turn.book.incidents
    while len(incidents) > turn.settings.most_incidents:
        closed = [name for name, mark in incidents.items() if mark.is_closed]
        del incidents[closed[0] if closed else next(iter(incidents))]


# --------------------------------------------------------------------------------- who speaks


def find_cause(book: AlertBook, alert: AlertState) -> str:
    """The open alert of the service that the incident names as the cause, or "".

    A critical security incident speaks for itself.
    """
    if not alert.root_cause or alert.root_cause == alert.service:
        return ""
    if alert.severity == "critical" and "security_incident" in alert.anomaly_types:
        return ""
    # One that has a cause elsewhere may be inhibited itself: two must not hush each other.
    causes = [
        (cause.incident_id != alert.incident_id, cause.opened_at, cause.alert_id)
        for cause in book.alerts.values()
        if cause.is_active
        and cause.service == alert.root_cause
        and cause.incident_id in {"", alert.incident_id}
        and cause.root_cause in {"", cause.service}
    ]
    return min(causes)[2] if causes else ""


def settle(turn: Turn) -> None:
    """Log for each open alert where it came under a silence or another alert, or out of it."""
    book = turn.book
    if not book.is_unsettled:
        return
    book.is_unsettled = False
    for alert in book.active_alerts():
        before = (alert.silence_id, alert.silenced_until, alert.inhibited_by)
        look_around(turn, alert)
        silenced = (alert.silence_id, alert.silenced_until) != before[:2]
        if not silenced and alert.inhibited_by == before[2]:
            continue
        notes = []
        if silenced:
            notes.append("Silenced" if alert.silence_id else "The silence has ended")
        if alert.inhibited_by != before[2]:
            notes.append(
                f"The alert of {alert.root_cause}, the cause, speaks for it"
                if alert.inhibited_by
                else "No alert of the cause speaks for it any more"
            )
        turn.emit(alert, "silenced" if silenced and alert.silence_id else "updated", note="; ".join(notes))
    _raise_causes(turn)


def look_around(turn: Turn, alert: AlertState) -> None:
    """Set the silence and the inhibition of `alert` as they are now, without a word."""
    alert.silence_id, alert.silenced_until = find_silence(turn.book, alert)
    alert.inhibited_by = find_cause(turn.book, alert)


def _raise_causes(turn: Turn) -> None:
    # Else a low alert would hush a critical one, and nobody would be paged.
    for alert in turn.book.active_alerts():
        cause = turn.book.alerts.get(alert.inhibited_by)
        if cause is not None and is_worse(alert.severity, cause.severity):
            cause.severity = alert.severity
            turn.book.is_unsettled = True
            turn.emit(cause, "escalated", note=f"Speaks for {alert.service}, whose alert is {alert.severity}")
    if turn.book.is_unsettled:
        settle(turn)
