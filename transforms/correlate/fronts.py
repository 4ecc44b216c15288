"""Which service stands in front of another one, where no line says so: a load balancer. Pure.

Its record of a request and that of the service behind it carry the same trace, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from transforms.correlate.clues import ServiceFacts

LEAST_TRACES: Final = 8
LEAST_SHARE: Final = 0.9


def find_fronts(
    facts: Mapping[str, ServiceFacts], calls: Mapping[str, set[str]], called: Mapping[str, set[str]]
) -> Iterator[tuple[str, str, int]]:
    """(front, service behind it, traces that they share) of one window.

    The front has no other neighbor, and nobody else calls the service behind it; nearly all kept traces of
    either are of the other one too; and its requests take as long at least. `calls` has the callees and
    `called` the callers of each service, as far as they are known.
    """
    traced = {name: found for name, found in facts.items() if len(found.spans) >= LEAST_TRACES}
    fronts = [name for name in traced if not called.get(name) and len(calls.get(name, ())) <= 1]
    for front in sorted(fronts):
        for behind in sorted(traced.keys() - {front}):
            is_alone = called.get(behind, set()) <= {front} and calls.get(front, set()) <= {behind}
            if is_alone and calls.get(behind) and _slower(traced[front], traced[behind]):
                shared = len(traced[front].spans.keys() & traced[behind].spans.keys())
                most = max(len(traced[front].spans), len(traced[behind].spans))
                if shared >= LEAST_SHARE * most:
                    yield front, behind, shared


def _slower(one: ServiceFacts, other: ServiceFacts) -> bool:
    """Whether requests of `one` take as long as those of `other` at least; both must be measured."""
    if not (one.latency_count and other.latency_count):
        return False
    return one.latency_sum_us * other.latency_count >= other.latency_sum_us * one.latency_count
