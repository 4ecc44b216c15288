"""The state machine of a tenant's alerts: values and time in, events out. docs/alerts.md draws it.

Same inputs at the same clock give the same events. The clock is an argument: the wall clock of a
stream, event time where a file is replayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from transforms.alert.arrivals import take_symptom
from transforms.alert.book import AlertBook
from transforms.alert.catalog import EMPTY_CATALOG, ServiceCatalog
from transforms.alert.commands import end_silence, take_command
from transforms.alert.incidents import link_incident, settle, take_incident
from transforms.alert.lives import forget_resolved, open_group, resolve_alert
from transforms.alert.rebuild import take_past
from transforms.alert.settings import AlertSettings
from transforms.alert.symptoms import Symptom, symptom_of
from transforms.alert.turn import Turn
from transforms.alert_elements import AlertCommand, AlertEvent
from transforms.elements import MICROSECONDS, Anomaly
from transforms.incident_elements import Incident

Value = Anomaly | Symptom | Incident | AlertCommand | AlertEvent
"""What a book takes. An AlertEvent is one of the past: it is remembered, and nothing is logged."""

NEVER: Final = 1 << 62
_FORGET_EVERY_US: Final = 600 * MICROSECONDS
_Due = tuple[int, int, str]
"""(clock, kind, id): in this order things happen."""

_SILENCE_END, _QUIET, _GROUP_WAIT, _UPDATE = range(4)


def apply(
    book: AlertBook,
    value: Value,
    now_us: int,
    settings: AlertSettings,
    catalog: ServiceCatalog = EMPTY_CATALOG,
) -> list[AlertEvent]:
    """Let `book` take `value` at `now_us`; what was due before that happens first."""
    events = advance(book, now_us, settings, catalog)
    turn = Turn(book, now_us, settings, catalog)
    if isinstance(value, Symptom):
        take_symptom(turn, value)
    elif isinstance(value, Anomaly):
        take_symptom(turn, symptom_of(value, settings))
    elif isinstance(value, Incident):
        take_incident(turn, value)
    elif isinstance(value, AlertCommand):
        take_command(turn, value)
    else:
        take_past(book, value, now_us, settings)
    settle(turn)
    return events + turn.events


def advance(
    book: AlertBook, now_us: int, settings: AlertSettings, catalog: ServiceCatalog = EMPTY_CATALOG
) -> list[AlertEvent]:
    """Let happen what is due up to `now_us`, each at its time: group waits, updates, quiet, silence ends."""
    events: list[AlertEvent] = []
    if now_us - book.pruned_at >= _FORGET_EVERY_US and book.alerts:
        forget_resolved(Turn(book, now_us, settings, catalog))
    while book.due_hint <= now_us:
        due = sorted(_all_due(book, settings))
        book.due_hint = due[0][0] if due else NEVER
        if book.due_hint > now_us:
            break
        turn = Turn(book, book.due_hint, settings, catalog, events)
        for _, kind, name in (item for item in due if item[0] == turn.now):
            _handle_due(turn, kind, name)
        settle(turn)
        book.due_hint = 0
    return events


def flush(
    book: AlertBook,
    settings: AlertSettings,
    catalog: ServiceCatalog = EMPTY_CATALOG,
    now_us: int | None = None,
) -> list[AlertEvent]:
    """The input has ended: what waits is told, at its time or at `now_us`. The end is never quiet."""
    events: list[AlertEvent] = []
    due = sorted(item for item in _all_due(book, settings) if item[1] in {_GROUP_WAIT, _UPDATE})
    for when, kind, name in due:
        turn = Turn(book, when if now_us is None else now_us, settings, catalog, events)
        _handle_due(turn, kind, name)
        settle(turn)
    book.due_hint = 0
    return events


def next_due_us(book: AlertBook, settings: AlertSettings) -> int | None:
    """When something happens by itself, or None."""
    return min((when for when, _, _ in _all_due(book, settings)), default=None)


def replay(
    book: AlertBook,
    timed: Iterable[tuple[int, Value]],
    settings: AlertSettings,
    catalog: ServiceCatalog = EMPTY_CATALOG,
) -> Iterator[AlertEvent]:
    """`apply` for each (clock, value); the clock of the book never goes back."""
    for when, value in timed:
        yield from apply(book, value, when, settings, catalog)


def _all_due(book: AlertBook, settings: AlertSettings) -> Iterator[_Due]:
    usual = settings.quiet_us(0)
    for silence in book.silences.values():
        yield silence.until, _SILENCE_END, silence.silence_id
    for group in book.pending.values():
        yield group.first_at + settings.group_wait_us, _GROUP_WAIT, group.group_key
    for alert in book.alerts.values():
        if alert.is_active:
            quiet = settings.quiet_us(alert.doublings) if alert.doublings else usual
            yield alert.active_at + quiet, _QUIET, alert.alert_id
            if alert.update_at:
                yield alert.update_at, _UPDATE, alert.alert_id


def _handle_due(turn: Turn, kind: int, name: str) -> None:
    book = turn.book
    if kind == _SILENCE_END:
        end_silence(turn, book.silences[name])
    elif kind == _GROUP_WAIT:
        open_group(turn, book.pending[name])
    elif kind == _QUIET:
        minutes = turn.settings.quiet_us(book.alerts[name].doublings) // (60 * MICROSECONDS)
        resolve_alert(turn, book.alerts[name], note=f"Quiet for {minutes} minutes")
    else:
        _update(turn, name)


def _update(turn: Turn, alert_id: str) -> None:
    alert = turn.book.alerts[alert_id]
    if not alert.is_active:
        return  # resolved at this moment: that event told it
    alert.update_at, alert.grouped_at = 0, turn.now
    linked = link_incident(turn.book, alert)
    if linked or alert.new_fingerprints or alert.is_storm:
        turn.book.is_unsettled = turn.book.is_unsettled or linked
        turn.emit(alert, "updated", note="The incident has changed" if linked else "More of it")
