"""What becomes of a checked finding: an anomaly in code's words, or a hypothesis. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from transforms.analyze.checks import Checked, off_band, signal_value, window_numbers
from transforms.analyze.cleaning import (
    MOST_ANALYSIS,
    MOST_DESCRIPTION,
    MOST_NAME,
    clean_actions,
    clean_prose,
    clean_text,
)
from transforms.analyze.prompt import Prompt
from transforms.elements import (
    SEVERITY_RANKS,
    Anomaly,
    AnomalyMetric,
    AnomalySeverity,
    AnomalyType,
    Evidence,
    Example,
    content_id,
)
from transforms.gemini_elements import (
    GEMINI_DETECTOR,
    FindingEvidence,
    Hypothesis,
    PatternEvidence,
    WindowEvidence,
)

MOST_EVIDENCE: Final = 5
MOST_METRICS: Final = 5
MANY_LINES, FEW_LINES = 10, 3
HIGHEST: Final[AnomalySeverity] = "medium"
"""Gemini alone never pages higher; where a rule says more, the rule pages."""

_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")

_WORDS: Final[dict[AnomalyType, str]] = {
    "error_spike": "errors",
    "latency_increase": "slow requests",
    "unusual_pattern": "unusual lines",
    "resource_exhaustion": "signs of an exhausted resource",
    "security_incident": "signs of a security incident",
    "performance_degradation": "signs of degraded performance",
    "traffic_change": "unusual traffic",
    "new_pattern": "new lines",
    "certificate_expiry": "signs of an expiring certificate",
    "deploy_regression": "trouble after a roll-out",
}


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """An answer that held, without its numbers: what can be said again when the same evidence comes again."""

    request_id: str
    anomaly_type: AnomalyType
    pattern_ids: tuple[str, ...]
    confidence: float
    analysis: str
    recommended_actions: tuple[str, ...]


def make_verdict(checked: Checked, request_id: str) -> Verdict:
    """What is remembered of a finding that held. Its text is clean, and has no number that is not shown."""
    window = checked.window
    assert window is not None
    known = _known_numbers(window, checked.patterns)
    finding = checked.finding
    said = clean_prose(finding.description, known, MOST_DESCRIPTION)
    why = clean_prose(finding.analysis, known, MOST_ANALYSIS)
    return Verdict(
        request_id=request_id,
        anomaly_type=finding.anomaly_type,  # type: ignore[arg-type]  # checked against FOUND_BY_GEMINI
        pattern_ids=tuple(pattern.pattern_id for pattern in checked.patterns),
        confidence=min(1.0, max(0.0, finding.confidence)),
        analysis=" ".join(part for part in (said, why) if part),
        recommended_actions=tuple(clean_actions(finding.recommended_actions, known)),
    )


def make_anomaly(verdict: Verdict, window: WindowEvidence, confidence_floor: float) -> Anomaly | None:
    """The anomaly of `verdict` in `window`, all numbers of which are the window's own.

    None where the window shows nothing of it any more.
    """
    patterns = [p for p in window.patterns if p.pattern_id in verdict.pattern_ids and p.count > 0]
    off = off_band(window)
    if not patterns and (verdict.pattern_ids or not off):
        return None
    confidence = _confidence(verdict.confidence, window, patterns, off)
    signal = verdict.anomaly_type
    subject = min((pattern.pattern_id for pattern in patterns), default="")
    return Anomaly(
        anomaly_id=content_id(
            window.tenant_id, window.service, "", GEMINI_DETECTOR, signal, subject, window.window_start_us
        ),
        revision=0,
        status="open",
        tenant_id=window.tenant_id,
        service=window.service,
        endpoint="",
        anomaly_type=verdict.anomaly_type,
        anomaly_severity=_severity(window, patterns, off),
        description=_describe(verdict, window, patterns, off),
        detector=GEMINI_DETECTOR,
        signal=signal,
        rules_version="",
        window_start=window.window_start_us,
        window_end=window.window_end_us,
        confidence_score=confidence,
        below_confidence_floor=confidence < confidence_floor,
        metrics=_metrics(window, off),
        evidence=[_evidence(pattern, window) for pattern in _strongest(patterns)],
        recommended_actions=list(verdict.recommended_actions),
        gemini_analysis=verdict.analysis,
        detected_at=window.window_end_us,
    )


def make_hypothesis(checked: Checked, prompt: Prompt, request_id: str, place: int, model: str) -> Hypothesis:
    """What is kept of a finding that did not hold; `place` is its number in the answer."""
    finding = checked.finding
    windows = list(prompt.windows.values())
    first, last = (checked.window, checked.window) if checked.window else (windows[0], windows[-1])
    assert checked.reason is not None
    return Hypothesis(
        hypothesis_id=content_id(request_id, place),
        request_id=request_id,
        tenant_id=prompt.tenant_id,
        service=clean_text(finding.service, MOST_NAME),
        window_start=first.window_start_us,
        window_end=last.window_end_us,
        reason=checked.reason,
        detail=clean_text(checked.detail, MOST_DESCRIPTION),
        anomaly_type=clean_text(finding.anomaly_type, MOST_NAME),
        claimed_severity=clean_text(finding.severity, MOST_NAME),
        claimed_confidence=min(1.0, max(0.0, finding.confidence)),
        description=clean_text(finding.description, MOST_DESCRIPTION),
        analysis=clean_text(finding.analysis, MOST_ANALYSIS),
        recommended_actions=clean_actions(
            finding.recommended_actions, numbers_in(*finding.recommended_actions)
        ),
        pattern_ids=[pattern.pattern_id for pattern in checked.patterns],
        checks=list(checked.checks),
        model=model,
        prompt_version=prompt.version,
    )


def agreeing(window: WindowEvidence) -> list[FindingEvidence]:
    """What rules or learned detectors found in the window, from medium on."""
    least = SEVERITY_RANKS["medium"]
    return [found for found in window.findings if SEVERITY_RANKS.get(found.severity, 0) >= least]


def _severity(
    window: WindowEvidence, patterns: Sequence[PatternEvidence], off: dict[str, str]
) -> AnomalySeverity:
    errors = sum(pattern.errors for pattern in patterns)
    return HIGHEST if agreeing(window) or errors >= MANY_LINES or off else "low"


def _confidence(
    claimed: float, window: WindowEvidence, patterns: Sequence[PatternEvidence], off: dict[str, str]
) -> float:
    """At most what the model claims, and at most what the evidence carries, in steps of a hundredth."""
    lines = sum(pattern.count for pattern in patterns)
    percent = 60
    percent += 15 if lines >= MANY_LINES else -20 if lines < FEW_LINES and not off else 0
    percent += 15 if agreeing(window) else 0
    percent += 10 if off else 0
    percent += 10 if any(pattern.is_new for pattern in patterns) else 0
    return min(percent, 90, round(claimed * 100)) / 100


def _describe(
    verdict: Verdict, window: WindowEvidence, patterns: Sequence[PatternEvidence], off: dict[str, str]
) -> str:
    """One sentence of code's own words and the window's own numbers."""
    what = _WORDS[verdict.anomaly_type]
    service = clean_text(window.service, MOST_NAME)
    if patterns:
        lines, errors = sum(p.count for p in patterns), sum(p.errors for p in patterns)
        plural = "pattern" if len(patterns) == 1 else "patterns"
        of_errors = f", {errors} of them errors" if errors else ""
        return f"Gemini sees {what} of {service}: {lines} lines of {len(patterns)} {plural}{of_errors}."
    return f"Gemini sees {what} of {service}: {', '.join(f'{name} is {way}' for name, way in off.items())}."


def _metrics(window: WindowEvidence, off: dict[str, str]) -> list[AnomalyMetric]:
    found = []
    for signal in off:
        band, value = window.bands[signal], signal_value(window, signal)
        assert value is not None
        found.append(
            AnomalyMetric(signal, value, baseline=band.baseline, band_low=band.low, band_high=band.high)
        )
    if not found:
        found.append(AnomalyMetric("errors", float(window.errors)))
    return found[:MOST_METRICS]


def _strongest(patterns: Iterable[PatternEvidence]) -> list[PatternEvidence]:
    ranked = sorted(patterns, key=lambda p: (-p.errors, -p.severity, -p.count, p.pattern_id))
    return ranked[:MOST_EVIDENCE]


def _evidence(pattern: PatternEvidence, window: WindowEvidence) -> Evidence:
    examples = [Example(0, window.window_start_us, "", pattern.example)] if pattern.example else []
    return Evidence(pattern.pattern_id, pattern.text, pattern.count, examples)


def _known_numbers(window: WindowEvidence, patterns: Sequence[PatternEvidence]) -> set[float]:
    """Numbers that text may name: those of the window, of the cited patterns, and in their text."""
    known = set(window_numbers(window).values())
    for pattern in patterns:
        known |= {float(pattern.count), float(pattern.errors)}
        known |= numbers_in(pattern.text, pattern.example)
    return known


def numbers_in(*texts: str, most: int = 50) -> set[float]:
    return {float(number) for text in texts for number in _NUMBER.findall(text)[:most] if len(number) < 20}
