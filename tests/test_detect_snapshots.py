"""Snapshots of what is learned: when they are taken, what they say, and how a job goes on from one."""

from __future__ import annotations

import base64
import json
import logging
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import msgspec
import numpy as np
import pytest
import zstandard
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import TimestampedValue

from pipeline.sinks import window_rows
from pipeline.snapshot_files import ReadSnapshots, SnapshotFileError, check_snapshots
from transforms.coders import StructCoder, register_coders
from transforms.detect.baseline_state import (
    MAX_STATE_BYTES,
    STATE_VERSION,
    SnapshotError,
    decode_baselines,
    encode_baselines,
    learned_windows,
)
from transforms.detect.baselines.book_loading import load_book
from transforms.detect.baselines.level import BankState, LevelBank
from transforms.detect.findings import Finding
from transforms.detect.history import NO_BOOK, ServiceMemory, TrackHistory, WindowHistory
from transforms.detect.singles import SingleState
from transforms.detect.transform import WatchServices, snapshot_event
from transforms.detect.watch import ServiceBaselines
from transforms.elements import (
    HOUR_US,
    MINUTE_US,
    BaselineSnapshot,
    PatternStats,
    RequestStats,
    WindowSummary,
)
from transforms.sketches import latency_bin

register_coders()

GOLDEN = Path(__file__).parent / "golden_state"
START_SECOND = 1_767_225_600  # 2026-01-01T00:00:00Z
START_US = START_SECOND * 1_000_000
DAY = 24 * 60


def window(minute: int, pane: int = 0, service: str = "s") -> WindowSummary:
    """A minute of a service with a daily rhythm, two endpoints, and three faults on the second day."""
    rng = random.Random(minute)
    lines = round(60 * (1.5 + math.sin(2 * math.pi * minute / DAY))) + rng.randrange(12)
    on_fault = DAY + 300 <= minute < DAY + 330
    errors = lines // 3 if on_fault else rng.randrange(3)
    latency_us = rng.randrange(40_000, 60_000) * (8 if DAY + 700 <= minute < DAY + 720 else 1)
    if DAY + 900 <= minute < DAY + 910:
        lines = errors = 0
    bins = {latency_bin(latency_us): lines} if lines else {}
    return WindowSummary(
        "t",
        service,
        START_US + minute * MINUTE_US,
        60,
        lines=lines,
        errors=errors,
        requests=lines,
        severities={200: lines - errors, 500: errors} if errors else {200: lines},
        latency_count=lines,
        latency_bins=bins,
        endpoints={"GET /a": RequestStats(lines, errors, 0, bins)} if lines else {},
        patterns={
            "p1": PatternStats("done <*>", lines - errors, 0, 200, []),
            "p2": PatternStats("failed <*>", errors, errors, 500, [], is_new=minute == DAY + 300),
        },
        pane_index=pane,
    )


def walk(
    windows: list[WindowSummary], step: TrackHistory, state: ServiceMemory | None = None
) -> tuple[list[WindowHistory], ServiceMemory]:
    state = step.initial() if state is None else state
    return [
        history for value in windows for history in step.step(state, value, is_late=value.pane_index > 0)
    ], state


def findings_of(histories: list[WindowHistory]) -> list[tuple[int, list[Finding]]]:
    return [(one.summary.window_start_us, one.findings) for one in histories if one.findings]


def services_of(histories: list[WindowHistory]) -> list[BaselineSnapshot]:
    return [row for one in histories for row in one.snapshots if not row.signal]


def start_from(snapshot: BaselineSnapshot) -> WindowSummary:
    return snapshot_event(snapshot).value[1]


def learned(minutes: int = 90) -> ServiceBaselines:
    return walk([window(minute) for minute in range(minutes)], TrackHistory())[1].baselines


def a_snapshot(minutes: int = 60) -> BaselineSnapshot:
    return services_of(
        walk([window(minute) for minute in range(minutes)], TrackHistory(snapshot_us=HOUR_US))[0]
    )[-1]


@pytest.fixture(scope="module")
def two_days() -> tuple[list[WindowHistory], ServiceMemory]:
    """One run over a day and 1,000 minutes."""
    return walk([window(minute) for minute in range(DAY + 1000)], TrackHistory(snapshot_us=5 * MINUTE_US))


# ------------------------------------------------------------------------------- when, and what


