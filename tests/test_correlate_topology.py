"""Who calls whom: where it is learned from, what is not, when it is forgotten and written."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from correlate_bench import Tenant, make_facts, mesh
from hypothesis import given
from hypothesis import strategies as st

from transforms.correlate.clues import ServiceFacts
from transforms.correlate.settings import ConfiguredDependency, CorrelateSettings
from transforms.correlate.topology import MAX_EDGES, Topology, configure, expire, observe, rows_due
from transforms.elements import HOUR_US, MINUTE_US, RequestStats

CALLS = [("web", "cart"), ("cart", "db")]


def edges_of(topology: Topology) -> set[tuple[str, str, str]]:
    return {(a, b, edge.source) for a, callees in topology.edges.items() for b, edge in callees.items()}


def traced(*chain: str, trace: str = "t") -> dict[str, ServiceFacts]:
    """Facts in which each service of `chain` was called by the one before, as spans tell it."""
    spans = {name: {trace: {name: parent}} for parent, name in pairwise(("", *chain))}
    return {name: make_facts(name, spans=found) for name, found in spans.items()}


# ---------------------------------------------------------------------------------- three sources


def test_access_logs_of_a_mesh_name_the_caller() -> None:
    """Callers and callees are known both ways."""
    topology = Topology()
    observe(topology, mesh(CALLS), 0)
    assert edges_of(topology) == {("web", "cart", "mesh"), ("cart", "db", "mesh")}
    assert list(topology.callees("cart")) == ["db"]
    assert list(topology.callers("cart")) == ["web"]
    assert list(topology.callers("web")) == []


@pytest.mark.parametrize("order", [("web", "cart", "db"), ("db", "cart", "web"), ("cart", "web", "db")])
def test_a_parent_span_in_another_service_is_a_call(order: tuple[str, ...]) -> None:
    """Whichever service's window is looked at first."""
    facts = traced("web", "cart", "db")
    topology = Topology()
    observe(topology, {name: facts[name] for name in order}, 0)
    assert edges_of(topology) == {("web", "cart", "trace"), ("cart", "db", "trace")}


def test_a_parent_in_another_trace_or_unknown_is_no_call() -> None:
    """Span ids mean something within their trace only; an empty one means nothing."""
    facts = {
        "a": make_facts("a", spans={"t1": {"s": ""}, "": {"": ""}}),
        "b": make_facts("b", spans={"t2": {"x": "s"}, "t1": {"y": "nowhere", "z": ""}, "": {"": ""}}),
    }
    topology = Topology()
    observe(topology, facts, 0)
    assert edges_of(topology) == set()


def test_a_mesh_says_more_than_traces_and_both_more_than_an_operator() -> None:
    """Counts of one source are not added to those of another."""
    topology = Topology()
    configure(topology, [ConfiguredDependency("", "web", "cart")], 0)
    assert edges_of(topology) == {("web", "cart", "configuration")}
    observe(topology, traced("web", "cart"), 0)
    assert edges_of(topology) == {("web", "cart", "trace")}
    observe(topology, mesh(CALLS[:1]), MINUTE_US)
    observe(topology, traced("web", "cart"), 2 * MINUTE_US)
    assert edges_of(topology) == {("web", "cart", "mesh")}
    (row,) = rows_due(topology, "t", 5 * MINUTE_US, MINUTE_US)
    assert row.requests == 1 + 20


@pytest.mark.parametrize("nobody", ["", "unknown", "-", "cart"])
def test_calls_of_nobody_and_of_itself_are_no_dependency(nobody: str) -> None:
    """What a proxy writes where it does not know is no service."""
    topology = Topology()
    observe(topology, {"cart": make_facts("cart", callers={nobody: RequestStats(5)})}, 0)
    observe(topology, {"cart": make_facts("cart", callers={"web": RequestStats(0)})}, 0)
    configure(topology, [ConfiguredDependency("", "cart", "cart")], 0)
    assert edges_of(topology) == set()


def test_configured_dependencies_are_those_of_the_tenant_and_of_all() -> None:
    """Another tenant's stay away; they link anomalies like any other."""
    told = tuple(ConfiguredDependency(tenant, f"web{tenant}", "db") for tenant in ("", "shop", "other"))
    tenant = Tenant(CorrelateSettings(dependencies=told))
    tenant.at(0, mesh([], others=["db"]))
    assert edges_of(tenant.memory.topology) == {
        ("web", "db", "configuration"),
        ("webshop", "db", "configuration"),
    }


# ------------------------------------------------------------------------------------- forgetting


def test_edges_are_forgotten_a_day_after_their_last_call() -> None:
    """Configured ones stay, also when logs have told of them once."""
    told = ConfiguredDependency("", "web", "ads")
    tenant = Tenant(CorrelateSettings(dependencies=(told,)))
    tenant.at(0, mesh([*CALLS, ("web", "ads")]))
    for minute in range(1, 24 * 60 + 5, 7):
        tenant.at(minute, mesh(CALLS[:1]))
        assert "ads" in tenant.memory.topology.callees("web")
        assert list(tenant.memory.topology.callers("ads")) == ["web"]
    assert edges_of(tenant.memory.topology) == {("web", "cart", "mesh"), ("web", "ads", "configuration")}
    assert list(tenant.memory.topology.callers("db")) == []


