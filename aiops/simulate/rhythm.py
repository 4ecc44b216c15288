"""How much traffic a tenant has at a time: day and night, weekend, and chance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

DAY: Final = 86_400
NIGHT_BEGINS: Final = 23.0
NIGHT_ENDS: Final = 5.0


@dataclass(frozen=True)
class Tenant:
    """A customer's project. Fixed offsets rather than zone names: no tz database is needed."""

    tenant_id: str
    domain: str
    utc_offset_hours: float
    weekend_factor: float


_KNOWN: Final = (
    Tenant("acme-shop", "acme.example", -5.0, 0.6),
    Tenant("globex-retail", "globex.example", 1.0, 1.25),
    Tenant("initech-store", "initech.example", 5.5, 0.8),
)


def make_tenants(count: int, first: int = 1) -> list[Tenant]:
    """`count` tenants from number `first`: three with names, then store-04, store-05, ..."""
    more = (
        Tenant(f"store-{n:02d}", f"store-{n:02d}.example", float((n * 5) % 24 - 11), 0.7 + 0.1 * (n % 6))
        for n in range(len(_KNOWN) + 1, first + count)
    )
    return [*_KNOWN, *more][first - 1 : first - 1 + count]


def local_hour(tenant: Tenant, second: int) -> float:
    """Hour of the tenant's day, 0 to 24."""
    return ((second + tenant.utc_offset_hours * 3600) % DAY) / 3600


def is_weekend(tenant: Tenant, second: int) -> bool:
    """Whether it is Saturday or Sunday where the tenant is."""
    day = int((second + tenant.utc_offset_hours * 3600) // DAY)
    return (day + 3) % 7 >= 5  # 1970-01-01 was a Thursday


def traffic_factor(tenant: Tenant, second: int, *, quiet_nights: bool = False) -> float:
    """Traffic relative to the mean of a working day: lowest at 4, highest in the afternoon and evening.

    With `quiet_nights` there is none from NIGHT_BEGINS to NIGHT_ENDS; it fades out over the hour before
    and comes back over the hour after. The other hours stay as they are, so the day's mean is lower.
    """
    hour = local_hour(tenant, second)
    awake = min(1.0, NIGHT_BEGINS - hour, hour - NIGHT_ENDS) if quiet_nights else 1.0
    if awake <= 0:
        return 0.0
    angle = 2 * math.pi * (hour - 4) / 24
    factor = 1 - 0.72 * math.cos(angle) - 0.18 * math.cos(2 * angle)
    weekend = tenant.weekend_factor if is_weekend(tenant, second) else 1.0
    return max(0.05, factor) * weekend * awake


def poisson(mean: float, random: Callable[[], float]) -> int:
    """A Poisson number (Knuth; the normal approximation above 30)."""
    if mean <= 0:
        return 0
    if mean > 30:
        normal = math.sqrt(-2 * math.log(1 - random())) * math.cos(2 * math.pi * random())
        return max(0, round(mean + math.sqrt(mean) * normal))
    limit, product, count = math.exp(-mean), random(), 0
    while product > limit:
        product *= random()
        count += 1
    return count
