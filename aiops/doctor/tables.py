"""Tables and views of the dataset against what this version writes and reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from aiops.doctor.checks import CALL_SECONDS, SERVER_ERRORS, TERRAFORM, Check, is_refusal, refused, told
from aiops.doctor.credentials import Identity
from pipeline.bigquery_client import split_dataset
from pipeline.tables import TABLES, Column, table_columns
from pipeline.views import view_sources

_LAYER: Final = "BigQuery"
_CALL: Final[dict[str, Any]] = {"timeout": CALL_SECONDS, "retry": None}
_SAME_TYPES: Final = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
WRITES: Final = ("bigquery.tables.get", "bigquery.tables.updateData")
_MOST_NAMED: Final = 6


def check_tables(client: bigquery.Client, dataset: str, identity: Identity | None) -> Iterator[Check]:
    """The dataset, each table with its columns, all views. Ends at a dataset that cannot be seen."""
    project, name = split_dataset(dataset)
    reference = bigquery.DatasetReference(project, name)
    try:
        found = client.get_dataset(reference, **_CALL)
        kinds = {item.table_id: item.table_type for item in client.list_tables(reference, **_CALL)}
    except NotFound:
        yield Check(_LAYER, dataset, "failed", "the dataset does not exist", TERRAFORM)
        return
    except SERVER_ERRORS as error:
        yield refused(_LAYER, dataset, error, _grant(identity, project, "roles/bigquery.dataViewer"))
        return
    yield Check(_LAYER, dataset, "ok", f"the dataset is there, in {found.location or 'its default location'}")
    yield from _tables(client, reference, kinds, identity)
    missing = [view for view in view_sources() if view not in kinds]
    if missing:
        yield Check(_LAYER, "views", "failed", f"missing: {_names(missing)}", TERRAFORM)
    else:
        yield Check(_LAYER, "views", "ok", f"all {len(view_sources())} are there")


def _tables(
    client: bigquery.Client,
    reference: bigquery.DatasetReference,
    kinds: dict[str, str],
    identity: Identity | None,
) -> Iterator[Check]:
    missing = [table for table in TABLES if table not in kinds]
    if missing:
        yield Check(_LAYER, "tables", "failed", f"missing: {_names(missing)}", TERRAFORM)
    problems = 0
    present = [table for table in TABLES if table in kinds]
    for table in present:
        try:
            stored = client.get_table(reference.table(table), **_CALL)
        except SERVER_ERRORS as error:
            mend = _grant(identity, reference.project, "roles/bigquery.dataViewer")
            yield refused(_LAYER, table, error, mend)
            return
        for problem in table_problems(table, stored.schema):
            problems += 1
            yield Check(_LAYER, table, "failed", problem, TERRAFORM)
    if present and not problems:
        yield Check(_LAYER, "columns", "ok", f"of {len(present)} tables as this version writes them")
    if present and identity is not None:
        yield from _permissions(client, reference.table(present[0]), identity)


def table_problems(table: str, schema: Sequence[bigquery.SchemaField]) -> list[str]:
    """What keeps rows of this version out of a table of `schema`: a sentence each.

    Columns that the table has beyond those are no problem, unless a row must have them.
    """
    missing, other, demanded = [], [], []
    for path, wanted, stored in _pairs(table_columns(table), schema, ""):
        if stored is None:
            missing.append(path)
        elif wanted is None:
            demanded += [path] if stored.mode == "REQUIRED" else []
        elif (kind := _SAME_TYPES.get(stored.field_type, stored.field_type)) != wanted.kind or (
            (stored.mode == "REPEATED") != (wanted.mode == "REPEATED")
        ):
            other.append(f"{path} ({stored.mode.lower()} {kind}, not {wanted.mode.lower()} {wanted.kind})")
        elif stored.mode == "REQUIRED" and wanted.mode == "NULLABLE":
            demanded.append(path)
    told_of = (
        ("lacks columns", missing),
        ("has columns of another type", other),
        ("demands columns that may be empty", demanded),
    )
    return [f"{what}: {_names(names)}" for what, names in told_of if names]


def _pairs(
    wanted: Iterable[Column], stored: Iterable[bigquery.SchemaField], prefix: str
) -> Iterator[tuple[str, Column | None, bigquery.SchemaField | None]]:
    fields, columns = {field.name: field for field in stored}, {column.name: column for column in wanted}
    for name in {**columns, **fields}:
        column, field = columns.get(name), fields.get(name)
        yield prefix + name, column, field
        if column is not None and field is not None and column.fields:
            yield from _pairs(column.fields, field.fields, f"{prefix}{name}.")


def _permissions(
    client: bigquery.Client, table: bigquery.TableReference, identity: Identity
) -> Iterator[Check]:
    try:
        answer = client.test_iam_permissions(table, list(WRITES), **_CALL)
    except SERVER_ERRORS as error:
        if not is_refusal(error):
            yield refused(_LAYER, table.table_id, error, "")
        else:
            yield Check(_LAYER, "permissions", "warning", f"cannot be seen: {told(error)}")
        return
    lacking = [name for name in WRITES if name not in answer.get("permissions", [])]
    if lacking:
        found = f"{identity.name} lacks {_names(lacking)} on {table.table_id}"
        mend = _grant(identity, table.project, "roles/bigquery.dataEditor")
        yield Check(
            _LAYER, "permissions", "failed" if identity.is_service_account else "warning", found, mend
        )
    else:
        yield Check(_LAYER, "permissions", "ok", f"{identity.name} may write {table.table_id}")


def _grant(identity: Identity | None, project: str, role: str) -> str:
    kind = "serviceAccount" if identity and identity.is_service_account else "user"
    member = f"{kind}:{identity.email}" if identity and identity.email else "user:YOU"
    return f"gcloud projects add-iam-policy-binding {project} --member={member} --role={role}"


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
