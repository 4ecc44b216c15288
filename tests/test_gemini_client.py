"""The client against a server over real HTTP: every failure comes back as a word, in bounded time."""

from __future__ import annotations

import os
import resource
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import google.auth
import pytest
from fake_gemini import Behavior, fail, hang, raw, reset, response, say, serving
from google.auth.exceptions import DefaultCredentialsError

from pipeline.breaker import Breaker
from pipeline.gemini_client import GeminiClient, GeminiSettings, _Wall
from transforms.analyze.schema import RESPONSE_SCHEMA

ANSWER = '{"findings": []}'


@dataclass
class Clock:
    """A wall whose pauses take no time, and are written down."""

    offset: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return time.monotonic() + self.offset

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.offset += seconds

    def wall(self) -> _Wall:
        return _Wall(self.monotonic, self.sleep, lambda: 1.0, lambda: datetime(2026, 1, 1, tzinfo=UTC))


def client_of(url: str, clock: Clock | None = None, **changes: Any) -> GeminiClient:
    settings = GeminiSettings(**({"model": "gemini-test", "base_url": url, "timeout_seconds": 5.0} | changes))
    return GeminiClient(settings, (clock or Clock()).wall())


NUMBERS = count()


def ask(client: GeminiClient, text: str = "") -> Any:
    """Ask something that was not asked before, unless `text` says what."""
    return client.ask("be brief", text or f'{{"windows": [], "number": {next(NUMBERS)}}}', RESPONSE_SCHEMA)


def test_an_answer_comes_with_its_tokens_and_the_request_is_as_it_should_be() -> None:
    """Schema and instruction, no tools; thoughts count as output; no credentials for a stranger."""
    with serving(say(ANSWER)) as server:
        reply = ask(client_of(server.url, project="acme-prod"))
    path, headers, body = server.requests[0]
    assert (reply.text, reply.failed, reply.tokens_in, reply.tokens_out, reply.attempts) == (
        ANSWER, None, 900, 150, 1)  # fmt: skip
    assert path.endswith(
        "/projects/acme-prod/locations/global/publishers/google/models/gemini-test:generateContent"
    )
    assert headers["Authorization"] == "Bearer unused"
    assert body["systemInstruction"]["parts"][0]["text"] == "be brief"
    config = body["generationConfig"]
    assert (config["responseMimeType"], config["temperature"]) == ("application/json", 1.0)
    assert config["responseSchema"]["required"] == ["findings"]
    assert "tools" not in body


SAFETY = response(None, "SAFETY")
BLOCKED = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 9}}


@pytest.mark.parametrize(
    ("behavior", "failed", "attempts"),
    [
        (say('{"findings": [', "MAX_TOKENS"), "truncated", 1),
        (raw(response(None, "MAX_TOKENS")), "truncated", 1),
        (raw(SAFETY), "blocked", 1),
        (raw(BLOCKED), "blocked", 1),
        (raw({}), "empty", 1),
        (raw(response(None)), "empty", 1),
        (raw({"candidates": [{"finishReason": "STOP"}]}), "empty", 1),
        (raw(b"<html>not json</html>"), "bad_json", 1),
        (raw(b'{"candidates": 7}'), "bad_json", 1),
        (raw(b"[]"), "empty", 1),
        (fail(400), "bad_request", 1),
        (fail(404), "bad_request", 1),
        (fail(403), "permission_denied", 1),
        (fail(429), "rate_limited", 3),
        (fail(500), "server_error", 3),
        (fail(503), "server_error", 3),
        (raw(b"gone", 502), "server_error", 3),
        (reset, "connection", 3),
    ],
)
def test_every_failure_has_a_word_and_only_passing_ones_are_tried_again(
    behavior: Behavior, failed: str, attempts: int
) -> None:
    """A refusal for good costs one request, a passing one three."""
    with serving(behavior) as server:
        reply = ask(client_of(server.url))
    assert (reply.failed, reply.attempts, len(server.requests)) == (failed, attempts, attempts)


def test_a_server_that_hangs_is_left_after_the_timeout() -> None:
    """No thread waits longer than it was told to."""
    with serving(hang(5)) as server:
        begun = time.monotonic()
        reply = ask(client_of(server.url, timeout_seconds=0.2, attempts=2))
    assert reply.failed == "timeout"
    assert time.monotonic() - begun < 2


def test_a_slow_answer_within_the_timeout_is_an_answer() -> None:
    """Slow is not wrong."""
    with serving(say(ANSWER, seconds=0.3)) as server:
        reply = ask(client_of(server.url, timeout_seconds=3.0))
    assert reply.text == ANSWER
    assert reply.latency_ms >= 300


def test_pauses_double_and_retry_after_is_honored() -> None:
    """Seconds or a date, as the server says it."""
    clock = Clock()
    with serving(fail(503), fail(429, Retry_After="7"), say(ANSWER)) as server:
        reply = ask(client_of(server.url, clock))
    assert (reply.text, reply.attempts) == (ANSWER, 3)
    assert clock.pauses == [1.0, 7.0]
    dated = Clock()
    with serving(fail(429, Retry_After="Thu, 01 Jan 2026 00:00:05 GMT"), fail(503), say(ANSWER)) as server:
        ask(client_of(server.url, dated))
    assert dated.pauses == [5.0, 2.0]


