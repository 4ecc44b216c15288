"""The simulator's entries: determinism, shape, order, background, rhythm, and options."""

from __future__ import annotations

import itertools
import tracemalloc
from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops.simulate.config import SimulationConfig
from aiops.simulate.entries import SECOND_NS, Clock
from aiops.simulate.generator import deliveries, simulate
from aiops.simulate.rhythm import is_weekend, make_tenants, poisson, traffic_factor
from aiops.simulate.shop import SERVICES, build_shop, upstream
from aiops.simulate.values import VALUES, Format, card, insert_id

QUIET = SimulationConfig(faults="none", duration_seconds=120)
PAYLOADS = ("textPayload", "jsonPayload", "protoPayload")


def entries(config: SimulationConfig) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in simulate(config)]


@pytest.fixture(scope="module")
def quiet() -> list[dict[str, Any]]:
    return entries(QUIET)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_the_same_seed_gives_the_same_bytes(seed, out_of_order):
    """A run can be repeated to the byte, whatever its options."""
    config = SimulationConfig(
        seed=seed, duration_seconds=60, out_of_order=out_of_order, copies=0.1, malformed=0.1, late=0.1
    )
    assert list(simulate(config)) == list(simulate(config))


def test_another_seed_gives_another_run():
    """No entry of one seed is an entry of another."""
    assert not set(simulate(QUIET)) & set(simulate(replace(QUIET, seed=2)))


def test_a_tenant_does_not_depend_on_how_many_others_there_are():
    """The first tenant's lines are the same, alone or among others."""
    alone = list(simulate(replace(QUIET, tenants=1)))
    among = [line for line in simulate(replace(QUIET, tenants=4)) if b'"projects/acme-shop/logs/' in line]
    assert alone == among


def test_every_line_is_a_log_entry(quiet):
    """Each line has what each LogEntry has, and exactly one payload or the record of a request."""
    for entry in quiet:
        assert entry["logName"].startswith("projects/")
        assert "/logs/" in entry["logName"]
        assert entry["resource"]["type"]
        assert entry["resource"]["labels"]["project_id"] == entry["logName"].split("/")[1]
        assert entry["insertId"]
        assert entry["severity"] in {"DEBUG", "INFO", "NOTICE", "WARNING", "ERROR"}
        payloads = [name for name in PAYLOADS if name in entry]
        assert len(payloads) == 1 or (not payloads and "httpRequest" in entry)
        assert entry["timestamp"] < entry["receiveTimestamp"]


def test_members_are_in_the_order_in_which_sinks_write_them(quiet):
    """The members of an entry are sorted by name."""
    for entry in quiet:
        assert list(entry) == sorted(entry)


def test_all_kinds_of_logs_are_there():
    """Every platform, audit logs of reads and of a deploy, and stack traces appear."""
    missing = {
        ("cloud_run_revision", "run.googleapis.com%2Frequests"),
        ("cloud_run_revision", "run.googleapis.com%2Fstderr"),
        ("k8s_container", "server-accesslog-stackdriver"),
        ("k8s_container", "stdout"),
        ("gae_app", "appengine.googleapis.com%2Frequest_log"),
        ("cloud_function", "cloudfunctions.googleapis.com%2Fcloud-functions"),
        ("cloudsql_database", "cloudsql.googleapis.com%2Fpostgres.log"),
        ("http_load_balancer", "requests"),
        ("k8s_cluster", "cloudaudit.googleapis.com%2Factivity"),
        ("project", "cloudaudit.googleapis.com%2Factivity"),
        ("project", "cloudaudit.googleapis.com%2Fdata_access"),
    }
    for line in simulate(SimulationConfig()):
        entry = orjson.loads(line)
        missing.discard((entry["resource"]["type"], entry["logName"].rpartition("/")[2]))
        if not missing:
            break
    assert not missing


def test_lines_come_in_the_order_of_event_time_within_the_run():
    """Without --out-of-order event times never go back, and stay within [start, end)."""
    config = SimulationConfig(duration_seconds=300)
    times = [orjson.loads(line)["timestamp"] for line in simulate(config)]
    assert times == sorted(times)
    assert times[0] >= "2026-01-12T14:00:00"
    assert times[-1] < "2026-01-12T14:05:00"


def test_out_of_order_lines_come_in_the_order_of_receipt(quiet):
    """--out-of-order gives the same entries by receiveTimestamp, so that event times go back."""
    shuffled = entries(replace(QUIET, out_of_order=True))
    receipts = [entry["receiveTimestamp"] for entry in shuffled]
    assert receipts == sorted(receipts)
    assert [entry["timestamp"] for entry in shuffled] != sorted(entry["timestamp"] for entry in shuffled)
    assert sorted(map(orjson.dumps, shuffled)) == sorted(map(orjson.dumps, quiet))


