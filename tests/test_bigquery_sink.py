"""The sink with BigQuery's own client, against a server that answers as told: nothing lost, nothing twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
import fake_bigquery
import msgspec
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from fake_bigquery import PROJECT, Behavior, FakeBigQuery, answer, only_of
from google.auth.exceptions import DefaultCredentialsError
from sample_store import service_window

from pipeline.bigquery_client import EMULATOR_VARIABLE
from pipeline.bigquery_insert import MOST_BYTES, MOST_ROWS, InsertSettings
from pipeline.bigquery_sink import ROW_COUNTS, WriteToDataset
from pipeline.failed_rows import FailedRowsError, find_failed_rows, read_failed_rows
from transforms.coders import register_coders
from transforms.elements import DeadLetter, FailedRow, ServiceWindow

QUICK = InsertSettings(
    attempt_seconds=0.4, total_seconds=1.0, first_pause_seconds=0.01, longest_pause_seconds=0.05,
    breaker_seconds=30,
)  # fmt: skip
RUNNERS = [FnApiRunner, BundleBasedDirectRunner]
register_coders()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBigQuery]:
    ROW_COUNTS.clear()
    with fake_bigquery.fake_bigquery(monkeypatch) as running:
        yield running


@pytest.fixture
def dataset(request: pytest.FixtureRequest) -> str:
    """A dataset of its own for each test: what is known of an outage is shared by all who write one."""
    return f"{PROJECT}.d{abs(hash(request.node.nodeid))}"


def windows(number: int, **changes: object) -> list[ServiceWindow]:
    return [service_window("acme", f"s{at:04}", at, **changes) for at in range(number)]


def letters(number: int) -> list[DeadLetter]:
    return [DeadLetter(f"l{at:04}", "acme", "parse", "not_json", "", "x", 1, at) for at in range(number)]


def write(
    dataset: str,
    folder: Path,
    *rows: msgspec.Struct,
    runner: type = FnApiRunner,
    times: int = 1,
    **changes: object,
) -> None:
    """Write `rows`, with `fields` of windows so many times as long."""
    tables = {ServiceWindow: "service_windows", DeadLetter: "dead_letters"}
    named = [(tables[type(row)], row) for row in rows]
    settings = InsertSettings(**{**vars(QUICK), **changes})  # type: ignore[arg-type]
    with beam.Pipeline(runner=runner()) as pipeline:
        found = pipeline | beam.Create(named) | beam.Map(_enlarge, times)
        _ = {"all": found} | WriteToDataset(dataset, str(folder), settings)


def _enlarge(element: Any, times: int) -> Any:
    # In the job, not before: what Beam's Create holds is pickled and compressed.
    table, row = element
    is_window = isinstance(row, ServiceWindow)
    return table, msgspec.structs.replace(row, fields=row.fields * times) if is_window else row


def kept(folder: Path) -> list[FailedRow]:
    """Rows in the files of the folder, each once."""
    files = [read_failed_rows(path) for path in find_failed_rows(f"{folder}/*")]
    assert not any(file.damaged_lines for file in files)
    return list({row.failed_row_id: row for file in files for row in file.rows}.values())


@pytest.mark.parametrize("runner", RUNNERS)
def test_rows_are_in_their_tables(
    server: FakeBigQuery, dataset: str, tmp_path: Path, runner: type[Any]
) -> None:
    """Every row, in requests of at most 500 rows, and nothing in the folder."""
    write(dataset, tmp_path, *windows(1203), *letters(3), runner=runner)
    assert server.ids("service_windows", "service") == [f"s{at:04}" for at in range(1203)]
    assert server.ids("dead_letters", "dead_letter_id") == ["l0000", "l0001", "l0002"]
    assert max(rows for _, rows, _ in server.requests) <= MOST_ROWS
    assert not list(tmp_path.iterdir())
    assert ROW_COUNTS.taken == {"service_windows": 1203, "dead_letters": 3}


def test_requests_are_bounded_by_their_bytes(server: FakeBigQuery, dataset: str, tmp_path: Path) -> None:
    """Rows of a megabyte, with text that is six times longer on its way, are sent some at a time."""
    rows = [msgspec.structs.replace(window, fields="ä") for window in windows(3)]
    write(dataset, tmp_path, *rows, times=700_000, attempt_seconds=20, total_seconds=30)
    assert len(server.requests) == 2
    assert len(server.rows["service_windows"]) == 3
    assert max(size for _, _, size in server.requests) <= MOST_BYTES


@pytest.mark.parametrize(
    "behaviors",
    [
        [answer(500), answer(503), answer(502)],
        [answer(429, "rateLimitExceeded")],
        [answer(403, "rateLimitExceeded")],
        [fake_bigquery.hang],
        [fake_bigquery.break_off, fake_bigquery.break_off],
        [fake_bigquery.store_and_break_off, answer(503)],
        [fake_bigquery.babble],
    ],
    ids=["5xx", "429", "403 slow down", "hangs", "breaks off", "breaks off after storing", "no JSON"],
)
def test_what_passes_is_waited_for(
    server: FakeBigQuery, dataset: str, tmp_path: Path, behaviors: list[Behavior]
) -> None:
    """The same rows are sent again with the same insert ids until they are in their table, once."""
    server.behaviors += behaviors
    write(dataset, tmp_path, *windows(5), total_seconds=5)
    assert server.ids("service_windows", "service") == [f"s{at:04}" for at in range(5)]
    assert len(server.requests) == len(behaviors) + 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("behavior", "reason"),
    [
        (answer(503), "unavailable"),
        (answer(500), "unavailable"),
        (answer(429, "rateLimitExceeded"), "quota"),
        (answer(403, "quotaExceeded"), "quota"),
        (answer(403, "accessDenied"), "forbidden"),
        (answer(401, "authError"), "no_credentials"),
        (answer(404, "notFound"), "not_found"),
        (answer(400, "invalid"), "request_refused"),
        (fake_bigquery.hang, "unavailable"),
        (fake_bigquery.break_off, "unavailable"),
        (fake_bigquery.answer_of_another, "unavailable"),
    ],
    ids=["503", "500", "429", "quota", "403", "401", "404", "400", "hangs", "breaks off", "strange answer"],
)
def test_what_bigquery_does_not_take_is_kept_whole(
    server: FakeBigQuery, dataset: str, tmp_path: Path, behavior: Behavior, reason: str
) -> None:
    """The job goes on and ends; every row stands in a file of the folder, as it was sent."""
    server.always = behavior
    rows = windows(5)
    write(dataset, tmp_path, *rows)
    assert not any(server.rows.values())
    found = kept(tmp_path)
    assert {row.reason for row in found} == {reason}
    sent = [msgspec.json.decode(row.row_json) for row in found]
    assert sorted(row["service"] for row in sent) == [row.service for row in rows]
    assert {row["fields"] for row in sent} == {rows[0].fields}
    assert ROW_COUNTS.in_files == {("service_windows", reason): 5}


def test_one_table_that_is_not_there_does_not_harm_the_others(
    server: FakeBigQuery, dataset: str, tmp_path: Path
) -> None:
    """Rows of other tables are written, and a refusal that comes at once opens no breaker."""
    server.always = only_of("dead_letters", answer(404, "notFound"))
    write(dataset, tmp_path, *letters(2), *windows(3))
    assert len(server.rows["service_windows"]) == 3
    assert {row.table_name for row in kept(tmp_path)} == {"dead_letters"}


def test_a_row_that_is_refused_is_kept_in_a_table_and_the_others_are_written(
    server: FakeBigQuery, dataset: str, tmp_path: Path
) -> None:
    """Those that were only stopped are sent again; of the refused one no value stands in the detail."""
    server.refuse = lambda table, row: "invalid@fields" if row.get("service") == "s0002" else ""
    write(dataset, tmp_path, *windows(5))
    assert server.ids("service_windows", "service") == ["s0000", "s0001", "s0003", "s0004"]
    (failed,) = server.rows["failed_rows"]
    assert (failed["table_name"], failed["reason"], failed["detail"]) == (
        "service_windows", "refused", "invalid at fields",
    )  # fmt: skip
    assert msgspec.json.decode(failed["row_json"])["service"] == "s0002"
    assert "SECRET" not in str(failed)
    assert not list(tmp_path.iterdir())


def test_a_row_that_would_be_refused_is_not_sent(server: FakeBigQuery, dataset: str, tmp_path: Path) -> None:
    """A value that its column cannot hold costs that row alone, and no request that is refused."""
    bad = service_window("acme", "bad", 9, lines=1 << 63)
    write(dataset, tmp_path, *windows(2), bad)
    assert server.ids("service_windows", "service") == ["s0000", "s0001"]
    (failed,) = server.rows["failed_rows"]
    assert (failed["reason"], failed["tenant_id"]) == ("invalid", "acme")
    assert failed["detail"].startswith("lines: an integer outside 64 bits")
    assert len(server.requests) == 2
    assert ROW_COUNTS.in_table == {("service_windows", "invalid"): 1}


def test_the_job_counts_rows_that_were_not_taken(server: FakeBigQuery, dataset: str, tmp_path: Path) -> None:
    """The invalid, the refused and those of a missing table; without any the counter is known, at 0."""
    server.refuse = lambda table, row: "invalid@fields" if row.get("service") == "s0001" else ""
    server.always = only_of("dead_letters", answer(404, "notFound"))
    bad = service_window("acme", "bad", 9, lines=1 << 63)
    assert counted(dataset, tmp_path, [*windows(3), bad, *letters(2)]) == 4
    assert counted(dataset, tmp_path, [service_window("acme", "s0005", 5)]) == 0


def counted(dataset: str, folder: Path, rows: list[ServiceWindow | DeadLetter]) -> int:
    """What the counter of failed rows says of a run over `rows`."""
    tables = {ServiceWindow: "service_windows", DeadLetter: "dead_letters"}
    pipeline = beam.Pipeline(runner=FnApiRunner())
    found = pipeline | beam.Create([(tables[type(row)], row) for row in rows])
    _ = {"all": found} | WriteToDataset(dataset, str(folder), QUICK)
    counters = pipeline.run().metrics().query(MetricsFilter().with_name("failed_rows"))["counters"]
    assert counters, "it is not known"
    return sum(counter.committed for counter in counters)


def test_a_row_larger_than_a_request_is_kept_in_a_file(
    server: FakeBigQuery, dataset: str, tmp_path: Path
) -> None:
    """It fits no table, so neither failed_rows; the rows beside it are written."""
    large = msgspec.structs.replace(windows(1)[0], fields="x")
    write(dataset, tmp_path, *letters(2), large, times=MOST_BYTES, attempt_seconds=20, total_seconds=30)
    assert len(server.rows["dead_letters"]) == 2
    (failed,) = kept(tmp_path)
    assert (failed.reason, len(failed.row_json) > MOST_BYTES) == ("too_large", True)


def test_refused_rows_go_to_files_where_their_table_is_missing(
    server: FakeBigQuery, dataset: str, tmp_path: Path
) -> None:
    """Rows refused one by one, and invalid ones, are not lost with the table failed_rows."""
    server.refuse = lambda table, row: "invalid@fields" if row.get("service") == "s0001" else ""
    server.always = only_of("failed_rows", answer(404, "notFound"))
    write(dataset, tmp_path, *windows(2), service_window("acme", "bad", 9, lines=1 << 63))
    assert server.ids("service_windows", "service") == ["s0000"]
    assert sorted((row.table_name, row.reason) for row in kept(tmp_path)) == [
        ("failed_rows", "not_found"), ("service_windows", "refused"),
    ]  # fmt: skip


def test_an_outage_that_is_known_costs_no_time(server: FakeBigQuery, dataset: str, tmp_path: Path) -> None:
    """After one request that failed for long, the next ones are not made until a while has passed."""
    server.always = answer(503)
    write(dataset, tmp_path, *windows(3), total_seconds=0.3)
    asked = len(server.requests)
    begun = time.monotonic()
    write(dataset, tmp_path, *letters(1000), total_seconds=0.3)
    assert len(server.requests) == asked
    assert time.monotonic() - begun < 10
    assert len(kept(tmp_path)) == 1003


def test_after_an_outage_rows_are_written_again(server: FakeBigQuery, dataset: str, tmp_path: Path) -> None:
    """The breaker lets one request through after its time, and what is taken closes it."""
    server.always = answer(503)
    write(dataset, tmp_path, *windows(1), total_seconds=0.1, breaker_seconds=0.2)
    server.always = None
    time.sleep(0.25)
    write(dataset, tmp_path, *letters(2), breaker_seconds=0.2)
    assert len(server.rows["dead_letters"]) == 2


def test_a_bundle_that_runs_again_adds_nothing(server: FakeBigQuery, dataset: str, tmp_path: Path) -> None:
    """The insert ids are those of before, and so is the name of the file."""
    server.refuse = lambda table, row: "invalid@fields" if row.get("service") == "s0001" else ""
    server.always = only_of("dead_letters", answer(404, "notFound"))
    for _ in range(2):
        write(dataset, tmp_path, *windows(3), *letters(2))
    assert {table: len(rows) for table, rows in server.rows.items() if rows} == {
        "service_windows": 2, "failed_rows": 1,
    }  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 1


def test_missing_credentials_cost_no_rows(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a worker they are an outage like others."""

    def no_credentials(**_: object) -> None:
        raise DefaultCredentialsError

    monkeypatch.delenv(EMULATOR_VARIABLE, raising=False)
    monkeypatch.setattr("google.auth.default", no_credentials)
    write(dataset, tmp_path, *windows(2))
    assert {row.reason for row in kept(tmp_path)} == {"no_credentials"}


