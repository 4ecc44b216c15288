"""The ledger watched while a stream runs: what is lost shows as a difference, in any order."""

from __future__ import annotations

import logging
import random
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue
from hypothesis import given
from hypothesis import strategies as st

from pipeline import graph
from pipeline.graph import build_graph
from pipeline.rules_source import WatchRules
from pipeline.settings import Settings
from pipeline.stage_settings import graph_settings
from transforms.coders import register_coders
from transforms.elements import DeadLetter, LedgerEntry, MetricWindow, PayloadBatch, WindowSummary
from transforms.ledger.transform import WatchLedger
from transforms.ledger.watch import LedgerDifference, LedgerPart, difference_of, parts_of, settled_at_us
from transforms.summarize.transform import SummarizeWindows
from transforms.windowing import ALLOWED_LATENESS_SECONDS

START_SECOND = 1_768_226_400  # 2026-01-12T14:00:00Z
MINUTE = START_SECOND * 1_000_000
FOUND: list[LedgerDifference] = []

PARTS = st.lists(
    st.builds(
        LedgerPart,
        balance=st.integers(-50, 50),
        row=st.integers(1, 4),
        revision=st.integers(0, 3),
    ),
    max_size=12,
    unique_by=lambda part: (part.row, part.revision),
)
DELTAS = st.lists(st.builds(LedgerPart, balance=st.integers(-50, 50)), max_size=5)