def test_a_snapshot_is_taken_by_the_window_that_ends_the_hour() -> None:
    """Once an hour of event time, as of the end of that window, a row for each signal and one for all."""
    histories, state = walk([window(minute) for minute in range(185)], TrackHistory(snapshot_us=HOUR_US))
    taken = [(n, one.snapshots) for n, one in enumerate(histories) if one.snapshots]
    assert [n for n, _ in taken] == [59, 119, 179]
    assert [rows[0].as_of for _, rows in taken] == [START_US + hour * HOUR_US for hour in (1, 2, 3)]
    assert {row.signal for row in taken[-1][1]} == {"", *state.baselines.levels.names}
    assert [bool(row.state) for row in taken[-1][1]] == [True] + [False] * len(state.baselines.levels.names)
    tables = [table for table, _ in window_rows(("t", "s"), histories[59])]
    assert tables.count("baselines") == len(taken[0][1])


def test_an_hour_whose_last_window_is_missing_is_told_by_the_next_one() -> None:
    """As of the end of the newest window there was, before the new one teaches."""
    values = [window(minute) for minute in (*range(50), 75, 76)]
    histories, _ = walk(values, TrackHistory(snapshot_us=HOUR_US))
    assert [n for n, one in enumerate(histories) if one.snapshots] == [50]
    assert histories[50].snapshots[0].as_of == START_US + 50 * MINUTE_US
    assert histories[50].snapshots[0].windows == learned_windows(learned(50))


def test_late_panes_bring_no_snapshot_and_zero_minutes_none_at_all() -> None:
    """What comes late has taught nothing, and --snapshot_minutes 0 turns snapshots off."""
    late = [*(window(minute) for minute in range(58)), window(70), window(59, pane=1), window(60, pane=1)]
    histories, _ = walk(late, TrackHistory(snapshot_us=HOUR_US))
    assert [n for n, one in enumerate(histories) if one.snapshots] == [58]
    assert not services_of(walk([window(minute) for minute in range(130)], TrackHistory(snapshot_us=0))[0])


def test_a_signal_is_learning_then_ready_and_alarming_while_an_episode_is_open(
    two_days: tuple[list[WindowHistory], ServiceMemory],
) -> None:
    """Status, what is missing and the band follow what the detector knows."""
    histories = two_days[0]

    def error_rate(minute: int) -> BaselineSnapshot:
        rows = histories[minute - 1].snapshots
        return next(row for row in rows if row.signal == "error_rate")

    young, grown, alarming = error_rate(10), error_rate(DAY), error_rate(DAY + 310)
    assert (young.status, young.windows, young.windows_missing, young.baseline) == ("learning", 10, 10, None)
    assert young.cautious_until == START_US + DAY * MINUTE_US
    assert (grown.status, grown.windows_missing, grown.cautious_until) == ("ready", 0, None)
    assert grown.baseline is not None
    assert grown.band_low is not None
    assert grown.band_high is not None
    assert grown.band_low <= grown.baseline < 0.05 < grown.band_high < 0.3
    assert (alarming.status, alarming.alarms) == ("alarming", 1.0)
    lines = next(row for row in histories[DAY - 1].snapshots if row.signal == "lines")
    assert lines.hours_known == 23  # the hour under way counts when it is over
    assert lines.baseline == pytest.approx(95, rel=0.1)
    latency = next(row for row in histories[DAY - 1].snapshots if row.signal == "endpoint_latency_ms.GET /a")
    assert latency.baseline == pytest.approx(50, rel=0.15)


def test_the_bytes_do_not_depend_on_the_order_in_which_bins_came() -> None:
    """Equal memories have equal snapshots."""
    one, other = learned(), learned()
    one.latencies.bins, other.latencies.bins = {3: 1, 5: 2}, {5: 2, 3: 1}
    assert encode_baselines(one) == encode_baselines(other)


# ------------------------------------------------------------------------------------ going on


def test_a_run_from_a_snapshot_finds_what_one_run_over_all_finds(
    two_days: tuple[list[WindowHistory], ServiceMemory],
) -> None:
    """A day, a snapshot, and a new job over the next day: the same findings, bands and memory."""
    snapshot = services_of(two_days[0][:DAY])[-1]
    assert snapshot.as_of == START_US + DAY * MINUTE_US
    next_day = [window(minute) for minute in range(DAY, DAY + 1000)]
    histories, state = walk([start_from(snapshot), *next_day], TrackHistory(snapshot_us=5 * MINUTE_US))
    expected = two_days[0][DAY:]
    assert {finding.detector for _, found in findings_of(expected) for finding in found} == {
        "level", "silence", "new_pattern", "request_lines",
    }  # fmt: skip
    assert findings_of(histories) == findings_of(expected)
    assert [one.bands for one in histories] == [one.bands for one in expected]
    assert [one.snapshots for one in histories] == [one.snapshots for one in expected]
    assert encode_baselines(state.baselines) == encode_baselines(two_days[1].baselines)


