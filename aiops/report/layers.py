"""A graph of calls laid out in layers: callers on the left, what they call on the right. Pure.

After Sugiyama, Tagawa and Toda (1981): circles are broken, services put into layers by their longest path,
long edges led through every layer they cross, and each layer ordered by where its neighbors are. The same
services and calls always give the same picture, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

NODE_WIDTH: Final = 140
NODE_HEIGHT: Final = 34
LAYER_GAP: Final = 56
ROW_GAP: Final = 10
_EDGE_ROW: Final = 12  # height of an edge that passes through a layer
_SWEEPS: Final = 4

Edge = tuple[str, str]
# A place in a layer: a service, or an edge on its way through (caller, callee, layer).
_Slot = tuple[str] | tuple[str, str, int]


@dataclass(frozen=True)
class Place:
    """Left upper corner of a service's box, in units of the picture."""

    x: int
    y: int


@dataclass(frozen=True)
class Layout:
    """A picture: its size, where each service stands, and the path of each call (SVG path data)."""

    width: int
    height: int
    places: dict[str, Place]
    paths: dict[Edge, str]


def lay_out(services: Iterable[str], calls: Iterable[Edge]) -> Layout:
    """Places and paths. Calls of and to services that are not named, and of one to itself, are left out."""
    names = sorted(set(services))
    edges = sorted({edge for edge in calls if edge[0] != edge[1] and set(edge) <= set(names)})
    forward = _without_circles(names, edges)
    layers = _layers(names, forward.values())
    ways = {edge: _way(to_right, layers) for edge, to_right in forward.items()}
    rows = _ordered(_slots(names, layers, ways.values()), ways.values())
    middles, height = _middles(rows)
    places = {
        name: Place(layers[name] * (NODE_WIDTH + LAYER_GAP), middles[name,] - NODE_HEIGHT // 2)
        for name in names
    }
    paths = {
        edge: _path(way, layers, middles, is_reversed=edge != forward[edge]) for edge, way in ways.items()
    }
    width = max(1, len(rows)) * (NODE_WIDTH + LAYER_GAP) - LAYER_GAP
    return Layout(width, height, places, paths)


def _without_circles(names: Sequence[str], edges: Sequence[Edge]) -> dict[Edge, Edge]:
    """Each edge, or its reverse where it would close a circle on a walk in depth, by name."""
    callees: dict[str, list[str]] = {name: [] for name in names}
    called = set()
    for caller, callee in edges:
        callees[caller].append(callee)
        called.add(callee)
    forward: dict[Edge, Edge] = {}
    done: set[str] = set()
    for root in sorted(names, key=lambda name: (name in called, name)):
        if root in done:
            continue
        open_names, walk = {root}, [(root, iter(callees[root]))]
        while walk:
            name, left = walk[-1]
            following = next(left, None)
            if following is None:
                walk.pop()
                open_names.discard(name)
                done.add(name)
                continue
            closes = following in open_names
            forward[name, following] = (following, name) if closes else (name, following)
            if not closes and following not in done:
                open_names.add(following)
                walk.append((following, iter(callees[following])))
    return {edge: forward[edge] for edge in edges}


def _layers(names: Sequence[str], edges: Iterable[Edge]) -> dict[str, int]:
    """Length of the longest path to each service; who is called by nobody stands just before its callees."""
    edges = sorted(set(edges))
    layers = dict.fromkeys(names, 0)
    for _ in names:  # as often as the longest path has edges
        before = dict(layers)
        for caller, callee in edges:
            layers[callee] = max(layers[callee], layers[caller] + 1)
        if layers == before:
            break
    called = {callee for _, callee in edges}
    for name in names:
        right = [layers[callee] for caller, callee in edges if caller == name]
        if name not in called and right:
            layers[name] = min(right) - 1
    return layers


def _way(edge: Edge, layers: Mapping[str, int]) -> list[_Slot]:
    """The slots that an edge goes through, from left to right."""
    left, right = edge
    between: list[_Slot] = [(left, right, layer) for layer in range(layers[left] + 1, layers[right])]
    return [(left,), *between, (right,)]


def _slots(
    names: Sequence[str], layers: Mapping[str, int], ways: Iterable[Sequence[_Slot]]
) -> list[list[_Slot]]:
    rows: list[list[_Slot]] = [[] for _ in range(max(layers.values(), default=-1) + 1)]
    for name in names:
        rows[layers[name]].append((name,))
    passing = {slot for way in ways for slot in way if len(slot) == 3}
    for slot in sorted(passing):
        rows[slot[2]].append(slot)
    return rows


def _ordered(rows: list[list[_Slot]], ways: Iterable[Sequence[_Slot]]) -> list[list[_Slot]]:
    """Each layer by the mean place of its neighbors, from left to right and back, a few times."""
    lefts: dict[_Slot, set[_Slot]] = {}
    rights: dict[_Slot, set[_Slot]] = {}
    for way in ways:
        for one, other in pairwise(way):
            rights.setdefault(one, set()).add(other)
            lefts.setdefault(other, set()).add(one)
    for sweep in range(2 * _SWEEPS):
        step, neighbors = (1, lefts) if sweep % 2 == 0 else (-1, rights)
        for number in range(len(rows))[::step][1:]:
            fixed, row = _spread(rows[number - step]), _spread(rows[number])
            wanted = {
                slot: (round(_mean([fixed[near] for near in neighbors.get(slot, ())], own), 9), own)
                for slot, own in row.items()
            }
            rows[number] = sorted(row, key=wanted.__getitem__)
    return rows


def _spread(row: Sequence[_Slot]) -> dict[_Slot, float]:
    """The slots of a layer at equal distances from 0 to 1."""
    return {slot: (2 * at + 1) / (2 * len(row)) for at, slot in enumerate(row)}


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(sorted(values)) / len(values) if values else otherwise


def _middles(rows: Sequence[Sequence[_Slot]]) -> tuple[dict[_Slot, int], int]:
    """Middle of each slot from the top, layers centered; and the height of the picture."""
    heights = [sum(_height(slot) + ROW_GAP for slot in row) - ROW_GAP for row in rows]
    tallest = max([NODE_HEIGHT, *heights])
    middles: dict[_Slot, int] = {}
    for row, height in zip(rows, heights, strict=True):
        top = (tallest - height) // 2
        for slot in row:
            middles[slot] = top + _height(slot) // 2
            top += _height(slot) + ROW_GAP
    return middles, tallest


def _height(slot: _Slot) -> int:
    return NODE_HEIGHT if len(slot) == 1 else _EDGE_ROW


def _path(
    way: Sequence[_Slot], layers: Mapping[str, int], middles: Mapping[_Slot, int], *, is_reversed: bool
) -> str:
    """A curve from the caller's box to the callee's."""
    points: list[tuple[int, int]] = []
    for place, slot in enumerate(way):
        layer = layers[slot[0]] if len(slot) == 1 else slot[2]
        left, middle = layer * (NODE_WIDTH + LAYER_GAP), middles[slot]
        points += [] if place == 0 else [(left, middle)]
        points += [] if place == len(way) - 1 else [(left + NODE_WIDTH, middle)]
    if is_reversed:
        points.reverse()
    (x, y), *rest = points
    path = f"M{x} {y}"
    for number, (next_x, next_y) in enumerate(rest):
        if number % 2:  # through a layer
            path += f"H{next_x}"
        else:
            half = (x + next_x) // 2
            path += f"C{half} {y} {half} {next_y} {next_x} {next_y}"
        x, y = next_x, next_y
    return path
