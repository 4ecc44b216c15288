"""Which anomalies become one incident, why, and which never do."""

from __future__ import annotations

from typing import Any

import pytest
from correlate_bench import Tenant, because, make_anomaly, make_facts, mesh

from transforms.elements import MINUTE_US, Anomaly, Evidence
from transforms.incident_elements import Incident

CHAIN = [("web", "cart"), ("cart", "db")]
LONG_TEXT = "could not reserve stock for item <NUM>"


def one_incident(tenant: Tenant) -> Incident:
    assert len(tenant.last) == 1
    return next(iter(tenant.last.values()))


# ------------------------------------------------------------------------------------- what joins


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("cart", "web", "web calls cart"),
        ("web", "cart", "web calls cart"),
        ("db", "web", "web calls db through cart"),
        ("web", "db", "web calls db through cart"),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_services_that_call_each_other_are_one_problem(
    first: str, second: str, why: str, together: bool
) -> None:
    """Directly or through one service that shows nothing, at once or a minute apart; and it is said."""
    tenant = Tenant()
    tenant.at(0, mesh(CHAIN))
    anomalies = [make_anomaly(first, 1), make_anomaly(second, 1 if together else 2)]
    for minute in (1, 2):
        tenant.at(minute, mesh(CHAIN), [a for a in anomalies if a.window_start == minute * MINUTE_US])
    incident = one_incident(tenant)
    opener = min(anomalies, key=lambda a: (a.window_start, a.anomaly_id)).service
    assert because(incident)[opener] == ["it opened the incident"]
    assert because(incident)[second if opener == first else first] == [why]


def test_more_of_a_service_and_the_same_again_join_it() -> None:
    """A second type is more of the service; the same type is the same trouble, after a pause too."""
    tenant = Tenant()
    tenant.at(0, mesh(CHAIN), [make_anomaly("cart", 0)])
    tenant.at(1, mesh(CHAIN), [make_anomaly("cart", 1, "latency_increase")])
    tenant.at(8, mesh(CHAIN), [make_anomaly("cart", 8)])
    assert because(one_incident(tenant))["cart"] == [
        "it opened the incident",
        "more of cart, which is part of it",
        "the same trouble of cart again",
    ]


def test_two_anomalies_at_once_of_one_service_are_one_incident_with_one_opener() -> None:
    """Only one of them opened it."""
    tenant = Tenant()
    tenant.at(0, mesh(CHAIN), [make_anomaly("cart", 0), make_anomaly("cart", 0, "latency_increase")])
    reasons = because(one_incident(tenant))["cart"]
    assert sorted(reasons) == ["it opened the incident", "more of cart, which opened the incident"]


@pytest.mark.parametrize("together", [True, False])
def test_a_service_that_errors_name_is_part_of_it(together: bool) -> None:
    """Names are told as words, with a domain too; both directions, at once or one after the other."""
    tenant = Tenant()
    alone = mesh([], others=["a", "billing", "ship"])
    tenant.at(0, alone)
    naming = make_anomaly("ship", 1, texts=["no route to billing.default.svc after <NUM> tries"])
    tenant.at(1, alone, [naming, make_anomaly("billing", 1)] if together else [naming])
    if not together:
        tenant.at(2, alone, [make_anomaly("billing", 2)])
    said = [reason for reasons in because(one_incident(tenant)).values() for reason in reasons]
    assert sorted(said) == ["errors of ship name billing", "it opened the incident"]


@pytest.mark.parametrize(("number", "said"), [(1, "trace"), (2, "traces")])
def test_services_that_fail_in_the_same_traces_are_one_problem(number: int, said: str) -> None:
    """How many traces they share is said."""
    traces = {f"t{n}": MINUTE_US + n for n in range(number)}
    tenant = Tenant()
    facts = {name: make_facts(name, traces=traces) for name in ("a", "b")}
    tenant.at(1, facts, [make_anomaly("a", 1), make_anomaly("b", 1)])
    said_of = because(one_incident(tenant))
    reasons = [reason for reasons in said_of.values() for reason in reasons]
    assert any(f"fail in {number} common {said}" in reason for reason in reasons)


