"""A service's windows against all that was learned of it, as the job walks through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from transforms.coders import StructCoder
from transforms.detect.baselines.book import NO_BOOK, BaselineBook
from transforms.detect.baselines.book_loading import load_book
from transforms.detect.findings import Finding
from transforms.detect.history import LATE_US, ServiceMemory, TrackHistory, WindowHistory
from transforms.detect.watch import ServiceBaselines, watch_window
from transforms.elements import (
    MINUTE_US,
    SEVERITY_NUMBERS,
    FieldStats,
    PatternStats,
    RequestStats,
    WindowSummary,
)
from transforms.sketches import latency_bin

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

HOUR, DAY = 60, 24 * 60
START_US = 1_768_780_800_000_000  # Monday 2026-01-19T00:00:00Z
INFO, WARNING, ERROR = (SEVERITY_NUMBERS[name] for name in ("INFO", "WARNING", "ERROR"))

Change = Callable[[int], dict[str, Any]]


def window(
    minute: int, *, seconds: int = 60, seed: int = 0, service: str = "s", **changes: Any
) -> WindowSummary:
    """A shop at 120 lines a minute: half of them requests, one error in a hundred.

    `rate` is the factor of its traffic, `bad` the share of errors.
    """
    random = np.random.default_rng([seed, minute])
    lines = int(random.poisson(120 * changes.pop("rate", 1.0) * seconds / 60))
    errors = int(random.binomial(lines, changes.pop("bad", 0.01)))
    slow = changes.pop("slow", 1.0)
    bins: dict[int, int] = {}
    for latency in random.lognormal(np.log(100_000 * slow), 0.4, lines // 2):
        bins[latency_bin(int(latency))] = bins.get(latency_bin(int(latency)), 0) + 1
    patterns = {"served": PatternStats("served <*>", lines - errors, 0, INFO, [])} if lines > errors else {}
    if errors:
        patterns["failed"] = PatternStats("failed <*>", errors, errors, ERROR, [])
    name = changes.pop("endpoint", "GET /cart")
    plain: dict[str, Any] = {
        "lines": lines,
        "errors": errors,
        "severities": {INFO: lines - errors, ERROR: errors} if errors else {INFO: lines},
        "requests": lines // 2,
        "latency_count": lines // 2,
        "latency_bins": bins,
        "patterns": patterns,
        "endpoints": {name: RequestStats(lines // 2, errors // 2, 0, dict(bins))} if lines > 1 else {},
    }
    start_us = START_US + minute * seconds * 1_000_000
    return WindowSummary("t", service, start_us, seconds, **{**plain, **changes})


def silent(minute: int) -> WindowSummary:
    return WindowSummary("t", "s", START_US + minute * MINUTE_US, 60, pane_index=-1)


class Service:
    """Windows of a service in their order."""

    def __init__(self, book: BaselineBook = NO_BOOK, **plain: Any) -> None:
        self.memory, self.book, self.plain, self.minute = ServiceBaselines(), book, plain, 0
        self.found: list[tuple[int, Finding]] = []
        self.bands: dict[str, Any] = {}

    def watch(self, summary: WindowSummary) -> list[Finding]:
        findings, self.bands = watch_window(self.memory, summary, self.book)
        self.found += [(self.minute, finding) for finding in findings]
        self.minute += 1
        return findings

    def walk(self, minutes: int, **changes: Any) -> list[tuple[int, Finding]]:
        before = len(self.found)
        for _ in range(minutes):
            self.watch(window(self.minute, **{**self.plain, **changes}))
        return self.found[before:]

    @property
    def names(self) -> list[str]:
        return self.memory.levels.names


def said(found: list[tuple[int, Finding]]) -> list[tuple[str, str]]:
    return [(finding.anomaly_type, finding.signal) for _, finding in found]


@pytest.fixture(scope="module")
def learned() -> Callable[[], Service]:
    """A copy of a service that was watched for five hours, with nothing found."""
    service = Service()
    assert service.walk(5 * HOUR) == []

    def copy() -> Service:
        copied = Service()
        copied.memory = msgspec.msgpack.decode(msgspec.msgpack.encode(service.memory), type=ServiceBaselines)
        copied.minute = service.minute
        return copied

    return copy


# ----------------------------------------------------------------------------------------- findings


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"bad": 0.3},
            {
                ("error_spike", "severity.ERROR"),
                ("unusual_pattern", "pattern.failed"),
                ("unusual_pattern", "missing_lines"),
            },
        ),
        ({"rate": 4.0}, {("traffic_change", "lines")}),
        ({"rate": 0.2}, {("traffic_change", "lines")}),
        ({"slow": 4.0}, {("latency_increase", "endpoint_latency_ms.GET /cart")}),
    ],
)
def test_a_fault_is_found_at_once(
    learned: Callable[[], Service], changes: dict[str, Any], found: set[tuple[str, str]]
) -> None:
    """By the signal that shows it best, and told again only when it has become worse."""
    service = learned()
    first = service.walk(1, **changes)
    assert set(said(first)) == found
    later = service.walk(30, **changes)
    severities = [finding.severity for _, finding in [*first, *later]]
    assert "medium" in severities
    assert len(later) <= 4
    assert "in the two weeks before" not in "".join(finding.description for _, finding in later)


def test_a_service_that_stops_is_one_silence_and_not_many_slumps(learned: Callable[[], Service]) -> None:
    """All signals fall without lines; one finding says why."""
    service = learned()
    findings = [finding for _ in range(HOUR) for finding in service.watch(silent(service.minute))]
    assert [finding.anomaly_type for finding in findings] in (["silence"], ["traffic_change", "silence"])
    assert findings[-1].severity == "medium"  # the service is younger than a day


def test_an_old_busy_service_that_stays_away_is_a_high_silence() -> None:
    """From the fifth minute on, whatever the windows' length; before that it is medium."""
    for seconds, minutes in ((60, 5), (10, 5), (600, 20)):
        service = Service(seconds=seconds)
        service.walk(60)
        service.memory.silence.first_us = START_US - DAY * MINUTE_US
        found = []
        for n in range(2 * 60 * HOUR // seconds):
            end = WindowSummary("t", "s", START_US + service.minute * seconds * 1_000_000, seconds)
            found += [(n + 1, finding) for finding in service.watch(end) if finding.signal == "lines"]
        severities = [
            (finding.severity, n * seconds // 60) for n, finding in found if finding.detector == "silence"
        ]
        high = [minute for severity, minute in severities if severity == "high"]
        assert high[0] == minutes
        assert {severity for severity, minute in severities if minute < minutes} <= {"medium"}


def test_a_new_pattern_is_told_of_with_its_text(learned: Callable[[], Service]) -> None:
    """And its id, so that the evidence is its lines."""
    service = learned()
    plain = window(service.minute)
    new = PatternStats("disk <*> is full", 9, 0, WARNING, [], is_new=True)
    findings = service.watch(msgspec.structs.replace(plain, patterns={**plain.patterns, "new": new}))
    assert [(one.detector, one.severity, one.pattern_ids) for one in findings] == [
        ("new_pattern", "low", ("new",))
    ]
    assert findings[0].description == "never seen before, 9 times so far: disk <*> is full"


@pytest.mark.parametrize("seconds", [10, 600])
def test_windows_of_any_length_find_faults_and_nothing_else(seconds: int) -> None:
    """Ten times as many errors, after hours of nothing."""
    service = Service(seconds=seconds)
    assert service.walk(18_000 // seconds if seconds == 600 else 400) == []
    assert "error_spike" in [kind for kind, _ in said(service.walk(60 // seconds * 3 or 2, bad=0.3))]


@pytest.mark.parametrize("name", ["", ".", "a.b.c", "patterns", " ", "x" * 5000, "GET /🙂\x00\n"])
def test_endpoints_of_any_name_are_watched(name: str) -> None:
    """From the first window to the finding, and through the encoding of the state."""
    service = Service(endpoint=name)
    service.walk(HOUR)
    assert f"endpoint_latency_ms.{name}" in service.names
    coder = StructCoder(ServiceBaselines)
    service.memory = coder.decode(coder.encode(service.memory))
    findings = service.walk(10, slow=6.0)
    assert "latency_increase" in [kind for kind, _ in said(findings)]


@pytest.mark.parametrize("service", ["", "s/x.y", "😀", "a" * 3000, "*"])
def test_services_of_any_name_are_watched(service: str) -> None:
    """Their names only choose what the operator's file says."""
    book = load_book("signals: [{service: 'x*', detector: off}]")
    watched = Service(book, service=service)
    watched.walk(30)
    assert len(watched.names) > 5


@pytest.mark.parametrize(
    "extreme",
    [
        {"lines": 10**15, "errors": 10**15, "requests": 10**15},
        {"lines": 1, "errors": 0, "requests": 0, "endpoints": {}, "patterns": {}},
        {"latency_bins": {0: 10**12}, "latency_count": 10**12},
        {"latency_bins": {1500: 5}, "latency_count": 5},
        {"lines": 0, "errors": 0, "requests": 50},
    ],
)
def test_absurd_windows_leave_sound_numbers(learned: Callable[[], Service], extreme: dict[str, Any]) -> None:
    """Findings and bands hold numbers, and the service goes on."""
    service = learned()
    for _ in range(5):
        service.watch(window(service.minute, **extreme))
        numbers = [
            number for band in service.bands.values() for number in (band.baseline, band.low, band.high)
        ]
        assert np.isfinite(numbers).all()
    service.walk(30)
    for _, finding in service.found:
        for metric in finding.metrics:
            assert np.isfinite(
                [metric.value, metric.baseline, metric.band_low or 0, metric.band_high or 0]
            ).all()


@pytest.mark.parametrize("minutes", [DAY, 31 * DAY])
def test_a_gap_of_days_is_no_anomaly(learned: Callable[[], Service], minutes: int) -> None:
    """The tenant was away as a whole: nobody says that this service was silent."""
    service = learned()
    service.minute += minutes
    assert service.walk(HOUR) == []


# -------------------------------------------------------------------------------- an operator's file


def test_maintenance_is_neither_judged_nor_learned() -> None:
    """An hour of errors within it leaves the state as it was, but for the time that passed."""
    book = load_book(
        "calendars: [{maintenance: [{from: 2026-01-19T04:00, to: 2026-01-19T05:00, services: [s]}]}]"
    )
    service = Service(book)
    service.walk(4 * HOUR)
    before = service.memory.levels.names[:], service.memory.silence.windows
    assert service.walk(HOUR, bad=0.9, rate=5.0) == []
    assert (service.memory.levels.names, service.memory.silence.windows) == before
    assert service.bands == {}
    assert service.walk(HOUR) == []
    assert said(service.walk(2, bad=0.5))


def test_patterns_that_merge_during_maintenance_are_merged() -> None:
    """What is said of ids is no lesson: it holds in any window."""
    book = load_book("calendars: [{maintenance: [{from: 2026-01-19T00:30, to: 2026-01-19T00:31}]}]")
    service = Service(book)
    service.walk(30)
    service.walk(1, merged_patterns={"failed": "served"})
    assert "pattern.failed" not in service.names
    assert "pattern.served" in service.names


BOOKS = {
    "empty": "",
    "off": "signals: [{signal: error_rate, detector: off}, {signal: 'endpoint_requests.*', detector: off}]",
    "learned": "signals: [{signal: 'latency_*', detector: learned}]",
    "field": "fields: [{name: depth, path: jsonPayload.depth}]",
}


def test_a_file_that_changes_moves_signals_to_where_they_are_judged() -> None:
    """Off is forgotten, learned has a state of its own, and back again all begins anew."""
    depth = {"depth": FieldStats(4, 10_000_000, 0, 1_000_000, 4_000_000, {})}
    service = Service()
    service.walk(30, fields=depth)
    for name in ("off", "learned", "field", "empty"):
        service.book = load_book(BOOKS[name])
        service.walk(5, fields=depth)
        singles = set(service.memory.singles)
        assert ("error_rate" in service.names) == (name != "off")
        assert any(one.startswith("endpoint_requests.") for one in service.names) == (name != "off")
        assert ("latency_p50_ms" in service.names) == (name != "learned")
        assert ("latency_p50_ms" in singles) == (name == "learned")
        assert ("field.depth" in singles) == (name == "field")
        assert len(service.names) == len(set(service.names))


@pytest.mark.parametrize(
    ("signal", "changes"),
    [("*", {"bad": 0.5}), ("silence", {"lines": 0}), ("new_pattern", {})],
)
def test_a_severity_that_the_file_caps_stays_below(
    learned: Callable[[], Service], signal: str, changes: dict[str, Any]
) -> None:
    """Of levels, of silence, and of new patterns."""
    service = learned()
    service.book = load_book(f"signals: [{{signal: '{signal}', severity: low}}]")
    for _ in range(20):
        summary = silent(service.minute) if "lines" in changes else window(service.minute, **changes)
        summary.patterns["new"] = PatternStats("x", 3, 3, ERROR, [], is_new=True)
        service.watch(summary)
    capped = {
        "*": lambda _: True,
        "silence": lambda finding: finding.detector == "silence",
        "new_pattern": lambda finding: finding.detector == "new_pattern",
    }[signal]
    severities = {finding.severity for _, finding in service.found if capped(finding)}
    assert severities == {"low"}


@pytest.mark.parametrize("signal", ["silence", "new_pattern"])
def test_what_the_file_turns_off_is_not_told(learned: Callable[[], Service], signal: str) -> None:
    """It is still counted, so that it is known when it is turned on."""
    service = learned()
    service.book = load_book(f"signals: [{{signal: {signal}, detector: off}}]")
    summary = window(service.minute)
    summary.patterns["new"] = PatternStats("x", 30, 30, ERROR, [], is_new=True)
    service.watch(summary)
    for _ in range(20):
        service.watch(silent(service.minute))
    assert signal not in {finding.detector for _, finding in service.found}


# ------------------------------------------------------------------------------------ over time


def test_a_service_without_errors_stays_known() -> None:
    """After nine days without one, its first errors alarm as they would have on the second."""
    service = Service()
    for minute in range(0, 9 * DAY, 20):
        service.minute = minute
        service.watch(window(minute, bad=0.0))
    first = service.names.index("error_rate")
    assert first == 1
    for minute in range(9 * DAY, 9 * DAY + 30):
        service.minute = minute
        service.watch(window(minute, bad=0.0))
    assert ("error_spike", "error_rate") in said(service.walk(3, bad=0.3))


def test_bands_belong_to_their_signals_also_when_others_are_forgotten() -> None:
    """In the first window of a day columns go; what is drawn is still its own."""
    service = Service()
    for minute in range(0, 12 * DAY, 30):
        service.minute = minute
        errors = {"bad": 0.05 if minute < DAY else 0.0}
        service.watch(window(minute, **errors))
        if minute > DAY:
            assert service.bands["lines"].baseline == pytest.approx(120, rel=0.3)
            assert service.bands["latency_p95_ms"].baseline == pytest.approx(193, rel=0.3)
            assert service.bands["error_rate"].baseline < 0.1
    assert "severity.ERROR" not in service.names


def test_bands_are_of_windows_past_learning() -> None:
    """Of lines, errors and latency; within them lies what is usual."""
    service = Service()
    service.walk(20)
    assert service.bands == {}
    for _ in range(60):
        service.walk(1)
        assert set(service.bands) == {"lines", "error_rate", "latency_p95_ms"}
        band = service.bands["lines"]
        assert band.low < window(service.minute - 1).lines < band.high
        assert band.low < band.baseline < band.high


def test_encoding_between_windows_changes_nothing() -> None:
    """A job that is restarted after every window finds what one finds that is not."""
    kept, coded, coder = Service(), Service(), StructCoder(ServiceBaselines)
    for minute in range(400):
        changes = {"bad": 0.4} if 200 < minute < 230 else {"slow": 3.0} if 300 < minute < 320 else {}
        coded.memory = coder.decode(coder.encode(coded.memory))
        assert coded.walk(1, **changes) == kept.walk(1, **changes)
        assert coded.bands == kept.bands
    assert kept.found


# ------------------------------------------------------------------------------------- late panes


def walk_history(
    *values: WindowSummary, late: tuple[int, ...] = ()
) -> tuple[list[WindowHistory], ServiceMemory]:
    step = TrackHistory()
    state = step.initial()
    return [
        history for n, value in enumerate(values) for history in step.step(state, value, is_late=n in late)
    ], state


def test_late_panes_teach_nothing_and_are_not_judged() -> None:
    """Absurd revisions, and windows that come only late, leave all that is learned as it was."""
    values = [window(minute) for minute in range(60)]
    late = [window(minute, bad=0.9, rate=9.0, pane_index=1) for minute in (5, 30, 59)]
    missing = window(61)
    plain, learned_plain = walk_history(*values, missing)
    mixed, learned_mixed = walk_history(*values, *late, missing, window(60, bad=0.9), late=(60, 61, 62))
    assert learned_mixed.baselines == learned_plain.baselines
    assert [history.findings for history in mixed[60:63]] == [[], [], []]
    assert mixed[62].bands == plain[59].bands != {}
    assert mixed[64].bands == {}


def test_the_band_stands_beside_the_window_that_it_was_expected_of() -> None:
    """Each history has the bands of its window, and its past those of theirs."""
    histories, state = walk_history(*(window(minute) for minute in range(40)))
    assert histories[-1].bands
    assert [bool(past.bands) for past in histories[-1].past] == [minute >= 20 for minute in range(39)]
    assert state.windows[-1].bands == histories[-1].bands


@pytest.mark.parametrize("seconds", [10, 60, 600])
def test_late_panes_of_the_last_hour_find_their_revision(seconds: int) -> None:
    """Seventy minutes back, whatever the windows' length."""
    count = 2 * LATE_US // (seconds * 1_000_000)
    values = [
        WindowSummary("t", "s", START_US + n * seconds * 1_000_000, seconds, lines=1) for n in range(count)
    ]
    oldest = count - LATE_US // (seconds * 1_000_000) - 1
    pane = msgspec.structs.replace(values[oldest], pane_index=1)
    histories, _ = walk_history(*values, pane, late=(count,))
    assert histories[-1].previous is not None


def test_request_lines_follow_patterns_that_merge_in_planned_maintenance(
    learned: Callable[[], Service],
) -> None:
    """Nothing is judged or learned then, but the ids of patterns change."""
    service = learned()
    maintenance = "[{every: day, from: '00:00', to: '24:00'}]"
    service.book = load_book(f"calendars: [{{maintenance: {maintenance}}}]")
    (served,) = (name for name in service.memory.request_lines.patterns if name.startswith("served"))
    assert service.walk(1, merged_patterns={served: "anything"}) == []
    assert "anything" in service.memory.request_lines.patterns
    assert served not in service.memory.request_lines.patterns
