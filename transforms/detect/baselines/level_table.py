"""What is remembered of the levels of a service: the rows of the bank's table, and the state around it."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from transforms.detect.baselines.season_table import COLUMNS
from transforms.detect.baselines.seasons import WEEK_HOURS

STATE_VERSION: Final = 1
LARGEST: Final = 1e18  # no sum of a bank comes near it


class Row:
    """Rows of the bank's table: one number of each signal. Times are microseconds since 1970."""

    FIRST, SEEN, ALARM_AT, ALARMS, OPENED = range(5)
    # What normal windows teach: sums that fade, then those of the hour under way, then a plain count.
    VALUE, WEIGHT, TREND, TODAY, USUAL, SQUARES, WINDOWS, HOUR_VALUE, HOUR_WEIGHT, COUNT = range(5, 15)
    # What abnormal windows teach: those of the hour under way, and sums that fade, perhaps the new normal.
    ODD_VALUE, ODD_WEIGHT, NEW_VALUE, NEW_WEIGHT, NEW_USUAL = range(15, 20)
    # Sums of deviations, and what they are made of since one of them left zero.
    UP, DOWN, RUN_VALUE, RUN_EXPECTED, RUN_WEIGHT, RUN_WINDOWS = range(20, 26)
    # The episode that is open.
    EPISODE_WINDOWS, EPISODE_ABNORMAL, CALM = range(26, 29)
    ROWS = 29


TAUGHT: Final = slice(Row.VALUE, Row.COUNT + 1)
NEW: Final = slice(Row.NEW_VALUE, Row.NEW_USUAL + 1)
RUN: Final = slice(Row.RUN_VALUE, Row.RUN_WINDOWS + 1)
EPISODE: Final = slice(Row.NEW_VALUE, Row.CALM + 1)
"""All that ends with an episode."""

_SIGNED: Final = [
    *(Row.VALUE, Row.TREND, Row.TODAY, Row.USUAL, Row.HOUR_VALUE, Row.ODD_VALUE),
    *(Row.NEW_VALUE, Row.NEW_USUAL, Row.RUN_VALUE, Row.RUN_EXPECTED),
]
"""Rows that hold sums of logarithms, which may be negative."""


class BankState(msgspec.Struct, array_like=True, gc=False):
    """All memory of one service's levels. Tables are little-endian doubles, a column for each name."""

    version: int = STATE_VERSION
    names: list[str] = []
    numbers: bytes = b""
    seasonal: list[str] = []
    season: bytes = b""
    newest_us: int = -1
    hour: int = -1  # hours since 1970, UTC, in which the hour under way began
    slot: int = -1  # its hour of the local week
    half_hour: int = -1
    around: bytes = b""  # of the season around it: see SeasonTable.around


def find_damage(state: BankState) -> str:
    """Why a bank cannot go on from `state`, in a few words; "" if it can."""
    if state.version != STATE_VERSION:
        return f"its levels are of version {state.version}, not {STATE_VERSION}"
    names, seasonal = state.names, state.seasonal
    if len(set(names)) != len(names) or len(set(seasonal)) != len(seasonal) or not {*seasonal} <= {*names}:
        return "names of signals are doubled or missing"
    if len(state.numbers) != 8 * Row.ROWS * len(names) or len(state.season) != 8 * COLUMNS * len(seasonal):
        return "its tables do not fit its signals"
    table, season = np.frombuffer(state.numbers), np.frombuffer(state.season)
    if not np.isfinite(table).all() or np.isinf(season).any():
        return "its tables hold what is no number"
    if (np.abs(table) > LARGEST).any() or (np.abs(season) > LARGEST).any():
        return "its tables hold numbers beyond all bounds"
    if (np.delete(table.reshape(Row.ROWS, len(names)), _SIGNED, axis=0) < 0).any():
        return "its tables hold negative counts or times"
    return "" if -1 <= state.slot < WEEK_HOURS else "its hour is not of the week"