@pytest.mark.parametrize("together", [True, False])
def test_services_that_log_the_same_long_pattern_are_one_problem(together: bool) -> None:
    """The pattern counts, whoever logs it first."""
    tenant = Tenant()
    alone = mesh([], others=["a", "b"])
    first, second = (
        make_anomaly("a", 1, texts=[LONG_TEXT]),
        make_anomaly("b", 1 + (not together), texts=[LONG_TEXT]),
    )
    tenant.at(1, alone, [first, second] if together else [first])
    if not together:
        tenant.at(2, alone, [second])
    reasons = [reason for reasons in because(one_incident(tenant)).values() for reason in reasons]
    assert any("log the same pattern" in reason for reason in reasons)


def test_services_that_got_the_same_roll_out_are_one_problem() -> None:
    """What was rolled out to both is named by what they share."""
    tenant = Tenant()
    facts = {name: make_facts(name, deploys=[(MINUTE_US, "registry/base:7")]) for name in ("a", "b")}
    tenant.at(1, facts, [make_anomaly("a", 1), make_anomaly("b", 1)])
    reasons = [reason for reasons in because(one_incident(tenant)).values() for reason in reasons]
    assert any("the same was rolled out" in reason for reason in reasons)


# ----------------------------------------------------------------------------- what stays apart


UNRELATED: dict[str, dict[str, Any]] = {
    "nothing in common": {},
    "empty texts": {"texts": [""]},
    "short texts": {"texts": ["connection refused"]},
    "empty pattern ids": {"evidence": [Evidence("", "", 0, [])]},
    "empty fields": {"endpoint": "", "signal": "", "description": ""},
}


@pytest.mark.parametrize("case", UNRELATED)
@pytest.mark.parametrize("together", [True, False])
def test_anomalies_that_share_nothing_stay_apart(case: str, together: bool) -> None:
    """That they come at the same time, or that the same fields are empty, links nothing."""
    tenant = Tenant()
    empty = {"spans": {"": {"": ""}}, "deploys": [(1, "")], "traces": {}}
    facts = {name: make_facts(name, **empty) for name in ("a", "b")}
    tenant.at(0, facts)
    first, second = (make_anomaly(name, 1, **UNRELATED[case]) for name in ("a", "b"))
    tenant.at(1, facts, [first, second] if together else [first])
    if not together:
        tenant.at(2, facts, [make_anomaly("b", 2, **UNRELATED[case])])
    assert len(tenant.last) == 2
    assert all(incident.affected_services in (["a"], ["b"]) for incident in tenant.last.values())


def test_a_roll_out_that_is_called_like_its_service_links_nothing() -> None:
    """Audit logs that say no more than the service's name say nothing of a shared revision."""
    tenant = Tenant()
    facts = {
        "a": make_facts("a", deploys=[(MINUTE_US, "a"), (MINUTE_US, "b")]),
        "b": make_facts("b", deploys=[(MINUTE_US, "b"), (MINUTE_US, "a")]),
    }
    tenant.at(1, facts, [make_anomaly("a", 1), make_anomaly("b", 1)])
    assert len(tenant.last) == 2


def test_services_that_a_third_one_calls_share_nothing() -> None:
    """Two callees of one caller that is well are two problems."""
    tenant = Tenant()
    facts = mesh([("web", "cart"), ("web", "ads")])
    tenant.at(0, facts)
    tenant.at(1, facts, [make_anomaly("cart", 1), make_anomaly("ads", 1)])
    assert len(tenant.last) == 2


def test_three_steps_are_too_far() -> None:
    """Two services in between that are well link nothing."""
    tenant = Tenant()
    facts = mesh([("a", "b"), ("b", "c"), ("c", "d")])
    tenant.at(0, facts)
    tenant.at(1, facts, [make_anomaly("a", 1), make_anomaly("d", 1)])
    assert len(tenant.last) == 2


@pytest.mark.parametrize("kind", ["security_incident", "new_pattern", "certificate_expiry"])
@pytest.mark.parametrize("odd_first", [True, False])
def test_what_is_only_odd_about_a_service_is_not_carried_by_calls(kind: str, odd_first: bool) -> None:
    """An attack, a new pattern or a certificate in one service and errors in its caller are two problems."""
    kinds = (kind, "error_spike") if odd_first else ("error_spike", kind)
    for minutes in ((1, 1), (1, 2)):
        tenant = Tenant()
        tenant.at(0, mesh(CHAIN))
        anomalies = [
            make_anomaly(name, m, k) for name, m, k in zip(("web", "cart"), minutes, kinds, strict=True)
        ]
        for minute in (1, 2):
            tenant.at(minute, mesh(CHAIN), [a for a in anomalies if a.window_start == minute * MINUTE_US])
        assert len(tenant.last) == 2, minutes


