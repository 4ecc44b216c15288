"""Which service is named as the cause, and the reasons that are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pytest
from correlate_bench import Tenant, make_anomaly, make_facts, mesh

from transforms.correlate.clues import ServiceFacts
from transforms.correlate.root_cause import MAX_CAUSES, listed, rank_causes
from transforms.correlate.services import MOST_GROWN
from transforms.correlate.state import MAX_DEPLOYS, IncidentState, TenantMemory
from transforms.correlate.symptoms import Symptoms
from transforms.correlate.traces import FailingTrace, FailingTraces
from transforms.elements import MINUTE_US, Anomaly, RequestStats
from transforms.incident_elements import Incident, RootCause

CALLS = [("web", "cart"), ("cart", "db")]


def learned(facts: Mapping[str, ServiceFacts], minutes: int = 10) -> Tenant:
    """A tenant that has seen so many calm minutes of `facts`."""
    tenant = Tenant()
    for minute in range(minutes):
        tenant.at(minute, facts)
    return tenant


def judge(tenant: Tenant, facts: Mapping[str, ServiceFacts], anomalies: Sequence[Anomaly]) -> Incident:
    """The one incident that comes of one more minute."""
    (incident,) = tenant.at(tenant.minute + 1, facts, anomalies)
    return incident


def cause(incident: Incident, service: str) -> RootCause:
    return next(one for one in incident.root_causes if one.service == service)


def ranked(incident: Incident) -> list[str]:
    return [one.service for one in incident.root_causes]


def ill(names: Iterable[str], minute: int = 10, kind: str = "error_spike") -> list[Anomaly]:
    return [make_anomaly(name, minute, kind) for name in names]


# ---------------------------------------------------------------------------------- calls, names


@pytest.mark.parametrize("names", [["web", "cart", "db"], ["db", "cart", "web"]])
def test_a_callee_that_is_ill_is_named_before_those_that_call_it(names: list[str]) -> None:
    """Along the whole chain, with the reasons of each and the chain of effects."""
    incident = judge(learned(mesh(CALLS)), mesh(CALLS), ill(names))
    assert ranked(incident)[0] == "db"
    assert "it calls nobody, and those that call it (cart) are ill" in cause(incident, "db").reasons
    assert "but it needs db, which is ill too" in cause(incident, "cart").reasons
    assert [(step.cause, step.effect) for step in incident.effects] == [("db", "cart"), ("cart", "web")]
    assert incident.affected_services == ["db", "cart", "web"]
    assert incident.title.startswith("db: ")
    assert "db" in incident.summary


def test_an_ill_callee_of_a_service_that_is_well_explains_its_caller() -> None:
    """The service in between may swallow the errors."""
    incident = judge(learned(mesh(CALLS)), mesh(CALLS), ill(["web", "db"]))
    assert ranked(incident) == ["db", "web"]
    assert "but it needs db, which is ill too" in cause(incident, "web").reasons


def test_a_service_that_errors_of_others_name_is_the_cause() -> None:
    """No dependency has to be known."""
    texts = ["upstream zeta is not answering at all"]
    named = [make_anomaly(name, 10, texts=texts) for name in ("a", "b")]
    facts = mesh([], others=["a", "b", "zeta"])
    incident = judge(learned(facts), facts, [*named, make_anomaly("zeta", 10)])
    assert ranked(incident)[0] == "zeta"
    assert "errors of a, b name it" in cause(incident, "zeta").reasons
    assert cause(incident, "zeta").pattern == ""
    assert cause(incident, "a").pattern == texts[0]


def test_two_that_name_each_other_say_nothing() -> None:
    """Neither is held against the other."""
    facts = mesh([], others=["alpha", "beta"])
    anomalies = [
        make_anomaly("alpha", 10, texts=["lost the connection to beta again"]),
        make_anomaly("beta", 10, texts=["lost the connection to alpha again"]),
    ]
    incident = judge(learned(facts), facts, anomalies)
    assert ranked(incident) == ["alpha", "beta"]
    assert not [reason for one in incident.root_causes for reason in one.reasons if reason.startswith("but")]


@pytest.mark.parametrize(
    "calls",
    [[("a", "b"), ("b", "a")], [("a", "b"), ("b", "c"), ("c", "a")], [("a", "b"), ("b", "a"), ("b", "c")]],
)
def test_circles_of_calls_end(calls: list[tuple[str, str]]) -> None:
    """Everyone is ranked, the chain of effects passes each service once, equal ones go by name."""
    names = sorted({name for call in calls for name in call})
    incident = judge(learned(mesh(calls)), mesh(calls), ill(names))
    assert sorted(ranked(incident)) == names
    effects = [step.effect for step in incident.effects]
    assert len(effects) == len(set(effects)) == len(names) - 1
    if len(calls) == len(names) and ("b", "c") not in calls[2:]:
        assert ranked(incident) == names


# ---------------------------------------------------------------------------------------- latency


def timed(calls: Mapping[tuple[str, str], int]) -> dict[str, ServiceFacts]:
    """Facts with the mean microseconds of 20 calls each; the mesh tells them."""
    facts = mesh(calls)
    for (caller, callee), mean_us in calls.items():
        facts[callee].callers[caller] = RequestStats(20, 0, 20 * mean_us, {})
    return facts


CALM = {("user", "web"): 50_000, ("web", "cart"): 20_000, ("cart", "db"): 5_000}


def test_a_delay_on_the_wire_is_the_callers() -> None:
    """Its callees answer as fast as ever, and its own time grew: it is named, not what it calls."""
    tenant = learned(timed(CALM))
    slow = timed({**CALM, ("user", "web"): 350_000, ("web", "cart"): 320_000})
    incident = judge(tenant, slow, ill(["web", "cart"], kind="latency_increase"))
    assert ranked(incident)[0] == "cart"
    said = "its own time, without that of its callees, grew from 15 ms to 315 ms"
    assert said in cause(incident, "cart").reasons
    assert not any("its own time" in reason for reason in cause(incident, "web").reasons)


def test_a_service_without_anomaly_is_a_candidate_when_its_own_time_grew() -> None:
    """The ill caller of a callee that only became slower."""
    tenant = learned(timed(CALM))
    slow = timed({("user", "web"): 350_000, ("web", "cart"): 320_000, ("cart", "db"): 305_000})
    incident = judge(tenant, slow, ill(["cart"], kind="latency_increase"))
    assert set(ranked(incident)) == {"cart", "db"}
    assert cause(incident, "db").reasons == [
        "its own time, without that of its callees, grew from 5.0 ms to 305 ms"
    ]
    assert incident.affected_services == (["cart"])


def test_growth_of_services_that_are_not_near_is_no_evidence() -> None:
    """Neither of the incident nor called by it."""
    calm = {**CALM, ("user", "ads"): 10_000}
    tenant = learned(timed(calm))
    incident = judge(tenant, timed({**calm, ("user", "ads"): 900_000}), ill(["cart"]))
    assert ranked(incident) == ["cart"]


def test_what_grows_when_the_incident_is_over_is_no_evidence() -> None:
    """The revisions quiet and closed do not change their mind for it."""
    tenant = learned(timed(CALM))
    first = judge(tenant, timed(CALM), ill(["cart"]))
    slow = timed({**CALM, ("cart", "db"): 900_000, ("web", "cart"): 900_000})
    for minute in range(11, 40):
        tenant.at(minute, slow if minute > 12 else timed(CALM))
    assert tenant.incidents[-1].status == "closed"
    assert tenant.incidents[-1].root_causes == first.root_causes


def test_growth_that_lasts_becomes_usual() -> None:
    """After two hours a service is no longer said to have grown."""
    tenant = learned(timed(CALM))
    slow = timed({**CALM, ("cart", "db"): 400_000})
    for minute in range(10, 10 + MOST_GROWN + 10):
        tenant.at(minute, slow)
    assert tenant.memory.grown == {}
    incident = judge(tenant, slow, ill(["db"], minute=tenant.minute + 1))
    assert not any("its own time" in reason for reason in cause(incident, "db").reasons)


def test_a_short_history_or_few_requests_say_nothing_of_growth() -> None:
    """Four windows are too few, and so are four requests."""
    few = {
        "db": make_facts("db", callers={"cart": RequestStats(4, 0, 4_000_000)}),
        "cart": make_facts("cart"),
    }
    for tenant, facts in (
        (learned(timed(CALM), 4), timed({**CALM, ("cart", "db"): 900_000})),
        (learned(timed(CALM)), few),
    ):
        incident = judge(tenant, facts, ill(["db"], minute=tenant.minute + 1))
        assert not any("its own time" in reason for reason in cause(incident, "db").reasons)


# -------------------------------------------------------------------------- kinds of anomalies


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("resource_exhaustion", "its resources ran out"),
        ("security_incident", "it is under attack, or its rights were changed"),
        ("deploy_regression", "it is worse since a revision was rolled out"),
        ("silence", "it fell silent"),
    ],
)
def test_the_kind_of_anomaly_speaks_for_a_cause(kind: str, reason: str) -> None:
    """Of two that are linked by nothing but their traces, the one with that kind is named."""
    facts = {name: make_facts(name, traces={"t": 10 * MINUTE_US}) for name in ("a", "b")}
    incident = judge(
        learned({}), facts, [make_anomaly("a", 0), make_anomaly("b", 0), make_anomaly("b", 0, kind)]
    )
    assert ranked(incident)[0] == "b"
    assert reason in cause(incident, "b").reasons


def test_a_service_that_is_only_called_less_is_an_effect() -> None:
    """Its callers decide that; a silent one may be the cause."""
    incident = judge(learned(mesh(CALLS)), mesh(CALLS), [*ill(["cart"]), *ill(["db"], kind="traffic_change")])
    assert ranked(incident) == ["cart", "db"]
    assert (
        "but only the number of its calls changed, which its callers decide" in cause(incident, "db").reasons
    )
    incident = judge(learned(mesh(CALLS)), mesh(CALLS), [*ill(["cart"]), *ill(["db"], kind="silence")])
    assert ranked(incident) == ["db", "cart"]


@pytest.mark.parametrize(("minutes_before", "counts"), [(1, True), (25, True), (45, False)])
def test_a_deploy_just_before_speaks_for_its_service(minutes_before: int, counts: bool) -> None:
    """Up to half an hour; what was rolled out is named, and the deploy is listed."""
    calls = [("a", "x"), ("b", "x"), ("a", "b"), ("b", "a")]
    tenant = Tenant()
    at_us = (50 - minutes_before) * MINUTE_US
    for minute in range(50):
        facts = mesh(calls)
        if minute == 50 - minutes_before:
            facts["b"].deploys.append(make_facts("b", deploys=[(at_us, "b:v7")]).deploys[0])
        tenant.at(minute, facts)
    incident = judge(tenant, mesh(calls), ill(["a", "b"], minute=50))
    assert ranked(incident)[0] == ("b" if counts else "a")
    assert [deploy.what for deploy in incident.deploys] == (["b:v7"] if counts else [])
    assert cause(incident, "b").revision == ("b:v7" if counts else "")
    said = f"b:v7 was rolled out {minutes_before} min before it began"
    assert (said in cause(incident, "b").reasons) == counts


def test_of_many_deploys_those_that_tell_most_are_listed_and_all_are_counted() -> None:
    """One service that is rolled out without end does not hide what was rolled out to another one."""
    calls = [("a", "b"), ("b", "a")]
    tenant = Tenant()
    for minute in range(20):
        facts = mesh(calls)
        busy = [(minute * MINUTE_US + second, f"a:{minute}-{second}") for second in range(20)]
        facts["a"].deploys.extend(make_facts("a", deploys=busy).deploys)
        if minute == 3:
            facts["b"].deploys.extend(make_facts("b", deploys=[(minute * MINUTE_US, "b:v7")]).deploys)
        tenant.at(minute, facts, ill(["a", "b"], minute) if minute >= 17 else [])
    incident = judge(tenant, mesh(calls), [*ill(["a", "b"], 20), *ill(["a"], 20, "latency_increase")])
    assert len(incident.deploys) == MAX_DEPLOYS
    assert incident.deploy_count == 20 * 20 + 1
    assert "b:v7" in [deploy.what for deploy in incident.deploys]
    assert "a:17-19" in [deploy.what for deploy in incident.deploys]
    assert "a:3-0" not in [deploy.what for deploy in incident.deploys]
    assert max(len(one.unlisted_deploys) for one in tenant.memory.incidents) < 500


def test_a_deploy_after_it_began_is_no_cause() -> None:
    """A roll-back in the incident is listed, and says nothing against its service."""
    calls = [("a", "b"), ("b", "a")]
    tenant = learned(mesh(calls))
    tenant.at(10, mesh(calls), ill(["a", "b"]))
    for minute in range(11, 14):
        tenant.at(minute, mesh(calls), ill(["a", "b"], minute))
    facts = mesh(calls)
    facts["b"].deploys.append(make_facts("b", deploys=[(14 * MINUTE_US, "b:v6")]).deploys[0])
    tenant.at(14, facts, ill(["a", "b"], 14))
    incident = judge(tenant, mesh(calls), [*ill(["a", "b"], 15), *ill(["a"], 15, "latency_increase")])
    assert [deploy.what for deploy in incident.deploys] == ["b:v6"]
    assert ranked(incident)[0] == "a"
    assert not any("rolled out" in reason for reason in cause(incident, "b").reasons)


# ----------------------------------------------------------------------------------------- traces


def failing(minute: int, first: str, then: str, number: int) -> dict[str, ServiceFacts]:
    """Facts in which so many traces fail at `first`, and a millisecond later at `then`."""
    at_us = minute * MINUTE_US + 1_000
    traces = {f"{first}{minute}.{n}": at_us + n for n in range(number)}
    return {
        first: make_facts(first, traces=traces),
        then: make_facts(then, traces={trace_id: at + 1000 for trace_id, at in traces.items()}),
    }


def test_who_fails_first_in_shared_traces_is_named() -> None:
    """The traces are listed in the order in which services failed."""
    facts = failing(10, "b", "a", 10)
    incident = judge(learned(mesh([], others=["a", "b"])), facts, ill(["a", "b"]))
    assert ranked(incident) == ["b", "a"]
    assert "failed first in 100% of the failing traces" in cause(incident, "b").reasons
    assert {tuple(sample.services) for sample in incident.trace_samples} == {("b", "a")}
    assert len(incident.trace_samples) == 5


def test_traces_that_always_fail_there_say_nothing() -> None:
    """A service whose traces fail every window, before as now, is not named for it."""
    tenant = Tenant()
    for minute in range(30):
        tenant.at(minute, failing(minute, "b", "a", 10))
    incident = judge(tenant, failing(30, "b", "a", 11), ill(["a", "b"], 30))
    assert ranked(incident) == ["a", "b"]
    assert not any("failed first" in reason for one in incident.root_causes for reason in one.reasons)


@pytest.mark.parametrize("window_seconds", [10, 60, 600])
def test_what_is_usual_of_traces_is_so_for_any_length_of_windows(window_seconds: int) -> None:
    """Ten a window before are as usual in an incident of six windows, be they short or long."""
    memory = TenantMemory(window_us=window_seconds * 1_000_000)
    memory.traces = FailingTraces(usual={"b": 10.0}, windows=60)
    incident = IncidentState("i", "", 0, 0, 6 * memory.window_us, 0)
    incident.symptoms = {name: Symptoms(0, memory.window_us) for name in ("a", "b")}
    for number in range(61):
        memory.traces.by_id[str(number)] = FailingTrace({"b": number * memory.window_us // 11})
    assert not any(
        "failed first" in reason for one in rank_causes(incident, memory) for reason in one.reasons
    )
    for number in range(100, 140):
        memory.traces.by_id[str(number)] = FailingTrace({"b": number})
    assert "failed first in 100% of the failing traces" in rank_causes(incident, memory)[0].reasons


def test_two_traces_are_too_few() -> None:
    """Chance would name somebody."""
    incident = judge(learned(mesh([], others=["a", "b"])), failing(10, "b", "a", 2), ill(["a", "b"]))
    assert not any("failed first" in reason for one in incident.root_causes for reason in one.reasons)


# ---------------------------------------------------------------------------------- order, scores


def test_equal_evidence_goes_by_name() -> None:
    """Whatever came first."""
    calls = [("c", "a"), ("a", "b"), ("b", "c")]
    for names in (["a", "b", "c"], ["c", "b", "a"]):
        assert ranked(judge(learned(mesh(calls)), mesh(calls), ill(names))) == ["a", "b", "c"]


def test_who_began_before_all_others_is_said() -> None:
    """In minutes."""
    tenant = learned(mesh(CALLS))
    tenant.at(10, mesh(CALLS), ill(["cart"]))
    tenant.at(11, mesh(CALLS), ill(["cart"], 11))
    incident = judge(tenant, mesh(CALLS), ill(["web"], 12))
    assert "it began 2 min before all others" in cause(incident, "cart").reasons


def test_scores_of_all_candidates_add_up_to_one() -> None:
    """Up to the limit of those that are listed; beyond it the rest of the score is theirs."""
    for number in (1, 3, MAX_CAUSES, MAX_CAUSES + 10):
        calls = [(f"s{n:02}", f"s{n + 1:02}") for n in range(number)]
        names = sorted({name for call in calls for name in call})[:number]
        incident = judge(learned(mesh(calls)), mesh(calls), ill(names))
        scores = [one.score for one in incident.root_causes]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == min(number, MAX_CAUSES)
        total = sum(scores)
        assert total == pytest.approx(1, abs=1e-3) if number <= MAX_CAUSES else 0.3 < total <= 1.001


def test_long_lists_of_names_are_cut() -> None:
    """Three names, sorted, and how many more there are."""
    assert listed(["b", "a"]) == "a, b"
    assert listed(["d", "b", "a", "c", "e"]) == "a, b, c and 2 more"
