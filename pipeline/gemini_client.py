"""Gemini on Vertex AI, the one place that talks to it: timeouts, bounded retries, a circuit breaker.

The client of google-genai has no timeout by default and retries at its own discretion; both are decided here.
One client and one breaker serve all threads of a worker process. google-genai takes a second to import: it is
loaded with the first client, so that a job without Gemini starts without it.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Unpack

import google.auth
import httpx
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

from pipeline.breaker import Breaker
from transforms.analyze.model import Reply
from transforms.gemini_elements import FailReason
from transforms.job_log import LogFields, Said

if TYPE_CHECKING:
    from google import genai
    from google.genai import errors, types

_LOGGER = logging.getLogger(__name__)

RETRIED: Final[frozenset[FailReason]] = frozenset({"rate_limited", "server_error", "connection", "timeout"})
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
MOST_ANSWERS: Final = 256
"""Answers that are kept for a bundle that is repeated in this process: the same words, the same answer."""

GOOGLE_API: Final = ".googleapis.com"
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True)
class GeminiSettings:
    """Where and how Gemini is asked. Seconds are wall clock.

    `total_seconds` bounds one question with all its retries and pauses; `timeout_seconds` one attempt.
    `base_url` reaches another server that speaks the same API; unless it is Google's, no credentials
    are sent there.
    """

    model: str
    project: str = ""
    location: str = "global"
    base_url: str = ""
    max_output_tokens: int = 16_384  # thoughts count
    temperature: float = 1.0
    timeout_seconds: float = 60.0
    total_seconds: float = 120.0
    attempts: int = 3
    concurrency: int = 4  # requests at a time in one worker process
    breaker_failures: int = 5  # in a row open it
    breaker_seconds: float = 60.0

    @property
    def is_google(self) -> bool:
        """Whether credentials may be sent there."""
        host = httpx.URL(self.base_url).host if self.base_url else "aiplatform.googleapis.com"
        return host.endswith(GOOGLE_API)

    def connect(self) -> GeminiClient:
        """The client of this worker process, made at the first call and shared by its threads."""
        with _SHARED_LOCK:
            client = _SHARED.get(self)
            if client is None:
                client = _SHARED[self] = GeminiClient(self)
            return client


_SHARED: dict[GeminiSettings, GeminiClient] = {}
_SHARED_LOCK: Final = threading.Lock()


@dataclass(frozen=True)
class _Wall:
    """Time as the client sees it; tests bring their own."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))


class GeminiClient:
    """Asks one question at a time per thread, at most `concurrency` at once; never raises for an answer."""

    def __init__(self, settings: GeminiSettings, wall: _Wall | None = None) -> None:
        self._settings = settings
        self._wall = wall or _Wall()
        self._slots = threading.BoundedSemaphore(settings.concurrency)
        self.breaker = Breaker(settings.breaker_failures, settings.breaker_seconds, self._wall.monotonic)
        self._answers: OrderedDict[bytes, Reply] = OrderedDict()
        self._lock = threading.Lock()
        self._warnings = 0
        self._client: genai.Client | None = None  # made at the first question: credentials may be missing
        import_module("google.genai")  # now, lest a question wait for it

    def has_slot(self) -> bool:
        """Whether a question could be asked now without waiting for others; a hint, no promise."""
        taken = self._slots.acquire(blocking=False)
        if taken:
            self._slots.release()
        return taken

    def ask(self, system: str, text: str, schema: dict[str, Any]) -> Reply:
        """Ask, retry within bounds, give up. Failures come back as `Reply.failed`."""
        begun = self._wall.monotonic()
        key = blake2b(f"{len(system)} {system}{text}".encode("utf-8", "replace"), digest_size=16).digest()
        with self._lock:
            if (known := self._answers.get(key)) is not None:
                return known
        if not self.breaker.allows():
            return Reply(failed="breaker_open", attempts=0)
        if not self._slots.acquire(timeout=self._settings.total_seconds):
            self.breaker.abandon()
            return Reply(failed="timeout", attempts=0)
        try:
            # Waiting for others to be answered is not held against this question.
            deadline = self._wall.monotonic() + self._settings.total_seconds
            reply = self._try(system, text, schema, deadline)
        finally:
            self._slots.release()
        # What the server refuses for good says nothing about its health.
        self.breaker.record(is_failure=reply.failed in RETRIED or reply.failed == "permission_denied")
        reply = _took(reply, round(1_000 * (self._wall.monotonic() - begun)))
        if reply.failed is None:
            with self._lock:
                self._answers[key] = reply
                if len(self._answers) > MOST_ANSWERS:
                    self._answers.popitem(last=False)
        return reply

    def _try(self, system: str, text: str, schema: dict[str, Any], deadline: float) -> Reply:
        pause = FIRST_PAUSE_SECONDS
        for attempt in range(1, self._settings.attempts + 1):
            left = deadline - self._wall.monotonic()
            reply, wanted = self._once(system, text, schema, min(self._settings.timeout_seconds, left))
            reply = _attempted(reply, attempt)
            if reply.failed not in RETRIED or attempt == self._settings.attempts:
                return reply
            # Half is fixed and half is chance, so that workers do not come back all at once.
            wait = pause * (0.5 + 0.5 * self._wall.jitter()) if wanted is None else wanted
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            if self._wall.monotonic() + wait >= deadline:
                return reply  # the server asks for more patience than there is
            self._wall.sleep(wait)
        raise AssertionError("attempts is at least 1")

    def _warn(self, message: str, **fields: Unpack[LogFields]) -> None:
        with self._lock:
            self._warnings += 1
            number = self._warnings
        if number & (number - 1) == 0:  # 1, 2, 4, …: a day of a broken server is no flood of lines
            _LOGGER.warning(Said(message, **(fields | {"times": number})))

    def _connected(self) -> genai.Client:
        with self._lock:
            if self._client is None:
                self._client = _make_client(self._settings)
            return self._client

    def _once(
        self, system: str, text: str, schema: dict[str, Any], timeout_seconds: float
    ) -> tuple[Reply, float | None]:
        """One HTTP request: the reply, and how long the server wants to be left alone."""
        from google.genai import errors, types

        config = types.GenerateContentConfig(
            system_instruction=system,
            response_mime_type="application/json",
            response_schema=schema,
            temperature=self._settings.temperature,
            max_output_tokens=self._settings.max_output_tokens,
            candidate_count=1,
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            http_options=types.HttpOptions(timeout=max(1, round(1_000 * timeout_seconds))),
        )
        try:
            response = self._connected().models.generate_content(
                model=self._settings.model, contents=text, config=config
            )
        except errors.APIError as error:
            reason = _reason_of_status(error.code)  # what the server says is a text of its own
            self._warn("Gemini refused a request", error=f"HTTP {error.code}", reason=reason)
            return Reply(failed=reason), _retry_after(error, self._wall.now())
        except httpx.TimeoutException:
            return Reply(failed="timeout"), None
        except (httpx.HTTPError, OSError):
            return Reply(failed="connection"), None
        except GoogleAuthError as error:
            self._warn(
                "No credentials or no project for Gemini: gcloud auth application-default login, or "
                "--gemini_project",
                error=type(error).__name__,
            )
            return Reply(failed="permission_denied"), None
        except (ValueError, TypeError, AttributeError):  # the body of a 200 is not what the API promises
            return Reply(failed="bad_json"), None
        return _read_response(response), None


