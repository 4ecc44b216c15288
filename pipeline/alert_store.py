"""Commands applied to the log of alerts in a local store, as a job would apply them. No Beam here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pipeline.alert_log import stored_events
from pipeline.duckdb_store import DuckDBStore
from transforms.alert.manage import apply
from transforms.alert.rebuild import rebuild_book
from transforms.alert.settings import AlertSettings
from transforms.alert.view import fold_events
from transforms.alert_elements import AlertCommand, AlertEvent

_FOREVER_SECONDS: Final = 200 * 366 * 86_400
"""A store forgets nothing: what a file of last year showed can be judged today."""


def apply_commands(store: DuckDBStore, commands: Iterable[AlertCommand], clock_us: int) -> list[AlertEvent]:
    """Apply `commands`, each to the alerts of its tenant, and append what follows in one transaction.

    The events are those of the job's own state machine after what the log says of the past. An
    impossible command gives the event `rejected`; a copy of one that is known gives none. What the
    catalog said last of a service still holds. Raises StoreError.
    """
    by_tenant: dict[str, list[AlertCommand]] = {}
    for command in commands:
        by_tenant.setdefault(command.tenant_id, []).append(command)
    events: list[AlertEvent] = []
    for tenant_id in sorted(by_tenant):
        events += _events_of(stored_events(store, tenant_id), tenant_id, by_tenant[tenant_id], clock_us)
    store.append("alert_events", events)
    return events


def _events_of(
    past: Sequence[AlertEvent], tenant_id: str, commands: Sequence[AlertCommand], clock_us: int
) -> list[AlertEvent]:
    settings = AlertSettings(keep_resolved_seconds=_FOREVER_SECONDS, most_resolved=len(past) + 1)
    book = rebuild_book(tenant_id, past, clock_us, settings)
    last = {view.alert_id: view.last for view in fold_events(past).values()}
    return [
        _with_catalog(last.get(event.alert_id), event)
        for command in commands
        for event in apply(book, command, clock_us, settings)
    ]


def _with_catalog(last: AlertEvent | None, event: AlertEvent) -> AlertEvent:
    if last is None:
        return event
    said = {name: getattr(last, name) for name in ("owner", "tier", "channel", "runbook")}
    return msgspec.structs.replace(event, **said)
