"""What a check found: the one thing that all layers give, and how errors of servers are told in it."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from google.api_core.exceptions import (
    DeadlineExceeded,
    Forbidden,
    GatewayTimeout,
    GoogleAPICallError,
    RetryError,
    ServiceUnavailable,
    Unauthenticated,
    Unauthorized,
)
from google.auth.exceptions import GoogleAuthError
from requests.exceptions import RequestException

Layer = Literal["configuration", "credentials", "Pub/Sub", "BigQuery", "store", "freshness", "canary"]
State = Literal["ok", "warning", "failed", "skipped"]
STATES: Final[tuple[State, ...]] = ("ok", "skipped", "warning", "failed")
"""From the best to the worst."""

CALL_SECONDS: Final = 10.0
"""No call of a server takes longer; none is tried again."""

TERRAFORM: Final = "terraform -chdir=terraform/examples/mine apply"
LOGIN: Final = "gcloud auth application-default login"
SERVER_ERRORS: Final = (GoogleAPICallError, GoogleAuthError, RetryError, RequestException, OSError)
_AWAY: Final = (DeadlineExceeded, ServiceUnavailable, GatewayTimeout, RetryError, RequestException, OSError)
_REFUSED: Final = (Forbidden, Unauthorized, Unauthenticated, GoogleAuthError)
_MOST_TEXT: Final = 240


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at. `mend` is a command where one helps; `seconds` a delay or an age."""

    layer: Layer
    subject: str
    state: State
    found: str
    mend: str = ""
    seconds: float | None = None


class ServerAwayError(Exception):
    """A server does not answer: whatever else it would be asked makes no sense."""


def worst(checks: list[Check]) -> State:
    """The worst state of all; ok for none."""
    return max((check.state for check in checks), key=STATES.index, default="ok")


def refused(layer: Layer, subject: str, error: Exception, mend: str) -> Check:
    """The check that `error` ended. Raises ServerAwayError where no other would end better."""
    if isinstance(error, _AWAY):
        raise ServerAwayError(told(error)) from error
    return Check(layer, subject, "failed", told(error), LOGIN if isinstance(error, GoogleAuthError) else mend)


def told(error: Exception) -> str:
    """What `error` says, in its first line; whose text it is decides who prints it."""
    message = str(getattr(error, "message", "") or error).strip().split("\n")[0]
    return f"{type(error).__name__}: {message[:_MOST_TEXT]}" if message else type(error).__name__


def is_refusal(error: Exception) -> bool:
    """Whether `error` is about who asks, not about what was asked."""
    return isinstance(error, _REFUSED)


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
