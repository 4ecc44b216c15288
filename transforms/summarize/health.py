"""Health of a service in one window, 0 (down) to 100 (well). Explained in docs/health-score.md."""

from __future__ import annotations

from typing import Final

from transforms.elements import WindowSummary

ERROR_POINTS: Final = 60.0
SLOW_POINTS: Final = 25.0
WARNING_POINTS: Final = 15.0
FULL_ERROR_RATE: Final = 0.2
FULL_SLOW_SHARE: Final = 0.5
FULL_WARNING_RATE: Final = 0.5


def health_score(summary: WindowSummary) -> float | None:
    """100 minus what errors (60), slow requests (25) and warnings (15) cost; None without lines.

    Each cost grows linearly and is full at an error rate of 20 %, half of the requests slower than
    a second, or half of the lines warnings. A window without lines says nothing about health.
    """
    if not summary.lines:
        return None
    cost = (
        ERROR_POINTS * _share(summary.errors, summary.lines, FULL_ERROR_RATE)
        + SLOW_POINTS * _share(summary.slow_requests, summary.latency_count, FULL_SLOW_SHARE)
        + WARNING_POINTS * _share(summary.warnings, summary.lines, FULL_WARNING_RATE)
    )
    return round(100.0 - cost, 1)


def _share(part: int, whole: int, full: float) -> float:
    return min(1.0, part / whole / full) if whole else 0.0
