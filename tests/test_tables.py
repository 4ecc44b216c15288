"""Schemas are generated from the Structs, and every store has the same columns."""

from __future__ import annotations

from pathlib import Path

import duckdb
import msgspec
import pyarrow as pa
import pytest

from pipeline import generate, tables
from pipeline.generate import generated_files
from pipeline.rows import deploy_rows, log_pattern_rows, service_window_row, severity_name
from pipeline.tables import TABLES
from transforms.elements import (
    DeployEvent,
    Example,
    FieldStats,
    PatternStats,
    RequestStats,
    WindowSummary,
)
from transforms.sketches import latency_bin

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", sorted(generated_files()))
def test_generated_files_are_as_the_code_says(name: str) -> None:
    """A generated file that was not renewed fails the build."""
    assert (ROOT / name).read_text(encoding="utf-8") == generated_files()[name], "run `make generate`"


def test_every_table_has_a_key_among_its_columns() -> None:
    """A table without a key could not be shown in its last revision."""
    assert set(tables.TABLE_KEYS) == set(TABLES)
    for table, key in tables.TABLE_KEYS.items():
        assert set(key) <= {column.name for column in tables.table_columns(table)}


@pytest.mark.parametrize("table", TABLES)
def test_every_column_of_a_table_is_described(table: str) -> None:
    """Whoever reads a schema is told what each column means, those inside of records too."""
    columns = list(tables.table_columns(table))
    for column in columns:
        assert column.description, column.name
        columns += column.fields


@pytest.mark.parametrize("table", TABLES)
def test_bigquery_duckdb_and_arrow_have_the_same_columns(table: str) -> None:
    """The three schemas of a table name the same columns with the same types and nesting."""
    with duckdb.connect() as connection:
        connection.execute(tables.duckdb_ddl(table))
        described = connection.execute(f"DESCRIBE {table}").fetchall()
        empty = pa.schema(connection.sql(f"SELECT * FROM {table}").to_arrow_table().schema)
    fields = tables.bigquery_schema(table)
    assert [row[0] for row in described] == [field["name"] for field in fields]
    assert [row[2] == "YES" for row in described] == [field["mode"] == "NULLABLE" for field in fields]
    assert [_plain(field.type) for field in empty] == [
        _plain(field.type) for field in tables.arrow_schema(table)
    ]


def _plain(kind: pa.DataType) -> object:
    if pa.types.is_list(kind):
        return ["list", _plain(kind.value_type)]
    if pa.types.is_struct(kind):
        return {field.name: _plain(field.type) for field in kind}
    return str(kind).replace("Etc/UTC", "UTC")


def test_nested_optional_and_repeated_fields_have_their_modes() -> None:
    """A nested Struct is a RECORD, a list REPEATED, an optional field NULLABLE, a time a TIMESTAMP."""
    fields = {field["name"]: field for field in tables.bigquery_schema("anomalies")}
    metrics = {field["name"]: field for field in fields["metrics"]["fields"]}  # type: ignore[attr-defined]
    assert (fields["metrics"]["type"], fields["metrics"]["mode"]) == ("RECORD", "REPEATED")
    assert (metrics["baseline"]["type"], metrics["baseline"]["mode"]) == ("FLOAT", "NULLABLE")
    assert (fields["detected_at"]["type"], fields["detected_at"]["mode"]) == ("TIMESTAMP", "REQUIRED")
    assert (fields["anomaly_severity"]["type"], fields["recommended_actions"]["mode"]) == (
        "STRING",
        "REPEATED",
    )


class _Unstorable(msgspec.Struct):
    value: dict[str, int]


def test_a_field_that_no_column_can_hold_is_refused_by_name() -> None:
    """Adding a dict to a row's Struct fails where the schema is made, and says which field."""
    with pytest.raises(TypeError, match="'value'"):
        tables.struct_columns(_Unstorable)


