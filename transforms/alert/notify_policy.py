"""Who is told of which alert, when, and how often: a policy as plain data.

`aiops notify` reads it from a file (`aiops/notify/policy_reading.py`); units stand in the names.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import msgspec

from transforms.alert_elements import AlertEvent
from transforms.elements import CANARY_SERVICE, HOUR_US, AnomalySeverity
from transforms.globs import glob_matches

DAY_MINUTES: Final = 24 * 60


class Hours(msgspec.Struct, frozen=True):
    """Hours of the week on the clocks of a time zone, e.g. office hours.

    `days` are 0 (Monday) to 6, `end_minute` at or before `start_minute` is on the next day, and
    `holidays` are dates on which no span begins.
    """

    name: str
    zone: str
    days: tuple[int, ...] = tuple(range(7))
    start_minute: int = 0
    end_minute: int = DAY_MINUTES
    holidays: tuple[date, ...] = ()


class HoursCondition(msgspec.Struct, frozen=True):
    """Holds within the hours of that name or, `inside` being false, out of them."""

    name: str
    inside: bool = True


class Match(msgspec.Struct, frozen=True):
    """Which alerts a route takes: all that is given must hold. Globs; an empty tuple takes all."""

    tenant: tuple[str, ...] = ()
    service: tuple[str, ...] = ()
    owner: tuple[str, ...] = ()
    type: tuple[str, ...] = ()  # one of the alert's types must be one of these
    severity: tuple[AnomalySeverity, ...] = ()
    hours: HoursCondition | None = None

    @property
    def takes_all(self) -> bool:
        return self == Match()


class Step(msgspec.Struct, frozen=True):
    """Channels that are told `after_us` after the first ones were, unless somebody acknowledges.

    `catalog|x` is the channel that the service catalog names, and x where that is none of the policy's.
    """

    after_us: int
    channels: tuple[str, ...]
    hours: HoursCondition | None = None  # waits for them


class Route(msgspec.Struct, frozen=True):
    """What is done with the alerts that it matches. `steps[0]` is told first (`after_us` is 0)."""

    name: str
    steps: tuple[Step, ...]
    match: Match = Match()
    wait_us: int = 0  # after an alert opens, before anybody is told: what explains it may come meanwhile
    repeat_us: int = 4 * HOUR_US  # as Alertmanager's repeat_interval; 0 for never
    tells_updates: bool = True
    tells_resolved: bool = True
    goes_on: bool = False  # as Alertmanager's `continue`: routes after it are tried as well
    quiet_hours: tuple[HoursCondition, ...] = ()  # as mute_time_intervals: told when they end


class ChannelTraits(msgspec.Struct, frozen=True):
    """What the pure core has to know of a channel.

    One that keeps state (PagerDuty, Alertmanager, a webhook) must hear the end of what it was told,
    whoever keeps quiet; one with `refresh_us` forgets alerts that are not told again in that time.
    """

    keeps_state: bool = False
    takes_acknowledged: bool = False
    refresh_us: int = 0


class Policy(msgspec.Struct, frozen=True):
    """Routes in the order in which they are tried, with the channels and hours that they name."""

    routes: tuple[Route, ...]
    channels: dict[str, ChannelTraits]
    hours: dict[str, Hours] = {}


def matches(match: Match, event: AlertEvent) -> bool:
    """Whether `match`, its hours apart, takes the alert as it stands at `event`.

    Alerts of canaries are taken only where their service is named letter by letter.
    """
    if event.service == CANARY_SERVICE and CANARY_SERVICE not in match.service:
        return False
    return (
        _one_of(match.tenant, event.tenant_id)
        and _one_of(match.service, event.service)
        and _one_of(match.owner, event.owner)
        and (not match.type or any(kind in match.type for kind in event.anomaly_types))
        and (not match.severity or event.severity in match.severity)
    )


def channels_of(step: Step, event: AlertEvent, policy: Policy) -> list[str]:
    """The channels of `step` for this alert, each once."""
    found: dict[str, None] = {}
    for name in step.channels:
        catalog, bar, other = name.partition("|")
        chosen = (event.channel if event.channel in policy.channels else other) if bar else catalog
        found[chosen] = None
    return list(found)


def _one_of(globs: tuple[str, ...], name: str) -> bool:
    return not globs or any(glob_matches(glob, name) for glob in globs)
