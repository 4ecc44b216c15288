"""Files that are made from the code: schemas, views, LookML, the template's parameters, parts of the docs.

`make generate` (`python -m pipeline.generate`) renews them; a test holds them to the code. With --freeze
it also says that tables are made as the code says now, see `pipeline/table_layout.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from pipeline.job_metrics_page import job_metrics_files
from pipeline.lookml import lookml_files
from pipeline.message_schemas import schema_files
from pipeline.reference import reference_files
from pipeline.table_layout import FROZEN_FILE, LAYOUTS, frozen_layout, layouts_file, table_summary
from pipeline.tables import TABLE_KEYS, TABLES, Column, bigquery_schema, table_columns
from pipeline.template import template_files
from pipeline.views import view_files

ROOT: Final = Path(__file__).resolve().parent.parent


def generated_files() -> dict[str, str]:
    """Path below the repository → content, of every file that is made from the code."""
    return {
        **table_files(),
        **view_files(),
        **lookml_files(),
        **schema_files(),
        **template_files(),
        **job_metrics_files(),
        **reference_files(),
    }


def table_files() -> dict[str, str]:
    """Path below the repository → content: the tables for BigQuery, and for people."""
    schemas = {f"terraform/tables/{table}.json": _json(bigquery_schema(table)) for table in TABLES}
    return schemas | {"terraform/tables.json": _json(layouts_file()), "docs/tables.md": tables_page()}


def tables_page() -> str:
    """The page docs/tables.md."""
    parts = [
        "# Tables",
        "",
        "Generated from the Structs of `transforms` by `make generate`; do not edit.",
        "",
        "BigQuery and the local DuckDB store have the same tables and columns. Rows are only ever appended:",
        "a row that changes is written again with a higher `revision`, and the view `current_<table>` shows",
        "the last row of each key. Times are UTC.",
    ]
    for table in TABLES:
        layout = LAYOUTS[table]
        key = ", ".join(f"`{name}`" for name in TABLE_KEYS[table])
        clusters = ", ".join(f"`{name}`" for name in layout.cluster_by)
        parts += [
            "",
            f"## {table}",
            "",
            f"{table_summary(table)} One row for each {key}.",
            f"In BigQuery a partition for each day of `{layout.day_of}`, clustered by {clusters}, kept "
            f"{layout.keep_days} days unless `retention_days` of the Terraform module says otherwise.",
            "",
        ]
        parts += ["| column | type | mode | meaning |", "| --- | --- | --- | --- |"]
        parts += _page_rows(table_columns(table), "")
    return "\n".join(parts) + "\n"


def _page_rows(columns: tuple[Column, ...], prefix: str) -> list[str]:
    rows: list[str] = []
    for column in columns:
        name = prefix + column.name
        meaning = column.description.replace("|", "\\|")
        rows.append(f"| `{name}` | {column.kind} | {column.mode} | {meaning} |".replace("|  |", "| |"))
        rows += _page_rows(column.fields, name + ".")
    return rows


def _json(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"


def main(arguments: list[str]) -> int:
    """Write what is not as the code says, and name it."""
    if "--freeze" in arguments:
        (ROOT / FROZEN_FILE).write_text(json.dumps(frozen_layout(), indent=1) + "\n", encoding="utf-8")
    renewed = []
    for name, content in generated_files().items():
        path = ROOT / name
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            renewed.append(name)
    sys.stdout.write(f"renewed {', '.join(renewed)}\n" if renewed else "all files are as the code says\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
