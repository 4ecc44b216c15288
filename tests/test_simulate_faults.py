"""Faults of the simulator: what each one changes, the plans, and the matching with anomalies."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from aiops.simulate.config import SimulationConfig
from aiops.simulate.faults import KINDS, PROJECT, Fault, read_truth, write_truth
from aiops.simulate.generator import deliveries, simulate, truth
from aiops.simulate.matching import is_visible, match_faults
from aiops.simulate.plans import TYPES, parse_duration
from aiops.simulate.shop import SERVICES

START = SimulationConfig().start_second
MINUTE = 60


def run(fault: str, minutes: int = 8, rate: float = 600.0) -> list[dict[str, Any]]:
    config = SimulationConfig(faults=fault, tenants=1, duration_seconds=minutes * MINUTE, rate=rate)
    return [orjson.loads(line) for line in simulate(config)]


def service_of(entry: dict[str, Any]) -> str:
    labels, resource = entry.get("labels", {}), entry["resource"]["labels"]
    return str(
        labels.get("destination_app")
        or labels.get("k8s-pod/app")
        or resource.get("service_name")
        or resource.get("module_id")
        or resource.get("function_name")
        or resource.get("url_map_name")
        or resource.get("database_id", "").partition(":")[2]
    )


def minute_of(entry: dict[str, Any]) -> int:
    return int(entry["timestamp"][14:16])


def during(entries: list[dict[str, Any]], service: str, first: int, last: int) -> list[dict[str, Any]]:
    """Entries of a service in the minutes [first, last) of the run."""
    return [entry for entry in entries if service_of(entry) == service and first <= minute_of(entry) < last]


def is_error(entry: dict[str, Any]) -> bool:
    return entry["severity"] == "ERROR" or entry.get("httpRequest", {}).get("status", 0) >= 500


def error_rate(entries: list[dict[str, Any]]) -> float:
    return sum(map(is_error, entries)) / len(entries)


def p95(entries: list[dict[str, Any]]) -> float:
    latencies = sorted(
        float(e["httpRequest"]["latency"][:-1]) for e in entries if "latency" in e.get("httpRequest", {})
    )
    return latencies[int(len(latencies) * 0.95)]


def text_of(entry: dict[str, Any]) -> str:
    return str(entry.get("textPayload") or entry.get("jsonPayload", {}).get("message", ""))


def test_errors_fail_the_service_and_its_callers_only_while_they_last():
    """An errors fault brings more than 20 % errors with a stack trace, and none before or after."""
    entries = run("errors@payment+2m/3m")
    assert error_rate(during(entries, "payment", 0, 2)) < 0.05
    assert error_rate(during(entries, "payment", 2, 5)) > 0.2
    assert error_rate(during(entries, "payment", 5, 8)) < 0.05
    assert error_rate(during(entries, "checkout", 2, 5)) > 0.2
    assert error_rate(during(entries, "catalog", 2, 5)) < 0.02
    traces = [entry for entry in during(entries, "payment", 2, 5) if "Traceback" in text_of(entry)]
    assert len(traces) > 20


def test_intensity_scales_a_fault():
    """Half the intensity fails clearly fewer requests."""
    full = error_rate(during(run("errors@payment+2m/3m"), "payment", 2, 5))
    half = error_rate(during(run("errors@payment+2m/3mx0.5"), "payment", 2, 5))
    assert 0.3 * full < half < 0.75 * full


def test_latency_slows_the_service_and_its_callers_without_errors():
    """A latency fault takes the 95th percentile over 1 s, up to the edge."""
    entries = run("latency@catalog+2m/3m")
    for service in ("catalog", "frontend", "edge"):
        assert p95(during(entries, service, 0, 2)) < 0.7
        assert p95(during(entries, service, 2, 5)) > 1.0
        assert p95(during(entries, service, 6, 8)) < 0.7
    assert error_rate(during(entries, "catalog", 2, 5)) < 0.02


def test_a_slow_drift_grows():
    """Latency under a slow drift rises from minute to minute, and falls back at its end."""
    entries = run("slow_drift@recommendation+1m/6m")
    steps = [p95(during(entries, "recommendation", minute, minute + 2)) for minute in (1, 3, 5)]
    assert steps == sorted(steps)
    assert steps[-1] > 2 * steps[0]
    assert p95(during(entries, "recommendation", 7, 8)) < steps[0] * 1.3


def test_silence_stops_the_lines_of_one_service_alone():
    """Not one line comes from a silent service; its callers go on."""
    entries = run("silence@catalog+2m/3m")
    assert during(entries, "catalog", 0, 2)
    assert not during(entries, "catalog", 2, 5)
    assert during(entries, "catalog", 5, 8)
    assert len(during(entries, "frontend", 2, 5)) > 0.8 * len(during(entries, "frontend", 5, 8))


@pytest.mark.parametrize(
    ("service", "words"),
    [
        ("inventory", ("OutOfMemoryError", "no space left", "connection pool exhausted")),
        ("payment", ("Memory limit", "out of memory")),
        ("shop-db", ("remaining connection slots", "No space left")),
    ],
)
def test_resource_exhaustion_says_what_ran_out(service, words):
    """Memory, disk and connections run out in the words of each platform."""
    entries = run(f"resource_exhaustion@{service}+2m/3m")
    said = [text_of(entry) for entry in during(entries, service, 2, 5)]
    assert all(any(word in text for text in said) for word in words)
    assert not any(word in text_of(entry) for entry in during(entries, service, 0, 2) for word in words)
    assert error_rate(during(entries, service, 2, 5)) > 0.1


def test_brute_force_comes_from_few_addresses():
    """Hundreds of denied logins come from three addresses, and each says from where."""
    entries = run("brute_force@auth+2m/3m")
    denied = [entry for entry in during(entries, "auth", 2, 5) if "denied" in text_of(entry)]
    addresses = Counter(text_of(entry).split(" from ")[1].split(" ")[0] for entry in denied)
    assert sum(count for _, count in addresses.most_common(3)) > 0.9 * len(denied) > 200
    assert len([entry for entry in during(entries, "auth", 0, 2) if "denied" in text_of(entry)]) < 15
    assert (
        sum(entry.get("httpRequest", {}).get("status") == 401 for entry in during(entries, "edge", 2, 5))
        > 200
    )


def test_a_bad_deploy_fails_on_the_new_revision_alone():
    """The audit log tells of the deploy; the new error comes from the new revision; then a rollback."""
    entries = run("bad_deploy@payment+2m/3m")
    deploys = [
        e for e in entries if e.get("protoPayload", {}).get("methodName", "").endswith("ReplaceService")
    ]
    assert [minute_of(entry) for entry in deploys] == [2, 5]
    new = deploys[0]["resource"]["labels"]["revision_name"]
    served = [e for e in during(entries, "payment", 0, 8) if "protoPayload" not in e]
    broken = [e for e in served if "InvalidOperation" in text_of(e)]
    assert len(broken) > 20
    assert {e["resource"]["labels"]["revision_name"] for e in broken} == {new}
    assert {minute_of(e) for e in served if e["resource"]["labels"]["revision_name"] == new} <= {2, 3, 4, 5}
    assert error_rate([e for e in served if minute_of(e) > 5]) < 0.05


def test_routine_deploys_keep_away_from_a_bad_one(monkeypatch):
    """However often others deploy, the new revision of a bad deploy stays the only one that fails."""
    monkeypatch.setattr("aiops.simulate.background.ROUTINE_DEPLOYS", 1.0)
    entries = run("bad_deploy@payment+1m/2m", minutes=4)
    broken = [entry for entry in during(entries, "payment", 0, 4) if "InvalidOperation" in text_of(entry)]
    assert len(broken) > 10
    assert len({entry["resource"]["labels"]["revision_name"] for entry in broken}) == 1
    assert sum(entry["logName"].endswith("activity") for entry in entries) > 100


def test_a_cascading_failure_reaches_the_edge_last():
    """The database fails first, then its caller, then that one's, and the user-facing edge at the end."""
    entries = run("cascading_failure@shop-db+1m/6m", rate=1200)
    firsts = []
    for service in ("shop-db", "inventory", "checkout", "edge"):
        counts = Counter(
            entry["timestamp"][:19] for entry in during(entries, service, 1, 7) if is_error(entry)
        )
        firsts.append(min(second for second, count in counts.items() if count))
        assert counts.total() > 20
    assert firsts == sorted(firsts)
    said = [text_of(entry) for entry in during(entries, "checkout", 3, 7)]
    assert any("timed out" in text for text in said)
    assert any(e.get("httpRequest", {}).get("status") == 503 for e in during(entries, "checkout", 3, 7))


