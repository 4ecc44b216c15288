"""What rows say about the job: counted where each row is made, whichever store takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from transforms.alert_elements import AlertEvent
from transforms.elements import Anomaly, WindowSummary
from transforms.gemini_elements import GeminiCall
from transforms.incident_elements import Incident
from transforms.metering import count, observe_age

_PAGING: Final = frozenset({"opened", "reopened", "updated"})


def meter_row(table: str, row: msgspec.Struct) -> None:
    """Count `row` under what its table stands for, and how long after its window it comes."""
    if (meter := _METERS.get(table)) is not None:
        meter(row)


def meter_window(summary: WindowSummary) -> None:
    """Count a window of a service, or its revision."""
    if summary.pane_index > 0:
        count("window_revisions")
        return
    count("windows")
    if copies := sum(duplicate for _, duplicate in summary.ledger.values()):
        count("duplicate_lines", copies)  # a revision holds those on time once more


def _meter_anomaly(anomaly: Anomaly) -> None:
    count("anomalies")
    if anomaly.status == "open":
        observe_age("anomaly_delay_ms", anomaly.window_end)


def _meter_incident(incident: Incident) -> None:
    if incident.narrated_by == "gemini":
        return  # the same once more, in words
    if incident.status == "open":
        count("incidents")
    if incident.status in {"open", "updated"}:
        observe_age("incident_delay_ms", incident.updated_at)


def _meter_alert_event(event: AlertEvent) -> None:
    count("alert_events")
    if event.event_type in _PAGING:
        observe_age("alert_event_delay_ms", event.last_seen_at)


def _meter_gemini_call(call: GeminiCall) -> None:
    if call.subject != "window":
        count("gemini_calls")
        count("gemini_calls_failed" if call.outcome == "failed" else "gemini_calls_answered")
        count("gemini_tokens", call.tokens_in + call.tokens_out)
    elif call.outcome in {"cached", "skipped"}:
        count(f"gemini_windows_{call.outcome}")


_METERS: Final[dict[str, Callable[[Any], None]]] = {
    "anomalies": _meter_anomaly,
    "incidents": _meter_incident,
    "alert_events": _meter_alert_event,
    "hypotheses": lambda _: count("hypotheses"),
    "gemini_calls": _meter_gemini_call,
    "metric_windows": lambda _: count("metric_windows"),
}
