"""Lines that go with requests, and lines that go with lines: which of them are missing.

A request that takes the usual path logs the usual lines. So the lines of a pattern are a fixed multiple of
the requests that cause them, whatever the load and whatever the mix: an invariant (Lou, Fu, Yang, Xu and Li,
Mining Invariants from Console Logs, USENIX ATC 2010). A method that throws, or returns early, breaks it.

With n calm windows learned, T_i lines of a pattern and T_j of its anchor in them, r = T_i / T_j lines are
expected for each event of the anchor. How much the pattern scatters around that is

    φ = (p + Σ (x_i - r x_j)²) / (p + T_i),  p = T_i / n + 1

1 for independent events (Poisson), near 0 for an invariant; p is what one window of independent events adds.
An invariant scatters at most half as much as chance. Of the anchors that explain a pattern about equally
well, requests come before other patterns: two lines of the part that failed go together to the end.

A window with x lines where e = r x_j are expected deviates by t = (e - x) / √(φ (e + 1) + φ e² / T_i). t has
Student's distribution with n + 1 degrees of freedom, since φ is an estimate; Wallace's approximation makes a
normal deviation z of it. So few windows say little, and need no rule of their own.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]

LEAST_WINDOWS: Final = 5
ALARM_Z: Final = 5.0
SUSPICIOUS_Z: Final = ALARM_Z / 2
LEAST_SHARE: Final = 0.25
"""Of the expected lines that is missing: less of them does not matter, however sure it is."""

LEAST_EVENTS: Final = 5.0
"""Of the anchor whose lines must be missing, as for levels: it takes so many to say anything. One request
that ends early may be without many lines."""

MOST_SCATTER: Final = 0.5
"""Of an invariant, as a share of what chance gives independent events."""

AS_GOOD: Final = 2.0
"""Anchors explain a pattern about as well as the best one when it scatters at most so much more by them."""


class Columns(NamedTuple):
    """What is counted in a window, a column each. A pattern may be both a target and an anchor."""

    counts: Counts  # windows learned × columns
    is_target: npt.NDArray[np.bool_]
    is_request: npt.NDArray[np.bool_]  # requests of any kind: anchors that come first
    is_line: npt.NDArray[np.bool_]  # single patterns: anchors that come second


class Missing(NamedTuple):
    """Lines that did not come. `target` and `anchor` are columns."""

    z: float  # above 0
    target: int
    anchor: int
    lines: float
    expected: float


def find_missing(columns: Columns, window: Counts, least_events: float = LEAST_EVENTS) -> list[Missing]:
    """Invariants that `window` breaks by SUSPICIOUS_Z or more, the surest first."""
    counts = columns.counts
    windows = len(counts)
    total = counts.sum(axis=0)
    targets = np.flatnonzero(columns.is_target & (total > 0))
    anchors = np.flatnonzero((columns.is_request | columns.is_line) & (total > 0))
    if windows < LEAST_WINDOWS or not targets.size or not anchors.size:
        return []
    ratio = total[targets, None] / total[anchors]
    expected = ratio * window[anchors]
    missing = expected - window[targets, None]
    is_enough = (missing >= LEAST_SHARE * expected) & (missing >= least_events * np.maximum(1.0, ratio))
    is_candidate = is_enough.any(axis=1)
    if not is_candidate.any():
        return []
    targets, expected, missing = targets[is_candidate], expected[is_candidate], missing[is_candidate]
    scatter = _scatter(counts, total, targets, anchors)
    good = scatter <= np.minimum(AS_GOOD * scatter.min(axis=1, keepdims=True), MOST_SCATTER)
    by_request = good & columns.is_request[anchors]
    has_request = by_request.any(axis=1)
    used = np.where(has_request[:, None], by_request, good)
    variance = scatter * (expected + 1.0 + expected * expected / total[targets, None])
    z = np.where(is_enough[is_candidate], _normal(missing / np.sqrt(variance), windows + 1.0), 0.0)
    # All requests that explain a pattern must agree that lines are missing; of other lines one is enough.
    agreed = np.where(
        has_request, np.where(used, z, np.inf).min(axis=1), np.where(used, z, -np.inf).max(axis=1)
    )
    found = []
    for place in np.flatnonzero(used.any(axis=1) & (agreed >= SUSPICIOUS_Z)).tolist():
        best = int(np.argmax(used[place] & (z[place] == agreed[place])))
        found.append(
            Missing(
                float(agreed[place]),
                int(targets[place]),
                int(anchors[best]),
                float(window[targets[place]]),
                float(expected[place, best]),
            )
        )
    return sorted(found, key=lambda missing: (-missing.z, missing.target))


def _scatter(counts: Counts, total: Counts, targets: Any, anchors: Any) -> Counts:
    """φ of each target by each anchor; infinite by itself."""
    products = counts.T @ counts
    squares = np.diag(products)
    ratio = total[targets, None] / total[anchors]
    residuals = (
        squares[targets, None]
        - 2.0 * ratio * products[np.ix_(targets, anchors)]
        + ratio * ratio * squares[anchors]
    )
    prior = total[targets, None] / len(counts) + 1.0
    scatter = (prior + np.maximum(residuals, 0.0)) / (prior + total[targets, None])
    return np.asarray(np.where(targets[:, None] == anchors, np.inf, scatter))


def _normal(t: Counts, degrees: float) -> Counts:
    """The normal deviation as rare as Student's `t` (Wallace, 1959)."""
    return np.asarray(np.sign(t) * np.sqrt(degrees * np.log1p(t * t / degrees)))
