"""Views run by ZetaSQL, the parser and analyzer of BigQuery, with its reference engine.

Only features that BigQuery has are switched on: what it would refuse is refused here too. Comes with
`make test-cloud`; without the package, tests that need it are skipped.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

types: Any = pytest.importorskip("zetasql.types", reason="zetasql is not installed: `make test-cloud`")

import wasmtime  # noqa: E402
from zetasql.core import ZetaSqlLocalService, wasm_client  # noqa: E402
from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as messages  # noqa: E402
from zetasql.wasi._pb2.zetasql.proto import simple_catalog_pb2  # noqa: E402
from zetasql.wasi._pb2.zetasql.public import type_pb2  # noqa: E402
from zetasql.wasi._pb2.zetasql.public.value_pb2 import ValueProto  # noqa: E402

from pipeline.tables import TABLES, Column, Kind, table_columns  # noqa: E402
from pipeline.views import PLACE, view_sources  # noqa: E402

Row = dict[str, Any]

_KINDS = {
    "STRING": "STRING",
    "INTEGER": "INT64",
    "FLOAT": "DOUBLE",
    "BOOLEAN": "BOOL",
    "TIMESTAMP": "TIMESTAMP",
}
_PARAMETER_KINDS: Mapping[type, Kind] = {str: "STRING", int: "INTEGER", datetime: "TIMESTAMP"}
_FEATURES = (
    "ANALYTIC_FUNCTIONS", "QUALIFY", "SELECT_STAR_EXCEPT_REPLACE", "INTERVAL_TYPE", "WITH_ON_SUBQUERY",
    "ORDER_BY_IN_AGGREGATE", "LIMIT_IN_AGGREGATE", "SAFE_FUNCTION_CALL", "CIVIL_TIME", "DATE_ARITHMETICS",
    "ALLOW_REGEXP_EXTRACT_OPTIONALS", "ADDITIONAL_STRING_FUNCTIONS", "ENFORCE_MICROS_MODE_IN_INTERVAL_TYPE",
    "NULLS_FIRST_LAST_IN_ORDER_BY",
)  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# ------------------------------------------------------------- what the package does too slowly


def _cached_config() -> Any:
    # 34 MB of WebAssembly take a minute to compile; wasmtime keeps what it made in its own cache.
    config = wasmtime.Config()
    config.cache = True
    return config


def _write_bytes(client: Any, place: int, data: bytes) -> None:
    ctypes.memmove(ctypes.addressof(client.memory.data_ptr().contents) + place, data, len(data))


def _read_bytes(client: Any, place: int, size: int) -> bytes:
    return ctypes.string_at(ctypes.addressof(client.memory.data_ptr().contents) + place, size)


wasm_client.Config = _cached_config
wasm_client.WasmClient.write_bytes = _write_bytes  # its own go byte by byte
wasm_client.WasmClient.read_bytes = _read_bytes


class ZetaSql:
    """The declared tables, and views that are analyzed or run against them.

    BigQuery groups by floats; no view should, for the last digit may differ from day to day.
    """

    def __init__(self, *, group_by_floats: bool = False) -> None:
        self._call = ZetaSqlLocalService.get_instance().wasm_client.call_grpc_func
        features = _FEATURES if group_by_floats else (*_FEATURES, "DISALLOW_GROUP_BY_FLOAT")
        language = types.LanguageOptions(
            enabled_language_features=[types.LanguageFeature[f"FEATURE_{name}"] for name in features],
            product_mode=types.ProductMode.PRODUCT_EXTERNAL,
        )
        self._options = types.AnalyzerOptions(language_options=language).to_proto()
        self._catalog = simple_catalog_pb2.SimpleCatalogProto(name="bigquery")
        functions = types.ZetaSQLBuiltinFunctionOptions(language_options=language).to_proto()
        self._catalog.builtin_function_options.CopyFrom(functions)
        for table in TABLES:
            declared = self._catalog.table.add(name=table)
            for column in table_columns(table):
                declared.column.add(name=column.name, type=_column_type(column))

    def column_types(self, view: str) -> dict[str, str]:
        """Name → type of each column of `view`. Raises what ZetaSQL refuses it with."""
        return self.query_types(_all_of(view))

    def query_types(self, sql: str) -> dict[str, str]:
        """Name → type of each column of a query over tables and views; raises as `column_types`."""
        request = messages.PrepareQueryRequest(
            sql=_with_dependencies(sql), options=self._options, simple_catalog=self._catalog
        )
        answer = self._call("ZetaSqlLocalService_PrepareQuery", request, messages.PrepareQueryResponse)
        return {column.name: _type_name(column.type) for column in answer.prepared.columns}

    def run(self, view: str, rows: Mapping[str, Iterable[Row]]) -> list[Row]:
        """The rows of `view` over `rows` of the tables, as DuckDB's driver would give them."""
        return self.query(_all_of(view), {}, rows)

    def query(
        self, sql: str, parameters: Mapping[str, str | int | datetime], rows: Mapping[str, Iterable[Row]]
    ) -> list[Row]:
        """The same of SQL over tables and views, with values for its parameters."""
        whole = _with_dependencies(sql)
        request = messages.EvaluateQueryRequest(
            sql=whole, options=self._options, simple_catalog=self._catalog
        )
        words = set(re.findall(r"\w+", whole))
        for name, value in parameters.items():
            column = Column(name, _PARAMETER_KINDS[type(value)], "REQUIRED")
            request.params.add(name=name, value=_zetasql_value(value, column))
            request.options.query_parameters.add(name=name, type=_column_type(column))
        for table in TABLES:
            data = request.table_content[table].table_data
            data.SetInParent()
            for row in rows.get(table, ()) if table in words else ():
                cells = [_zetasql_value(row[column.name], column) for column in table_columns(table)]
                data.row.add(cell=cells)
        answer = self._call("ZetaSqlLocalService_EvaluateQuery", request, messages.EvaluateQueryResponse)
        columns = answer.prepared.columns
        return [
            {
                column.name: _python_value(cell, column.type)
                for column, cell in zip(columns, row.cell, strict=True)
            }
            for row in answer.content.table_data.row
        ]