def test_certificates_warn_before_they_expire():
    """Lines warn of a certificate, without an error."""
    entries = run("certificate_expiry@payment+2m/3m")
    warnings = [e for e in during(entries, "payment", 2, 5) if "certificate" in text_of(e)]
    assert len(warnings) >= 10
    assert {entry["severity"] for entry in warnings} == {"WARNING"}


def test_a_privilege_change_is_in_the_audit_log():
    """An outsider becomes owner, a key is made, a firewall is opened: three audit log entries."""
    entries = run("privilege_change@project+2m/3m")
    written = [e for e in entries if e["logName"].endswith("activity") and minute_of(e) == 2]
    methods = [entry["protoPayload"]["methodName"].rpartition(".")[2] for entry in written]
    assert methods == ["SetIamPolicy", "CreateServiceAccountKey", "insert"]
    delta = written[0]["protoPayload"]["serviceData"]["policyDelta"]["bindingDeltas"][0]
    assert delta["role"] == "roles/owner"


def test_a_surge_multiplies_the_traffic():
    """A traffic surge brings several times the requests, and it ends."""
    entries = run("traffic_surge@catalog+2m/3m")
    before, while_, after = (
        len(during(entries, "catalog", a, b)) / (b - a) for a, b in ((0, 2), (2, 5), (5, 8))
    )
    assert while_ > 3 * before
    assert after < 1.5 * before


