"""What a service's windows say against all that was learned of it: one ordered step's pure core."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from transforms.detect.baselines.level import BankState, Judged, LevelBank, Vectors
from transforms.detect.baselines.observations import (
    Gathered,
    kind_of,
    natural_value,
    observe_window,
    signals_to_begin,
)
from transforms.detect.baselines.season_table import Numbers
from transforms.detect.baselines.seasons import Calendar
from transforms.detect.deviations import (
    CAUTIOUS_US,
    Deviation,
    Report,
    find_deviations,
    report_deviations,
)
from transforms.detect.findings import Finding
from transforms.detect.new_patterns import Emerged, NewPatternMemory, watch_new_patterns
from transforms.detect.signals import Band
from transforms.detect.silence import Silence, SilenceMemory, watch_silence
from transforms.elements import (
    ANOMALY_SEVERITIES,
    ERROR,
    WARNING,
    AnomalyMetric,
    AnomalySeverity,
    WindowSummary,
)

_DRAWN: Final = ("lines", "error_rate", "latency_p95_ms")
_SILENCE_HIGH_RATE: Final = 10.0
_SILENCE_HIGH_WINDOWS: Final = 5


class ServiceBaselines(msgspec.Struct, array_like=True, gc=False):
    """All that is learned of one service."""

    levels: BankState = msgspec.field(default_factory=BankState)
    latencies: Gathered = msgspec.field(default_factory=Gathered)
    silence: SilenceMemory = msgspec.field(default_factory=SilenceMemory)
    new_patterns: NewPatternMemory = msgspec.field(default_factory=NewPatternMemory)
    reports: dict[str, Report] = {}
    silence_report: Report | None = None
    day: int = -1


def watch_window(
    memory: ServiceBaselines, summary: WindowSummary, calendar: Calendar
) -> tuple[list[Finding], dict[str, Band]]:
    """Judge a window that is on time by those before it, then learn it; mutates `memory`.

    Returns what was found, and what was expected of the signals that are drawn.
    """
    bank = LevelBank(memory.levels)
    now_us = summary.window_start_us
    if summary.merged_patterns:
        bank.merge_signals(
            {f"pattern.{old}": f"pattern.{new}" for old, new in summary.merged_patterns.items()}
        )
    if begun := signals_to_begin(summary, bank.names):
        bank.add_signals(begun, [kind_of(name).settings for name in begun], now_us)
    observed = observe_window(summary, bank.names, memory.latencies)
    judged = bank.observe(now_us, *observed, _vectors(tuple(bank.names)), calendar)
    silence = _watch_silence(memory, bank.names, judged, summary)
    deviations = find_deviations(bank.names, judged, observed, bank.first_us, summary)
    findings = report_deviations(memory.reports, _explained(deviations, silence), now_us)
    findings += _report_silence(memory, silence, now_us, now_us - float(bank.first_us[0]))
    findings += [_new_pattern(found, summary) for found in watch_new_patterns(memory.new_patterns, summary)]
    if now_us // 86_400_000_000 != memory.day:
        memory.day = now_us // 86_400_000_000
        bank.forget_signals(now_us)
    bank.encode()
    return findings, _bands(bank.names, judged, observed[1])


def _bands(names: list[str], judged: Judged, weights: Numbers) -> dict[str, Band]:
    bands = {}
    for name in _DRAWN:
        place = names.index(name) if name in names else -1
        if place < 0 or judged.learning[place] or not weights[place]:
            continue
        numbers = (judged.expected[place], judged.low[place], judged.high[place])
        bands[name] = Band(*(natural_value(name, float(number), float(weights[place])) for number in numbers))
    return bands


@lru_cache(maxsize=1024)
def _vectors(names: tuple[str, ...]) -> Vectors:
    return Vectors([kind_of(name).settings for name in names])


def _watch_silence(
    memory: ServiceBaselines, names: list[str], judged: Judged, summary: WindowSummary
) -> Silence | None:
    place = names.index("lines")
    expected, spread = float(judged.expected[place]), float(judged.clump[place])
    if judged.learning[place]:
        expected = float("nan")
    return watch_silence(memory.silence, summary.window_start_us, summary.lines, expected, spread)


def _explained(deviations: list[Deviation], silence: Silence | None) -> list[Deviation]:
    """Without lines everything falls: that is one silence, not many slumps."""
    return [] if silence else deviations


def _report_silence(
    memory: ServiceBaselines, silence: Silence | None, now_us: int, age_us: float
) -> list[Finding]:
    if silence is None:
        memory.silence_report = None
        return []
    is_long = silence.rate >= _SILENCE_HIGH_RATE and silence.windows >= _SILENCE_HIGH_WINDOWS
    severity: AnomalySeverity = (
        "high" if is_long and silence.strength >= 3 and age_us >= CAUTIOUS_US else "medium"
    )
    rank, report = ANOMALY_SEVERITIES.index(severity), memory.silence_report
    if report and not report.is_due(rank, now_us):
        return []
    memory.silence_report = report or Report(rank, now_us, now_us)
    memory.silence_report.tell(rank, now_us)
    return [
        Finding(
            detector="silence",
            signal="lines",
            anomaly_type="silence",
            severity=severity,
            confidence=0.9,
            description=f"no line for {silence.windows} windows; {silence.rate:.1f} a window were usual",
            metrics=[AnomalyMetric("lines", 0.0, baseline=silence.rate, deviation=-silence.strength)],
            actions=("See whether it was stopped or scaled to zero on purpose.",),
        )
    ]


def _new_pattern(found: Emerged, summary: WindowSummary) -> Finding:
    text = summary.patterns[found.pattern_id].text
    grave = found.severity >= ERROR or (found.severity >= WARNING and found.strength >= 2)
    return Finding(
        detector="new_pattern",
        signal="patterns",
        anomaly_type="new_pattern",
        severity="medium" if grave else "low",
        confidence=0.8 if found.severity >= WARNING else 0.7,
        description=f"never seen before, {found.count} times so far: {text}",
        metrics=[AnomalyMetric("count", float(found.count), baseline=0.0)],
        pattern_ids=(found.pattern_id,),
        actions=("Read the example lines; look for a deploy or a change of configuration just before.",),
    )
