"""Services and their calls as a picture, with what is ill marked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiops.figures import compact, milliseconds
from aiops.report.layers import NODE_HEIGHT, NODE_WIDTH, Edge, lay_out
from aiops.text import one_line
from pipeline.duckdb_store import Row
from transforms.elements import SEVERITY_RANKS

MOST_SERVICES: Final = 40
MOST_CALLS: Final = 150
ILL_SHARE: Final = 0.05
"""From this share of failed calls on an edge is drawn as ill."""

_NAME: Final = 20  # characters that fit into a box
_MARGIN: Final = 10


@dataclass(frozen=True)
class Illness:
    """The incident that says most of a service: `number` is its place on the page."""

    severity: str
    number: int
    is_over: bool  # it is closed


@dataclass(frozen=True)
class Box:
    """One service of a picture."""

    name: str  # whole
    short: str  # as much as fits
    note: str
    x: int
    y: int
    illness: Illness | None
    is_cause: bool

    @property
    def is_long(self) -> bool:
        """Whether its name is made smaller, and held to a width that fits: fonts differ."""
        return len(self.short) > _NAME - 4


@dataclass(frozen=True)
class Arrow:
    """One call of a picture, and all that is known of it in words."""

    path: str
    words: str
    is_ill: bool
    is_chain: bool  # ill-being went along it, from the callee to the caller


@dataclass(frozen=True)
class Picture:
    """Boxes and arrows, ready to be drawn. `label` says in a sentence what is seen."""

    width: int
    height: int
    boxes: list[Box]
    arrows: list[Arrow]
    label: str
    left_out: int  # services that did not fit

    margin: int = _MARGIN
    box_width: int = NODE_WIDTH
    box_height: int = NODE_HEIGHT


def fits_picture(edges: Sequence[Row]) -> bool:
    """Whether so many services and calls can be read in a picture."""
    return len(services_of(edges)) <= MOST_SERVICES and len(edges) <= MOST_CALLS


def services_of(edges: Iterable[Row]) -> list[str]:
    """All callers and callees, by name."""
    return sorted({edge[end] for edge in edges for end in ("caller", "callee")})


def draw_topology(edges: Sequence[Row], ill: Mapping[str, Illness]) -> Picture:
    """The picture of a tenant's calls; `ill` by service."""
    names = services_of(edges)
    notes = dict.fromkeys(names, "")
    for name in names:
        rate = sum(edge["requests_per_minute"] for edge in edges if edge["callee"] == name)
        notes[name] = f"{compact(rate)} calls/min" if rate else ""
    sick = [name for name in names if name in ill and not ill[name].is_over]
    label = f"{len(names)} services and {len(edges)} calls among them, callers left, callees right"
    label += f"; in an incident: {', '.join(_short(name, 60) for name in sick)}" if sick else ""
    return _draw(names, edges, notes, ill, label)


def draw_incident(incident: Row, edges: Iterable[Row], number: int) -> Picture | None:
    """The affected services of an incident and the calls among them; None for a service alone.

    Each is as ill as the worst of its anomalies; `number` is the incident's on the page, `edges` are those
    of its tenant. The chain of effects is drawn even where its calls are forgotten.
    """
    cause = incident["root_causes"][0]["service"] if incident["root_causes"] else ""
    chain = {(step["effect"], step["cause"]) for step in incident["effects"]}
    wanted = [cause, *(step["effect"] for step in incident["effects"]), *incident["affected_services"]]
    every = list(dict.fromkeys(name for name in wanted if name))
    if len(every) < 2:
        return None
    names = every[:MOST_SERVICES]
    known = [edge for edge in edges if edge["caller"] in names and edge["callee"] in names]
    is_over = incident["status"] == "closed"
    found: dict[str, datetime] = {}
    ill: dict[str, Illness] = {}
    for member in sorted(incident["anomalies"], key=lambda member: SEVERITY_RANKS[member["severity"]]):
        service, at = member["service"], member["detected_at"]
        found[service] = min(at, found.get(service, at))
        ill[service] = Illness(member["severity"], number, is_over)
    notes = {name: f"found {at:%H:%M}" for name, at in found.items()}
    label = f"{_short(cause, 60)} is the likeliest cause; affected: "
    label += ", ".join(_short(name, 60) for name in names if name != cause)
    return _draw(names, known, notes, ill, label, chain, cause, len(every) - len(names))


def _draw(
    names: Sequence[str],
    edges: Iterable[Row],
    notes: Mapping[str, str],
    ill: Mapping[str, Illness],
    label: str,
    chain: Iterable[Edge] = (),
    cause: str | None = None,
    left_out: int = 0,
) -> Picture:
    chain = set(chain)
    known = {(edge["caller"], edge["callee"]): edge for edge in edges}
    layout = lay_out(names, [*known, *chain])
    boxes = [
        Box(
            name=name,
            short=_short(name, _NAME),
            note=notes.get(name, ""),
            x=place.x,
            y=place.y,
            illness=ill.get(name),
            is_cause=name == cause,
        )
        for name, place in sorted(layout.places.items())
    ]
    arrows = [
        Arrow(path, call_words(edge, known.get(edge)), _is_ill(known.get(edge)), edge in chain)
        for edge, path in sorted(layout.paths.items())
    ]
    return Picture(layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN, boxes, arrows, label, left_out)


def call_words(edge: Edge, row: Row | None) -> str:
    """A call in words: who, how often, how well, how fast, and what shows it."""
    words = f"{one_line(edge[0], 80)} calls {one_line(edge[1], 80)}"
    if row is None:
        return words
    facts = [f"{compact(row['requests_per_minute'])}/min"] if row["requests"] else []
    if row["error_share"] is not None:
        facts.append(f"{100 * row['error_share']:.3g} % failed")
    if row["latency_p95_ms"] is not None:
        facts.append(f"p95 {milliseconds(row['latency_p95_ms'])}")
    facts.append(f"known from {row['source']}")
    return f"{words}: {', '.join(facts)}"


def _is_ill(row: Row | None) -> bool:
    return row is not None and row["error_share"] is not None and row["error_share"] >= ILL_SHARE


def _short(name: str, characters: int) -> str:
    shown = one_line(name, 200)
    return shown if len(shown) <= characters else f"{shown[: characters - 1]}…"
