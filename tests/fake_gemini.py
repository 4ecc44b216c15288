"""A loopback server that speaks Vertex AI's generateContent as told: well, badly, slowly or not at all."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from loopback_servers import LoopbackServer

Behavior = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    """One request; `server.behaviors` are used up in turn, the last one stays."""

    server: FakeGemini
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append((self.path, dict(self.headers), body))
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
            behaviors = self.server.behaviors
            behavior = behaviors.pop(0) if len(behaviors) > 1 else behaviors[0]
        try:
            behavior(self, body)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with self.server.lock:
                self.server.at_once -= 1

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class FakeGemini(LoopbackServer):
    def __init__(self, *behaviors: Behavior) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviors = list(behaviors)
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def prompts(self) -> list[str]:
        """User texts of all requests so far."""
        with self.lock:
            return [body["contents"][0]["parts"][0]["text"] for _, _, body in self.requests]


@contextmanager
def serving(*behaviors: Behavior) -> Iterator[FakeGemini]:
    server = FakeGemini(*behaviors)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def response(text: str | None, finish: str = "STOP", **more: Any) -> dict[str, Any]:
    parts = [] if text is None else [{"text": text}]
    return {
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish}],
        "usageMetadata": {"promptTokenCount": 900, "candidatesTokenCount": 120, "thoughtsTokenCount": 30},
    } | more


def say(reply: str | Callable[[str], str], finish: str = "STOP", seconds: float = 0.0) -> Behavior:
    """Answer with text, or with what a function makes of the prompt."""

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        prompt = body["contents"][0]["parts"][0]["text"]
        time.sleep(seconds)
        text = reply if isinstance(reply, str) else reply(prompt)
        handler.send(200, json.dumps(response(text, finish)).encode())

    return behave


def raw(body: bytes | dict[str, Any], status: int = 200, **headers: str) -> Behavior:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.send(status, encoded, named)


def fail(status: int, **headers: str) -> Behavior:
    error = {"error": {"code": status, "message": "no", "status": "NO"}}
    return raw(error, status, **headers)


def hang(seconds: float) -> Behavior:
    def behave(handler: Handler, body: dict[str, Any]) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return behave


def reset(handler: Handler, body: dict[str, Any]) -> None:
    """Close with a reset instead of an answer."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()
    handler.close_connection = True