def test_a_snapshot_from_within_an_hour_goes_on_exactly_too(
    two_days: tuple[list[WindowHistory], ServiceMemory],
) -> None:
    """Whatever is under way (an hour, an episode, a silence) is in it."""
    for minute in (DAY + 305, DAY + 905):
        snapshot = services_of(two_days[0][:minute])[-1]
        assert snapshot.as_of == START_US + minute * MINUTE_US
        assert snapshot.status == "alarming"
        rest = [window(n) for n in range(minute, DAY + 1000)]
        histories, _ = walk([start_from(snapshot), *rest], TrackHistory())
        assert findings_of(histories) == findings_of(two_days[0][minute:])


def test_signals_with_detectors_of_their_own_are_in_it() -> None:
    """What an operator's file gives to another detector is described, and goes on exactly, too."""
    book = load_book(
        "signals:\n  - {signal: error_rate, detector: learned, settings: {learning_hours: 2}}\n"
        "  - {signal: lines, detector: off}\n"
    )
    values = [window(minute) for minute in range(DAY, DAY + 400)]
    whole, _ = walk(values, TrackHistory(book, HOUR_US))
    by_signal = [{row.signal: row for row in one.snapshots} for one in whole if one.snapshots]
    assert "lines" not in by_signal[0]
    young, grown = by_signal[0]["error_rate"], by_signal[3]["error_rate"]
    assert (young.detector, young.status, young.windows, young.windows_missing) == (
        "learned",
        "learning",
        60,
        60,
    )
    assert (grown.status, grown.windows, grown.windows_missing) == ("ready", 240, 0)
    assert grown.band_high is not None
    snapshot = services_of(whole)[3]
    rest, _ = walk([start_from(snapshot), *values[240:]], TrackHistory(book, HOUR_US))
    assert "learned" in {finding.detector for _, found in findings_of(whole) for finding in found}
    assert findings_of(rest) == findings_of(whole[240:])


def test_a_snapshot_takes_the_place_of_less(caplog: pytest.LogCaptureFixture) -> None:
    """A window from before it costs nothing; a key that knows more, or something newer, keeps that."""
    snapshot = a_snapshot(120)
    _, begun = walk([window(100), start_from(snapshot)], TrackHistory())
    assert learned_windows(begun.baselines) == snapshot.windows
    step = TrackHistory()
    more = [window(minute) for minute in range(-200, 120)]
    state = walk(more, step)[1]
    before = encode_baselines(state.baselines)
    with caplog.at_level(logging.WARNING):
        walk([start_from(snapshot)], step, state)
        assert encode_baselines(state.baselines) == before
        state = walk([window(130)], step)[1]
        list(step.step(state, start_from(snapshot), is_late=True))
    assert learned_windows(state.baselines) == 1
    assert "1 snapshots of --warm_start were not taken" in caplog.text
    assert "2 snapshots of --warm_start were not taken" in caplog.text


def test_windows_that_the_snapshot_knows_teach_nothing_again() -> None:
    """Lines from before it that come after it are compared with nothing, and change nothing."""
    snapshot = a_snapshot(120)
    step = TrackHistory(snapshot_us=HOUR_US)
    histories, state = walk([start_from(snapshot), window(60), window(119)], step)
    assert encode_baselines(state.baselines) == snapshot.state
    assert [one.snapshots for one in histories] == [[], []]


# --------------------------------------------------------------------------- versions, damage


def test_the_golden_state_still_decodes() -> None:
    """What version 1 wrote is read, goes on, and is written again as it was.

    Where this fails, jobs cannot be updated: give STATE_VERSION the next number, and this file a new one.
    """
    golden = json.loads((GOLDEN / f"baselines_v{STATE_VERSION}.json").read_text())
    memory = decode_baselines(golden["state"], golden["state_version"])
    assert {name: learned_of(memory)[name] for name in golden["windows"]} == golden["windows"]
    assert len(memory.reports) == golden["reports"] > 0
    assert len(memory.new_patterns.watched) == golden["watched"] > 0
    assert decode_baselines(encode_baselines(memory), STATE_VERSION) == memory
    state = ServiceMemory(baselines=memory)
    histories, _ = walk([window(minute) for minute in range(DAY + 305, DAY + 1000)], TrackHistory(), state)
    assert findings_of(histories)


