"""The master key of redaction: in a file or in Secret Manager, read where it is used, once per process.

Only its place travels with the graph.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any, Final

import msgspec
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from google.api_core.exceptions import (
    FailedPrecondition,
    GoogleAPICallError,
    NotFound,
    PermissionDenied,
    RetryError,
    Unauthenticated,
)
from google.auth.exceptions import GoogleAuthError

from pipeline.settings import OptionsError

_SECONDS: Final = 60
_LOCK: Final = threading.Lock()


class NoAccessError(OptionsError):
    """These credentials may not read the secret; those of the job's workers perhaps may."""


class FileKey(msgspec.Struct, frozen=True):
    """A file, local or gs://; white space around the key is not part of it. Raises OptionsError."""

    path: str

    def read(self) -> bytes:
        with _LOCK:
            return _read_file(self.path)


class SecretKey(msgspec.Struct, frozen=True):
    """projects/P/secrets/S/versions/V of Secret Manager; as FileKey. Raises OptionsError."""

    name: str

    def read(self) -> bytes:
        with _LOCK:
            return _read_secret(self.name)


@cache
def _read_file(path: str) -> bytes:
    try:
        with FileSystems.open(path) as file:
            key: bytes = file.read().strip()
    except (OSError, BeamIOError) as error:
        cause = getattr(error, "strerror", None) or type(error).__name__
        raise OptionsError(
            f"--redaction_key_file {path}: cannot be read ({cause}); check path and permissions"
        ) from error
    return key


@cache
def _read_secret(name: str) -> bytes:
    secret, _, _ = name.partition("/versions/")
    problem = f"--redaction_key_secret {name}"
    try:
        with make_client() as client:
            data: bytes = client.access_secret_version(name=name, timeout=_SECONDS).payload.data
    except (PermissionDenied, Unauthenticated, GoogleAuthError) as error:
        raise NoAccessError(
            f"{problem}: may not be read ({type(error).__name__}); grant roles/secretmanager.secretAccessor "
            f"on {secret} to the account that the job runs as"
        ) from error
    except NotFound as error:
        raise OptionsError(
            f"{problem}: there is no such version; make one with `openssl rand -hex 32 | gcloud secrets "
            f"versions add {secret} --data-file=-` and name its number"
        ) from error
    except FailedPrecondition as error:
        raise OptionsError(
            f"{problem}: the version is disabled or destroyed; enable it, or name the number of another one"
        ) from error
    except (GoogleAPICallError, RetryError) as error:
        raise OptionsError(
            f"{problem}: Secret Manager does not answer ({type(error).__name__}); is "
            "secretmanager.googleapis.com enabled and reachable from here?"
        ) from error
    return data.strip()


def make_client() -> Any:
    """A client of Secret Manager, with the credentials of this machine."""
    from google.cloud import secretmanager

    return secretmanager.SecretManagerServiceClient()