def test_the_command_writes_what_is_not_as_the_code_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page that somebody changed is made anew, and named; a second time nothing is left to do."""
    for name in generated_files():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "docs" / "tables.md").write_text("by hand", encoding="utf-8")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    generate.main([])
    assert capsys.readouterr().out == "renewed docs/tables.md\n"
    generate.main([])
    assert capsys.readouterr().out == "all files are as the code says\n"


# -------------------------------------------------------------------------------- rows


def _example(order: int) -> Example:
    return Example(order, 1, "i", f"refused {order}")


def _summary() -> WindowSummary:
    return WindowSummary(
        "acme",
        "checkout",
        60_000_000,
        60,
        lines=10,
        errors=3,
        warnings=1,
        requests=4,
        severities={500: 3, 200: 7},
        statuses={500: 3, 200: 1},
        latency_count=4,
        latency_bins={latency_bin(20_000): 3, latency_bin(900_000): 1},
        endpoints={"GET /b": RequestStats(1, 0, 5, {latency_bin(5_000): 1}), "GET /a": RequestStats(3, 3)},
        patterns={
            "p2": PatternStats("late <num>", 7, 0, 200, []),
            "p1": PatternStats(
                "refused <num>", 3, 3, 500, [_example(9), _example(2)],
                exception="E", first_seen_us=5, is_new=True,
            ),
        },
        fields={"depth": FieldStats(2, 3_000_000, 0, 0, 3_000_000, {latency_bin(3_000_000): 1})},
        ledger={1: [9, 1], 0: [1, 0]},
        pane_index=2,
    )  # fmt: skip


def test_a_summary_becomes_a_service_window() -> None:
    """Rates, quantiles within 2 %, the window's end, and JSON with sorted keys come from the summary."""
    row = service_window_row(_summary())
    assert (row.window_end, row.revision, row.error_rate) == (120_000_000, 2, 0.3)
    assert row.latency_p50_ms is not None
    assert row.latency_p50_ms == pytest.approx(20, rel=0.02)
    assert (row.distinct_patterns, row.new_patterns) == (2, 1)
    assert row.severities == '{"ERROR":3,"INFO":7}'
    assert row.ledger == '{"0":[1,0],"60":[9,1]}'
    assert row.fields == '{"depth":{"count":2,"max":3.0,"mean":1.5,"min":0.0,"p95":0.0}}'
    assert row.endpoints.startswith('{"GET /a":{"errors":3,"latency_p95_ms":null,"requests":3}')


def test_a_summary_without_lines_has_no_rates() -> None:
    """A silent window has an error rate of 0 and neither latency nor health."""
    row = service_window_row(WindowSummary("acme", "checkout", 0, 60))
    assert (row.error_rate, row.latency_p95_ms, row.health_score, row.ledger) == (0.0, None, None, "{}")


def test_the_order_of_counting_does_not_show_in_a_row() -> None:
    """The same counts entered in another order give the same row."""
    summary, other = _summary(), _summary()
    for name in ("severities", "statuses", "endpoints", "patterns", "ledger"):
        setattr(other, name, dict(reversed(getattr(other, name).items())))
    assert service_window_row(summary) == service_window_row(other)
    assert log_pattern_rows(summary) == log_pattern_rows(other)


def test_patterns_become_rows_with_the_smallest_example() -> None:
    """Pattern rows come in the order of their ids, and the example is the one with the smallest hash."""
    first, second = log_pattern_rows(_summary())
    assert (first.pattern_id, first.example, first.severity, first.is_new) == (
        "p1",
        "refused 2",
        "ERROR",
        True,
    )
    assert (second.pattern_id, second.example, second.first_seen) == ("p2", "", 60_000_000)


def test_deploys_become_rows_whose_id_does_not_depend_on_the_pane() -> None:
    """A late pane, and a principal redacted with another key, revise the same row."""
    summary = _summary()
    summary.deploys = [
        DeployEvent(61_000_000, "Replace", "v2", "<email:v1:1>"),
        DeployEvent(60_500_000, "P", "", ""),
    ]
    early, late = deploy_rows(summary)
    assert (early.deployed_at, late.deployed_at) == (60_500_000, 61_000_000)
    assert (late.service, late.what, late.window_start, late.revision) == ("checkout", "v2", 60_000_000, 2)
    assert early.deploy_id != late.deploy_id
    summary.pane_index = 3
    summary.deploys = [DeployEvent(61_000_000, "Replace", "v2", "<email:v2:9>")]
    assert [row.deploy_id for row in deploy_rows(summary)] == [late.deploy_id]


@pytest.mark.parametrize(
    ("number", "name"), [(0, "DEFAULT"), (500, "ERROR"), (550, "ERROR"), (-1, "DEFAULT"), (900, "EMERGENCY")]
)
def test_a_severity_between_two_names_takes_the_lower(number: int, name: str) -> None:
    """Cloud Logging allows numbers between the named ones."""
    assert severity_name(number) == name
