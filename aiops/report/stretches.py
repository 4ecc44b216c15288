"""When something was ill, as colored stretches of a chart. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from aiops.report.charts import TimeAxis
from aiops.report.episodes import Episode
from transforms.elements import SEVERITY_RANKS

SEVERITY_NAMES: Final = {rank: name for name, rank in SEVERITY_RANKS.items()}


@dataclass(frozen=True)
class Spell:
    """From when to when something was ill, and how badly (0 for low to 3 for critical)."""

    start: datetime
    end: datetime
    rank: int
    under_floor: bool = False


@dataclass(frozen=True)
class Wash:
    """A stretch of the background with the color of the worst anomaly in it, in percent."""

    severity: str
    left: float
    width: float


def ranks_by_bucket(axis: TimeAxis, spells: Iterable[Episode | Spell]) -> list[int]:
    """For each bucket the rank of the worst spell in it, -1 for none; unsure episodes do not count."""
    ranks = [-1] * axis.buckets
    for spell in spells:
        if spell.under_floor:
            continue
        first = max(0, axis.bucket_of(spell.start))
        last = min(axis.buckets - 1, axis.bucket_of(spell.end - timedelta(microseconds=1)))
        for place in range(first, last + 1):
            ranks[place] = max(ranks[place], spell.rank)
    return ranks


def wash_stretches(ranks: Sequence[int]) -> list[Wash]:
    """Stretches of equal rank, without those of none."""
    found, place = [], 0
    for rank, run in groupby(ranks):
        length = len(list(run))
        if rank >= 0:
            share = 100 / len(ranks)
            found.append(Wash(SEVERITY_NAMES[rank], round(place * share, 2), round(length * share, 2)))
        place += length
    return found
