"""Summaries: counting, merging, deduplication and gaps."""

from __future__ import annotations

import random
from operator import itemgetter
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.capped_names import OTHERS
from transforms.coarsening import LAST_ENDPOINT_LEVEL
from transforms.elements import MINUTE_NS, LogEntry, PatternStats, RequestStats, WindowSummary, content_id
from transforms.revisions import MAX_PATTERN_REVISIONS, MAX_REVISIONS, add_revisions
from transforms.sketches import distinct_estimate, latency_quantile_us
from transforms.summarize import merging
from transforms.summarize.deduplicate import count_listed
from transforms.summarize.gaps import FillGaps, ServiceMark
from transforms.summarize.health import health_score
from transforms.summarize.merging import (
    MAX_ENDPOINTS,
    MAX_SHAPES,
    MAX_TRACES,
    copy_summary,
    drop_lone_revision,
    empty_summary,
    fit,
    merge_summaries,
    sort_summary,
)
from transforms.summarize.partials import summarize_entries

START_NS = 1_750_000_020_000_000_000 // MINUTE_NS * MINUTE_NS

entries = st.builds(
    LogEntry,
    tenant_id=st.just("acme"),
    service=st.just("cart"),
    event_time_ns=st.integers(START_NS, START_NS + 5),
    severity=st.sampled_from([0, 200, 400, 500, 600]),
    message=st.sampled_from(["took long", "failed", "done"]),
    insert_id=st.text("abcdef", max_size=2),
    log_name=st.just("projects/acme/logs/stdout"),
    endpoint=st.sampled_from(["", "GET /cart", "POST /cart/{id}"]),
    instance=st.sampled_from(["", "pod-1", "pod-2"]),
    revision=st.sampled_from(["", "r1", "r2", "r3"]),
    receive_time_ns=st.integers(START_NS, START_NS + 3 * MINUTE_NS),
    http_status=st.sampled_from([0, 200, 404, 503]),
    latency_us=st.integers(-1, 5_000_000),
    trace_id=st.sampled_from(["", "t1", "t2"]),
    principal=st.sampled_from(["", "ann", "bob"]),
    remote_ip=st.sampled_from(["", "<ip:v1:00>"]),
    exception=st.sampled_from(["", "java.lang.A", "java.lang.B"]),
    peer_service=st.sampled_from(["", "frontend"]),
    is_request=st.booleans(),
    is_denied=st.booleans(),
    severity_inferred=st.booleans(),
    retimed=st.booleans(),
    shape_id=st.sampled_from(["s1", "s2"]),
    shape=st.just("<*> shape"),
    measures=st.lists(
        st.tuples(st.sampled_from(["depth", "load"]), st.integers(-(1 << 62), 1 << 62)),
        unique_by=itemgetter(0),
    ).map(lambda measures: tuple(sorted(measures))),
)


def encoded(summary: WindowSummary) -> bytes:
    for record in summary.distinct_lines.values():
        record.receipts = dict(sorted(record.receipts.items()))
    return msgspec.msgpack.encode(sort_summary(summary))


def one(lines: list[LogEntry], *, drop_copies: bool = False) -> WindowSummary:
    summaries = summarize_entries(lines, 60, drop_copies=drop_copies)
    return summaries[0] if summaries else empty_summary()


def merged(parts: list[WindowSummary]) -> WindowSummary:
    total = copy_summary(parts[0])
    for part in parts[1:]:
        total = merge_summaries(total, part)
    return total


def entry(**fields: object) -> LogEntry:
    plain = {
        "tenant_id": "acme",
        "service": "cart",
        "event_time_ns": START_NS,
        "severity": 200,
        "message": "hello",
        "shape_id": "s1",
        "shape": "hello",
    }
    return LogEntry(**(plain | fields))  # type: ignore[arg-type]


@given(st.lists(entries, min_size=1, max_size=12), st.randoms(use_true_random=False), st.booleans())
@settings(deadline=None)
def test_a_summary_is_the_same_however_its_lines_were_split_and_ordered(
    lines: list[LogEntry], chance: random.Random, drop_copies: bool
) -> None:
    """Summarizing in one bundle, or merging any split in any order, gives the same bytes."""
    whole = one(lines, drop_copies=drop_copies)
    shuffled = chance.sample(lines, len(lines))
    cuts = sorted(chance.sample(range(1, len(lines)), min(2, len(lines) - 1)))
    pieces = [shuffled[start:end] for start, end in zip([0, *cuts], [*cuts, len(lines)], strict=True)]
    parts = [one(piece, drop_copies=drop_copies) for piece in pieces]
    assert encoded(merged(parts)) == encoded(whole)


