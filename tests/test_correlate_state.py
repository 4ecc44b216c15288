"""What correlation keeps of a tenant: it can be written and read at any time, and for ever."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import msgspec
import pytest
from correlate_bench import TENANT, Tenant, encoded, make_anomaly, make_facts, mesh
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.coders import FORMAT_VERSION, StructCoder
from transforms.correlate.correlate import CorrelateTenant
from transforms.correlate.settings import ConfiguredDependency, CorrelateSettings
from transforms.correlate.state import TenantMemory
from transforms.elements import MINUTE_US

GOLDEN = Path(__file__).parent / "golden_state" / "correlation_v1.json"
CODER: StructCoder[TenantMemory] = StructCoder(TenantMemory)
SETTINGS = CorrelateSettings(dependencies=(ConfiguredDependency("", "web", "ads"),))


def busy(minute: int) -> tuple[dict, list]:
    """A minute with all that state can hold: calls, spans, failing traces, deploys, incidents."""
    slow = 12 <= minute < 25
    facts = mesh([("web", "cart"), ("cart", "db")], mean_us=400_000 if slow else 10_000, others=["ads"])
    facts["cart"].spans["t"] = {"c": ""}
    facts["mail"] = make_facts("mail", spans={"t": {"m": "c"}}, served=(20, 400_000))
    at_us = minute * MINUTE_US
    for number in range(8 if slow else 1):
        trace_id = f"{minute}.{number}"
        for delay, name in enumerate(("db", "cart")):
            facts[name].traces[trace_id] = make_facts(name, traces={trace_id: at_us + delay}).traces[trace_id]
    if minute == 11:
        facts["db"].deploys.append(make_facts("db", deploys=[(at_us, "db:v2")]).deploys[0])
    anomalies = []
    if slow:
        texts = ["no answer from db for a long time"]
        anomalies += [make_anomaly(name, minute, texts=texts) for name in ("db", "cart")]
        anomalies += [make_anomaly("web", minute, "latency_increase", anomaly_severity="medium")]
    if minute == 14:
        anomalies += [make_anomaly("ads", minute, "certificate_expiry")]
        anomalies += [msgspec.structs.replace(make_anomaly("web", 13, "latency_increase"), revision=1)]
    return facts, anomalies


def walk(minutes: int, *, recode: bool, tenant: Tenant | None = None, first: int = 0) -> Tenant:
    tenant = tenant or Tenant(SETTINGS, recode=recode)
    for minute in range(first, minutes):
        tenant.at(minute, *busy(minute))
    return tenant


def test_writing_and_reading_the_state_after_every_minute_changes_nothing() -> None:
    """Incidents, dependencies and the state itself are the same to the last byte."""
    kept, coded = walk(50, recode=False), walk(50, recode=True)
    assert encoded(coded.incidents) == encoded(kept.incidents)
    assert encoded(coded.dependencies) == encoded(kept.dependencies)
    assert CODER.encode(coded.memory) == CODER.encode(kept.memory)
    assert {one.status for one in kept.incidents} == {"open", "updated", "quiet", "closed"}
    assert len(kept.last) == 2


@settings(max_examples=15)
@given(st.integers(1, 49))
def test_what_is_derived_is_made_anew_after_reading(minute: int) -> None:
    """A state read at any minute goes on as the one that was never written."""
    tenant = walk(minute, recode=False)
    tenant.memory = CODER.decode(CODER.encode(tenant.memory))
    assert encoded(walk(50, recode=False, tenant=tenant, first=minute).incidents) == encoded(
        walk(50, recode=False).incidents
    )


def test_nothing_of_the_time_under_way_is_kept() -> None:
    """Facts and anomalies are handled when their time is over."""
    memory = walk(20, recode=False).memory
    assert (memory.facts, memory.anomalies) == ({}, [])


def test_a_new_tenant_shares_nothing_with_another_one() -> None:
    """Initial states are independent."""
    step = CorrelateTenant(SETTINGS)
    one, other = step.initial(), step.initial()
    tenant = Tenant(SETTINGS)
    tenant.memory = one
    walk(20, recode=False, tenant=tenant)
    assert CODER.encode(other) == CODER.encode(CorrelateTenant(SETTINGS).initial())
    assert one.tenant_id == TENANT


@pytest.mark.slow
def test_the_state_of_three_hundred_services_is_small() -> None:
    """An hour of 1,200 edges and 300 services takes less than 1.5 MB, and the next hour no more."""
    names = [f"service-{number}" for number in range(300)]
    calls = [(names[n], names[m]) for n in range(300) for m in range(n + 1, min(n + 5, 300))]
    tenant = Tenant()
    facts = mesh(calls)
    sizes = []
    for minute in range(125):
        for callee in facts.values():
            for stats in callee.callers.values():
                stats.latency_bins = {200 + (minute * 7 + bin_) % 50: 1 for bin_ in range(15)}
        tenant.at(minute, facts)
        sizes.append(len(CODER.encode(tenant.memory)))
    assert sizes[59] < 1_500_000
    assert max(sizes[60:]) < 1.4 * sizes[59]


def test_the_golden_state_still_decodes() -> None:
    """What format 1 wrote in the middle of an incident is read, and goes on as it would have.

    Where this fails, jobs cannot be updated: a field that is new needs a default, and any other change
    the next FORMAT_VERSION. UPDATE_GOLDEN=1 writes the file; what it holds then must be older jobs' state.
    """
    if os.environ.get("UPDATE_GOLDEN"):
        write_golden()
    golden = json.loads(GOLDEN.read_text())
    assert golden["format_version"] == FORMAT_VERSION
    memory = CODER.decode(base64.b64decode(golden["state"]))
    assert (memory.tenant_id, sorted(memory.own), len(memory.traces.by_id)) == tuple(golden["holds"])
    assert memory.incidents[0].growth
    assert memory.deploys
    tenant = Tenant(SETTINGS)
    tenant.memory, tenant.minute = memory, golden["minute"] - 1
    walk(50, recode=False, tenant=tenant, first=golden["minute"])
    assert [
        [one.incident_id, one.revision, one.status, [cause.service for cause in one.root_causes]]
        for one in tenant.incidents
    ] == golden["goes_on"]


def write_golden() -> None:
    minute = 20
    tenant = walk(minute, recode=False)
    state = CODER.encode(tenant.memory)
    holds = [tenant.memory.tenant_id, sorted(tenant.memory.own), len(tenant.memory.traces.by_id)]
    tenant.incidents = []
    walk(50, recode=False, tenant=tenant, first=minute)
    goes_on = [
        [one.incident_id, one.revision, one.status, [cause.service for cause in one.root_causes]]
        for one in tenant.incidents
    ]
    golden = {
        "format_version": FORMAT_VERSION,
        "minute": minute,
        "holds": holds,
        "goes_on": goes_on,
        "state": base64.b64encode(state).decode(),
    }
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
