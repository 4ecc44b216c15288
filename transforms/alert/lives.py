"""An alert opens, opens again, is quiet and resolves."""

from __future__ import annotations

from transforms.alert.book import AlertState, PendingGroup
from transforms.alert.findings import by_weight, note_symptom, severity_of, take_lead
from transforms.alert.incidents import link_incident, look_around
from transforms.alert.symptoms import STORM, STORM_SERVICE
from transforms.alert.turn import Turn, worst
from transforms.alert_elements import SYSTEM_ACTOR, AlertEventType, AlertStatus, Verdict
from transforms.elements import MICROSECONDS, content_id


def open_group(turn: Turn, group: PendingGroup) -> None:
    """The group wait is over: open the alert of `group`, or the one it had a short while ago again."""
    book = turn.book
    del book.pending[group.group_key]
    book.tracked -= len(group.fingerprints)
    first = min(group.symptoms.values(), key=lambda symptom: symptom.order)
    alert_id = content_id(book.tenant_id, group.group_key, first.anomaly_id)
    former = book.alerts.get(book.groups.get(group.group_key, ""))
    is_recent = former is not None and group.first_at - former.resolved_at <= turn.settings.reopen_within_us
    if former is not None and (is_recent or former.alert_id == alert_id):
        _reopen(turn, former, group)
        return
    alert = book.alerts.get(alert_id)
    if alert is not None:  # the group had another alert since; its first one keeps its log
        _reopen(turn, alert, group)
        return
    service = STORM_SERVICE if group.group_key == STORM else first.service
    alert = AlertState(alert_id, group.group_key, service, opened_at=turn.now)
    book.alerts[alert_id] = alert
    alert.sequence = book.forgotten.pop(alert_id, 0)
    _take_group(turn, alert, group)
    turn.emit(alert, "reopened" if alert.sequence else "opened")


def _reopen(turn: Turn, alert: AlertState, group: PendingGroup) -> None:
    note = "The same again after it was called a false positive" if alert.status == "false_positive" else ""
    alert.status = "open"
    alert.findings = {}
    note_reopening(turn, alert)
    _take_group(turn, alert, group)
    turn.emit(alert, "reopened", note=note or "The same group again")


def note_reopening(turn: Turn, alert: AlertState) -> None:
    """Remember when, and make the quiet longer that it takes to resolve an alert that flaps."""
    since = turn.now - turn.settings.flapping_within_seconds * MICROSECONDS
    alert.reopened_at = [when for when in alert.reopened_at if when > since] + [turn.now]
    if len(alert.reopened_at) >= turn.settings.flapping_reopenings:
        alert.doublings += 1
        alert.reopened_at = []


def _take_group(turn: Turn, alert: AlertState, group: PendingGroup) -> None:
    symptoms = by_weight(turn, list(group.symptoms.values()))
    for symptom in sorted(symptoms, key=lambda waiting: waiting.order):
        note_symptom(turn, alert, symptom)
    alert.anomaly_count += group.more
    alert.forgotten_anomalies += group.more
    take_lead(alert, symptoms[0], worst([severity_of(turn, symptoms[0]), group.more_severity]))
    _start(turn, alert)
    turn.book.groups[alert.group_key] = alert.alert_id
    link_incident(turn.book, alert)
    look_around(turn, alert)


def _start(turn: Turn, alert: AlertState) -> None:
    alert.active_at = alert.grouped_at = turn.now
    alert.update_at = alert.resolved_at = 0
    alert.is_resolved_by_people = False
    turn.book.is_unsettled = True
    turn.book.hint(quiet_at(turn, alert))


def quiet_at(turn: Turn, alert: AlertState) -> int:
    """When `alert` resolves if nothing more comes."""
    return alert.active_at + turn.settings.quiet_us(alert.doublings)


def reopen_by_hand(turn: Turn, alert: AlertState, *, actor: str, note: str, command_id: str) -> None:
    alert.status = "open"
    if turn.book.tracked + len(alert.findings) > turn.settings.most_fingerprints:
        alert.findings = dict(list(alert.findings.items())[-1:])
    for state in alert.findings.values():
        state.seen_at = turn.now
    turn.book.tracked += 0 if alert.is_storm else len(alert.findings)
    turn.book.groups[alert.group_key] = alert.alert_id
    _start(turn, alert)
    look_around(turn, alert)
    turn.emit(alert, "reopened", actor=actor, note=note, command_id=command_id)


def resolve_alert(
    turn: Turn,
    alert: AlertState,
    *,
    event_type: AlertEventType = "resolved",
    status: AlertStatus = "resolved",
    verdict: Verdict = "",
    actor: str = SYSTEM_ACTOR,
    note: str = "",
    command_id: str = "",
) -> None:
    """End the life of `alert`. What it is under stays in the event: its end is as quiet as it was."""
    if alert.is_active:
        turn.book.tracked -= 0 if alert.is_storm else len(alert.findings)
        alert.resolved_at = turn.now
    alert.status = status
    alert.verdict = verdict or alert.verdict
    alert.update_at = 0
    alert.is_resolved_by_people = bool(command_id)
    turn.book.is_unsettled = True
    turn.emit(alert, event_type, actor=actor, note=note, command_id=command_id)


def forget_resolved(turn: Turn) -> None:
    """Drop resolved alerts that are too old or too many."""
    book, settings = turn.book, turn.settings
    ended = sorted((a.resolved_at, a.alert_id) for a in book.alerts.values() if not a.is_active)
    oldest = turn.now - settings.keep_resolved_seconds * MICROSECONDS
    excess = len(ended) - settings.most_resolved
    for place, (resolved_at, alert_id) in enumerate(ended):
        if place < excess or resolved_at < oldest:
            alert = book.alerts.pop(alert_id)
            book.forgotten[alert_id] = alert.sequence
            if book.groups.get(alert.group_key) == alert_id:
                del book.groups[alert.group_key]
    while len(book.forgotten) > 2 * settings.most_resolved:
        del book.forgotten[next(iter(book.forgotten))]
