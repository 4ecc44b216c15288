"""What `aiops run` says at its end: what was found, what could not be used, and where to look next."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import Final

from rich.console import Console
from rich.text import Text

from aiops.cells import SEVERITY_STYLES
from aiops.text import one_line
from pipeline.bigquery_sink import ROW_COUNTS
from pipeline.duckdb_store import DuckDBStore, Row
from pipeline.settings import Settings
from pipeline.sources import READ_PROGRESS

_WRITTEN: Final = "written_at >= make_timestamptz($since)"
_ALERTS: Final = """(
  SELECT alert_id, arg_max(severity, sequence) AS severity, max(written_at) AS written_at
  FROM current_alert_events WHERE group_key NOT IN ('silence', 'rejected') GROUP BY alert_id)"""


def print_summary(settings: Settings, started_us: int, console: Console) -> int:
    """Print what the run that began at `started_us` left in the store or dataset; returns the exit code.

    1 where a file broke off, the ledger does not balance, no line could be used, or BigQuery did not take
    a row; else 0.
    """
    if settings.dataset:
        return _print_dataset_summary(settings, console)
    with DuckDBStore(settings.store, read_only=True) as store:
        anomalies = _counts(
            store, "anomaly_severity", "count(*)", "current_anomalies", "status = 'open'", started_us
        )
        alerts = _counts(store, "severity", "count(*)", _ALERTS, "true", started_us)
        refused = _counts(store, "reason", 'sum("count")', "current_dead_letters", "true", started_us)
        read = {"logs": settings.reads_logs, "metrics": settings.reads_metrics}
        sources = [name for name, is_read in read.items() if is_read]
        totals = {source: store.ledger_totals(source=source) for source in sources}
    rows = [
        ("Anomalies", _anomalies(anomalies), "show anomalies" if anomalies else ""),
        ("Alerts", _anomalies(alerts), "alerts list --all" if alerts else ""),
        ("Dead letters", _dead_letters(refused), "show dead-letters" if refused else ""),
    ]
    for source, counts in totals.items():
        what = "points" if source == "metrics" else "lines" if len(totals) > 1 else ""
        rows.append(("Ledger", _ledger(counts, what), "" if counts["balanced"] else "show ledger"))
    for title, text, command in rows:
        look = f"  → aiops {command} --store {shlex.quote(settings.store)}" if command else ""
        console.print(Text.assemble(f"{title + ':':<14}", text, (look, "dim")), soft_wrap=True)
    _print_warnings(settings, totals, console)
    is_wrong = [
        not counts["balanced"] or 0 < counts["received"] == counts["dead_lettered"]
        for counts in totals.values()
    ]
    return 1 if READ_PROGRESS.damaged or any(is_wrong) else 0


def _print_dataset_summary(settings: Settings, console: Console) -> int:
    """What was written where. What was found is in the views of the dataset."""
    taken, failed = ROW_COUNTS.taken, ROW_COUNTS.in_table + ROW_COUNTS.in_files
    by_table = ", ".join(f"{rows:,} {table}" for table, rows in sorted(taken.items()) if rows)
    rows = [
        ("Rows", Text(f"{taken.total():,} in {settings.dataset}" + (f" ({by_table})" if by_table else "")))
    ]
    if ROW_COUNTS.in_table:
        rows.append(("Refused", _failed(ROW_COUNTS.in_table, "the table failed_rows")))
    if ROW_COUNTS.in_files:
        rows.append(("Not taken", _failed(ROW_COUNTS.in_files, settings.failed_rows)))
    for title, text in rows:
        console.print(Text.assemble(f"{title + ':':<14}", text), soft_wrap=True)
    if failed:
        files = f" --files {shlex.quote(settings.failed_rows)}" if ROW_COUNTS.in_files else ""
        console.print(f"  → aiops replay failed-rows --dataset {settings.dataset}{files}", soft_wrap=True)
    console.print(
        f"What was found is in the views of {settings.dataset}: open_alerts, service_health and more; "
        "ledger_balance says whether every line is accounted for.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    _print_warnings(settings, {}, console)
    return 1 if READ_PROGRESS.damaged or failed else 0


def _failed(counts: Counter[tuple[str, str]], place: str) -> Text:
    kinds = ", ".join(f"{rows:,} {table} {reason}" for (table, reason), rows in sorted(counts.items()))
    return Text(f"{counts.total():,} rows ({kinds}), kept whole in {place}", "yellow")


def _print_warnings(settings: Settings, totals: dict[str, Row], console: Console) -> None:
    for warning in _warnings(settings, totals):
        console.print(Text.assemble(("Warning:      ", "yellow"), warning), soft_wrap=True)


def _counts(store: DuckDBStore, by: str, count: str, view: str, where: str, since_us: int) -> dict[str, int]:
    rows = store.query(
        f"SELECT {by} AS name, CAST({count} AS BIGINT) AS lines FROM {view} WHERE {where} AND {_WRITTEN} "  # noqa: S608
        "GROUP BY ALL ORDER BY lines DESC, name",
        {"since": since_us},
    )
    return {row["name"]: row["lines"] for row in rows}


def _anomalies(counts: dict[str, int]) -> Text:
    parts = [
        (f"{counts[name]:,} {name}", style) for name, style in SEVERITY_STYLES.items() if counts.get(name)
    ]
    if not parts:
        return Text("none")
    text = Text(f"{sum(counts.values()):,} (")
    for number, (part, style) in enumerate(parts):
        text.append(", " if number else "").append(part, style)
    return text.append(")")


def _dead_letters(counts: dict[str, int]) -> Text:
    if not counts:
        return Text("none")
    reasons = ", ".join(f"{count:,} {one_line(reason, 60)}" for reason, count in counts.items())
    return Text(f"{sum(counts.values()):,} ({reasons})", "yellow")


def _ledger(totals: Row, what: str) -> Text:
    if not totals["balanced"]:
        wrong = f"{totals['unbalanced_minutes']:,} minutes do not balance; run again over the same input"
        return Text(wrong, "bold red")
    names = ("analyzed", "late", "duplicate", "filtered", "dead_lettered")
    parts = [f"{totals[name]:,} {name.replace('_', '-')}" for name in names if totals[name]]
    received = " ".join(filter(None, (f"{totals['received']:,}", what, "received")))
    sums = f": {received} = {' + '.join(parts)}" if parts else f": no {what or 'lines'}"
    return Text.assemble(("balanced", "green"), sums)


_NO_LINES: Final = {
    "received": "the input held no lines.",
    "dead_lettered": "no line is a LogEntry in JSON; see the reasons of the dead letters.",
    "filtered": "--services and --min_severity left out every line; name services as the logs do.",
    "late": "every line was received over 10 minutes after its timestamp, so it counts as late.",
}
_NO_POINTS: Final = {
    "received": "the metrics held no points.",
    "dead_lettered": "no point of the metrics can be used; see the reasons of the dead letters.",
    "filtered": "--services left out every point of the metrics; `aiops show ledger` has the counts.",
    "late": "every point was received over 10 minutes after its end time, so it counts as late.",
}


def _warnings(settings: Settings, totals: dict[str, Row]) -> list[str]:
    warnings = [
        f"{one_line(name)} is damaged or incomplete ({one_line(cause)}); what comes before was analyzed."
        for name, cause in READ_PROGRESS.damaged.items()
    ]
    for source, counts in totals.items():
        texts = _NO_POINTS if source == "metrics" else _NO_LINES
        if not counts["received"]:
            warnings.append(texts["received"])
            continue
        ways_out = ("dead_lettered", "filtered", "late")
        warnings += [texts[name] for name in ways_out if counts[name] == counts["received"]]
    if not (settings.redaction_key_file or settings.redaction_key_secret):
        warnings.append(
            "secrets are hidden with the demo key, which everybody knows; for real logs make a key "
            "(openssl rand -hex 32 > key) and pass --redaction_key_file key."
        )
    return warnings
