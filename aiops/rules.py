"""`aiops rules`: explain a rules file, and try rules on the windows of a store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import UNSET, structs
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aiops.query import open_store
from aiops.stored_windows import APPROXIMATED, read_summaries
from transforms.detect.history import TrackHistory
from transforms.detect.rule_loading import BUILTIN_FILE, RulesError, builtin_rules, load_rules
from transforms.detect.rule_model import Rule, RuleBook, RuleChanges, SeverityStep
from transforms.detect.rules import evaluate_rules
from transforms.elements import MICROSECONDS, SEVERITY_NAMES, Anomaly

app = typer.Typer(help="Explain a rules file, and try rules on what is stored.", no_args_is_help=True)


@app.command()
def check(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Rules files; without any, the built-in pack.")
    ] = None,
) -> None:
    """Say in words what each rule does, or what is wrong with it, by line."""
    console = Console()
    failed = False
    chosen: list[Path | None] = [*files] if files else [None]
    for path in chosen:
        try:
            book = builtin_rules() if path is None else load_rules(_read(path), str(path))
        except RulesError as error:
            failed = True
            for problem in error.problems:
                typer.echo(problem, err=True)
            continue
        console.print(explain_book(book, BUILTIN_FILE if path is None else str(path)))
    if failed:
        raise typer.Exit(1)


@app.command("test")
def try_rules(
    *,
    store: Annotated[Path, typer.Option(help="DuckDB file that `aiops run` wrote.")],
    rule: Annotated[str, typer.Option(help="Only the rule of this name.")] = "",
    rules: Annotated[Path | None, typer.Option(help="Rules file; without it, the built-in pack.")] = None,
    tenant: Annotated[str, typer.Option(help="Only this tenant.")] = "",
    service: Annotated[str, typer.Option(help="Only this service.")] = "",
    since: Annotated[str, typer.Option(help="Only windows from this time on, as 2026-01-31T09:00:00Z.")] = "",
) -> None:
    """Show what the rules would have reported for the windows of a store."""
    try:
        book = builtin_rules() if rules is None else load_rules(_read(rules), str(rules))
    except RulesError as error:
        for problem in error.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(1) from None
    if rule:
        chosen = tuple(known for known in book.rules if known.name == rule)
        if not chosen:
            names = ", ".join(known.name for known in book.rules)
            raise typer.BadParameter(f'there is no rule "{rule}"; there are {names}', param_hint="--rule")
        book = structs.replace(book, rules=chosen, version=f"{book.version}-{rule}")
    since_us = _since_us(since)
    with open_store(str(store)) as opened:
        windows, found = _replay(opened, book, tenant, service, since_us)
    _show(found, windows)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}; check the path") from None


# --------------------------------------------------------------------------------- in words


def explain_book(book: RuleBook, title: str) -> Table:
    """One row for each rule: when it reports, how severe, how sure, and for whom it is different."""
    table = Table(title=f"{escape(title)}: {len(book.rules)} rules, version {book.version}", show_lines=True)
    table.add_column("rule", min_width=18, max_width=28, overflow="fold")
    table.add_column("what it does", overflow="fold")
    for rule in book.rules:
        name = f"[bold]{escape(rule.name)}[/]{'' if rule.enabled else ' (off)'}\n{rule.type}"
        table.add_row(name, escape("\n".join(_lines_of(rule))))
    return table


def _lines_of(rule: Rule) -> Iterator[str]:
    yield f"reports: {explain_rule(rule)}"
    yield f"severity: {explain_severity(rule.severity)}"
    yield f"confidence: {rule.confidence}"
    for override in rule.overrides:
        yield f"for {_whom(override.tenant_id, override.service)}: {explain_changes(override.changes)}"


def explain_rule(rule: Rule) -> str:
    """The rule as a sentence."""
    about = {"window": "the window", "endpoint": "an endpoint", "pattern": "patterns"}[rule.subject]
    if rule.per == "pattern":
        about = "a pattern"
    parts = [about if rule.over_seconds == 0 else f"{about}, over {explain_seconds(rule.over_seconds)}"]
    if rule.match:
        parts.append(f"text matches /{rule.match}/")
    if rule.min_severity:
        parts.append(f"severity at least {SEVERITY_NAMES.get(rule.min_severity, rule.min_severity)}")
    if rule.subject != "window" and rule.min_count > 1:
        parts.append(f"at least {rule.min_count} {'requests' if rule.subject == 'endpoint' else 'lines'}")
    if rule.min_errors:
        parts.append(f"at least {rule.min_errors} errors")
    if rule.when:
        parts.append(" ".join(rule.when.split()))
    if rule.for_seconds:
        parts.append(f"for {explain_seconds(rule.for_seconds)} on end")
    parts.append(f"while it lasts, again about every {explain_seconds(rule.repeat_seconds)}")
    return "; ".join(parts)


def explain_severity(ladder: tuple[SeverityStep, ...]) -> str:
    """The severity ladder, from the step that is tried first."""
    return ", else ".join(f"{step.level} if {step.when}" if step.when else step.level for step in ladder)


def explain_changes(changes: RuleChanges) -> str:
    """What an override sets."""
    words = []
    for name, value in structs.asdict(changes).items():
        if value is UNSET:
            continue
        if name == "enabled":
            words.append("on" if value else "off")
        elif name == "severity":
            words.append(f"severity {explain_severity(value)}")
        elif name.endswith("_seconds"):
            words.append(f"{name.removesuffix('_seconds')} {explain_seconds(value)}")
        else:
            words.append(f"{name} {value}")
    return "; ".join(words) or "nothing"


def explain_seconds(seconds: int) -> str:
    """90 → "90s", 300 → "5m", 3600 → "1h"."""
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _whom(tenant_id: str, service: str) -> str:
    parts = [f"tenant {tenant_id}" if tenant_id else "", f"service {service}" if service else ""]
    return ", ".join(part for part in parts if part)


# ------------------------------------------------------------------------------ over a store


def _since_us(since: str) -> int:
    if not since:
        return -(1 << 62)
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise typer.BadParameter("give a time as 2026-01-31T09:00:00Z", param_hint="--since") from None
    return round((moment if moment.tzinfo else moment.astimezone()).timestamp() * MICROSECONDS)


def _replay(
    connection: Any, book: RuleBook, tenant: str, service: str, since_us: int
) -> tuple[int, list[Anomaly]]:
    """The windows that were looked at, and what the rules say of them; earlier windows count as history."""
    step = TrackHistory()
    state, key = step.initial(), ("", "")
    windows, found = 0, []
    for summary in read_summaries(connection, tenant, service):
        if key != (summary.tenant_id, summary.service):
            state, key = step.initial(), (summary.tenant_id, summary.service)
        for history in step.step(state, summary, is_late=False):
            if summary.window_start_us >= since_us:
                windows += 1
                found += evaluate_rules(book, history)
    return windows, found


def _show(found: list[Anomaly], windows: int) -> None:
    console = Console()
    table = Table(title=f"{len(found)} anomalies in {windows} windows")
    for heading in ("window", "tenant", "service", "severity", "rule", "what"):
        table.add_column(heading, overflow="fold")
    for anomaly in sorted(
        found, key=lambda anomaly: (anomaly.window_start, anomaly.tenant_id, anomaly.service)
    ):
        table.add_row(
            _time_text(anomaly.window_start),
            escape(anomaly.tenant_id),
            escape(anomaly.service),
            anomaly.anomaly_severity,
            escape(anomaly.detector.removeprefix("rule:")),
            escape(anomaly.description)
            + ("" if anomaly.endpoint == "" else f" [{escape(anomaly.endpoint)}]"),
        )
    if found:
        console.print(table)
    else:
        console.print(f"No anomalies in {windows} windows.")
    console.print(APPROXIMATED, style="dim")


def _time_text(us: int) -> str:
    return datetime.fromtimestamp(us / MICROSECONDS, UTC).strftime("%Y-%m-%d %H:%M")