def learned_of(memory: ServiceBaselines) -> dict[str, int]:
    """Windows that taught each signal."""
    return dict(zip(memory.levels.names, map(int, LevelBank(memory.levels).windows), strict=True))


def test_another_version_is_refused_with_what_to_do() -> None:
    """The text says which versions, and how to mend it."""
    snapshot = a_snapshot()
    with pytest.raises(
        SnapshotError, match=r"version 7, and .* reads 1: make it anew with `aiops warm-start`"
    ):
        decode_baselines(snapshot.state, 7)


def packed(memory: Any) -> str:
    return base64.b64encode(zstandard.compress(msgspec.msgpack.encode(memory))).decode()


def altered(**changes: Any) -> str:
    memory = learned(40)
    for path, value in changes.items():
        target: Any = memory
        *parts, last = path.split("__")
        for part in parts:
            target = getattr(target, part)
        setattr(target, last, value(getattr(target, last)) if callable(value) else value)
    return packed(memory)


def poisoned(number: float) -> Callable[[bytes], bytes]:
    def change(numbers: bytes) -> bytes:
        table = np.frombuffer(numbers).copy()
        table[3] = number
        return table.tobytes()

    return change


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("", "damaged"),
        ("not base64!", "damaged"),
        (base64.b64encode(b"no zstd").decode(), "damaged"),
        (base64.b64encode(zstandard.compress(b"\xc1 no msgpack")).decode(), "damaged"),
        (base64.b64encode(zstandard.compress(b"\x91" * 100_000)).decode(), "damaged"),
        (base64.b64encode(zstandard.compress(bytes(MAX_STATE_BYTES + 1))).decode(), "unpack to more"),
        ("A" * (2 * MAX_STATE_BYTES + 1), "longer than"),
        (packed([1, 2]), "damaged"),
        (packed(BankState()), "damaged"),
        (altered(levels__version=2), "levels are of version 2"),
        (altered(levels__numbers=lambda numbers: numbers[:-8]), "do not fit"),
        (altered(levels__season=b""), "do not fit"),
        (altered(levels__numbers=poisoned(math.nan)), "no number"),
        (altered(levels__numbers=poisoned(1e300)), "beyond all bounds"),
        (altered(levels__numbers=poisoned(-5.0)), "negative"),
        (altered(singles={"x": SingleState("learned", b"", 0)}), "does not know"),
        (altered(levels__slot=168), "hour"),
        (altered(levels__names=lambda names: [*names[:-1], names[0]]), "doubled"),
        (altered(levels__names=lambda names: [*names[:-1], "unheard_of.x"]), "does not know"),
        (altered(levels__names=lambda names: [*names[:-1], "severity.x"]), "does not know"),
        (altered(levels__seasonal=lambda names: [*names[:-1], "pattern.p1"]), "belong to patterns"),
        (altered(levels__seasonal=lambda names: [*names[:-1], "x"]), "doubled or missing"),
        (altered(latencies__bins={10**9: 1}), "latencies"),
        (altered(silence__expected=math.inf), "beyond all bounds"),
        (altered(reports={str(n): None for n in range(3)}), "damaged"),
    ],
)
def test_damaged_states_are_refused_before_they_do_harm(state: str, cause: str) -> None:
    """Whatever is wrong with a state, it is a SnapshotError that names no content."""
    with pytest.raises(SnapshotError, match=cause):
        decode_baselines(state, STATE_VERSION)


# -------------------------------------------------------------------------------------- files


def write(path: Path, *snapshots: BaselineSnapshot, **changes: Any) -> str:
    rows = [msgspec.json.encode(msgspec.structs.replace(one, **changes)) for one in snapshots]
    path.write_bytes(b"\n".join(rows) + b"\n")
    return str(path)


