"""What a service logs for each request, as a table of counts: see request_lines.py, which keeps it.

A row is a calm window, a column is requests (all, of an endpoint, of a caller), errors, or a pattern's lines.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from transforms.detect.deviations import Report
from transforms.detect.invariants import LEAST_EVENTS, Columns, Counts, Missing, find_missing
from transforms.elements import ERROR, PatternStats, WindowSummary

MEMORY_WINDOWS: Final = 30
MOST: Final = {"E": 20, "Q": 20, "P": 60}
"""Columns of a kind."""

MOST_REVISIONS: Final = 10
MOST_CHARACTERS: Final = 160
LEAD_WORDS: Final = 3
"""Patterns that begin with the same words are a family: time, level and logger stand at the beginning."""

ALL, ERRORS = "R", "X"
_REQUESTS: Final = frozenset("REQ")


class Known(msgspec.Struct, array_like=True, gc=False):
    """A pattern that has a column."""

    text: str
    is_error: bool


class RequestLinesMemory(msgspec.Struct, array_like=True, gc=False):
    """`numbers` is a table of unsigned integers of 4 bytes, `names` are its columns, oldest row first.

    A name is the kind (R requests, E of an endpoint, Q of a caller, X errors, P lines of a pattern) and then
    of what. `pooled` are the counts of the `waiting` suspicious windows in a row up to the newest.
    """

    names: list[str] = []
    numbers: bytes = b""
    patterns: dict[str, Known] = {}
    revisions: list[str] = []
    pooled: dict[str, int] = {}
    waiting: int = 0
    opened_us: int = 0  # start of the first window of the episode, 0 where none is open
    newest_us: int = -1  # end of the newest window
    suspicious_us: int = -1  # end of the newest suspicious one
    calm: int = 0  # windows since
    report: Report | None = None


class MissingLines(msgspec.Struct, frozen=True):
    """Lines of one pattern, or of a family of them, that did not come in the last `windows` windows."""

    pattern_ids: tuple[str, ...]
    text: str
    lines: int
    expected: float
    anchor: str  # for people
    anchor_count: int
    z: float


class BrokenInvariants(msgspec.Struct, frozen=True):
    """What is missing, the surest first, in the last `windows` of an episode, open since `opened_us`."""

    missing: list[MissingLines]
    windows: int
    opened_us: int
    errors: int
    errors_expected: float
    is_new_revision: bool


def merge_columns(memory: RequestLinesMemory, merged: Mapping[str, str]) -> None:
    """Count what is known of each old pattern id to the new one; mutates `memory`."""
    table = Table(memory)
    for old, new in sorted(merged.items()):
        if f"P{old}" in memory.names and old != new:
            table.merge(old, new)
        if f"P{old}" in memory.pooled and old != new:
            memory.pooled[f"P{new}"] = memory.pooled.get(f"P{new}", 0) + memory.pooled.pop(f"P{old}")
    table.encode()


def find_table_damage(memory: RequestLinesMemory) -> str:
    """What is wrong with a memory that was decoded, in a few words; "" for a sound one."""
    names, width = memory.names, 4 * len(memory.names)
    kinds = {*MOST, ALL, ERRORS}
    patterns = {name[1:] for name in names if name[:1] == "P"}
    if len(memory.numbers) % (width or 1) or (memory.numbers and not width):
        return "its table of lines has no whole rows"
    if len(set(names)) < len(names) or any(name[:1] not in kinds for name in names):
        return "its table of lines has columns that this version does not know"
    if patterns != memory.patterns.keys() or memory.waiting < 0:
        return "its table of lines does not fit together"
    return ""


class Table:
    """The table of a memory, decoded."""

    def __init__(self, memory: RequestLinesMemory) -> None:
        self._memory = memory
        width = len(memory.names)
        rows = np.frombuffer(memory.numbers, dtype="<u4").reshape(-1, width) if width else np.zeros((0, 0))
        self.counts: Counts = rows.astype(float)
        self._families: dict[str, list[int]] = {}

    def encode(self) -> None:
        self._memory.numbers = self.counts.astype("<u4").tobytes()

    def follow(self, patterns: Mapping[str, PatternStats]) -> None:
        """Texts are those of today, for a pattern becomes more general; families go by them."""
        known = self._memory.patterns
        for key in known.keys() & patterns.keys():
            known[key] = _known(patterns[key])
        self._families = self._find_families()

    def merge(self, old: str, new: str) -> None:
        """Patterns that became one are one column."""
        memory = self._memory
        place = memory.names.index(f"P{old}")
        memory.patterns[new] = memory.patterns.pop(old)
        if f"P{new}" in memory.names:
            self.counts[:, memory.names.index(f"P{new}")] += self.counts[:, place]
            self._keep([name != f"P{old}" for name in memory.names])
        else:
            memory.names[place] = f"P{new}"

    def judge(self, window: Mapping[str, int], least_events: float = LEAST_EVENTS) -> list[Missing]:
        """What is missing; columns beyond those of the table are families."""
        columns, counts = (
            self._columns(),
            np.array([window.get(name, 0) for name in self._memory.names], float),
        )
        families = [counts[members].sum() for members in self._families.values()]
        return find_missing(columns, np.concatenate([counts, families]), least_events)

    def learn(self, window: Mapping[str, int], summary: WindowSummary) -> None:
        memory = self._memory
        added = [name for name in sorted(window) if name not in memory.names]
        memory.names = [*memory.names, *added]
        kept = self.counts[-(MEMORY_WINDOWS - 1) :]
        self.counts = np.zeros((len(kept) + 1, len(memory.names)))
        self.counts[:-1, : kept.shape[1]] = kept
        self.counts[-1] = [window.get(name, 0) for name in memory.names]
        for name in added:
            if name[0] == "P":
                memory.patterns[name[1:]] = _known(summary.patterns[name[1:]])
        others = [revision for revision in memory.revisions if revision not in summary.revisions]
        memory.revisions = [*others, *sorted(summary.revisions)][-MOST_REVISIONS:]
        self._drop_rare()

    def _drop_rare(self) -> None:
        """The columns with the largest totals stay, of each kind as many as MOST says; empty ones go."""
        names, totals = self._memory.names, self.counts.sum(axis=0).tolist()
        ranked = sorted(zip(totals, names, strict=True), key=lambda column: (-column[0], column[1]))
        of_kind: defaultdict[str, list[str]] = defaultdict(list)
        for total, name in ranked:
            if total:
                of_kind[name[0]].append(name)
        kept = {name for kind, some in of_kind.items() for name in some[: MOST.get(kind, 1)]}
        if len(kept) < len(names):
            self._keep([name in kept for name in names])
            patterns = self._memory.patterns
            self._memory.patterns = {key: known for key, known in patterns.items() if f"P{key}" in kept}

    def _keep(self, is_kept: Sequence[bool]) -> None:
        self.counts = self.counts[:, np.array(is_kept, dtype=bool)]
        self._memory.names = [name for name, kept in zip(self._memory.names, is_kept, strict=True) if kept]

    def _find_families(self) -> dict[str, list[int]]:
        """Columns of patterns that begin alike, two at least, by their first words."""
        families: defaultdict[str, list[int]] = defaultdict(list)
        for place, name in enumerate(self._memory.names):
            known = self._memory.patterns.get(name[1:]) if name[0] == "P" else None
            if known and not known.is_error:
                families[" ".join(known.text.split(None, LEAD_WORDS)[:LEAD_WORDS])].append(place)
        return {words: members for words, members in families.items() if len(members) > 1}

    def _columns(self) -> Columns:
        memory = self._memory
        families = list(self._families.values())
        sums = [self.counts[:, members].sum(axis=1) for members in families]
        kinds = [name[0] for name in memory.names]
        is_line = np.array([kind == "P" for kind in kinds] + [False] * len(families), dtype=bool)
        # Fewer errors are no anomaly.
        is_target = [
            kind == "P" and not memory.patterns[name[1:]].is_error
            for kind, name in zip(kinds, memory.names, strict=True)
        ]
        return Columns(
            np.column_stack([self.counts, *sums]),
            np.array(is_target + [True] * len(families), dtype=bool),
            np.array([kind in _REQUESTS for kind in kinds] + [False] * len(families), dtype=bool),
            is_line,
        )

    def describe(
        self, found: Sequence[Missing], pool: Mapping[str, int], windows: int, summary: WindowSummary
    ) -> BrokenInvariants:
        """What was found in `pool`, the counts of so many windows up to that of `summary`, with names."""
        memory = self._memory
        totals = dict(zip(memory.names, self.counts.sum(axis=0).tolist(), strict=True))
        requests, errors = totals.get(ALL, 0.0), totals.get(ERRORS, 0.0)
        share = pool.get(ALL, 0) / requests if requests else windows / len(self.counts)
        is_new = bool(summary.revisions) and not set(memory.revisions) & set(summary.revisions)
        missing = [self._missing(missing, pool) for missing in found]
        return BrokenInvariants(
            missing, windows, memory.opened_us, pool.get(ERRORS, 0), errors * share, is_new
        )

    def _missing(self, missing: Missing, pool: Mapping[str, int]) -> MissingLines:
        memory = self._memory
        anchor = memory.names[missing.anchor]
        if missing.target < len(memory.names):
            keys = [memory.names[missing.target][1:]]
            text = memory.patterns[keys[0]].text
        else:
            words, members = list(self._families.items())[missing.target - len(memory.names)]
            keys, text = [memory.names[place][1:] for place in members], f"{words} …"
        return MissingLines(
            tuple(sorted(keys)),
            text,
            int(missing.lines),
            missing.expected,
            self._name_anchor(anchor),
            pool.get(anchor, 0),
            missing.z,
        )

    def _name_anchor(self, anchor: str) -> str:
        kind, key = anchor[0], anchor[1:]
        if kind == "P":
            return f"lines “{self._memory.patterns[key].text}”"
        return {"R": "requests", "E": f"requests {key}", "Q": f"requests of {key}"}[kind]


def _known(stats: PatternStats) -> Known:
    return Known(stats.text[:MOST_CHARACTERS], stats.severity >= ERROR)
