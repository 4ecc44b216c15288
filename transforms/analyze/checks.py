"""The recount: every number that the model cites, computed again from what it was shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from transforms.analyze.cleaning import MOST_NAME, clean_text
from transforms.analyze.prompt import MOST_SERVICE, Prompt, age_minutes, error_rate, printable, shown_number
from transforms.analyze.schema import FOUND_BY_GEMINI, METRICS, Claim, ClaimedFinding
from transforms.elements import ERROR
from transforms.gemini_elements import ClaimCheck, HypothesisReason, PatternEvidence, WindowEvidence

MOST_CLAIMS: Final = 50
_COUNTS: Final = frozenset(
    {
        "lines",
        "errors",
        "warnings",
        "requests",
        "denials",
        "pattern_count",
        "pattern_errors",
        "pattern_age_minutes",
    }
)
_RELATIVE_TOLERANCE: Final = 0.005
_USUAL: Final = "usual_"


@dataclass(frozen=True)
class Checked:
    """A finding beside the recount. `reason` is empty where all holds."""

    finding: ClaimedFinding
    window: WindowEvidence | None
    patterns: tuple[PatternEvidence, ...]  # cited ones that are in the window
    checks: tuple[ClaimCheck, ...]
    reason: HypothesisReason | None = None
    detail: str = ""


def check_finding(finding: ClaimedFinding, prompt: Prompt) -> Checked:
    """Recount a finding. Believed is only what cites, and whose every number is right."""
    window = prompt.windows.get(finding.window)
    cited = [prompt.patterns.get(alias, "") for alias in finding.pattern_ids[:MOST_CLAIMS]]
    patterns = _patterns_of(window, cited)
    checks = tuple(_check_claim(claim, prompt) for claim in finding.claims[:MOST_CLAIMS])
    reason, detail = _why_not(finding, prompt, window, cited, patterns, checks)
    return Checked(finding, window, patterns, checks, reason, detail)


def _why_not(
    finding: ClaimedFinding,
    prompt: Prompt,
    window: WindowEvidence | None,
    cited: Sequence[str],
    patterns: Sequence[PatternEvidence],
    checks: Sequence[ClaimCheck],
) -> tuple[HypothesisReason | None, str]:
    """Why a finding is not believed, the first reason that there is; (None, "") where it is."""
    if finding.anomaly_type not in FOUND_BY_GEMINI:
        return "unknown_type", "its type is none that patterns can show"
    if finding.service not in {prompt.service, printable(prompt.service, MOST_SERVICE)}:
        return "unknown_service", "it speaks of a service that it was not shown"
    if window is None:
        return "unknown_window", "it names a window that it was not shown"
    if missing := sum(not pattern_id for pattern_id in cited):
        return "unknown_pattern", f"{missing} of its patterns were not shown to it"
    if len(patterns) < len(set(cited)):
        return "unknown_pattern", f"{len(set(cited)) - len(patterns)} of its patterns are not in its window"
    if (wrong := _wrong_number(finding, checks)) is not None:
        return wrong
    if not patterns and not off_band(window):
        return "no_citation", "it cites no pattern, and every signal of its window is as usual"
    if not _fits(finding.anomaly_type, window, patterns):
        return "evidence_does_not_fit", f"what it cites does not show {finding.anomaly_type}"
    return None, ""


def _wrong_number(
    finding: ClaimedFinding, checks: Sequence[ClaimCheck]
) -> tuple[HypothesisReason, str] | None:
    if not any(claim.window == finding.window for claim in finding.claims):
        return "no_claim", "it cites no number of its window"
    for check in checks:
        if check.actual is None:
            return "unknown_metric", f"{check.metric} of {check.subject} is no figure that it was shown"
        if not check.holds:
            return (
                "wrong_number",
                f"{check.metric} of {check.subject} is {check.actual:g}, not {check.claimed:g}",
            )
    if len(finding.claims) > MOST_CLAIMS:
        return "wrong_number", f"it cites more than {MOST_CLAIMS} numbers"
    return None


def _fits(anomaly_type: str, window: WindowEvidence, patterns: Sequence[PatternEvidence]) -> bool:
    """Whether evidence of that kind is cited at all; what it means is the model's to say."""
    off = off_band(window)
    errors = any(pattern.errors or pattern.severity >= ERROR for pattern in patterns)
    if anomaly_type == "error_spike":
        return errors or "error_rate" in off
    if anomaly_type in {"latency_increase", "performance_degradation"}:
        return window.latency_p95_ms >= 0 or bool(patterns)
    if anomaly_type == "traffic_change":
        return "lines" in off
    if anomaly_type == "new_pattern":
        return any(pattern.is_new for pattern in patterns)
    if anomaly_type == "deploy_regression":
        return bool(window.deploys) and (errors or bool(off))
    return bool(patterns)


