"""What a notice says, in parts that each channel escapes and lays out in its way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from aiops.notify.escaping import safe_id, safe_link
from aiops.notify.notices import Notice
from transforms.elements import MICROSECONDS

Escape = Callable[[str, int], str]
"""(text, most characters) → text that is harmless in the channel."""

MAX_DIGEST_LINES: Final = 50
_MAX_LIST: Final = 5
_MAX_ACTIONS: Final = 10
_WORDS: Final = {
    "opened": "",
    "reopened": "again: ",
    "escalated": "nobody acknowledged: ",
    "worse": "worse: ",
    "updated": "update: ",
    "repeated": "still open: ",
    "refreshed": "still open: ",
    "acknowledged": "",
    "resolved": "",
}


class Wording(NamedTuple):
    """The parts of a message, escaped. `facts` are (name, value); `link` is the runbook or ""."""

    title: str
    facts: list[tuple[str, str]]
    example: str
    advice: list[str]
    link: str
    commands: list[str]


def word_notices(notices: Sequence[Notice], escape: Escape) -> Wording:
    """One notice in full, several as a digest."""
    return word_notice(notices[0], escape) if len(notices) == 1 else word_digest(notices, escape)


def title_of(notice: Notice, escape: Escape) -> str:
    """The alert in one line: how bad, where, what."""
    event = notice.event
    mark = event.severity.upper()
    if notice.is_over:
        mark = "FALSE POSITIVE" if event.status == "false_positive" else "RESOLVED"
    elif notice.kind == "acknowledged":
        mark = "ACKNOWLEDGED"
    where = event.service if event.service else event.group_key
    return f"[{mark}] {_WORDS[notice.kind]}{escape(where, 80)}: {escape(event.summary, 300)}"


def word_notice(notice: Notice, escape: Escape) -> Wording:
    """All that helps whoever is told: what, since when, why, what to do, and how to answer."""
    event = notice.event
    facts = [
        ("Tenant", escape(event.tenant_id, 100)),
        ("Service", escape(event.service, 100)),
        ("Severity", event.severity + _change(notice)),
        ("What", escape(", ".join(event.anomaly_types[:_MAX_LIST]), 200)),
        ("Since", f"{time_text(event.opened_at)} ({_span_text(notice.told_at_us - event.opened_at)})"),
        ("Cause", escape(event.root_cause, 200)),
        ("Endpoints", escape(", ".join(event.endpoints[:_MAX_LIST]), 300)),
        ("Found by", escape(", ".join(event.detectors[:_MAX_LIST]), 200)),
        ("Patterns", escape(", ".join(event.pattern_ids[:_MAX_LIST]), 200)),
        ("Anomalies", str(event.anomaly_count)),
        ("Owner", escape(event.owner, 100)),
        ("Note", escape(f"{event.actor}: {event.note}", 500) if event.note else ""),
        ("Told instead of", _instead(notice, escape)),
    ]
    advice = (
        [] if notice.is_over else [escape(text, 300) for text in event.recommended_actions[:_MAX_ACTIONS]]
    )
    return Wording(
        title_of(notice, escape),
        [(name, value) for name, value in facts if value],
        escape(event.example, 1_000),
        advice,
        safe_link(event.runbook),
        _commands(notice),
    )


def word_digest(notices: Sequence[Notice], escape: Escape) -> Wording:
    """Many alerts in one message: how many, and a line for each, the worst first."""
    kinds = Counter(notice.kind for notice in notices)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    lines = [title_of(notice, escape) for notice in notices[:MAX_DIGEST_LINES]]
    if len(notices) > MAX_DIGEST_LINES:
        lines.append(f"… and {len(notices) - MAX_DIGEST_LINES} more: aiops alerts list")
    return Wording(f"{len(notices)} notices in one: {counts}", [], "", lines, "", ["aiops alerts list"])


def time_text(us: int) -> str:
    """A time for people, in UTC."""
    return datetime.fromtimestamp(us / MICROSECONDS, UTC).strftime("%Y-%m-%d %H:%M UTC")


def plain_body(wording: Wording) -> str:
    """The parts as plain text, but for the title."""
    blocks = ["\n".join(f"{name}: {value}" for name, value in wording.facts)]
    if wording.example:
        blocks.append(f"Evidence:\n    {wording.example}")
    if wording.advice:
        blocks.append("\n".join(f"- {text}" for text in wording.advice))
    if wording.link:
        blocks.append(f"Runbook: {wording.link}")
    blocks.append("\n".join(f"    {command}" for command in wording.commands))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _span_text(us: int) -> str:
    minutes = max(0, us) // (60 * MICROSECONDS)
    if minutes < 1:
        return "just now"
    days, hours = minutes // 1440, minutes // 60
    if days:
        return f"{days} d {hours % 24} h ago"
    return f"{hours} h {minutes % 60} min ago" if hours else f"{minutes} min ago"


def _change(notice: Notice) -> str:
    before = notice.severity_before
    return f" (was {before})" if before and before != notice.event.severity and not notice.is_over else ""


def _instead(notice: Notice, escape: Escape) -> str:
    if not notice.failed_channel:
        return ""
    return f"{notice.failed_channel}, which failed: {escape(notice.failed_reason, 300)}"


def _commands(notice: Notice) -> list[str]:
    """Command lines to copy: only ids that no shell could take for more are put into them."""
    alert_id, incident_id = safe_id(notice.event.alert_id), safe_id(notice.event.incident_id)
    where = f" {notice.answer}" if notice.answer else ""
    names = ["comment", "useful"] if notice.is_over else ["ack", "silence", "false-positive"]
    more = {"comment": " '…'", "silence": " --for 2h"}
    commands = [f"aiops alerts {name} {alert_id}{more.get(name, '')}{where}" for name in names if alert_id]
    if "--topic" not in where:  # what a job far away stores is looked at elsewhere
        commands += [f"aiops alerts show {alert_id}{where}"] if alert_id else []
        commands += [f"aiops show incident {incident_id}{where}"] if incident_id else []
    return commands
