"""Adding up requests: shared by the stages that count them."""

from __future__ import annotations

from transforms.elements import RequestStats
from transforms.sketches import merge_sum


def add_stats(into: RequestStats, other: RequestStats) -> None:
    """Add `other` to `into`, in place; `other` stays as it is."""
    into.count += other.count
    into.errors += other.errors
    into.latency_sum_us += other.latency_sum_us
    merge_sum(into.latency_bins, other.latency_bins)