def test_retries_are_bounded_in_total() -> None:
    """A server that asks for an hour's patience gets none."""
    clock = Clock()
    with serving(fail(429, Retry_After="3600")) as server:
        reply = ask(client_of(server.url, clock))
    assert (reply.failed, reply.attempts, clock.pauses) == ("rate_limited", 1, [])
    with serving(fail(429, Retry_After="50")) as server:
        reply = ask(client_of(server.url, clock, attempts=10, total_seconds=120.0))
    assert (reply.attempts, clock.pauses) == (3, [50.0, 50.0])


def test_a_retry_after_that_makes_no_sense_is_ignored() -> None:
    """The usual pause is taken."""
    clock = Clock()
    with serving(fail(429, Retry_After="soon"), say(ANSWER)) as server:
        assert ask(client_of(server.url, clock)).text == ANSWER
    assert clock.pauses == [1.0]


def test_the_breaker_opens_after_failures_and_closes_when_one_question_succeeds() -> None:
    """While it is open nothing is sent; after a minute one question tries."""
    clock = Clock()
    with serving(fail(500), fail(500), fail(500), fail(500), say(ANSWER)) as server:
        client = client_of(server.url, clock, attempts=1, breaker_failures=3, breaker_seconds=60.0)
        said = [ask(client).failed for _ in range(5)]
        assert said == ["server_error"] * 3 + ["breaker_open"] * 2
        assert len(server.requests) == 3
        clock.offset += 61
        assert ask(client).failed == "server_error"
        assert ask(client).failed == "breaker_open"
        clock.offset += 61
        assert ask(client).text == ANSWER
        assert not client.breaker.is_open
        assert ask(client).text == ANSWER


def test_only_one_question_tries_a_breaker_that_is_half_open() -> None:
    """A crowd does not fall upon a server that just recovers."""
    now = [0.0]
    breaker = Breaker(1, 10.0, lambda: now[0])
    breaker.record(is_failure=True)
    now[0] = 11.0
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    breaker.abandon()
    assert breaker.allows()
    breaker.record(is_failure=False)
    assert [breaker.allows() for _ in range(3)] == [True, True, True]


def test_bad_answers_do_not_open_the_breaker() -> None:
    """The server is well; what it says is judged elsewhere."""
    with serving(say("{"), raw(SAFETY), fail(400)) as server:
        client = client_of(server.url, breaker_failures=2)
        for _ in range(6):
            ask(client)
        assert not client.breaker.is_open


def test_the_same_question_is_sent_once_and_a_failure_is_asked_again() -> None:
    """A bundle that is repeated in this process finds the answer; a failure is no answer."""
    with serving(fail(400), say(ANSWER)) as server:
        client = client_of(server.url)
        assert [ask(client, "same").failed for _ in range(3)] == ["bad_request", None, None]
        assert len(server.requests) == 2


def test_requests_at_once_are_bounded_in_a_process() -> None:
    """Eight threads, two at a time."""
    with serving(say(ANSWER, seconds=0.1)) as server:
        client = client_of(server.url, concurrency=2)
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.requests) == 8
        assert server.most_at_once <= 2
        assert client.has_slot()


def test_threads_of_a_process_share_one_client_and_settings_can_be_sent_to_workers() -> None:
    """One pool of connections and one breaker a process."""
    import pickle

    settings = GeminiSettings("m", base_url="http://127.0.0.1:9")
    assert pickle.loads(pickle.dumps(settings)).connect() is settings.connect()


@pytest.mark.parametrize(
    ("url", "is_google"),
    [
        ("", True),
        ("https://europe-west1-aiplatform.googleapis.com", True),
        ("http://127.0.0.1:8080", False),
        ("https://googleapis.com.evil.example", False),
        ("https://evil.example/aiplatform.googleapis.com", False),
        ("https://evilgoogleapis.com", False),
    ],
)
def test_credentials_go_to_google_alone(url: str, is_google: bool) -> None:
    """Another server gets none, whatever its name looks like."""
    assert GeminiSettings("m", base_url=url).is_google is is_google


def test_without_credentials_the_job_goes_on_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that may not ask is no reason to stop: the windows say permission_denied."""

    def none(**_: object) -> None:
        raise DefaultCredentialsError("none")

    monkeypatch.setattr(google.auth, "default", none)
    client = GeminiClient(GeminiSettings("m", breaker_failures=2))
    assert [ask(client).failed for _ in range(3)] == ["permission_denied"] * 2 + ["breaker_open"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_stays_flat_over_many_failures() -> None:
    """A day of a broken server leaks nothing. FAILURES=10000 is a whole day, and eight minutes."""
    failures = int(os.environ.get("FAILURES", "600"))
    with serving(fail(500)) as server:
        client = client_of(server.url, attempts=1, breaker_failures=1 << 30)
        sizes = []
        for number in range(failures):
            ask(client)
            if number % (failures // 6) == failures // 6 - 1:
                server.requests.clear()
                sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert sizes[-1] - sizes[0] < 10 * 1024, sizes  # KiB
