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

from aiops.figures import compact, figure, milliseconds, span_words
from aiops.report.bands import Series, learning_buckets
from aiops.report.charts import TimeAxis, stack_lanes
from aiops.report.episodes import Episode
from aiops.report.gather import OPEN_EPISODES, ReportData, ServiceLine
from aiops.report.incidents import (
    OPEN_INCIDENTS,
    incidents_of_episodes,
    view_incidents,
)
from aiops.report.pictures import call_words
from aiops.report.stretches import Wash, ranks_by_bucket, wash_stretches
from aiops.report.strips import (
    Strip,
    charted_signal,
    draw_episode,
    draw_strip,
    episode_facts,
    lasting,
    metric_words,
)
from aiops.report.topologies import view_topologies
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
_METRICS: Final = 12


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
    strips: list[Strip]
    washes: list[Wash]
    markers: list[Marker]
    lanes: int


def render_page(data: ReportData, *, title: str, store_name: str, now: datetime) -> str:
    """The whole page as text. `title` and `store_name` are shown, escaped."""
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_asset),
    )
    environment.filters.update(
        shown=_shown, compact=compact, day_time=_day_time, clock=_clock, percent=_percent, figure=figure,
        milliseconds=milliseconds, words=_words, iso=_iso, span=span_words,
    )  # fmt: skip
    style, script = _asset("page.css"), _asset("page.js")
    is_learned = any(
        series.first_band is not None for line in data.service_lines for series in line.series.values()
    )
    charts = (
        [_chart(line, data.axis, is_learned=is_learned) for line in data.service_lines] if data.axis else []
    )
    return environment.get_template("page.html").render(
        data=data,
        title=title,
        store_name=store_name,
        now=now,
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        policy=_policy(style, script),
        is_learned=is_learned,
        charts_by_tenant=_by_tenant(charts),
        open_episodes=OPEN_EPISODES,
        incidents=view_incidents(data.incidents, data.episodes, data.spans),
        open_incidents=OPEN_INCIDENTS,
        incident_of=incidents_of_episodes(data.incidents, data.episodes),
        topologies=view_topologies(data.incidents),
        call_words=call_words,
        open_charts=max(3, OPEN_EPISODES // max(1, len({line.tenant for line in data.service_lines}))),
        chart_data=_embedded_json(chart_data(data.axis, charts)),
        details=_details(data),
        example_characters=EXAMPLE_CHARACTERS,
        text_characters=TEXT_CHARACTERS,
    )


def chart_data(axis: TimeAxis | None, charts: list[Chart]) -> dict[str, object]:
    """What the script shows under the pointer: {start, bucket, rows}, a row for each strip of a chart.

    Its v, b, l and h are value, baseline and band by bucket, see `_packed`; shares are percent.
    """
    if axis is None:
        return {"start": 0, "bucket": 60, "rows": []}
    rows = [[_strip_data(strip.series) for strip in chart.strips] for chart in charts]
    return {"start": int(axis.start.timestamp()), "bucket": axis.bucket_seconds, "rows": rows}


def _strip_data(series: Series) -> dict[str, str]:
    scale = 100 if series.unit == "share" else 1
    columns = zip(*series.points, strict=True)
    packed = {key: _packed(column, scale) for key, column in zip("vblh", columns, strict=True)}
    return {"t": series.title, "u": series.unit, **packed}


def _packed(values: Iterable[float | None], scale: int) -> str:
    """Three digits of each number, comma-separated; - for none, nothing for the same as before."""
    texts = ["-" if value is None else f"{value * scale:.3g}" for value in values]
    return ",".join("" if place and text == texts[place - 1] else text for place, text in enumerate(texts))


def _chart(line: ServiceLine, axis: TimeAxis, *, is_learned: bool) -> Chart:
    spans = [(axis.percent(episode.start), axis.percent(episode.end)) for _, episode in line.episodes]
    lanes = stack_lanes(spans, _LANES)
    markers = [
        Marker(number, episode, left, round(right - left, 3), lane)
        for (number, episode), (left, right), lane in zip(line.episodes, spans, lanes, strict=True)
        if episode.end > axis.start
    ]
    return Chart(
        line=line,
        strips=_strips(line, axis, is_learned=is_learned),
        washes=wash_stretches(ranks_by_bucket(axis, (episode for _, episode in line.episodes))),
        markers=sorted(markers, key=lambda marker: marker.episode.importance),
        lanes=max(lanes, default=0) + 1,
    )


def _strips(line: ServiceLine, axis: TimeAxis, *, is_learned: bool) -> list[Strip]:
    """The strips of a service: lines always, the others where something was measured."""
    episodes = [episode for _, episode in line.episodes]
    cover = ranks_by_bucket(axis, episodes)
    learned_until = learning_buckets(line.series["lines"]) if is_learned else 0
    return [
        draw_strip(
            series,
            axis,
            cover,
            ranks_by_bucket(axis, (episode for episode in episodes if charted_signal(episode) == name)),
            learned_until,
        )
        for name, series in line.series.items()
        if name == "lines" or series.has_values
    ]


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
        found, around = data.details[episode.worst_id], data.surroundings.get(episode.worst_id)
        row = _clip(found, in_full=budget > 0)
        budget -= len(escape(json.dumps(row, default=str, ensure_ascii=False)).encode("utf-8", "replace"))
        row["chart"] = draw_episode(episode, found["metrics"], around)
        row["lasted"] = lasting(episode, found["metrics"], around, data.end)
        known_since = around.known_since if around else None
        row["facts"] = episode_facts(episode, row["lasted"], known_since, data.end)
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
        "metrics": [metric | {"words": metric_words(metric)} for metric in row["metrics"][:_METRICS]],
        "evidence": evidence,
        "more_evidence": max(0, len(row["evidence"]) - _EVIDENCE),
        "without_examples": not in_full,
        "actions": [_shown(action, limit) for action in row["recommended_actions"][:_ACTIONS]],
        "gemini": _shown(row["gemini_analysis"], 3 * limit),
    }


# ------------------------------------------------------------------------------------- words


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