@pytest.mark.parametrize("prefix", ["", "zzz", "AAA"])
@pytest.mark.parametrize("known_first", [True, False])
def test_callers_that_somebody_makes_up_do_not_drive_out_what_is_known(
    prefix: str, known_first: bool
) -> None:
    """20,000 names in one window leave the edges of real services, and a bounded number of others."""
    hostile = {f"{prefix}{number:06}": RequestStats(1) for number in range(20_000)}
    tenant = Tenant(CorrelateSettings(dependencies=(ConfiguredDependency("", "x", "y"),)))
    if known_first:
        tenant.at(0, mesh(CALLS))
    facts = mesh(CALLS)
    facts["cart"].callers.update(hostile)
    for minute in (1, 2):
        tenant.at(minute, facts)
        found = edges_of(tenant.memory.topology)
        assert {("web", "cart", "mesh"), ("cart", "db", "mesh"), ("x", "y", "configuration")} <= found
        assert len(found) <= MAX_EDGES + 1
    assert len(msgspec.msgpack.encode(tenant.memory)) < 1_000_000


def test_of_too_many_edges_those_unused_for_longest_go_then_the_youngest() -> None:
    """Among callers that are services alike."""
    topology = Topology()
    names = [f"s{number:05}" for number in range(MAX_EDGES)]
    observe(topology, {"old": make_facts("old", callers={"web": RequestStats(1)})}, 0)
    observe(topology, {"db": make_facts("db", callers=dict.fromkeys(names, RequestStats(1)))}, MINUTE_US)
    expire(topology, {"web", *names}, MINUTE_US, HOUR_US)
    assert list(topology.callers("old")) == []
    later = dict.fromkeys([*names, "young"], RequestStats(1))
    observe(topology, {"db": make_facts("db", callers=later)}, 2 * MINUTE_US)
    expire(topology, {"young", *names}, 2 * MINUTE_US, HOUR_US)
    assert list(topology.callers("db")) == names


# ------------------------------------------------------------------------------------------- rows


def test_rows_are_written_at_five_minutes_and_every_ten_while_used() -> None:
    """A use in the very window after a row is in the next one; without use there is none."""
    tenant = Tenant()
    for minute in range(60):
        tenant.at(minute, mesh(CALLS[:1] if minute < 16 else [], others=["web"]))
    (first, second, third) = tenant.dependencies
    assert [row.as_of // MINUTE_US for row in tenant.dependencies] == [5, 15, 25]
    assert [row.revision for row in tenant.dependencies] == [5, 15, 25]
    assert (first.requests, second.requests, third.requests) == (100, 300, 320)
    assert {row.requests_per_minute for row in tenant.dependencies} == {20.0}
    assert (third.first_seen, third.last_seen) == (0, 15 * MINUTE_US)
    assert third.latency_p50_ms == pytest.approx(2.93, rel=0.03)
    assert (third.caller, third.callee, third.source) == ("web", "cart", "mesh")


def test_a_row_tells_of_the_last_hour() -> None:
    """What was before is no longer counted, in steps of ten minutes."""
    tenant = Tenant()
    for minute in range(200):
        tenant.at(minute, mesh(CALLS[:1]))
    assert all(row.requests <= 60 * 20 for row in tenant.dependencies)
    assert tenant.dependencies[-1].requests >= 50 * 20


@pytest.mark.parametrize("window_us", [10_000_000, MINUTE_US, 10 * MINUTE_US])
def test_calls_a_minute_do_not_depend_on_the_length_of_windows(window_us: int) -> None:
    """120 calls a minute are that in windows of ten seconds and of ten minutes."""
    topology = Topology()
    rows = []
    calls = 2 * window_us // 1_000_000
    for start_us in range(0, HOUR_US, window_us):
        observe(topology, {"b": make_facts("b", callers={"a": RequestStats(calls, 1)})}, start_us)
        rows += rows_due(topology, "t", start_us + window_us, window_us)
    assert {row.requests_per_minute for row in rows} == {120.0}


@given(
    st.lists(
        st.tuples(st.integers(1, 50), st.dictionaries(st.integers(0, 9), st.integers(1, 5))), max_size=20
    )
)
def test_observing_leaves_the_summaries_as_they_are(windows: list[tuple[int, dict[int, int]]]) -> None:
    """Elements of a pipeline must not be changed, and counts add up exactly."""
    topology = Topology()
    for number, (count, bins) in enumerate(windows):
        stats = RequestStats(count, 0, 7 * count, bins)
        before = msgspec.msgpack.encode(stats)
        observe(topology, {"b": make_facts("b", callers={"a": stats})}, number * MINUTE_US)
        assert msgspec.msgpack.encode(stats) == before
    rows = list(rows_due(topology, "t", 20 * MINUTE_US, MINUTE_US))
    assert [row.requests for row in rows] == ([sum(count for count, _ in windows)] if windows else [])
