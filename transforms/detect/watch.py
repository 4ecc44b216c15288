"""What a service's windows say against all that was learned of it: one ordered step's pure core."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from transforms.detect.baselines.book import (
    OFF,
    BaselineBook,
    SignalPolicy,
    service_fields,
    signal_policy,
    tenant_calendar,
)
from transforms.detect.baselines.level import BankState, Judged, LevelBank, LevelSettings, Vectors
from transforms.detect.baselines.maintenance import maintenance_note
from transforms.detect.baselines.observations import (
    ALWAYS,
    FIELD,
    Gathered,
    kind_of,
    natural_value,
    observe_fields,
    observe_window,
    signals_to_begin,
    split_signal,
)
from transforms.detect.baselines.reasons import show_number
from transforms.detect.baselines.registry import apply_settings
from transforms.detect.baselines.season_table import Numbers
from transforms.detect.deploys import DeployMemory, regression_finding, watch_deploys
from transforms.detect.deviations import (
    CAUTIOUS_US,
    HIGH_MINUTES,
    HIGH_STRENGTH,
    LEVEL,
    Deviation,
    Report,
    find_deviations,
    report_deviations,
)
from transforms.detect.findings import Finding
from transforms.detect.new_patterns import Emerged, NewPatternMemory, watch_new_patterns
from transforms.detect.request_line_findings import report_request_lines
from transforms.detect.request_line_table import RequestLinesMemory, merge_columns
from transforms.detect.signals import Band, WindowSignals
from transforms.detect.silence import LEARNING_US, Silence, SilenceMemory, watch_silence
from transforms.detect.singles import SingleState, detector_of, judge_single
from transforms.elements import (
    ANOMALY_SEVERITIES,
    CANARY_SERVICE,
    DAY_US,
    ERROR,
    MICROSECONDS,
    WARNING,
    AnomalyMetric,
    AnomalySeverity,
    WindowSummary,
)

_LINES: Final = "lines"
_DRAWN: Final = (_LINES, "error_rate", "latency_p95_ms")
_SILENCE_CONFIDENCE, _FIRST_SILENCE_CONFIDENCE = 0.9, 0.35
"""Before a service's nights are known, most silences are that it closes: they stay under the floor."""

_SILENCE_HIGH_RATE: Final = 10.0  # lines a minute that are missing


class ServiceBaselines(msgspec.Struct, array_like=True, gc=False):
    """All that is learned of one service."""

    levels: BankState = msgspec.field(default_factory=BankState)
    latencies: Gathered = msgspec.field(default_factory=Gathered)
    silence: SilenceMemory = msgspec.field(default_factory=SilenceMemory)
    new_patterns: NewPatternMemory = msgspec.field(default_factory=NewPatternMemory)
    singles: dict[str, SingleState] = {}
    reports: dict[str, Report] = {}
    silence_report: Report | None = None
    day: int = -1
    book_version: str = ""
    deploys: DeployMemory = msgspec.field(default_factory=DeployMemory)
    request_lines: RequestLinesMemory = msgspec.field(default_factory=RequestLinesMemory)


