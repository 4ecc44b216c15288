"""The one place where a client of BigQuery is made."""

from __future__ import annotations

import os
from typing import Final

import google.auth
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery

EMULATOR_VARIABLE: Final = "BIGQUERY_EMULATOR_HOST"
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"


class BigQueryError(Exception):
    """BigQuery cannot be used; the message names the cause and the mend."""


def make_client(project: str) -> bigquery.Client:
    """A client of BigQuery in `project`, with the credentials of this machine; nothing is asked for.

    Where the environment names an emulator (BIGQUERY_EMULATOR_HOST, with or without http://), that one
    is used, without credentials. No request is made here, but for looking for credentials. Raises
    BigQueryError.
    """
    emulator = os.environ.get(EMULATOR_VARIABLE, "")
    if emulator:
        address = emulator if "://" in emulator else f"http://{emulator}"
        return bigquery.Client(
            project=project,
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=address),
        )
    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
        return bigquery.Client(project=project, credentials=credentials)
    except GoogleAuthError as error:
        raise BigQueryError(
            f"No credentials for BigQuery ({type(error).__name__}): run "
            "`gcloud auth application-default login`, or as a service account that may write the dataset."
        ) from error


def split_dataset(dataset: str) -> tuple[str, str]:
    """Project and dataset of `PROJECT.DATASET`; a project may have dots of its own."""
    project, _, name = dataset.rpartition(".")
    return project, name
