"""What the report shows, asked from the store and bounded: counts for all, details for the most important."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from aiops.query import (
    Filters,
    find_anomalies,
    find_ledger,
    ledger_by_source,
    ledger_by_tenant,
    newest_event,
    parse_since,
    sum_ledger,
)
from aiops.query_gemini import find_hypotheses
from aiops.report.charts import TimeAxis, make_axis
from aiops.report.episodes import EPISODE_COLUMNS, LOOK_BACK, Episode, fair_share, gather_episodes
from aiops.report.incidents import IncidentsData, gather_incidents
from aiops.report.signals import ChartSpan, ServiceSeries, find_series
from pipeline.duckdb_store import DuckDBStore, Row
from transforms.elements import CANARY_SERVICE, SEVERITY_RANKS

MOST_EPISODES: Final = 150
OPEN_EPISODES: Final = 12
"""So many episodes and services are in sight at once; the rest unfolds."""
MOST_SERVICES: Final = 60
MOST_PATTERNS: Final = 60
MOST_DEAD_LETTERS: Final = 30
MOST_HYPOTHESES: Final = 30
MOST_MINUTES: Final = 50
AROUND_WINDOWS: Final = 30
"""A chart of an episode shows so many windows before and after it."""
AROUND_BUCKETS: Final = 120
LINES_TO_JUDGE: Final = 10
"""The lowest health of a service is that of a window of so many lines, if it has one."""
_EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC)
LONGEST_GAP: Final = timedelta(days=1)


@dataclass(frozen=True)
class ServiceLine:
    """One service on the timeline: totals, and its signals by bucket."""

    tenant: str
    service: str
    lines: int
    errors: int
    health: float | None  # of the last window
    worst_health: float | None  # the lowest of a window that has enough lines to tell
    is_silent: bool  # no lines in the last window
    p95_ms: float | None  # the highest of a window
    series: ServiceSeries
    episodes: list[tuple[int, Episode]]  # number on the page, episode


@dataclass(frozen=True)
class Surroundings:
    """A service's signals around an episode, and since when the service is known."""

    axis: TimeAxis
    series: ServiceSeries
    known_since: datetime


@dataclass(frozen=True)
class ReportData:
    """Everything on the page. `left_out` says how many of each kind did not fit."""

    start: datetime | None  # None: there are no windows
    end: datetime | None
    lines: int
    errors: int
    tenants: list[str]
    services: int
    severities: Counter[str]  # anomalies above the confidence floor
    under_floor: int
    services_with_anomalies: int
    latest_anomaly: datetime | None
    incidents: IncidentsData
    spans: dict[str, tuple[datetime, datetime]]  # anomaly_id → its window
    episodes: list[Episode]
    details: dict[str, Row]  # anomaly_id → row, of each episode's worst anomaly
    surroundings: dict[str, Surroundings]  # the same anomaly_id → what the service did around the episode
    axis: TimeAxis | None
    several_windows: bool  # some bucket of the axis can hold more than one window
    undrawn_windows: int
    service_lines: list[ServiceLine]
    patterns: list[Row]
    new_patterns: list[Row]
    hypotheses: list[Row]
    dead_letters: list[Row]
    dead_lettered: int
    ledger: Row
    ledger_tenants: list[Row]
    ledger_sources: list[Row]
    unbalanced: list[Row]
    left_out: dict[str, int]