@given(st.lists(entries, min_size=1, max_size=12))
@settings(deadline=None)
def test_copies_change_nothing_but_the_duplicate_count_with_exact_deduplication(
    lines: list[LogEntry],
) -> None:
    """With --deduplicate=exact every line twice counts like every line once."""
    once = count_listed(one(lines, drop_copies=True))
    twice = count_listed(merged([one(lines, drop_copies=True), one(lines, drop_copies=True)]))
    received = sum(map(sum, twice.ledger.values()))
    assert received == 2 * len(lines)
    assert sum(counts[0] for counts in twice.ledger.values()) == twice.lines == once.lines
    once.ledger = twice.ledger = {}
    assert encoded(twice) == encoded(once)


@given(
    st.lists(entries, min_size=1, max_size=12, unique_by=lambda line: (line.event_time_ns, line.insert_id))
)
@settings(deadline=None)
def test_exact_deduplication_counts_like_off_where_there_are_no_copies(lines: list[LogEntry]) -> None:
    """Both modes agree on input without copies."""
    distinct = [line for line in lines if line.insert_id]
    if distinct:
        assert encoded(count_listed(one(distinct, drop_copies=True))) == encoded(one(distinct))


@given(
    st.lists(st.dictionaries(st.sampled_from("abcdefghijklmnop*"), st.integers(1, 9)), max_size=6),
    st.randoms(use_true_random=False),
    st.integers(1, 10),
)
def test_many_revisions_are_capped_alike_in_any_order_and_split(
    parts: list[dict[str, int]], chance: random.Random, most: int
) -> None:
    """The same revisions keep their own count however parts were added, and no line is lost."""
    forward: dict[str, int] = {}
    for part in parts:
        add_revisions(forward, part, most)
    pieces: list[dict[str, int]] = [{}, {}]
    for part in chance.sample(parts, len(parts)):
        add_revisions(pieces[chance.randrange(2)], part, most)
    add_revisions(pieces[0], pieces[1], most)
    assert pieces[0] == forward
    assert len(forward.keys() - {OTHERS}) <= most
    assert sum(forward.values()) == sum(lines for part in parts for lines in part.values())
    names = {name for part in parts for name in part} - {OTHERS}
    if len(names) <= most:
        assert forward.keys() - {OTHERS} == names


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh*"), st.integers(0, 9), st.booleans()), min_size=1, max_size=20
    ),
    st.randoms(use_true_random=False),
    st.booleans(),
)
@settings(deadline=None, max_examples=50)
def test_many_callers_and_roll_outs_are_capped_alike_in_any_order_and_split(
    lines: list[tuple[str, int, bool]], chance: random.Random, drop_copies: bool
) -> None:
    """Beyond the cap callers are counted together, and all requests are still there."""
    made = [
        entry(
            peer_service=caller,
            latency_us=latency,
            insert_id=f"i{number}",
            deploy=f"v{number}" if is_deploy else "",
        )
        for number, (caller, latency, is_deploy) in enumerate(lines)
    ]
    with patch.object(merging, "MAX_CALLERS", 3), patch.object(merging, "MAX_DEPLOYS", 2):
        whole = fit(count_listed(one(made, drop_copies=drop_copies)))
        pieces: tuple[list[LogEntry], list[LogEntry]] = [], []
        for line in chance.sample(made, len(made)):
            pieces[chance.randrange(2)].append(line)
        parts = [one(piece, drop_copies=drop_copies) for piece in pieces if piece]
        total = fit(count_listed(merged(parts)))
    assert encoded(total) == encoded(whole)
    assert sum(stats.count for stats in whole.callers.values()) == len(lines)
    assert len(whole.callers.keys() - {OTHERS}) == min(3, len({caller for caller, _, _ in lines} - {"*"}))
    assert len(whole.deploys) == min(2, sum(is_deploy for _, _, is_deploy in lines))


def test_names_of_callers_cannot_flood_a_summary() -> None:
    """A writer who makes up a caller for each line gets a bounded number of them, and one for the rest."""
    summary = one([entry(peer_service=f"made-up-{number}", http_status=500) for number in range(500)])
    assert len(summary.callers) == merging.MAX_CALLERS + 1
    assert summary.callers[OTHERS].count == summary.callers[OTHERS].errors == 500 - merging.MAX_CALLERS


