"""What correlation can be told."""

from __future__ import annotations

from dataclasses import dataclass

from transforms.elements import MINUTE_US


@dataclass(frozen=True)
class ConfiguredDependency:
    """That `caller` calls `callee`, as an operator says; `tenant_id` is empty for all tenants."""

    tenant_id: str
    caller: str
    callee: str


@dataclass(frozen=True)
class CorrelateSettings:
    """`within_minutes`: anomalies this far apart, and not further, may be of one incident.

    An incident is quiet when a third of that has passed without an anomaly, and closed after all of it.
    """

    within_minutes: int = 15
    dependency_hours: int = 24
    dependencies: tuple[ConfiguredDependency, ...] = ()

    @property
    def within_us(self) -> int:
        return self.within_minutes * MINUTE_US

    @property
    def quiet_us(self) -> int:
        return self.within_us // 3
