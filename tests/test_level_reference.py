"""The bank of levels against one signal in plain Python, written from the formulas."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from level_bench import MONDAY_US

from transforms.detect.baselines.level import BankState, LevelBank, LevelSettings, Vectors
from transforms.detect.baselines.seasons import Calendar
from transforms.elements import DAY_US, HOUR_US

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

HALF_HOUR_US = HOUR_US // 2


class Reference:
    """One signal. Hours are UTC, days off are Saturday and Sunday, windows have a minute."""

    def __init__(self, how: LevelSettings, time_us: int) -> None:
        self.how, self.first, self.newest, self.hour = how, time_us, time_us, -1
        self.value = self.weight = self.trend = self.today = self.usual = self.squares = self.windows = 0.0
        self.count = 0
        self.of_hour, self.odd, self.new = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0, 0.0]
        self.up = self.down = 0.0
        self.run = [0.0, 0.0, 0.0]  # values, expected, weight
        self.opened, self.seen_open, self.abnormal, self.calm = 0, 0, 0, 0
        self.week: dict[int, float] = {}
        self.odd_hours: dict[int, float] = {}

    @property
    def is_events(self) -> bool:
        return self.how.family == "events"

    def observe(self, time: int, value: float, weight: float) -> dict[str, float]:
        self.close_hour(time)
        self.fade(time - self.newest)
        self.newest = time
        center, low, high, foreign = self.around(time)
        observed, events, how = weight > 0, self.is_events, self.how
        known = self.weight > 1e-6
        divisor = self.weight if known else 1.0
        factor = (self.today + 10) / (self.usual + 10) if events else 1.0
        offset = 0.0 if events else (self.today - self.usual) / (self.weight + 10)
        level = self.value / divisor
        trended = max(0.0, 2 * level - self.trend / divisor) if events else level

        def rate(usual: float | None) -> float:
            return trended if usual is None else usual * factor + offset

        exposure = weight if events else 1.0
        expected = rate(center) * exposure
        if observed:
            expected = min(max(value, rate(low) * exposure), rate(high) * exposure)
        raw = self.deviance(value, expected) if events else (value - expected) * math.sqrt(weight or 1.0)
        prior = how.least_spread**2
        variance = max(prior, (self.squares + 10 * prior) / (self.windows + 10))
        clump = math.sqrt(variance)
        spread = math.sqrt(variance * (4.0 if foreign and events else 1.0) * (1 + weight / divisor))
        seen = known and observed
        z = raw / spread if seen else 0.0
        band_low, band_high = self.band(expected, spread, weight)
        learning = self.count < how.learning_windows
        strength = self.judge(time, z, value, weight, expected, seen, learning)
        opened_us = self.opened  # before what may be adopted ends the episode
        teaches = observed and not self.opened and strength < 0.5
        amount = value if learning or not seen else min(max(value, band_low), band_high)
        scale = 1.0 if events else weight
        usual = 0.0 if center is None else (expected - offset) / factor * scale
        if teaches:
            self.learn(amount * scale, weight, usual, center is not None)
            if seen:
                self.squares += min(abs(raw), (10 if learning else 3) * spread) ** 2
                self.windows += 1
        elif observed:
            self.keep_apart(time, value * scale, weight, usual, center is not None)
        return {
            "z": z, "clump": clump, "expected": expected, "low": band_low, "high": band_high,
            "strength": strength, "learning": learning, "opened_us": opened_us,
        }  # fmt: skip

    def fade(self, passed: int) -> None:
        level = math.exp(-passed / (self.how.memory_minutes * 60e6))
        for name in ("value", "weight", "trend", "today", "usual"):
            setattr(self, name, getattr(self, name) * level)
        self.new = [number * level for number in self.new]
        self.squares, self.windows = (n * math.exp(-passed / DAY_US) for n in (self.squares, self.windows))

    @staticmethod
    def deviance(count: float, expected: float) -> float:
        mean = max(expected, 0.02)
        surplus = (count * math.log(count / mean) if count else 0.0) - (count - mean)
        return math.copysign(math.sqrt(max(0.0, 2 * surplus)), count - mean)

    def band(self, expected: float, spread: float, weight: float) -> tuple[float, float]:
        if not self.is_events:
            half = 3 * spread / math.sqrt(weight or 1.0)
            return expected - half, expected + half
        root = math.sqrt(expected + 0.375)
        low = max(root - 1.5 * spread, math.sqrt(0.375))
        return max(low**2 - 0.375, 0.0), (root + 1.5 * spread) ** 2 - 0.375

    # ------------------------------------------------------------------------------------ alarms

    def judge(
        self, time: int, z: float, value: float, weight: float, expected: float, seen: bool, learning: bool
    ) -> float:
        how = self.how
        led_up = self.up >= self.down
        step, drift = min(max(z, -4.0), 4.0), 1.0 if seen else 0.0
        self.up = min(max(self.up + step - drift, 0.0), 2 * how.alarm_sum)
        self.down = min(max(self.down - step - drift, 0.0), 2 * how.alarm_sum)
        runs = self.up > 0 or self.down > 0
        if not (runs and (led_up == (self.up >= self.down) or not seen)):
            self.run = [0.0, 0.0, 0.0]
        if seen and runs:
            scale = 1.0 if self.is_events else weight
            added = (value * scale, expected * scale, weight)
            self.run = [old + new for old, new in zip(self.run, added, strict=True)]
        by_window, by_sum = abs(z) / how.alarm_z, max(self.up, self.down) / how.alarm_sum
        strength = 0.0
        if seen and not learning and max(by_window, by_sum) >= 0.5:
            divisor = self.run[2] if not self.is_events and self.run[2] > 0 else 1.0
            window = by_window * self.matters(z > 0, value, expected, weight)
            run = self.matters(self.up > self.down, self.run[0] / divisor, self.run[1] / divisor, self.run[2])
            young = time - self.first < how.cautious_hours * HOUR_US
            strength = max(window, by_sum * run) / (1.5 if young else 1.0)
        self.follow_episode(time, strength, z, seen)
        return strength

    def matters(self, is_up: bool, value: float, expected: float, cases: float) -> bool:
        how, more, less = self.how, max(value, expected), min(value, expected)
        if how.direction not in ("both", "up" if is_up else "down"):
            return False
        grows = 1 + how.least_effect
        if self.is_events:
            return more + 1 >= grows * (less + 1) and more >= how.least_events
        return more - less >= 2 * (grows - 1) / (grows + 1) and cases >= how.least_events

    def follow_episode(self, time: int, strength: float, z: float, seen: bool) -> None:
        was_open, is_calm = self.opened > 0, abs(z) < 2
        if was_open and seen:
            self.calm = self.calm + 1 if is_calm else 0
        if was_open and self.calm >= 5:
            self.end_episode()
        elif strength >= 1 and not was_open:
            self.opened = time
        if self.opened and seen:
            self.seen_open += 1
            self.abnormal += not is_calm

    def end_episode(self) -> None:
        self.opened = self.seen_open = self.abnormal = self.calm = 0
        self.up = self.down = 0.0
        self.new, self.run = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]

    # ---------------------------------------------------------------------------------- learning

    def learn(self, amount: float, weight: float, usual: float, knows_hour: bool) -> None:
        self.trend += (self.value + amount) / (self.weight + weight) * weight
        self.value += amount
        self.weight += weight
        if knows_hour:
            self.today += amount
            self.usual += usual
        self.of_hour = [self.of_hour[0] + amount, self.of_hour[1] + weight]
        self.count += 1

    def keep_apart(self, time: int, amount: float, weight: float, usual: float, knows_hour: bool) -> None:
        self.odd = [self.odd[0] + amount, self.odd[1] + weight]
        if not self.opened:
            return
        self.new = [self.new[0] + amount, self.new[1] + weight, self.new[2] + usual]
        lasts = time - self.opened >= self.how.adopt_hours * HOUR_US
        if lasts and 2 * self.abnormal >= self.seen_open:
            self.value = self.trend = self.new[0]
            self.today = self.new[0] if knows_hour else 0.0
            self.weight, self.usual = self.new[1], self.new[2]
            self.end_episode()

    # ----------------------------------------------------------------------------------- seasons

    @staticmethod
    def slot(time: int) -> int:
        return (time // HOUR_US + 3 * 24) % 168  # 1970 began on a Thursday

    def close_hour(self, time: int) -> None:
        hour = time // HOUR_US
        if hour == self.hour:
            return
        if self.how.seasonal and self.hour >= 0:
            slot = (self.hour + 3 * 24) % 168
            is_odd = self.odd[1] > self.of_hour[1]
            odd_mean = self.odd[0] / self.odd[1] if self.odd[1] else None
            if not is_odd and self.of_hour[1]:
                self.learn_hour(slot, self.of_hour[0] / self.of_hour[1])
            if is_odd and odd_mean is not None:
                if time - self.first < DAY_US + HOUR_US:
                    self.learn_hour(slot, odd_mean)
                before = self.odd_hours.get(slot % 24)
                if before is not None and self.alike(before, odd_mean):
                    self.learn_hour(slot, odd_mean)
                self.odd_hours[slot % 24] = odd_mean
        self.of_hour, self.odd, self.hour = [0.0, 0.0], [0.0, 0.0], hour

    def alike(self, one: float, other: float) -> bool:
        more, less = max(one, other), min(one, other)
        return more + 1 <= 2 * (less + 1) if self.is_events else more - less <= math.log(2)

    def learn_hour(self, slot: int, mean: float) -> None:
        before = self.week.get(slot)
        self.week[slot] = mean if before is None else before + 0.5 * (mean - before)

    def at(self, slot: int) -> tuple[float | None, bool]:
        if slot in self.week:
            return self.week[slot], False
        any_day = {s: mean for s, mean in sorted(self.week.items()) if s % 24 == slot % 24}
        alike = [mean for s, mean in any_day.items() if (s >= 120) == (slot >= 120)]
        found = alike or [*any_day.values()]
        return (sum(found) / len(found) if found else None), not alike

    def around(self, time: int) -> tuple[float | None, float | None, float | None, bool]:
        now, foreign = self.at(self.slot(time))
        steps = (-HALF_HOUR_US, HALF_HOUR_US, -HOUR_US, HOUR_US)
        found = [self.at(self.slot(time + step))[0] for step in steps]
        earlier, later, before, after = (now if mean is None else mean for mean in found)
        if not self.how.seasonal or earlier is None or later is None:
            return None, None, None, False
        near = [mean for mean in (before, now, after) if mean is not None]
        share = (time + HALF_HOUR_US) % HOUR_US / HOUR_US
        return earlier + share * (later - earlier), min(near), max(near), foreign


SETTINGS = st.builds(
    LevelSettings,
    family=st.sampled_from(["events", "amounts"]),
    direction=st.sampled_from(["up", "down", "both"]),
    seasonal=st.booleans(),
    memory_minutes=st.sampled_from([5.0, 20.0, 180.0]),
    alarm_z=st.sampled_from([4.0, 6.0]),
    least_effect=st.sampled_from([0.0, 0.3, 1.0]),
    least_events=st.sampled_from([0.0, 5.0]),
    least_spread=st.sampled_from([0.5, 1.0]),
    learning_windows=st.sampled_from([0.0, 20.0]),
    cautious_hours=st.sampled_from([0.0, 24.0]),
    adopt_hours=st.sampled_from([1.0, 24.0]),
)


def random_walk(how: LevelSettings, seed: int, windows: int, step: int) -> list[tuple[int, float, float]]:
    """(minute, value, weight): noise at a level that jumps now and then, with gaps and unseen windows."""
    random = np.random.default_rng(seed)
    minute, level, found = int(random.integers(0, 10_000)), 20.0, []
    for _ in range(windows):
        minute += step if random.random() > 0.01 else int(random.integers(1, 3000))
        if random.random() < 0.02:
            level = float(random.choice([0.0, 0.2, 20.0, 30.0, 200.0, 5000.0]))
        weight = float(random.choice([0.0, 1.0, 3.0, 500.0], p=[0.05, 0.75, 0.1, 0.1]))
        value = float(random.poisson(level * weight))
        if how.family == "amounts":
            value = float(math.log(level + 1) + random.normal())
        found.append((minute, value * (weight > 0), weight))
    return found


def assert_same(how: LevelSettings, walk: list[tuple[int, float, float]]) -> int:
    """Walk both; returns in how many windows an episode was open."""
    start_us = MONDAY_US + walk[0][0] * 60_000_000
    reference, state, opened = Reference(how, start_us), BankState(), 0
    bank, other = LevelBank(state), msgspec.structs.replace(how, alarm_z=2.0, cautious_hours=0.0)
    bank.add_signals(["one", "other"], [how, other], start_us)
    vectors = Vectors([how, other])
    for minute, value, weight in walk:
        time_us = MONDAY_US + minute * 60_000_000
        # A second signal, which alarms more easily, must make no difference to the first.
        judged = bank.observe(
            time_us, np.array([value] * 2), np.array([weight] * 2), vectors, Calendar()
        )._asdict()
        expected = reference.observe(time_us, value, weight)
        for name, number in expected.items():
            assert math.isclose(judged[name][0], number, rel_tol=1e-6, abs_tol=1e-7), (minute, name)
        opened += bool(judged["is_open"][0])
    return opened


@settings(max_examples=20, deadline=None)
@given(how=SETTINGS, seed=st.integers(0, 1 << 30), step=st.sampled_from([1, 7]))
def test_the_bank_says_what_the_formulas_say(how: LevelSettings, seed: int, step: int) -> None:
    """Every number of every window, for any settings, with gaps, jumps and windows without anything."""
    assert_same(how, random_walk(how, seed, 400, step))


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(how=SETTINGS, seed=st.integers(0, 1 << 30))
def test_the_bank_says_what_the_formulas_say_for_weeks(how: LevelSettings, seed: int) -> None:
    """With all hours of the week, those that stand in for others, and odd ones."""
    assert_same(how, random_walk(how, seed, 2500, 10))


def test_the_random_walks_have_episodes_in_them() -> None:
    """What is compared are not only normal windows."""
    how = LevelSettings(seasonal=True, memory_minutes=20, adopt_hours=1)
    assert 50 < assert_same(how, random_walk(how, 1, 1500, 7)) < 1450
