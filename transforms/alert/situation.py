"""What notifying has to know of an alert: its newest event, and since when what holds."""

from __future__ import annotations

import msgspec

from transforms.alert_elements import AlertEvent

_OPENING = frozenset({"opened", "reopened"})


class Situation(msgspec.Struct, frozen=True):
    """An alert as of its newest event. The same for any order and number of copies of its events."""

    event: AlertEvent
    life: int = 0  # sequence of the newest `opened` or `reopened`
    grown_at: int = 0  # sequence of the newest event that brought a new fingerprint
    began_us: int = 0  # when this life began; 0 where that was not heard of

    @property
    def is_firing(self) -> bool:
        return self.event.status in ("open", "acknowledged")

    def is_silenced(self, now_us: int) -> bool:
        """Whether a silence holds at `now_us`; one whose end has passed does not, said or not."""
        return bool(self.event.silence_id) and now_us < (self.event.silenced_until or 0)


def fold_event(known: Situation | None, event: AlertEvent) -> Situation:
    """The situation after one more event, be it new, late or a copy."""
    life = event.sequence if event.event_type in _OPENING else 0
    grown_at = event.sequence if event.fingerprints else 0
    began_us = event.occurred_at if event.event_type in _OPENING else 0
    if known is None:
        return Situation(event, life, grown_at, began_us)
    if (life, began_us) < (known.life, known.began_us):
        began_us = known.began_us
    newest = event if event.sequence > known.event.sequence else known.event
    return Situation(newest, max(known.life, life), max(known.grown_at, grown_at), began_us)


def changes_situations(event: AlertEvent) -> bool:
    """Whether an event says anything of an alert.

    A silence by matchers has a life of its own in the same log, and what was rejected changed nothing.
    """
    return not event.matchers and event.event_type != "rejected"