def test_a_new_pattern_was_never_seen_before():
    """The new line is absent before its fault and frequent within."""
    entries = run("new_pattern@checkout+2m/3m")
    new = [minute_of(entry) for entry in entries if "fallback price list" in text_of(entry)]
    assert len(new) > 50
    assert {2, 3, 4} == set(new)


def test_faults_of_one_tenant_leave_the_others_alone():
    """The lines of a tenant without faults are the same as in a quiet run."""

    def others(faults: str) -> list[bytes]:
        config = SimulationConfig(faults=faults, duration_seconds=120)
        return [line for line in simulate(config) if b'"projects/acme-shop/logs/' not in line]

    assert others("errors@payment+10s/60s") == others("none")


# ---------------------------------------------------------------------------------------- plans


def test_the_default_plan_gives_each_tenant_several_different_faults():
    """In half an hour each of three tenants has at least three types of fault, one seen by rules at least."""
    faults = truth(SimulationConfig())
    for tenant in ("acme-shop", "globex-retail", "initech-store"):
        own = [fault for fault in faults if fault.tenant_id == tenant]
        assert len({fault.type for fault in own}) == len(own) >= 3
        assert sum(fault.detectable_by == "rules" for fault in own) >= 3
        quick = sorted((f for f in own if f.type != "slow_drift"), key=lambda fault: fault.start_us)
        assert all(one.end_us + 120_000_000 <= other.start_us for one, other in itertools.pairwise(quick))