def _make_client(settings: GeminiSettings) -> genai.Client:
    from google import genai
    from google.genai import types

    http = types.HttpOptions(timeout=round(1_000 * settings.timeout_seconds))
    if settings.base_url:
        http.base_url = settings.base_url.rstrip("/")
    if settings.is_google:
        credentials, own_project = google.auth.default(scopes=[_SCOPE])
        project = settings.project or own_project
        if not project:
            raise DefaultCredentialsError("no project: give --gemini_project")
    else:
        project, credentials = settings.project or "none", _no_credentials()
    return genai.Client(
        vertexai=True,
        project=project,
        location=settings.location,
        credentials=credentials,
        http_options=http,
    )


def _no_credentials() -> Any:
    from google.oauth2.credentials import Credentials

    return Credentials(token="unused")  # noqa: S106


def _reason_of_status(code: int) -> FailReason:
    if code == 429:
        return "rate_limited"
    if code in {401, 403}:
        return "permission_denied"
    if code == 408 or code >= 500:
        return "server_error"
    return "bad_request"


def _retry_after(error: errors.APIError, now: datetime) -> float | None:
    """Seconds of the header Retry-After, which is a number or a date; None without one."""
    headers = getattr(error.response, "headers", None) or {}
    text = str(headers.get("retry-after", "")).strip()
    if not text:
        return None
    try:
        return max(0.0, float(text)) if text[0].isdigit() else _seconds_until(text, now)
    except (ValueError, TypeError):
        return None


def _seconds_until(text: str, now: datetime) -> float:
    at = parsedate_to_datetime(text)
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())


_TRUNCATED: Final = frozenset({"MAX_TOKENS"})
_BLOCKED: Final = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "IMAGE_SAFETY"}
)


def _read_response(response: types.GenerateContentResponse) -> Reply:
    """Text and tokens of a 200, or why it holds no answer."""
    usage = response.usage_metadata
    tokens_in = (usage.prompt_token_count or 0) if usage else 0
    tokens_out = ((usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)) if usage else 0

    def fail(reason: FailReason) -> Reply:
        return Reply(failed=reason, tokens_in=tokens_in, tokens_out=tokens_out)

    feedback = response.prompt_feedback
    if feedback is not None and feedback.block_reason:
        return fail("blocked")
    candidates = response.candidates or []
    if not candidates:
        return fail("empty")
    finish = getattr(candidates[0].finish_reason, "name", str(candidates[0].finish_reason or ""))
    if finish in _TRUNCATED:
        return fail("truncated")
    if finish in _BLOCKED:
        return fail("blocked")
    content = candidates[0].content
    parts = (content.parts or []) if content else []
    text = "".join(part.text or "" for part in parts if not part.thought)
    return Reply(text, tokens_in=tokens_in, tokens_out=tokens_out) if text else fail("empty")


def _attempted(reply: Reply, attempts: int) -> Reply:
    return Reply(reply.text, reply.failed, reply.tokens_in, reply.tokens_out, reply.latency_ms, attempts)


def _took(reply: Reply, latency_ms: int) -> Reply:
    return Reply(reply.text, reply.failed, reply.tokens_in, reply.tokens_out, latency_ms, reply.attempts)