def test_a_folder_that_cannot_be_written_fails_the_bundle(
    server: FakeBigQuery, dataset: str, tmp_path: Path
) -> None:
    """Rows that can be kept nowhere are not dropped: the runner tries again, and the error says why."""
    server.always = answer(404, "notFound")
    (tmp_path / "file").touch()
    with pytest.raises(Exception, match="make the folder or bucket") as raised:
        write(dataset, tmp_path / "file", *windows(2))
    chain, error = [], raised.value
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    assert any(isinstance(link, FailedRowsError) for link in chain)


def test_a_thousand_failed_rows_are_one_warning(
    server: FakeBigQuery, dataset: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each kind is told once a minute, with the mend and without a payload."""
    server.always = answer(404, "notFound")
    with caplog.at_level(logging.WARNING, logger="pipeline.bigquery_sink"):
        write(dataset, tmp_path, *letters(1500))
    (record,) = [record for record in caplog.records if record.name == "pipeline.bigquery_sink"]
    assert "dead_letters (not_found" in record.getMessage()
    assert "aiops replay failed-rows" in record.getMessage()


class _Publish(beam.DoFn):
    """As publishers do: what came in is sent at the end of the bundle."""

    published: ClassVar[list[tuple[str, float]]] = []

    def start_bundle(self) -> None:
        self._pending: list[str] = []

    def process(self, element: tuple[str, ServiceWindow]) -> None:
        self._pending.append(element[1].service)

    def finish_bundle(self) -> None:
        self.published.extend((service, time.monotonic()) for service in self._pending)


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_is_beside_the_sink_does_not_wait_for_it(
    server: FakeBigQuery, dataset: str, tmp_path: Path, runner: type[Any]
) -> None:
    """While BigQuery hangs, what else is made of the same elements is out already: fusion is broken."""
    server.always = fake_bigquery.hang
    _Publish.published.clear()
    begun = time.monotonic()
    with beam.Pipeline(runner=runner()) as pipeline:
        found = pipeline | beam.Create([("service_windows", row) for row in windows(3)])
        _ = {"all": found} | WriteToDataset(dataset, str(tmp_path), InsertSettings(1, 1, 0.01, 0.05, 30))
        _ = found | "Publish" >> beam.ParDo(_Publish())
    took = time.monotonic() - begun
    assert sorted(service for service, _ in _Publish.published) == ["s0000", "s0001", "s0002"]
    assert took > 1
    assert max(at for _, at in _Publish.published) - begun < took - 0.8
    assert len(kept(tmp_path)) == 3


def test_windowed_rows_of_a_stream_are_written_as_they_come(
    server: FakeBigQuery, dataset: str, tmp_path: Path
) -> None:
    """Rows in windows reach the tables before the stream ends, without waiting for any watermark."""
    rows = [("service_windows", row) for row in windows(4)]
    stream = (
        TestStream(coder=beam.coders.PickleCoder())
        .add_elements(rows[:2])
        .advance_processing_time(1)
        .add_elements(rows[2:])
        .advance_watermark_to_infinity()
    )
    options = PipelineOptions(streaming=True)
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        found = pipeline | stream | beam.WindowInto(beam.window.FixedWindows(60))
        _ = {"all": found} | WriteToDataset(dataset, str(tmp_path), QUICK)
    assert server.ids("service_windows", "service") == [f"s{at:04}" for at in range(4)]
    assert len(server.requests) >= 2
