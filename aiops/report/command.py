"""`aiops report`."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from aiops.query import open_store
from aiops.report.gather import gather_report
from aiops.report.page import render_page
from aiops.show_output import DEFAULT_STORE
from pipeline.duckdb_store import DuckDBStore


def report(
    *,
    store: Annotated[
        str, typer.Option("--store", help="DuckDB file that `aiops run` filled.")
    ] = DEFAULT_STORE,
    out: Annotated[str, typer.Option("--out", help="HTML file to write.")] = "report.html",
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="30m, 2h or 7d before the newest data, or an RFC 3339 time.")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Title of the page.")] = "AIOps report",
) -> None:
    """Write what a store holds as one HTML page that needs no network."""
    with open_store(store) as opened:
        page = _make_page(opened, tenant=tenant, since=since, title=title)
    try:
        size = _write(page, Path(out))
    except OSError as error:
        typer.echo(
            f"Error: {out} cannot be written: {error.strerror}. Name another file with --out.", err=True
        )
        raise typer.Exit(1) from error
    typer.echo(f"{out}: {size / 1e3:,.0f} kB. Open it in a browser.")


def write_report(
    store_path: str,
    out_path: str,
    *,
    tenant: str | None = None,
    since: str | None = None,
    title: str = "AIOps report",
) -> int:
    """Write the report of the store at `store_path` to `out_path`, whole or not at all; returns its bytes.

    Raises StoreError where the store cannot be read, typer.BadParameter for a `since` that is
    neither a span nor a time, OSError where the file cannot be written.
    """
    with DuckDBStore(store_path, read_only=True) as store:
        return _write(_make_page(store, tenant=tenant, since=since, title=title), Path(out_path))


def _make_page(store: DuckDBStore, *, tenant: str | None, since: str | None, title: str) -> str:
    data = gather_report(store, tenant, since)
    return render_page(data, title=title, store_name=Path(store.path).name, now=datetime.now(UTC))


def _write(page: str, out: Path) -> int:
    content = page.encode("utf-8", "replace")
    with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", delete=False) as draft:
        try:
            draft.write(content)
            draft.flush()
            Path(draft.name).chmod(0o644)
            os.replace(draft.name, out)  # noqa: PTH105
        except OSError:
            Path(draft.name).unlink(missing_ok=True)
            raise
    return len(content)
