"""A load balancer in front of a service is known by the traces that both have."""

from __future__ import annotations

import pytest

from transforms.correlate.clues import ServiceFacts
from transforms.correlate.fronts import LEAST_TRACES, find_fronts

CALLS = {"frontend": {"cart"}, "cart": set[str](), "edge": set[str]()}
CALLED = {"cart": {"frontend"}}


def facts(service: str, traces: range, latency_us: int = 50_000) -> ServiceFacts:
    """A window of `service` in which each trace has one span of its own and no parent."""
    spans = {f"t{number}": {f"{service}{number}": ""} for number in traces}
    return ServiceFacts(service, 20, 0, 20, 20, 20 * latency_us, {}, {}, spans, [])


def fronts(
    edge: ServiceFacts, frontend: ServiceFacts, calls: dict[str, set[str]] | None = None
) -> list[tuple[str, str, int]]:
    found = {"edge": edge, "frontend": frontend, "cart": facts("cart", range(20), 5_000)}
    return list(find_fronts(found, calls or CALLS, CALLED))


def test_who_shares_all_traces_and_takes_longer_stands_in_front() -> None:
    """The front calls; the service behind it, which calls others, is called."""
    assert fronts(facts("edge", range(16), 60_000), facts("frontend", range(16))) == [
        ("edge", "frontend", 16)
    ]


@pytest.mark.parametrize(
    ("edge", "frontend"),
    [
        (facts("edge", range(16), 40_000), facts("frontend", range(16))),
        (facts("edge", range(8), 60_000), facts("frontend", range(16))),
        (facts("edge", range(16), 60_000), facts("frontend", range(8))),
        (facts("edge", range(LEAST_TRACES - 1), 60_000), facts("frontend", range(LEAST_TRACES - 1))),
        (facts("edge", range(16), 60_000), facts("frontend", range(100, 116))),
    ],
    ids=["faster", "part of the traces", "more than the traces", "too few", "other traces"],
)
def test_nothing_else_is_a_front(edge: ServiceFacts, frontend: ServiceFacts) -> None:
    """A service that only some requests reach is called by somebody, not in front of him."""
    assert fronts(edge, frontend) == []


def test_a_service_with_neighbors_of_its_own_is_no_front() -> None:
    """What is known by better means is not guessed."""
    calls = {**CALLS, "edge": {"auth"}}
    assert fronts(facts("edge", range(16), 60_000), facts("frontend", range(16)), calls) == []


def test_a_front_stays_one_when_its_edge_is_known() -> None:
    """Each window confirms it, so that it does not expire."""
    calls = {**CALLS, "edge": {"frontend"}}
    assert fronts(facts("edge", range(16), 60_000), facts("frontend", range(16)), calls) == [
        ("edge", "frontend", 16)
    ]
