"""The service catalog: who owns a service, how much it matters, where to read on. Plain data.

An operator's YAML file is read into it by `pipeline/catalog_source.py`. All of it is optional: the
empty catalog knows no service and weighs nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

import msgspec

from transforms.elements import ANOMALY_SEVERITIES, AnomalySeverity, AnomalyType
from transforms.globs import glob_matches

Tier = Literal["", "tier-1", "tier-2", "tier-3", "tier-4"]
TIERS: Final[tuple[Tier, ...]] = ("tier-1", "tier-2", "tier-3", "tier-4")
"""How much a service matters: tier-1 is felt by customers at once, tier-4 by nobody for days."""

NEVER_LOWERED: Final[AnomalyType] = "security_incident"
"""Who breaks in does so where nobody looks: its severity does not fall with the tier."""


class ServiceObjective(msgspec.Struct, frozen=True):
    """What a service promises. Told to people; it changes no severity."""

    availability_percent: float | None = None  # share of requests that do well
    latency_ms: int | None = None  # a request that takes longer does not do well
    window_days: int = 30


class CatalogEntry(msgspec.Struct, frozen=True):
    """What the catalog says of the services that the two globs stand for. Empty: not said."""

    service: str = "*"
    tenant: str = "*"
    owner: str = ""
    tier: Tier = ""
    channel: str = ""  # where the owner wants to hear of it; the notify policy says what that means
    runbook: str = ""  # an http or https address
    slo: ServiceObjective | None = None
    calls: tuple[str, ...] = ()  # services of the same tenant that it depends on, by name


UNKNOWN_SERVICE: Final = CatalogEntry()
"""What holds for a service that the catalog does not know."""


class ServiceCatalog(msgspec.Struct, frozen=True):
    """All entries; the first that matches counts. `version` is a hash of them."""

    entries: tuple[CatalogEntry, ...] = ()
    version: str = ""

    def __hash__(self) -> int:  # looked up for every anomaly: the whole need not be hashed again
        return hash(self.version)

    def entry(self, tenant_id: str, service: str) -> CatalogEntry:
        """What the first entry that matches says; UNKNOWN_SERVICE where none does."""
        return _find_entry(self, tenant_id, service) if self.entries else UNKNOWN_SERVICE


EMPTY_CATALOG: Final = ServiceCatalog()


@lru_cache(maxsize=1 << 14)
def _find_entry(catalog: ServiceCatalog, tenant_id: str, service: str) -> CatalogEntry:
    for entry in catalog.entries:
        if glob_matches(entry.service, service) and glob_matches(entry.tenant, tenant_id):
            return entry
    return UNKNOWN_SERVICE


def weigh(severity: AnomalySeverity, entry: CatalogEntry, anomaly_type: str = "") -> AnomalySeverity:
    """The severity that an alert has for an anomaly of `severity`, by the tier of its service.

    | tier   | low | medium | high   | critical |
    | tier-1 | low | high   | critical | critical |
    | tier-2 or none | low | medium | high | critical |
    | tier-3 | low | low    | medium | high     |
    | tier-4 | low | low    | low    | medium   |

    A low one stays low everywhere: a place that matters does not make noise a fault. An anomaly whose
    type is NEVER_LOWERED is never lowered.
    """
    if entry.tier in {"", "tier-2"} or (severity == "low"):
        return severity
    steps = {"tier-1": 1, "tier-3": -1, "tier-4": -2}[entry.tier]
    if steps < 0 and anomaly_type == NEVER_LOWERED:
        return severity
    place = ANOMALY_SEVERITIES.index(severity) + steps
    return ANOMALY_SEVERITIES[max(0, min(place, len(ANOMALY_SEVERITIES) - 1))]
