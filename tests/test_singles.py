"""Signals with a detector of their own: what they say, and what it costs when one of them fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from transforms.detect import singles
from transforms.detect.baselines.book import SignalPolicy
from transforms.detect.baselines.interface import Judgement, Observation
from transforms.detect.baselines.seasons import Calendar
from transforms.detect.deviations import Deviation
from transforms.detect.singles import FULL_STRENGTH, SingleState, detector_of, judge_single, strength_of
from transforms.elements import MINUTE_US, WindowSummary

START_US = 1_768_780_800_000_000
OWN = "mine.Own"


@pytest.fixture(autouse=True)
def forget_complaints() -> None:
    """A complaint is logged once in the life of a process."""
    singles.complain.cache_clear()


class Own:
    """Says of every value above 100 that it is abnormal; `flaws` replace what a method does."""

    def __init__(self, encoded: bytes | None, flaws: dict[str, Callable[..., Any]]) -> None:
        self.flaws, self.count = flaws, int(encoded or b"0")

    def score_one(self, observation: Observation) -> Any:
        if "score_one" in self.flaws:
            return self.flaws["score_one"]()
        score = min(1.0, observation.value / 1000)
        label = "anomalous" if score > 0.1 else "normal"
        return Judgement(score, label, 0.1, score, 50.0, 10.0, 90.0, "too much" if score > 0.1 else "")

    def learn_one(self, observation: Observation, judgement: Judgement) -> None:
        self.flaws.get("learn_one", lambda: None)()
        self.count += 1

    def encode(self) -> Any:
        return self.flaws["encode"]() if "encode" in self.flaws else f"{self.count}".encode()


class Signals:
    """The memory of a service's singles, walked on minute by minute."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **flaws: Callable[..., Any]) -> None:
        def make(name: str, settings: object, encoded: bytes | None, calendar: object) -> Own:
            if "decode" in flaws:
                flaws["decode"]()
            return Own(encoded, flaws)

        monkeypatch.setattr(singles, "make_detector", make)
        self.memory: dict[str, SingleState] = {}
        self.minute = 0

    def judge(self, value: float, name: str = "field.a", **policy: Any) -> Deviation | None:
        summary = WindowSummary("t", "s", START_US + self.minute * MINUTE_US, 60)
        self.minute += 1
        return judge_single(self.memory, name, value, OWN, SignalPolicy(OWN, **policy), Calendar(), summary)


def test_a_deviation_says_what_the_detector_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Value, baseline, band, reason, and since when."""
    signals = Signals(monkeypatch)
    assert signals.judge(50.0) is None
    assert signals.judge(550.0) is not None
    found = signals.judge(550.0)
    assert found is not None
    assert (found.value, found.expected, found.low, found.high) == (550.0, 50.0, 10.0, 90.0)
    assert (found.detector, found.reason, found.is_up, found.minutes) == (OWN, "field.a: too much", True, 2.0)
    assert found.strength == pytest.approx(1 + 5 * 0.5)
    assert found.is_alarming
    assert signals.memory["field.a"].state == b"3"
    assert signals.judge(50.0) is None
    again = signals.judge(150.0)
    assert again is not None
    assert (again.minutes, again.alarms_before) == (1.0, 2.0)


@pytest.mark.parametrize("score", [0.04, 0.5, 1.0])
def test_strength_is_one_at_the_threshold(score: float) -> None:
    """And grows to its largest for a score of one, whatever the threshold."""
    assert strength_of(Judgement(score, "anomalous", score)) == 1.0
    assert strength_of(Judgement(1.0, "anomalous", 0.04)) == pytest.approx(FULL_STRENGTH)


def test_what_continues_is_open_and_does_not_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps its topic from being told anew."""
    signals = Signals(monkeypatch, score_one=lambda: Judgement(0.5, "continuing", 0.1, baseline=900.0))
    found = signals.judge(50.0)
    assert found is not None
    assert not found.is_alarming
    assert not found.is_up


@pytest.mark.parametrize(
    ("direction", "found"), [("up", True), ("both", True), (None, True), ("down", False)]
)
def test_the_operators_direction_counts(monkeypatch: pytest.MonkeyPatch, direction: Any, found: bool) -> None:
    """A rise is nothing where only falls are asked for."""
    assert (Signals(monkeypatch).judge(550.0, direction=direction) is not None) == found


def fail() -> None:
    raise RuntimeError("secret 4711")


@pytest.mark.parametrize(
    "flaws",
    [
        {"decode": fail},
        {"score_one": fail},
        {"learn_one": fail},
        {"encode": fail},
        {"score_one": lambda: None},
        {"score_one": lambda: SimpleNamespace(score=1.0, threshold=0.1, label="anomalous")},
        {"score_one": lambda: Judgement(float("nan"), "anomalous", 0.1)},
        {"score_one": lambda: Judgement(0.5, "anomalous", 0.1, baseline=float("inf"))},
        {"score_one": lambda: Judgement("1", "anomalous", 0.1)},  # type: ignore[arg-type]
        {"encode": lambda: "text"},
        {"encode": lambda: None},
    ],
)
def test_a_detector_that_fails_costs_its_signal_the_memory_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, flaws: dict[str, Any]
) -> None:
    """Whatever it raises or says; it is logged once, without what it said, and begins anew."""
    signals = Signals(monkeypatch)
    signals.judge(50.0)
    signals.judge(50.0, "field.b")
    broken = Signals(monkeypatch, **flaws)
    broken.memory = signals.memory
    with caplog.at_level(logging.ERROR):
        assert [broken.judge(900.0) for _ in range(3)] == [None] * 3
    assert [*signals.memory] == ["field.b"]
    assert caplog.text.count("its signals begin anew") == 1
    assert "4711" not in caplog.text
    healed = Signals(monkeypatch)
    healed.memory = signals.memory
    healed.judge(50.0)
    assert healed.memory["field.a"].state == b"1"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(healed.memory), type=dict[str, SingleState])


def test_a_signal_of_another_detector_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory is not read by the new one."""
    signals = Signals(monkeypatch)
    signals.memory["field.a"] = SingleState("learned", b"no number", 5)
    signals.judge(50.0)
    assert signals.memory["field.a"] == SingleState(OWN, b"1", START_US)


def test_learned_is_for_fields_and_level_for_the_rest() -> None:
    """Where the file names no other one."""
    assert detector_of(SignalPolicy(), has_own=True) == "learned"
    assert detector_of(SignalPolicy(), has_own=False) == "level"
    assert detector_of(SignalPolicy(OWN), has_own=True) == OWN


def test_the_products_detector_judges_fields() -> None:
    """A field that stays where it is for two days, and then is ten times as large."""
    memory: dict[str, SingleState] = {}

    def judge(minute: int, value: float) -> Deviation | None:
        summary = WindowSummary("t", "s", START_US + minute * MINUTE_US, 60)
        return judge_single(memory, "field.a", value, "learned", SignalPolicy(), Calendar(), summary)

    assert not any(judge(minute, 10.0 + minute % 7) for minute in range(0, 2880, 5))
    found = judge(2880, 130.0)
    assert found is not None
    assert found.is_alarming
    assert found.is_up
    assert found.reason
