"""What `aiops show` and `aiops report` ask a store: filters as parameters, never as SQL text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import typer

from pipeline.duckdb_store import DuckDBStore, Row, StoreBusyError, StoreError
from pipeline.store_copy import open_copy_of
from pipeline.table_reader import TableReader
from transforms.elements import ANOMALY_SEVERITIES, SEVERITY_NUMBERS

LEDGER_COUNTS: Final = ("received", "analyzed", "late", "duplicate", "filtered", "dead_lettered")

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_NEWEST_EVENT: Final = """
SELECT max(newest) AS newest FROM (
  SELECT max(window_end) AS newest FROM service_windows
  UNION ALL SELECT max(window_end) FROM anomalies
  UNION ALL SELECT max(window_end) FROM metric_windows
  UNION ALL SELECT max(window_start) + INTERVAL 1 MINUTE FROM log_patterns)
"""
_NEWEST_RECEIPT: Final = """
SELECT max(newest) + INTERVAL 1 MINUTE AS newest FROM (
  SELECT max(receive_minute) AS newest FROM ledger
  UNION ALL SELECT max(receive_minute) FROM dead_letters)
"""


@dataclass(frozen=True)
class Filters:
    """What to leave out; None leaves out nothing. `since` counts back from the newest data, or is a time."""

    tenant: str | None = None
    service: str | None = None
    severity: str | None = None  # at least
    type: str | None = None
    since: str | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Found:
    """Rows that were asked for, and how many there would be without a limit."""

    rows: list[Row]
    total: int


@contextmanager
def open_store(path: str) -> Iterator[DuckDBStore]:
    """The store at `path` for reading; what is wrong with it is printed and ends the command with code 1.

    Where a job writes it, a copy as of now, and a word about that.
    """
    try:
        with _opened(path) as store:
            yield store
    except StoreError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


@contextmanager
def _opened(path: str) -> Iterator[DuckDBStore]:
    try:
        store = DuckDBStore(path, read_only=True)
    except StoreBusyError as busy:
        with open_copy_of(busy) as copy:
            now = datetime.now(UTC)
            typer.echo(f"A job is writing {path}: this is how it was at {now:%H:%M:%S} UTC.", err=True)
            yield copy
        return
    with store:
        yield store


@contextmanager
def open_tables(store: str, dataset: str) -> Iterator[TableReader]:
    """The BigQuery dataset, where one is named, or else the store; what is wrong ends the command as well."""
    if not dataset:
        with open_store(store) as opened:
            yield opened
        return
    from pipeline.bigquery_client import BigQueryError
    from pipeline.bigquery_reader import BigQueryReader

    try:
        with BigQueryReader(dataset) as reader:
            yield reader
    except BigQueryError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


def parse_since(text: str, newest: datetime) -> datetime:
    """Start of a span: `30m`, `2h`, `7d` before `newest`, or an RFC 3339 time (UTC where it names no zone).

    Raises typer.BadParameter for anything else.
    """
    span = re.fullmatch(r"([0-9]{1,6})\s*([smhdw])", text.strip().lower())
    try:
        if span:
            return newest - timedelta(**{_UNITS[span[2]]: int(span[1])})
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r} is neither a span such as 30m, 2h or 7d nor a time such as 2026-01-31T12:00:00Z",
            param_hint="--since",
        ) from error


def newest_event(store: DuckDBStore) -> datetime:
    """End of the newest window of the store, or now where it has none."""
    newest: datetime | None = store.query(_NEWEST_EVENT)[0]["newest"]
    return newest or datetime.now(UTC)


def anomalies_to_match(store: DuckDBStore) -> list[Row]:
    """Anomalies that hold, with their windows in microseconds, as `match_faults` reads them."""
    return store.query(
        "SELECT * EXCLUDE (window_start, window_end), epoch_us(window_start) AS window_start, "
        "epoch_us(window_end) AS window_end FROM current_anomalies WHERE status != 'withdrawn'"
    )


def find_anomalies(
    store: DuckDBStore, filters: Filters, *, withdrawn: bool = False, columns: Sequence[str] = ("*",)
) -> Found:
    """Anomalies, the newest first; withdrawn ones only where asked for. `columns` are names, never input."""
    return find_rows(
        store,
        "current_anomalies",
        "window_start DESC, list_position(['critical', 'high', 'medium', 'low'], anomaly_severity), "
        "tenant_id, service, anomaly_id",
        [
            *common_conditions(store, filters, "window_end"),
            ("service = $service", "service", filters.service),
            ("anomaly_type = $type", "type", filters.type),
            ("list_contains($severities, anomaly_severity)", "severities", severities_from(filters.severity)),
            ("status != $withdrawn", "withdrawn", None if withdrawn else "withdrawn"),
        ],
        filters.limit,
        columns=columns,
    )


def find_windows(store: DuckDBStore, filters: Filters) -> Found:
    """Service windows, the newest first."""
    return find_rows(
        store,
        "current_service_windows",
        "window_start DESC, tenant_id, service",
        [
            *common_conditions(store, filters, "window_end"),
            ("service = $service", "service", filters.service),
        ],
        filters.limit,
    )


def find_patterns(store: DuckDBStore, filters: Filters, *, only_new: bool = False) -> Found:
    """Patterns over all windows that the filters leave, the most frequent first."""
    return find_rows(
        store,
        """(SELECT tenant_id, service, pattern_id, arg_max(pattern, window_start) AS pattern,
                   CAST(sum("count") AS BIGINT) AS "count", CAST(sum(errors) AS BIGINT) AS errors,
                   arg_max(severity, list_position($names, severity)) AS severity,
                   arg_max(exception, window_start) AS exception, min(first_seen) AS first_seen,
                   max(window_start) AS last_window, bool_or(is_new) AS is_new,
                   arg_max(example, window_start) AS example
            FROM current_log_patterns
            WHERE ($since IS NULL OR window_start >= $since)
            GROUP BY tenant_id, service, pattern_id)""",
        '"count" DESC, tenant_id, service, pattern_id',
        [
            ("tenant_id = $tenant", "tenant", filters.tenant),
            ("service = $service", "service", filters.service),
            ("list_contains($severities, severity)", "severities", _log_severities(filters.severity)),
            ("is_new = $is_new", "is_new", True if only_new else None),
        ],
        filters.limit,
        parameters={"names": list(SEVERITY_NUMBERS), "since": _since(store, filters, _NEWEST_EVENT)},
    )


def find_deploys(store: DuckDBStore, filters: Filters) -> Found:
    """Roll-outs, the newest first."""
    return find_rows(
        store,
        "current_deploys",
        "deployed_at DESC, tenant_id, service, deploy_id",
        [
            *common_conditions(store, filters, "deployed_at"),
            ("service = $service", "service", filters.service),
        ],
        filters.limit,
    )


def find_baselines(
    store: DuckDBStore, filters: Filters, *, signal: str | None = None, status: str | None = None
) -> Found:
    """What is learned, newest snapshot of each, by tenant, service and signal. `signal` is a glob.

    Each row counts the `signals` of its service, by status; the bytes of the state are left out.
    """
    return find_rows(
        store,
        """(SELECT * EXCLUDE (state, written_at),
                   count_if(signal != '') OVER service_rows AS signals,
                   count_if(signal != '' AND status = 'learning') OVER service_rows AS signals_learning,
                   count_if(signal != '' AND status = 'alarming') OVER service_rows AS signals_alarming
            FROM current_baselines
            WINDOW service_rows AS (PARTITION BY tenant_id, service))""",
        "tenant_id, service, signal",
        [
            ("tenant_id = $tenant", "tenant", filters.tenant),
            ("service = $service", "service", filters.service),
            ("as_of >= $since", "since", _since(store, filters, _NEWEST_EVENT)),
            ("signal GLOB $signal", "signal", signal),
            ("status = $status", "status", status),
        ],
        filters.limit,
    )


def find_dead_letters(store: DuckDBStore, filters: Filters) -> Found:
    """Dead letters, the most recently received first. `type` is a part of the reason or the stage."""
    return find_rows(
        store,
        "current_dead_letters",
        'receive_minute DESC, "count" DESC, tenant_id, dead_letter_id',
        [
            *common_conditions(store, filters, "receive_minute", _NEWEST_RECEIPT),
            ("contains(lower(stage || ' ' || reason), lower($type))", "type", filters.type),
        ],
        filters.limit,
    )


def find_ledger(store: DuckDBStore, filters: Filters) -> list[Row]:
    """Minutes of the ledger's balance in order; both ends, their difference, and whether they balance."""
    return find_rows(
        store,
        "ledger_balance",
        "receive_minute, tenant_id, source",
        common_conditions(store, filters, "receive_minute", _NEWEST_RECEIPT),
        None,
    ).rows


