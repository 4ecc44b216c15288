"""Which windows are worth asking about: those with something that is not as usual. Pure.

An ordered step of a (tenant, service): it brings a window together with what detectors found in it and with
deploys shortly before. What is skipped here says why, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec.structs import replace

from transforms.analyze.checks import off_band
from transforms.elements import CANARY_SERVICE, ERROR, MICROSECONDS, Anomaly, content_id
from transforms.gemini_elements import (
    GEMINI_DETECTOR,
    DeployEvidence,
    FindingEvidence,
    SkipReason,
    WindowEvidence,
)

DEPLOY_BEFORE_US: Final = 30 * 60 * MICROSECONDS
MOST_DEPLOYS: Final = 5
MOST_FINDINGS: Final = 20
NOVEL: Final = frozenset({"new_pattern", "error_pattern"})
"""Reasons that a pattern gives; they are what is still asked about when the budget is short."""


class Notice(msgspec.Struct, gc=False):
    """Either a window or something that was found in one."""

    tenant_id: str
    service: str
    window_start_us: int
    pane_index: int
    window: WindowEvidence | None = None
    finding: FindingEvidence | None = None
    finding_id: str = ""

    @property
    def tie(self) -> str:
        """What orders notices of one window."""
        return self.finding_id


class Selected(msgspec.Struct, frozen=True):
    """A window, and why it is asked about or (`skipped`) not.

    `items` are hashes of what is not as usual, one each; `novel_patterns` those patterns that are reasons.
    """

    window: WindowEvidence
    asked_because: list[str] = []
    items: list[str] = []
    novel_patterns: list[str] = []
    skipped: SkipReason | None = None

    @property
    def fingerprint(self) -> str:
        """Of the evidence: equal where the same things are unusual in the same service."""
        return content_id(self.window.tenant_id, self.window.service, *self.items)


class SelectState(msgspec.Struct):
    """Windows and findings of the timestamp at hand, and deploys of late."""

    windows: list[WindowEvidence] = []
    findings: list[FindingEvidence] = []
    deploys: list[DeployEvidence] = []


class SelectWindows:
    """Ordered step: Notice → Selected, one for each pane of each window; none for windows of canaries."""

    state_type = SelectState
    output_type = Selected

    def initial(self) -> SelectState:
        return SelectState()

    def step(self, state: SelectState, value: Notice, *, is_late: bool) -> Iterator[Selected]:
        if value.service == CANARY_SERVICE:
            return
        if value.finding is not None and not is_late:
            state.findings.append(value.finding)
        elif value.window is not None and is_late:
            # What it says on time was asked about, or is about to be: a late line is no news.
            yield Selected(value.window, skipped="late")
        elif value.window is not None:
            state.windows.append(value.window)

    def end_time(self, state: SelectState, time_us: int) -> Iterator[Selected]:  # noqa: ARG002
        """The windows of one timestamp with what was found in them."""
        findings = sorted(state.findings, key=msgspec.structs.astuple)[:MOST_FINDINGS]
        for window in state.windows:
            seen = {*state.deploys, *window.deploys}
            since_us = window.window_start_us - DEPLOY_BEFORE_US
            near = sorted((d for d in seen if d.deployed_at_us >= since_us), key=msgspec.structs.astuple)
            state.deploys = near[-MOST_DEPLOYS:]
            yield select_window(replace(window, deploys=state.deploys, findings=findings))
        state.windows, state.findings = [], []


def select_window(window: WindowEvidence) -> Selected:
    """Ask about a window with new patterns, patterns of errors, signals off their band, or findings."""
    because: dict[str, list[str]] = {
        "new_pattern": [p.pattern_id for p in window.patterns if p.is_new],
        "error_pattern": [p.pattern_id for p in window.patterns if p.errors or p.severity >= ERROR],
        "off_band": [f"{signal} {way}" for signal, way in off_band(window).items()],
        "anomaly": [
            " ".join((f.detector, f.signal, f.endpoint, f.pattern_id))
            for f in window.findings
            if f.detector != GEMINI_DETECTOR
        ],
    }
    reasons = [reason for reason, found in because.items() if found]
    if not reasons:
        return Selected(window, skipped="nothing_new")
    items = {
        content_id(window.service, reason, name)[:16] for reason, found in because.items() for name in found
    }
    novel = {*because["new_pattern"], *because["error_pattern"]}
    return Selected(window, reasons, sorted(items), sorted(novel))


def notice_of_window(window: WindowEvidence) -> Notice:
    """A window enters."""
    return Notice(window.tenant_id, window.service, window.window_start_us, window.pane_index, window=window)


def notice_of_anomaly(anomaly: Anomaly) -> Notice:
    """What was found enters; what was withdrawn, or comes of a late pane, is as late as that."""
    finding = FindingEvidence(
        anomaly.detector,
        anomaly.anomaly_type,
        anomaly.anomaly_severity,
        anomaly.signal,
        anomaly.endpoint,
        anomaly.evidence[0].pattern_id if anomaly.evidence else "",
    )
    pane_index = anomaly.revision if anomaly.status == "open" else max(1, anomaly.revision)
    start_us = anomaly.window_start
    return Notice(anomaly.tenant_id, anomaly.service, start_us, pane_index, None, finding, anomaly.anomaly_id)
