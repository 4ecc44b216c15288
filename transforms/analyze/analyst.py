"""One tenant's batch: what is known already, what the budget allows, what is asked, what holds.

Pure but for the model.
Every window that comes in goes out in exactly one row of `gemini_calls` with subject `window`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec.structs import replace

from transforms.analyze.budget import Allowance, can_afford, fill, spend
from transforms.analyze.calls import request_call, window_row
from transforms.analyze.checks import Checked, check_finding
from transforms.analyze.memory import (
    KnownItem,
    KnownNarrative,
    TenantMemory,
    forget,
    remember_verdicts,
)
from transforms.analyze.model import Model, Reply
from transforms.analyze.narrative import (
    NARRATIVE_VERSION,
    NarrativePrompt,
    add_words,
    build_narrative_prompt,
    incident_fingerprint,
    needs_narrative,
)
from transforms.analyze.prompt import PROMPT_VERSION, Prompt, build_prompt, plan_prompts, split_prompt
from transforms.analyze.schema import (
    MOST_FINDINGS,
    BadAnswerError,
    ClaimedFinding,
    ClaimedNarrative,
    read_answer,
    read_narrative,
)
from transforms.analyze.select import NOVEL, Selected
from transforms.analyze.settings import AnalyzeSettings
from transforms.analyze.verdicts import Verdict, make_anomaly, make_hypothesis, make_verdict
from transforms.elements import Anomaly
from transforms.gemini_elements import CallOutcome, GeminiCall, Hypothesis, LadderStep, WindowEvidence
from transforms.incident_elements import Incident

AskAll = Callable[[Callable[[Prompt], Reply], Sequence[Prompt]], Iterable[Reply]]

EXPECTED_ANSWER_TOKENS: Final = 1_000
"""What is held back for an answer before it is known."""


class Analyzed(msgspec.Struct, frozen=True):
    """One of the four."""

    anomaly: Anomaly | None = None
    hypothesis: Hypothesis | None = None
    call: GeminiCall | None = None
    incident: Incident | None = None  # with the narrative that Gemini gave it


@dataclass
class _Request:
    """One prompt, its windows, and what came of it."""

    prompt: Prompt
    selected: list[Selected]
    step: LadderStep
    reply: Reply = field(default_factory=Reply)
    findings: list[ClaimedFinding] = field(default_factory=list)
    checked: list[Checked] = field(default_factory=list)


class Analyst:
    """Analyzes batches of one tenant at a time; all memory is in the TenantMemory that is handed in.

    `ask_all` maps a function over the prompts of a batch, maybe at once: its results are in their order.
    """

    def __init__(self, settings: AnalyzeSettings, model: Model, ask_all: AskAll = map) -> None:
        self._settings = settings
        self._model = model
        self._ask_all = ask_all
        largest = settings.max_prompt_tokens + EXPECTED_ANSWER_TOKENS
        self._allowance = Allowance(settings.tokens_per_day, settings.requests_per_day, largest)

    # ------------------------------------------------------------------------------ windows

    def analyze(self, memory: TenantMemory, batch: Sequence[Selected], now_us: int) -> Iterator[Analyzed]:
        """What becomes of the windows of `batch`, which are of one tenant and none of them skipped."""
        self._begin(memory, now_us)
        once = {(one.window.window_start_us, one.window.service): one for one in batch}
        fresh: dict[tuple[int, str], Selected] = {}
        for key, one in sorted(once.items()):
            if all(item in memory.items for item in one.items):
                yield from self._say_again(memory, one, "full", now_us)
            else:
                fresh[key] = one
        requests = []
        for prompt in plan_prompts([one.window for one in fresh.values()], self._settings.max_prompt_tokens):
            selected = [fresh[window.window_start_us, window.service] for window in prompt.windows.values()]
            request = self._take_step(memory, prompt, selected)
            if request is not None:
                spend(memory.budget, _estimate(request.prompt), 1)
                requests.append(request)
            yield from self._leave_out(memory, selected, request, now_us)
        replies = self._ask_all(self._send, [request.prompt for request in requests])
        for request, reply in zip(requests, replies, strict=True):
            yield from self._take_reply(memory, request, reply, now_us)

    def _begin(self, memory: TenantMemory, now_us: int) -> None:
        fill(memory.budget, self._allowance, now_us)
        forget(memory, now_us, self._settings.repeat_us, PROMPT_VERSION + NARRATIVE_VERSION)

    def _take_step(self, memory: TenantMemory, prompt: Prompt, selected: list[Selected]) -> _Request | None:
        """The request of the highest step of the ladder that the budget allows; None below requests."""
        if can_afford(memory.budget, _estimate(prompt)):
            return _Request(prompt, selected, "full")
        novel = [one for one in selected if NOVEL.intersection(one.asked_because)]
        if novel:
            small = build_prompt([_novel_part(one) for one in novel])
            if small.tokens < prompt.tokens and can_afford(memory.budget, _estimate(small)):
                return _Request(small, novel, "novel_only")
        return None

    def _leave_out(
        self, memory: TenantMemory, selected: list[Selected], request: _Request | None, now_us: int
    ) -> Iterator[Analyzed]:
        """What is said of windows that are not in the request after all."""
        asked = request.selected if request else []
        for one in selected:
            if one in asked:
                continue
            if request is not None:
                yield Analyzed(call=window_row(one, "skipped", "not_novel", "novel_only", now_us))
            elif one.window.service in memory.verdicts:
                yield from self._say_again(memory, one, "cached", now_us)
            else:
                yield Analyzed(call=window_row(one, "skipped", "over_budget", "rules_only", now_us))

    def _take_reply(
        self, memory: TenantMemory, request: _Request, reply: Reply, now_us: int, *, may_halve: bool = True
    ) -> Iterator[Analyzed]:
        _settle_budget(memory, request.prompt, reply)
        request.reply = reply
        if reply.failed is None:
            try:
                request.findings = read_answer(reply.text)
            except BadAnswerError as error:
                request.reply = replace(reply, failed=error.reason)
        halves = split_prompt(request.prompt) if may_halve and reply.failed == "truncated" else []
        needed = sum(_estimate(half) for half in halves)
        if not halves or not can_afford(memory.budget, needed, len(halves)):
            yield from self._settle(memory, request, now_us)
            return
        yield self._request_row(request, now_us)
        by_start = {one.window.window_start_us: one for one in request.selected}
        for half in halves:
            part = [by_start[window.window_start_us] for window in half.windows.values()]
            spend(memory.budget, _estimate(half), 1)
            again = _Request(half, part, request.step)
            yield from self._take_reply(memory, again, self._send(half), now_us, may_halve=False)

    def _send(self, prompt: Prompt | NarrativePrompt) -> Reply:
        return self._model.ask(prompt.system, prompt.text, prompt.schema)

    def _settle(self, memory: TenantMemory, request: _Request, now_us: int) -> Iterator[Analyzed]:
        """Check what came back, remember what held, and write every row."""
        prompt, reply = request.prompt, request.reply
        if reply.failed is None:
            request.checked = [check_finding(finding, prompt) for finding in request.findings[:MOST_FINDINGS]]
            yield from self._judge(memory, request, now_us)
            for one in request.selected:
                for item in one.items:
                    memory.items[item] = KnownItem(prompt.request_id, now_us)
        yield self._request_row(request, now_us)
        outcome: CallOutcome = "failed" if reply.failed else "answered"
        for one in request.selected:
            reason, asked = reply.failed or "", (prompt.request_id, self._settings.model)
            yield Analyzed(call=window_row(one, outcome, reason, request.step, now_us, *asked))

    def _judge(self, memory: TenantMemory, request: _Request, now_us: int) -> Iterator[Analyzed]:
        """Anomalies of what holds, hypotheses of all else; of the same anomaly the first one."""
        verdicts: list[Verdict] = []
        found: dict[str, Anomaly] = {}
        for place, checked in enumerate(request.checked):
            if checked.reason is not None or checked.window is None:
                yield Analyzed(hypothesis=self._hypothesis(checked, request, place))
                continue
            verdict = make_verdict(checked, request.prompt.request_id)
            anomaly = make_anomaly(verdict, checked.window, self._settings.confidence_floor)
            if anomaly is None:
                doubt = _doubt(checked)
                yield Analyzed(hypothesis=self._hypothesis(doubt, request, place))
                continue
            verdicts.append(verdict)
            found.setdefault(anomaly.anomaly_id, anomaly)
        remember_verdicts(memory, request.prompt.service, verdicts, now_us)
        for anomaly in found.values():
            yield Analyzed(anomaly=anomaly)

    def _hypothesis(self, checked: Checked, request: _Request, place: int) -> Hypothesis:
        prompt = request.prompt
        return make_hypothesis(checked, prompt, prompt.request_id, place, self._settings.model)

    def _say_again(
        self, memory: TenantMemory, one: Selected, step: LadderStep, now_us: int
    ) -> Iterator[Analyzed]:
        """What was said of the same evidence, with the numbers of this window."""
        known = memory.verdicts.get(one.window.service)
        request_ids = {memory.items[item].request_id for item in one.items if item in memory.items}
        told: dict[str, Anomaly] = {}
        for verdict in known.verdicts if known else ():
            anomaly = make_anomaly(verdict, one.window, self._settings.confidence_floor)
            if anomaly is not None:
                told.setdefault(anomaly.anomaly_id, anomaly)
                request_ids.add(verdict.request_id)
        for anomaly in told.values():
            yield Analyzed(anomaly=anomaly)
        reason = "same_evidence" if step == "full" else "over_budget"
        asked = max(request_ids, default=""), self._settings.model
        yield Analyzed(call=window_row(one, "cached", reason, step, now_us, *asked))

    def _request_row(self, request: _Request, now_us: int) -> Analyzed:
        windows = list(request.prompt.windows.values())
        checks = [check for checked in request.checked for check in checked.checks]
        call = request_call(request.prompt, request.reply, now_us, self._settings)
        held = sum(checked.reason is None for checked in request.checked)
        return Analyzed(
            call=replace(
                call,
                subject="batch",
                service=request.prompt.service,
                window_start=min(window.window_start_us for window in windows),
                window_end=max(window.window_end_us for window in windows),
                windows=len(windows),
                ladder_step=request.step,
                findings=len(request.findings),
                verified_findings=held,
                claims=len(checks),
                verified_claims=sum(check.holds for check in checks),
            )
        )

    # ---------------------------------------------------------------------------- incidents

    def narrate(self, memory: TenantMemory, incident: Incident, now_us: int) -> Iterator[Analyzed]:
        """The incident again with words of Gemini, as far as there are any; nothing to wait for else."""
        if not needs_narrative(incident):
            return
        self._begin(memory, now_us)
        fingerprint = incident_fingerprint(incident)
        known = memory.narratives.get(incident.incident_id)
        if known is not None and (known.fingerprint == fingerprint or incident.status in {"quiet", "closed"}):
            yield from _tell(incident, known)
            return
        prompt = build_narrative_prompt(incident)
        if not can_afford(memory.budget, _estimate(prompt)):
            yield self._incident_row(incident, prompt, Reply(attempts=0), "over_budget", now_us)
            return
        spend(memory.budget, _estimate(prompt), 1)
        reply = self._send(prompt)
        _settle_budget(memory, prompt, reply)
        told = None
        if reply.failed is None:
            try:
                claimed = read_narrative(reply.text)
            except BadAnswerError as error:
                reply = replace(reply, failed=error.reason)
            else:
                told = _remembered(claimed, fingerprint, now_us)
                if add_words(incident, claimed) is None:
                    reply, told = replace(reply, failed="not_believed"), None
        yield self._incident_row(incident, prompt, reply, "", now_us)
        if told is not None:
            memory.narratives[incident.incident_id] = told
            yield from _tell(incident, told)

    def _incident_row(
        self, incident: Incident, prompt: NarrativePrompt, reply: Reply, skipped: str, now_us: int
    ) -> Analyzed:
        call = replace(
            request_call(prompt, reply, now_us, self._settings),
            subject="incident",
            incident_id=incident.incident_id,
            window_start=incident.started_at,
            window_end=incident.updated_at,
            fingerprint=incident_fingerprint(incident),
        )
        if skipped:
            call = replace(call, outcome="skipped", reason=skipped, ladder_step="rules_only", model="")
        return Analyzed(call=call)


def _estimate(prompt: Prompt | NarrativePrompt) -> int:
    return prompt.tokens + EXPECTED_ANSWER_TOKENS


def _settle_budget(memory: TenantMemory, prompt: Prompt | NarrativePrompt, reply: Reply) -> None:
    """What was used takes the place of what was held back."""
    used = reply.tokens_in + reply.tokens_out
    if used == 0 and reply.failed is None:
        used = prompt.tokens  # a server that does not say what it billed
    spend(memory.budget, used - _estimate(prompt), reply.attempts - 1)


def _doubt(checked: Checked) -> Checked:
    """What cites rightly, but shows nothing that an anomaly could rest on."""
    return Checked(
        checked.finding, checked.window, checked.patterns, checked.checks, "evidence_does_not_fit",
        "what it cites shows nothing unusual",
    )  # fmt: skip


def _novel_part(one: Selected) -> WindowEvidence:
    """The window with the patterns alone that are a reason to ask."""
    kept = [pattern for pattern in one.window.patterns if pattern.pattern_id in one.novel_patterns]
    return replace(one.window, patterns=kept)


def _remembered(claimed: ClaimedNarrative, fingerprint: str, now_us: int) -> KnownNarrative:
    return KnownNarrative(
        fingerprint, now_us, claimed.what, claimed.likely_cause, claimed.cause, claimed.next_checks
    )


def _tell(incident: Incident, known: KnownNarrative) -> Iterator[Analyzed]:
    claimed = ClaimedNarrative(known.what, known.likely_cause, known.cause, known.next_checks)
    narrated = add_words(incident, claimed)
    if narrated is not None:
        yield Analyzed(incident=narrated)
