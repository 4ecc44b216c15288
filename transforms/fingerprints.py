"""What of an anomaly stays the same from window to window: how alerts and incidents know it again. Pure."""

from __future__ import annotations

from typing import Final

from transforms.elements import Anomaly, AnomalyType, content_id

_PATTERN_TYPES: Final[frozenset[AnomalyType]] = frozenset({"new_pattern", "unusual_pattern"})


def fingerprint_of(anomaly: Anomaly) -> str:
    """32 hexadecimal digits that all anomalies of one problem share, window after window.

    Made of tenant, service, endpoint, type, detector, signal, and the pattern where the anomaly is
    about one. What it merely shows as evidence changes from window to window, and does not count.
    """
    return content_id(
        anomaly.tenant_id,
        anomaly.service,
        anomaly.endpoint,
        anomaly.anomaly_type,
        anomaly.detector,
        anomaly.signal,
        subject_pattern(anomaly),
    )


def subject_pattern(anomaly: Anomaly) -> str:
    """The pattern that the anomaly is about, or ""."""
    is_by_type = anomaly.anomaly_type in _PATTERN_TYPES
    if not is_by_type and not anomaly.detector.startswith("rule:"):
        return ""
    for evidence in anomaly.evidence:
        # The id is a hash of all that makes the anomaly what it is: the one place where that is said.
        if anomaly.anomaly_id == content_id(
            anomaly.tenant_id,
            anomaly.service,
            anomaly.endpoint,
            anomaly.detector,
            anomaly.signal,
            evidence.pattern_id,
            anomaly.window_start,
        ):
            return evidence.pattern_id
    return anomaly.evidence[0].pattern_id if is_by_type and len(anomaly.evidence) == 1 else ""