def test_lines_are_counted_by_revision_for_each_pattern() -> None:
    """A canary's lines can be told from those of the revision before, pattern by pattern."""
    lines = [entry(revision="r1")] * 3 + [entry(revision="r2", shape_id="s2")] * 2 + [entry(revision="r2")]
    summary = one(lines)
    assert summary.revisions == {"r1": 3, "r2": 3}
    assert {key: stats.revisions for key, stats in summary.patterns.items()} == {
        "s1": {"r1": 3, "r2": 1},
        "s2": {"r2": 2},
    }
    assert drop_lone_revision(summary) is summary


def test_a_single_revision_is_not_repeated_for_each_pattern() -> None:
    """What all lines have in common is said once, and the summary itself stays as it was."""
    summary = one([entry(revision="r1"), entry(shape_id="s2")])
    finished = drop_lone_revision(summary)
    assert finished.revisions == {"r1": 1}
    assert [stats.revisions for stats in finished.patterns.values()] == [{}, {}]
    assert summary.patterns["s1"].revisions == {"r1": 1}


def test_names_of_revisions_cannot_flood_a_summary() -> None:
    """A writer who makes up a revision for each line gets a bounded number of them."""
    summary = one([entry(revision=f"made-up-{number}") for number in range(500)])
    assert len(summary.revisions) == MAX_REVISIONS + 1
    assert len(summary.patterns["s1"].revisions) == MAX_PATTERN_REVISIONS + 1
    assert sum(summary.patterns["s1"].revisions.values()) == sum(summary.revisions.values()) == 500


