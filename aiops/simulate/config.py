"""What is simulated: the settings of one run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

DEFAULT_START: Final = "2026-01-12T14:00:00Z"
"""A Monday: 09:00, 15:00 and 19:30 in the time zones of the first three tenants."""

LONGEST_RUN_SECONDS: Final = 366 * 86_400


@dataclass(frozen=True)
class SimulationConfig:
    """One run. The same config gives the same bytes, on every machine.

    Raises ValueError, with the cause and the mend, for values that make no sense.
    """

    seed: int = 1
    start: str = DEFAULT_START  # RFC 3339
    duration_seconds: int = 1800
    tenants: int = 3
    first_tenant: int = 1  # leaves out those before: 2 begins with globex-retail
    services: int = 12  # of each tenant, see shop.build_shop
    rate: float = 300.0  # user requests a minute and tenant, averaged over a working day
    faults: str = "default"  # grammar: plans.plan_faults
    copies: float = 0.0  # share of entries that are delivered twice
    malformed: float = 0.0  # share of lines that are damaged
    late: float = 0.0  # share of entries received 11 to 30 minutes after their event time
    out_of_order: bool = False  # lines in the order they are received, not in that of event time
    quiet_nights: bool = False  # no user requests from 23 to 5 of the tenant's day
    noise: bool = True  # noise: errors, warnings, slow requests, routine deploys

    def __post_init__(self) -> None:
        if not 1 <= self.duration_seconds <= LONGEST_RUN_SECONDS:
            raise ValueError(f"duration is {self.duration_seconds} s; give 1 second to 366 days")
        if not 1 <= self.tenants <= 1000:
            raise ValueError(f"tenants is {self.tenants}; give 1 to 1000")
        if not 1 <= self.first_tenant <= 1000:
            raise ValueError(f"first_tenant is {self.first_tenant}; give 1 to 1000")
        if not 1 <= self.services <= 600:
            raise ValueError(f"services is {self.services}; give 1 to 600")
        if not 0 < self.rate <= 1e6:
            raise ValueError(f"rate is {self.rate}; give more than 0 and at most 1000000 requests a minute")
        for name in ("copies", "malformed", "late"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is {share}; it is a share: give 0 to 1")
        _ = self.start_second

    @property
    def start_second(self) -> int:
        """Start in whole seconds since 1970-01-01 UTC."""
        try:
            moment = datetime.fromisoformat(self.start)
        except ValueError:
            raise ValueError(f"start is not a time: give RFC 3339, like {DEFAULT_START}") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp())

    @property
    def end_second(self) -> int:
        return self.start_second + self.duration_seconds