def test_receipt_follows_within_seconds_unless_late():
    """Entries of logs are received 0.2 to 3 s after they were written; late ones 11 to 30 minutes after."""
    for late, least, most in ((0.0, 0.199, 3.001), (1.0, 660, 1830)):
        config = replace(QUIET, late=late, tenants=1)
        lines = [entry for entry in entries(config) if "stdout" in entry["logName"]]
        delays = [_seconds(entry["receiveTimestamp"]) - _seconds(entry["timestamp"]) for entry in lines]
        assert delays
        assert all(least <= delay <= most for delay in delays)


def test_insert_ids_are_unique(quiet):
    """No two entries of a run share an insertId."""
    assert len({entry["insertId"] for entry in quiet}) == len(quiet)


@pytest.mark.parametrize("out_of_order", [False, True])
def test_copies_are_whole_entries_with_the_same_insert_id(quiet, out_of_order):
    """--copies 0.2 delivers a fifth of the entries twice, byte for byte, and loses none."""
    lines = Counter(simulate(replace(QUIET, copies=0.2, out_of_order=out_of_order)))
    assert len(lines) == len(quiet)
    assert set(lines.values()) == {1, 2}
    assert 0.17 < sum(count == 2 for count in lines.values()) / len(lines) < 0.23


def test_every_entry_can_be_copied():
    """--copies 1 ends, with every entry twice."""
    lines = Counter(simulate(replace(QUIET, copies=1, out_of_order=True, duration_seconds=10)))
    assert set(lines.values()) == {2}


def _usable(line: bytes) -> bool:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(entry, dict) and ("timestamp" in entry or "receiveTimestamp" in entry)


@pytest.mark.parametrize(("share", "least", "most"), [(0.05, 0.04, 0.06), (0.5, 0.47, 0.53), (1.0, 1.0, 1.0)])
def test_malformed_lines_are_unusable_and_as_many_as_asked_for(share, least, most):
    """A share of the lines is no JSON object with a time; the number of lines stays."""
    lines = list(simulate(replace(QUIET, malformed=share)))
    assert least <= sum(not _usable(line) for line in lines) / len(lines) <= most
    assert len(lines) == sum(1 for _ in simulate(QUIET))
    assert not any(b"\n" in line for line in lines)


def test_one_request_walks_the_shop_under_one_trace(quiet):
    """A checkout's entries share a trace, and each callee's span lies within its caller's time."""
    traces: dict[str, list[dict[str, Any]]] = {}
    for entry in quiet:
        if "httpRequest" in entry and "trace" in entry:
            traces.setdefault(entry["trace"], []).append(entry)
    walked = max(traces.values(), key=len)
    resources = {entry["resource"]["type"] for entry in walked}
    assert {"http_load_balancer", "cloud_run_revision", "k8s_container"} <= resources
    assert len({entry["spanId"] for entry in walked}) == len(walked)
    edge = next(entry for entry in walked if entry["resource"]["type"] == "http_load_balancer")
    front = next(entry for entry in walked if entry["resource"]["labels"].get("service_name") == "frontend")
    assert _latency(edge) > _latency(front)
    assert (
        edge["httpRequest"]["requestUrl"].partition(".example")[2]
        == front["httpRequest"]["requestUrl"].partition(".run.app")[2]
    )


def test_structured_lines_name_the_span_of_the_caller(quiet):
    """Structured lines of a called service carry its parent span, which is a span of the same trace."""
    spans = {(entry["trace"], entry["spanId"]) for entry in quiet if "spanId" in entry and "trace" in entry}
    parents = [
        (e["trace"], e["jsonPayload"]["parent_span_id"])
        for e in quiet
        if "parent_span_id" in e.get("jsonPayload", {})
    ]
    assert len(parents) > 100
    assert sum(parent in spans for parent in parents) / len(parents) > 0.98


def test_a_quiet_run_has_a_small_background_of_errors_and_warnings():
    """On a quiet day 0.05 to 0.5 % of requests fail and some lines warn."""
    served = [
        entry
        for entry in entries(replace(QUIET, duration_seconds=900))
        if "requestMethod" in entry.get("httpRequest", {})
    ]
    failed = sum(entry["httpRequest"]["status"] >= 500 for entry in served)
    refused = sum(400 <= entry["httpRequest"]["status"] < 500 for entry in served)
    assert 0.0005 < failed / len(served) < 0.005
    assert 0.001 < refused / len(served) < 0.02


