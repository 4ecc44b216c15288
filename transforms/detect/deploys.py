"""After a deploy: whether the new revision makes the service worse, told by its patterns.

For half an hour after a deploy that an audit log reports, the shares of patterns and of errors are
compared with those before; where lines say their revision, only those of the new one count. What is
compared and how: docs/baselines.md, "After a deploy".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from transforms.detect.deploy_changes import (
    Changes,
    PatternChange,
    find_changes,
    level_of_errors,
    level_of_patterns,
)
from transforms.detect.deploy_memory import (
    MAX_PENDING,
    MAX_REVISIONS,
    DeployMemory,
    PendingDeploy,
    count_window,
    remember_before,
    restart_counts,
    revision_key,
    shown_name,
)
from transforms.detect.findings import Finding
from transforms.detect.signals import HISTORY_WINDOWS, WindowSignals
from transforms.elements import (
    ANOMALY_SEVERITIES,
    MICROSECONDS,
    AnomalyMetric,
    Deploy,
    Evidence,
    WindowSummary,
)

__all__ = ["DeployMemory", "DeployRegression", "PatternChange", "regression_finding", "watch_deploys"]

DETECTOR: Final = "deploys"
SIGNAL: Final = "patterns"
WATCH_SECONDS: Final = 1800
SAME_DEPLOY_SECONDS: Final = 300
"""Within this time the same thing rolled out again is the same deploy, e.g. in the next region."""

ARRIVED_LINES: Final = 5
"""Lines of a new revision from which on they are told apart: the audit log's own entry may name it too."""

PATIENCE_WINDOWS: Final = 3
"""If no new revision shows for so many windows after the deploy, all lines are compared."""

_MAX_CHANGES: Final = 20
_MAX_EVIDENCE: Final = 5
_MAX_EXAMPLES: Final = 3

Level = Literal["low", "medium", "high"]


class DeployRegression(msgspec.Struct, frozen=True):
    """A deploy that made its service worse. `changes` has what makes it so first, then the context."""

    deploy: Deploy
    severity: Level
    confidence: float
    reason: str  # one sentence for people
    windows_since: int  # windows after the one of the deploy, the newest included
    changes: list[PatternChange]
    error_rate: float
    error_rate_before: float
    lines_since: int


def watch_deploys(
    memory: DeployMemory, summary: WindowSummary, past: Sequence[WindowSignals]
) -> list[DeployRegression]:
    """Regressions that the window `summary` shows; called once for each window on time, in order.

    `past` holds up to HISTORY_WINDOWS earlier windows, oldest first. Mutates `memory`. A deploy is
    reported when it is found to be bad, and again only when its severity rises.
    """
    _keep(memory, [deploy for deploy in memory.pending if _is_watched(deploy, summary)], summary)
    _add_deploy(memory, summary, past)
    _assign_revisions(memory, summary)
    found = []
    for deploy in memory.pending:
        _count(deploy, summary, knows_revisions=bool(memory.revisions))
        regression = _judge(deploy, summary)
        if regression is not None:
            deploy.reported = regression.severity
            found.append(regression)
    _remember_revisions(memory, summary)
    return found


# --------------------------------------------------------------------------------------- deploys


def _is_watched(deploy: PendingDeploy, summary: WindowSummary) -> bool:
    return summary.window_start_us < deploy.deployed_at_us + WATCH_SECONDS * MICROSECONDS


def _add_deploy(memory: DeployMemory, summary: WindowSummary, past: Sequence[WindowSignals]) -> None:
    """Watch the window's last deploy; what came before it in the same window cannot be told from it."""
    events = sorted(summary.deploys, key=msgspec.structs.astuple)
    latest = {deploy.what: deploy.deployed_at_us for deploy in memory.pending}
    fresh = []
    for event in events:
        since_us = event.event_time_us - latest.get(shown_name(event), -WATCH_SECONDS * MICROSECONDS)
        if since_us > SAME_DEPLOY_SECONDS * MICROSECONDS:
            fresh.append(event)
            latest[shown_name(event)] = event.event_time_us
    if not fresh:
        return
    # Of an earlier deploy only lines of its own revisions can still be told to be its.
    _keep(memory, [deploy for deploy in memory.pending if deploy.told_apart][1 - MAX_PENDING :], summary)
    memory.pending.append(remember_before(fresh[-1], len(fresh) - 1, summary, past))


