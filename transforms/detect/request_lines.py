"""What a service logs for each request, learned from its last calm windows; invariants.py judges.

The memory is a table of counts: a row for each of the last MEMORY_WINDOWS calm windows with lines, a column
for each of the requests (all, by endpoint, by caller), the errors, and the patterns. Windows without lines,
and pauses of whatever length, are no rows: they neither teach nor alarm, nor does data that comes back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from transforms.detect.baselines.interface import MINUTE_US
from transforms.detect.deviations import Report
from transforms.detect.invariants import ALARM_Z, LEAST_EVENTS, Columns, Counts, Missing, find_missing
from transforms.elements import ERROR, MICROSECONDS, PatternStats, RequestStats, WindowSummary

MEMORY_WINDOWS: Final = 30
MOST_POOLED: Final = 10
"""Suspicious windows in a row that are judged together, so that few requests a window suffice. When no alarm
came of so many, the service has changed its ways, and learns."""

ADOPT_WINDOWS: Final = 120
"""What was missing in so many windows in a row is the new normal."""

SUSPICIOUS_EVENTS: Final = 1.0
"""One request without its lines keeps a window from being learned, if that is surprising."""

CALM_US: Final = 2 * MINUTE_US
"""After which an episode is over, when calm windows were seen meanwhile: one may be calm by chance."""

PAUSE_US: Final = 5 * MINUTE_US
"""What is known of a problem before a pause of so long says nothing of what comes after it."""

MOST: Final = {"E": 20, "Q": 20, "P": 60}
"""Columns of a kind."""

MOST_REVISIONS: Final = 10
MOST_CHARACTERS: Final = 160
LEAD_WORDS: Final = 3
"""Patterns that begin with the same words are a family: time, level and logger stand at the beginning."""

LARGEST: Final = 10_000_000
"""Squares of larger counts would not add up exactly."""

_ALL, _ERRORS = "R", "X"
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


def watch_request_lines(memory: RequestLinesMemory, summary: WindowSummary) -> BrokenInvariants | None:
    """Judge a window by the calm ones before it, then learn it where it is calm; mutates `memory`."""
    now_us = summary.window_start_us
    if not summary.lines or summary.pattern_level:
        return None
    end_us = now_us + summary.window_seconds * MICROSECONDS
    if _is_over(memory, now_us):
        _close(memory)
    memory.newest_us = end_us
    table = _Table(memory)
    table.follow(summary)
    window = _count(summary)
    is_suspicious = bool(table.judge(window, SUSPICIOUS_EVENTS))
    if is_suspicious and memory.waiting >= (ADOPT_WINDOWS if memory.opened_us else MOST_POOLED):
        _close(memory)
        is_suspicious = False
    if not is_suspicious:
        memory.calm += 1
        if not memory.opened_us or _is_over(memory, end_us):
            _close(memory)
            table.learn(window, summary)
        table.encode()
        return None
    memory.suspicious_us, memory.calm = end_us, 0
    if memory.waiting < MOST_POOLED:
        for name, count in window.items():
            memory.pooled[name] = memory.pooled.get(name, 0) + count
    memory.waiting += 1
    table.encode()
    pool = memory.pooled if memory.waiting <= MOST_POOLED else window
    found = [missing for missing in table.judge(pool) if missing.z >= ALARM_Z]
    if not found:
        return None
    memory.opened_us = memory.opened_us or now_us
    return table.describe(found, pool, summary)


def find_table_damage(memory: RequestLinesMemory) -> str:
    """What is wrong with a memory that was decoded, in a few words; "" for a sound one."""
    names, width = memory.names, 4 * len(memory.names)
    kinds = {*MOST, _ALL, _ERRORS}
    patterns = {name[1:] for name in names if name[:1] == "P"}
    if len(memory.numbers) % (width or 1) or (memory.numbers and not width):
        return "its table of lines has no whole rows"
    if len(set(names)) < len(names) or any(name[:1] not in kinds for name in names):
        return "its table of lines has columns that this version does not know"
    if patterns != memory.patterns.keys() or memory.waiting < 0:
        return "its table of lines does not fit together"
    return ""


def _is_over(memory: RequestLinesMemory, time_us: int) -> bool:
    """Whether what is open, or waits, is over at `time_us`: calm for CALM_US, or unknown for PAUSE_US."""
    is_calm = memory.calm > 0 and time_us - memory.suspicious_us >= CALM_US
    return is_calm or time_us - memory.newest_us >= PAUSE_US


def _close(memory: RequestLinesMemory) -> None:
    memory.pooled, memory.waiting, memory.opened_us, memory.report, memory.calm = {}, 0, 0, None, 0


def _count(summary: WindowSummary) -> dict[str, int]:
    counts = {_ALL: summary.requests, _ERRORS: summary.errors}
    counts |= {f"E{name}": stats.count for name, stats in _largest(summary.endpoints, "E")}
    counts |= {f"Q{name}": stats.count for name, stats in _largest(summary.callers, "Q")}
    counts |= {f"P{key}": stats.count for key, stats in summary.patterns.items()}
    return {name: min(count, LARGEST) for name, count in counts.items() if count}


def _largest(parts: Mapping[str, RequestStats], kind: str) -> list[tuple[str, RequestStats]]:
    return sorted(parts.items(), key=lambda part: (-part[1].count, part[0]))[: MOST[kind]]


class _Table:
    """The table of a memory, decoded."""

    def __init__(self, memory: RequestLinesMemory) -> None:
        self._memory = memory
        width = len(memory.names)
        rows = np.frombuffer(memory.numbers, dtype="<u4").reshape(-1, width) if width else np.zeros((0, 0))
        self.counts: Counts = rows.astype(float)
        self._families: dict[str, list[int]] = {}

    def encode(self) -> None:
        self._memory.numbers = self.counts.astype("<u4").tobytes()

    def follow(self, summary: WindowSummary) -> None:
        """Patterns that became one are one column; texts are those of today."""
        memory = self._memory
        for old, new in sorted(summary.merged_patterns.items()):
            if f"P{old}" not in memory.names:
                continue
            place = memory.names.index(f"P{old}")
            memory.patterns[new] = memory.patterns.pop(old)
            if f"P{new}" in memory.names:
                self.counts[:, memory.names.index(f"P{new}")] += self.counts[:, place]
                self._keep([name != f"P{old}" for name in memory.names])
            else:
                memory.names[place] = f"P{new}"
            if f"P{old}" in memory.pooled:
                memory.pooled[f"P{new}"] = memory.pooled.get(f"P{new}", 0) + memory.pooled.pop(f"P{old}")
        for key in memory.patterns.keys() & summary.patterns.keys():
            memory.patterns[key] = _known(summary.patterns[key])
        self._families = self._find_families()

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
        self, found: Sequence[Missing], pool: Mapping[str, int], summary: WindowSummary
    ) -> BrokenInvariants:
        memory = self._memory
        totals = dict(zip(memory.names, self.counts.sum(axis=0).tolist(), strict=True))
        requests, errors = totals.get(_ALL, 0.0), totals.get(_ERRORS, 0.0)
        usual = (
            errors / requests * pool.get(_ALL, 0) if requests else errors / len(self.counts) * memory.waiting
        )
        is_new = bool(summary.revisions) and not set(memory.revisions) & set(summary.revisions)
        return BrokenInvariants(
            [self._missing(missing, pool) for missing in found],
            min(memory.waiting, MOST_POOLED) if pool is memory.pooled else 1,
            memory.opened_us,
            pool.get(_ERRORS, 0),
            usual,
            is_new,
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
