"""The DuckDB store: append-only tables, views of the last revision, the ledger's balance, clear errors."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import apache_beam as beam
import duckdb
import msgspec
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import duckdb_store
from pipeline.columns import arrow_table
from pipeline.store import DuckDBStore, StoreError, WriteToStore
from pipeline.tables import TABLES, struct_columns, table_columns
from transforms.elements import (
    MINUTE_US,
    Anomaly,
    AnomalyMetric,
    DeadLetter,
    Evidence,
    Example,
    LedgerEntry,
    LogPattern,
    ServiceWindow,
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "aiops.duckdb")


_PLAIN_VALUES = {"STRING": "", "INTEGER": 0, "FLOAT": 0.0, "BOOLEAN": False, "TIMESTAMP": 0}


def filled(struct: type[msgspec.Struct], **values: Any) -> Any:
    """A `struct` with a plain value in each field that `values` leaves out."""
    plain = {
        column.name: [] if column.mode == "REPEATED" else _PLAIN_VALUES[column.kind]
        for column in struct_columns(struct)
    }
    return struct(**(plain | values))


def window(minute: int = 0, *, lines: int = 0, ledger: str = "{}", **values: Any) -> Any:
    known = {"tenant_id": "acme", "service": "checkout", "window_start": minute * MINUTE_US, "lines": lines}
    return filled(ServiceWindow, **(known | {"ledger": ledger} | values))


def received(minute: int, count: int, **values: Any) -> LedgerEntry:
    known = {
        "tenant_id": "acme",
        "receive_minute": minute * MINUTE_US,
        "received": count,
        "late": 0,
        "filtered": 0,
    }
    return LedgerEntry(**(known | values))


def dead(minute: int, name: str, count: int = 1, **values: Any) -> Any:
    known = {
        "tenant_id": "acme",
        "dead_letter_id": name,
        "receive_minute": minute * MINUTE_US,
        "count": count,
    }
    return filled(DeadLetter, **(known | values))


# -------------------------------------------------------------------------------------- rows


def test_rows_come_back_as_they_went_in(path: str) -> None:
    """Nested records, nulls, times and text of any script survive the way to the file and back."""
    evidence = [
        Evidence("p", "läuft 猫 \x00", 3, [Example(-(2**63), 5, "i", "m"), Example(2**63 - 1, 6, "j", "")])
    ]
    metrics = [AnomalyMetric("error_rate", 0.5), AnomalyMetric("x", 1e300, band_low=-0.0)]
    row = filled(
        Anomaly,
        anomaly_id="a",
        window_start=1_767_261_600_123_456,
        metrics=metrics,
        evidence=evidence,
        recommended_actions=["look", ""],
    )
    empty = filled(Anomaly, anomaly_id="b")
    with DuckDBStore(path) as store:
        store.append("anomalies", [row, empty])
    with DuckDBStore(path, read_only=True) as store:
        first, second = store.query(
            "SELECT *, epoch_us(window_start) AS us FROM anomalies ORDER BY anomaly_id"
        )
    assert first["us"] == row.window_start
    assert first["metrics"] == [msgspec.structs.asdict(metric) for metric in metrics]
    assert first["evidence"][0]["examples"] == [msgspec.structs.asdict(e) for e in evidence[0].examples]
    assert (first["evidence"][0]["pattern"], first["recommended_actions"]) == ("läuft 猫 \x00", ["look", ""])
    assert (second["metrics"], second["evidence"]) == ([], [])


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text(st.characters()), min_size=1, max_size=5))
def test_any_text_can_be_stored(texts: list[str]) -> None:
    """No text makes the store fail; lone surrogates, which UTF-8 has not, become question marks."""
    rows = [filled(LogPattern, pattern_id=str(place), pattern=text) for place, text in enumerate(texts)]
    batch = arrow_table("log_patterns", rows, 0)
    expected = [text.encode("utf-8", "replace").decode() for text in texts]
    assert batch.column("pattern").to_pylist() == expected


def test_an_integer_beyond_64_bits_is_refused_by_column(path: str) -> None:
    """The error names the column and not the value."""
    with DuckDBStore(path) as store, pytest.raises(StoreError, match="Column count") as caught:
        store.append("log_patterns", [filled(LogPattern, count=2**63)])
    assert str(2**63) not in str(caught.value)


def test_a_failed_append_leaves_nothing_behind(path: str) -> None:
    """A batch is stored whole or not at all, and the store goes on."""
    with DuckDBStore(path) as store:
        with pytest.raises(StoreError):
            store.append("ledger", [received(0, 1), received(1, 1, tenant_id=None)])
        store.append("ledger", [received(2, 5)])
        assert [row["received"] for row in store.query("SELECT received FROM ledger")] == [5]


def test_written_at_always_grows(path: str) -> None:
    """Two batches never have the same time of writing, even when the clock stands still or jumps back."""
    ticks = iter([5_000_000, 5_000_000, 1_000_000])
    with DuckDBStore(path, clock=lambda: next(ticks)) as store:
        for count in range(3):
            store.append("ledger", [received(0, count)])
        rows = store.query("SELECT received, epoch_us(written_at) AS us FROM ledger ORDER BY written_at")
        assert [row["us"] for row in rows] == [5_000, 5_001, 5_002]
        assert store.query("SELECT received FROM current_ledger") == [{"received": 2}]


# ------------------------------------------------------------------------------------- views


def test_views_show_the_last_revision_of_each_key(path: str) -> None:
    """The highest revision counts, whenever it was written; of equal revisions the last written."""
    with DuckDBStore(path) as store:
        store.append("service_windows", [window(revision=1, lines=9), window(1, lines=4)])
        store.append("service_windows", [window(revision=0, lines=5), window(1, lines=6)])
        rows = store.query("SELECT lines FROM current_service_windows ORDER BY window_start")
    assert [row["lines"] for row in rows] == [9, 6]


def test_patterns_of_an_earlier_pane_vanish(path: str) -> None:
    """A late pane that merged two patterns into one replaces both."""
    with DuckDBStore(path) as store:
        store.append("log_patterns", [filled(LogPattern, pattern_id=name, count=1) for name in "ab"])
        store.append("log_patterns", [filled(LogPattern, pattern_id="c", count=3, revision=1)])
        assert store.query('SELECT pattern_id, "count" FROM current_log_patterns') == [
            {"pattern_id": "c", "count": 3}
        ]


def test_writing_everything_twice_changes_no_view(path: str) -> None:
    """A run that was killed and repeated over the same input ends in the same views."""
    batches = {
        "service_windows": [window(m, lines=3, ledger=f'{{"{60 * m}":[3,0]}}') for m in range(5)],
        "log_patterns": [filled(LogPattern, pattern_id=str(p), count=p) for p in range(5)],
        "anomalies": [filled(Anomaly, anomaly_id=str(a)) for a in range(5)],
        "dead_letters": [dead(m, f"d{m}") for m in range(5)],
        "ledger": [received(m, 4) for m in range(5)],
    }
    with DuckDBStore(path) as store:
        for table, rows in batches.items():
            store.append(table, rows[:3])
        for table, rows in batches.items():
            store.append(table, rows)
        for table, rows in batches.items():
            columns = ", ".join(f'"{column.name}"' for column in table_columns(table)[:-1])
            stored = store.query(f"SELECT {columns} FROM current_{table}")
            assert len(stored) == len(rows)
        assert store.ledger_totals()["balanced"]


# ------------------------------------------------------------------------------------ ledger


def balance(store: DuckDBStore) -> list[tuple[int, int, bool]]:
    rows = store.query("SELECT received, difference, balanced FROM ledger_balance ORDER BY receive_minute")
    return [(row["received"], row["difference"], row["balanced"]) for row in rows]


def test_the_ledger_balances_over_all_its_ways_out(path: str) -> None:
    """Received equals analyzed, late, duplicate, filtered and dead-lettered, by receive minute."""
    with DuckDBStore(path) as store:
        store.append("ledger", [received(7, 20, late=2, filtered=3), received(8, 1)])
        # One receive minute in two windows and services; one window with two receive minutes.
        store.append(
            "service_windows",
            [
                window(6, ledger='{"420":[5,1]}'),
                window(7, ledger='{"420":[4,0],"480":[1,0]}', service="cart"),
            ],
        )
        store.append("dead_letters", [dead(7, "a", 3), dead(7, "b", 2)])
        assert balance(store) == [(20, 0, True), (1, 0, True)]
        totals = store.ledger_totals()
    assert (totals["analyzed"], totals["duplicate"], totals["dead_lettered"]) == (10, 1, 5)
    assert totals["balanced"]


def test_a_dropped_partial_shows_as_an_imbalance(path: str) -> None:
    """Lines that were received and ended nowhere are a positive difference."""
    with DuckDBStore(path) as store:
        store.append("ledger", [received(7, 20)])
        store.append("service_windows", [window(6, ledger='{"420":[19,0]}')])
        assert balance(store) == [(20, 1, False)]
        assert store.ledger_totals()["unbalanced_minutes"] == 1


@pytest.mark.parametrize(
    ("table", "rows", "difference"),
    [
        ("ledger", [received(7, 4)], 4),
        ("service_windows", [window(7, ledger='{"420":[4,0]}')], -4),
        ("dead_letters", [dead(7, "a", 4)], -4),
    ],
)
def test_a_minute_on_one_side_only_is_unbalanced(
    path: str, table: str, rows: list[Any], difference: int
) -> None:
    """Neither end can hide what the other never heard of."""
    with DuckDBStore(path) as store:
        store.append(table, rows)
        assert [(found[1], found[2]) for found in balance(store)] == [(difference, False)]


def test_errors_of_opposite_sign_do_not_cancel_out(path: str) -> None:
    """Totals balance only where every minute does."""
    with DuckDBStore(path) as store:
        store.append("ledger", [received(7, 5), received(8, 3)])
        store.append("service_windows", [window(7, ledger='{"420":[4,0],"480":[4,0]}')])
        totals = store.ledger_totals()
    assert (totals["difference"], totals["balanced"], totals["unbalanced_minutes"]) == (0, False, 2)


def test_tenants_balance_apart(path: str) -> None:
    """What one tenant lost is not made up by another."""
    with DuckDBStore(path) as store:
        store.append("ledger", [received(7, 5), received(7, 5, tenant_id="globex")])
        store.append("service_windows", [window(7, ledger='{"420":[10,0]}')])
        assert not store.ledger_totals()["balanced"]
        assert store.ledger_totals("globex")["difference"] == 5


def test_an_unreadable_ledger_column_is_an_imbalance_and_no_crash(path: str) -> None:
    """A window whose ledger is no JSON counts nothing, which the balance shows."""
    with DuckDBStore(path) as store:
        store.append("ledger", [received(7, 5)])
        store.append("service_windows", [window(7, ledger="not json"), window(8, ledger="")])
        assert balance(store) == [(5, 5, False)]


def test_an_empty_store_balances(path: str) -> None:
    """Nothing received and nothing counted is balanced, with zeros rather than nulls."""
    with DuckDBStore(path) as store:
        totals = store.ledger_totals()
    assert totals["balanced"]
    assert totals["received"] == 0


# --------------------------------------------------------------------------------- migration


def test_an_older_store_gains_columns_and_views(path: str) -> None:
    """New columns, new nested fields and views are added; old rows stay, with nulls in what is new."""
    with DuckDBStore(path) as store:
        store.append("anomalies", [filled(Anomaly, anomaly_id="old", metrics=[AnomalyMetric("x", 1.0)])])
    with duckdb.connect(path) as old:
        old.execute(
            "DROP VIEW ledger_balance; DROP VIEW current_anomalies; COMMENT ON TABLE anomalies IS 'old'"
        )
        old.execute("ALTER TABLE anomalies DROP COLUMN gemini_analysis; DROP TABLE dead_letters CASCADE")
        old.execute("ALTER TABLE anomalies ALTER metrics TYPE STRUCT(name VARCHAR, value DOUBLE)[]")
    with DuckDBStore(path, read_only=True) as store:
        assert store.query("SELECT gemini_analysis, metrics FROM current_anomalies") == [
            {"gemini_analysis": None, "metrics": [msgspec.structs.asdict(AnomalyMetric("x", 1.0))]}
        ]
    with DuckDBStore(path) as store:
        store.append("anomalies", [filled(Anomaly, anomaly_id="new", metrics=[AnomalyMetric("y", 2.0, 3.0)])])
        assert store.ledger_totals()["balanced"]


def test_a_newer_store_keeps_what_this_version_does_not_know(path: str) -> None:
    """Columns and nested fields that a newer version added survive, and rows can still be written."""
    with DuckDBStore(path) as store:
        store.append("anomalies", [filled(Anomaly, anomaly_id="old", metrics=[AnomalyMetric("x", 1.0)])])
    with duckdb.connect(path) as newer:
        newer.execute("COMMENT ON TABLE anomalies IS 'newer'; ALTER TABLE anomalies ADD COLUMN mood VARCHAR")
        newer.execute("ALTER TABLE anomalies ADD COLUMN metrics.element.unit VARCHAR")
        newer.execute("UPDATE anomalies SET mood = 'calm'")
    with DuckDBStore(path) as store:
        store.append("anomalies", [filled(Anomaly, anomaly_id="new", metrics=[AnomalyMetric("y", 2.0)])])
        rows = store.query(
            "SELECT mood, metrics[1].unit AS unit, metrics[1].value AS v FROM anomalies ORDER BY v"
        )
    assert rows == [{"mood": "calm", "unit": None, "v": 1.0}, {"mood": None, "unit": None, "v": 2.0}]


def test_a_column_of_another_type_is_refused_with_its_name(path: str) -> None:
    """A store that cannot be migrated by adding says which column, and what to do."""
    with duckdb.connect(path) as other:
        other.execute("CREATE TABLE ledger (tenant_id INTEGER)")
    with pytest.raises(StoreError, match=r"ledger\.tenant_id.*--store"):
        DuckDBStore(path)
    with duckdb.connect(path) as other:
        assert other.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (1,)


# ------------------------------------------------------------------------------------ errors


def test_a_missing_store_is_not_made_by_reading(path: str) -> None:
    """Reading says how to fill a store, and leaves no file behind."""
    with pytest.raises(StoreError, match="aiops run"):
        DuckDBStore(path, read_only=True)
    assert not Path(path).exists()


def test_a_file_that_is_no_database_is_left_alone(path: str) -> None:
    """A log file given as the store is refused and not changed."""
    Path(path).write_text("2026-01-01 a log line\n" * 1_000, encoding="utf-8")
    before = Path(path).read_bytes()
    with pytest.raises(StoreError, match="not a DuckDB file"):
        DuckDBStore(path)
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("damage", ["start", "middle", "end"])
def test_a_damaged_file_says_so_and_how_to_go_on(path: str, damage: str) -> None:
    """Flipped or missing bytes give an error that names the mend, wherever they are."""
    with DuckDBStore(path) as store:
        store.append(
            "log_patterns", [filled(LogPattern, pattern_id=str(n), pattern="x" * 99) for n in range(20_000)]
        )
    content = bytearray(Path(path).read_bytes())
    if damage == "end":
        del content[len(content) // 2 :]
    else:
        start = 4_096 if damage == "start" else 12_288
        content[start : start + 300_000] = bytes(byte ^ 0x5A for byte in content[start : start + 300_000])
    Path(path).write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"), DuckDBStore(path) as store:
        store.query("SELECT sum(length(pattern)) FROM log_patterns")


def test_a_store_that_another_process_writes_names_the_process(path: str) -> None:
    """Who holds the lock is named, for reading and for writing."""
    script = """