def _keep(memory: DeployMemory, kept: list[PendingDeploy], summary: WindowSummary) -> None:
    """Watch only `kept` any longer; the revisions of the others are old ones now."""
    for deploy in memory.pending:
        if deploy not in kept:
            memory.revisions |= dict.fromkeys(deploy.revisions, summary.window_start_us)
    memory.pending = kept


def _assign_revisions(memory: DeployMemory, summary: WindowSummary) -> None:
    """A revision never seen before came with the newest deploy."""
    if not memory.pending or not memory.revisions:
        return
    newest = memory.pending[-1]
    known = memory.revisions.keys() | {key for deploy in memory.pending for key in deploy.revisions}
    unknown = sorted({revision_key(name) for name in summary.revisions} - known)
    newest.revisions += unknown[: MAX_REVISIONS - len(newest.revisions)]


def _remember_revisions(memory: DeployMemory, summary: WindowSummary) -> None:
    new = {key for deploy in memory.pending for key in deploy.revisions}
    seen = {revision_key(name) for name in summary.revisions} - new
    memory.revisions |= dict.fromkeys(seen, summary.window_start_us)
    oldest_us = summary.window_start_us - HISTORY_WINDOWS * summary.window_seconds * MICROSECONDS
    newest_first = sorted(memory.revisions.items(), key=lambda item: (-item[1], item[0]))
    memory.revisions = {key: seen for key, seen in newest_first[:MAX_REVISIONS] if seen >= oldest_us}


# ------------------------------------------------------------------------------------ what to count


def _count(deploy: PendingDeploy, summary: WindowSummary, *, knows_revisions: bool) -> None:
    """Count the window for `deploy`, and find out whether its revision's lines can be told apart."""
    is_after = summary.window_start_us > deploy.window_start_us
    deploy.windows_since += is_after
    if summary.pattern_level or not summary.lines:
        return  # coarse patterns have other ids than those before
    is_tagged = knows_revisions and 2 * sum(summary.revisions.values()) >= summary.lines
    if is_tagged:
        own = [lines for name, lines in summary.revisions.items() if revision_key(name) in deploy.revisions]
        deploy.arrived += sum(own)
        if deploy.arrived >= ARRIVED_LINES and not deploy.told_apart:
            if deploy.told_apart is False:
                restart_counts(deploy)
            deploy.told_apart = True
    if deploy.told_apart is None and is_after and (not is_tagged or deploy.windows_since > PATIENCE_WINDOWS):
        restart_counts(deploy)
        deploy.told_apart = False
    if deploy.told_apart is False:
        if is_after:
            count_window(deploy, summary, all_lines=True)
    elif is_tagged:
        count_window(deploy, summary, all_lines=False)


# ------------------------------------------------------------------------------------------ judging


def _judge(deploy: PendingDeploy, summary: WindowSummary) -> DeployRegression | None:
    changes = find_changes(deploy, summary)
    if changes is None:
        return None
    severity = _worst(level_of_errors(changes.errors), level_of_patterns(changes.patterns))
    if severity is None or _rank(severity) <= _rank(deploy.reported):
        return None
    shown = Deploy(
        deploy.deploy_id,
        summary.tenant_id,
        summary.service,
        deploy.deployed_at_us,
        deploy.method_name,
        deploy.what,
        deploy.principal,
        deploy.window_start_us,
    )
    return DeployRegression(
        shown,
        severity,
        _confidence(deploy, changes, severity),
        _reason(deploy, changes),
        deploy.windows_since,
        changes.patterns[:_MAX_CHANGES],
        changes.errors.after_rate,
        changes.errors.before_rate,
        deploy.lines_after,
    )


