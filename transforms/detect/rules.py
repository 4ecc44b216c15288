"""Rules against one window of a service: a pure function of the book and the history.

What holds is reported when it begins, when its severity rises, and then about once per `repeat`
while it goes on. No state is needed for that: whether a window reports is read from the windows
before it (see `_is_due`), so that a replay and a late pane come to the same anomalies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from transforms.detect.fields import EndpointView, PatternView
from transforms.detect.findings import CONFIDENCE_FLOOR, find_evidence
from transforms.detect.history import WindowHistory
from transforms.detect.rule_compiling import CompiledBook, CompiledRule, compile_book, render_description
from transforms.detect.rule_model import RuleBook
from transforms.detect.signals import WindowSignals, signals_of
from transforms.detect.timeline import Fields, Timeline
from transforms.elements import (
    ANOMALY_SEVERITIES,
    Anomaly,
    AnomalyMetric,
    AnomalySeverity,
    PatternStats,
    WindowSummary,
    content_id,
)

MAX_ANOMALIES_PER_RULE: Final = 20
"""Of one rule in one window; the first says how many more there were."""

_RANK: Final[dict[AnomalySeverity, int]] = {level: rank for rank, level in enumerate(ANOMALY_SEVERITIES)}


def evaluate_rules(
    book: RuleBook, history: WindowHistory, confidence_floor: float = CONFIDENCE_FLOOR
) -> list[Anomaly]:
    """Anomalies of one window, by rule, endpoint and pattern; the same for the same history.

    When the history revises a window, anomalies that the last revision gave and this one does not
    come back with the status "withdrawn". Those under `confidence_floor` are marked, not left out.
    """
    compiled = compile_book(book)
    found = _Evaluation(
        compiled, history.summary, signals_of(history.summary), history.past, confidence_floor
    )
    anomalies = list(found.anomalies())
    if history.previous is None:
        return anomalies
    earlier = _Evaluation(compiled, history.summary, history.previous, history.past, confidence_floor)
    standing = {anomaly.anomaly_id for anomaly in anomalies}
    withdrawn = [
        msgspec.structs.replace(anomaly, status="withdrawn")
        for anomaly in earlier.anomalies()
        if anomaly.anomaly_id not in standing
    ]
    return anomalies + withdrawn


class _Subject(NamedTuple):
    """What one anomaly would be about: the window, an endpoint, a pattern, or all that match."""

    endpoint: str = ""
    pattern_id: str = ""  # empty where a match without `per` speaks of several patterns as one
    pattern_ids: tuple[str, ...] = ()


_WINDOW: Final = (_Subject(),)


class _Evaluation:
    """All rules of one service against one revision of a window."""

    def __init__(
        self,
        book: CompiledBook,
        summary: WindowSummary,
        newest: WindowSignals,
        past: Sequence[WindowSignals],
        confidence_floor: float,
    ) -> None:
        self._book = book
        self._summary = summary
        self._newest = newest
        self._timeline = Timeline(past, newest)
        self._floor = confidence_floor
        self._levels: dict[tuple[str, _Subject, int], AnomalySeverity | None] = {}
        self._matched = self._match_patterns()

    def anomalies(self) -> Iterator[Anomaly]:
        """Anomalies by rule name, then endpoint or pattern."""
        for rule in self._book.rules_for(self._summary.tenant_id, self._summary.service):
            if rule.match and rule.match not in self._matched:
                continue
            found = [
                (subject, level, fields)
                for subject in self._subjects(rule)
                if (level := self._level(rule, subject, 0)) is not None
                and self._is_sustained(rule, subject)
                and self._is_due(rule, subject, level)
                and (fields := self._fields_of(rule, subject, 0)) is not None
            ]
            if len(found) > MAX_ANOMALIES_PER_RULE:
                found.sort(key=lambda item: -self._size(item[0]))
            for index, (subject, level, fields) in enumerate(found[:MAX_ANOMALIES_PER_RULE]):
                left_out = len(found) - MAX_ANOMALIES_PER_RULE if index == 0 else 0
                yield self._anomaly(rule, subject, level, fields, left_out)

    # ------------------------------------------------------------------------------- subjects

    def _match_patterns(self) -> dict[str, list[str]]:
        """Pattern ids of the newest window by the `match` that they contain."""
        matched: dict[str, list[str]] = {}
        matches, summarized = self._book.matches, self._summary.patterns
        for pattern_id in self._newest.patterns:
            if (stats := summarized.get(pattern_id)) is not None:
                for expression in matches(stats.text):
                    matched.setdefault(expression, []).append(pattern_id)
        return matched

    def _subjects(self, rule: CompiledRule) -> Sequence[_Subject]:
        """What the rule is to look at in this window, by name or id."""
        least, newest = rule.rule, self._newest
        if rule.subject == "window":
            return _WINDOW
        if rule.subject == "endpoint":
            found = newest.endpoints.items()
            names = [name for name, stats in found if stats.errors or not least.min_errors]
            return [_Subject(endpoint=name) for name in sorted(names)]
        candidates = self._matched[least.match] if least.match else newest.patterns
        ids = [
            pattern_id
            for pattern_id in candidates
            if (pattern := newest.patterns[pattern_id]).severity >= least.min_severity
            and (pattern.errors or not least.min_errors)
        ]
        ids.sort()
        if least.per == "pattern":
            return [_Subject(pattern_id=pattern_id, pattern_ids=(pattern_id,)) for pattern_id in ids]
        return [_Subject(pattern_ids=tuple(ids))] if ids else []

    def _size(self, subject: _Subject) -> int:
        if subject.endpoint:
            return self._newest.endpoints[subject.endpoint].count
        return sum(self._newest.patterns[pattern_id].count for pattern_id in subject.pattern_ids)

    # ------------------------------------------------------------------------------ conditions

    def _fields_of(self, rule: CompiledRule, subject: _Subject, back: int) -> Fields | None:
        """The fields as the rule sees them, or None where the subject does not occur often enough."""
        windows = self._timeline.fields(back, rule.rule.over_seconds)
        if windows is None or rule.subject == "window":
            return windows
        span = windows.span
        view: PatternView | EndpointView
        if rule.subject == "endpoint":
            newest = span.newest.endpoints.get(subject.endpoint)
            if newest is None or not (newest.errors or not rule.rule.min_errors):
                return None
            view = EndpointView(span, subject.endpoint)
        else:
            if not _occurs(span.newest, subject.pattern_ids, needs_error=rule.rule.min_errors > 0):
                return None
            first = self._summary.patterns.get(subject.pattern_ids[0], _NO_PATTERN)
            view = PatternView(span, subject.pattern_ids, first.text, first.exception)
        is_enough = view.count >= rule.rule.min_count and view.errors >= rule.rule.min_errors
        return Fields(span, windows, view) if is_enough else None

    def _level(self, rule: CompiledRule, subject: _Subject, back: int) -> AnomalySeverity | None:
        """Severity that the window `back` before the newest has, `for` aside; None if nothing holds."""
        key = (rule.rule.name, subject, back)
        if key not in self._levels:
            self._levels[key] = self._find_level(rule, subject, back)
        return self._levels[key]

    def _find_level(self, rule: CompiledRule, subject: _Subject, back: int) -> AnomalySeverity | None:
        fields = self._fields_of(rule, subject, back)
        if fields is None or (rule.when is not None and not rule.when.holds(fields)):
            return None
        for step in rule.ladder:
            if step.when is None or step.when.holds(fields):
                return step.level
        return None

    def _is_sustained(self, rule: CompiledRule, subject: _Subject, back: int = 0) -> bool:
        """Whether the condition held on every window that `for` asks for, up to the one at `back`."""
        windows = max(1, -(-rule.rule.for_seconds // self._newest.window_seconds))
        return all(self._level(rule, subject, earlier) is not None for earlier in range(back, back + windows))

    def _is_due(self, rule: CompiledRule, subject: _Subject, level: AnomalySeverity) -> bool:
        """Whether this window is to report what holds.

        It is when nothing as severe held within `repeat` before it; else when it is the first that
        holds in its slot of event time, `repeat` long, and it held half a `repeat` ago or earlier.
        So reports of one lasting condition are half to twice `repeat` apart.
        """
        repeat = rule.rule.repeat_seconds // self._newest.window_seconds
        held = [
            back
            for back in range(1, repeat + 1)
            if (earlier := self._level(rule, subject, back)) is not None
            and _RANK[earlier] >= _RANK[level]
            and self._is_sustained(rule, subject, back)
        ]
        if not held:
            return True
        slot = self._newest.window_start_us // self._newest.window_us % repeat
        return held[0] > slot and held[-1] >= repeat / 2

    # ------------------------------------------------------------------------------- anomalies

    def _anomaly(
        self, rule: CompiledRule, subject: _Subject, level: AnomalySeverity, fields: Fields, left_out: int
    ) -> Anomaly:
        summary, detector = self._summary, f"rule:{rule.rule.name}"
        confidence = (
            rule.confidence if isinstance(rule.confidence, float | int) else rule.confidence.number(fields)
        )
        confidence = min(1.0, max(0.0, float(confidence)))
        more = f" (and {left_out} more like it in this window)" if left_out > 0 else ""
        return Anomaly(
            anomaly_id=content_id(
                summary.tenant_id,
                summary.service,
                subject.endpoint,
                detector,
                rule.signal,
                subject.pattern_id,
                summary.window_start_us,
            ),
            revision=summary.pane_index,
            status="open",
            tenant_id=summary.tenant_id,
            service=summary.service,
            endpoint=subject.endpoint,
            anomaly_type=rule.rule.type,
            anomaly_severity=level,
            description=render_description(rule.rule.description, fields) + more,
            detector=detector,
            signal=rule.signal,
            rules_version=self._book.version,
            window_start=summary.window_start_us,
            window_end=summary.window_start_us + self._newest.window_us,
            confidence_score=confidence,
            below_confidence_floor=confidence < self._floor,
            metrics=[_metric(rule, name, level, fields) for name in rule.fields],
            evidence=find_evidence(summary, subject.pattern_ids, self._newest.patterns),
            recommended_actions=list(rule.rule.recommended_actions),
            gemini_analysis="",
            detected_at=summary.window_start_us + self._newest.window_us,
        )


_NO_PATTERN: Final = PatternStats(text="", count=0, errors=0, severity=0, examples=[])


def _occurs(window: WindowSignals, pattern_ids: Sequence[str], *, needs_error: bool) -> bool:
    found = (window.patterns.get(pattern_id) for pattern_id in pattern_ids)
    return any(pattern is not None and (pattern.errors or not needs_error) for pattern in found)


def _metric(rule: CompiledRule, name: str, level: AnomalySeverity, fields: Fields) -> AnomalyMetric:
    scope, _, short = name.rpartition(".")
    usual = f"{scope}.usual_{short}" if scope else f"usual_{short}"
    baseline = float(fields[usual]) if usual in rule.fields else None
    return AnomalyMetric(name, float(fields[name]), threshold=rule.threshold(name, level), baseline=baseline)
