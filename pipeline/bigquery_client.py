"""The one place where a client of BigQuery is made."""

from __future__ import annotations

import logging
import os
import re
from typing import Final

import google.auth
import requests
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPIError, NotFound
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud import bigquery

from pipeline.settings import DATASET_PATTERN

EMULATOR_VARIABLE: Final = "BIGQUERY_EMULATOR_HOST"
CHECK_SECONDS: Final = 10.0

_LOGGER = logging.getLogger(__name__)
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
        raise no_credentials(error) from error


def check_dataset(dataset: str) -> None:
    """See that the name PROJECT.DATASET is one, and that credentials and the dataset are there.

    A server that does not answer, or may not be asked that, is no mistake: rows are kept until it takes
    them. Raises BigQueryError.
    """
    project, name = split_dataset(dataset)
    client = make_client(project)
    patience = bigquery.DEFAULT_RETRY.with_timeout(CHECK_SECONDS)
    try:
        client.get_dataset(bigquery.DatasetReference(project, name), retry=patience, timeout=CHECK_SECONDS)
    except NotFound as error:
        raise BigQueryError(
            f"There is no dataset {dataset}: check --dataset, or make it with Terraform (docs/deploy.md)."
        ) from error
    except (GoogleAPIError, requests.RequestException, TransportError, ValueError) as error:
        _LOGGER.warning("The dataset %s could not be looked up (%s)", dataset, type(error).__name__)
    except GoogleAuthError as error:
        raise no_credentials(error) from error
    finally:
        client.close()


def split_dataset(dataset: str) -> tuple[str, str]:
    """Project and dataset of `PROJECT.DATASET`; a project may have dots of its own. Raises BigQueryError."""
    if not re.fullmatch(DATASET_PATTERN, dataset):
        raise BigQueryError("--dataset: must be a project and a dataset, e.g. acme-prod.aiops")
    project, _, name = dataset.rpartition(".")
    return project, name


def no_credentials(error: GoogleAuthError) -> BigQueryError:
    """What to do about credentials that are missing, or that nobody takes."""
    return BigQueryError(
        f"No credentials for BigQuery ({type(error).__name__}): run "
        "`gcloud auth application-default login`, or as a service account that may use the dataset."
    )
