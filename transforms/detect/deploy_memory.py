"""What is remembered of a service's recent roll-outs: counts before, counts since, and revisions.

All names are those of log writers: their number and length are bounded, and the whole memory is
below 8 KiB whatever they say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from transforms.detect.signals import WindowSignals
from transforms.elements import ERROR, WARNING, DeployEvent, WindowSummary, content_id, deploy_id

MAX_PENDING: Final = 2
MAX_REVISIONS: Final = 8
MATERIAL_SHARE: Final = 0.05
"""A pattern that is no warning is missed only if it was at least this share of the lines."""

_KEPT_BEFORE: Final = 40
_KEPT_SINCE: Final = 20
_KEPT_TEXTS: Final = 10
_RECENT_WINDOWS: Final = 3
_MOST_SPREAD: Final = 60_000
_LEAST_SPREAD: Final = 100
_LEAST_SPREAD_OF_ERRORS: Final = 200
"""Two errors are taken to be one failure, which several patterns tell of."""


class PatternCounts(msgspec.Struct, array_like=True, gc=False):
    """Lines of one pattern, or errors of the service, around one deploy."""

    severity: int = 0
    before: int = 0
    before_errors: int = 0
    spread: int = _LEAST_SPREAD  # how unevenly they come, in hundredths; 100 is chance, see `_spread`
    recent: int = 0  # thousandths of the lines that they surely were just before the deploy
    after: int = 0
    after_errors: int = 0
    beside: int = 0  # lines of other revisions in the windows in which `after` is counted
    is_fresh: bool = False  # never seen before the window of the deploy
    is_untold: bool = False  # some lines since do not say their revision

    @property
    def is_bad(self) -> bool:
        """Whether its lines are warnings or errors. The highest severity alone may be that of a few."""
        lines, errors = self.before + self.after, self.before_errors + self.after_errors
        return (lines > 0 and 2 * errors >= lines) or WARNING <= self.severity < ERROR


class PendingDeploy(msgspec.Struct, array_like=True):
    """A deploy that is watched."""

    deploy_id: str
    deployed_at_us: int
    window_start_us: int
    method_name: str
    what: str
    principal: str
    others: int = 0  # further deploys in the same window
    told_apart: bool | None = None  # whether the new revision's lines are; None until that is known
    revisions: list[str] = []  # hashes of revisions that came with it
    reported: str = ""  # severity of the last report
    windows_before: int = 0
    lines_before: int = 0
    windows_since: int = 0
    arrived: int = 0  # lines of new revisions
    lines_after: int = 0
    lines_beside: int = 0
    fresh_lines: int = 0  # lines of patterns below WARNING that are fresh
    errors: PatternCounts = msgspec.field(default_factory=PatternCounts)
    patterns: dict[str, PatternCounts] = {}
    texts: dict[str, str] = {}  # beginnings of patterns that would be missed


class DeployMemory(msgspec.Struct, array_like=True):
    """State of one (tenant, service). `revisions` maps hashes to the start of their last window."""

    version: int = 1
    pending: list[PendingDeploy] = []
    revisions: dict[str, int] = {}


def revision_key(name: str) -> str:
    """What is remembered of a revision's name."""
    return content_id(name)[:16]


def remember_before(
    event: DeployEvent, others: int, summary: WindowSummary, past: Sequence[WindowSignals]
) -> PendingDeploy:
    """The deploy `event`, seen in `summary`, with what the windows before it say."""
    windows = [window for window in past if window.lines]
    lines = [window.lines for window in windows]
    total = sum(lines)
    patterns: dict[str, PatternCounts] = {}
    for pattern_id in dict.fromkeys(key for window in windows for key in window.patterns):
        seen = [window.patterns.get(pattern_id) for window in windows]
        counts = [found.count if found else 0 for found in seen]
        severity = max(found.severity for found in seen if found)
        patterns[pattern_id] = _counts_before(counts, lines, _LEAST_SPREAD, severity)
        patterns[pattern_id].before_errors = sum(found.errors for found in seen if found)
    kept = sorted(patterns.items(), key=lambda item: _interest_before(item[1], total, item[0]))[:_KEPT_BEFORE]
    return PendingDeploy(
        deploy_id=deploy_id(summary.tenant_id, summary.service, event),
        deployed_at_us=event.event_time_us,
        window_start_us=summary.window_start_us,
        method_name=_cut(event.method_name, 96),
        what=shown_name(event),
        principal=_cut(event.principal, 64),
        others=others,
        windows_before=len(windows),
        lines_before=total,
        errors=_counts_before([window.errors for window in windows], lines, _LEAST_SPREAD_OF_ERRORS),
        patterns=dict(kept),
        texts=_texts_of([key for key, counts in kept if is_material(counts, total)], summary),
    )


def shown_name(event: DeployEvent) -> str:
    """As much as is remembered of what was rolled out."""
    return _cut(event.what, 160)


