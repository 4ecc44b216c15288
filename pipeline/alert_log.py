"""The log of alert events as it is stored: rows of the tables, and lines of JSON. No Beam here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, Final

import msgspec

from pipeline.table_reader import TableReader, struct_of_row, struct_select
from transforms.alert_elements import AlertEvent
from transforms.elements import DAY_US

PAST_DAYS: Final = 30
"""Alerts that are over, and whose last event is older than the newest by more, are not looked at again."""

_EVER_US: Final = 1 << 62

# Whole lives: an alert that is not over has all its events, however old they are.
EVENTS: Final = f"""
SELECT {struct_select(AlertEvent, "events")}
FROM ${{dataset}}.current_alert_events AS events
WHERE (@tenant = '' OR events.tenant_id = @tenant) AND events.alert_id IN (
  SELECT lives.alert_id
  FROM (
    SELECT alert_id, status, UNIX_MICROS(occurred_at) AS occurred_us,
           ROW_NUMBER() OVER (PARTITION BY alert_id ORDER BY sequence DESC) AS newest_first
    FROM ${{dataset}}.current_alert_events
  ) AS lives
  GROUP BY lives.alert_id
  HAVING MAX(CASE WHEN lives.newest_first = 1 THEN lives.status END) IN ('open', 'acknowledged')
    OR MAX(lives.occurred_us)
       >= (SELECT MAX(UNIX_MICROS(occurred_at)) - @past_us FROM ${{dataset}}.current_alert_events)
)
"""  # noqa: S608 - constants of this module; values are parameters


def stored_events(
    reader: TableReader, tenant_id: str | None = None, *, past_days: int | None = None
) -> list[AlertEvent]:
    """All events in the order of their life: by tenant, time, alert and sequence; each once.

    With `past_days` only those of alerts that are not over, or had an event in so many days before the
    newest one. Raises StoreError or BigQueryError.
    """
    past_us = _EVER_US if past_days is None else past_days * DAY_US
    rows = reader.read(EVENTS, {"tenant": tenant_id or "", "past_us": past_us})
    return sort_events(struct_of_row(row, AlertEvent) for row in rows)


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