import sys
from pipeline.duckdb_store import DuckDBStore, StoreError
for read_only in (True, False):
    try: DuckDBStore(sys.argv[1], read_only=read_only)
    except StoreError as error: print(error)
"""
    with DuckDBStore(path) as store:
        store.append("ledger", [received(0, 1)])
        done = subprocess.run(
            [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
        )
    assert done.stdout.count("is being written by process") == 2, done.stderr


@pytest.mark.parametrize("name", ["missing/aiops.duckdb", "."])
def test_a_place_where_no_file_can_be_names_the_cause(tmp_path: Path, name: str) -> None:
    """A missing folder, or a folder given as the file, is said in words."""
    with pytest.raises(StoreError, match=r"cannot be opened: (No such file|Is a directory)"):
        DuckDBStore(str(tmp_path / name))


def test_a_failing_query_never_repeats_values(path: str) -> None:
    """DuckDB quotes the offending value in some errors; log text must not get out that way."""
    with DuckDBStore(path) as store, pytest.raises(StoreError) as caught:
        store.query("SELECT CAST($value AS INTEGER)", {"value": "secret-line"})
    assert "secret-line" not in str(caught.value)


def test_values_are_never_read_as_sql(path: str) -> None:
    """A quote in a parameter is a quote."""
    with DuckDBStore(path) as store:
        assert store.ledger_totals("'; DROP TABLE ledger; --")["received"] == 0
        assert store.query("SELECT count(*) AS n FROM ledger") == [{"n": 0}]


# -------------------------------------------------------------------------------------- Beam


def run_beam(path: str, elements: list[tuple[str, msgspec.Struct]], *flags: str) -> None:
    options = PipelineOptions(list(flags))
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        _ = pipeline | beam.Create(elements, reshuffle=False) | WriteToStore(path)


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--direct_runner_bundle_repeat=2"],
        ["--direct_num_workers=2", "--direct_running_mode=multi_threading"],
    ],
)
def test_the_job_writes_every_row_once(path: str, flags: list[str]) -> None:
    """Rows of all tables arrive; bundles that are run again show once in the views."""
    elements: list[tuple[str, msgspec.Struct]] = [("ledger", received(minute, 2)) for minute in range(25_000)]
    elements += [("dead_letters", dead(minute, f"d{minute}")) for minute in range(50)]
    run_beam(path, elements, *flags)
    assert duckdb_store._shared == {}
    with DuckDBStore(path, read_only=True) as store:
        assert store.query("SELECT count(*) AS n FROM current_ledger") == [{"n": 25_000}]
        assert store.query("SELECT count(*) AS n FROM current_dead_letters") == [{"n": 50}]


def test_a_store_that_cannot_be_opened_fails_the_job_with_its_mend(tmp_path: Path) -> None:
    """The job's error says what is wrong with the store."""
    (tmp_path / "log.txt").write_text("no database\n" * 500, encoding="utf-8")
    with pytest.raises(Exception, match="is not a DuckDB file"):
        run_beam(str(tmp_path / "log.txt"), [("ledger", received(0, 1))])


def test_threads_share_one_connection(path: str) -> None:
    """Many threads append and read at once, and no row is lost."""
    store = duckdb_store.acquire_store(path)

    def work(thread: int) -> None:
        own = duckdb_store.acquire_store(path)
        for turn in range(10):
            own.append("ledger", [received(thread * 10 + turn, 1)])
            own.query("SELECT count(*) FROM current_ledger")
        duckdb_store.release_store(path)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.ledger_totals()["received"] == 80
    duckdb_store.release_store(path)
    assert duckdb_store._shared == {}


def test_reading_works_while_this_process_writes(path: str) -> None:
    """`aiops demo` shows what its own run wrote, whoever still has the file open."""
    with DuckDBStore(path) as writer, DuckDBStore(path, read_only=True) as reader:
        writer.append("ledger", [received(0, 3)])
        assert reader.ledger_totals()["received"] == 3


def test_every_table_can_be_written_and_read(path: str) -> None:
    """Each table of the elements has a place in the store and a view of its last rows."""
    with DuckDBStore(path) as store:
        for table, struct in TABLES.items():
            store.append(table, [filled(struct)])
            assert len(store.query(f"SELECT * FROM current_{table}")) == 1
