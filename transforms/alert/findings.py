"""What an alert keeps of its symptoms: counts, fingerprints, the words of the worst."""

from __future__ import annotations

from typing import Final

import msgspec

from transforms.alert.book import MOST_IDS, AlertState, FindingState
from transforms.alert.catalog import weigh
from transforms.alert.symptoms import MOST_PATTERNS, Symptom
from transforms.alert.turn import Turn, is_worse
from transforms.alert_elements import AlertFinding
from transforms.elements import MINUTE_US, SEVERITY_RANKS, AnomalySeverity

_MOST_LISTED: Final = 20


def severity_of(turn: Turn, symptom: Symptom) -> AnomalySeverity:
    entry = turn.catalog.entry(symptom.tenant_id, symptom.service)
    return weigh(symptom.severity, entry, symptom.anomaly_type)


def by_weight(turn: Turn, symptoms: list[Symptom]) -> list[Symptom]:
    """The worst first, then the earliest: whatever order they came in."""
    return sorted(symptoms, key=lambda s: (-SEVERITY_RANKS[severity_of(turn, s)], s.order))


def note_symptom(turn: Turn, alert: AlertState, symptom: Symptom) -> bool:
    """Count `symptom` in `alert`; whether it is news that people should hear of."""
    alert.anomaly_count += symptom.count
    alert.last_seen_at = max(alert.last_seen_at, symptom.detected_at)
    for anomaly_id in (symptom.anomaly_id, *symptom.more_ids):
        alert.anomaly_ids[anomaly_id] = symptom.revision
        if len(alert.new_anomaly_ids) < MOST_IDS:
            alert.new_anomaly_ids.append(anomaly_id)
    while len(alert.anomaly_ids) > MOST_IDS:
        del alert.anomaly_ids[next(iter(alert.anomaly_ids))]
        alert.forgotten_anomalies += 1
    alert.forgotten_anomalies += symptom.count - 1 - len(symptom.more_ids)
    _add(alert.anomaly_types, symptom.anomaly_type, _MOST_LISTED)
    _add(alert.detectors, symptom.detector, _MOST_LISTED)
    _add(alert.endpoints, symptom.endpoint, _MOST_LISTED)
    for pattern_id in symptom.pattern_ids:
        _add(alert.pattern_ids, pattern_id, MOST_PATTERNS)
    if alert.is_storm:
        return True
    return bool(symptom.fingerprint) and _note_finding(turn, alert, symptom)


def _note_finding(turn: Turn, alert: AlertState, symptom: Symptom) -> bool:
    """Keep the fingerprint of `symptom`; whether it is new, or back after it was quiet."""
    severity = severity_of(turn, symptom)
    state = alert.findings.pop(symptom.fingerprint, None)
    if state is not None:
        alert.findings[symptom.fingerprint] = state  # seen last
        is_back = state.seen_at + turn.settings.quiet_us(alert.doublings) < turn.now
        state.seen_at = turn.now
        _widen(turn, alert, state, symptom, severity)
        if is_back:
            alert.new_fingerprints[symptom.fingerprint] = None
        return is_back
    if len(alert.findings) >= turn.settings.most_per_alert or (is_full(turn) and alert.findings):
        del alert.findings[next(iter(alert.findings))]
        turn.book.tracked -= 1
    turn.book.tracked += 1
    finding = AlertFinding(
        fingerprint=symptom.fingerprint,
        service=symptom.service,
        endpoint=symptom.endpoint,
        anomaly_type=symptom.anomaly_type,
        severity=severity,
        detector=symptom.detector,
        signal=symptom.signal,
        pattern_ids=list(symptom.pattern_ids),
    )
    alert.findings[symptom.fingerprint] = FindingState(finding, turn.now)
    alert.new_fingerprints[symptom.fingerprint] = None
    turn.book.is_unsettled = True
    return True


def _widen(
    turn: Turn, alert: AlertState, state: FindingState, symptom: Symptom, severity: AnomalySeverity
) -> None:
    """Let the finding grow by what `symptom` shows: a silence of one pattern must not hide another."""
    finding = state.finding
    more = [name for name in symptom.pattern_ids if name not in finding.pattern_ids]
    patterns = [*finding.pattern_ids, *more][:MOST_PATTERNS]
    worse = is_worse(severity, finding.severity)
    if patterns == finding.pattern_ids and not worse:
        return
    state.finding = msgspec.structs.replace(
        finding, pattern_ids=patterns, severity=severity if worse else finding.severity
    )
    alert.new_fingerprints[symptom.fingerprint] = None
    turn.book.is_unsettled = True


def take_lead(alert: AlertState, symptom: Symptom, severity: AnomalySeverity) -> None:
    """Let `symptom` speak for `alert`."""
    alert.severity = severity
    if not alert.is_storm:
        alert.summary = symptom.description
        alert.service = symptom.service
    alert.example = symptom.example
    alert.recommended_actions = list(symptom.recommended_actions)


def _add(values: list[str], value: str, most: int) -> None:
    if value and value not in values and len(values) < most:
        values.append(value)


def is_full(turn: Turn) -> bool:
    """Whether the tenant has as many open fingerprints as it may; quiet ones are forgotten first."""
    book, settings = turn.book, turn.settings
    if book.tracked < settings.most_fingerprints:
        return False
    if turn.now - book.pruned_at >= MINUTE_US:
        book.pruned_at = turn.now
        for alert in book.active_alerts():
            oldest = turn.now - settings.quiet_us(alert.doublings)
            quiet = [name for name, state in alert.findings.items() if state.seen_at < oldest]
            for name in quiet if len(quiet) < len(alert.findings) else quiet[:-1]:
                del alert.findings[name]
                book.tracked -= 1
    return book.tracked >= settings.most_fingerprints