def gather_report(store: DuckDBStore, tenant: str | None = None, since: str | None = None) -> ReportData:
    """All figures of the report, of one tenant or all, since a span before the newest data or a time.

    Canaries are left out, but for the ledger, which counts every line.

    Raises typer.BadParameter for a `since` that is neither, StoreError where the store fails.
    """
    start = parse_since(since, newest_event(store)) if since else None
    _select_windows(store, tenant, start)
    earlier = (max(start, _EARLIEST + LOOK_BACK) - LOOK_BACK).isoformat() if start else None
    found = find_anomalies(store, Filters(tenant=tenant, since=earlier), columns=EPISODE_COLUMNS).rows
    known = [row for row in found if row["service"] != CANARY_SERVICE]
    anomalies = [row for row in known if start is None or row["window_end"] > start]
    sure = [row for row in anomalies if not row["below_confidence_floor"]]
    every_episode = [episode for episode in gather_episodes(known) if start is None or episode.end > start]
    episodes = fair_share(every_episode, lambda episode: episode.tenant, MOST_EPISODES)
    worst = [episode.worst_id for episode in episodes]
    totals = store.query(
        "SELECT min(window_start) AS first, max(window_end) AS last, CAST(coalesce(sum(lines), 0) AS BIGINT) "
        "AS lines, CAST(coalesce(sum(errors), 0) AS BIGINT) AS errors FROM report_windows"
    )[0]
    axis, undrawn, window_seconds = _axis(store)
    incidents = gather_incidents(store, tenant, start)
    service_lines, services = _service_lines(store, axis, episodes, every_episode)
    patterns, new_patterns, pattern_count = _patterns(store, tenant, start)
    hypotheses = find_hypotheses(store, Filters(tenant=tenant, since=since, limit=MOST_HYPOTHESES))
    dead_letters, dead_lettered, reasons = _dead_letters(store, tenant)
    minutes = find_ledger(store, Filters(tenant=tenant))
    ledger_tenants = ledger_by_tenant(minutes)
    unbalanced = [minute for minute in minutes if not minute["balanced"]]
    names = {row["tenant_id"] for row in ledger_tenants} | {line.tenant for line in service_lines}
    return ReportData(
        start=totals["first"],
        end=totals["last"],
        lines=totals["lines"],
        errors=totals["errors"],
        tenants=sorted(names | {episode.tenant for episode in episodes}),
        services=services,
        severities=Counter(row["anomaly_severity"] for row in sure),
        under_floor=len(anomalies) - len(sure),
        services_with_anomalies=len({(row["tenant_id"], row["service"]) for row in sure}),
        latest_anomaly=max((row["window_end"] for row in sure), default=None),
        incidents=incidents,
        spans={row["anomaly_id"]: (row["window_start"], row["window_end"]) for row in known},
        episodes=episodes,
        details=_details(store, worst),
        surroundings=_surroundings(store, episodes),
        axis=axis,
        several_windows=axis is not None and axis.bucket_seconds > window_seconds,
        undrawn_windows=undrawn,
        service_lines=service_lines,
        patterns=patterns,
        new_patterns=new_patterns,
        hypotheses=hypotheses.rows,
        dead_letters=dead_letters,
        dead_lettered=dead_lettered,
        ledger=sum_ledger(minutes),
        ledger_tenants=ledger_tenants,
        ledger_sources=ledger_by_source(minutes),
        unbalanced=fair_share(unbalanced, lambda minute: str(minute["tenant_id"]), MOST_MINUTES),
        left_out={
            "incidents": incidents.total - len(incidents.rows),
            "episodes": len(every_episode) - len(episodes),
            "services": services - len(service_lines),
            "patterns": pattern_count - len(patterns),
            "hypotheses": hypotheses.total - len(hypotheses.rows),
            "dead letter reasons": reasons - len(dead_letters),
            "unbalanced minutes": max(0, len(unbalanced) - MOST_MINUTES),
        },
    )


def _details(store: DuckDBStore, anomaly_ids: list[str]) -> dict[str, Row]:
    rows = store.query(
        "SELECT * FROM current_anomalies WHERE list_contains($ids, anomaly_id)", {"ids": anomaly_ids}
    )
    return {row["anomaly_id"]: row for row in rows}


def _select_windows(store: DuckDBStore, tenant: str | None, start: datetime | None) -> None:
    # Temporary, so in memory: the view of last revisions is made once, not for each figure.
    store.query(
        "CREATE OR REPLACE TEMP TABLE report_windows AS SELECT * FROM current_service_windows "
        "WHERE ($tenant IS NULL OR tenant_id = $tenant) AND ($start IS NULL OR window_end > $start) "
        "AND service != $canary",
        {"tenant": tenant, "start": start, "canary": CANARY_SERVICE},
    )


def _axis(store: DuckDBStore) -> tuple[TimeAxis | None, int, int]:
    """Axis over the newest stretch without a gap of more than a day.

    Then the number of windows before it, and the length of a window in seconds. One stray line of years
    ago must not squeeze today into a pixel.
    """
    times = store.query(
        "SELECT window_start AS start, max(window_end) AS last, count(*) AS windows "
        "FROM report_windows GROUP BY ALL ORDER BY start DESC"
    )
    if not times:
        return None, 0, 0
    kept = 1
    while kept < len(times) and times[kept - 1]["start"] - times[kept]["last"] <= LONGEST_GAP:
        kept += 1
    oldest, newest = times[kept - 1], times[0]
    window_seconds = int((newest["last"] - newest["start"]).total_seconds())
    axis = make_axis(oldest["start"], newest["last"], window_seconds)
    return axis, sum(row["windows"] for row in times[kept:]), window_seconds


def _service_lines(
    store: DuckDBStore, axis: TimeAxis | None, episodes: list[Episode], every_episode: list[Episode]
) -> tuple[list[ServiceLine], int]:
    rows = store.query(
        """SELECT tenant_id, service, CAST(sum(lines) AS BIGINT) AS lines,
                  CAST(sum(errors) AS BIGINT) AS errors, arg_max_null(health_score, window_start) AS health,
                  coalesce(min(health_score) FILTER (lines >= $enough), min(health_score)) AS worst_health,
                  arg_max(lines, window_start) = 0 AS is_silent, max(latency_p95_ms) AS p95_ms
           FROM report_windows GROUP BY ALL ORDER BY tenant_id, service""",
        {"enough": LINES_TO_JUDGE},
    )
    if axis is None:
        return [], len(rows)
    worst: dict[tuple[str, str], int] = {}
    for episode in every_episode:
        key = episode.tenant, episode.service
        worst[key] = max(worst.get(key, -1), -1 if episode.under_floor else SEVERITY_RANKS[episode.severity])
    rows.sort(
        key=lambda row: (worst.get((row["tenant_id"], row["service"]), -1), row["errors"]), reverse=True
    )
    chosen = fair_share(rows, lambda row: str(row["tenant_id"]), MOST_SERVICES)
    spans = [ChartSpan(row["tenant_id"], row["service"], axis) for row in chosen]
    numbered: dict[tuple[str, str], list[tuple[int, Episode]]] = {}
    for number, episode in enumerate(episodes, 1):
        numbered.setdefault((episode.tenant, episode.service), []).append((number, episode))
    lines = [
        ServiceLine(
            row["tenant_id"], row["service"], row["lines"], row["errors"], row["health"],
            row["worst_health"], row["is_silent"], row["p95_ms"], series,
            numbered.get((row["tenant_id"], row["service"]), []),
        )
        for row, series in zip(chosen, find_series(store, spans), strict=True)
    ]  # fmt: skip
    return lines, len(rows)