@settings(max_examples=60)
@given(
    st.integers(0, 1000), st.integers(0, 40), st.integers(1, 4), st.integers(1, 14), st.integers(600, 300_000)
)
def test_random_plans_are_sound(seed, count, tenants, services, duration):
    """Any random plan has the number asked for, in the run, not overlapping within a tenant, repeatable."""
    config = SimulationConfig(
        seed=seed, faults=f"random:{count}", tenants=tenants, services=services, duration_seconds=duration
    )
    faults = truth(config)
    assert faults == truth(config)
    assert len(faults) == count
    assert all(config.start_second < f.start_second < f.end_second <= config.end_second for f in faults)
    for tenant in {fault.tenant_id for fault in faults}:
        own = [fault for fault in faults if fault.tenant_id == tenant]
        assert all(one.end_us <= other.start_us for one, other in itertools.pairwise(own))


def test_a_listed_fault_is_what_it_says():
    """TYPE@TENANT:SERVICE+OFFSET/DURATIONxINTENSITY becomes that very fault, `all` one for each tenant."""
    config = SimulationConfig(faults="latency@globex-retail:cart+90s/5mx0.5, errors@all:payment+10m/60s")
    latency, *errors = truth(config)
    assert (latency.type, latency.tenant_id, latency.service) == ("latency", "globex-retail", "cart")
    assert (latency.start_second - START, latency.end_second - START, latency.intensity) == (90, 390, 0.5)
    assert latency.start == "2026-01-12T14:01:30Z"
    assert set(latency.affected_services) == {"cart", "checkout", "frontend", "edge"}
    assert len({fault.tenant_id for fault in errors}) == 3


@given(st.integers(0, 1000), st.lists(st.sampled_from(TYPES), min_size=1, max_size=4))
def test_random_plans_keep_to_the_types_they_are_given(seed, types):
    """`random:N:A+B` deals N faults of these types only."""
    faults = truth(SimulationConfig(seed=seed, faults=f"random:9:{'+'.join(types)}"))
    assert len(faults) == 9
    assert {fault.type for fault in faults} <= set(types)


def test_lines_of_a_fault_are_those_of_its_service_while_it_lasts():
    """Of a fault that keeps none back they are those in the logs, of a silence those that are missing."""
    plan = "certificate_expiry@payment+2m/2m,silence@catalog+5m/2m,privilege_change@project+8m/1m"
    config = SimulationConfig(faults=plan, duration_seconds=600, tenants=1, noise=False)
    counted: dict[str, int] = {}
    written = [orjson.loads(line) for _, _, line in deliveries(config, counted)]
    certificate, silence, privilege = truth(config)
    span = certificate.start, certificate.end
    of_payment = [
        entry
        for entry in written
        if span[0] <= entry["timestamp"] < span[1]
        and entry["resource"]["labels"].get("service_name") == "payment"
    ]
    assert counted[certificate.fault_id] == pytest.approx(len(of_payment), abs=5)  # requests under way
    assert counted[silence.fault_id] > 100
    assert counted[privilege.fault_id] == 3


def test_a_fault_that_lasts_to_the_end_of_the_run_is_counted():
    """Its lines are known when the run has been read to its end."""
    config = SimulationConfig(faults="errors@payment+1m/1m", duration_seconds=120, tenants=1)
    counted: dict[str, int] = {}
    assert sum(1 for _ in deliveries(config, counted)) > 0
    assert counted[truth(config)[0].fault_id] > 0


@pytest.mark.parametrize(
    ("fault", "lines", "visible"),
    [
        ("errors@payment+1m/1m", 4, False),
        ("errors@payment+1m/1m", 5, True),
        ("privilege_change@project+1m/1m", 0, False),
        ("privilege_change@project+1m/1m", 1, True),
    ],
)
def test_a_fault_without_lines_is_not_visible(fault, lines, visible):
    """A handful of lines is a trace; of a change of privileges one entry is."""
    assert is_visible(truth(SimulationConfig(faults=fault))[0], lines) is visible


