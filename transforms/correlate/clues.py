"""What correlation looks at: anomalies, and a little of every window of every service of the tenant."""

from __future__ import annotations

import msgspec

from transforms.elements import (
    CANARY_SERVICE,
    MICROSECONDS,
    Anomaly,
    DeployEvent,
    RequestStats,
    TraceError,
    WindowSummary,
)


class ServiceFacts(msgspec.Struct, array_like=True, gc=False):
    """What a window of one service says of others, and of what it did itself."""

    service: str
    lines: int
    errors: int
    requests: int
    latency_count: int
    latency_sum_us: int
    callers: dict[str, RequestStats]
    traces: dict[str, TraceError]
    spans: dict[str, dict[str, str]]
    deploys: list[DeployEvent]


class Clue(msgspec.Struct, gc=False):
    """Either facts or an anomaly. Facts of a time come before the anomalies of that time."""

    tenant_id: str
    window_start_us: int
    window_seconds: int
    pane_index: int
    facts: ServiceFacts | None = None
    anomaly: Anomaly | None = None

    @property
    def is_canary(self) -> bool:
        """Of the service of canaries, which has nothing to do with any other."""
        told = self.anomaly or self.facts
        return told is not None and told.service == CANARY_SERVICE

    @property
    def tie(self) -> str:
        """What orders clues of one window."""
        if self.anomaly is not None:
            return f"1{self.anomaly.anomaly_id}{self.anomaly.revision:09}"
        return f"0{self.facts.service if self.facts else ''}"


def clue_of_summary(summary: WindowSummary) -> Clue:
    """The facts of a window."""
    facts = ServiceFacts(
        summary.service,
        summary.lines,
        summary.errors,
        summary.requests,
        summary.latency_count,
        summary.latency_sum_us,
        summary.callers,
        summary.traces,
        summary.spans,
        summary.deploys,
    )
    return Clue(
        summary.tenant_id, summary.window_start_us, summary.window_seconds, summary.pane_index, facts=facts
    )


def clue_of_anomaly(anomaly: Anomaly) -> Clue:
    """The anomaly; a late revision of one counts as late."""
    seconds = (anomaly.window_end - anomaly.window_start) // MICROSECONDS
    return Clue(anomaly.tenant_id, anomaly.window_start, seconds, anomaly.revision, anomaly=anomaly)