def watch_window(
    memory: ServiceBaselines,
    summary: WindowSummary,
    book: BaselineBook,
    past: Sequence[WindowSignals] = (),
) -> tuple[list[Finding], dict[str, Band]]:
    """Judge a window that is on time by those before it, then learn it; mutates `memory`.

    `past` holds the windows of the hour before it, oldest first. Returns what was found, and what was
    expected of the signals that are drawn. A window of planned maintenance is neither judged nor learned,
    nor is one of canaries.
    """
    if summary.service == CANARY_SERVICE:
        return [], {}
    bank = LevelBank(memory.levels)
    now_us, who = summary.window_start_us, (book, summary.tenant_id, summary.service)
    calendar = tenant_calendar(book, summary.tenant_id)
    if memory.book_version != book.version:
        _follow_book(memory, bank, who)
    if summary.merged_patterns:
        merged = summary.merged_patterns.items()
        bank.merge_signals({f"pattern.{old}": f"pattern.{new}" for old, new in merged})
        merge_columns(memory.request_lines, summary.merged_patterns)
    end_us = now_us + summary.window_seconds * MICROSECONDS
    if maintenance_note(book, summary.tenant_id, summary.service, now_us, end_us) is not None:
        bank.skip(now_us, level_vectors(who, tuple(bank.names), summary.window_seconds), calendar)
        bank.encode()
        return [], {}
    if now_us // DAY_US != memory.day:
        memory.day = now_us // DAY_US
        bank.forget_signals(now_us, ALWAYS)
    _begin_signals(memory, bank, summary, who)
    levels, singles = tuple(bank.names), _singles_to_observe(memory)
    values, weights = observe_window(summary, [*levels, *singles], memory.latencies)
    observed = values[: len(levels)], weights[: len(levels)]
    judged = bank.observe(now_us, *observed, level_vectors(who, levels, summary.window_seconds), calendar)
    bank.encode()
    silence = _watch_silence(memory, bank.names, judged, summary)
    deviations = find_deviations(levels, _most(who, levels), judged, observed, bank.first_us, summary)
    pairs = zip(singles, values[len(levels) :].tolist(), weights[len(levels) :].tolist(), strict=True)
    deviations += _judge_singles(memory, summary, who, pairs)
    findings = report_deviations(memory.reports, _explained(deviations, silence), now_us)
    findings += _report_silence(memory, silence, summary, who)
    findings += _report_new_patterns(memory, summary, who)
    findings += _report_deploys(memory, summary, past, who)
    findings += report_request_lines(memory.request_lines, summary, signal_policy(*who, "missing_lines"))
    return findings, _bands(bank.names, judged, observed[1])


Who = tuple[BaselineBook, str, str]
"""The book, the tenant and the service: what decides how a signal is judged."""


def _follow_book(memory: ServiceBaselines, bank: LevelBank, who: Who) -> None:
    """Signals that the operator's file has given to another detector, or turned off, begin anew there."""
    bank.drop_signals(name for name in bank.names if signal_policy(*who, name).detector != LEVEL)
    bank.follow_settings([level_settings(who, name) for name in bank.names])
    fields = {f"{FIELD}.{field.name}" for field in service_fields(who[0], who[2])}
    for name, single in list(memory.singles.items()):
        is_gone = split_signal(name)[0] == FIELD and name not in fields
        if is_gone or _single_detector(who, name) != single.detector:
            del memory.singles[name]
    memory.book_version = who[0].version


def _begin_signals(memory: ServiceBaselines, bank: LevelBank, summary: WindowSummary, who: Who) -> None:
    levels: list[str] = []
    for name in signals_to_begin(summary, [*bank.names, *memory.singles]):
        detector = signal_policy(*who, name).detector
        if detector == LEVEL:
            levels.append(name)
        elif detector != OFF:
            memory.singles[name] = SingleState(detector, b"", summary.window_start_us)
    if levels:
        bank.add_signals(levels, [level_settings(who, name) for name in levels], summary.window_start_us)


def _singles_to_observe(memory: ServiceBaselines) -> list[str]:
    return [name for name in sorted(memory.singles) if split_signal(name)[0] != FIELD]


def _judge_singles(
    memory: ServiceBaselines, summary: WindowSummary, who: Who, pairs: Iterable[tuple[str, float, float]]
) -> list[Deviation]:
    """`pairs` are name, value and weight of the signals that no field is."""
    values = list(observe_fields(summary, service_fields(who[0], summary.service)))
    values += [(name, natural_value(name, value, weight)) for name, value, weight in pairs if weight]
    calendar = tenant_calendar(who[0], summary.tenant_id)
    found = []
    for name, value in values:
        policy, detector = signal_policy(*who, name), _single_detector(who, name)
        if detector != OFF:
            found.append(judge_single(memory.singles, name, value, detector, policy, calendar, summary))
    return [deviation for deviation in found if deviation is not None]


def _single_detector(who: Who, name: str) -> str:
    return detector_of(signal_policy(*who, name), has_own=split_signal(name)[0] == FIELD)


def level_settings(who: Who, name: str) -> LevelSettings:
    """How the bank judges a signal, with what the operator's file sets."""
    policy, settings = signal_policy(*who, name), kind_of(name).settings
    if policy.settings:
        settings = apply_settings(LEVEL, settings, policy.settings)
    if policy.direction:
        settings = msgspec.structs.replace(settings, direction=policy.direction)
    return settings


@lru_cache(maxsize=1024)
def level_vectors(who: Who, names: tuple[str, ...], window_seconds: int) -> Vectors:
    """`level_settings` of all signals of a bank."""
    return Vectors([level_settings(who, name) for name in names], window_seconds)


