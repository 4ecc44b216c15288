"""The log of alert events as it is stored: rows of the local store, and lines of JSON. No Beam here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, Final

import msgspec

from pipeline.duckdb_store import DuckDBStore, Row
from pipeline.tables import struct_columns
from transforms.alert_elements import AlertEvent

PAST_DAYS: Final = 30
"""Alerts that are over, and whose last event is older than the newest by more, are not looked at again."""

_COLUMNS: Final = ", ".join(
    f'CAST(epoch_us("{column.name}") AS BIGINT) AS "{column.name}"'
    if column.kind == "TIMESTAMP"
    else f'"{column.name}"'
    for column in struct_columns(AlertEvent)
)


def stored_events(
    store: DuckDBStore, tenant_id: str | None = None, *, past_days: int | None = None
) -> list[AlertEvent]:
    """All events in the order of their life: by tenant, time, alert and sequence; each once.

    With `past_days` only those of alerts that are not over, or had an event in so many days before the
    newest one. Raises StoreError.
    """
    rows = store.query(
        f"""
        SELECT {_COLUMNS} FROM current_alert_events
        WHERE ($tenant IS NULL OR tenant_id = $tenant)
          AND ($days IS NULL OR alert_id IN (
            SELECT alert_id FROM current_alert_events GROUP BY alert_id
            HAVING arg_max(status, sequence) IN ('open', 'acknowledged')
              OR max(occurred_at) >= (SELECT max(occurred_at) FROM current_alert_events) - to_days($days)))
        """,  # noqa: S608 - constants of this module; values are parameters
        {"tenant": tenant_id, "days": past_days},
    )
    return sort_events(map(_event_of, rows))


def _event_of(row: Row) -> AlertEvent:
    # A column that an older version did not know is null: the field's default stands for it.
    known = {name: value for name, value in row.items() if value is not None}
    return msgspec.convert(known | {"silenced_until": row["silenced_until"]}, AlertEvent)


def sort_events(events: Iterable[AlertEvent]) -> list[AlertEvent]:
    """Events in the order of their life: by tenant and time, those of one alert by their sequence.

    A clock may go back within an alert: what people do has the time of the wall, what a run over a
    file finds has the time of the file.
    """
    ordered: list[tuple[str, int, str, int, AlertEvent]] = []
    alert_id, latest = "", 0
    for event in sorted(events, key=lambda one: (one.alert_id, one.sequence)):
        latest = max(latest, event.occurred_at) if event.alert_id == alert_id else event.occurred_at
        alert_id = event.alert_id
        ordered.append((event.tenant_id, latest, alert_id, event.sequence, event))
    return [item[-1] for item in sorted(ordered, key=lambda item: item[:-1])]


def write_events(events: Iterable[AlertEvent], file: BinaryIO) -> int:
    """Write one event of JSON a line; returns how many there were."""
    lines = [msgspec.json.encode(event) + b"\n" for event in events]
    file.writelines(lines)
    return len(lines)