def off_band(window: WindowEvidence) -> dict[str, str]:
    """Signals of the window outside what was expected: signal → high or low."""
    off = {}
    for signal, band in sorted(window.bands.items()):
        value = signal_value(window, signal)
        if value is not None and value > band.high:
            off[signal] = "high"
        elif value is not None and value < band.low:
            off[signal] = "low"
    return off


def signal_value(window: WindowEvidence, signal: str) -> float | None:
    """Value of a signal that has a band; None where the window has none."""
    if signal == "lines":
        return float(window.lines)
    if signal == "error_rate":
        return window.errors / window.lines if window.lines else None
    if signal == "latency_p95_ms":
        return window.latency_p95_ms if window.latency_p95_ms >= 0 else None
    return None


def _check_claim(claim: Claim, prompt: Prompt) -> ClaimCheck:
    actual = _actual(claim, prompt)
    subject = f"{claim.pattern} in {claim.window}" if claim.pattern else claim.window
    return ClaimCheck(
        metric=clean_text(claim.metric, MOST_NAME),
        subject=clean_text(subject, MOST_NAME),
        claimed=claim.value,
        actual=actual,
        holds=actual is not None and _agrees(claim.metric, claim.value, actual),
    )


def _actual(claim: Claim, prompt: Prompt) -> float | None:
    """The number as it was shown; None where it was not."""
    window = prompt.windows.get(claim.window)
    if window is None or claim.metric not in METRICS:
        return None
    if claim.metric.startswith("pattern_"):
        pattern_id = prompt.patterns.get(claim.pattern)
        found = next((p for p in window.patterns if p.pattern_id == pattern_id), None)
        return None if found is None else _pattern_number(claim.metric, found, prompt)
    return window_numbers(window).get(claim.metric)


def _pattern_number(metric: str, pattern: PatternEvidence, prompt: Prompt) -> float:
    if metric == "pattern_count":
        return float(pattern.count)
    if metric == "pattern_errors":
        return float(pattern.errors)
    until_us = max(window.window_end_us for window in prompt.windows.values())
    shown = [
        p for window in prompt.windows.values() for p in window.patterns if p.pattern_id == pattern.pattern_id
    ]
    return float(max(age_minutes(same, until_us) for same in shown))


def window_numbers(window: WindowEvidence) -> dict[str, float]:
    """Every figure of a window that a claim can cite, as it is shown."""
    numbers = {
        "lines": float(window.lines),
        "errors": float(window.errors),
        "warnings": float(window.warnings),
        "requests": float(window.requests),
        "denials": float(window.denials),
        "error_rate": error_rate(window),
    }
    if window.latency_p95_ms >= 0:
        numbers["latency_p50_ms"] = shown_number(window.latency_p50_ms)
        numbers["latency_p95_ms"] = shown_number(window.latency_p95_ms)
    return numbers | {_USUAL + signal: shown_number(band.baseline) for signal, band in window.bands.items()}


def _agrees(metric: str, claimed: float, actual: float) -> bool:
    if metric in _COUNTS:
        return claimed == actual
    return abs(claimed - actual) <= max(abs(actual) * _RELATIVE_TOLERANCE, 1e-9)


def _patterns_of(window: WindowEvidence | None, cited: Sequence[str]) -> tuple[PatternEvidence, ...]:
    """The cited patterns that have lines in the window, in its order."""
    if window is None:
        return ()
    return tuple(p for p in window.patterns if p.pattern_id in cited and p.count > 0)
