"""`aiops fetch`: days of a BigQuery dataset as a local store, for all commands that read one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import duckdb
import typer
from rich.console import Console

from aiops.cells import make_table
from aiops.query import open_store, parse_since
from aiops.text import one_line
from pipeline.duckdb_store import DuckDBStore
from pipeline.table_reader import GIB, MOST_GIB
from pipeline.tables import TABLES

if TYPE_CHECKING:  # what imports the client of BigQuery waits until it is needed
    from pipeline.dataset_copy import Wanted

MaxGib = Annotated[
    float, typer.Option("--max-gib", min=0, help="Of a dataset at most so many GiB are read, and paid.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would be read of a dataset: that costs nothing.")
]


def fetch(
    *,
    dataset: Annotated[str, typer.Option("--dataset", help="BigQuery dataset: PROJECT.DATASET.")],
    out: Annotated[Path, typer.Option("--out", help="Store to make; a file that is there is left alone.")],
    since: Annotated[
        str, typer.Option("--since", help="From here on: 30m, 2h or 7d before now, or an RFC 3339 time.")
    ] = "1d",
    tenant: Annotated[str, typer.Option("--tenant", help="Only this tenant.")] = "",
    service: Annotated[
        str, typer.Option("--service", help="Only this service, in tables that have services.")
    ] = "",
    tables: Annotated[
        str, typer.Option("--tables", help="Only these tables, comma-separated; see docs/tables.md.")
    ] = "",
    max_gib: MaxGib = MOST_GIB,
    dry_run: DryRun = False,
) -> None:
    """Copy days of a dataset into a local store, for aiops show, report, explain, rules test and others."""
    copied = Copied(dataset, _tables(tables), parse_since(since, datetime.now(UTC)), tenant, service)
    if out.exists() and not dry_run:
        typer.echo(f"Error: {out} is there already; name another with --out, or remove it.", err=True)
        raise typer.Exit(1)
    part = out.with_name(f"{out.name}.part")
    part.unlink(missing_ok=True)
    try:
        rows = copied.write(part, max_gib=max_gib, dry_run=dry_run)
        with open_store(str(part)):
            pass  # what makes a store of it
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    told = ", ".join(f"{count:,} {table}" for table, count in rows.items() if count)
    typer.echo(f"{told or 'No rows'} in {out}. Look at it: aiops show incidents --store {one_line(str(out))}")


@dataclass(frozen=True)
class Copied:
    """Rows of a dataset from a time on, of one tenant and service, or of all where they are empty."""

    dataset: str
    wanted: Wanted
    since: datetime
    tenant: str = ""
    service: str = ""

    @contextmanager
    def opened(self, *, max_gib: float, dry_run: bool) -> Iterator[DuckDBStore]:
        """The rows as a store that is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="aiops-") as folder:
            path = Path(folder) / "copy.duckdb"
            self.write(path, max_gib=max_gib, dry_run=dry_run)
            with open_store(str(path)) as store:
                yield store

    def write(self, path: Path, *, max_gib: float, dry_run: bool) -> dict[str, int]:
        """Copy the rows into a new file; returns how many of each table.

        With `dry_run` it only says what that would read. So it ends the command; and with code 1, and
        what to do, where something goes wrong.
        """
        from pipeline.bigquery_client import BigQueryError
        from pipeline.bigquery_reader import BigQueryReader
        from pipeline.dataset_copy import CopyScope, bytes_to_copy, copy_tables, refuse_too_much

        scope = CopyScope(self.since, self.tenant, self.service)
        rows: dict[str, int] = {}
        try:
            with BigQueryReader(self.dataset, max_gib=max_gib) as reader:
                sizes = bytes_to_copy(reader, self.wanted, scope)
                if dry_run:
                    _print_sizes(sizes)
                    raise typer.Exit
                refuse_too_much(sizes, max_gib)
                with Console(stderr=True).status("reading") as status:
                    for table, count in copy_tables(reader, path, self.wanted, scope):
                        rows[table] = count
                        status.update(f"{table}: {count:,} rows")
        except BigQueryError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from error
        except (duckdb.Error, OSError) as error:
            typer.echo(f"Error: {path} cannot be written ({type(error).__name__}).", err=True)
            raise typer.Exit(1) from error
        return rows


def _print_sizes(sizes: dict[str, int]) -> None:
    table = make_table("Table")
    table.add_column("GiB at most", justify="right")
    for name, size in (*sizes.items(), ("all", sum(sizes.values()))):
        table.add_row(name, f"{size / GIB:,.3f}")
    Console().print(table)


def _tables(names: str) -> Wanted:
    wanted = [name.strip() for name in names.split(",")] if names else list(TABLES)
    unknown = [name for name in wanted if name not in TABLES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(TABLES)}", param_hint="--tables")
    return dict.fromkeys(wanted, ())
