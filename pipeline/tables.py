"""Tables, generated from the Structs that `TABLES` names: one source for every schema.

`make generate` writes them down for BigQuery (`terraform/tables`) and for people (`docs/tables.md`).
Every table has one column more than its Struct: `written_at`, set by the sink.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import msgspec
import pyarrow as pa
from msgspec import inspect

from transforms.alert_elements import AlertEvent
from transforms.elements import (
    Anomaly,
    BaselineSnapshot,
    DeadLetter,
    Deploy,
    FailedRow,
    LedgerEntry,
    LogPattern,
    MetricWindow,
    Service,
    ServiceWindow,
)
from transforms.gemini_elements import GeminiCall, Hypothesis
from transforms.incident_elements import Dependency, Incident

TABLES: Final[dict[str, type[msgspec.Struct]]] = {
    "service_windows": ServiceWindow,
    "log_patterns": LogPattern,
    "metric_windows": MetricWindow,
    "anomalies": Anomaly,
    "incidents": Incident,
    "alert_events": AlertEvent,
    "dependencies": Dependency,
    "hypotheses": Hypothesis,
    "gemini_calls": GeminiCall,
    "deploys": Deploy,
    "baselines": BaselineSnapshot,
    "dead_letters": DeadLetter,
    "failed_rows": FailedRow,
    "ledger": LedgerEntry,
    "services": Service,
}

Kind = Literal["STRING", "INTEGER", "FLOAT", "BOOLEAN", "TIMESTAMP", "DATE", "RECORD"]
Mode = Literal["REQUIRED", "NULLABLE", "REPEATED"]

TABLE_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "service_windows": ("tenant_id", "service", "window_start"),
    "log_patterns": ("tenant_id", "service", "window_start", "pattern_id"),
    "metric_windows": ("tenant_id", "service", "series_id", "window_start"),
    "anomalies": ("anomaly_id",),
    "incidents": ("incident_id",),
    "alert_events": ("alert_id", "sequence"),
    "dependencies": ("tenant_id", "caller", "callee"),
    "hypotheses": ("hypothesis_id",),
    "gemini_calls": ("call_id",),
    "deploys": ("deploy_id",),
    "baselines": ("tenant_id", "service", "signal"),
    "dead_letters": ("dead_letter_id",),
    "failed_rows": ("failed_row_id",),
    "ledger": ("tenant_id", "source", "receive_minute"),
    "services": ("tenant_id", "service"),
}
"""What names one row; of several rows with the same key the views show the last revision."""

_DUCKDB_TYPES: Final[dict[Kind, str]] = {
    "STRING": "VARCHAR",
    "INTEGER": "BIGINT",
    "FLOAT": "DOUBLE",
    "BOOLEAN": "BOOLEAN",
    "TIMESTAMP": "TIMESTAMP WITH TIME ZONE",
    "DATE": "DATE",
}
_ARROW_TYPES: Final[dict[Kind, pa.DataType]] = {
    "STRING": pa.string(),
    "INTEGER": pa.int64(),
    "FLOAT": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "DATE": pa.date32(),
}


@dataclass(frozen=True)
class Column:
    """One column of a table, or one field of a nested record. `fields` is empty but for a RECORD."""

    name: str
    kind: Kind
    mode: Mode
    description: str = ""
    fields: tuple[Column, ...] = ()


WRITTEN_AT: Final = Column("written_at", "TIMESTAMP", "REQUIRED", "When the sink wrote the row, wall clock.")


def table_columns(table: str) -> tuple[Column, ...]:
    """Columns of `table` in their order, `written_at` last.

    Raises KeyError for an unknown table and TypeError for a field type that no table can hold.
    """
    return (*struct_columns(TABLES[table]), WRITTEN_AT)


@lru_cache
def struct_columns(struct: type[msgspec.Struct]) -> tuple[Column, ...]:
    """Columns for the fields of `struct`: a nested Struct is a RECORD, a list REPEATED, `| None` NULLABLE."""
    info = inspect.type_info(struct)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{struct!r} is not a msgspec.Struct")
    return tuple(_column(field.name, field.type, "REQUIRED") for field in info.fields)


def _column(name: str, field_type: inspect.Type, mode: Mode) -> Column:
    description, is_timestamp = "", False
    while isinstance(field_type, inspect.Metadata):
        description = description or str((field_type.extra_json_schema or {}).get("description", ""))
        is_timestamp = is_timestamp or (field_type.extra or {}).get("bigquery") == "TIMESTAMP"
        field_type = field_type.type
    if isinstance(field_type, inspect.UnionType):
        inner = _column(name, _without_none(name, field_type), "NULLABLE")
    elif isinstance(field_type, inspect.ListType):
        inner = _column(name, field_type.item_type, "REPEATED")
    elif isinstance(field_type, inspect.StructType):
        inner = Column(name, "RECORD", mode, "", struct_columns(field_type.cls))
    else:
        inner = Column(name, "TIMESTAMP" if is_timestamp else _scalar_kind(name, field_type), mode)
    return Column(name, inner.kind, inner.mode, description or inner.description, inner.fields)


def _without_none(name: str, union: inspect.UnionType) -> inspect.Type:
    members = [member for member in union.types if not isinstance(member, inspect.NoneType)]
    if len(members) != 1:
        raise TypeError(f"field {name!r}: a column holds one type, or one type and None")
    return members[0]


def _scalar_kind(name: str, field_type: inspect.Type) -> Kind:
    if isinstance(field_type, inspect.StrType):
        return "STRING"
    if isinstance(field_type, inspect.LiteralType) and all(isinstance(v, str) for v in field_type.values):
        return "STRING"
    if isinstance(field_type, inspect.BoolType):
        return "BOOLEAN"
    if isinstance(field_type, inspect.IntType):
        return "INTEGER"
    if isinstance(field_type, inspect.FloatType):
        return "FLOAT"
    raise TypeError(f"field {name!r}: {type(field_type).__name__} has no column type; store it as JSON text")


# ------------------------------------------------------------------------------------ BigQuery


def bigquery_schema(table: str) -> list[dict[str, object]]:
    """Schema of `table` as BigQuery's JSON: a list of {name, type, mode, description, fields}."""
    return [_bigquery_field(column) for column in table_columns(table)]


