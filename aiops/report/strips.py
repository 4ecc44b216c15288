"""Signals drawn as strips: the band, what was expected, the value over it, and the same in words. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiops.figures import against_expected, span_words
from aiops.report.bands import (
    Series,
    learning_buckets,
    loud_ranks,
    off_stretches,
    worst_place,
)
from aiops.report.charts import TimeAxis, band_path, dots_path, line_path
from aiops.report.episodes import LOOK_BACK, Episode
from aiops.report.gather import Surroundings
from aiops.report.signals import DRAWN
from aiops.report.stretches import SEVERITY_NAMES, Wash, ranks_by_bucket, wash_stretches
from pipeline.duckdb_store import Row


@dataclass(frozen=True)
class Words:
    """What a strip says without being looked at."""

    severity: str  # of the anomaly that explains the worst bucket; empty for none
    value: str  # of the worst bucket, else the highest
    when: str
    expected: str  # "expected 380 (300 to 470)", or why nothing was
    top: str  # what the upper edge stands for
    label: str  # all of it in one sentence, for screen readers


@dataclass(frozen=True)
class Strip:
    """One signal of one chart, drawn."""

    series: Series
    band: str
    baseline: str
    value: str
    stray: str  # outside the band by chance, as far as anybody knows
    loud: list[tuple[str, str]]  # severity and path of what anomalies are about
    learning: float  # percent of the width in which nothing was expected yet
    words: Words


def draw_strip(
    series: Series,
    axis: TimeAxis,
    cover: Sequence[int],
    about: Sequence[int],
    others_until: int | None = None,
) -> Strip:
    """Draw any signal that has a point for each bucket of `axis`.

    `cover` and `about` are ranks of anomalies by bucket, see `loud_ranks`; `others_until` is the number
    of buckets in which other signals of the service were learned, see `learning_buckets`.
    """
    points, top = series.points, series.top
    values = [point.value for point in points]
    ranks = loud_ranks(points, cover, about)
    stray = [place for place, point in enumerate(points) if point.side and ranks[place] < 0]
    loud = [
        (name, dots_path(values, top, [place for place, rank in enumerate(ranks) if rank == worst]))
        for worst, name in sorted(SEVERITY_NAMES.items())
    ]
    learning = learning_buckets(series, others_until)
    return Strip(
        series=series,
        band=band_path([p.low for p in points], [p.high for p in points], top),
        baseline=line_path([p.baseline for p in points], top, tolerance=1.0),
        value=line_path(values, top, tolerance=0.5),
        stray=dots_path(values, top, stray),
        loud=[(name, path) for name, path in loud if path],
        learning=round(100 * learning / len(points), 2),
        words=_words(series, axis, ranks, learning),
    )


def _words(series: Series, axis: TimeAxis, ranks: Sequence[int], learning: int) -> Words:
    points, top = series.points, series.said(series.top) if series.top else ""
    place = worst_place(points, [place for place, rank in enumerate(ranks) if rank >= 0])
    if place is None:
        return Words("", "–", "", "nothing measured", top, f"{series.title}: nothing measured")
    point, when = points[place], axis.say(axis.start_of(place))
    expected = series.expected(point)
    why = f"expected {expected}" if expected else "still learning" if place < learning else ""
    if not why and series.first_band is not None:
        why = "not judged"
    off = sum(point.side != 0 for point in points)
    judged = sum(point.high is not None and point.value is not None for point in points)
    value = series.said(point.value)
    said = ", ".join(filter(None, (f"{value} at {when}", why)))
    judgement = f"{off} of {judged} points outside the band" if judged else "no band yet"
    label = f"{series.title}: {'worst' if ranks[place] >= 0 else 'highest'} {said}; {judgement}"
    return Words(SEVERITY_NAMES.get(ranks[place], ""), value, when, why, top, label)


def charted_signal(episode: Episode, metrics: Sequence[Row] = ()) -> str | None:
    """The signal with a chart that an episode is about, None where it is about something smaller."""
    if episode.endpoint:
        return None
    if episode.anomaly_type == "silence":
        return "lines"
    names = [episode.signal, *(metric["name"] for metric in metrics[:1])]
    return next((name for name in names if name in DRAWN), None)


# ---------------------------------------------------------------------------------- one episode


@dataclass(frozen=True)
class EpisodeChart:
    """The signal of one episode around it."""

    axis: TimeAxis
    strip: Strip
    washes: list[Wash]
    point_seconds: int


def draw_episode(
    episode: Episode, metrics: Sequence[Row], around: Surroundings | None
) -> EpisodeChart | None:
    """The chart of an episode's own signal; None where it has none or nothing was measured."""
    signal = charted_signal(episode, metrics)
    if around is None or signal is None or not around.series[signal].has_values:
        return None
    ranks = ranks_by_bucket(around.axis, [episode])
    strip = draw_strip(
        around.series[signal], around.axis, ranks, ranks, learning_buckets(around.series["lines"])
    )
    return EpisodeChart(around.axis, strip, wash_stretches(ranks), around.axis.bucket_seconds)


def lasting(
    episode: Episode, metrics: Sequence[Row], around: Surroundings | None, data_end: datetime | None
) -> tuple[datetime, datetime]:
    """From when to when it lasted: what the anomalies say, and as long as the signal was outside its band.

    A detector reports what lasts ever more rarely, so that its anomalies alone would make it too short.
    """
    start, end = episode.start, episode.end
    signal = charted_signal(episode, metrics)
    if around is not None and signal is not None:
        axis = around.axis
        first, last = axis.bucket_of(start), axis.bucket_of(end - timedelta(microseconds=1))
        for begin, stop in off_stretches(around.series[signal].points):
            if begin <= last and stop > first:
                start, end = min(start, axis.start_of(begin)), max(end, axis.start_of(stop))
    return start, end if data_end is None else max(episode.end, min(end, data_end))


def episode_facts(
    episode: Episode,
    lasted: tuple[datetime, datetime],
    known_since: datetime | None,
    data_end: datetime | None,
) -> list[tuple[str, str]]:
    """Since when, how long and how often before, in words, as (question, answer)."""
    start, end = lasted
    times = f"{start:%H:%M}" if data_end and start.date() == data_end.date() else f"{start:%Y-%m-%d %H:%M}"
    ended = "to the end of the data" if end == data_end else f"until {end:%H:%M}"
    facts = [("Since", f"{times}, for {span_words((end - start).total_seconds())}, {ended}")]
    known = min(LOOK_BACK, start - known_since) if known_since else timedelta(0)
    if episode.times_before and episode.last_before:
        often = "once" if episode.times_before == 1 else f"{episode.times_before} times"
        facts.append(
            ("Before", f"{often} in {LOOK_BACK.days} days, last {episode.last_before:%Y-%m-%d %H:%M}")
        )
    elif known > timedelta(0):
        facts.append(("Before", f"never in the {span_words(known.total_seconds())} before it"))
    return facts


def metric_words(metric: Row) -> str:
    """How far a number of an anomaly is off: "3.2 × the expected, above the band"."""
    low, high, value = metric["band_low"], metric["band_high"], metric["value"]
    side = ""
    if high is not None and value > high:
        side = "above the band"
    elif low is not None and value < low:
        side = "below the band"
    elif high is not None or low is not None:
        side = "within the band"
    if not math.isfinite(value):
        return ""
    return ", ".join(part for part in (against_expected(value, metric["baseline"]), side) if part)