@pytest.mark.parametrize("fault_type", TYPES)
def test_every_type_can_be_listed(fault_type):
    """Each type has a place where it can happen, expected anomaly types, and a truth."""
    service = PROJECT if fault_type == "privilege_change" else (KINDS[fault_type].services or ("payment",))[0]
    (fault,) = truth(SimulationConfig(faults=f"{fault_type}@{service}+1m/1m"))
    assert fault.expected_types
    assert service in {fault.root_cause, *fault.affected_services}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fire@payment+1m/1m", "no fault type 'fire'; give one of latency"),
        ("errors@nowhere+1m/1m", "cannot happen at 'nowhere'; give one of frontend"),
        ("brute_force@cart+1m/1m", "cannot happen at 'cart'; give one of auth"),
        ("errors@payment", "is not a fault: give TYPE@"),
        ("errors@payment+1m", "is not a fault: give TYPE@"),
        ("errors@payment+1y/1m", "is not a duration"),
        ("errors@payment+1m/soon", "is not a duration"),
        ("errors@payment+1m/1mx2", "intensity is 2.0"),
        ("errors@payment+1m/1mxnan", "intensity is nan"),
        ("errors@payment+29m/5m", "does not fit into the run"),
        ("errors@nobody:payment+1m/1m", "no tenant 'nobody'; give all or one of acme-shop"),
        ("random:many", "random: wants a number"),
        ("random:3:errors+fire", "no fault of type 'fire' can happen in this shop; give latency"),
        ("random:3:", "no fault of type ''"),
        ("errors@payment+1m/1m,,", "is not a fault"),
    ],
)
def test_a_plan_that_cannot_be_read_says_why(text, says):
    """Errors name the part of --faults that is wrong and what to give instead."""
    with pytest.raises(ValueError, match=says):
        truth(SimulationConfig(faults=text))


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("3d", 259_200)])
def test_durations_are_read(text, seconds):
    """A number with s, m, h or d is a duration."""
    assert parse_duration(text) == seconds


# ------------------------------------------------------------------------------------- matching


def test_the_truth_file_reads_back():
    """What was written as truth is read as the same faults."""
    faults = truth(SimulationConfig())
    assert list(read_truth(write_truth(faults).splitlines())) == faults


def anomaly(fault: Fault, **changes: object) -> dict[str, object]:
    return {
        "tenant_id": fault.tenant_id,
        "service": fault.service,
        "anomaly_type": fault.expected_types[0],
        "anomaly_severity": "high",
        "window_start": fault.start_us + 60_000_000,
        "window_end": fault.start_us + 120_000_000,
        **changes,
    }


def the_fault() -> Fault:
    return truth(SimulationConfig(faults="errors@payment+10m/5m"))[0]


def test_an_anomaly_of_the_expected_type_finds_its_fault():
    """Tenant, service, time and type agree: found, with the delay to the end of the first window."""
    fault = the_fault()
    report = match_faults([fault], [anomaly(fault, window_end=fault.start_us + 180_000_000), anomaly(fault)])
    assert report.found() == (1, 1)
    assert report.results[0].delay_seconds == 120
    assert report.results[0].matches == 2
    assert report.false_anomalies == []


@pytest.mark.parametrize(
    ("changes", "found", "related", "false"),
    [
        ({"service": "checkout"}, True, 0, 0),  # a caller feels it
        ({"service": "catalog"}, False, 0, 1),
        ({"service": "email"}, False, 1, 0),  # nobody calls it when payment fails
        ({"tenant_id": "globex-retail"}, False, 0, 1),
        ({"anomaly_type": "new_pattern"}, False, 1, 0),
        ({"window_start": 0, "window_end": 60_000_000}, False, 0, 1),
        ({"window_start": 2**60, "window_end": 2**60 + 1}, False, 0, 1),
    ],
)
def test_anomalies_are_matches_related_or_false(changes, found, related, false):
    """One difference decides what an anomaly counts as."""
    fault = the_fault()
    report = match_faults([fault], [anomaly(fault, **changes)])
    assert report.results[0].found is found
    assert (report.results[0].delay_seconds is not None) is found
    assert report.results[0].related == related
    assert len(report.false_anomalies) == false


