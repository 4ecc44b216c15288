"""What an operator may set about metrics."""

from __future__ import annotations

import time

import msgspec

from transforms.timestamps import YEAR_2000_NS


class MetricSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of ParseMetrics; the same for the whole run, so that no bundle differs.

    They mean what they mean for logs (transforms/parse/settings.py). `received_at_ns` is the receive
    time of points from files. `trusted_tenant_field` counts where it is `labels.NAME` (of the metric)
    or `resource.labels.NAME`; other fields are not in a time series.
    """

    services: frozenset[str] = frozenset()
    max_payload_bytes: int = 1_048_576
    lateness_seconds: int = 600
    received_at_ns: int = YEAR_2000_NS
    now_ns: int = msgspec.field(default_factory=time.time_ns)
    trusted_tenant_field: str = ""