def test_a_certificate_collects_nothing_else_of_its_service() -> None:
    """It runs out for weeks; errors of the service meanwhile are another problem."""
    tenant = Tenant()
    tenant.at(0, mesh(CHAIN), [make_anomaly("cart", 0, "certificate_expiry")])
    tenant.at(1, mesh(CHAIN), [make_anomaly("cart", 1)])
    assert sorted(i.anomaly_count for i in tenant.last.values()) == [1, 1]


def test_what_comes_after_its_neighbor_is_well_again_is_another_problem() -> None:
    """A link other than the same trouble counts only while the service it leads to is ill."""
    for minute, expected in ((4, 1), (5, 2)):
        tenant = Tenant()
        tenant.at(0, mesh(CHAIN), [make_anomaly("cart", 0)])
        for quiet in range(1, minute):
            tenant.at(quiet, mesh(CHAIN))
        tenant.at(minute, mesh(CHAIN), [make_anomaly("web", minute)])
        assert len(tenant.last) == expected, minute


def test_effects_of_a_cause_that_no_incident_knows_are_a_new_problem() -> None:
    """An incident of a callee and its caller does not take a later one of another callee."""
    calls = [("web", "cart"), ("web", "db")]
    tenant = Tenant()
    tenant.at(0, mesh(calls))
    tenant.at(1, mesh(calls), [make_anomaly("cart", 1), make_anomaly("web", 1)])
    for minute in range(2, 7):
        tenant.at(minute, mesh(calls))
    tenant.at(7, mesh(calls), [make_anomaly("db", 7), make_anomaly("web", 7)])
    first, second = tenant.last.values()
    assert sorted(first.affected_services) == ["cart", "web"]
    assert sorted(second.affected_services) == ["db", "web"]


def test_a_call_in_a_circle_does_not_hide_a_cause() -> None:
    """Who calls a service that calls it back is not explained by itself.

    a and b call each other, b is well; c is ill since an incident that is not linked to a.
    """
    calls = [("a", "b"), ("b", "a"), ("front", "c"), ("front", "a")]
    tenant = Tenant()
    tenant.at(0, mesh(calls))
    tenant.at(1, mesh(calls), [make_anomaly("c", 1)])
    tenant.at(2, mesh(calls), [make_anomaly("c", 2), make_anomaly("front", 2), make_anomaly("a", 2)])
    both = [incident for incident in tenant.last.values() if "a" in incident.affected_services]
    assert [sorted(incident.affected_services) for incident in both] == [["a", "c", "front"]]
    assert len(tenant.last) == 2


# ---------------------------------------------------------------------------- the confidence floor


def unsure(service: str, minute: int) -> Anomaly:
    return make_anomaly(service, minute, below_confidence_floor=True, confidence_score=0.0)


def test_anomalies_below_the_floor_open_nothing() -> None:
    """However many there are, and however they are linked."""
    tenant = Tenant()
    for minute in range(5):
        tenant.at(minute, mesh(CHAIN), [unsure("cart", minute), unsure("web", minute)])
    assert tenant.incidents == []


@pytest.mark.parametrize("together", [True, False])
def test_anomalies_below_the_floor_join_what_they_are_linked_to(together: bool) -> None:
    """They are listed, but never as the one that opened it."""
    tenant = Tenant()
    tenant.at(0, mesh(CHAIN))
    tenant.at(1, mesh(CHAIN), [make_anomaly("web", 1), *([unsure("cart", 1)] if together else [])])
    if not together:
        tenant.at(2, mesh(CHAIN), [unsure("cart", 2)])
    assert because(one_incident(tenant)) == {"web": ["it opened the incident"], "cart": ["web calls cart"]}


def test_without_logs_a_service_that_is_well_again_links_nothing() -> None:
    """A job over metrics alone knows no windows of services; time passes with its anomalies."""
    for minute, expected in ((3, 1), (6, 2)):
        tenant = Tenant()
        tenant.at(0, {}, [make_anomaly("cart", 0, "metric_anomaly")])
        tenant.at(minute, {}, [make_anomaly("cart", minute, "resource_exhaustion")])
        assert len(tenant.last) == expected, minute
