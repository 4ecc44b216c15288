"""What is remembered of a tenant between requests: budget, evidence that was answered, verdicts. Pure."""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

import msgspec

from transforms.analyze.budget import Budget
from transforms.analyze.verdicts import Verdict

MOST_ITEMS: Final = 10_000
MOST_VERDICTS_A_SERVICE: Final = 10
MOST_SERVICES: Final = 1_000
MOST_INCIDENTS: Final = 100


class KnownItem(msgspec.Struct, frozen=True, array_like=True):
    """Something unusual that was answered."""

    request_id: str
    at_us: int


class KnownVerdicts(msgspec.Struct, array_like=True):
    """Findings that held of one service, the newest last."""

    at_us: int
    verdicts: list[Verdict]


class KnownNarrative(msgspec.Struct, frozen=True, array_like=True):
    """What was told of an incident."""

    fingerprint: str
    at_us: int
    what: str
    likely_cause: str
    cause: str
    next_checks: list[str]


class TenantMemory(msgspec.Struct):
    """State of one tenant."""

    budget: Budget = msgspec.field(default_factory=Budget)
    items: dict[str, KnownItem] = {}
    verdicts: dict[str, KnownVerdicts] = {}  # by service
    narratives: dict[str, KnownNarrative] = {}  # by incident
    prompt_version: str = ""


def forget(memory: TenantMemory, now_us: int, repeat_us: int, prompt_version: str) -> None:
    """Drop what is too old to be said again, what another prompt brought, and the oldest beyond bounds."""
    if memory.prompt_version != prompt_version:
        memory.items, memory.verdicts, memory.narratives = {}, {}, {}
        memory.prompt_version = prompt_version
    since_us = now_us - repeat_us
    memory.items = _newest({k: v for k, v in memory.items.items() if v.at_us > since_us}, MOST_ITEMS)
    # Verdicts stay twice as long: without a budget an old one is better than none.
    kept = {k: v for k, v in memory.verdicts.items() if v.at_us > since_us - repeat_us}
    memory.verdicts = _newest(kept, MOST_SERVICES)
    told = {k: v for k, v in memory.narratives.items() if v.at_us > since_us}
    memory.narratives = _newest(told, MOST_INCIDENTS)


class _Aged(Protocol):
    @property
    def at_us(self) -> int: ...


V = TypeVar("V", bound=_Aged)


def _newest(found: dict[str, V], most: int) -> dict[str, V]:
    if len(found) <= most:
        return found
    ranked = sorted(found.items(), key=lambda item: (-item[1].at_us, item[0]))
    return dict(ranked[:most])


def remember_verdicts(memory: TenantMemory, service: str, verdicts: list[Verdict], now_us: int) -> None:
    """Add verdicts of a service; the newest stay."""
    known = memory.verdicts.setdefault(service, KnownVerdicts(now_us, []))
    known.at_us = now_us
    same = {(v.anomaly_type, v.pattern_ids) for v in verdicts}
    kept = [v for v in known.verdicts if (v.anomaly_type, v.pattern_ids) not in same]
    known.verdicts = [*kept, *verdicts][-MOST_VERDICTS_A_SERVICE:]
