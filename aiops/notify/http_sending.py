"""One POST of JSON, and what an answer means: taken, try again later, or never."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from aiops.notify.notices import SendError
from aiops.text import one_line

MAX_RETRY_AFTER_SECONDS: Final = 3600
_MAX_ANSWER_BYTES: Final = 4096
_TRY_AGAIN: Final = frozenset({408, 409, 421, 423, 425, 429})
_HEADERS: Final = {
    "User-Agent": "aiops-notify/1",
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",
}

# Both write addresses of requests into the log, and an address may be the secret.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class HttpPoster:
    """Posts JSON over kept connections; follows no redirects and reads little of any answer."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._client: httpx.Client | None = None

    def post(self, url: str, body: bytes, headers: Mapping[str, str], secrets: Iterable[str] = ()) -> None:
        """Returns when the server took it (2xx); raises SendError. `secrets` are kept out of its text."""
        if self._client is None:
            self._client = httpx.Client(timeout=self._timeout_seconds, follow_redirects=False)
        deadline = time.monotonic() + self._timeout_seconds
        try:
            with self._client.stream("POST", url, content=body, headers={**_HEADERS, **headers}) as response:
                answer = b"" if response.is_success else _read_some(response, deadline)
        except httpx.TimeoutException:
            text = f"no answer within {self._timeout_seconds:g} s"
            raise SendError(text, is_final=False) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError, ValueError):
            raise SendError("the address is none of http or https; mend it", is_final=True) from None
        except httpx.TransportError as error:
            raise SendError(_cause(error), is_final=False) from None
        if not response.is_success:
            raise _refusal(response, answer.decode("utf-8", "replace"), secrets)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _read_some(response: httpx.Response, deadline: float) -> bytes:
    answer = b""
    try:
        for piece in response.iter_raw():  # as it comes: a slow one must not hold the channel
            answer += piece
            if len(answer) >= _MAX_ANSWER_BYTES or time.monotonic() > deadline:
                break
    except (httpx.HTTPError, httpx.StreamError):
        pass  # the status has come, which is what counts
    return answer


def _cause(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectError):
        reason = str(error).lower()
        if "certificate" in reason or "ssl" in reason:
            return "the server's certificate cannot be trusted"
        if "name" in reason and ("known" in reason or "resolution" in reason):
            return "the name of the server cannot be looked up"
        return "the server cannot be reached (connection refused or no way to it)"
    return f"the connection broke ({type(error).__name__})"


def _refusal(response: httpx.Response, answer: str, secrets: Iterable[str]) -> SendError:
    for secret in secrets:
        answer = answer.replace(secret, "…")
    said = one_line(answer.strip(), 200)
    status = response.status_code
    text = f"the server answered {status}" + (f": {said}" if said else "")
    if status in _TRY_AGAIN or status >= 500:
        return SendError(text, is_final=False, retry_after_seconds=_retry_after(response))
    if 300 <= status < 400:
        text = f"the server answered {status}: redirects are not followed; write the address that it leads to"
    return SendError(text, is_final=True)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks to wait: a number, or an HTTP date; None where it does not say."""
    said = response.headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit() and len(said) < 10:
        seconds = float(said)
    else:
        try:
            moment = parsedate_to_datetime(said)
        except (ValueError, TypeError):
            return None
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(0.0, seconds), MAX_RETRY_AFTER_SECONDS)
