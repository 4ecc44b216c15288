"""What a detector of one signal is: `score_one` looks, `learn_one` remembers."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

Label = Literal["learning", "normal", "anomalous", "continuing"]
"""`anomalous` is news; `continuing` is still abnormal, but part of what was already reported."""


class Observation(msgspec.Struct, frozen=True, gc=False):
    """One value of one signal. `event_time_us` is the start of its window, since 1970 in UTC."""

    event_time_us: int
    value: float


class Judgement(msgspec.Struct, frozen=True, gc=False):
    """What a detector thinks of one observation, in the signal's unit where nothing else is said.

    `score` runs from 0 to 1 and says how much of an alarm this is; the label is `anomalous` exactly
    when it reaches `threshold`. `deviation` runs from 0 to 1 and says how unlike anything normal the
    value is, whether or not that was reported before: what teaches is decided by it. `baseline` and the
    band are None while nothing is known yet. `reason` is empty for what is normal.
    """

    score: float
    label: Label
    threshold: float
    deviation: float = 0.0
    baseline: float | None = None
    band_low: float | None = None
    band_high: float | None = None
    reason: str = ""


class Detector(Protocol):
    """One signal's detector, with all of its memory. Time only moves forward: see `learn_one`."""

    def score_one(self, observation: Observation) -> Judgement:
        """Judge by what was learned from earlier observations; changes nothing."""
        ...

    def learn_one(self, observation: Observation, judgement: Judgement) -> None:
        """Remember an observation and its judgement.

        An observation that is not newer than the newest one learned is late and teaches nothing.
        """
        ...

    def encode(self) -> bytes:
        """All memory, versioned; decoding it gives a detector that goes on as this one would."""
        ...