@pytest.mark.parametrize(
    ("fault", "affected", "touched"),
    [
        ("errors@payment", "payment checkout frontend edge", "shipping email"),
        ("errors@catalog", "catalog frontend edge", "inventory recommendation shop-db"),
        ("errors@email", "email", "frontend checkout edge"),  # the caller goes on, with a warning
        ("latency@recommendation", "recommendation frontend edge", ""),  # the caller waits all the same
        ("slow_drift@cart", "cart checkout frontend edge", ""),
        ("silence@catalog", "catalog", ""),
        ("brute_force@auth", "auth frontend edge", ""),
        ("new_pattern@email", "email", ""),
    ],
)
def test_the_truth_says_whom_a_fault_affects_and_whom_it_touches(fault, affected, touched):
    """Failures go up calls that are needed, time up all; what is not called any more is touched."""
    (found,) = truth(SimulationConfig(faults=f"{fault}+10m/5m"))
    assert set(found.affected_services) == set(affected.split())
    assert set(found.touched_services) == set(touched.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    ["errors@frontend", "errors@catalog", "resource_exhaustion@payment", "cascading_failure@inventory"],
)
def test_traffic_changes_only_where_the_truth_says_so(fault):
    """A service that is neither affected nor touched has as many lines during the fault as before it."""
    config = SimulationConfig(faults=f"{fault}+8m/8m", tenants=1, duration_seconds=960, rate=400)
    (found,) = truth(config)
    before: Counter[str] = Counter()
    during: Counter[str] = Counter()
    for line in simulate(config):
        entry = orjson.loads(line)
        (during if entry["timestamp"] >= found.start else before)[service_of(entry)] += 1
    known = {*found.affected_services, *found.touched_services}
    for service in SERVICES:
        spread = 6 * (before[service] + during[service]) ** 0.5
        if service not in known:
            assert abs(during[service] - before[service]) < spread
        elif service in found.touched_services and service != "shop-db":
            assert before[service] - during[service] > spread / 2


@given(st.integers(-2000, 2000), st.integers(1, 900), st.integers(-2000, 2000), st.integers(1, 900))
def test_overlap_is_what_counting_seconds_says(fault_start, fault_seconds, start, seconds):
    """Second by second around midnight: a match shares a second with the fault, or begins in the grace."""
    midnight = START - 14 * 3600
    fault = structs.replace(
        the_fault(),
        start_us=(midnight + fault_start) * 1_000_000,
        end_us=(midnight + fault_start + fault_seconds) * 1_000_000,
    )
    window = {"window_start": midnight + start, "window_end": midnight + start + seconds}
    report = match_faults([fault], [anomaly(fault, **{name: at * 1_000_000 for name, at in window.items()})])
    lasts = range(fault_start, fault_start + fault_seconds)
    shares = bool(set(lasts) & set(range(start, start + seconds)))
    assert report.found() == (shares or 0 <= start - lasts.stop < 300, 1)
    assert len(report.false_anomalies) == (not report.results[0].found)


def test_the_grace_after_a_fault_is_stated():
    """A window that begins within the grace after the end still belongs to the fault, one later does not."""
    fault = the_fault()
    for after, false in ((299, 0), (301, 1)):
        start = fault.end_us + after * 1_000_000
        report = match_faults([fault], [anomaly(fault, window_start=start, window_end=start + 60_000_000)])
        assert len(report.false_anomalies) == false


def test_found_counts_what_rules_can_see_apart_from_the_rest():
    """Faults that need learned detection do not count against the rules."""
    faults = truth(SimulationConfig())
    report = match_faults(faults, [anomaly(fault) for fault in faults if fault.detectable_by == "rules"])
    visible = sum(fault.detectable_by == "rules" for fault in faults)
    assert report.found("rules") == (visible, visible)
    assert report.found("learned") == (0, len(faults) - visible)