def sum_ledger(minutes: Iterable[Row]) -> Row:
    """Totals of ledger minutes. `balanced` only where each minute balances: errors do not cancel out."""
    total: Row = dict.fromkeys((*LEDGER_COUNTS, "difference", "unbalanced_minutes"), 0)
    for minute in minutes:
        for name in (*LEDGER_COUNTS, "difference"):
            total[name] += minute[name]
        total["unbalanced_minutes"] += not minute["balanced"]
    return {**total, "balanced": total["unbalanced_minutes"] == 0}


def ledger_by_tenant(minutes: Iterable[Row]) -> list[Row]:
    """Totals of ledger minutes for each tenant and source, in the order of their names."""
    return _ledger_by(minutes, ("tenant_id", "source"))


def ledger_by_source(minutes: Iterable[Row]) -> list[Row]:
    """Totals of ledger minutes for each source: lines of logs and points of metrics are never added up."""
    return _ledger_by(minutes, ("source",))


def _ledger_by(minutes: Iterable[Row], columns: tuple[str, ...]) -> list[Row]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for minute in minutes:
        groups.setdefault(tuple(minute[name] for name in columns), []).append(minute)
    return [
        {**dict(zip(columns, group, strict=True)), **sum_ledger(groups[group])} for group in sorted(groups)
    ]


