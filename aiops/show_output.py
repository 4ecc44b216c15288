"""What the commands of `aiops show` share: options, tables with what they leave out, and JSON."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiops.query import Filters, Found
from aiops.text import escape_json_text, one_line
from pipeline.duckdb_store import Row

Store = Annotated[str, typer.Option("--store", help="DuckDB file that `aiops run` filled.")]
Dataset = Annotated[
    str, typer.Option("--dataset", help="BigQuery dataset to look at instead of a store: PROJECT.DATASET.")
]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Only this tenant.")]
Service = Annotated[str | None, typer.Option("--service", help="Only this service.")]
Severity = Annotated[
    str | None, typer.Option("--severity", help="At least this: low, medium, high or critical.")
]
Since = Annotated[
    str | None, typer.Option("--since", help="30m, 2h or 7d before the newest data, or an RFC 3339 time.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Rows to show; 50 in a table, all in JSON unless said.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output instead of a table.")]

DEFAULT_STORE: Final = "aiops.duckdb"
TABLE_ROWS: Final = 50
WIDEST: Final = 140  # columns from which on a table has numbers beside the words
WIDE: Final = 120  # columns of a terminal from which a table shows more
_JSON_COLUMNS: Final = frozenset(
    {"severities", "statuses", "endpoints", "callers", "revisions", "fields", "bands", "ledger"}
)


def row_limit(limit: int | None, *, as_json: bool) -> int | None:
    """How many rows to ask for; None for all."""
    return limit if limit is not None or as_json else TABLE_ROWS


def print_found(console: Console, table: Table, found: Found, what: str, filters: Filters) -> None:
    """Print the rows in `table`, how many more there are, or what to do where there are none."""
    if not found.rows:
        console.print(nothing_found(f"No {what}", filters))
        return
    console.print(table)
    if found.total > len(found.rows):
        console.print(f"{len(found.rows):,} of {found.total:,} {what}; more with --limit.", style="dim")


def nothing_found(what: str, filters: Filters) -> Text:
    """Why there is nothing to show, and what to do."""
    given = {
        "--tenant": filters.tenant,
        "--service": filters.service,
        "--severity": filters.severity,
        "--type": filters.type,
        "--since": filters.since,
    }
    used = " ".join(f"{name} {one_line(value, 60)}" for name, value in given.items() if value is not None)
    mend = (
        f"with {used}. Leave out a filter to see more."
        if used
        else "in this store. If no logs are in it yet: `aiops run --input 'logs/*.ndjson' --store FILE`."
    )
    return Text(f"{what} {mend}")


def plain_row(row: Row) -> Row:
    """`row` for JSON: columns that hold JSON text become objects."""
    return {name: _loads(value) if name in _JSON_COLUMNS else value for name, value in row.items()}


def _loads(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def print_json(value: object) -> None:
    """Print `value` as JSON that cannot steer a terminal."""
    encoded = orjson.dumps(value, option=orjson.OPT_UTC_Z | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    sys.stdout.write(escape_json_text(encoded.decode()))
