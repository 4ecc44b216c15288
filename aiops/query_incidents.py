"""What is asked of a store about incidents and the topology."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from aiops.query import Filters, Found, common_conditions, find_rows, severities_from
from pipeline.duckdb_store import DuckDBStore, Row
from transforms.correlate.settings import CorrelateSettings

_LIKELY: Final = 0.05
_LIKE_PREFIX: Final = 5
"""So many incidents are named where a prefix fits several."""


def find_incidents(
    store: DuckDBStore,
    filters: Filters,
    *,
    status: str | None = None,
    active: bool = False,
    columns: Sequence[str] = ("*",),
) -> Found:
    """Incidents as they last stood: those that are not closed first, of each the newest first.

    A service finds the incidents that it is affected by and those that it is the likeliest cause of;
    `since` those that changed after it. `columns` are names, never input.
    """
    return find_rows(
        store,
        "current_incidents",
        "status = 'closed', opened_at DESC, list_position(['critical', 'high', 'medium', 'low'], severity), "
        "tenant_id, incident_id",
        [
            *common_conditions(store, filters, "updated_at"),
            (
                "(list_contains(affected_services, $service) OR root_causes[1].service = $service)",
                "service",
                filters.service,
            ),
            ("list_contains($severities, severity)", "severities", severities_from(filters.severity)),
            ("status = $status", "status", status),
            ("status != $closed", "closed", "closed" if active else None),
        ],
        filters.limit,
        columns=columns,
    )


def find_incident(store: DuckDBStore, prefix: str, tenant: str | None = None) -> list[Row]:
    """Incidents whose id begins with `prefix`, but no more than a few where it is not unique."""
    return find_rows(
        store,
        "current_incidents",
        "incident_id != $prefix, opened_at DESC, incident_id",
        [
            ("starts_with(incident_id, $prefix)", "prefix", prefix.strip().lower()),
            ("tenant_id = $tenant", "tenant", tenant),
        ],
        _LIKE_PREFIX,
    ).rows


def likely_causes(incident: Row) -> int:
    """How many of its candidates for the cause are worth reading about: the first, and two that come near."""
    return sum(
        place == 0 or cause["score"] >= _LIKELY for place, cause in enumerate(incident["root_causes"][:3])
    )


def find_actions(store: DuckDBStore, incidents: Sequence[Row], most: int = 8) -> dict[str, list[str]]:
    """By incident_id, what the anomalies of its likeliest cause recommend, each once, the severest first.

    Where the cause shows none itself, what those of all its services do.
    """
    wanted = {incident["incident_id"]: _members_to_ask(incident) for incident in incidents}
    rows = store.query(
        "SELECT anomaly_id, recommended_actions AS actions FROM current_anomalies "
        "WHERE list_contains($ids, anomaly_id) "
        "ORDER BY list_position(['critical', 'high', 'medium', 'low'], anomaly_severity), "
        "confidence_score DESC, window_start, anomaly_id",
        {"ids": sorted(set().union(*wanted.values()))},
    )
    found = {}
    for key, ids in wanted.items():
        mine = [row["actions"] or () for row in rows if row["anomaly_id"] in ids]
        found[key] = list(dict.fromkeys(action for actions in mine for action in actions))[:most]
    return found


def find_owners(store: DuckDBStore, incidents: Sequence[Row]) -> dict[str, Row]:
    """By incident_id, what the catalog says of the cause's service: owner, tier, channel and runbook.

    It stands in the events of the service's alerts; incidents without any are left out.
    """
    rows = store.query(
        "SELECT tenant_id, service, owner, tier, channel, runbook FROM current_alert_events "
        "WHERE owner <> '' OR tier <> '' OR channel <> '' OR runbook <> '' "
        "QUALIFY row_number() OVER (PARTITION BY tenant_id, service ORDER BY occurred_at DESC, event_id) = 1"
    )
    known = {(row["tenant_id"], row["service"]): row for row in rows}
    causes = {
        incident["incident_id"]: (incident["tenant_id"], incident["root_causes"][0]["service"])
        for incident in incidents
        if incident["root_causes"]
    }
    return {key: known[cause] for key, cause in causes.items() if cause in known}


def _members_to_ask(incident: Row) -> set[str]:
    cause = incident["root_causes"][0]["service"] if incident["root_causes"] else ""
    mine = {member["anomaly_id"] for member in incident["anomalies"] if member["service"] == cause}
    return mine or {member["anomaly_id"] for member in incident["anomalies"]}


def find_dependencies(store: DuckDBStore, filters: Filters, *, unused: bool = False) -> list[Row]:
    """Who calls whom, by name; of an edge that several sources show, what the newest says.

    `error_share` is of the calls of the last hour, null where no source tells: traces do not. `is_used` is
    false where nobody made the call for a day, as counted in the tenant's own data: such edges, which the
    job forgets, are left out unless `unused`. What is configured is always used.
    """
    return find_rows(
        store,
        """(SELECT * EXCLUDE (written_at),
                   CASE WHEN requests > 0 AND source = 'mesh' THEN errors / requests END AS error_share,
                   source = 'configuration'
                     OR last_seen >= max(as_of) OVER (PARTITION BY tenant_id) - to_hours($hours) AS is_used
            FROM current_dependencies
            QUALIFY row_number() OVER (PARTITION BY tenant_id, caller, callee
              ORDER BY as_of DESC, list_position(['mesh', 'trace', 'configuration'], source)) = 1)""",
        "tenant_id, caller, callee",
        [
            *common_conditions(store, filters, "last_seen"),
            ("is_used = $is_used", "is_used", None if unused else True),
        ],
        None,
        parameters={"hours": CorrelateSettings().dependency_hours},
    ).rows


def reach_of(edges: Iterable[Row], service: str) -> list[Row]:
    """The edges on paths from and to `service`, nearest first, by tenant.

    Each has `direction`: upstream (who calls it, directly or not) or downstream (whom it calls), and
    `steps`, 1 for direct calls. An edge of a circle through the service may be in both.
    """
    by_tenant: dict[str, list[Row]] = {}
    for edge in edges:
        by_tenant.setdefault(edge["tenant_id"], []).append(edge)
    found = []
    for tenant in sorted(by_tenant):
        for direction, here, there in (("upstream", "callee", "caller"), ("downstream", "caller", "callee")):
            found += _walk(by_tenant[tenant], service, direction, here, there)
    return found


def _walk(edges: list[Row], service: str, direction: str, here: str, there: str) -> list[Row]:
    leading: dict[str, list[Row]] = {}
    for edge in edges:
        leading.setdefault(edge[here], []).append(edge)
    reached, frontier, found = {service}, [service], []
    steps = 0
    while frontier:
        steps += 1
        taken = [edge for name in frontier for edge in leading.get(name, ())]
        found += [{**edge, "direction": direction, "steps": steps} for edge in taken]
        frontier = sorted({edge[there] for edge in taken} - reached)
        reached.update(frontier)
    return found