def _surroundings(store: DuckDBStore, episodes: list[Episode]) -> dict[str, Surroundings]:
    """What the service did around each episode, window by window where it fits."""
    rows = store.query(
        "SELECT tenant_id, service, min(window_start) AS first, max(window_end) AS last, "
        "CAST(max(epoch(window_end) - epoch(window_start)) AS BIGINT) AS seconds "
        "FROM report_windows GROUP BY ALL"
    )
    known = {(row["tenant_id"], row["service"]): row for row in rows}
    axes = {}
    for episode in episodes:
        if row := known.get((episode.tenant, episode.service)):
            pad = max(AROUND_WINDOWS * timedelta(seconds=row["seconds"]), (episode.end - episode.start) / 2)
            start, end = max(row["first"], episode.start - pad), min(row["last"], episode.end + pad)
            if start < end:
                axes[episode.worst_id] = episode, make_axis(start, end, row["seconds"], AROUND_BUCKETS)
    spans = [ChartSpan(episode.tenant, episode.service, axis) for episode, axis in axes.values()]
    since = _known_since(store)
    return {
        worst_id: Surroundings(axis, series, since[episode.tenant, episode.service])
        for (worst_id, (episode, axis)), series in zip(axes.items(), find_series(store, spans), strict=True)
    }


def _known_since(store: DuckDBStore) -> dict[tuple[str, str], datetime]:
    rows = store.query(
        "SELECT tenant_id, service, min(window_start) AS first FROM service_windows GROUP BY ALL"
    )
    return {(row["tenant_id"], row["service"]): row["first"] for row in rows}


def _patterns(
    store: DuckDBStore, tenant: str | None, start: datetime | None
) -> tuple[list[Row], list[Row], int]:
    """The most frequent patterns, those that are new, and how many there are."""
    store.query(
        """CREATE OR REPLACE TEMP TABLE report_patterns AS
           SELECT tenant_id, service, pattern_id, arg_max(pattern, window_start) AS pattern,
                  CAST(sum("count") AS BIGINT) AS "count", CAST(sum(errors) AS BIGINT) AS errors,
                  arg_max(severity, errors) AS severity, max(exception) AS exception,
                  min(first_seen) AS first_seen, bool_or(is_new) AS is_new
           FROM current_log_patterns
           WHERE ($tenant IS NULL OR tenant_id = $tenant) AND ($start IS NULL OR window_start >= $start)
             AND service != $canary
           GROUP BY tenant_id, service, pattern_id""",
        {"tenant": tenant, "start": start, "canary": CANARY_SERVICE},
    )
    ranked = """SELECT * FROM report_patterns WHERE is_new OR NOT $only_new
                QUALIFY row_number() OVER (PARTITION BY tenant_id
                  ORDER BY errors > 0 AND $only_new DESC, "count" DESC, service, pattern_id) <= $most
                ORDER BY errors > 0 AND $only_new DESC, "count" DESC, tenant_id, service, pattern_id"""
    found = [store.query(ranked, {"only_new": only_new, "most": MOST_PATTERNS}) for only_new in (False, True)]
    top, new = (fair_share(rows, lambda row: str(row["tenant_id"]), MOST_PATTERNS) for rows in found)
    return top, new, store.query("SELECT count(*) AS n FROM report_patterns")[0]["n"]


def _dead_letters(store: DuckDBStore, tenant: str | None) -> tuple[list[Row], int, int]:
    """Dead letters by tenant, stage and reason with one payload each; their sum; the number of reasons."""
    rows = store.query(
        """SELECT tenant_id, stage, reason, CAST(sum("count") AS BIGINT) AS "count",
                  max(receive_minute) AS last, arg_min(payload, dead_letter_id) AS payload
           FROM current_dead_letters WHERE $tenant IS NULL OR tenant_id = $tenant
           GROUP BY tenant_id, stage, reason ORDER BY "count" DESC, tenant_id, stage, reason""",
        {"tenant": tenant},
    )
    chosen = fair_share(rows, lambda row: str(row["tenant_id"]), MOST_DEAD_LETTERS)
    return chosen, sum(row["count"] for row in rows), len(rows)
