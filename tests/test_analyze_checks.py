"""What Gemini claims is recounted: true and cited becomes an anomaly, all else a hypothesis."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from gemini_samples import REFUSED, RETRY, SERVED, START_US, answer, finding, quiet_window, window
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from transforms.analyze.checks import check_finding
from transforms.analyze.prompt import PROMPT_VERSION, Prompt, build_prompt, plan_prompts, split_prompt
from transforms.analyze.schema import BadAnswerError, read_answer
from transforms.analyze.tokens import estimate_tokens
from transforms.analyze.verdicts import make_anomaly, make_hypothesis, make_verdict
from transforms.elements import MINUTE_US, Anomaly
from transforms.gemini_elements import (
    BandEvidence,
    DeployEvidence,
    FindingEvidence,
    Hypothesis,
    WindowEvidence,
)

GOLDEN = Path(__file__).parent / "golden_prompts"
NO_REPEAT = 0.7


def judge(prompt: Prompt, **changes: Any) -> Anomaly | Hypothesis:
    claimed = read_answer(answer(finding(**changes)))[0]
    checked = check_finding(claimed, prompt)
    if checked.reason is not None:
        return make_hypothesis(checked, prompt, "r", 0, "m")
    assert checked.window is not None
    anomaly = make_anomaly(make_verdict(checked, "r"), checked.window, NO_REPEAT)
    assert anomaly is not None
    return anomaly


def test_a_finding_whose_numbers_are_right_is_an_anomaly_in_the_words_of_code() -> None:
    """Severity, sentence and evidence are code's; what the model says stands beside."""
    found = judge(build_prompt([window()]))
    assert isinstance(found, Anomaly)
    assert (found.detector, found.anomaly_severity, found.confidence_score) == ("gemini", "medium", 0.9)
    assert found.description == "Gemini sees errors of payment: 20 lines of 1 pattern, 20 of them errors."
    assert [(evidence.pattern_id, evidence.count) for evidence in found.evidence] == [
        (REFUSED.pattern_id, 20)
    ]
    assert found.gemini_analysis.startswith("20 of 120 lines are refused charges.")
    assert (found.window_start, found.detected_at) == (START_US, START_US + MINUTE_US)


CLAIM = {"metric": "pattern_count", "window": "w1", "pattern": "p1", "value": 20}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"claims": [CLAIM | {"value": 21}]}, "wrong_number"),
        ({"claims": [CLAIM, {"metric": "error_rate", "window": "w1", "value": 0.2}]}, "wrong_number"),
        ({"claims": [CLAIM, {"metric": "pattern_age_minutes", "window": "w1", "pattern": "p1", "value": 5}]},
         "wrong_number"),
        ({"claims": []}, "no_claim"),
        ({"claims": [CLAIM | {"window": "w2"}]}, "no_claim"),
        ({"claims": [CLAIM | {"metric": "users"}]}, "unknown_metric"),
        ({"claims": [CLAIM | {"pattern": "p9"}]}, "unknown_metric"),
        ({"claims": [CLAIM | {"metric": "usual_lines"}]}, "unknown_metric"),
        ({"claims": [CLAIM] * 51}, "wrong_number"),
        ({"anomaly_type": "silence"}, "unknown_type"),
        ({"anomaly_type": "all_is_well"}, "unknown_type"),
        ({"service": "checkout"}, "unknown_service"),
        ({"window": "w7"}, "unknown_window"),
        ({"pattern_ids": ["p1", "p44"]}, "unknown_pattern"),
        ({"pattern_ids": ["a" * 32]}, "unknown_pattern"),
        ({"anomaly_type": "deploy_regression"}, "evidence_does_not_fit"),
        ({"anomaly_type": "traffic_change"}, "evidence_does_not_fit"),
        ({"anomaly_type": "new_pattern", "pattern_ids": ["p2"]}, "evidence_does_not_fit"),
    ],
)  # fmt: skip
def test_whatever_is_wrong_or_uncited_is_a_hypothesis(changes: dict[str, Any], reason: str) -> None:
    """It is kept with the reason, and no alert follows."""
    found = judge(build_prompt([window()]), **changes)
    assert isinstance(found, Hypothesis)
    assert found.reason == reason
    assert found.claimed_severity == "critical"