def _worst(*levels: Literal["", "low", "medium", "high"]) -> Level | None:
    return max((level for level in levels if level), key=_rank, default=None)


def _rank(level: str) -> int:
    return ANOMALY_SEVERITIES.index(level) if level in ANOMALY_SEVERITIES else -1


def _confidence(deploy: PendingDeploy, changes: Changes, severity: Level) -> float:
    """More where the revision is told apart and the errors grew, less where lines are only missed."""
    confidence = 0.7 + 0.15 * bool(deploy.told_apart) + 0.1 * changes.errors.has_grown
    if severity == "low":
        confidence = 0.7 if all(change.kind == "gone" for change in _causes(changes)) else 0.75
    return round(confidence, 2)


def _causes(changes: Changes) -> list[PatternChange]:
    return [change for change in changes.patterns if not change.is_context]


def _reason(deploy: PendingDeploy, changes: Changes) -> str:
    errors, causes = changes.errors, _causes(changes)
    lines = f"{errors.lines:,} lines{' of the new revision' if deploy.told_apart else ''}"
    what = _one_line(deploy.what.rpartition("/")[2] or deploy.what, 80) or "this service"
    others = f" and {deploy.others} more" if deploy.others else ""
    parts = [f"Since the roll-out of {what}{others}"]
    if errors.has_grown:
        parts.append(f"{errors.after_rate:.1%} of {lines} are errors, {errors.before_rate:.1%} were before")
    if causes:
        parts.append(_describe(causes[0], lines))
    more = f" (and {len(causes) - 1} more patterns)" if len(causes) > 1 else ""
    return ", ".join(parts[:2]) + "".join(f"; {part}" for part in parts[2:]) + more


def _describe(change: PatternChange, lines: str) -> str:
    text = f'"{_one_line(change.text, 100)}"' if change.text else f"the pattern {change.pattern_id[:16]}"
    if change.kind == "gone":
        return f"{text} is gone, which was {change.before_rate:.1%} of the lines"
    if change.kind == "new":
        return f"{text} is new with {change.count:,} of {lines}"
    return f"{text} grew from {change.before_rate:.2%} to {change.after_rate:.2%} of {lines}"


def _one_line(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


# ------------------------------------------------------------------------------------------ finding


def regression_finding(summary: WindowSummary, regression: DeployRegression) -> Finding:
    """What is told of it, in the window `summary`, in which the regression was found."""
    return Finding(
        detector=DETECTOR,
        signal=SIGNAL,
        anomaly_type="deploy_regression",
        severity=regression.severity,
        confidence=regression.confidence,
        description=regression.reason,
        metrics=[
            AnomalyMetric("error_rate", regression.error_rate, baseline=regression.error_rate_before),
            AnomalyMetric("lines_since_deploy", float(regression.lines_since)),
            AnomalyMetric("windows_since_deploy", float(regression.windows_since)),
        ],
        actions=tuple(_actions(regression)),
        subject_id=regression.deploy.deploy_id,  # one window can show two deploys to be bad
        evidence=[_evidence(summary, change) for change in regression.changes[:_MAX_EVIDENCE]],
    )


def _evidence(summary: WindowSummary, change: PatternChange) -> Evidence:
    stats = summary.patterns.get(change.pattern_id)
    examples = list(stats.examples[:_MAX_EXAMPLES]) if stats else []
    return Evidence(change.pattern_id, change.text, change.count, examples)


def _actions(regression: DeployRegression) -> list[str]:
    compare = "Compare the patterns below between the new revision and the one before."
    if regression.severity == "low":
        return [compare, "Ask who made the roll-out whether the change is meant."]
    return [
        "Roll the service back to the revision before, then look for the cause.",
        compare,
        "Open one of the example lines with its trace.",
    ]