def test_without_background_nothing_fails():
    """noise=False leaves no error and no warning but refused logins and the like."""
    config = replace(QUIET, noise=False)
    assert not [
        e
        for e in entries(config)
        if e["severity"] == "ERROR" or e.get("httpRequest", {}).get("status", 0) >= 500
    ]


def test_there_is_something_to_redact():
    """E-mail addresses, a card number, a token and a password in a connection string appear."""
    missing = {
        rb"@mail.example",
        b"declined card 4",
        b"Bearer eyJ",
        b"token ya29.",
        b"postgresql://stock:",
    }
    for line in simulate(SimulationConfig(faults="none", rate=3000, duration_seconds=180)):
        missing -= {secret for secret in missing if secret in line}
        if not missing:
            break
    assert not missing


@given(st.randoms(use_true_random=False))
def test_card_numbers_pass_the_luhn_check(random):
    """The simulator's cards are what a redactor must find."""
    digits = [int(digit) for digit in card(random)]
    doubled = [
        digit if place % 2 == 0 else sum(divmod(2 * digit, 10))
        for place, digit in enumerate(reversed(digits))
    ]
    assert len(digits) in {15, 16}
    assert sum(doubled) % 10 == 0


@given(st.sampled_from(sorted(VALUES)), st.randoms(use_true_random=False))
def test_values_never_break_the_json(name, random):
    """Whatever is drawn stands in a JSON string as it is, and in a text with quotes and newlines."""
    filled = orjson.loads(
        "{"
        + Format.inside_object({"a": 'x "{' + name + '}" \n 5 % {z', "b": "{" + name + "}"}).fill(random)
        + "}"
    )
    assert filled["a"] == f'x "{filled["b"]}" \n 5 % {{z' or isinstance(filled["b"], int | float)


def test_insert_ids_are_base_36():
    """GKE's insert ids look as the logging agent's."""
    from random import Random

    random = Random(1)
    assert all(len(insert_id(random)) == 15 and insert_id(random).isalnum() for _ in range(100))


@given(st.integers(946_684_800, 4_102_444_800), st.integers(0, SECOND_NS - 1))
def test_the_clock_writes_rfc_3339(second, rest):
    """A time in nanoseconds comes back from its text."""
    text = Clock().text(second * SECOND_NS + rest)
    assert int(_seconds(text[:19] + "Z")) == second
    assert text[19:] == f".{rest:09d}Z"


def test_traffic_follows_day_night_and_weekend():
    """The night is quiet, the afternoon is not, and a weekend counts by the tenant's own days."""
    tenant = make_tenants(1)[0]  # UTC-5
    monday = SimulationConfig().start_second - 14 * 3600 + 5 * 3600  # its midnight
    by_hour = [traffic_factor(tenant, monday + hour * 3600) for hour in range(24)]
    assert min(by_hour) == by_hour[4]
    assert by_hour[15] > 5 * by_hour[4]
    assert 0.95 < sum(by_hour) / 24 < 1.05
    assert not is_weekend(tenant, monday - 2 * 86_400 - 1)
    assert is_weekend(tenant, monday - 2 * 86_400)
    assert is_weekend(tenant, monday - 1)
    assert not is_weekend(tenant, monday)


def test_quiet_nights_have_no_traffic_and_days_stay_as_they_are():
    """From 23 to 5 of the tenant's day there is none; an hour before and after it fades."""
    tenant = make_tenants(1, 3)[0]  # UTC+5.5
    midnight = SimulationConfig().start_second - 14 * 3600 - round(5.5 * 3600)
    quiet = {
        hour: traffic_factor(tenant, midnight + round(hour * 3600), quiet_nights=True)
        / traffic_factor(tenant, midnight + round(hour * 3600))
        for hour in (0, 4, 4.999, 5.5, 6, 14, 22, 22.25, 23, 23.5)
    }
    asleep = {hour for hour, share in quiet.items() if share == 0}
    assert asleep == {0, 4, 4.999, 23, 23.5}
    assert {hour for hour, share in quiet.items() if share == 1} == {6, 14, 22}
    assert (quiet[5.5], quiet[22.25]) == (pytest.approx(0.5), pytest.approx(0.75))