def test_a_finding_without_a_pattern_needs_a_signal_off_its_band() -> None:
    """Figures alone carry a finding where they are unusual, and not where they are as ever."""
    claims = [{"metric": "lines", "window": "w1", "value": 120}]
    changes = {"anomaly_type": "traffic_change", "pattern_ids": [], "claims": claims}
    usual = window(patterns=[SERVED], bands={"lines": BandEvidence(110, 80, 140)})
    unusual = replace(usual, bands={"lines": BandEvidence(500, 400, 600)})
    assert isinstance(judge(build_prompt([unusual]), **changes), Anomaly)
    doubted = judge(build_prompt([usual]), **changes)
    assert isinstance(doubted, Hypothesis)
    assert doubted.reason == "no_citation"


def test_each_type_holds_where_its_evidence_is_cited() -> None:
    """Of a window with a deploy, new errors and a band everything may be said that it shows."""
    full = window(
        deploys=[DeployEvidence(START_US, "rev 7")],
        bands={"lines": BandEvidence(500, 400, 600), "error_rate": BandEvidence(0.0, 0.0, 0.01)},
    )
    for anomaly_type in ("deploy_regression", "traffic_change", "new_pattern", "unusual_pattern"):
        assert isinstance(judge(build_prompt([full]), anomaly_type=anomaly_type), Anomaly), anomaly_type


@given(
    st.integers(0, 10**6),
    st.sampled_from(["pattern_count", "pattern_errors", "lines", "errors", "warnings", "denials"]),
)
def test_no_wrong_count_is_ever_believed(value: int, metric: str) -> None:
    """Counts hold only where they are exactly those of the window."""
    actual = {"pattern_count": 20, "pattern_errors": 20, "lines": 120, "errors": 20, "warnings": 12,
              "denials": 0}[metric]  # fmt: skip
    claims = [CLAIM, {"metric": metric, "window": "w1", "pattern": "p1", "value": value}]
    found = judge(build_prompt([window()]), claims=claims)
    assert isinstance(found, Anomaly) is (value == actual)


def test_severity_is_never_above_medium_and_low_where_little_speaks_for_it() -> None:
    """Neither what the model claims nor what a rule found lifts it higher."""
    critical = FindingEvidence("rule:error_rate", "error_spike", "critical", "error_rate")
    loud = judge(build_prompt([window(findings=[critical])]), severity="critical")
    few = replace(REFUSED, count=2, errors=2)
    thin = judge(
        build_prompt([window(errors=2, patterns=[few], bands={})]),
        claims=[CLAIM | {"value": 2}],
        confidence=1.0,
    )
    assert isinstance(loud, Anomaly)
    assert isinstance(thin, Anomaly)
    assert (loud.anomaly_severity, loud.confidence_score) == ("medium", 0.9)
    assert (thin.anomaly_severity, thin.confidence_score, thin.below_confidence_floor) == ("low", 0.5, True)


def test_a_confident_model_cannot_be_surer_than_its_evidence() -> None:
    """A modest one is taken at its word."""
    prompt = build_prompt([window(bands={}, patterns=[replace(REFUSED, is_new=False)])])
    sure, modest = judge(prompt, confidence=1.0), judge(prompt, confidence=0.31)
    assert isinstance(sure, Anomaly)
    assert isinstance(modest, Anomaly)
    assert (sure.confidence_score, modest.confidence_score) == (0.75, 0.31)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"findings": 1}', '{"findings": [{}]}', "{}",
                                  '{"findings": [{"anomaly_type": 3}]}', "[" * 100_000, "x" * 300_000,
                                  answer(finding(confidence="high")), answer(finding(confidence=None)),
                                  answer(finding()).replace("0.9", "NaN"),
                                  answer(finding()).replace("0.9", "1e999")])  # fmt: skip
def test_an_answer_that_is_not_as_asked_is_refused_whole(text: str) -> None:
    """Nothing is read out of half an answer."""
    with pytest.raises(BadAnswerError):
        read_answer(text)


