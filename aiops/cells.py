"""Cells of the tables that `aiops show` prints. Text from the store is untrusted: no markup, no escapes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from rich.table import Table
from rich.text import Text

from aiops.figures import against_expected, expected_words, figure, unit_of
from aiops.text import one_line
from pipeline.duckdb_store import Row

_CELL_CHARACTERS: Final = 300
SEVERITY_STYLES: Final = {
    "critical": "bold white on red",
    "high": "bold red",
    "medium": "yellow",
    "low": "cyan",
}
LOG_STYLES: Final = dict.fromkeys(("ERROR", "CRITICAL", "ALERT", "EMERGENCY"), "red") | {"WARNING": "yellow"}


def make_table(*columns: str) -> Table:
    """A borderless table; columns of times and severities do not wrap."""
    table = Table(box=None, header_style="bold", pad_edge=False, expand=False)
    for name in columns:
        table.add_column(name, no_wrap="UTC" in name or name == "Severity", overflow="fold")
    return table


def text_cell(text: str, limit: int = _CELL_CHARACTERS) -> Text:
    """Untrusted text for a cell: neither markup nor escapes have an effect."""
    return Text(one_line(text, limit))


def place_names(*, wide: bool) -> tuple[str, ...]:
    """Headers of the columns that say where."""
    return ("Tenant", "Service") if wide else ("Tenant / service",)


def place_cells(row: Row, *, wide: bool) -> list[Text]:
    """Tenant and service of `row`, in two cells where there is room, else in one."""
    tenant, service = one_line(row["tenant_id"], 60), one_line(row["service"], 60)
    return [Text(tenant), Text(service)] if wide else [Text.assemble((f"{tenant} ", "dim"), service)]


def what_cell(row: Row, *, wide: bool) -> Text:
    """What an anomaly says, with what puts it in doubt first."""
    marks = "withdrawn " if row["status"] == "withdrawn" else ""
    marks += "under the confidence floor " if row["below_confidence_floor"] else ""
    kind = "" if wide else f"{row['anomaly_type']} "
    endpoint = f" ({one_line(row['endpoint'], 80)})" if row["endpoint"] else ""
    return Text.assemble((marks, "italic dim"), (kind, "bold"), text_cell(row["description"]), endpoint)


def severity_cell(row: Row) -> Text:
    """An anomaly's severity in its color."""
    return Text(row["anomaly_severity"], SEVERITY_STYLES.get(row["anomaly_severity"], ""))


def time_cell(moment: datetime, *, wide: bool) -> Text:
    """A time in UTC, without the year where there is little room."""
    return Text(f"{moment.astimezone(UTC):{'%Y-%m-%d %H:%M' if wide else '%m-%d %H:%M'}}")


def leading_metric(row: Row) -> Row | None:
    """The metric that an anomaly rests on first, with `words` on how far it is from what was expected."""
    metric = next(iter(row["metrics"] or ()), None)
    return metric and {**metric, "words": against_expected(metric["value"], metric["baseline"])}


def metric_cells(row: Row) -> list[Text]:
    """Value of an anomaly's leading metric, and what was expected of it: "74 (38.7 to 121)"."""
    metric = leading_metric(row)
    if metric is None:
        return [Text("–", "dim"), Text("–", "dim")]
    name, baseline, low, high = (metric[key] for key in ("name", "baseline", "band_low", "band_high"))
    expected = figure(baseline, name)
    if baseline is not None and low is not None and high is not None:
        expected = expected_words(baseline, low, high, unit_of(name))
    return [Text(figure(metric["value"], name), "bold"), Text(expected)]


def number_cell(value: float | None) -> str:
    """Three significant digits; an en dash for none."""
    return "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def health_cell(score: float | None) -> Text:
    """A health score in its color; an en dash for none."""
    if score is None:
        return Text("–", "dim")
    return Text(f"{score:.0f}", "bold red" if score < 50 else "yellow" if score < 80 else "green")