def _bigquery_field(column: Column) -> dict[str, object]:
    field: dict[str, object] = {"name": column.name, "type": column.kind, "mode": column.mode}
    if column.description:
        field["description"] = column.description
    if column.fields:
        field["fields"] = [_bigquery_field(child) for child in column.fields]
    return field


# -------------------------------------------------------------------------------------- DuckDB


def duckdb_type(column: Column) -> str:
    """DuckDB's type of `column`, e.g. BIGINT or STRUCT("name" VARCHAR, "value" DOUBLE)[]."""
    if column.kind == "RECORD":
        name = f"STRUCT({', '.join(f'{_quote(child.name)} {duckdb_type(child)}' for child in column.fields)})"
    else:
        name = _DUCKDB_TYPES[column.kind]
    return f"{name}[]" if column.mode == "REPEATED" else name


def duckdb_ddl(table: str) -> str:
    """CREATE TABLE IF NOT EXISTS for `table`; what is not NULLABLE in BigQuery is NOT NULL here."""
    lines = [
        f"  {_quote(column.name)} {duckdb_type(column)}{'' if column.mode == 'NULLABLE' else ' NOT NULL'}"
        for column in table_columns(table)
    ]
    return f"CREATE TABLE IF NOT EXISTS {_quote(table)} (\n" + ",\n".join(lines) + "\n)"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# --------------------------------------------------------------------------------------- Arrow


@lru_cache
def arrow_type(column: Column) -> pa.DataType:
    """Arrow's type of `column`; a REPEATED column is a list of it."""
    if column.kind == "RECORD":
        item = pa.struct([_arrow_field(child) for child in column.fields])
    else:
        item = _ARROW_TYPES[column.kind]
    return pa.list_(pa.field("item", item, nullable=True)) if column.mode == "REPEATED" else item


@lru_cache
def arrow_schema(table: str) -> pa.Schema:
    """Arrow schema of `table`, `written_at` included."""
    return pa.schema([_arrow_field(column) for column in table_columns(table)])


def _arrow_field(column: Column) -> pa.Field:
    return pa.field(column.name, arrow_type(column), nullable=column.mode == "NULLABLE")
