"""What Gemini is shown, what it said that could not be believed, and what asking it cost.

Rows of the tables `hypotheses` and `gemini_calls`; units as in `transforms/elements.py`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from transforms.elements import MICROSECONDS, Timestamp, describe

GEMINI_DETECTOR: Final = "gemini"
"""Detector of anomalies that Gemini found and code has checked."""

# ------------------------------------------------------------------------------- what is shown


class PatternEvidence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One pattern of one service in one window. `text` and `example` are redacted."""

    pattern_id: str
    text: str
    count: int
    errors: int
    severity: int  # Cloud Logging's number, the highest seen
    first_seen_us: int
    is_new: bool = False
    exception: str = ""
    example: str = ""


class BandEvidence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was expected of one signal in one window: lines, error_rate or latency_p95_ms."""

    baseline: float
    low: float
    high: float


class FindingEvidence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a rule or a learned detector has found in the window already."""

    detector: str
    anomaly_type: str
    severity: str
    signal: str
    endpoint: str = ""
    pattern_id: str = ""


class DeployEvidence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A roll-out of the service in the window or shortly before."""

    deployed_at_us: int
    what: str


class WindowEvidence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One service in one window as far as Gemini may know of it: figures and patterns, no raw lines.

    Latencies are milliseconds, -1 where no request was measured.
    """

    tenant_id: str
    service: str
    window_start_us: int
    window_seconds: int
    pane_index: int
    lines: int
    errors: int
    warnings: int
    requests: int
    denials: int
    latency_p50_ms: float
    latency_p95_ms: float
    patterns: list[PatternEvidence] = []
    bands: dict[str, BandEvidence] = {}
    deploys: list[DeployEvidence] = []
    findings: list[FindingEvidence] = []

    @property
    def window_end_us(self) -> int:
        """End of the window, exclusive."""
        return self.window_start_us + self.window_seconds * MICROSECONDS


# ------------------------------------------------------------------------- rows of the tables


class ClaimCheck(msgspec.Struct, frozen=True):
    """One number that Gemini cited, and what the recount says: null where there is no such number."""

    metric: Annotated[str, describe("What the number is of, e.g. count.")]
    subject: Annotated[str, describe("Window that it is about, or pattern in it.")]
    claimed: Annotated[float, describe("What Gemini said.")]
    actual: Annotated[float | None, describe("What the recount says; null where there is no such number.")]
    holds: Annotated[bool, describe("Whether both agree.")]


HypothesisReason = Literal[
    "wrong_number",
    "no_claim",
    "no_citation",
    "unknown_type",
    "unknown_service",
    "unknown_window",
    "unknown_pattern",
    "unknown_metric",
    "evidence_does_not_fit",
    "too_many_findings",
]


class Hypothesis(msgspec.Struct, frozen=True):
    """What Gemini claimed and code could not confirm: to be read, never an alert. Table `hypotheses`."""

    hypothesis_id: Annotated[str, describe("Hash of the request and the place of the claim in its answer.")]
    request_id: Annotated[str, describe("Request that it came of, see gemini_calls.")]
    tenant_id: Annotated[str, describe("Tenant that was asked about.")]
    service: Annotated[str, describe("Service that the claim is about, cleaned; it need not exist.")]
    window_start: Annotated[Timestamp, describe("Start of the window it is about, else of the first asked.")]
    window_end: Annotated[Timestamp, describe("End of that window, or of the last asked; exclusive.")]
    reason: Annotated[HypothesisReason, describe("Why it is not believed, in a few fixed words.")]
    detail: Annotated[str, describe("Where exactly.")]
    anomaly_type: Annotated[str, describe("Kind of anomaly as claimed, cleaned.")]
    claimed_severity: Annotated[str, describe("Severity as claimed, cleaned; nothing follows from it.")]
    claimed_confidence: Annotated[float, describe("Confidence as claimed, 0 to 1.")]
    description: Annotated[str, describe("What it says, cleaned.")]
    analysis: Annotated[str, describe("Why it says so, cleaned.")]
    recommended_actions: Annotated[list[str], describe("What it advises, cleaned; commands are flagged.")]
    pattern_ids: Annotated[list[str], describe("Patterns that it cites and that exist.")]
    checks: Annotated[list[ClaimCheck], describe("Its numbers beside the recounted ones.")]
    model: Annotated[str, describe("Model that was asked.")]
    prompt_version: Annotated[str, describe("Version of the prompt.")]


