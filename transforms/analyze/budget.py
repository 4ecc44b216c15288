"""What a tenant may spend, paced over the day. Pure; integers, so that no order of adding matters.

A bucket of tokens and one of requests fill evenly over the day and hold at most an hour's worth, or four
requests: a burst cannot eat the day, and a quiet night cannot be saved up for one. What is spent is
known only when the answer comes: a bucket may then be below zero, and fills up first.
"""

from __future__ import annotations

from typing import Final

import msgspec

from transforms.elements import DAY_US

HOURS: Final = 24
LEAST_REQUESTS: Final = 4
_SCALE: Final = DAY_US  # levels are kept in units of 1/DAY_US, so that a microsecond adds a whole number


class Bucket(msgspec.Struct, array_like=True):
    """`level` in units of 1/DAY_US of a token or request; None before it was looked at: then it is full."""

    level: int | None = None
    as_of_us: int = 0


class Budget(msgspec.Struct, array_like=True):
    """The two buckets of a tenant."""

    tokens: Bucket = msgspec.field(default_factory=Bucket)
    requests: Bucket = msgspec.field(default_factory=Bucket)


class Allowance(msgspec.Struct, frozen=True):
    """What a day brings. `most_prompt` is the largest prompt, which must fit into a full bucket."""

    tokens_per_day: int
    requests_per_day: int
    largest_request: int

    @property
    def most_tokens(self) -> int:
        return min(self.tokens_per_day, max(self.tokens_per_day // HOURS, self.largest_request))

    @property
    def most_requests(self) -> int:
        return min(self.requests_per_day, max(self.requests_per_day // HOURS, LEAST_REQUESTS))


def fill(budget: Budget, allowance: Allowance, now_us: int) -> None:
    """Let time pass; time that goes back adds nothing."""
    _fill(budget.tokens, allowance.tokens_per_day, allowance.most_tokens, now_us)
    _fill(budget.requests, allowance.requests_per_day, allowance.most_requests, now_us)


def _fill(bucket: Bucket, per_day: int, most: int, now_us: int) -> None:
    if bucket.level is None:
        bucket.level, bucket.as_of_us = most * _SCALE, now_us
        return
    elapsed_us = max(0, now_us - bucket.as_of_us)
    bucket.level = min(most * _SCALE, bucket.level + elapsed_us * per_day)
    bucket.as_of_us = max(bucket.as_of_us, now_us)


def can_afford(budget: Budget, tokens: int, requests: int = 1) -> bool:
    """Whether both buckets hold as much, after `fill`."""
    return (budget.tokens.level or 0) >= tokens * _SCALE and (budget.requests.level or 0) >= requests * _SCALE


def spend(budget: Budget, tokens: int, requests: int) -> None:
    """Take what was used, also beyond what there is."""
    budget.tokens.level = (budget.tokens.level or 0) - tokens * _SCALE
    budget.requests.level = (budget.requests.level or 0) - requests * _SCALE
