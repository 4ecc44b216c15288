"""Who asks: Application Default Credentials, as the clients of Pub/Sub and BigQuery find them."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Final, NamedTuple

import google.auth
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from aiops.doctor.checks import CALL_SECONDS, LOGIN, Check, told
from pipeline.bigquery_client import EMULATOR_VARIABLE as BIGQUERY_EMULATOR
from pipeline.settings import Settings

PUBSUB_EMULATOR: Final = "PUBSUB_EMULATOR_HOST"
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"


class Identity(NamedTuple):
    """Whose credentials these are: an address, or "" where they do not say."""

    email: str
    is_service_account: bool
    credentials: Any = None

    @property
    def name(self) -> str:
        """For people."""
        return self.email or "your own credentials"


def needs_credentials(settings: Settings, *, uses_pubsub: bool) -> bool:
    """Whether anything but emulators is asked."""
    pubsub = uses_pubsub and not os.environ.get(PUBSUB_EMULATOR)
    bigquery = bool(settings.dataset) and not os.environ.get(BIGQUERY_EMULATOR)
    return pubsub or bigquery


def check_credentials() -> tuple[Check, Identity | None]:
    """Find credentials and renew them once; None where they cannot be used."""
    try:
        credentials, project = google.auth.default(scopes=[_SCOPE])
        credentials.refresh(partial(Request(), timeout=CALL_SECONDS))  # type: ignore[no-untyped-call]
    except (GoogleAuthError, OSError, ValueError) as error:
        return Check("credentials", "default credentials", "failed", told(error), LOGIN), None
    identity = _identity(credentials)
    of_project = f", project {project}" if project else ", no project of their own"
    return Check("credentials", "default credentials", "ok", identity.name + of_project), identity


def _identity(credentials: Any) -> Identity:
    email = str(getattr(credentials, "service_account_email", "") or "")
    name = email or str(getattr(credentials, "account", "") or "")
    return Identity(name, bool(email), credentials)
