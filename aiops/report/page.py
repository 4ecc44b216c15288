"""The report page: HTML with everything inside. It forbids itself every request and foreign script."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

import jinja2
from markupsafe import Markup, escape

from aiops.report.charts import TimeAxis, bar_path, line_path, stack_lanes
from aiops.report.episodes import Episode
from aiops.report.gather import OPEN_EPISODES, ReportData, ServiceLine
from aiops.text import visible_text
from pipeline.duckdb_store import Row

EXAMPLE_CHARACTERS: Final = 1_000
TEXT_CHARACTERS: Final = 600
DETAIL_BYTES: Final = 1_200_000
"""Budget for the details of all episodes; those past it are shown shorter and without example lines."""

_EVIDENCE: Final = 4
_EXAMPLES: Final = 3
_ACTIONS: Final = 8
_LANES: Final = 3


@dataclass(frozen=True)
class Marker:
    """An episode on its service's chart, in percent from the left."""

    number: int
    episode: Episode
    left: float
    width: float
    lane: int


@dataclass(frozen=True)
class Chart:
    """A service's chart, drawn."""

    line: ServiceLine
    lines_path: str
    errors_path: str
    p95_path: str
    lines_per_minute: float  # the top of the bars
    markers: list[Marker]
    lanes: int


def render_page(data: ReportData, *, title: str, store_name: str, now: datetime) -> str:
    """The whole page as text. `title` and `store_name` are shown, escaped."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(
        shown=_shown, compact=compact, day_time=_day_time, clock=_clock, percent=_percent, figure=figure,
        milliseconds=milliseconds, words=_words, iso=_iso,
    )  # fmt: skip
    style, script = _asset("page.css"), _asset("page.js")
    charts = [_chart(line, data.axis) for line in data.service_lines] if data.axis else []
    return environment.from_string(_asset("page.html")).render(
        data=data,
        title=title,
        store_name=store_name,
        now=now,
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        policy=_policy(style, script),
        charts_by_tenant=_by_tenant(charts),
        open_episodes=OPEN_EPISODES,
        open_charts=max(3, OPEN_EPISODES // max(1, len({line.tenant for line in data.service_lines}))),
        chart_data=_embedded_json(chart_data(data.axis, charts)),
        details=_details(data),
        example_characters=EXAMPLE_CHARACTERS,
        text_characters=TEXT_CHARACTERS,
    )


def chart_data(axis: TimeAxis | None, charts: list[Chart]) -> dict[str, object]:
    """What the script shows under the pointer: {start, bucket, rows: [{lines, errors, p95}]}."""
    if axis is None:
        return {"start": 0, "bucket": 60, "rows": []}
    rows = [
        {
            "lines": chart.line.bucket_lines,
            "errors": chart.line.bucket_errors,
            "p95": [None if value is None else round(value, 1) for value in chart.line.bucket_p95_ms],
        }
        for chart in charts
    ]
    return {"start": int(axis.start.timestamp()), "bucket": axis.bucket_seconds, "rows": rows}


def _chart(line: ServiceLine, axis: TimeAxis | None) -> Chart:
    assert axis is not None
    top = max(line.bucket_lines, default=0)
    top_p95 = max((value for value in line.bucket_p95_ms if value is not None), default=0.0)
    spans = [(axis.percent(episode.start), axis.percent(episode.end)) for _, episode in line.episodes]
    lanes = stack_lanes(spans, _LANES)
    markers = [
        Marker(number, episode, left, round(right - left, 3), lane)
        for (number, episode), (left, right), lane in zip(line.episodes, spans, lanes, strict=True)
        if episode.end > axis.start
    ]
    return Chart(
        line=line,
        lines_path=bar_path(line.bucket_lines, top),
        errors_path=bar_path(line.bucket_errors, top),
        p95_path=line_path(line.bucket_p95_ms, top_p95),
        lines_per_minute=top * 60 / axis.bucket_seconds,
        markers=sorted(markers, key=lambda marker: marker.episode.importance),
        lanes=max(lanes, default=0) + 1,
    )


def _by_tenant(charts: Iterable[Chart]) -> list[tuple[str, list[tuple[int, Chart]]]]:
    tenants: dict[str, list[tuple[int, Chart]]] = {}
    for place, chart in enumerate(charts):
        tenants.setdefault(chart.line.tenant, []).append((place, chart))
    return list(tenants.items())


def _details(data: ReportData) -> list[Row]:
    """For each episode its worst anomaly, cut to what the page shows; without examples past the budget."""
    budget = DETAIL_BYTES
    details = []
    for episode in data.episodes:
        row = _clip(data.details[episode.worst_id], in_full=budget > 0)
        budget -= len(escape(json.dumps(row, default=str, ensure_ascii=False)).encode("utf-8", "replace"))
        details.append(row)
    return details


def _clip(row: Row, *, in_full: bool) -> Row:
    limit = TEXT_CHARACTERS if in_full else TEXT_CHARACTERS // 4
    evidence = [
        {
            "pattern": _shown(item["pattern"], limit),
            "count": item["count"],
            "examples": [
                _shown(example["message"], EXAMPLE_CHARACTERS) for example in item["examples"][:_EXAMPLES]
            ]
            if in_full
            else [],
        }
        for item in row["evidence"][:_EVIDENCE]
    ]
    return {
        "anomaly_id": row["anomaly_id"],
        "description": _shown(row["description"], limit),
        "detector": _shown(row["detector"], 120),
        "rules_version": _shown(row["rules_version"], 64),
        "confidence": row["confidence_score"],
        "metrics": row["metrics"][:12],
        "evidence": evidence,
        "more_evidence": max(0, len(row["evidence"]) - _EVIDENCE),
        "without_examples": not in_full,
        "actions": [_shown(action, limit) for action in row["recommended_actions"][:_ACTIONS]],
        "gemini": _shown(row["gemini_analysis"], 3 * limit),
    }


# ------------------------------------------------------------------------------------- words


def compact(value: float) -> str:
    """A count in few characters: 950, 12.3k, 4.56M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}" if value == int(value) or value >= 100 else f"{value:.1f}"


def figure(value: float | None, name: str) -> str:
    """A number of an anomaly, in the unit that the metric's name says; an en dash for none."""
    if value is None:
        return "–"
    if name.endswith(("_rate", "_share", "_ratio")):
        return f"{100 * value:.3g} %"
    if name.endswith("_ms"):
        return milliseconds(value)
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def milliseconds(value: float | None) -> str:
    """A duration: 85 ms, 2.6 s."""
    if value is None:
        return "–"
    return f"{value:.3g} ms" if value < 999.5 else f"{value / 1_000:.3g} s"


def _shown(text: str | None, limit: int = TEXT_CHARACTERS) -> str:
    return visible_text(text or "", limit)


def _day_time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%H:%M}"


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _percent(part: float, whole: float) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.1f} %" if share >= 0.1 or not share else "< 0.1 %"


def _words(name: str) -> str:
    return name.replace("_", " ")


# ------------------------------------------------------------------------------------ safety


def _asset(name: str) -> str:
    return files("aiops.report").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(inline: str) -> str:
    """The source expression that lets a browser run exactly `inline`."""
    return f"sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}"


def _embedded_json(value: object) -> Markup:
    """JSON that cannot end the script element it stands in, whatever its strings hold."""
    encoded = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(encoded.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704
