"""From the shapes of a window to the patterns of a service, whose ids never change.

`PatternState` is the memory of one (tenant, service). It is taught by windows in the order of event
time, and by the set of shapes in each only, never by counts or by their order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import msgspec

from transforms.elements import MICROSECONDS, PatternStats, WindowSummary
from transforms.pattern_stats import add_counts, copy_stats
from transforms.patterns.generalize import Pattern, covers, find_merges, merge_patterns, split_words

MAX_PATTERNS: Final = 5_000
"""Patterns that a service's state holds; beyond it those are forgotten that were unseen the longest.

No less than the shapes of one window, so that no pattern is forgotten in the window that has it.
"""

MAX_SHAPES: Final = 20_000
"""Shapes whose pattern a service\'s state holds; beyond it the lineage of merged ones is forgotten."""

FORGET_AFTER_SECONDS: Final = 30 * 24 * 3600
"""A pattern unseen for so long is forgotten, and new when it comes back."""

LEARNING_SECONDS: Final = 600
"""For so long after a service's first window nothing is called new, for everything would be."""

MAX_EXAMPLES: Final = 3

_Delimiters = tuple[str, ...]


class PatternState(msgspec.Struct, array_like=True):
    """What is known of one service's patterns.

    `shapes` is the lineage: shape_id → id of the pattern it belongs to now. As a pattern's id is the
    shape_id of its first shape, ids of patterns that were merged are found there as well.
    """

    version: int = 1
    started_us: int = -1  # start of the first window with lines, -1 before it
    patterns: dict[str, Pattern] = {}
    shapes: dict[str, str] = {}


def assign_patterns(
    state: PatternState, summary: WindowSummary, *, is_late: bool, learning_seconds: int = LEARNING_SECONDS
) -> WindowSummary:
    """`summary` with its `patterns` keyed by pattern_id instead of shape_id; mutates `state`.

    Stats of the shapes of one pattern are merged. `first_seen_us` is the start of the first window
    that had the pattern. A late pane changes nothing in `state`, and so does a window whose shapes
    were coarsened: what they do not share with known patterns keeps its shape_id as pattern_id.
    Trace errors are renamed alike. Patterns that this window merged into others are named in
    `merged_patterns`. `summary` itself is left as it was.
    """
    texts = {shape_id: stats.text for shape_id, stats in summary.patterns.items()}
    merged: dict[str, str] = {}
    if is_late or summary.pattern_level or not texts:
        owners = find_pattern_ids(state, texts)
    else:
        if state.started_us < 0:
            state.started_us = summary.window_start_us
        owners, merged = _learn(state, texts, summary.window_start_us)
    return msgspec.structs.replace(
        summary,
        merged_patterns=merged,
        patterns=_merge_stats(state, summary, owners, learning_seconds),
        traces={
            trace_id: msgspec.structs.replace(error, shape_id=owners.get(error.shape_id, error.shape_id))
            for trace_id, error in summary.traces.items()
        },
    )


def find_pattern_ids(state: PatternState, texts: dict[str, str]) -> dict[str, str]:
    """The pattern_id of each shape in `texts` (shape_id → text); its shape_id where none is known."""
    unknown = {split_words(text)[1] for shape_id, text in texts.items() if shape_id not in state.shapes}
    groups = _by_delimiters(state, unknown)
    owners: dict[str, str] = {}
    for shape_id, text in texts.items():
        owner = state.shapes.get(shape_id)
        if owner is None:
            words, delimiters = split_words(text)
            covering = _covering(groups[delimiters].values(), words)
            owner = covering.pattern_id if covering else shape_id
        owners[shape_id] = owner
    return owners


def lineage(state: PatternState) -> dict[str, list[str]]:
    """pattern_id → the recorded shape_ids it covers, merged patterns' ids among them; all sorted."""
    covered: dict[str, list[str]] = {pattern_id: [] for pattern_id in sorted(state.patterns)}
    for shape_id in sorted(state.shapes):
        covered[state.shapes[shape_id]].append(shape_id)
    return covered


def _learn(state: PatternState, texts: dict[str, str], now_us: int) -> tuple[dict[str, str], dict[str, str]]:
    """The pattern_id of each shape in `texts` (shape_id → text) after learning from them.

    And the patterns that became part of another one: old id → new id.
    """
    unknown: defaultdict[_Delimiters, list[str]] = defaultdict(list)
    for shape_id in sorted(texts.keys() - state.shapes.keys()):
        unknown[split_words(texts[shape_id])[1]].append(shape_id)
    owners = {shape_id: state.shapes[shape_id] for shape_id in texts.keys() & state.shapes.keys()}
    groups = _by_delimiters(state, unknown)
    merged: dict[str, str] = {}
    for delimiters, shape_ids in sorted(unknown.items()):
        patterns = groups[delimiters]
        owners |= _adopt(state, patterns, {shape_id: texts[shape_id] for shape_id in shape_ids}, now_us)
        if any(shape_id in patterns for shape_id in shape_ids):
            merged |= _generalize(state, patterns)
    if merged:
        state.shapes = {shape_id: _final(merged, owner) for shape_id, owner in state.shapes.items()}
        owners = {shape_id: _final(merged, owner) for shape_id, owner in owners.items()}
    for pattern_id in owners.values():
        state.patterns[pattern_id].last_seen_us = now_us
    _forget(state, now_us)
    return owners, {old: _final(merged, old) for old in sorted(merged)}


