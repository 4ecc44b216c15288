"""Alerts as tables for people and as plain rows for programs. Text of events is untrusted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiops.cells import SEVERITY_STYLES, make_table, text_cell, time_cell
from aiops.show_output import WIDE
from pipeline.tables import struct_columns
from transforms.alert.view import AlertView
from transforms.alert_elements import AlertEvent, Matcher
from transforms.elements import MICROSECONDS

SHORT_ID: Final = 8
_STATUS_STYLES: Final = {"open": "bold red", "acknowledged": "yellow", "resolved": "green"}
_TIMES: Final = frozenset(c.name for c in struct_columns(AlertEvent) if c.kind == "TIMESTAMP")


def print_alerts(console: Console, views: Sequence[AlertView], clock_us: int) -> None:
    """A row for each alert; on little room, status and service stand below severity and tenant."""
    wide = console.width >= WIDE
    names = ("Severity", "Status", "Tenant", "Service") if wide else ("State", "Where")
    table = make_table("Id", "Opened (UTC)", *names)
    table.add_column("What happened", ratio=1, overflow="fold")
    for name in ("Owner", "Events") if wide else ():
        table.add_column(name, justify="right" if name == "Events" else "left", overflow="fold")
    for view in views:
        cells = [
            Text(view.severity, SEVERITY_STYLES.get(view.severity, "")),
            status_text(view, clock_us),
            text_cell(view.tenant_id, 60),
            text_cell(view.service, 60),
        ]
        if not wide:
            cells = [Text("\n").join(cells[:2]), Text("\n").join(cells[2:])]
        more = [text_cell(view.last.owner, 60), Text(str(len(view.events)))] if wide else []
        opened = time_cell(moment(view.opened_at), wide=wide)
        table.add_row(view.alert_id[:SHORT_ID], opened, *cells, text_cell(view.summary), *more)
    console.print(table)


def print_silences(console: Console, views: Sequence[AlertView], clock_us: int) -> None:
    """A row for each silence by matchers."""
    table = make_table("Id", "Until (UTC)", "Tenant")
    table.add_column("Matchers", overflow="fold")
    for name in ("By", "Note"):
        table.add_column(name, overflow="fold")
    for view in views:
        until = view.last.silenced_until or 0
        is_over = not view.is_active or until <= clock_us
        first = view.events[0]
        table.add_row(
            view.alert_id[:SHORT_ID],
            Text.assemble(time_cell(moment(until), wide=False), (" ended" if is_over else "", "dim")),
            text_cell(view.tenant_id, 60),
            text_cell(matchers_text(view.last.matchers)),
            text_cell(first.actor, 60),
            text_cell(first.note),
        )
    console.print(table)


def matchers_text(matchers: Iterable[Matcher]) -> str:
    """Matchers as they are written on the command line."""
    return ", ".join(f"{matcher.name}{matcher.operator}{matcher.value}" for matcher in matchers)


def status_text(view: AlertView, clock_us: int) -> Text:
    """The status, and what keeps an open alert quiet."""
    text = Text(view.status.replace("_", " "), _STATUS_STYLES.get(view.status, ""))
    if view.is_active and view.is_silenced(clock_us):
        text.append(", silenced", "dim")
    if view.is_active and view.is_inhibited:
        text.append(", inhibited", "dim")
    return text


def print_alert(console: Console, view: AlertView, clock_us: int) -> None:
    """All that is known of one alert, and who did what when."""
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold", ratio=1)
    for name, text in _facts(view, clock_us):
        if text:
            facts.add_row(name, text if isinstance(text, Text) else Text(text))
    console.print(facts)
    console.print()
    events = make_table("Time (UTC)", "What")
    events.add_column("By", overflow="fold")
    events.add_column("Severity", no_wrap=True)
    events.add_column("Note", ratio=1, overflow="fold")
    for event in view.events:
        events.add_row(
            f"{moment(event.occurred_at):%Y-%m-%d %H:%M:%S}",
            event.event_type.replace("_", " "),
            text_cell(event.actor, 60),
            Text(event.severity, SEVERITY_STYLES.get(event.severity, "")),
            text_cell(event.note, 2_000),
        )
    console.print(events)


def _facts(view: AlertView, clock_us: int) -> list[tuple[str, Text | str]]:
    last = view.last
    silenced = f"until {moment(last.silenced_until or 0):%Y-%m-%d %H:%M} UTC"
    return [
        ("alert", view.alert_id),
        ("what", text_cell(view.summary, 1_000)),
        ("where", text_cell(f"{view.tenant_id} {view.service} {' '.join(last.endpoints)}", 500)),
        ("severity", Text(view.severity, SEVERITY_STYLES.get(view.severity, ""))),
        ("status", status_text(view, clock_us)),
        ("silenced", silenced if view.is_active and view.is_silenced(clock_us) else ""),
        ("inhibited by", last.inhibited_by[:SHORT_ID] if view.is_active else ""),
        ("verdict", view.verdict.replace("_", " ")),
        ("anomalies", f"{last.anomaly_count:,}" if last.anomaly_count else ""),
        ("types", ", ".join(last.anomaly_types)),
        ("found by", text_cell(", ".join(last.detectors), 500)),
        ("incident", last.incident_id),
        ("root cause", text_cell(last.root_cause, 200)),
        ("owner", text_cell(" ".join(filter(None, (last.owner, last.channel))), 400)),
        ("tier", last.tier),
        ("runbook", text_cell(last.runbook, 2_000)),
        ("matchers", text_cell(matchers_text(last.matchers), 2_000)),
        ("example", text_cell(last.example, 500)),
        *(("what to do", text_cell(action, 500)) for action in last.recommended_actions),
    ]


def moment(micros: int) -> datetime:
    """A time as people read it; 1970 for one that no calendar has."""
    try:
        return datetime.fromtimestamp(micros / MICROSECONDS, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def event_row(event: AlertEvent) -> dict[str, Any]:
    """An event for JSON, with times as `aiops show --json` writes them."""
    row = msgspec.to_builtins(event)
    return {name: _time_value(value) if name in _TIMES else value for name, value in row.items()}


def view_row(view: AlertView, clock_us: int) -> dict[str, Any]:
    """An alert for JSON: what its newest event says, and what only the whole life tells."""
    row = event_row(view.last)
    for name in ("event_id", "event_type", "note", "command_id", "actor"):
        row.pop(name)
    return row | {
        "updated_at": _time_value(view.updated_at),
        "is_silence": view.is_silence,
        "is_silenced": view.is_silenced(clock_us),
        "is_inhibited": view.is_inhibited,
        "acknowledged_by": view.acknowledged_by,
        "acknowledged_at": _time_value(view.acknowledged_at or None),
        "resolved_by": view.resolved_by,
        "resolved_at": _time_value(view.resolved_at or None),
        "reopenings": view.reopenings,
        "fingerprints": view.fingerprints,
        "anomaly_ids": view.anomaly_ids,
        "findings": [msgspec.to_builtins(finding) for finding in view.findings],
    }


def _time_value(micros: int | None) -> datetime | None:
    return None if micros is None else moment(micros)
