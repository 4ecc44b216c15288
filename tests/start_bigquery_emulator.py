"""Starts the BigQuery emulator; run by the Python of its own environment, with its arguments.

Two things that BigQuery does and it does not: fields of a RECORD may be called as a word of SQL is
(`order`), and nothing is downloaded.
"""

from __future__ import annotations

import bqemulator.api.routes.tables  # noqa: F401 - takes the original, for the columns themselves
from bqemulator.cli import main
from bqemulator.storage import type_map
from duckdb_extensions import import_extension

_columns = type_map.bq_schema_to_duckdb_columns


def _quoted(fields: list[dict[str, object]]) -> list[tuple[str, str]]:
    return [(f'"{name}"', kind) for name, kind in _columns(fields)]


if __name__ == "__main__":
    import_extension("spatial")
    type_map.bq_schema_to_duckdb_columns = _quoted  # looked up by itself, for the fields of a RECORD
    main()
