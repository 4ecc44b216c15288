"""Windows of services to what Gemini may know of them: figures and patterns, all redacted before. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from transforms.detect.signals import Band
from transforms.elements import ERROR, WARNING, PatternStats, WindowSummary
from transforms.gemini_elements import BandEvidence, DeployEvidence, PatternEvidence, WindowEvidence
from transforms.sketches import latency_quantile_us

MOST_WARNINGS: Final = 10
MOST_OTHERS: Final = 3


def window_evidence(summary: WindowSummary, bands: Mapping[str, Band]) -> WindowEvidence:
    """Evidence of a window with merged patterns: every one of errors, every new one, few others."""
    return WindowEvidence(
        tenant_id=summary.tenant_id,
        service=summary.service,
        window_start_us=summary.window_start_us,
        window_seconds=summary.window_seconds,
        pane_index=summary.pane_index,
        lines=summary.lines,
        errors=summary.errors,
        warnings=summary.warnings,
        requests=summary.requests,
        denials=summary.denials,
        latency_p50_ms=_latency_ms(summary, 0.5),
        latency_p95_ms=_latency_ms(summary, 0.95),
        patterns=[_pattern(summary, *item) for item in _kept(summary.patterns)],
        bands={name: BandEvidence(band.baseline, band.low, band.high) for name, band in bands.items()},
        deploys=sorted(
            (DeployEvidence(event.event_time_us, event.what) for event in summary.deploys),
            key=lambda deploy: (deploy.deployed_at_us, deploy.what),
        ),
    )


def _kept(patterns: Mapping[str, PatternStats]) -> list[tuple[str, PatternStats]]:
    """Errors first, then new ones, then warnings, then the commonest of the others."""
    ranked = sorted(patterns.items(), key=lambda item: (-item[1].count, item[0]))
    errors = [item for item in ranked if item[1].errors or item[1].severity >= ERROR]
    rest = [item for item in ranked if not (item[1].errors or item[1].severity >= ERROR)]
    new = [item for item in rest if item[1].is_new]
    known = [item for item in rest if not item[1].is_new]
    warnings = [item for item in known if item[1].severity >= WARNING]
    others = [item for item in known if item[1].severity < WARNING]
    return errors + new + warnings[:MOST_WARNINGS] + others[:MOST_OTHERS]


def _pattern(summary: WindowSummary, pattern_id: str, stats: PatternStats) -> PatternEvidence:
    example = min(stats.examples, key=lambda one: one.order).message if stats.examples else ""
    return PatternEvidence(
        pattern_id,
        stats.text,
        stats.count,
        stats.errors,
        stats.severity,
        stats.first_seen_us or summary.window_start_us,
        stats.is_new,
        stats.exception,
        example,
    )


def _latency_ms(summary: WindowSummary, q: float) -> float:
    latency_us = latency_quantile_us(summary.latency_bins, q)
    return -1.0 if latency_us is None else round(latency_us / 1_000, 3)