def is_material(counts: PatternCounts, lines_before: int) -> bool:
    """Whether people would miss the pattern: no warning, and a good share of the lines before."""
    return not counts.is_bad and counts.before > 0 and counts.before >= MATERIAL_SHARE * lines_before


def _counts_before(counts: list[int], lines: list[int], least: int, severity: int = 0) -> PatternCounts:
    spread = max(least, min(_MOST_SPREAD, _spread(counts, lines)))
    return PatternCounts(severity, sum(counts), spread=spread, recent=_recent(counts, lines))


def _spread(counts: list[int], lines: list[int]) -> int:
    """Pearson's dispersion of `counts` among windows of `lines`, in hundredths.

    1 where each line is independent of the others; what comes in bursts has more, and its changes
    mean less by the root of it. Source: McCullagh & Nelder, Generalized Linear Models, 1989, 4.5.
    """
    if len(counts) < 2 or not sum(counts):
        return 100
    share = sum(counts) / sum(lines)
    pearson = sum(
        (count - share * among) ** 2 / (share * among) for count, among in zip(counts, lines, strict=True)
    )
    return round(100 * pearson / (len(counts) - 1))


def _recent(counts: list[int], lines: list[int]) -> int:
    """The highest share of the last one, two or three windows, less two standard deviations; thousandths."""
    highest = 0
    for windows in range(1, min(_RECENT_WINDOWS, len(counts)) + 1):
        count = sum(counts[-windows:])
        highest = max(highest, int(1000 * (count - 2 * math.sqrt(count)) / sum(lines[-windows:])))
    return highest


def _interest_before(counts: PatternCounts, lines: int, pattern_id: str) -> tuple[bool, bool, int, str]:
    return (not is_material(counts, lines), not counts.is_bad, -counts.before, pattern_id)


def _texts_of(pattern_ids: list[str], summary: WindowSummary) -> dict[str, str]:
    known = [key for key in pattern_ids if key in summary.patterns]
    return {key: _cut(summary.patterns[key].text, 64) for key in known[:_KEPT_TEXTS]}


def _cut(text: str, most_bytes: int) -> str:
    return text.encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore")


# ------------------------------------------------------------------------------- counts since


def count_window(deploy: PendingDeploy, summary: WindowSummary, *, all_lines: bool) -> None:
    """Add a window to what came since `deploy`: the lines of its revisions, or with `all_lines` all."""
    own = {name for name in summary.revisions if revision_key(name) in deploy.revisions}
    is_mixed = not all_lines and len(summary.revisions) > 1
    if not (all_lines or own):
        return  # nothing of the new revision yet: the old one has nothing beside it to be compared with
    errors = 0
    for pattern_id, stats in summary.patterns.items():
        after = stats.count
        if is_mixed:
            after = sum(lines for name, lines in stats.revisions.items() if name in own)
        after_errors = after * stats.errors // stats.count if stats.count else 0
        errors += after_errors
        is_fresh = stats.first_seen_us >= deploy.window_start_us
        counts = deploy.patterns.get(pattern_id)
        if counts is None:
            counts = deploy.patterns[pattern_id] = PatternCounts(is_fresh=is_fresh)
        counts.severity = max(counts.severity, stats.severity)
        counts.after += after
        counts.after_errors += after_errors
        counts.beside += stats.count - after
        counts.is_untold |= is_mixed and sum(stats.revisions.values()) < stats.count
        if is_fresh and stats.severity < WARNING:
            deploy.fresh_lines += after
    lines = sum(summary.revisions[name] for name in own) if is_mixed else summary.lines
    deploy.lines_after += lines
    deploy.lines_beside += summary.lines - lines
    deploy.errors.after += errors
    deploy.errors.after_errors += errors
    deploy.errors.beside += summary.errors - errors
    _forget_patterns(deploy)


def restart_counts(deploy: PendingDeploy) -> None:
    """Forget what was counted since: from now on other lines are counted."""
    deploy.lines_after = deploy.lines_beside = deploy.fresh_lines = 0
    deploy.patterns = {key: counts for key, counts in deploy.patterns.items() if counts.before}
    for counts in (deploy.errors, *deploy.patterns.values()):
        counts.after = counts.after_errors = counts.beside = 0
        counts.is_untold = False


def _forget_patterns(deploy: PendingDeploy) -> None:
    """Of the patterns that were not there before, keep the most severe and frequent."""
    since = [(key, counts) for key, counts in deploy.patterns.items() if not counts.before]
    since.sort(key=lambda item: (*_interest_since(item[1]), item[0]))
    for key, _ in since[_KEPT_SINCE:]:
        del deploy.patterns[key]


def _interest_since(counts: PatternCounts) -> tuple[bool, int, int]:
    return not counts.is_bad, -counts.after_errors, -counts.after
