"""Lines that are missing, told to people: once for each episode, and again when it gets worse."""

from __future__ import annotations

from typing import Final

from transforms.detect.baselines.book import SignalPolicy
from transforms.detect.baselines.reasons import show_number
from transforms.detect.deviations import MEDIUM_MINUTES, Report
from transforms.detect.findings import MOST_EVIDENCE, MOST_METRICS, Finding, find_evidence
from transforms.detect.request_line_table import BrokenInvariants, MissingLines, RequestLinesMemory
from transforms.detect.request_lines import watch_request_lines
from transforms.elements import (
    ANOMALY_SEVERITIES,
    ERROR,
    MICROSECONDS,
    MINUTE_US,
    AnomalyMetric,
    AnomalySeverity,
    Evidence,
    WindowSummary,
)

DETECTOR: Final = "request_lines"
CONFIDENCE: Final = 0.95
NEW_REVISION_CONFIDENCE: Final = 0.6
"""Where another revision came and no more errors did: it may just log other lines."""

MEDIUM_SHARE: Final = 0.5
LEAST_ERRORS: Final = 3
_MOST_CHARACTERS: Final = 140
_MISSING_SHOWN: Final = 3


def report_request_lines(
    memory: RequestLinesMemory, summary: WindowSummary, policy: SignalPolicy
) -> list[Finding]:
    """What is to be told of the window; it is judged by the windows before, and learned if it is calm."""
    broken = watch_request_lines(memory, summary)
    if broken is None or policy.is_off:
        return []
    now_us = summary.window_start_us
    severity = min(_severity(broken, summary), policy.severity or "critical", key=ANOMALY_SEVERITIES.index)
    rank = ANOMALY_SEVERITIES.index(severity)
    if memory.report and not memory.report.is_due(rank, now_us):
        return []
    memory.report = memory.report or Report(rank, now_us, now_us)
    memory.report.tell(rank, now_us)
    return [_finding(broken, summary, severity)]


def _finding(broken: BrokenInvariants, summary: WindowSummary, severity: AnomalySeverity) -> Finding:
    return Finding(
        detector=DETECTOR,
        signal="missing_lines",
        anomaly_type="unusual_pattern",
        severity=severity,
        confidence=NEW_REVISION_CONFIDENCE if _may_be_a_deploy(broken) else CONFIDENCE,
        description=_describe(broken, summary),
        metrics=[*map(_metric, broken.missing[: MOST_METRICS - 1]), _errors(broken)],
        pattern_ids=broken.missing[0].pattern_ids[:1],
        evidence=_evidence(broken, summary),
        actions=(
            "Look at what the service does right before the missing lines: there it stops, or turns off.",
            "See whether a service that it calls fails at the same time.",
        ),
    )


def _severity(broken: BrokenInvariants, summary: WindowSummary) -> AnomalySeverity:
    first = broken.missing[0]
    if _may_be_a_deploy(broken):
        return "low"
    is_much = first.lines <= (1.0 - MEDIUM_SHARE) * first.expected
    return "medium" if is_much or _minutes(broken, summary) >= MEDIUM_MINUTES else "low"


def _may_be_a_deploy(broken: BrokenInvariants) -> bool:
    return broken.is_new_revision and not _has_more_errors(broken)


def _has_more_errors(broken: BrokenInvariants) -> bool:
    return broken.errors >= LEAST_ERRORS + 2.0 * broken.errors_expected


def _minutes(broken: BrokenInvariants, summary: WindowSummary) -> float:
    end_us = summary.window_start_us + summary.window_seconds * MICROSECONDS
    return (end_us - broken.opened_us) / MINUTE_US


def _describe(broken: BrokenInvariants, summary: WindowSummary) -> str:
    first, others = broken.missing[0], len(broken.missing) - 1
    text = (
        f"lines that always come are missing: {first.lines} of {show_number(first.expected)} expected for "
        f"{first.anchor_count} {first.anchor[:_MOST_CHARACTERS]}: “{first.text[:_MOST_CHARACTERS]}”"
    )
    if others:
        text += f", and those of {others} other pattern{'s' if others > 1 else ''}"
    if _has_more_errors(broken):
        text += f"; {broken.errors} errors, {show_number(broken.errors_expected)} expected"
    minutes = _minutes(broken, summary)
    return text + (f"; for {minutes:.0f} min" if minutes >= 2 else "")


def _metric(missing: MissingLines) -> AnomalyMetric:
    name = f"pattern.{missing.pattern_ids[0]}"
    return AnomalyMetric(name, float(missing.lines), baseline=missing.expected, deviation=-missing.z)


def _errors(broken: BrokenInvariants) -> AnomalyMetric:
    return AnomalyMetric("errors", float(broken.errors), baseline=broken.errors_expected)


def _evidence(broken: BrokenInvariants, summary: WindowSummary) -> list[Evidence]:
    """The patterns that are missing, with what is left of them, then those of errors, which may say why."""
    evidence = []
    for missing in broken.missing[:_MISSING_SHOWN]:
        key = missing.pattern_ids[0]
        stats = summary.patterns.get(key) if len(missing.pattern_ids) == 1 else None
        evidence.append(Evidence(key, missing.text, missing.lines, list(stats.examples) if stats else []))
    errors = [key for key, stats in summary.patterns.items() if stats.severity >= ERROR]
    known = {one.pattern_id for one in evidence}
    if errors:
        found = find_evidence(summary, errors, summary.patterns)
        evidence += [one for one in found if one.pattern_id not in known]
    return evidence[:MOST_EVIDENCE]