def test_every_line_is_in_the_ledger_of_its_summary() -> None:
    """Analyzed lines add up to the lines summarized, by receive minute."""
    lines = [entry(receive_time_ns=START_NS + second * 1_000_000_000) for second in range(0, 180, 10)]
    summary = one(lines)
    assert summary.ledger == {START_NS // MINUTE_NS + minute: [6, 0] for minute in range(3)}


def test_lines_are_split_by_tenant_service_and_window() -> None:
    """Nothing of one tenant, service or minute is in the summary of another."""
    lines = [
        entry(tenant_id=tenant, service=service, event_time_ns=START_NS + minute * MINUTE_NS)
        for tenant in ("a", "b")
        for service in ("x", "y")
        for minute in (0, 1)
    ]
    summaries = summarize_entries(lines, 60)
    keys = [(s.tenant_id, s.service, s.window_start_us) for s in summaries]
    assert len(set(keys)) == 8
    assert keys == sorted(keys)
    assert {s.lines for s in summaries} == {1}


def test_errors_are_severe_lines_and_server_errors() -> None:
    """A line is an error by its severity or its HTTP status, and counts once."""
    lines = [
        entry(severity=500),
        entry(http_status=503),
        entry(severity=600, http_status=500),
        entry(http_status=404),
    ]
    assert one(lines).errors == 3


def test_latency_quantiles_are_within_two_percent() -> None:
    """The sketch answers within its relative accuracy."""
    lines = [entry(latency_us=value * 1000, is_request=True) for value in range(1, 1001)]
    p95 = latency_quantile_us(one(lines).latency_bins, 0.95)
    assert p95 == pytest.approx(950_000, rel=0.021)


def test_distinct_users_are_estimated() -> None:
    """Two hundred users are told from twenty."""
    estimate = distinct_estimate(one([entry(principal=f"user-{n}") for n in range(200)]).principals)
    assert estimate == pytest.approx(200, rel=0.1)


@given(st.lists(st.integers(0, 300), min_size=3, max_size=8), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=20)
def test_too_many_endpoints_become_coarser_not_fewer_requests(
    sizes: list[int], chance: random.Random
) -> None:
    """Past the limit endpoints coarsen to the first level that fits, in any order of merging."""
    parts = []
    for size in sizes:
        part = empty_summary("acme", "cart", 0, 60)
        part.endpoints = {f"GET /shop/{n % 90}/{n}": RequestStats(1, 0, 0, {}) for n in range(size)}
        parts.append(part)
    forward = merged([empty_summary("acme", "cart", 0, 60), *parts])
    backward = merged([empty_summary("acme", "cart", 0, 60), *chance.sample(parts, len(parts))])
    assert encoded(forward) == encoded(backward)
    assert sum(stats.count for stats in forward.endpoints.values()) == sum(sizes)
    assert len(forward.endpoints) <= MAX_ENDPOINTS or forward.endpoint_level == LAST_ENDPOINT_LEVEL


def test_too_many_shapes_become_coarser_with_all_their_lines() -> None:
    """Past 5,000 shapes nothing is left out: the counts of the coarser names add up."""
    summary = empty_summary("acme", "cart", 0, 60)
    for number in range(MAX_SHAPES + 10):
        text = f"word user_{number}x failed"
        summary.patterns[content_id(text)[:16]] = PatternStats(text, 2, 1, 500, [])
    whole = merge_summaries(empty_summary("acme", "cart", 0, 60), summary)
    assert whole.pattern_level == 1
    assert {stats.text for stats in whole.patterns.values()} == {"word <*> failed"}
    assert sum(stats.count for stats in whole.patterns.values()) == 2 * (MAX_SHAPES + 10)


def test_all_services_keep_the_same_traces() -> None:
    """Of many failing traces, two services keep the same few, so that they can be joined."""
    lines = [
        entry(service=service, severity=500, trace_id=f"{n:032x}")
        for n in range(200)
        for service in ("a", "b")
    ]
    first, second = summarize_entries(lines, 60)
    assert len(first.traces) == MAX_TRACES
    assert set(first.traces) == set(second.traces)


def test_a_line_without_copies_encodes_smaller_than_it_came() -> None:
    """A partial of one line is not larger than the line, so the shuffle never grows the input."""
    line = (
        b'{"insertId":"1a2b3c4d5e6f","logName":"projects/acme/logs/run.googleapis.com%2Fstdout",'
        b'"timestamp":"2026-01-01T00:00:00.000Z","severity":"INFO","resource":{"type":"cloud_run_revision",'
        b'"labels":{"service_name":"cart"}},"textPayload":"cart 12345 saved for customer 99"}'
    )
    partial = one(
        [
            entry(
                message="cart 12345 saved for customer 99",
                shape="cart <*> saved for customer <*>",
                insert_id="1a2b3c4d5e6f",
                shape_id="0123456789abcdef",
            )
        ]
    )
    assert len(encoded(partial)) <= len(line)


def test_health_falls_with_errors_and_slow_requests_and_is_unknown_without_lines() -> None:
    """The score is 100 for a healthy window, lower for a sick one, None for an empty one."""
    healthy = one([entry(is_request=True, latency_us=1000)] * 10)
    sick = one([entry(severity=500)] * 5 + [entry(is_request=True, latency_us=3_000_000)] * 5)
    assert health_score(healthy) == 100.0
    assert health_score(sick) == 100.0 - 60.0 - 25.0
    assert health_score(empty_summary("acme", "cart", 0, 60)) is None


def mark(service: str, minute: int) -> ServiceMark:
    return ServiceMark(service, minute * 60_000_000, 60, 0)


def gaps_of(marks: list[ServiceMark]) -> list[tuple[str, int]]:
    step = FillGaps()
    state = step.initial()
    zeros = [zero for value in marks for zero in step.step(state, value, is_late=False)]
    assert all(zero.lines == 0 and zero.pane_index == -1 for zero in zeros)
    return [(zero.service, zero.window_start_us // 60_000_000) for zero in zeros]


def test_a_service_that_stops_gets_zero_summaries_while_others_go_on() -> None:
    """Each closed window without the service has a zero summary; the last window is not closed."""
    marks = [mark("a", 0), mark("b", 0), mark("b", 1), mark("b", 2), mark("b", 3)]
    assert gaps_of(marks) == [("a", 1), ("a", 2)]


def test_the_end_of_input_and_a_pause_of_all_services_are_not_silence() -> None:
    """Nothing is filled in where the tenant has no window at all."""
    assert gaps_of([mark("a", 0), mark("b", 0), mark("a", 30), mark("b", 30)]) == []


def test_a_service_is_forgotten_after_a_day() -> None:
    """Zero summaries stop 24 hours after a service was last seen."""
    day = 24 * 60
    marks = [mark("a", 0), *(mark("b", minute) for minute in range(day + 5))]
    filled = gaps_of(marks)
    assert filled[0] == ("a", 1)
    assert filled[-1] == ("a", day)
