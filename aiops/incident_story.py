"""One incident told to a person at a terminal. Text of the store is untrusted: no markup, no escapes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text
from rich.tree import Tree

from aiops.cells import SEVERITY_STYLES
from aiops.figures import span_words
from aiops.query_incidents import likely_causes
from aiops.text import one_line
from pipeline.duckdb_store import Row

MOST_ANOMALIES: Final = 30
_WORDS: Final = 300
_BEFORE: Final = timedelta(minutes=30)


def lasting_words(incident: Row) -> str:
    """How long it has been going on, in words."""
    return span_words((last_seen(incident) - incident["started_at"]).total_seconds())


def last_seen(incident: Row) -> datetime:
    """End of the newest window of the anomalies that it lists, no earlier than its start."""
    times = [member["detected_at"] for member in incident["anomalies"]]
    newest: datetime = max([incident["opened_at"], *times])
    return newest


def print_story(
    console: Console, incident: Row, actions: Sequence[str], commands: Sequence[str], *, show_all: bool
) -> None:
    """What, since when, why, who feels it, what happened in order, and what to do next."""
    _print_head(console, incident)
    _print_causes(console, incident)
    _print_effects(console, incident)
    _print_anomalies(console, incident, show_all=show_all)
    _print_deploys(console, incident)
    _print_traces(console, incident)
    _heading(console, "Do next")
    for action in actions:
        _item(console, Text.assemble("• ", _said(action)))
    if not actions:
        _item(console, Text("Its anomalies recommend nothing.", "dim"))
    _heading(console, "Look further")
    for command in commands:
        console.print(Text(f"  {command}"), soft_wrap=True)


def print_owner(console: Console, owner: Row | None) -> None:
    """Who owns the cause, and where to read on, as far as the catalog says."""
    if owner is not None:
        tier = f"tier {owner['tier']}" if owner["tier"] else ""
        facts = (owner["owner"] and f"owner {owner['owner']}", tier, owner["channel"], owner["runbook"])
        console.print(Text(" · ".join(one_line(fact, 200) for fact in facts if fact), "bold"), soft_wrap=True)


def look_further(incident: Row, store: str) -> list[str]:
    """Commands that show more of it, ready to be pasted into a shell."""
    since = (incident["started_at"] - _BEFORE).astimezone(UTC)
    where = f"--store {shlex.quote(store)} --tenant {_quoted(incident['tenant_id'])}"
    time = f"--since {since:%Y-%m-%dT%H:%M:%SZ}"
    causes = [cause["service"] for cause in incident["root_causes"][:1]]
    commands = []
    for cause in causes:
        service = f"--service {_quoted(cause)}"
        commands += [f"aiops show {what} {where} {service} {time}" for what in ("anomalies", "patterns")]
        commands += [f"aiops show topology {where} {service}"]
    return [*commands, f"aiops show deploys {where} {time}", f"aiops report {where} {time}"]


def _quoted(name: str) -> str:
    return shlex.quote(one_line(name, 120))


def _print_head(console: Console, incident: Row) -> None:
    severity = incident["severity"]
    badge, title = Text(f" {severity} ", SEVERITY_STYLES.get(severity, "")), _said(incident["title"], 160)
    title.stylize("bold")
    console.print(Text.assemble(badge, " ", title))
    count, services = incident["anomaly_count"], len(incident["affected_services"])
    facts = [
        f"tenant {one_line(incident['tenant_id'], 60)}",
        _status_words(incident),
        f"since {_moment(incident['started_at'])} UTC, for {lasting_words(incident)}",
        f"{count:,} anomal{'y' if count == 1 else 'ies'}",
        f"{services:,} service{'' if services == 1 else 's'}",
        f"correlation {incident['correlation_score']:.2f}",
    ]
    console.print(Text(" · ".join(facts), "dim"))
    console.print(
        Text(f"incident {one_line(incident['incident_id'], 64)}, revision {incident['revision']}", "dim")
    )
    console.print()
    console.print(_said(incident["summary"], 1_000))


def _status_words(incident: Row) -> str:
    status, at = incident["status"], incident["updated_at"]
    word = {"open": "opened", "updated": "updated", "quiet": "quiet since", "closed": "closed"}[status]
    return f"{word} {_moment(at)} UTC"


def _print_causes(console: Console, incident: Row) -> None:
    causes, likely = incident["root_causes"], likely_causes(incident)
    _heading(console, "Why: candidates for the cause, the likeliest first")
    for number, cause in enumerate(causes[:likely], 1):
        details = [
            f"{name} {one_line(cause[key], 80)}"
            for name, key in (("pod", "instance"), ("revision", "revision"), ("signal", "metric"))
            if cause[key]
        ]
        _item(
            console,
            Text.assemble(
                f"{number}. ",
                (one_line(cause["service"], 80), "bold"),
                f"  score {cause['score']:.2f}",
                (f"  ({', '.join(details)})" if details else "", "dim"),
            ),
        )
        for reason in cause["reasons"]:
            _item(console, Text.assemble("- ", _said(reason)), 5)
    if rest := causes[likely:]:
        names = ", ".join(f"{one_line(cause['service'], 60)} {cause['score']:.2f}" for cause in rest)
        _item(console, Text(f"then {names}", "dim"))
    if not causes:
        _item(console, Text("All its anomalies were withdrawn.", "dim"))


def _print_effects(console: Console, incident: Row) -> None:
    if len(incident["affected_services"]) < 2 and not incident["effects"]:
        return
    _heading(console, "Who feels it")
    cause = incident["root_causes"][0]["service"] if incident["root_causes"] else ""
    tree = Tree(Text.assemble((one_line(cause, 80), "bold"), "  the cause"), guide_style="dim")
    branches = {cause: tree}
    for step in incident["effects"]:
        # The row lists the nearest first, so that a branch is there before its twigs.
        parent = branches.get(step["cause"], tree)
        said = _said(step["description"]).plain.removeprefix(f"{step['effect']} calls {step['cause']}: ")
        twig = Text.assemble(
            (one_line(step["effect"], 80), "bold"), (f"  {_clock(step['started_at'])}  ", "dim"), said
        )
        branches[step["effect"]] = parent.add(twig)
    console.print(Padding(tree, (0, 0, 0, 2)))
    others = [name for name in incident["affected_services"] if name not in branches]
    if others:
        _item(console, Text("No chain of calls that is known leads to:", "dim"))
    for name in others:
        first = next((one for one in incident["anomalies"] if one["service"] == name), None)
        why = f"  {_said(first['joined_because']).plain}" if first else ""
        _item(console, Text.assemble((one_line(name, 80), "bold"), why), 4)


def _print_anomalies(console: Console, incident: Row, *, show_all: bool) -> None:
    members = sorted(incident["anomalies"], key=lambda member: (member["detected_at"], member["service"]))
    shown = members if show_all else members[:MOST_ANOMALIES]
    _heading(console, "What happened, and why it is part of this")
    for member in shown:
        severity = member["severity"]
        _item(
            console,
            Text.assemble(
                (f"{_clock(member['detected_at'])} ", "dim"),
                (f"{severity:<8} ", SEVERITY_STYLES.get(severity, "")),
                (f"{one_line(member['service'], 60)} ", "bold"),
                _said(member["description"]),
            ),
            hang=6,
        )
        _item(console, Text(_said(member["joined_because"]).plain, "dim"), 8)
    if len(members) > len(shown):
        _item(console, Text(f"{len(members) - len(shown):,} more with --all.", "dim"))
    if incident["anomaly_count"] > len(members):
        more = incident["anomaly_count"] - len(members)
        _item(console, Text(f"{more:,} more are counted, not listed: aiops show anomalies has them.", "dim"))


def _print_deploys(console: Console, incident: Row) -> None:
    if not incident["deploys"]:
        return
    _heading(console, "Rolled out shortly before, or in it")
    for deploy in incident["deploys"]:
        before = (incident["started_at"] - deploy["deployed_at"]).total_seconds()
        when = f"{span_words(before)} before it began" if before >= 0 else f"{span_words(-before)} into it"
        _item(
            console,
            Text.assemble(
                (f"{_clock(deploy['deployed_at'])} ", "dim"),
                (f"{one_line(deploy['service'], 60)} ", "bold"),
                _said(deploy["what"]),
                (f"  {when}", "dim"),
            ),
        )
    more = (incident["deploy_count"] or 0) - len(incident["deploys"])  # no count in rows of older jobs
    if more > 0:
        _item(console, Text(f"{more:,} more are counted, not listed: aiops show deploys has them.", "dim"))


def _print_traces(console: Console, incident: Row) -> None:
    if not incident["trace_samples"]:
        return
    _heading(console, "Traces that failed; the service named first failed first")
    for trace in incident["trace_samples"]:
        first, *rest = [one_line(name, 60) for name in trace["services"]]
        path = Text.assemble((first, "bold"), *(f" → {name}" for name in rest))
        time = Text(f"{_clock(trace['first_error_at'], seconds=True)} ", "dim")
        _item(console, Text.assemble(time, path, (f"  {one_line(trace['trace_id'], 64)}", "dim")))


def _heading(console: Console, words: str) -> None:
    console.print()
    console.print(Text(words, "bold underline"))


def _item(console: Console, text: Text, indent: int = 2, *, hang: int = 2) -> None:
    """A paragraph whose second and further lines stand `hang` columns further in."""
    first, *rest = text.wrap(console, max(20, console.width - indent)) or [text]
    console.print(Padding(first, (0, 0, 0, indent)))
    for line in rest:
        line.rstrip()
    if rest:
        console.print(Padding(Text(" ").join(rest), (0, 0, 0, indent + hang)))


def _said(text: str, limit: int = _WORDS) -> Text:
    return Text(one_line(text, limit))


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def _clock(moment: datetime, *, seconds: bool = False) -> str:
    return f"{moment.astimezone(UTC):{'%H:%M:%S' if seconds else '%H:%M'}}"
