"""The life of an incident: opened, updated, quiet, closed; severity, revisions, withdrawals, limits."""

from __future__ import annotations

import time
from itertools import pairwise

import msgspec
import pytest
from correlate_bench import TENANT, Tenant, encoded, fact_clue, make_anomaly, mesh
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from transforms.coders import StructCoder
from transforms.correlate.clues import clue_of_anomaly
from transforms.correlate.settings import CorrelateSettings
from transforms.correlate.state import MAX_GROUPS, MAX_INCIDENTS, MAX_MEMBERS, MAX_SERVICES, TenantMemory
from transforms.elements import ANOMALY_SEVERITIES, MINUTE_US, content_id

CALLS = [("web", "cart"), ("cart", "db"), ("web", "search"), ("search", "db")]
NAMES = ["web", "cart", "db", "search", "alone"]


def walk_on(tenant: Tenant, first: int, last: int) -> None:
    """Calm minutes."""
    for minute in range(first, last + 1):
        tenant.at(minute, mesh(CALLS, others=["alone"]))


def test_an_incident_is_opened_updated_quiet_and_closed() -> None:
    """Each change is a revision, and nothing else is; times are ends of windows."""
    tenant = Tenant()
    tenant.at(0, mesh(CALLS), [make_anomaly("cart", 0)])
    tenant.at(1, mesh(CALLS), [make_anomaly("cart", 1, "latency_increase")])
    walk_on(tenant, 2, 30)
    told = [(one.revision, one.status, one.updated_at // MINUTE_US) for one in tenant.incidents]
    assert told == [(0, "open", 1), (1, "updated", 2), (2, "quiet", 7), (3, "closed", 17)]
    assert [one.closed_at for one in tenant.incidents] == [None, None, None, 17 * MINUTE_US]
    assert {one.opened_at for one in tenant.incidents} == {MINUTE_US}
    assert {one.started_at for one in tenant.incidents} == {0}
    assert {one.incident_id for one in tenant.incidents} == {
        content_id(TENANT, make_anomaly("cart", 0).anomaly_id)
    }
    assert tenant.memory.incidents == []


def test_more_of_the_same_makes_a_revision_every_five_minutes() -> None:
    """What is new of kind does at once."""
    tenant = Tenant()
    for minute in range(12):
        kind = "latency_increase" if minute == 7 else "error_spike"
        tenant.at(minute, mesh(CALLS), [make_anomaly("cart", minute, kind)])
    assert [one.updated_at // MINUTE_US for one in tenant.incidents] == [1, 6, 8]


def test_a_quiet_incident_goes_on_when_its_trouble_comes_back() -> None:
    """The same trouble within the time makes it updated again."""
    tenant = Tenant()
    tenant.at(0, mesh(CALLS), [make_anomaly("cart", 0)])
    walk_on(tenant, 1, 9)
    tenant.at(10, mesh(CALLS), [make_anomaly("cart", 10)])
    walk_on(tenant, 11, 40)
    assert [one.status for one in tenant.incidents] == ["open", "quiet", "updated", "quiet", "closed"]
    assert tenant.incidents[-1].anomaly_count == 2


@pytest.mark.parametrize("with_clues_between", [True, False])
@pytest.mark.parametrize(("minute", "number"), [(15, 1), (16, 2), (17, 2), (300, 2)])
def test_a_closed_incident_takes_nothing(minute: int, number: int, with_clues_between: bool) -> None:
    """The same trouble later is another incident, whether there was data in between or not.

    An anomaly of minute 0 ends at 1: what begins within 15 minutes, before 16, is still taken.
    """
    tenant = Tenant()
    tenant.at(0, mesh(CALLS), [make_anomaly("cart", 0)])
    if with_clues_between:
        walk_on(tenant, 1, minute - 1)
    tenant.at(minute, mesh(CALLS), [make_anomaly("cart", minute)])
    assert len(tenant.last) == number
    for incident in tenant.last.values():
        closings = [one for one in tenant.incidents if one.incident_id == incident.incident_id]
        assert [one.status for one in closings].count("closed") <= 1
        assert all(one.status != "closed" for one in closings[:-1])


def test_a_gap_in_the_data_opens_nothing_and_joins_nothing() -> None:
    """After an hour without lines neighbors are not linked to what was, and the old one is closed."""
    tenant = Tenant()
    tenant.at(0, mesh(CALLS), [make_anomaly("cart", 0)])
    assert [one.status for one in tenant.at(60, mesh(CALLS))] == ["closed"]
    tenant.at(61, mesh(CALLS), [make_anomaly("web", 61)])
    assert [sorted(one.affected_services) for one in tenant.last.values()] == [["cart"], ["web"]]


def test_a_short_gap_does_not_close() -> None:
    """Ten minutes without a line leave the incident open, and its trouble joins it again."""
    tenant = Tenant()
    tenant.at(0, mesh(CALLS), [make_anomaly("cart", 0)])
    tenant.at(11, mesh(CALLS), [make_anomaly("cart", 11)])
    assert len(tenant.last) == 1
    assert "closed" not in [one.status for one in tenant.incidents]


def test_an_incident_is_closed_after_a_day_whatever_happens() -> None:
    """What goes on begins another one."""
    tenant = Tenant(CorrelateSettings(within_minutes=120))
    for minute in range(0, 26 * 60, 60):
        tenant.at(minute, mesh(CALLS), [make_anomaly("cart", minute)])
    statuses = [(one.incident_id, one.status) for one in tenant.incidents]
    assert len(tenant.last) == 2
    assert [status for _, status in statuses].count("closed") == 1


# ------------------------------------------------------------------------------------- severity


@pytest.mark.parametrize(
    ("severities", "expected"),
    [
        (["low"], "low"),
        (["low", "low", "low", "low"], "low"),
        (["medium", "medium"], "medium"),
        (["medium", "medium", "medium"], "high"),
        (["high", "medium", "low"], "high"),
        (["high", "high", "medium"], "critical"),
        (["critical", "critical", "critical"], "critical"),
    ],
)
def test_severity_is_that_of_the_worst_and_a_step_more_for_three_services(
    severities: list[str], expected: str
) -> None:
    """Services whose anomalies are low do not count towards the three."""
    tenant = Tenant()
    tenant.at(0, mesh(CALLS))
    named = zip(("db", "cart", "web", "search"), severities, strict=False)
    tenant.at(1, mesh(CALLS), [make_anomaly(name, 1, anomaly_severity=found) for name, found in named])
    assert [one.severity for one in tenant.last.values()] == [expected]


def test_severity_rises_at_once_and_with_what_is_no_longer_listed() -> None:
    """A critical anomaly beyond the list counts."""
    tenant = Tenant()
    lows = [make_anomaly("cart", 0, detector=f"d{n}", anomaly_severity="low") for n in range(MAX_MEMBERS + 5)]
    tenant.at(0, mesh(CALLS), lows)
    tenant.at(1, mesh(CALLS), [make_anomaly("cart", 1, anomaly_severity="critical")])
    assert [one.severity for one in tenant.incidents] == ["low", "critical"]
    assert tenant.incidents[-1].anomaly_count == MAX_MEMBERS + 6
    assert len(tenant.incidents[-1].anomalies) == MAX_MEMBERS


# ------------------------------------------------------------------------- revisions of anomalies


def test_an_incident_without_any_anomaly_left_is_closed() -> None:
    """Late lines showed that none of them holds."""
    tenant = Tenant()
    anomaly = make_anomaly("cart", 0)
    tenant.at(0, mesh(CALLS), [anomaly])
    (closed,) = tenant.at(1, mesh(CALLS), [replace(anomaly, revision=1, status="withdrawn")])
    assert (closed.status, closed.anomaly_count, closed.anomalies) == ("closed", 0, [])
    assert closed.root_causes == []
    assert closed.title


def test_a_withdrawn_anomaly_leaves_with_its_service_and_its_severity() -> None:
    """What remains is told as if it had not been."""
    tenant = Tenant()
    bad = make_anomaly("cart", 0, anomaly_severity="critical")
    tenant.at(0, mesh(CALLS), [bad, make_anomaly("web", 0, anomaly_severity="low")])
    (left,) = tenant.at(1, mesh(CALLS), [replace(bad, revision=1, status="withdrawn")])
    assert (left.affected_services, left.severity, left.anomaly_count) == (["web"], "low", 1)
    assert [cause.service for cause in left.root_causes] == ["web"]


def test_withdrawing_what_no_incident_has_changes_nothing() -> None:
    """Nor does withdrawing it twice."""
    tenant = Tenant()
    anomaly = make_anomaly("cart", 0)
    withdrawn = replace(anomaly, revision=1, status="withdrawn")
    assert tenant.at(0, mesh(CALLS), [withdrawn]) == []
    tenant.at(1, mesh(CALLS), [make_anomaly("web", 1)])
    tenant.at(2, mesh(CALLS), [withdrawn])
    tenant.at(3, mesh(CALLS), [replace(withdrawn, revision=2)])
    assert [one.anomaly_count for one in tenant.incidents] == [1]


def test_of_revisions_that_come_together_the_last_counts() -> None:
    """An anomaly and its withdrawal at once open nothing; two revisions at once are one anomaly."""
    anomaly = make_anomaly("cart", 0)
    tenant = Tenant()
    assert tenant.at(0, mesh(CALLS), [anomaly, replace(anomaly, revision=1, status="withdrawn")]) == []
    (opened,) = tenant.at(1, mesh(CALLS), [make_anomaly("db", 1), replace(make_anomaly("db", 1), revision=1)])
    assert opened.anomaly_count == len(opened.anomalies) == 1


def test_a_late_revision_takes_the_place_of_the_anomaly() -> None:
    """It is not counted twice, a higher severity is told at once, and why it joined stays."""
    tenant = Tenant()
    anomaly = make_anomaly("cart", 0, anomaly_severity="medium")
    tenant.at(0, mesh(CALLS), [anomaly])
    assert tenant.at(1, mesh(CALLS), [replace(anomaly, revision=1, description="more of it")]) == []
    (worse,) = tenant.at(2, mesh(CALLS), [replace(anomaly, revision=2, anomaly_severity="critical")])
    assert (worse.anomaly_count, worse.severity) == (1, "critical")
    assert worse.anomalies[0].joined_because == "it opened the incident"


def test_an_incident_that_opens_again_has_higher_revisions() -> None:
    """The anomaly that opened it was withdrawn and holds again: the last revision by number is the newest."""
    tenant = Tenant()
    anomaly = make_anomaly("cart", 0)
    tenant.at(0, mesh(CALLS), [anomaly])
    tenant.at(1, mesh(CALLS), [replace(anomaly, revision=1, status="withdrawn")])
    tenant.at(2, mesh(CALLS), [replace(anomaly, revision=2)])
    assert len(tenant.last) == 1
    revisions = [one.revision for one in tenant.incidents]
    assert all(one < other for one, other in pairwise(revisions))
    assert [one.status for one in tenant.incidents] == ["open", "closed", "open"]


def test_late_facts_teach_nothing() -> None:
    """A late pane of a window does not change what is known of dependencies."""
    tenant = Tenant()
    tenant.at(5, mesh(CALLS))
    before = encoded([tenant.memory.topology])
    tenant.at(3, mesh([("x", "y")]))
    assert encoded([tenant.memory.topology]) == before


# ---------------------------------------------------------------------------------- determinism


def anomalies_of(minute: int) -> st.SearchStrategy[list[tuple[str, str, str, bool]]]:
    one = st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(["error_spike", "latency_increase", "new_pattern", "security_incident", "silence"]),
        st.sampled_from(ANOMALY_SEVERITIES),
        st.booleans(),
    )
    return st.lists(one, max_size=4, unique_by=lambda made: made[:2])


DAYS = st.lists(st.one_of(st.just(None), anomalies_of(0)), min_size=1, max_size=30)


@settings(max_examples=60)
@given(DAYS, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_arrival_within_a_time_makes_no_difference(day, random, recode) -> None:
    """Any order of clues of one time, and writing and reading the state after each, give the same bytes."""
    told = []
    for shuffled in (False, True):
        tenant = Tenant(recode=shuffled and recode)
        for minute, found in enumerate(day):
            if found is None:
                continue  # a gap in the data
            facts = mesh(CALLS, others=["alone"])
            anomalies = [
                make_anomaly(name, minute, kind, anomaly_severity=severity, below_confidence_floor=unsure)
                for name, kind, severity, unsure in found
            ]
            step, memory = tenant.step, tenant.memory
            mixed = [fact_clue(minute, one) for one in facts.values()] + [
                clue_of_anomaly(a) for a in anomalies
            ]
            if shuffled:
                random.shuffle(mixed)
            for clue in mixed:  # not sorted, as ProcessInOrder does: the step itself must not mind
                assert list(step.step(memory, clue, is_late=False)) == []
            outputs = list(step.end_time(memory, (minute + 1) * MINUTE_US - 1))
            tenant.incidents += [one.incident for one in outputs if one.incident]
            tenant.dependencies += [one.dependency for one in outputs if one.dependency]
            if tenant.recode:
                coder: StructCoder[TenantMemory] = StructCoder(TenantMemory)
                tenant.memory = coder.decode(coder.encode(memory))
        told.append((encoded(tenant.incidents), encoded(tenant.dependencies)))
    assert told[0] == told[1]


@settings(max_examples=60)
@given(DAYS)
def test_every_life_is_one_that_can_be(day) -> None:
    """Revisions count from 0, only the first is open, only the last is closed, no anomaly is in two."""
    tenant = Tenant()
    for minute, found in enumerate(day):
        if found is not None:
            anomalies = [
                make_anomaly(name, minute, kind, anomaly_severity=severity, below_confidence_floor=unsure)
                for name, kind, severity, unsure in found
            ]
            tenant.at(minute, mesh(CALLS, others=["alone"]), anomalies)
    lives: dict[str, list] = {}
    for one in tenant.incidents:
        lives.setdefault(one.incident_id, []).append(one)
    for life in lives.values():
        assert [one.revision for one in life] == list(range(len(life)))
        assert [one.status == "open" for one in life] == [True] + [False] * (len(life) - 1)
        assert all(one.status != "closed" for one in life[:-1])
        assert all(one.updated_at < other.updated_at for one, other in pairwise(life))
        assert all(0 <= one.correlation_score <= 1 for one in life)
        assert sum(cause.score for cause in life[-1].root_causes) == pytest.approx(1, abs=1e-3)
        assert all(cause.reasons and all(cause.reasons) for one in life for cause in one.root_causes)
    members = [member.anomaly_id for life in lives.values() for member in life[-1].anomalies]
    assert len(members) == len(set(members))


# --------------------------------------------------------------------------------------- limits


def storm(services: int, each: int, minute: int = 0) -> list:
    return [
        make_anomaly(f"s{number:05}", minute, detector=f"d{n}")
        for number in range(services)
        for n in range(each)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("services", "each"), [(1, 10_000), (100, 100), (10_000, 1)])
@pytest.mark.parametrize("linked", [False, True])
def test_ten_thousand_anomalies_in_a_minute_are_bounded(services: int, each: int, linked: bool) -> None:
    """None is lost from the counts; time, rows and state stay small."""
    tenant = Tenant()
    anomalies = storm(services, each)
    if linked:
        text = make_anomaly("x", 0, texts=["no route to the shared cache at all"]).evidence
        anomalies = [replace(anomaly, evidence=text) for anomaly in anomalies]
    tenant.at(0, mesh(CALLS))
    started = time.process_time()
    tenant.at(
        1, mesh(CALLS), [replace(one, window_start=MINUTE_US, window_end=2 * MINUTE_US) for one in anomalies]
    )
    assert time.process_time() - started < 20
    assert sum(incident.anomaly_count for incident in tenant.last.values()) == 10_000
    assert len(tenant.last) <= MAX_INCIDENTS + 1
    assert max(len(incident.anomalies) for incident in tenant.last.values()) <= MAX_MEMBERS
    assert max(len(incident.affected_services) for incident in tenant.last.values()) <= MAX_SERVICES
    assert len(msgspec.msgpack.encode(tenant.memory)) < 3_000_000


@pytest.mark.slow
def test_problems_beyond_the_limit_are_counted_together() -> None:
    """The incident of all others says so, has a life of its own, and makes room when others close."""
    tenant = Tenant()
    tenant.at(0, mesh(CALLS), storm(MAX_GROUPS + 10, 1))
    tenant.at(1, mesh(CALLS), storm(MAX_GROUPS + 5, 1, minute=1))
    (storming,) = [one for one in tenant.last.values() if one.anomaly_count > 2]
    assert {member.joined_because for member in storming.anomalies} == {
        "it opened the incident",
        "too many problems at once to tell them apart",
    }
    for minute in range(2, 20):
        tenant.at(minute, mesh(CALLS))
    assert tenant.memory.incidents == []
    assert {one.status for one in tenant.last.values()} == {"closed"}