def _adopt(
    state: PatternState, patterns: dict[str, Pattern], texts: dict[str, str], now_us: int
) -> dict[str, str]:
    """Owners of unknown shapes: the pattern that covers them, else a new one, added to `patterns`."""
    opened = [pattern for pattern in patterns.values() if pattern.variables]
    owners: dict[str, str] = {}
    for shape_id, text in texts.items():
        covering = _covering(opened, split_words(text)[0])
        if covering is None:
            covering = patterns[shape_id] = state.patterns[shape_id] = Pattern(shape_id, text, now_us, now_us)
            state.shapes[shape_id] = shape_id
        elif len(state.shapes) < MAX_SHAPES:
            state.shapes[shape_id] = covering.pattern_id
        owners[shape_id] = covering.pattern_id
    return owners


def _generalize(state: PatternState, patterns: dict[str, Pattern]) -> dict[str, str]:
    """Merge `patterns`, all with the same delimiters, until nothing more varies: old id → new id."""
    merged: dict[str, str] = {}
    while True:
        merges = list(find_merges(patterns.values()))
        if not merges:
            return merged
        for merge in merges:
            general = merge_patterns(merge)
            for member in merge.members:
                del patterns[member.pattern_id], state.patterns[member.pattern_id]
                if member.pattern_id != general.pattern_id:
                    merged[member.pattern_id] = general.pattern_id
            patterns[general.pattern_id] = state.patterns[general.pattern_id] = general


def _final(merged: dict[str, str], pattern_id: str) -> str:
    while pattern_id in merged:
        pattern_id = merged[pattern_id]
    return pattern_id


def _by_delimiters(
    state: PatternState, wanted: Iterable[_Delimiters]
) -> dict[_Delimiters, dict[str, Pattern]]:
    groups: dict[_Delimiters, dict[str, Pattern]] = {delimiters: {} for delimiters in wanted}
    if groups:
        for pattern in state.patterns.values():
            group = groups.get(split_words(pattern.text)[1])
            if group is not None:
                group[pattern.pattern_id] = pattern
    return groups


def _covering(patterns: Iterable[Pattern], words: tuple[str, ...]) -> Pattern | None:
    """The pattern that covers `words` with the fewest variables, the eldest of these."""
    covering = [pattern for pattern in patterns if pattern.variables and covers(pattern, words)]
    return min(
        covering,
        key=lambda pattern: (len(pattern.variables), pattern.first_seen_us, pattern.pattern_id),
        default=None,
    )


def _merge_stats(
    state: PatternState, summary: WindowSummary, owners: dict[str, str], learning_seconds: int
) -> dict[str, PatternStats]:
    merged: dict[str, PatternStats] = {}
    for shape_id in sorted(summary.patterns):
        stats, pattern_id = summary.patterns[shape_id], owners[shape_id]
        into = merged.get(pattern_id)
        if into is None:
            merged[pattern_id] = copy_stats(stats)
            continue
        add_counts(into, stats)
        into.examples += stats.examples
    learned_us = state.started_us + learning_seconds * MICROSECONDS
    for pattern_id, stats in merged.items():
        stats.examples = sorted(set(stats.examples), key=msgspec.structs.astuple)[:MAX_EXAMPLES]
        pattern = state.patterns.get(pattern_id)
        stats.first_seen_us = pattern.first_seen_us if pattern else summary.window_start_us
        if pattern:
            stats.text = pattern.text
            stats.is_new = pattern.first_seen_us == summary.window_start_us >= learned_us
    return merged


def _forget(state: PatternState, now_us: int) -> None:
    oldest_us = now_us - FORGET_AFTER_SECONDS * MICROSECONDS
    by_age = sorted(state.patterns.values(), key=lambda pattern: (pattern.last_seen_us, pattern.pattern_id))
    excess = len(by_age) - MAX_PATTERNS
    forgotten = {
        pattern.pattern_id
        for rank, pattern in enumerate(by_age)
        if rank < excess or pattern.last_seen_us < oldest_us
    }
    if forgotten:
        for pattern_id in forgotten:
            del state.patterns[pattern_id]
        state.shapes = {shape: owner for shape, owner in state.shapes.items() if owner not in forgotten}
    too_many = len(state.shapes) - MAX_SHAPES
    if too_many > 0:  # a pattern covers all that was merged into it: only lineage is lost
        for shape_id in sorted(state.shapes.keys() - state.patterns.keys())[:too_many]:
            del state.shapes[shape_id]
