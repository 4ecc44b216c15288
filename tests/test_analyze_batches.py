"""What is asked of a tenant's windows, what it may cost, and what is said again."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from gemini_samples import (
    REFUSED,
    SERVED,
    START_US,
    ScriptedModel,
    answer,
    finding,
    quiet_window,
    selected,
    truthful,
    window,
)
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from transforms.analyze.analyst import Analyst, Analyzed
from transforms.analyze.budget import Allowance, Budget, can_afford, fill, spend
from transforms.analyze.memory import TenantMemory
from transforms.analyze.model import Reply
from transforms.analyze.prices import DEFAULT_PRICES, cost_usd, read_prices
from transforms.analyze.select import SelectState, SelectWindows, notice_of_window, select_window
from transforms.analyze.settings import AnalyzeSettings
from transforms.elements import DAY_US, MINUTE_US, Anomaly
from transforms.gemini_elements import (
    BandEvidence,
    DeployEvidence,
    FindingEvidence,
    GeminiCall,
    Hypothesis,
    WindowEvidence,
)

NOW_US = START_US + 10 * MINUTE_US
PLENTY = AnalyzeSettings(tokens_per_day=10**9, requests_per_day=10**6)


def rows(found: Iterable[Analyzed], subject: str = "window") -> list[GeminiCall]:
    return [one.call for one in found if one.call is not None and one.call.subject == subject]


def anomalies(found: Iterable[Analyzed]) -> list[Anomaly]:
    return [one.anomaly for one in found if one.anomaly is not None]


def hypotheses(found: Iterable[Analyzed]) -> list[Hypothesis]:
    return [one.hypothesis for one in found if one.hypothesis is not None]


# ------------------------------------------------------------------------------------ selection


@pytest.mark.parametrize(
    ("sample", "because"),
    [
        (window(), ["new_pattern", "error_pattern", "off_band"]),
        (window(bands={}, patterns=[replace(SERVED, is_new=True)]), ["new_pattern"]),
        (window(bands={"lines": BandEvidence(500, 400, 600)}, patterns=[SERVED]), ["off_band"]),
        (quiet_window(), []),
        (
            replace(quiet_window(), findings=[FindingEvidence("level", "latency_increase", "low", "p95")]),
            ["anomaly"],
        ),
        (
            replace(quiet_window(), findings=[FindingEvidence("gemini", "error_spike", "low", "x")]),
            [],
        ),
    ],
)
def test_a_window_is_asked_about_for_what_is_unusual_in_it(
    sample: WindowEvidence, because: list[str]
) -> None:
    """New patterns, errors, signals off their band and findings; all else is skipped, and says so."""
    found = select_window(sample)
    assert found.asked_because == because
    assert found.skipped == (None if because else "nothing_new")


def test_late_panes_are_skipped_and_deploys_are_carried_on_for_half_an_hour() -> None:
    """A late line is no news; a roll-out is, for a while."""
    step, state = SelectWindows(), SelectState()
    late = list(step.step(state, notice_of_window(window(pane_index=1)), is_late=True))
    assert [one.skipped for one in late] == ["late"]
    seen = []
    for minute in (0, 10, 31):
        deploys = [DeployEvidence(START_US, "rev 7")] if minute == 0 else []
        list(step.step(state, notice_of_window(window(minute, deploys=deploys)), is_late=False))
        seen += [len(one.window.deploys) for one in step.end_time(state, START_US + minute * MINUTE_US)]
    assert seen == [1, 1, 0]


# -------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("size", [1, 3, 10, 100])
def test_twenty_windows_in_are_twenty_outcomes_out_at_every_batch_size(size: int) -> None:
    """No window is lost and none is asked about twice, however they are cut into batches."""
    model, memory = ScriptedModel(truthful), TenantMemory()
    analyst = Analyst(PLENTY, model)
    windows = [
        select_window(window(minute, service, patterns=[replace(REFUSED, pattern_id=f"{minute:032}")]))
        for minute in range(5)
        for service in ("cart", "checkout", "payment", "search")
    ]
    found: list[Analyzed] = []
    for start in range(0, len(windows), size):
        found += analyst.analyze(memory, windows[start : start + size], NOW_US)
    assert sorted((row.service, row.window_start) for row in rows(found)) == sorted(
        (one.window.service, one.window.window_start_us) for one in windows
    )
    assert {row.outcome for row in rows(found)} == {"answered"}
    assert len({row.call_id for row in rows(found)}) == 20
    assert sum(row.windows for row in rows(found, "batch")) == 20
    assert len(anomalies(found)) == 20
    assert all('"service":"cart"' in text or "cart" not in text for text in model.asked)


def test_the_same_evidence_is_asked_about_once_and_its_verdict_said_again_with_new_numbers() -> None:
    """The second minute of a trouble costs nothing, and its anomaly has the numbers of that minute."""
    model, memory = ScriptedModel(truthful), TenantMemory()
    analyst = Analyst(PLENTY, model)
    first = list(analyst.analyze(memory, [selected(0)], NOW_US))
    again = selected(1, patterns=[replace(REFUSED, count=31, errors=31), SERVED])
    second = list(analyst.analyze(memory, [again], NOW_US + MINUTE_US))
    assert len(model.asked) == 1
    assert [(row.outcome, row.reason) for row in rows(second)] == [("cached", "same_evidence")]
    assert rows(second)[0].request_id == rows(first)[0].request_id
    assert anomalies(second)[0].evidence[0].count == 31
    assert "31 lines" in anomalies(second)[0].description


def test_evidence_is_asked_about_again_after_the_repeat_interval_and_when_something_is_added() -> None:
    """A verdict is not for ever, and not for other evidence."""
    model, memory = ScriptedModel(truthful), TenantMemory()
    analyst = Analyst(PLENTY, model)
    list(analyst.analyze(memory, [selected(0)], NOW_US))
    other = replace(REFUSED, pattern_id="d" * 32)
    list(analyst.analyze(memory, [selected(1, patterns=[REFUSED, other])], NOW_US + MINUTE_US))
    list(analyst.analyze(memory, [selected(400)], NOW_US + 400 * MINUTE_US))
    assert len(model.asked) == 3


@pytest.mark.parametrize(
    "reply",
    [
        Reply(failed="timeout", attempts=3),
        Reply(failed="rate_limited"),
        Reply(failed="blocked", tokens_in=900),
        Reply(failed="breaker_open", attempts=0),
        Reply("{", tokens_in=900, tokens_out=1),
        Reply('{"findings": 3}', tokens_in=900, tokens_out=5),
    ],
)
def test_a_failed_request_leaves_rows_and_is_asked_again_with_the_next_window(reply: Reply) -> None:
    """Nothing is said, nothing is remembered, nothing is lost."""
    model, memory = ScriptedModel(reply, truthful), TenantMemory()
    analyst = Analyst(PLENTY, model)
    found = list(analyst.analyze(memory, [selected(0), selected(1)], NOW_US))
    assert not anomalies(found)
    assert [row.outcome for row in rows(found)] == ["failed", "failed"]
    assert [row.outcome for row in rows(found, "batch")] == ["failed"]
    reason = reply.failed or ("bad_json" if reply.text == "{" else "wrong_schema")
    assert {row.reason for row in rows(found)} == {reason}
    assert anomalies(analyst.analyze(memory, [selected(2)], NOW_US + MINUTE_US))


def test_an_answer_that_was_cut_off_is_asked_for_in_two_halves() -> None:
    """Once: a half that is cut off again has failed."""
    cut = Reply(failed="truncated", tokens_in=900, tokens_out=8_000)
    model, memory = ScriptedModel(cut, truthful, cut), TenantMemory()
    found = list(Analyst(PLENTY, model).analyze(memory, [selected(m) for m in range(4)], NOW_US))
    assert [row.outcome for row in rows(found)] == ["answered", "answered", "failed", "failed"]
    assert [row.outcome for row in rows(found, "batch")] == ["failed", "answered", "failed"]
    assert len({row.call_id for row in rows(found, "batch")}) == 3


def test_of_an_answer_true_parts_become_anomalies_and_false_ones_hypotheses() -> None:
    """One lie does not spoil the rest, and is counted."""
    lie = finding(claims=[{"metric": "lines", "window": "w1", "value": 7}])
    model = ScriptedModel(answer(finding(), lie, finding(service="checkout")))
    found = list(Analyst(PLENTY, model).analyze(TenantMemory(), [selected()], NOW_US))
    assert len(anomalies(found)) == 1
    assert [doubt.reason for doubt in hypotheses(found)] == ["wrong_number", "unknown_service"]
    row = rows(found, "batch")[0]
    assert (row.findings, row.verified_findings, row.claims, row.verified_claims) == (3, 1, 5, 4)
    assert row.cost_usd == pytest.approx((1_000 * 0.75 + 200 * 3.75) / 1e6)


def test_memory_is_the_same_after_a_round_trip_and_stays_bounded() -> None:
    """State is encoded between batches; ten thousand failures leave nothing behind."""
    model, memory = ScriptedModel(truthful, Reply(failed="server_error")), TenantMemory()
    analyst = Analyst(PLENTY, model)
    list(analyst.analyze(memory, [selected()], NOW_US))
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(memory), type=TenantMemory)
    assert decoded == memory
    size = len(msgspec.msgpack.encode(memory))
    for number in range(200):
        list(analyst.analyze(memory, [selected(number, service=f"s{number}")], NOW_US))
    assert len(msgspec.msgpack.encode(memory)) <= size + 20


# --------------------------------------------------------------------------------------- budget


def test_the_ladder_goes_from_full_to_novel_patterns_to_cached_to_rules_alone() -> None:
    """Each step is recorded, and the one before it was not affordable."""
    prompt_tokens = 1_300
    settings = AnalyzeSettings(max_prompt_tokens=5_000, requests_per_day=100, tokens_per_day=100_000)
    model, memory = ScriptedModel(truthful), TenantMemory()
    analyst = Analyst(settings, model)
    seen = []
    for minute in range(12):
        noise = [replace(SERVED, pattern_id=f"{number:032}", text="word " * 40) for number in range(30)]
        fresh = replace(REFUSED, pattern_id=f"f{minute:031}", count=20)
        one = selected(minute, patterns=[fresh, *noise])
        found = list(analyst.analyze(memory, [one], NOW_US))
        seen += [(row.ladder_step, row.outcome) for row in rows(found)]
    assert prompt_tokens
    assert seen[0] == ("full", "answered")
    order = ["full", "novel_only", "cached", "rules_only"]
    places = [order.index(step) for step, _ in seen]
    assert places == sorted(places)
    assert {"full", "novel_only", "cached"} <= {step for step, _ in seen}
    nobody = selected(0, "search")
    assert [row.ladder_step for row in rows(analyst.analyze(memory, [nobody], NOW_US))] == ["rules_only"]
    assert [row.reason for row in rows(analyst.analyze(memory, [nobody], NOW_US))] == ["over_budget"]


def test_a_day_cannot_cost_more_than_its_budget_and_an_hour() -> None:
    """However many windows come, and at whatever times."""
    settings = AnalyzeSettings(tokens_per_day=240_000, requests_per_day=10_000, max_prompt_tokens=5_000)
    model, memory = ScriptedModel(truthful), TenantMemory()
    analyst = Analyst(settings, model)
    for minute in range(24 * 60):
        fresh = replace(REFUSED, pattern_id=f"f{minute:031}")
        list(analyst.analyze(memory, [selected(minute, patterns=[fresh])], START_US + minute * MINUTE_US))
    spent = len(model.asked) * 1_200
    assert 0.8 * 240_000 < spent <= 240_000 + 10_000 + 1_200
    evenly = sum('"start":"10:' in text for text in model.asked) / len(model.asked)
    assert evenly < 0.2


@given(st.lists(st.tuples(st.integers(0, DAY_US), st.integers(0, 5_000)), max_size=30))
def test_a_bucket_never_holds_more_than_its_bound_and_time_never_runs_back(
    moves: list[tuple[int, int]],
) -> None:
    """A clock that jumps back adds nothing."""
    budget, allowance = Budget(), Allowance(24_000, 240, 500)
    for at_us, tokens in moves:
        before = budget.tokens.level, budget.tokens.as_of_us
        fill(budget, allowance, at_us)
        if before[0] is not None:
            assert budget.tokens.level is not None
            assert budget.tokens.level >= min(before[0], 1_000 * DAY_US)
            assert budget.tokens.as_of_us >= before[1]
        assert not can_afford(budget, 1_001)
        spend(budget, tokens, 1)


# --------------------------------------------------------------------------------------- prices


def test_the_price_that_had_begun_counts_and_a_model_without_one_costs_null() -> None:
    """Prices change on a day; what is not known is not guessed."""
    before, after = 1_767_225_600_000_000, 1_798_761_600_000_000  # 2026-01-01, 2027-01-01
    assert cost_usd(DEFAULT_PRICES, "gemini-3.8-flash", before, 1_000_000, 1_000_000) == 4.5
    assert cost_usd(DEFAULT_PRICES, "gemini-3.8-flash", after, 1_000_000, 1_000_000) == 9.0
    assert cost_usd(DEFAULT_PRICES, "other", after, 1, 1) is None


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({}, "must be a list"),
        ([], "must be a list"),
        ([{"input": 1, "output": 2}], "price 1: give a model"),
        ([{"model": "m", "input": 1, "output": 2, "per": 3}], "price 1: per is unknown"),
        ([{"model": "m", "input": "1", "output": 2}], "price 1: input must be"),
        ([{"model": "m", "input": 1, "output": True}], "price 1: output must be"),
        ([{"model": "m", "from": "soon", "input": 1, "output": 2}], "price 1: from must be a day"),
    ],
)
def test_a_wrong_price_file_is_refused_with_the_entry_and_the_mend(entries: object, said: str) -> None:
    """An operator finds the line."""
    with pytest.raises(ValueError, match=said):
        read_prices(entries)


# ------------------------------------------------------------------------------- whatever comes

_TEXT = st.text(max_size=30)
_CLAIM = st.fixed_dictionaries(
    {
        "metric": st.sampled_from(["lines", "pattern_count", "usual_lines", "pattern_age_minutes", "x", ""]),
        "window": st.sampled_from(["w1", "w2", "w0", ""]),
        "value": st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False)),
        "pattern": st.sampled_from(["p1", "p2", "p9", ""]),
    }
)
_FINDING = st.fixed_dictionaries(
    {
        "anomaly_type": st.one_of(st.sampled_from(["error_spike", "silence", "new_pattern"]), _TEXT),
        "severity": _TEXT,
        "service": st.one_of(st.just("payment"), _TEXT),
        "window": st.sampled_from(["w1", "w2", "w3"]),
        "description": _TEXT,
        "confidence": st.floats(allow_nan=False, allow_infinity=False),
        "recommended_actions": st.lists(_TEXT, max_size=3),
        "analysis": _TEXT,
        "pattern_ids": st.lists(st.sampled_from(["p1", "p2", "p7"]), max_size=3),
        "claims": st.lists(_CLAIM, max_size=3),
    }
)


@given(st.lists(_FINDING, max_size=25))
def test_whatever_a_model_answers_nothing_is_raised_or_lost_and_nothing_false_is_an_anomaly(
    findings: list[dict[str, object]],
) -> None:
    """Each window has its row, each finding at most one outcome, each anomaly the window's numbers."""
    batch = [selected(0), selected(1)]
    model = ScriptedModel(answer(*findings))
    found = list(Analyst(PLENTY, model).analyze(TenantMemory(), batch, NOW_US))
    assert [row.outcome for row in rows(found)] == ["answered", "answered"]
    assert len(anomalies(found)) + len(hypotheses(found)) <= min(len(findings), 20)
    for anomaly in anomalies(found):
        assert (anomaly.service, anomaly.detector) == ("payment", "gemini")
        assert anomaly.anomaly_severity in {"low", "medium"}
        assert 0 <= anomaly.confidence_score <= 0.9
        assert {evidence.count for evidence in anomaly.evidence} <= {12, 20}
    for row in rows(found, "batch"):
        assert 0 <= row.verified_claims <= row.claims