CallSubject = Literal["batch", "incident", "window"]
"""A request about windows, a request about an incident, or what became of one window."""

CallOutcome = Literal["answered", "cached", "skipped", "failed"]

LadderStep = Literal["full", "novel_only", "cached", "rules_only"]
LADDER: Final[tuple[LadderStep, ...]] = ("full", "novel_only", "cached", "rules_only")

SkipReason = Literal[
    "nothing_new",
    "same_evidence",
    "late",
    "over_budget",
    "not_novel",
    "drained",
]
FailReason = Literal[
    "breaker_open",
    "timeout",
    "connection",
    "rate_limited",
    "server_error",
    "bad_request",
    "permission_denied",
    "truncated",
    "blocked",
    "empty",
    "bad_json",
    "wrong_schema",
    "not_believed",
]


class GeminiCall(msgspec.Struct, frozen=True):
    """A request to Gemini, or what became of one window: asked, cached, skipped. Table `gemini_calls`.

    Tokens and cost stand in the rows of requests (subject `batch` or `incident`) alone; each window of
    a service has one row of its own (subject `window`), so that what was not asked shows too.
    """

    call_id: Annotated[
        str, describe("Hash of what was asked, or of the window; a repeated bundle has the same.")
    ]
    tenant_id: Annotated[str, describe("Tenant that it belongs to.")]
    subject: Annotated[CallSubject, describe("batch or incident (a request), or window.")]
    service: Annotated[str, describe("Service of the window; empty for requests.")]
    incident_id: Annotated[str, describe("Incident that was asked about, or empty.")]
    request_id: Annotated[
        str,
        describe("The request itself; of a window the one that it was part of, or whose verdict it took."),
    ]
    window_start: Annotated[Timestamp, describe("Start of the window, or of the first one asked about.")]
    window_end: Annotated[Timestamp, describe("End of the window, or of the last one asked about.")]
    windows: Annotated[int, describe("Windows in the request; 1 for a window.")]
    outcome: Annotated[CallOutcome, describe("answered, cached, skipped or failed.")]
    reason: Annotated[str, describe("Why it was skipped or failed, in a fixed word; empty if answered.")]
    asked_because: Annotated[
        list[str], describe("What is new of the window: new_pattern, error_pattern, off_band, anomaly.")
    ]
    ladder_step: Annotated[
        LadderStep, describe("full, novel_only, cached or rules_only: what the budget allowed.")
    ]
    fingerprint: Annotated[str, describe("Hash of the evidence; equal evidence is not asked about twice.")]
    model: Annotated[str, describe("Model that was asked; empty where none was.")]
    prompt_version: Annotated[str, describe("Version of the prompt.")]
    prompt_tokens_estimated: Annotated[int, describe("Tokens of the prompt as estimated before asking.")]
    tokens_in: Annotated[int, describe("Tokens of the prompt, as billed.")]
    tokens_out: Annotated[int, describe("Tokens of the answer, thoughts included, as billed.")]
    cost_usd: Annotated[
        float | None, describe("Cost by the price file, US dollars; null for a model without a price.")
    ]
    latency_ms: Annotated[int, describe("From the first attempt to the last answer.")]
    attempts: Annotated[int, describe("HTTP requests that were made.")]
    findings: Annotated[int, describe("Findings in the answer.")]
    verified_findings: Annotated[int, describe("Findings that became anomalies.")]
    claims: Annotated[int, describe("Numbers cited in the answer.")]
    verified_claims: Annotated[int, describe("Of these, those that the recount confirms.")]
    asked_at: Annotated[Timestamp, describe("When: the wall clock in a stream, event time in a file.")]