# -------------------------------------------------------------------------------------- prompts


def golden_windows() -> list[WindowEvidence]:
    rule = FindingEvidence("rule:error_rate", "error_spike", "high", "error_rate")
    return [
        window(
            findings=[rule],
            deploys=[DeployEvidence(START_US - 3 * MINUTE_US, "registry/payment:2.4")],
            bands={"error_rate": BandEvidence(0.004, 0.0, 0.02), "lines": BandEvidence(123.456, 80, 1604.2)},
        ),
        window(1, lines=90, patterns=[replace(REFUSED, count=7, errors=7, is_new=False), SERVED]),
    ]


def test_the_prompt_is_the_reviewed_one() -> None:
    """A change of a word or a figure shows in a review, and needs a new version."""
    prompt = build_prompt(golden_windows())
    shown = f"{prompt.version}\n\n{prompt.system}\n\n{json.dumps(json.loads(prompt.text), indent=1)}\n"
    path = GOLDEN / f"{PROMPT_VERSION}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


def test_the_prompt_does_not_depend_on_the_order_of_windows() -> None:
    """Equal evidence is the same request."""
    windows = golden_windows()
    assert build_prompt(windows).request_id == build_prompt(windows[::-1]).request_id


@given(st.text(alphabet=st.characters(), max_size=400))
def test_log_text_cannot_leave_its_string(text: str) -> None:
    """Whatever a line holds, the request is JSON of the same shape, and no control character is in it."""
    hostile = replace(REFUSED, text=text, example=text, exception=text)
    prompt = build_prompt([window(patterns=[hostile, RETRY])])
    body = json.loads(prompt.text)
    assert [pattern["id"] for pattern in body["patterns"]] == ["p1", "p2"]
    assert set(body) == {"service", "until", "patterns", "windows"}
    assert all(ord(character) >= 32 and character not in "\u202e\u200b\u2028" for character in prompt.text)
    assert len(body["patterns"][0]["text"]) <= 240


def test_windows_of_two_services_are_never_in_one_request() -> None:
    """Lines of one service cannot speak of another."""
    prompts = plan_prompts([window(), window(1), window(0, "checkout"), window(1, "cart")], 30_000)
    assert [(prompt.service, len(prompt.windows)) for prompt in prompts] == [
        ("cart", 1), ("checkout", 1), ("payment", 2)]  # fmt: skip
    with pytest.raises(ValueError, match="one service"):
        build_prompt([window(), window(0, "checkout")])


@pytest.mark.parametrize("size", [1, 2, 7, 20])
def test_every_window_is_in_exactly_one_request_however_small_they_must_be(size: int) -> None:
    """Requests that are too large are split; one window alone loses patterns, those of errors last."""
    windows = [window(minute) for minute in range(size)]
    for most_tokens in (1_000_000, 1_500, 10):
        prompts = plan_prompts(windows, most_tokens)
        shown = [w.window_start_us for prompt in prompts for w in prompt.windows.values()]
        assert sorted(shown) == [w.window_start_us for w in windows]
        assert all(prompt.patterns["p1"] == REFUSED.pattern_id for prompt in prompts)
    assert {prompt.left_out for prompt in plan_prompts(windows, 10)} == {2}
    assert "patterns_left_out" in plan_prompts(windows, 10)[0].text


def test_halves_of_a_request_hold_all_its_windows_and_one_window_has_none() -> None:
    """So an answer that was cut off can be asked for again in parts."""
    halves = split_prompt(build_prompt([window(minute) for minute in range(3)]))
    assert [len(half.windows) for half in halves] == [1, 2]
    assert split_prompt(build_prompt([quiet_window()])) == []


def test_tokens_grow_with_text_and_are_not_far_from_a_quarter_of_prose() -> None:
    """The estimate is for pacing; it errs on the high side."""
    prose = "The payment provider resets connections since the roll-out of the new revision. " * 20
    assert estimate_tokens("") == 0
    assert len(prose) / 5 < estimate_tokens(prose) < len(prose) / 3
    assert estimate_tokens("12345 ") == 5