def test_files_are_checked_by_line(tmp_path: Path) -> None:
    """The text names file and line, the cause, and the mend."""
    good = a_snapshot()
    sound = write(tmp_path / "sound", good)
    signal = msgspec.structs.replace(good, signal="lines", state="")
    assert check_snapshots([sound, write(tmp_path / "two", good, signal)], 60) == 1
    wrong = {
        "line 2: it is of state version 9": {"state_version": 9},
        "line 2: it was learned from windows of 10 s.*--window_seconds 10": {"window_seconds": 10},
        r"line 2: its time \(as_of\)": {"as_of": -5},
        "line 2: its state is newer than its time": {"as_of": START_US},
        "line 2: it names no tenant": {"tenant_id": ""},
        "line 2: its state is damaged": {"state": good.state[:-8]},
    }
    for expected, changes in wrong.items():
        path = write(tmp_path / "wrong", good, msgspec.structs.replace(good, **changes))
        with pytest.raises(SnapshotFileError, match=expected):
            check_snapshots([sound, path], 60)
    for content, expected in (
        (b"", "is empty"),
        (b"\xff\xfe\n", "line 1: it is no snapshot in JSON"),
        (b'{"tenant_id": "t"}\n', "line 1: it is no snapshot in JSON"),
        (b"[" * 200_000 + b"\n", "line 1: it is no snapshot in JSON"),
        (b"x" * (9 << 20), "line 1: it is longer than"),
    ):
        (tmp_path / "wrong").write_bytes(content)
        with pytest.raises(SnapshotFileError, match=expected):
            check_snapshots([str(tmp_path / "wrong")], 60)
    with pytest.raises(SnapshotFileError, match="leave --warm_start out"):
        check_snapshots([str(tmp_path / "missing")], 60)


# --------------------------------------------------------------------------------------- Beam


def timed(summary: WindowSummary) -> TimestampedValue:
    end = summary.window_start_us / 1_000_000 + 59.999
    return TimestampedValue(((summary.tenant_id, summary.service), summary), end)


def keyed_type() -> Any:
    return beam.typehints.Tuple[beam.typehints.Tuple[str, str], WindowSummary]


def test_over_bounded_input_the_snapshot_comes_first(tmp_path: Path) -> None:
    """Files of snapshots and shuffled windows: each service goes on from its own."""
    path = write(tmp_path / "w", a_snapshot(120), msgspec.structs.replace(a_snapshot(60), service="other"))
    values = [window(minute, service=name) for minute in range(120, 150) for name in ("s", "other")]
    random.Random(1).shuffle(values)

    def check(found: list[tuple[tuple[str, str], WindowHistory]]) -> None:
        bands = {
            service: sum("lines" in history.bands for key, history in found if key[1] == service)
            for service in ("s", "other")
        }
        assert bands == {"s": 30, "other": 30}

    with beam.Pipeline(runner=FnApiRunner()) as root:
        warm = root | ReadSnapshots([path], 60)
        windows = root | beam.Create(values) | beam.Map(timed).with_output_types(keyed_type())
        assert_that(windows | WatchServices(NO_BOOK, HOUR_US, warm), check)


class _Collect(beam.DoFn):
    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def process(self, element: tuple[tuple[str, str], WindowHistory]) -> None:
        history = element[1]
        with Path(self._path).open("a") as file:
            file.write(f"{history.summary.window_start_us} {'lines' in history.bands}\n")


def test_snapshots_do_not_hold_back_a_stream(tmp_path: Path) -> None:
    """Windows come out as their watermark passes, before the stream ends; a lost file stops nothing."""
    out, path = tmp_path / "out", write(tmp_path / "w", a_snapshot(120))
    key_coder = beam.coders.TupleCoder((beam.coders.StrUtf8Coder(), beam.coders.StrUtf8Coder()))
    stream = TestStream(coder=beam.coders.TupleCoder((key_coder, StructCoder(WindowSummary))))
    for minute in range(120, 125):
        stream = stream.add_elements([timed(window(minute))]).advance_watermark_to(
            START_SECOND + 60 * minute + 60
        )

    class Peek(beam.DoFn):
        """Counts what is out when the last window comes in."""

        def process(self, element: Any) -> Any:
            if element[1].window_start_us == START_US + 124 * MINUTE_US:
                (tmp_path / "seen").write_text(str(len(out.read_text().splitlines())))
            yield element

    options = PipelineOptions(["--streaming"])
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as root:
        warm = root | ReadSnapshots([path, str(tmp_path / "gone")], 60)
        windows = root | stream.advance_watermark_to_infinity()
        peeked = windows | beam.ParDo(Peek()).with_output_types(keyed_type())
        _ = peeked | WatchServices(NO_BOOK, HOUR_US, warm) | beam.ParDo(_Collect(out))
    assert int((tmp_path / "seen").read_text()) >= 3
    lines = [line.split()[1] for line in out.read_text().splitlines()]
    assert lines == ["True"] * 5