def _all_of(view: str) -> str:
    return f"SELECT * FROM {PLACE}{view}"


def _with_dependencies(query: str) -> str:
    sources, needed = view_sources(), [query]
    for sql in needed:
        read = [name for name in re.findall(rf"{re.escape(PLACE)}(\w+)", sql) if name in sources]
        needed += [sources[name] for name in read if sources[name] not in needed]
    named = [f"{name} AS (\n{sql}\n)" for name, sql in sources.items() if sql in needed]
    return (f"WITH {', '.join(named)}\n" if named else "").replace(PLACE, "") + query.replace(PLACE, "")


def _column_type(column: Column) -> Any:
    single = type_pb2.TypeProto()
    if column.kind == "RECORD":
        single.type_kind = type_pb2.TYPE_STRUCT
        single.struct_type.SetInParent()
        for child in column.fields:
            single.struct_type.field.add(field_name=child.name, field_type=_column_type(child))
    else:
        single.type_kind = type_pb2.TypeKind.Value(f"TYPE_{_KINDS[column.kind]}")
    if column.mode != "REPEATED":
        return single
    return type_pb2.TypeProto(
        type_kind=type_pb2.TYPE_ARRAY, array_type=type_pb2.ArrayTypeProto(element_type=single)
    )


def _type_name(kind: Any) -> str:
    """INT64, ARRAY<STRING>, STRUCT<name STRING> and so on, as BigQuery writes them."""
    name: str = type_pb2.TypeKind.Name(kind.type_kind).removeprefix("TYPE_").replace("DOUBLE", "FLOAT64")
    if name == "ARRAY":
        return f"ARRAY<{_type_name(kind.array_type.element_type)}>"
    if name == "STRUCT":
        fields = [f"{field.field_name} {_type_name(field.field_type)}" for field in kind.struct_type.field]
        return f"STRUCT<{', '.join(fields)}>"
    return name


def _zetasql_value(value: Any, column: Column, *, single: bool = False) -> ValueProto:
    proto = ValueProto()
    if value is None:
        pass
    elif column.mode == "REPEATED" and not single:
        proto.array_value.SetInParent()
        proto.array_value.element.extend(_zetasql_value(item, column, single=True) for item in value)
    elif column.kind == "RECORD":
        proto.struct_value.SetInParent()
        proto.struct_value.field.extend(_zetasql_value(value[child.name], child) for child in column.fields)
    elif column.kind == "TIMESTAMP":
        proto.timestamp_value.FromDatetime(value)
    else:
        setattr(proto, f"{_KINDS[column.kind].lower()}_value", value)
    return proto


def _python_value(value: Any, kind: Any) -> Any:
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "timestamp_value":
        moment = value.timestamp_value
        return _EPOCH + timedelta(seconds=moment.seconds, microseconds=moment.nanos // 1_000)
    if which == "date_value":
        return date(1970, 1, 1) + timedelta(days=value.date_value)
    if which == "array_value":
        return [_python_value(item, kind.array_type.element_type) for item in value.array_value.element]
    if which == "struct_value":
        fields = zip(kind.struct_type.field, value.struct_value.field, strict=True)
        return {field.field_name: _python_value(part, field.field_type) for field, part in fields}
    return getattr(value, which)
