"""Rows of `gemini_calls`: of a request, and of what became of one window. Pure."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from transforms.analyze.model import Reply
from transforms.analyze.narrative import NarrativePrompt
from transforms.analyze.prices import cost_usd
from transforms.analyze.prompt import PROMPT_VERSION, Prompt
from transforms.analyze.select import Selected
from transforms.analyze.settings import AnalyzeSettings
from transforms.elements import content_id
from transforms.gemini_elements import CallOutcome, GeminiCall, LadderStep

_EMPTY_CALL: Final = GeminiCall(
    call_id="", tenant_id="", subject="window", service="", incident_id="", request_id="", window_start=0,
    window_end=0, windows=0, outcome="skipped", reason="", asked_because=[], ladder_step="full",
    fingerprint="", model="", prompt_version="", prompt_tokens_estimated=0, tokens_in=0, tokens_out=0,
    cost_usd=0.0, latency_ms=0, attempts=0, findings=0, verified_findings=0, claims=0,
    verified_claims=0, asked_at=0,
)  # fmt: skip


def window_row(
    one: Selected,
    outcome: CallOutcome,
    reason: str,
    step: LadderStep,
    now_us: int,
    request_id: str = "",
    model: str = "",
) -> GeminiCall:
    """The row of one window: what became of it."""
    window = one.window
    return replace(
        _EMPTY_CALL,
        call_id=content_id(
            "window", window.tenant_id, window.service, window.window_start_us, window.pane_index
        ),
        tenant_id=window.tenant_id,
        service=window.service,
        request_id=request_id,
        window_start=window.window_start_us,
        window_end=window.window_end_us,
        windows=1,
        outcome=outcome,
        reason=reason,
        asked_because=one.asked_because,
        ladder_step=step,
        fingerprint=one.fingerprint,
        model=model,
        prompt_version=PROMPT_VERSION,
        asked_at=now_us,
    )


def request_call(
    prompt: Prompt | NarrativePrompt, reply: Reply, now_us: int, settings: AnalyzeSettings
) -> GeminiCall:
    """What is common to the rows of requests: words, tokens, cost and outcome."""
    cost = cost_usd(settings.prices, settings.model, now_us, reply.tokens_in, reply.tokens_out)
    return replace(
        _EMPTY_CALL,
        call_id=prompt.request_id,
        request_id=prompt.request_id,
        tenant_id=prompt.tenant_id,
        outcome="failed" if reply.failed else "answered",
        reason=reply.failed or "",
        model=settings.model,
        prompt_version=prompt.version,
        prompt_tokens_estimated=prompt.tokens,
        tokens_in=reply.tokens_in,
        tokens_out=reply.tokens_out,
        cost_usd=cost,
        latency_ms=reply.latency_ms,
        attempts=reply.attempts,
        asked_at=now_us,
    )
