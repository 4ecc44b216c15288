"""The product's detector on signals with known anomalies, and as a machine: causal, bounded, restorable."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.detect.baselines.interface import Judgement, Observation
from transforms.detect.baselines.learned import (
    STATE_VERSION,
    LearnedDetector,
    LearnedSettings,
    StateVersionError,
    decode_detector,
)
from transforms.detect.baselines.seasons import Calendar
from transforms.elements import DAY_US, HOUR_US

DEFAULTS = LearnedSettings()
STEP_US = HOUR_US // 12
DAY_STEPS = DAY_US // STEP_US
MONDAY_US = 4 * DAY_US  # 1970-01-05


def run(
    values: Iterable[float], detector: LearnedDetector | None = None, start_us: int = MONDAY_US
) -> list[Judgement]:
    """Judgements of values five minutes apart."""
    detector = detector or LearnedDetector(DEFAULTS)
    judgements = []
    for index, value in enumerate(values):
        observation = Observation(start_us + index * STEP_US, value)
        judgements.append(detector.score_one(observation))
        detector.learn_one(observation, judgements[-1])
    return judgements


def alarms(judgements: Sequence[Judgement]) -> list[int]:
    return [index for index, judgement in enumerate(judgements) if judgement.label == "anomalous"]


def noisy(days: float, shape: Callable[[float], float] = lambda _: 100.0, seed: int = 1) -> list[float]:
    """`shape` of the time in days, with a noise of 2 %."""
    source = random.Random(seed)
    count = round(days * DAY_STEPS)
    return [shape(index / DAY_STEPS) * (1 + source.uniform(-0.02, 0.02)) for index in range(count)]


def set_between(values: list[float], first_day: float, hours: float, to: float) -> range:
    """Put `to` into `values` from `first_day` for `hours`; the indexes it was put at."""
    begin = round(first_day * DAY_STEPS)
    span = range(begin, begin + round(hours * 12))
    for index in span:
        values[index] = to * (1 + 0.001 * (index % 7))
    return span


# ------------------------------------------------------------------------------ what it must find


@pytest.mark.parametrize("seed", range(5))
def test_steady_noise_never_alarms(seed: int) -> None:
    """A signal that does what it always did is never anomalous."""
    assert alarms(run(noisy(14, seed=seed))) == []


@pytest.mark.parametrize(
    ("to", "word"), [(300.0, "above"), (0.0, "below"), (112.0, "above"), (90.0, "below")]
)
def test_spikes_and_drops_alarm_at_once(to: float, word: str) -> None:
    """The first value beyond everything normal alarms, and the reason names the side."""
    values = noisy(5)
    span = set_between(values, 4.5, 0.5, to)
    judgements = run(values)
    assert alarms(judgements) == [span[0]]
    assert word in judgements[span[0]].reason


def test_an_anomaly_alarms_once_while_it_lasts() -> None:
    """After the alarm the rest of an anomaly continues it, and the end of it is normal again."""
    values = noisy(6)
    span = set_between(values, 4.5, 6, 300.0)
    judgements = run(values)
    assert alarms(judgements) == [span[0]]
    assert {judgements[index].label for index in span[1:]} == {"continuing"}
    assert {judgement.label for judgement in judgements[span[-1] + 1 :]} == {"normal"}


def test_an_anomaly_that_gets_much_worse_alarms_again() -> None:
    """Within the silence after an alarm, a score that is twice as high is an alarm of its own."""
    values = noisy(6, lambda day: 100.0 + 50 * math.sin(2 * math.pi * day))
    first = set_between(values, 4.5, 1, 170.0)
    second = set_between(values, 4.6, 1, 400.0)
    assert alarms(run(values)) == [first[0], second[0]]


def test_a_repeated_anomaly_alarms_a_day_later() -> None:
    """An anomaly is not learned by being seen: its repetition the next day alarms as well."""
    values = noisy(7)
    spans = [set_between(values, day, 1, 300.0) for day in (4.5, 5.5)]
    assert alarms(run(values)) == [span[0] for span in spans]


def test_what_came_back_twice_is_known_the_third_time() -> None:
    """After two episodes that are over, the same values are normal."""
    values = noisy(8)
    spans = [set_between(values, day, 1, 300.0) for day in (4.5, 5.5, 6.5)]
    judgements = run(values)
    assert alarms(judgements) == [span[0] for span in spans[:2]]
    assert {judgements[index].label for index in spans[2]} == {"normal"}


@pytest.mark.parametrize("to", [1e4, 1e9, -1e9])
def test_a_poisoned_hour_does_not_blind_the_next_day(to: float) -> None:
    """However extreme an hour was, a small anomaly a day later alarms as it would have without."""
    values = noisy(7)
    poison = set_between(values, 4.5, 1, to)
    span = set_between(values, 5.5, 1, 120.0)
    assert alarms(run(values)) == [poison[0], span[0]]


def test_a_new_level_is_learned_after_a_day() -> None:
    """A level that lasts alarms when it begins, continues for a day, and is normal from then on."""
    values = noisy(10)
    span = set_between(values, 4.5, 48, 300.0)
    judgements = run(values)
    assert [alarm for alarm in alarms(judgements) if alarm in span] == [span[0]]
    labels = [judgements[index].label for index in span]
    day = DAY_STEPS + 2 * 12
    assert labels[1 : DAY_STEPS - 1] == ["continuing"] * (DAY_STEPS - 2)
    assert set(labels[day:]) == {"normal"}


def test_a_level_that_lasts_for_less_than_a_day_is_not_learned() -> None:
    """Twenty hours are an incident: the same level two days later alarms again."""
    values = noisy(9)
    spans = [set_between(values, day, 20, 300.0) for day in (4.5, 6.5)]
    assert alarms(run(values)) == [span[0] for span in spans]


def test_what_is_usual_by_day_alarms_at_night() -> None:
    """A value within the daily range alarms at an hour that never had it, and the reason says so."""
    values = noisy(10, lambda day: 100.0 if 8 <= day * 24 % 24 < 20 else 10.0)
    span = set_between(values, 9 + 2 / 24, 1, 60.0 + 40.0)
    judgements = run(values)
    assert alarms(judgements) == [span[0]]
    assert "for this hour" in judgements[span[0]].reason


def test_the_first_weekend_is_no_anomaly() -> None:
    """Days off are compared with days off only, so that a week of any rhythm never alarms."""

    def shape(day: float) -> float:
        return (100.0 if day % 7 < 5 else 40.0) * (1.2 + math.sin(2 * math.pi * day))

    judgements = run(noisy(28, shape))
    assert alarms(judgements) == []
    friday, saturday = (judgements[(21 + day) * DAY_STEPS + 6 * 12].baseline for day in (4, 5))
    assert friday is not None
    assert saturday is not None
    assert saturday < 0.5 * friday


def test_a_working_day_like_a_day_off_alarms() -> None:
    """On a Wednesday, what is usual on Sundays is an anomaly."""

    def shape(day: float) -> float:
        return (100.0 if day % 7 < 5 and int(day) != 23 else 30.0) * (1.2 + math.sin(2 * math.pi * day))

    (alarm, *_) = alarms(run(noisy(28, shape)))
    assert 23 * DAY_STEPS <= alarm < 23.2 * DAY_STEPS


def test_a_rhythm_follows_daylight_saving() -> None:
    """A rhythm on the tenant's clocks does not alarm when they change; on UTC's clocks it would."""
    berlin = ZoneInfo("Europe/Berlin")
    start_us = int(datetime(2024, 3, 18, tzinfo=berlin).timestamp()) * 1_000_000
    source = random.Random(3)
    values = []
    for index in range(18 * DAY_STEPS):
        local = datetime.fromtimestamp(start_us // 1_000_000 + index * 300, tz=berlin)
        values.append((100.0 if 8 <= local.hour < 20 else 10.0) * source.uniform(0.98, 1.02))
    local_detector = LearnedDetector(LearnedSettings(calendar=Calendar(zone=berlin)))
    assert alarms(run(values, local_detector, start_us)) == []
    assert alarms(run(values, None, start_us))


def test_a_lively_signal_that_stands_still_alarms_once() -> None:
    """A stuck value within the usual range alarms, and says for how long it stands still."""
    values = noisy(7)
    for index in range(5 * DAY_STEPS, 6 * DAY_STEPS):
        values[index] = values[5 * DAY_STEPS]
    judgements = run(values)
    (alarm,) = alarms(judgements)
    assert 5 * DAY_STEPS < alarm < 5 * DAY_STEPS + 12
    assert "stands still" in judgements[alarm].reason


@pytest.mark.parametrize("value", [0.0, 5.0, -3e-7, 1e12])
def test_a_constant_signal_is_normal_and_its_first_change_alarms(value: float) -> None:
    """A signal that always stands still is not flat; leaving its only value is an anomaly."""
    judgements = run([value] * (9 * DAY_STEPS) + [value * 1.01 + 1e-6])
    assert alarms(judgements) == [9 * DAY_STEPS]


def test_learning_is_visible_and_silent() -> None:
    """For a day, and for a hundred observations, everything is labeled as learning."""
    values = noisy(2)
    values[50] = 1e6
    labels = [judgement.label for judgement in run(values)]
    assert set(labels[:DAY_STEPS]) == {"learning"}
    assert set(labels[DAY_STEPS:]) == {"normal"}


def test_a_signal_that_often_stands_still_is_never_flat() -> None:
    """Rare errors that stay away for two days are good news."""
    source = random.Random(7)
    values = [float(source.random() < 0.2) for _ in range(5 * DAY_STEPS)] + [0.0] * (2 * DAY_STEPS)
    assert alarms(run(values)) == []


def test_a_noisy_signal_needs_more_to_alarm() -> None:
    """Each recent alarm lowers the score of the next one."""
    values = noisy(12)
    spans = [set_between(values, 4.5 + index, 0.5, 150.0 + 60 * index) for index in range(4)]
    judgements = run(values)
    scores = [max(judgements[index].score for index in span) for span in spans]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4


def test_the_band_holds_what_is_normal() -> None:
    """Baseline and band lie within the usual range, and an anomaly lies outside."""
    values = noisy(5)
    span = set_between(values, 4.5, 1, 130.0)
    judgement = run(values)[span[0]]
    assert judgement.baseline == pytest.approx(100, rel=0.01)
    assert judgement.band_low == pytest.approx(98, rel=0.01)
    assert judgement.band_high == pytest.approx(102, rel=0.01)


# -------------------------------------------------------------------------- what it is as a machine

numbers = (
    st.floats(allow_nan=False) | st.sampled_from([0.0, 1.0, 1e-300, -1e300]) | st.integers(-5, 5).map(float)
)
steps = st.lists(
    st.tuples(st.sampled_from([1, 60, 3600, 86_400, 40 * 86_400]), numbers), min_size=1, max_size=60
)
EAGER = LearnedSettings(learning_hours=0.02, learning_count=3)


def observations(drawn: Sequence[tuple[int, float]]) -> list[Observation]:
    time_us, found = 0, []
    for seconds, value in drawn:
        time_us += seconds * 1_000_000
        found.append(Observation(time_us, value))
    return found


def judge(detector: LearnedDetector, given_: Iterable[Observation]) -> list[Judgement]:
    judgements = []
    for observation in given_:
        judgements.append(detector.score_one(observation))
        detector.learn_one(observation, judgements[-1])
    return judgements


@given(steps, steps)
def test_judgements_do_not_depend_on_what_comes_later(
    past: list[tuple[int, float]], future: list[tuple[int, float]]
) -> None:
    """Strictly causal: more observations after a moment change no judgement before it."""
    alone = judge(LearnedDetector(EAGER), observations(past))
    longer = judge(LearnedDetector(EAGER), observations(past + future))
    assert longer[: len(alone)] == alone


@given(steps)
def test_encoding_between_any_two_observations_changes_nothing(drawn: list[tuple[int, float]]) -> None:
    """A detector that is encoded and decoded for each observation judges as one that never was."""
    kept = LearnedDetector(EAGER)
    encoded = kept.encode()
    for observation in observations(drawn):
        restored = decode_detector(encoded, EAGER)
        judgement = restored.score_one(observation)
        assert judgement == kept.score_one(observation)
        restored.learn_one(observation, judgement)
        kept.learn_one(observation, judgement)
        encoded = restored.encode()
        assert encoded == kept.encode()


@given(steps, numbers)
def test_scoring_changes_nothing(drawn: list[tuple[int, float]], value: float) -> None:
    """score_one leaves the memory as it is."""
    detector = LearnedDetector(EAGER)
    judge(detector, observations(drawn))
    before = detector.encode()
    detector.score_one(Observation(10**16, value))
    assert detector.encode() == before


@given(steps, st.integers(0, 10**9), numbers)
def test_late_values_never_teach(drawn: list[tuple[int, float]], earlier_us: int, value: float) -> None:
    """An observation that is not newer than the newest learned one leaves the memory as it is."""
    detector = LearnedDetector(EAGER)
    seen = observations(drawn)
    judge(detector, seen)
    before = detector.encode()
    late = Observation(seen[-1].event_time_us - earlier_us, value)
    detector.learn_one(late, detector.score_one(late))
    assert detector.encode() == before


@given(steps)
def test_judgements_are_sound(drawn: list[tuple[int, float]]) -> None:
    """Scores are shares, the label follows from them, and whatever is abnormal has a reason."""
    for judgement in judge(LearnedDetector(EAGER), observations(drawn)):
        assert 0.0 <= judgement.score <= 1.0
        assert 0.0 <= judgement.deviation <= 1.0
        assert (judgement.label == "anomalous") == (judgement.score >= judgement.threshold)
        assert bool(judgement.reason) == (judgement.label in ("anomalous", "continuing"))
        if judgement.band_low is not None and judgement.band_high is not None:
            assert judgement.band_low <= judgement.band_high


@given(st.integers(0, 2**32), st.sampled_from([1e-3, 1.0, 1e6, 1e90]))
@settings(max_examples=15, deadline=None)
def test_state_is_bounded_whatever_comes(seed: int, spread: float) -> None:
    """Two and a half KiB hold the state of a signal, however wild it is."""
    source = random.Random(seed)
    detector = LearnedDetector(EAGER)
    for index in range(1500):
        value = source.gauss(0, 1) * spread ** source.random() * source.choice([1, 1, 1, 10, 1000])
        observation = Observation(index * HOUR_US // 2, value)
        detector.learn_one(observation, detector.score_one(observation))
        assert len(detector.encode()) <= 2560


def test_nan_is_refused_and_infinity_is_only_large() -> None:
    """NaN is no value of a signal; an infinite one is an anomaly like any other extreme."""
    values = [*noisy(3), math.inf]
    assert alarms(run(values)) == [len(values) - 1]
    with pytest.raises(ValueError, match="NaN"):
        run([math.nan])


def test_state_of_another_version_is_refused() -> None:
    """A state with another version is not read as if it were this one's."""
    detector = LearnedDetector(DEFAULTS)
    detector.state.version = STATE_VERSION + 1
    with pytest.raises(StateVersionError, match=f"version {STATE_VERSION}"):
        decode_detector(detector.encode(), DEFAULTS)
    with pytest.raises(StateVersionError):
        decode_detector(b"", DEFAULTS)