# ----------------------------------------------------------------------------------- conditions

# SQL with one parameter, the parameter's name, its value (None: the condition is left out)
Condition = tuple[str, str, object]


def common_conditions(
    store: DuckDBStore, filters: Filters, time_column: str, newest_sql: str = _NEWEST_EVENT
) -> list[Condition]:
    """Conditions of tenant and time, for every table that has these columns."""
    comparison = ">" if time_column == "window_end" else ">="
    return [
        ("tenant_id = $tenant", "tenant", filters.tenant),
        (f"{time_column} {comparison} $since", "since", _since(store, filters, newest_sql)),
    ]


def find_rows(
    store: DuckDBStore,
    source: str,
    order: str,
    conditions: list[Condition],
    limit: int | None,
    *,
    parameters: dict[str, object] | None = None,
    columns: Sequence[str] = ("*",),
) -> Found:
    """Rows of `source` under `conditions`: SQL text is always a constant, values are parameters."""
    used = [condition for condition in conditions if condition[2] is not None]
    where = " AND ".join(sql for sql, _, _ in used) or "true"
    values = {**(parameters or {}), **{name: value for _, name, value in used}}
    selected = f"FROM {source} AS found WHERE {where}"
    select = f"SELECT {', '.join(columns)} {selected}"
    if limit is None:
        rows = store.query(f"{select} ORDER BY {order}", values)
        return Found(rows, len(rows))
    total = store.query(f"SELECT count(*) AS total {selected}", values)[0]["total"]
    rows = store.query(f"{select} ORDER BY {order} LIMIT $limit", {**values, "limit": limit})
    return Found(rows, total)


def _since(store: DuckDBStore, filters: Filters, newest_sql: str) -> datetime | None:
    if filters.since is None:
        return None
    newest = store.query(newest_sql)[0]["newest"]
    return parse_since(filters.since, newest or datetime.now(UTC))


def severities_from(at_least: str | None) -> list[str] | None:
    """Severities of anomalies from `at_least` on; None for None. Raises typer.BadParameter."""
    if at_least is None:
        return None
    names: tuple[str, ...] = ANOMALY_SEVERITIES
    return list(names[_place(at_least.lower(), names) :])


def _log_severities(at_least: str | None) -> list[str] | None:
    if at_least is None:
        return None
    names = tuple(SEVERITY_NUMBERS)
    return list(names[_place(at_least.upper(), names) :])


def _place(name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(names)}", param_hint="--severity")
    return names.index(name)
