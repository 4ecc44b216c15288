"""A book from the log of events: after a cold start, or beside a local store.

What is not in the log is lost and does little harm: a group that waited opens when its anomalies come
again; known anomalies may be counted twice; a withdrawal from before the restart does not resolve.
Quiet counts from the restart, because nothing says that it was quiet before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from transforms.alert.book import MOST_IDS, AlertBook, AlertState, FindingState, Silence
from transforms.alert.lives import note_reopening
from transforms.alert.settings import AlertSettings
from transforms.alert.turn import Turn
from transforms.alert_elements import AlertEvent
from transforms.elements import content_id

_MORE: Final = re.compile(r" \(and \d+ more findings?\)$")
_TELLS_FINDINGS: Final = frozenset({"opened", "updated", "reopened", "escalated"})


def rebuild_book(
    tenant_id: str,
    events: Iterable[AlertEvent],
    now_us: int | None = None,
    settings: AlertSettings | None = None,
) -> AlertBook:
    """The book of `tenant_id` after `events`, in any order, copies allowed; others' events are left out.

    `now_us` is the clock of the restart; without it, the time of the newest event.
    """
    known = sorted(
        (event for event in events if event.tenant_id == tenant_id),
        key=lambda event: (event.occurred_at, event.alert_id, event.sequence),
    )
    now = now_us if now_us is not None else max((event.occurred_at for event in known), default=0)
    book = AlertBook(tenant_id)
    for event in known:
        take_past(book, event, now, settings or AlertSettings())
    for alert in book.alerts.values():  # events of one moment have no order across alerts
        _stand_for_group(book, alert)
    return book


def take_past(book: AlertBook, event: AlertEvent, now_us: int, settings: AlertSettings) -> None:
    """Remember one event of the log. One older than what is known adds only what it alone tells."""
    if event.command_id:
        book.command_ids[event.command_id] = None
        while len(book.command_ids) > settings.most_commands:
            del book.command_ids[next(iter(book.command_ids))]
    book.due_hint = 0
    book.is_unsettled = True
    if event.group_key == "rejected":
        return
    if event.matchers:
        _take_silence(book, event)
        return
    alert = book.alerts.get(event.alert_id)
    if alert is None:
        alert = AlertState(event.alert_id, event.group_key, event.service, opened_at=event.opened_at)
        book.alerts[event.alert_id] = alert
    book.tracked -= _tracked(alert)
    if event.sequence >= alert.sequence:
        _take_newer(book, alert, event, now_us, settings)
    _take_lists(alert, event, now_us, settings)
    book.tracked += _tracked(alert)
    if book.tracked > settings.most_fingerprints:
        _make_room(book, settings)
    _stand_for_group(book, alert)


def _make_room(book: AlertBook, settings: AlertSettings) -> None:
    """The log has the findings that had to make way, too: they make way again, where there are most."""
    alerts = [alert for alert in book.active_alerts() if not alert.is_storm]
    while book.tracked > settings.most_fingerprints:
        largest = max(alerts, key=lambda alert: (len(alert.findings), alert.alert_id))
        if len(largest.findings) < 2:
            return
        del largest.findings[next(iter(largest.findings))]
        book.tracked -= 1


def _stand_for_group(book: AlertBook, alert: AlertState) -> None:
    """Of a group's alerts the open one counts, else the newest."""
    other = book.alerts.get(book.groups.get(alert.group_key, ""))
    if other is None or (other.is_active, other.opened_at, other.alert_id) < (
        *(alert.is_active, alert.opened_at, alert.alert_id),
    ):
        book.groups[alert.group_key] = alert.alert_id


def _tracked(alert: AlertState) -> int:
    return len(alert.findings) if alert.is_active and not alert.is_storm else 0


def _take_newer(
    book: AlertBook, alert: AlertState, event: AlertEvent, now_us: int, settings: AlertSettings
) -> None:
    was_active = alert.is_active
    for name in ("service", "status", "severity", "example", "anomaly_count", "incident_id", "root_cause"):
        setattr(alert, name, getattr(event, name))
    for name in ("inhibited_by", "silence_id", "verdict", "last_seen_at"):
        setattr(alert, name, getattr(event, name))
    for name in ("recommended_actions", "anomaly_types", "detectors", "pattern_ids", "endpoints"):
        setattr(alert, name, list(getattr(event, name)))
    alert.summary = _MORE.sub("", event.summary)
    alert.sequence = event.sequence + 1
    alert.silenced_until = event.silenced_until or 0
    alert.last_event_at = event.occurred_at
    if event.event_type == "reopened" and not event.command_id:
        alert.findings = {}
        note_reopening(Turn(book, event.occurred_at, settings), alert)
    if event.event_type in _TELLS_FINDINGS:
        alert.grouped_at = event.occurred_at
    if alert.is_active:
        # A file that is read again begins before what it found then.
        alert.active_at = max(now_us, event.last_seen_at)
        alert.resolved_at, alert.is_resolved_by_people = 0, False
    elif was_active:
        alert.resolved_at = event.occurred_at
        alert.is_resolved_by_people = bool(event.command_id)
        for state in alert.findings.values():
            state.seen_at = min(state.seen_at, event.occurred_at)
    _take_own_silence(book, alert, event)


def _take_lists(alert: AlertState, event: AlertEvent, now_us: int, settings: AlertSettings) -> None:
    for anomaly_id in event.anomaly_ids:
        alert.anomaly_ids.setdefault(anomaly_id, 0)
    while len(alert.anomaly_ids) > MOST_IDS:
        del alert.anomaly_ids[next(iter(alert.anomaly_ids))]
    alert.forgotten_anomalies = max(0, alert.anomaly_count - len(alert.anomaly_ids))
    if alert.is_storm:
        return
    seen_at = max(now_us, event.last_seen_at) if alert.is_active else min(now_us, event.occurred_at)
    for finding in event.findings:
        alert.findings.pop(finding.fingerprint, None)
        alert.findings[finding.fingerprint] = FindingState(finding, seen_at)
    while len(alert.findings) > settings.most_per_alert:
        del alert.findings[next(iter(alert.findings))]


def _take_own_silence(book: AlertBook, alert: AlertState, event: AlertEvent) -> None:
    """The silence of an alert itself begins and ends in the alert's own log."""
    by_command = content_id(book.tenant_id, "silence", event.command_id)
    for silence in [s for s in book.silences.values() if s.alert_id == alert.alert_id]:
        if event.silence_id != silence.silence_id:
            del book.silences[silence.silence_id]
    if event.event_type == "silenced" and event.silence_id == by_command and event.silenced_until:
        book.silences[by_command] = Silence(
            by_command, event.silenced_until, event.occurred_at, alert_id=alert.alert_id
        )


def _take_silence(book: AlertBook, event: AlertEvent) -> None:
    known = book.silences.get(event.silence_id)
    if known is not None and known.sequence > event.sequence:
        return
    if event.event_type == "resolved":
        book.silences.pop(event.silence_id, None)
        return
    book.silences[event.silence_id] = Silence(
        event.silence_id,
        event.silenced_until or 0,
        event.opened_at,
        matchers=list(event.matchers),
        sequence=event.sequence + 1,
        last_event_at=event.occurred_at,
    )