@given(DELTAS, PARTS, st.randoms(use_true_random=False), st.integers(1, 3))
def test_the_difference_depends_on_no_order_and_on_no_copies(
    deltas: list[LedgerPart], rows: list[LedgerPart], shuffle: random.Random, copies: int
) -> None:
    """Rows may come in any order and several times; of each only the last revision counts, deltas all do."""
    last: dict[int, LedgerPart] = {}
    for part in rows:
        if part.row not in last or part.revision > last[part.row].revision:
            last[part.row] = part
    expected = sum(part.balance for part in [*deltas, *last.values()])
    mixed = [*deltas, *rows * copies]
    shuffle.shuffle(mixed)
    assert difference_of(mixed) == expected


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6))
def test_a_minute_balances_when_every_line_ended_somewhere(services: list[tuple[int, int, int]]) -> None:
    """Analyzed, duplicate, dead-lettered, late and filtered lines together are those received."""
    values: list[Any] = []
    for number, (analyzed, duplicate, dead) in enumerate(services):
        values.append(LedgerEntry("acme", MINUTE, analyzed + duplicate + dead + 2, 1, 1))
        values.append(
            WindowSummary(
                "acme", f"s{number}", MINUTE, 60, ledger={MINUTE // 60_000_000: [analyzed, duplicate]}
            )
        )
        if dead:
            values.append(letter(f"d{number}", dead))
    parts = [part for value in values for key, part in parts_of(value) if key == ("acme", "logs", MINUTE)]
    assert difference_of(parts) == 0
    assert difference_of(parts[1:]) == -parts[0].balance


def letter(dead_letter_id: str, count: int = 1, stage: str = "parse", revision: int = 0) -> DeadLetter:
    return DeadLetter(dead_letter_id, "acme", stage, "not_json", "", "", 1, MINUTE, count, revision)


def test_sources_do_not_mix_and_commands_are_in_no_ledger() -> None:
    """Points of metrics balance by themselves; a command or an alert event is no line."""
    window = msgspec.convert(
        {"tenant_id": "acme", "service": "cart", "series_id": "s", "window_start": MINUTE, "window_end": 0,
         "revision": 2, "instance": "", "metric_type": "", "statistic": "", "labels": "{}", "unit": "",
         "points": 4, "value": None, "min": None, "max": None, "baseline": None, "band_low": None,
         "band_high": None, "score": 0.0, "label": "", "ledger": f'{{"{START_SECOND}":[3,1]}}'},
        MetricWindow,
    )  # fmt: skip
    ((key, part),) = parts_of(window)
    assert (key, part.balance, part.revision) == (("acme", "metrics", MINUTE), -4, 2)
    ((key, part),) = parts_of(letter("m", 3, stage="parse_metrics"))
    assert (key, part.balance) == (("acme", "metrics", MINUTE), -3)
    assert list(parts_of(letter("c", stage="parse_commands"))) == []
    assert list(parts_of(letter("a", stage="publish_alerts"))) == []


def test_a_minute_is_judged_when_nothing_of_it_can_change() -> None:
    """Its newest line may be 5 minutes ahead; the window of that is revised for 70 minutes after its end."""
    last_pane = START_SECOND + 60 + 300 + 60 + ALLOWED_LATENESS_SECONDS
    assert settled_at_us(MINUTE, 60, ALLOWED_LATENESS_SECONDS) // 1_000_000 > last_pane


# -------------------------------------------------------------------------------- the whole job


def line(number: int, minute: int) -> bytes:
    return msgspec.json.encode(
        {
            "insertId": f"i{minute}-{number}",
            "logName": "projects/acme/logs/stdout",
            "timestamp": f"2026-01-12T14:0{minute}:30Z",
            "receiveTimestamp": f"2026-01-12T14:0{minute}:31Z",
            "resource": {"type": "cloud_run_revision", "labels": {"service_name": "cart"}},
            "textPayload": f"checkout {number} done",
        }
    )


class TwoMinutes(beam.PTransform):
    """20 lines and 2 that are broken in the first minute, 5 in the second; then time passes."""

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        first = [line(number, 0) for number in range(20)] + [line(1, 0)[:-9], b'{"textPayload": "no time"}']
        second = [line(number, 1) for number in range(5)]
        stream = (
            TestStream()
            .advance_watermark_to(START_SECOND)
            .add_elements([TimestampedValue(PayloadBatch(first), START_SECOND + 30)])
            .advance_watermark_to(START_SECOND + 70)
            .add_elements([TimestampedValue(PayloadBatch(second), START_SECOND + 90)])
        )
        for hours in (1, 2, 3):
            stream = stream.advance_watermark_to(START_SECOND + 3600 * hours)
        return root | stream.advance_watermark_to_infinity()


class LosesTheFirst(beam.PTransform):
    """SummarizeWindows of which one partial is lost."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self._real = SummarizeWindows(settings)

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return batches | self._real | beam.Filter(lambda pair: pair[1].window_start_us != MINUTE)


def collect(found: LedgerDifference) -> None:
    FOUND.append(found)


def run_stream(source: beam.PTransform | None = None) -> list[LedgerDifference]:
    FOUND.clear()
    settings = graph_settings(Settings(input=["-"], received_at="2026-01-12T14:00:00Z"))
    options = PipelineOptions(["--streaming"])
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        outputs = build_graph(pipeline, source or TwoMinutes(), WatchRules(), settings)
        _ = outputs.differences | beam.Map(collect)
    return list(FOUND)


def test_a_stream_that_loses_nothing_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    """Lines and dead letters of both minutes are accounted for; the log has no word of it."""
    assert run_stream() == []
    assert not [record for record in caplog.records if "ledger" in record.getMessage()]


def test_a_partial_that_is_lost_shows_while_the_job_runs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The minute of the lost window is named with its 20 lines, the other one is not."""
    monkeypatch.setattr(graph, "SummarizeWindows", LosesTheFirst)
    assert run_stream() == [LedgerDifference("acme", "logs", MINUTE, 20)]
    (warning,) = [record for record in caplog.records if "ledger" in record.getMessage()]
    assert warning.levelno == logging.WARNING
    assert warning.getMessage() == (
        "The ledger of a minute does not balance tenant_id=acme source=logs "
        "receive_minute=2026-01-12T14:00:00Z difference=20"
    )


class LongPast(beam.PTransform):
    """Lines hours after the watermark has passed them, as a seek under a running job brings them."""

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        stream = TestStream().advance_watermark_to(START_SECOND + 5 * 3600)
        lines = [line(number, 0) for number in range(20)] + [b"{"]
        stream = stream.add_elements([TimestampedValue(PayloadBatch(lines), START_SECOND + 30)])
        return root | stream.advance_watermark_to(START_SECOND + 6 * 3600).advance_watermark_to_infinity()


def test_lines_that_come_when_their_windows_are_over_show() -> None:
    """Tables lack them on both sides and would balance; Parse has counted them."""
    found = run_stream(LongPast())
    assert sum(one.difference for one in found) == 21
    assert {one.receive_minute for one in found} == {MINUTE}


def test_the_counter_grows_by_what_is_missing_and_is_known_before(caplog: pytest.LogCaptureFixture) -> None:
    """One minute lacks 3 lines, one has 2 too many; a third one counts as judged, with 0."""
    register_coders()
    deltas = [LedgerEntry("acme", MINUTE + 60_000_000 * n, 10, 0, 0) for n in range(3)]
    windows = [
        WindowSummary(
            "acme", "cart", delta.receive_minute, 60, ledger={delta.receive_minute // 60_000_000: [n, 0]}
        )
        for delta, n in zip(deltas, (7, 12, 10), strict=True)
    ]
    pipeline = beam.Pipeline(runner=FnApiRunner())
    ends = [
        pipeline | f"End{number}" >> beam.Create(values).with_output_types(kind)
        for number, (values, kind) in enumerate(
            [(deltas, LedgerEntry), (windows, WindowSummary), ([], DeadLetter)]
        )
    ]
    _ = tuple(ends) | WatchLedger(60)
    result = pipeline.run()
    counters = {one.key.metric.name: one.committed for one in result.metrics().query()["counters"]}
    assert counters == {"ledger_minutes": 3, "ledger_difference": 5}
