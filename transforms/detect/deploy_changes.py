"""What changed with a deploy: shares of lines before and after, held against chance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from statistics import NormalDist
from typing import Final, Literal, NamedTuple

import msgspec

from transforms.detect.deploy_memory import PatternCounts, PendingDeploy, is_material
from transforms.elements import WindowSummary

MATERIAL_RATIO: Final = 3.0
MATERIAL_ERRORS: Final = 0.02
"""Share of errors below which only patterns speak: one failure makes several errors."""

MIN_LINES: Final = 10
"""Lines since the deploy, below which nothing is said."""

MIN_LINES_BESIDE: Final = 20
"""Lines of the old revision, below which it is no measure for the new one."""

MIN_COUNT: Final = 5
MIN_MISSED: Final = 20
"""Lines that must have been expected of a pattern before it is called gone."""

MIN_WINDOWS_BEFORE: Final = 10
FALSE_REPORTS: Final = 0.01
"""Chance of a deploy that changes nothing to be reported, over all its patterns and windows at most."""

_LOOKS: Final = 30  # a deploy is looked at once a window
_HALF: Final = 0.5

ChangeKind = Literal["new", "gone", "up", "down"]


class PatternChange(msgspec.Struct, frozen=True):
    """A pattern whose share of the lines changed with a deploy. Rates are shares of lines, 0 to 1.

    `z` is the signed root of G, in standard deviations, less what its usual bursts explain.
    `is_context` marks what is normal after a deploy, or good: it makes no regression by itself.
    """

    pattern_id: str
    text: str
    kind: ChangeKind
    before_rate: float
    after_rate: float
    z: float
    errors: int
    count: int = 0
    severity: int = 0
    is_context: bool = False


class ErrorChange(msgspec.Struct, frozen=True):
    """The share of errors before and after, and whether it grew."""

    before_rate: float
    after_rate: float
    errors: int
    lines: int
    has_grown: bool


class Changes(NamedTuple):
    """All that a deploy changed, what makes a regression first."""

    errors: ErrorChange
    patterns: list[PatternChange]


class _Baseline(NamedTuple):
    lines: int
    is_beside: bool  # the old revision in the same windows, else the windows before

    def count(self, counts: PatternCounts) -> int:
        return counts.beside if self.is_beside else counts.before


def rate_change_z(after: float, after_lines: int, before: float, before_lines: int) -> float:
    """How sure it is that two Poisson rates differ: the signed root of G; positive where `after` is higher.

    A half is added to the count that is lower than expected, so that no lines at all are no proof.
    Returns 0.0 without lines on either side, or where the half decides.
    Source: Li & Ma, Astrophysical Journal 272, 1983, eq. 17.
    """
    if not (after_lines and before_lines):
        return 0.0
    is_up = after * before_lines >= before * after_lines
    after, before = (after, before + _HALF) if is_up else (after + _HALF, before)
    if (after * before_lines > before * after_lines) != is_up:
        return 0.0
    share = after_lines / (after_lines + before_lines)
    total = after + before
    g = 2 * (after * math.log(after / (total * share)) if after else 0.0)
    g += 2 * (before * math.log(before / (total * (1 - share))) if before else 0.0)
    return math.copysign(math.sqrt(max(0.0, g)), 1 if is_up else -1)


@lru_cache(maxsize=256)
def needed_z(comparisons: int) -> float:
    """Standard deviations that one of `comparisons` patterns must deviate by (Bonferroni, two-sided)."""
    return NormalDist().inv_cdf(1 - FALSE_REPORTS / (2 * _LOOKS * max(1, comparisons)))


def find_changes(deploy: PendingDeploy, summary: WindowSummary) -> Changes | None:
    """What changed since `deploy`, or None where there is too little to compare. `summary` names patterns."""
    baseline = _baseline(deploy)
    if baseline is None or deploy.lines_after < MIN_LINES:
        return None
    return _Comparison(deploy, summary, baseline).changes()


def _baseline(deploy: PendingDeploy) -> _Baseline | None:
    if deploy.windows_before >= MIN_WINDOWS_BEFORE:
        return _Baseline(deploy.lines_before, is_beside=False)
    if deploy.told_apart and deploy.lines_beside >= MIN_LINES_BESIDE:
        return _Baseline(deploy.lines_beside, is_beside=True)
    return None


class _Comparison:
    def __init__(self, deploy: PendingDeploy, summary: WindowSummary, baseline: _Baseline) -> None:
        self._deploy, self._summary, self._baseline = deploy, summary, baseline
        self._needed = needed_z(len(deploy.patterns) + 1)
        self._vanished = sum(
            baseline.count(counts)
            for counts in deploy.patterns.values()
            if counts.is_bad and not counts.after and self._expected(counts) >= MIN_COUNT
        )

    def changes(self) -> Changes:
        deploy, errors = self._deploy, self._deploy.errors
        error_change = ErrorChange(
            self._baseline.count(errors) / self._baseline.lines,
            errors.after / deploy.lines_after,
            errors.after,
            deploy.lines_after,
            has_grown=errors.after >= MATERIAL_ERRORS * deploy.lines_after
            and self._has_grown(errors, self._baseline.count(errors)),
        )
        patterns = [change for item in deploy.patterns.items() if (change := self._change(*item)) is not None]
        patterns.sort(key=_importance)
        return Changes(error_change, patterns)

    def _expected(self, counts: PatternCounts) -> float:
        """Lines that would have come at the rate of before."""
        return self._baseline.count(counts) / self._baseline.lines * self._deploy.lines_after

    def _z(self, counts: PatternCounts, before: int) -> float:
        z = rate_change_z(counts.after, self._deploy.lines_after, before, self._baseline.lines)
        return z / math.sqrt(counts.spread / 100)

    def _has_grown(self, counts: PatternCounts, before: int) -> bool:
        """Whether it came significantly and materially more often, and was not on its way before."""
        deploy = self._deploy
        rate = counts.after / deploy.lines_after
        return (
            counts.after >= MIN_COUNT
            and rate >= MATERIAL_RATIO * (before + _HALF) / self._baseline.lines
            and self._z(counts, before) >= self._needed
            and (self._baseline.is_beside or 1000 * rate >= MATERIAL_RATIO * counts.recent)
            and (counts.beside < 2 or rate * deploy.lines_beside >= MATERIAL_RATIO * counts.beside)
        )

    def _change(self, pattern_id: str, counts: PatternCounts) -> PatternChange | None:
        before = self._baseline.count(counts)
        kind: ChangeKind
        # Warnings that vanished are added: they may be the same under another text or pattern.
        others = self._vanished if counts.is_bad and counts.after else 0
        if self._has_grown(counts, before + others):
            if not (before or counts.is_fresh or self._baseline.is_beside):
                return None  # came back, as a nightly job does, or is not among the counts that were kept
            kind, is_context = ("up" if before else "new"), not counts.is_bad
        elif self._has_shrunk(counts):
            kind = "down" if counts.after else "gone"
            is_context = kind == "down" or not self._is_missed(pattern_id, counts)
        else:
            return None
        stats = self._summary.patterns.get(pattern_id)
        return PatternChange(
            pattern_id,
            stats.text if stats else self._deploy.texts.get(pattern_id, ""),
            kind,
            before / self._baseline.lines,
            counts.after / self._deploy.lines_after,
            round(self._z(counts, before), 2),
            counts.after_errors,
            counts.after,
            counts.severity,
            is_context,
        )

    def _has_shrunk(self, counts: PatternCounts) -> bool:
        expected = self._expected(counts)
        return (
            expected >= (MIN_COUNT if counts.after else MIN_MISSED)
            and expected >= MATERIAL_RATIO * (counts.after + _HALF)
            and self._z(counts, self._baseline.count(counts)) <= -self._needed
        )

    def _is_missed(self, pattern_id: str, counts: PatternCounts) -> bool:
        """Whether a pattern that is gone should not be: material, and neither renamed nor merged.

        Nor is it missed where it had stopped before the deploy, where the old revision stopped
        writing it too, or where lines of unknown revision still have it.
        """
        deploy = self._deploy
        reference = deploy.lines_beside if self._baseline.is_beside else deploy.lines_before
        usual = PatternCounts(before=self._baseline.count(counts))
        had_stopped = not self._baseline.is_beside and (
            MATERIAL_RATIO * counts.recent * reference < 1000 * usual.before
        )
        stopped_alike = deploy.lines_beside >= MIN_LINES_BESIDE and (
            MATERIAL_RATIO * counts.beside * self._baseline.lines < usual.before * deploy.lines_beside
        )
        return (
            not counts.is_bad
            and is_material(usual, reference)
            and not had_stopped
            and not counts.is_untold
            and not stopped_alike
            and 2 * deploy.fresh_lines < self._expected(counts)
            and not any(self._merged_into(deploy.texts.get(pattern_id, "")))
        )

    def _merged_into(self, text: str) -> Iterator[str]:
        """Patterns of the window that `text` may have become when more of its words turned out to vary."""
        words = text.split()[:-1]  # the last may be cut
        for pattern_id, stats in self._summary.patterns.items():
            general = stats.text.split()[: len(words)]
            if words and len(general) == len(words) and "<*>" in stats.text:
                pairs = zip(general, words, strict=True)
                if stats.text[: len(text)] != text and all("<*>" in now or now == was for now, was in pairs):
                    yield pattern_id


def _importance(change: PatternChange) -> tuple[bool, int, float, str]:
    return change.is_context, -change.severity, -abs(change.z), change.pattern_id


def level_of_errors(change: ErrorChange) -> Literal["", "medium", "high"]:
    """Severity of a grown error share; "" where it has not grown."""
    if not change.has_grown:
        return ""
    is_high = change.after_rate >= 0.2 and change.errors >= 20 and change.after_rate >= 5 * change.before_rate
    return "high" if is_high else "medium"


def level_of_patterns(changes: list[PatternChange]) -> Literal["", "low", "medium"]:
    """Severity of the patterns that make a regression; "" without any."""
    causes = [change for change in changes if not change.is_context]
    if any(change.kind in {"new", "up"} and _is_error(change) for change in causes):
        return "medium"
    return "low" if causes else ""


def _is_error(change: PatternChange) -> bool:
    return 2 * change.errors >= change.count
