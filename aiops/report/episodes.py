"""Anomalies of consecutive windows gathered into episodes, and fair choices where not all fit. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Final, TypeVar

from pipeline.duckdb_store import Row
from transforms.elements import SEVERITY_RANKS

LONGEST_PAUSE: Final = timedelta(minutes=5)
"""Windows without an anomaly that an episode may have in between, as a time."""

LOOK_BACK: Final = timedelta(days=14)
"""How far back the report looks for the same episode."""

_SAME_EPISODE: Final = ("tenant_id", "service", "endpoint", "anomaly_type", "detector", "signal")
EPISODE_COLUMNS: Final = (
    *_SAME_EPISODE,
    "anomaly_id",
    "anomaly_severity",
    "confidence_score",
    "below_confidence_floor",
    "window_start",
    "window_end",
)
"""What of an anomaly its episode needs: all but the heavy evidence."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Episode:
    """One thing that went wrong: anomalies of one detector and signal in consecutive windows."""

    tenant: str
    service: str
    endpoint: str
    anomaly_type: str
    severity: str  # the highest
    start: datetime
    end: datetime
    anomalies: int
    windows: int
    worst_id: str  # anomaly_id of the worst, whose evidence is shown
    under_floor: bool  # all of them are below the confidence floor
    detector: str
    signal: str
    times_before: int  # earlier episodes of the same within LOOK_BACK
    last_before: datetime | None  # end of the last of them
    anomaly_ids: tuple[str, ...]  # all of them, in the order of their windows

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical."""
        return SEVERITY_RANKS[self.severity]

    @property
    def importance(self) -> tuple[bool, int, datetime, int]:
        """Sorts what to look at first to the end: sure, severe, recent, long."""
        return not self.under_floor, self.rank, self.end, self.anomalies


def gather_episodes(anomalies: Iterable[Row]) -> list[Episode]:
    """Episodes of `anomalies` (in any order), the most important first."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(anomalies, key=lambda row: (row["window_start"], row["anomaly_id"])):
        groups.setdefault(tuple(row[name] for name in _SAME_EPISODE), []).append(row)
    episodes = [
        _episode(run, runs[:place]) for runs in map(_runs, groups.values()) for place, run in enumerate(runs)
    ]
    episodes.sort(key=lambda episode: (episode.tenant, episode.service, episode.worst_id))
    return sorted(episodes, key=lambda episode: episode.importance, reverse=True)


def _runs(rows: list[Row]) -> list[list[Row]]:
    runs: list[list[Row]] = []
    end = datetime.min
    for row in rows:
        pause = max(LONGEST_PAUSE, 2 * (row["window_end"] - row["window_start"]))
        if not runs or row["window_start"] > end + pause:
            runs.append([])
            end = row["window_end"]
        runs[-1].append(row)
        end = max(end, row["window_end"])
    return runs


def _episode(rows: list[Row], earlier: list[list[Row]]) -> Episode:
    ends = [max(row["window_end"] for row in run) for run in earlier]
    recent = [end for end in ends if end >= rows[0]["window_start"] - LOOK_BACK]
    worst = max(
        rows,
        key=lambda row: (
            not row["below_confidence_floor"],
            SEVERITY_RANKS[row["anomaly_severity"]],
            row["confidence_score"],
        ),
    )
    return Episode(
        tenant=worst["tenant_id"],
        service=worst["service"],
        endpoint=worst["endpoint"],
        anomaly_type=worst["anomaly_type"],
        severity=worst["anomaly_severity"],
        start=rows[0]["window_start"],
        end=max(row["window_end"] for row in rows),
        anomalies=len(rows),
        windows=len({row["window_start"] for row in rows}),
        worst_id=worst["anomaly_id"],
        under_floor=all(row["below_confidence_floor"] for row in rows),
        detector=worst["detector"],
        signal=worst["signal"],
        times_before=len(recent),
        last_before=max(recent, default=None),
        anomaly_ids=tuple(row["anomaly_id"] for row in rows),
    )


def fair_share(items: Iterable[Item], tenant_of: Callable[[Item], str], limit: int) -> list[Item]:
    """At most `limit` of `items`, the tenants' first ones in turn, in the order they came.

    So that the storm of one tenant does not push the others off the page.
    """
    items = list(items)
    queues: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        queues.setdefault(tenant_of(item), []).append(place)
    turns = (place for turn in zip_longest(*queues.values()) for place in turn if place is not None)
    chosen = [place for place, _ in zip(turns, range(limit), strict=False)]
    return [items[place] for place in sorted(chosen)]