def test_only_the_platform_speaks_in_a_quiet_night():
    """Audit logs and the database's housekeeping go on; no user's request leaves a line."""
    night = replace(QUIET, start="2026-01-13T07:00:00Z", tenants=1, duration_seconds=1200, quiet_nights=True)
    lines = entries(night)
    others = [entry for entry in lines if "cloudaudit" not in entry["logName"]]
    assert len(others) < len(lines)
    assert {entry["resource"]["type"] for entry in others} == {"cloudsql_database"}
    assert not any("httpRequest" in entry or "trace" in entry for entry in lines)
    assert lines == entries(night)


def test_quiet_nights_change_nothing_by_day():
    """In the afternoon the bytes are the same with the option as without."""
    assert list(simulate(QUIET)) == list(simulate(replace(QUIET, quiet_nights=True)))


def test_a_run_may_begin_with_any_tenant():
    """The second tenant's lines are the same, whether the first is left out or not."""
    among = [line for line in simulate(QUIET) if b'"projects/globex-retail/logs/' in line]
    assert list(simulate(replace(QUIET, tenants=1, first_tenant=2))) == among


@given(st.integers(1, 12), st.integers(1, 12))
def test_tenants_are_numbered(count, first):
    """Leaving out the first tenants changes none of the others."""
    assert make_tenants(count, first) == make_tenants(first - 1 + count)[first - 1 :]


def test_some_services_rest_at_night():
    """At 3 in the morning shipping and e-mail are not called, while others work."""
    night = SimulationConfig(
        start="2026-01-13T08:00:00Z", tenants=1, faults="none", duration_seconds=900, rate=2000
    )
    types = Counter(entry["resource"]["type"] for entry in entries(night))
    assert types["gae_app"] + types["cloud_function"] < 10
    assert types["k8s_container"] > 1000


@pytest.mark.parametrize("mean", [0.0, 0.5, 8.0, 200.0])
def test_poisson_numbers_have_the_right_mean_and_spread(mean):
    """Mean and variance are both `mean`, below and above the switch to the normal approximation."""
    from random import Random

    random = Random(5).random
    drawn = [poisson(mean, random) for _ in range(4000)]
    average = sum(drawn) / len(drawn)
    variance = sum((number - average) ** 2 for number in drawn) / len(drawn)
    assert average == pytest.approx(mean, rel=0.05)
    assert variance == pytest.approx(mean, rel=0.12)


@pytest.mark.parametrize("count", [1, 5, 12, 13, 30])
def test_a_shop_has_as_many_services_as_asked_for(count):
    """Any number of services works, and each user request has an entry."""
    services, routes = build_shop(count)
    assert len(services) == count
    assert all(route.service in services for route in routes)
    assert list(simulate(replace(QUIET, services=count, tenants=1, duration_seconds=20)))


def test_failures_travel_to_the_callers_that_need_the_answer():
    """The database is felt up to the edge, e-mail by nobody else."""
    services, _ = build_shop(12)
    assert set(services) == set(SERVICES)
    assert upstream(services, "shop-db") == {
        "shop-db": 0,
        "inventory": 1,
        "checkout": 2,
        "frontend": 3,
        "edge": 4,
    }
    assert upstream(services, "email") == {"email": 0}


def test_entries_are_about_as_long_as_real_ones(quiet):
    """The average entry has 550 to 750 bytes."""
    lengths = [len(line) for line in simulate(QUIET)]
    assert 550 < sum(lengths) / len(lengths) < 750


def test_memory_does_not_grow_with_the_run():
    """After warming up, ten more minutes need no more than half a MiB."""
    run = deliveries(SimulationConfig(rate=40, duration_seconds=1300))
    tracemalloc.start()
    try:
        _consume_until(run, 600)
        before = tracemalloc.get_traced_memory()[0]
        _consume_until(run, 1200)
        assert tracemalloc.get_traced_memory()[0] - before < 512 * 1024
    finally:
        tracemalloc.stop()


def _consume_until(run, seconds: int) -> None:
    end = (SimulationConfig().start_second + seconds) * SECOND_NS
    next(itertools.dropwhile(lambda entry: entry[1] < end, run))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"duration_seconds": 0}, "duration"),
        ({"tenants": 0}, "tenants"),
        ({"services": 0}, "services"),
        ({"rate": 0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"copies": 1.5}, "copies"),
        ({"malformed": -0.1}, "malformed"),
        ({"start": "yesterday"}, "RFC 3339"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, says):
    """A wrong setting is named, with what to give instead."""
    with pytest.raises(ValueError, match=says):
        SimulationConfig(**changes)


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text[:19] + "+00:00").timestamp() + float(
        "0" + text[19:-1] if len(text) > 20 else 0
    )


def _latency(entry: dict[str, Any]) -> float:
    return float(entry["httpRequest"]["latency"][:-1])
