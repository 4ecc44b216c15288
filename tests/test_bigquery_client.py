"""The client of BigQuery: where it asks, as whom, and what it says when it cannot."""

from __future__ import annotations

import google.auth
import pytest
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError

from pipeline.bigquery_client import EMULATOR_VARIABLE, BigQueryError, make_client, split_dataset


def _no_credentials(**_: object) -> None:
    raise DefaultCredentialsError


@pytest.mark.parametrize("host", ["127.0.0.1:9050", "http://127.0.0.1:9050"])
def test_an_emulator_is_asked_without_credentials(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither credentials nor a project are looked for where an emulator is named."""
    monkeypatch.setenv(EMULATOR_VARIABLE, host)
    monkeypatch.setattr(google.auth, "default", _no_credentials)
    client = make_client("acme-prod")
    assert client.project == "acme-prod"
    assert isinstance(client._credentials, AnonymousCredentials)
    assert client._connection.build_api_url("/x").startswith("http://127.0.0.1:9050/")


def test_missing_credentials_are_said_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked to sign in: there is an error that says how."""
    monkeypatch.delenv(EMULATOR_VARIABLE, raising=False)
    monkeypatch.setattr(google.auth, "default", _no_credentials)
    with pytest.raises(BigQueryError, match="gcloud auth application-default login"):
        make_client("acme-prod")


def test_a_project_may_have_dots() -> None:
    """The dataset is what stands behind the last dot."""
    assert split_dataset("example.com:acme.aiops") == ("example.com:acme", "aiops")
