"""The memory of numbers, and what is novel against it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from transforms.detect.baselines.cells import LARGEST_VALUE, SIZE, Cells
from transforms.detect.baselines.novelty import NoveltySettings, learn_value, measure_value, new_novelty
from transforms.elements import DAY_US, HOUR_US

sizes = st.floats(1e-20, LARGEST_VALUE)
numbers = sizes | sizes.map(lambda size: -size) | st.integers(-300, 300).map(float)
lists = st.lists(numbers, min_size=1, max_size=50)


def cells_of(values: list[float]) -> Cells:
    cells = Cells()
    for value in values:
        cells.add(value)
    return cells


@given(lists)
def test_what_was_added_is_in_the_set(values: list[float]) -> None:
    """No value is lost when cells are joined to make room."""
    cells = cells_of(values)
    assert [value for value in values if cells.distance(value) > 0.0] == []


@given(lists)
def test_the_set_is_bounded_and_as_fine_as_it_can_be(values: list[float]) -> None:
    """At most SIZE cells are spanned, and the edges are within R / 255 of the extremes."""
    cells = cells_of(values)
    assert len(cells.bits) <= SIZE // 8 + 1
    assert int.from_bytes(cells.bits, "little").bit_length() <= SIZE
    slack = max((max(values) - min(values)) / 255, 2.0**-39 * max(map(abs, values)), 2.0**-99)
    assert min(values) - slack <= cells.low <= min(values)
    assert max(values) <= cells.high <= max(values) + slack


@given(st.lists(st.integers(-250, 250), min_size=1, max_size=30), st.integers(-2000, 2000))
def test_the_distance_is_that_to_the_nearest_value(values: list[int], probe: int) -> None:
    """Within one cell, the distance is that of an exact search; zero is added for a coarse start."""
    cells = cells_of([0.0, 255.0, *map(float, values)])
    true = min(abs(probe - value) for value in [0, 255, *values])
    width = math.ldexp(1.0, cells.exponent)
    assert abs(cells.distance(float(probe)) - true) <= width


@given(lists)
def test_values_come_from_the_set_in_order(values: list[float]) -> None:
    """Every cell gives one value that is in the set, ascending."""
    cells = cells_of(values)
    found = list(cells.values())
    assert found == sorted(found)
    assert len(found) == int.from_bytes(cells.bits, "little").bit_count()
    assert all(cells.distance(value) == 0.0 for value in found)


def test_an_empty_set_is_far_from_everything() -> None:
    """Nothing is near an empty set, and clearing a set empties it."""
    cells = cells_of([3.0])
    cells.clear()
    assert not cells
    assert cells.distance(3.0) == math.inf
    assert cells.low > cells.high
    assert list(cells.values()) == []


@given(st.floats(1e-9, 1e9), st.integers(-1000, 1000))
def test_novelty_has_no_unit(factor: float, offset: int) -> None:
    """The same signal in another unit is as novel, up to the width of the cells."""
    settings = NoveltySettings()
    shares = []
    for unit in (1.0, factor):
        memory = new_novelty()
        for hour in range(200):
            value = unit * (hour * 37 % 101 + offset)
            measured = measure_value(memory, settings, hour * HOUR_US, value)
            learn_value(memory, settings, measured, learning=True)
        shares.append(measure_value(memory, settings, 200 * HOUR_US, unit * (130 + offset)).deviation)
    assert abs(shares[0] - shares[1]) < 0.02
    assert abs(shares[0] - 0.3) < 0.02


def test_a_least_range_makes_small_changes_normal() -> None:
    """With a minimum range in the signal's unit, a change that is small against it is not novel."""
    for minimum, expected in ((0.0, True), (10.0, False)):
        settings = NoveltySettings(minimum_range=minimum)
        memory = new_novelty()
        learn_value(memory, settings, measure_value(memory, settings, 1, 5.0), learning=True)
        assert (measure_value(memory, settings, 2, 5.3).deviation >= settings.threshold) == expected


def test_what_is_not_seen_for_long_is_forgotten() -> None:
    """A month after it was last seen a value is known, after seventy days it is novel."""
    settings = NoveltySettings()
    memory = new_novelty()
    for day in range(1, 72):
        for value in (1.0, 2.0, 50.0) if day < 2 else (1.0, 2.0):
            measured = measure_value(memory, settings, day * DAY_US, value)
            learn_value(memory, settings, measured, learning=day < 2)
        deviation = measure_value(memory, settings, day * DAY_US, 50.0).deviation
        if day <= 32:
            assert deviation == 0.0
    assert deviation == 1.0
