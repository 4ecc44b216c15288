"""What a bank of levels remembers: encoding, signals that come, merge and go, gaps, and absurd values."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from level_bench import LATENCY, MONDAY_US, SHARE, TRAFFIC, Walk
from msgspec.structs import replace

from transforms.detect.baselines.decay import decay_factor
from transforms.detect.baselines.level import (
    BankState,
    LevelBank,
    LevelSettings,
    Vectors,
    find_damage,
)
from transforms.detect.baselines.level_table import Row
from transforms.detect.baselines.seasons import Calendar
from transforms.elements import DAY_US, HOUR_US, MINUTE_US

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

MIXED = {"lines": TRAFFIC, "errors": SHARE, "latency": LATENCY, "pattern.a": replace(SHARE, direction="both")}


class Mixed:
    """A bank of several kinds of signals, walked on with the same noise for each name."""

    def __init__(self, names: Sequence[str], *, recode: bool = False) -> None:
        self.names, self.recode, self.state = names, recode, BankState()
        self.bank = LevelBank(self.state)
        self.bank.add_signals(names, [MIXED[name] for name in names], MONDAY_US)

    def observe(self, minute: int) -> dict[str, tuple[float, ...]]:
        if self.recode:
            self.bank.encode()
            self.state = msgspec.msgpack.decode(msgspec.msgpack.encode(self.state), type=BankState)
            self.bank = LevelBank(self.state)
        vectors = Vectors([MIXED[name] for name in self.names])
        seen = [observation(name, minute) for name in self.names]
        values, weights = np.array(seen, dtype=float).T
        judged = self.bank.observe(MONDAY_US + minute * MINUTE_US, values, weights, vectors, Calendar())
        return {name: tuple(float(row[place]) for row in judged) for place, name in enumerate(self.names)}


def observation(name: str, minute: int) -> tuple[float, float]:
    """Noise around a rhythm, and a fault for 20 minutes of every 500."""
    random = np.random.default_rng([minute, len(name)])
    fault = 4 if minute % 500 > 480 else 1
    if name == "latency":
        return float(4 + np.log(fault) + random.normal() / 5), float(random.integers(0, 60))
    return float(
        random.poisson(50 * fault * (1.5 + np.sin(minute / 229)))
    ), 1.0 if name == "lines" else 3000.0


def test_decoding_and_encoding_between_windows_changes_nothing() -> None:
    """A bank that is written and read after every window says the same to the last bit."""
    kept, coded = Mixed([*MIXED]), Mixed([*MIXED], recode=True)
    for minute in range(0, 3000, 3):
        assert coded.observe(minute) == kept.observe(minute)
    kept.bank.encode()
    coded.bank.encode()
    assert coded.state == kept.state
    assert find_damage(kept.state) == ""


@settings(max_examples=3, deadline=None)
@given(st.permutations([*MIXED]))
def test_the_order_of_the_signals_makes_no_difference(names: list[str]) -> None:
    """Each signal is judged as it is, whatever stands beside it."""
    one, other = Mixed([*MIXED]), Mixed(names)
    for minute in range(0, 2500, 5):
        assert other.observe(minute) == one.observe(minute)


def test_a_signal_is_judged_alike_alone_and_in_company() -> None:
    """Episodes of others do not end or prolong its own."""
    together = Mixed([*MIXED])
    alone = {name: Mixed([name]) for name in MIXED}
    for minute in range(0, 2000, 2):
        judged = together.observe(minute)
        for name, walk in alone.items():
            assert walk.observe(minute)[name] == judged[name]


def test_a_state_of_another_version_is_refused() -> None:
    """The error names both versions."""
    with pytest.raises(ValueError, match="format 9, not 1"):
        LevelBank(BankState(version=9))


# ------------------------------------------------------------------------------- coming and going


def test_a_signal_that_comes_later_begins_by_itself() -> None:
    """What is known of the others stays, and the new one learns."""
    walk = Walk(TRAFFIC, copies=2)
    walk.poisson(50, 100)
    walk.bank.add_signals(["new"], [TRAFFIC], walk.time_us)
    walk.vectors, walk.copies = Vectors([TRAFFIC] * 3), 3
    judged = walk.observe(50.0)
    assert judged.learning.tolist() == [False, False, True]
    assert judged.expected[:2] == pytest.approx([50, 50], rel=0.2)
    assert walk.bank.first_us.tolist() == [MONDAY_US, MONDAY_US, MONDAY_US + 100 * MINUTE_US]


def test_signals_not_seen_for_eight_days_are_forgotten_but_for_those_always_there() -> None:
    """A count of zero is not seen. The rest goes on as if they had never been."""
    walk = Walk(replace(SHARE, seasonal=True), copies=3)
    for minute in range(9 * 24):
        walk.windows = minute * 60
        walk.observe(np.array([0.0, 5.0, 0.0]), 100.0)
    walk.bank.forget_signals(walk.time_us, ("signal 0",))
    assert walk.bank.names == walk.state.names == ["signal 0", "signal 1"]
    walk.bank.encode()
    assert find_damage(walk.state) == ""
    walk.vectors, walk.copies = Vectors([SHARE] * 2), 2
    assert walk.observe(np.array([0.0, 5.0]), 100.0).expected[1] == pytest.approx(5, rel=0.1)


def test_dropped_signals_are_gone_with_their_hours() -> None:
    """Names, numbers and seasons stay in step."""
    walk = Walk(TRAFFIC, copies=3)
    walk.poisson(50, 26 * 60)
    walk.bank.drop_signals(["signal 0", "unknown"])
    walk.vectors, walk.copies = Vectors([TRAFFIC] * 2), 2
    assert walk.observe(50.0).expected == pytest.approx([50, 50], rel=0.2)
    walk.bank.encode()
    assert walk.state.seasonal == ["signal 1", "signal 2"]
    assert find_damage(walk.state) == ""
    walk.bank.drop_signals(walk.bank.names)
    walk.bank.encode()
    assert LevelBank(walk.state).names == []


def merged_walk(begins: dict[str, int], settings: LevelSettings, minutes: int = 400) -> Walk:
    """Two shares of 30 and 12 in 1,000, begun at these minutes."""
    walk = Walk(settings, copies=0)
    for minute in range(minutes):
        for name, begin in begins.items():
            if begin == minute:
                walk.bank.add_signals([name], [settings], walk.time_us)
        rates = {"a": 30.0, "b": 12.0}
        walk.vectors, walk.copies = Vectors([settings] * len(walk.bank.names)), len(walk.bank.names)
        walk.observe([rates[name] for name in walk.bank.names], 1000.0)
    return walk


@pytest.mark.parametrize("begins", [{"a": 0, "b": 0}, {"a": 0, "b": 390}, {"b": 0, "a": 390}])
@pytest.mark.parametrize("is_seasonal", [False, True])
def test_merged_signals_expect_the_sum_of_their_rates(begins: dict[str, int], is_seasonal: bool) -> None:
    """Whichever is older, and whatever an operator set for patterns."""
    walk = merged_walk(begins, replace(SHARE, direction="both", seasonal=is_seasonal))
    walk.bank.merge_signals({"a": "b", "unknown": "b"})
    assert walk.bank.names == ["b"]
    walk.vectors, walk.copies = Vectors([SHARE]), 1
    judged = walk.observe(42.0, 1000.0)
    assert judged.expected[0] == pytest.approx(42, rel=0.02)
    assert walk.bank.first_us[0] == MONDAY_US
    walk.bank.encode()
    assert find_damage(walk.state) == ""


def test_a_signal_merged_into_a_new_name_goes_on() -> None:
    """One that nobody had yet is the old one under its new name; a chain ends at its end."""
    walk = merged_walk({"a": 0, "b": 0}, replace(SHARE, seasonal=True))
    walk.bank.merge_signals({"a": "c"})
    assert walk.bank.names == ["c", "b"]
    assert walk.state.seasonal == ["c", "b"]
    assert walk.observe(np.array([30.0, 12.0]), 1000.0).expected == pytest.approx([30, 12], rel=0.02)


def test_hours_are_begun_and_forgotten_as_the_settings_say() -> None:
    """A file that makes a signal seasonal, or no longer so, is followed without losing its level."""
    walk = Walk(replace(TRAFFIC, seasonal=False), copies=2)
    walk.poisson(50, 100)
    for wanted in ([True, False], [True, True], [False, True]):
        walk.bank.follow_settings([replace(TRAFFIC, seasonal=is_seasonal) for is_seasonal in wanted])
        judged = walk.observe(50.0)
        assert judged.expected == pytest.approx([50, 50], rel=0.2)
        walk.bank.encode()
        assert [name in walk.state.seasonal for name in walk.state.names] == wanted
        assert find_damage(walk.state) == ""


# ------------------------------------------------------------------------------------------ gaps


@pytest.mark.parametrize("kind", [TRAFFIC, SHARE, LATENCY])
@pytest.mark.parametrize("gap_us", [HOUR_US, DAY_US, 31 * DAY_US, 400 * DAY_US])
def test_a_gap_leaves_no_nonsense(kind: LevelSettings, gap_us: int) -> None:
    """After a day, a month or a year the numbers are numbers, nothing alarms, and all goes on."""
    walk = Walk(kind)
    walk.poisson(20, 2 * 24 * 60, 50.0)
    walk.windows += gap_us // MINUTE_US
    for _ in range(50):
        judged = walk.observe(20.0, 50.0)
        assert all(np.isfinite(row).all() for row in judged)
        assert judged.high[0] < 1e9
    assert walk.alarms == []
    assert judged.expected[0] == pytest.approx(20, rel=0.3)


def test_what_is_expected_after_a_gap_comes_from_the_hours() -> None:
    """A day off does not make a service forget its rhythm, nor how its lines scatter."""
    walk = Walk(TRAFFIC)
    walk.poisson(100, 3 * 24 * 60)
    walk.windows += 24 * 60
    assert walk.observe(0.0).expected[0] == pytest.approx(100, rel=0.1)


def test_time_that_goes_backwards_is_no_gap() -> None:
    """It fades nothing, and the window after it is no jump."""
    walk = Walk(SHARE)
    walk.poisson(20, 100, 1000)
    before = walk.observe(20.0, 1000.0)
    walk.windows -= 60
    walk.observe(20.0, 1000.0)
    walk.windows += 60
    assert walk.state.newest_us == walk.time_us - 2 * MINUTE_US
    after = walk.observe(20.0, 1000.0)
    assert after.expected == pytest.approx(before.expected, rel=0.02)


@pytest.mark.parametrize("passed_us", [0, 1, DAY_US, 4000 * DAY_US])
def test_what_fades_stays_a_share(passed_us: int) -> None:
    """From one down to nothing."""
    assert 0.0 <= decay_factor(passed_us, DAY_US) <= 1.0
    assert decay_factor(passed_us, DAY_US) == pytest.approx(np.exp(-passed_us / DAY_US))


# --------------------------------------------------------------------------------------- absurdity


def test_a_single_window_says_nothing() -> None:
    """The first one is neither off nor known; its band is left out by who reads `learning`."""
    judged = Walk(TRAFFIC).observe(1000.0)
    assert judged.learning.all()
    assert judged.z.tolist() == [0.0]
    assert not judged.is_open.any()


def test_a_service_that_never_logs_is_as_usual() -> None:
    """After days of zeros one line is no alarm, and twenty are."""
    walk = Walk(TRAFFIC)
    for _ in range(3000):
        judged = walk.observe(0.0)
        assert all(np.isfinite(row).all() for row in judged)
    assert walk.observe(1.0).strength[0] < 1
    assert walk.alarms == []
    assert walk.observe(20.0).is_open.all()


def test_shares_of_nothing_say_nothing() -> None:
    """Windows without a line have no share of errors: the level stays what it was."""
    walk = Walk(SHARE)
    walk.poisson(20, 100, 1000)
    for _ in range(30):
        judged = walk.observe(0.0, 0.0)
        assert judged.z.tolist() == [0.0]
    assert walk.observe(20.0, 1000.0).expected[0] == pytest.approx(20, rel=0.1)


VALUES = st.sampled_from([0.0, 1.0, 3.0, 1e3, 1e9, 1e15, 9.2e18])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(VALUES, VALUES, st.integers(1, 10**6)), min_size=1, max_size=60),
    st.sampled_from([TRAFFIC, SHARE, LATENCY, replace(TRAFFIC, learning_windows=0.0)]),
)
def test_no_value_makes_nonsense(seen: list[tuple[float, float, int]], kind: LevelSettings) -> None:
    """Whatever is counted in whatever time, every number stays one, and the state can be read again."""
    walk = Walk(kind)
    for value, weight, minutes in seen:
        amount = float(np.log(value + 1e-3)) if kind.family == "amounts" else value
        judged = walk.observe(amount if weight else 0.0, weight)
        assert all(np.isfinite(row).all() for row in judged)
        assert (judged.low <= judged.high).all()
        walk.windows += minutes - 1
    walk.bank.encode()
    table = np.frombuffer(walk.state.numbers)
    assert np.isfinite(table).all()


def test_maintenance_fades_but_teaches_nothing() -> None:
    """A window that is skipped leaves counts as they are, and lets time pass."""
    walk = Walk(SHARE)
    walk.poisson(20, 100, 1000)
    windows = walk.bank.windows.tolist()
    weight = walk.bank._table[Row.WEIGHT, 0]
    walk.bank.skip(walk.time_us + 2 * HOUR_US, walk.vectors, walk.calendar)
    assert walk.bank.windows.tolist() == windows
    assert 0 < walk.bank._table[Row.WEIGHT, 0] < 0.6 * weight


def test_threads_that_share_settings_do_not_meet() -> None:
    """What fades depends on the time asked for, not on who asked before."""
    vectors = Vectors([SHARE, TRAFFIC])
    for minutes in (1, 5, 1, 0):
        expected = np.exp(-minutes / np.array([180.0, 20.0]))
        assert vectors.fading(minutes * MINUTE_US) == pytest.approx(expected)