@lru_cache(maxsize=1024)
def _most(who: Who, names: tuple[str, ...]) -> list[AnomalySeverity]:
    return [signal_policy(*who, name).severity or "critical" for name in names]


def _bands(names: list[str], judged: Judged, weights: Numbers) -> dict[str, Band]:
    bands = {}
    for name in _DRAWN:
        place = names.index(name) if name in names else -1
        if place < 0 or judged.learning[place] or not weights[place]:
            continue
        numbers = (judged.expected[place], judged.low[place], judged.high[place])
        natural = [natural_value(name, float(number), float(weights[place])) for number in numbers]
        most = 1.0 if name == "error_rate" else math.inf
        bands[name] = Band(*(min(number, most) for number in natural))
    return bands


def _watch_silence(
    memory: ServiceBaselines, names: list[str], judged: Judged, summary: WindowSummary
) -> Silence | None:
    if _LINES not in names:
        return None
    place = names.index(_LINES)
    expected, spread = float(judged.expected[place]), float(judged.clump[place])
    if judged.learning[place]:
        expected = float("nan")
    return watch_silence(memory.silence, summary.window_start_us, summary.lines, expected, spread)


def _explained(deviations: list[Deviation], silence: Silence | None) -> list[Deviation]:
    """Without lines everything falls: that is one silence, not many slumps."""
    return [] if silence else deviations


def _report_silence(
    memory: ServiceBaselines, silence: Silence | None, summary: WindowSummary, who: Who
) -> list[Finding]:
    policy = signal_policy(*who, "silence")
    if silence is None or policy.is_off:
        memory.silence_report = None
        return []
    now_us, minutes = summary.window_start_us, summary.window_seconds / 60
    age_us = now_us - memory.silence.first_us
    is_old = age_us >= CAUTIOUS_US
    is_long = silence.windows * minutes >= HIGH_MINUTES and silence.rate / minutes >= _SILENCE_HIGH_RATE
    is_high = is_old and is_long and silence.strength >= HIGH_STRENGTH
    severity = _at_most("high" if is_high else "medium", policy)
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
            confidence=_SILENCE_CONFIDENCE if age_us >= LEARNING_US else _FIRST_SILENCE_CONFIDENCE,
            description=f"no line for {silence.windows * minutes:.0f} min, where "
            f"{show_number(silence.rate / minutes)} a minute were expected",
            metrics=[AnomalyMetric("lines", 0.0, baseline=silence.rate, deviation=-silence.strength)],
            actions=("See whether it was stopped or scaled to zero on purpose.",),
        )
    ]


def _report_new_patterns(memory: ServiceBaselines, summary: WindowSummary, who: Who) -> list[Finding]:
    policy = signal_policy(*who, "new_pattern")
    emerged = watch_new_patterns(memory.new_patterns, summary)
    return [] if policy.is_off else [_new_pattern(found, summary, policy) for found in emerged]


def _report_deploys(
    memory: ServiceBaselines, summary: WindowSummary, past: Sequence[WindowSignals], who: Who
) -> list[Finding]:
    policy = signal_policy(*who, "deploys")
    found = [regression_finding(summary, found) for found in watch_deploys(memory.deploys, summary, past)]
    if policy.is_off:
        return []
    return [
        msgspec.structs.replace(finding, severity=_at_most(finding.severity, policy)) for finding in found
    ]


def _at_most(severity: AnomalySeverity, policy: SignalPolicy) -> AnomalySeverity:
    return min(severity, policy.severity or severity, key=ANOMALY_SEVERITIES.index)


def _new_pattern(found: Emerged, summary: WindowSummary, policy: SignalPolicy) -> Finding:
    text = summary.patterns[found.pattern_id].text
    grave = found.severity >= ERROR or (found.severity >= WARNING and found.strength >= 2)
    return Finding(
        detector="new_pattern",
        signal="patterns",
        anomaly_type="new_pattern",
        severity=_at_most("medium" if grave else "low", policy),
        confidence=0.95 if found.severity >= WARNING else 0.9,
        description=f"never seen before, {found.count} times so far: {text}",
        metrics=[AnomalyMetric("count", float(found.count), baseline=0.0)],
        pattern_ids=(found.pattern_id,),
        actions=("Read the example lines; look for a deploy or a change of configuration just before.",),
    )
