"""Who calls whom, of each tenant, with the services that are in an incident marked. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiops.report.incidents import IncidentsData
from aiops.report.pictures import Illness, Picture, draw_topology, fits_picture, services_of
from pipeline.duckdb_store import Row
from transforms.elements import SEVERITY_RANKS

MOST_TOPOLOGIES: Final = 12
MOST_LISTED: Final = 60


@dataclass(frozen=True)
class TopologyView:
    """The calls of one tenant: a picture where it can be read, and the busiest of them as a list."""

    tenant: str
    picture: Picture | None
    services: int
    edges: list[Row]
    left_out: int


def view_topologies(data: IncidentsData) -> list[TopologyView]:
    """A view for each tenant of which calls are known, those with incidents first."""
    ill: dict[str, dict[str, Illness]] = {}
    for number, row in enumerate(data.rows, 1):
        for service in row["affected_services"]:
            found = Illness(row["severity"], number, row["status"] == "closed")
            known = ill.setdefault(row["tenant_id"], {}).setdefault(service, found)
            if _weight(found) > _weight(known):
                ill[row["tenant_id"]][service] = found
    by_tenant: dict[str, list[Row]] = {}
    for edge in data.edges:
        by_tenant.setdefault(edge["tenant_id"], []).append(edge)
    views = []
    for tenant in sorted(by_tenant, key=lambda tenant: (tenant not in ill, tenant))[:MOST_TOPOLOGIES]:
        edges = by_tenant[tenant]
        busiest = sorted(edges, key=lambda edge: (-edge["requests"], edge["caller"], edge["callee"]))
        picture = draw_topology(edges, ill.get(tenant, {})) if fits_picture(edges) else None
        listed = busiest[:MOST_LISTED]
        views.append(TopologyView(tenant, picture, len(services_of(edges)), listed, len(edges) - len(listed)))
    return views


def _weight(illness: Illness) -> tuple[bool, int, int]:
    return not illness.is_over, SEVERITY_RANKS[illness.severity], -illness.number
