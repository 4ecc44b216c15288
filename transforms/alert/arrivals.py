"""Symptoms come in: they join an open alert, or wait for their group to open one."""

from __future__ import annotations

from typing import Final

from transforms.alert.book import AlertState, FindingState, PendingGroup
from transforms.alert.findings import is_full, note_symptom, severity_of, take_lead
from transforms.alert.incidents import schedule_update
from transforms.alert.lives import resolve_alert
from transforms.alert.symptoms import STORM, Symptom
from transforms.alert.turn import Turn, is_worse, worst
from transforms.elements import MICROSECONDS

_MOST_WITHDRAWN: Final = 1000

WITHDRAWN_NOTE: Final = "All its anomalies were withdrawn: later lines showed that they do not hold"


def take_symptom(turn: Turn, symptom: Symptom) -> None:
    """Handle one symptom: open ones join or wait, withdrawn ones take back what they said."""
    if symptom.is_withdrawn:
        _withdraw(turn, symptom)
        return
    book = turn.book
    if book.withdrawn.get(symptom.anomaly_id, -1) >= symptom.revision:
        return
    storm = book.alerts.get(book.groups.get(STORM, ""))
    if storm is not None and symptom.anomaly_id in storm.anomaly_ids:
        if storm.is_active:
            _join(turn, storm, symptom)
        return  # a copy of what was counted there
    alert = book.alerts.get(book.groups.get(symptom.group_key, ""))
    if alert is not None and alert.is_active:
        _join(turn, alert, symptom)
    elif alert is not None and _is_covered(turn, alert, symptom):
        return
    elif symptom.group_key in book.pending:
        _wait(turn, book.pending[symptom.group_key], symptom)
    elif symptom.fingerprint and not is_full(turn):
        _wait(turn, _pend(turn, symptom.group_key), symptom)
    elif storm is not None and storm.is_active:
        _join(turn, storm, symptom)
    else:
        _wait(turn, book.pending.get(STORM) or _pend(turn, STORM), symptom)


# ------------------------------------------------------------------------------- an open alert


def _join(turn: Turn, alert: AlertState, symptom: Symptom) -> None:
    severity = severity_of(turn, symptom)
    known = alert.anomaly_ids.get(symptom.anomaly_id)
    if known is not None and known >= symptom.revision:
        return
    if known is None:
        has_news = note_symptom(turn, alert, symptom)
        alert.active_at = max(alert.active_at, turn.now)
        if symptom.is_canary:  # it comes to see how long an event takes: each has one, and at once
            turn.emit(alert, "updated", note="Another canary came through")
        elif has_news:
            schedule_update(turn, alert)
    alert.anomaly_ids[symptom.anomaly_id] = symptom.revision
    if is_worse(severity, alert.severity):
        before = alert.severity
        take_lead(alert, symptom, severity)
        alert.grouped_at, alert.update_at = turn.now, 0
        turn.book.is_unsettled = True
        turn.emit(alert, "escalated", note=f"From {before} to {severity}")


# ------------------------------------------------------------------------------ a resolved alert


def _is_covered(turn: Turn, alert: AlertState, symptom: Symptom) -> bool:
    """Whether a resolved alert has seen `symptom`, or people have said that it is nothing."""
    if symptom.anomaly_id in alert.anomaly_ids:
        return not is_worse(severity_of(turn, symptom), alert.severity)
    state = alert.findings.get(symptom.fingerprint)
    if state is None:
        return False
    if symptom.detected_at <= alert.last_seen_at:
        return True
    if alert.is_resolved_by_people and symptom.detected_at <= alert.resolved_at:
        return True  # it was under way when they resolved it
    return alert.status == "false_positive" and _is_held(turn, alert, state, symptom)


def _is_held(turn: Turn, alert: AlertState, state: FindingState, symptom: Symptom) -> bool:
    settings = turn.settings
    held = (
        not is_worse(severity_of(turn, symptom), state.finding.severity)
        and turn.now - state.seen_at <= settings.reopen_within_us
        and turn.now - alert.resolved_at <= settings.false_positive_holds_seconds * MICROSECONDS
    )
    if held:
        state.seen_at = turn.now
    return held


# ------------------------------------------------------------------------------------ no alert


def _wait(turn: Turn, group: PendingGroup, symptom: Symptom) -> None:
    """Let `symptom` wait with its group; of too many only the number and the severity are kept."""
    known = group.symptoms.get(symptom.anomaly_id)
    if known is not None:
        if symptom.revision > known.revision:
            group.symptoms[symptom.anomaly_id] = symptom
        return
    is_tracked = group.group_key != STORM
    is_new = is_tracked and symptom.fingerprint not in group.fingerprints
    is_crowded = len(group.symptoms) >= turn.settings.most_per_alert or not symptom.fingerprint
    if group.symptoms and (is_crowded or (is_new and is_full(turn))):
        group.more += symptom.count
        group.more_severity = worst([group.more_severity, severity_of(turn, symptom)])
        return
    group.symptoms[symptom.anomaly_id] = symptom
    if is_new:
        group.fingerprints[symptom.fingerprint] = None
        turn.book.tracked += 1


def _pend(turn: Turn, group_key: str) -> PendingGroup:
    group = turn.book.pending[group_key] = PendingGroup(group_key, turn.now)
    turn.book.hint(turn.now + turn.settings.group_wait_us)
    return group


# ----------------------------------------------------------------------------------- withdrawn


def _withdraw(turn: Turn, symptom: Symptom) -> None:
    book, anomaly_id = turn.book, symptom.anomaly_id
    if book.withdrawn.get(anomaly_id, -1) >= symptom.revision:
        return
    book.withdrawn[anomaly_id] = symptom.revision
    while len(book.withdrawn) > _MOST_WITHDRAWN:
        del book.withdrawn[next(iter(book.withdrawn))]
    for group_key in (symptom.group_key, STORM):
        _withdraw_waiting(turn, group_key, symptom)
        alert = book.alerts.get(book.groups.get(group_key, ""))
        if alert is None or alert.anomaly_ids.get(anomaly_id, symptom.revision) >= symptom.revision:
            continue
        alert.anomaly_ids.pop(anomaly_id)
        if alert.is_active and not alert.anomaly_ids and not alert.forgotten_anomalies:
            resolve_alert(turn, alert, note=WITHDRAWN_NOTE)


def _withdraw_waiting(turn: Turn, group_key: str, symptom: Symptom) -> None:
    group = turn.book.pending.get(group_key)
    if group is None or symptom.anomaly_id not in group.symptoms:
        return
    if group.symptoms[symptom.anomaly_id].revision >= symptom.revision:
        return
    if group.more and len(group.symptoms) == 1:
        return  # it stands for those of which only the number is known
    del group.symptoms[symptom.anomaly_id]
    left = {waiting.fingerprint for waiting in group.symptoms.values()}
    for name in [name for name in group.fingerprints if name not in left]:
        del group.fingerprints[name]
        turn.book.tracked -= 1
    if not group.symptoms:
        del turn.book.pending[group_key]
