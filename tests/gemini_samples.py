"""Windows, findings and models for tests of the analysis."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from transforms.analyze.model import Reply
from transforms.analyze.select import Selected, select_window
from transforms.elements import MINUTE_US
from transforms.gemini_elements import BandEvidence, PatternEvidence, WindowEvidence

START_US = 1_767_261_600_000_000  # 2026-01-01T10:00:00Z

REFUSED = PatternEvidence(
    "a" * 32, "charge <num> refused by <ip>: connection reset", 20, 20, 500, START_US - 5 * MINUTE_US, True,
    "java.net.SocketException", "charge 48213 refused by <ip:v1:0a1b2c3d4e>: connection reset",
)  # fmt: skip
RETRY = PatternEvidence("b" * 32, "retry <num> of 5", 12, 0, 400, START_US - 90 * MINUTE_US)
SERVED = PatternEvidence("c" * 32, "GET <path> 200", 88, 0, 200, START_US - 900 * MINUTE_US)


def window(minute: int = 0, service: str = "payment", **changes: Any) -> WindowEvidence:
    """A minute of a service with errors: 120 lines, 20 of them refused charges."""
    sample = WindowEvidence(
        "acme", service, START_US + minute * MINUTE_US, 60, 0, 120, 20, 12, 60, 0, 21.25, 1834.5,
        [REFUSED, RETRY, SERVED], {"error_rate": BandEvidence(0.004, 0.0, 0.02)},
    )  # fmt: skip
    return replace(sample, **changes)


def quiet_window(minute: int = 0, service: str = "payment") -> WindowEvidence:
    return window(minute, service, errors=0, warnings=0, patterns=[SERVED])


def selected(minute: int = 0, service: str = "payment", **changes: Any) -> Selected:
    return select_window(window(minute, service, **changes))


def finding(**changes: Any) -> dict[str, Any]:
    """A finding about `window()` that holds."""
    return {
        "anomaly_type": "error_spike",
        "severity": "critical",
        "service": "payment",
        "window": "w1",
        "description": "20 of 120 lines are refused charges.",
        "confidence": 0.9,
        "recommended_actions": ["Look at the network of the payment provider."],
        "analysis": "Connections are reset; the pattern is new.",
        "pattern_ids": ["p1"],
        "claims": [
            {"metric": "pattern_count", "window": "w1", "pattern": "p1", "value": 20},
            {"metric": "error_rate", "window": "w1", "value": 0.1667},
        ],
    } | changes


def answer(*findings: dict[str, Any]) -> str:
    return json.dumps({"findings": list(findings)})


class ScriptedModel:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, *replies: Reply | str | Callable[[str], str]) -> None:
        self.replies = list(replies)
        self.asked: list[str] = []

    def ask(self, system: str, text: str, schema: dict[str, Any]) -> Reply:
        self.asked.append(text)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Reply):
            return reply
        said = reply if isinstance(reply, str) else reply(text)
        return Reply(said, tokens_in=1_000, tokens_out=200, latency_ms=50)


def truthful(text: str) -> str:
    """An answer with one finding a window that holds, made from the prompt itself."""
    body = json.loads(text)
    if "windows" not in body:
        cause = body["candidates"][0]["service"]
        told = {"what": "Things fail.", "likely_cause": "It failed first.", "cause": cause}
        return json.dumps(told | {"next_checks": ["Look at it."]})
    found: list[dict[str, Any]] = []
    for shown in body["windows"]:
        patterns: Sequence[str] = [name for name, (_, errors) in shown["counts"].items() if errors]
        if patterns:
            claim = {"metric": "pattern_count", "window": shown["id"], "pattern": patterns[0]}
            found.append(
                finding(
                    service=body["service"],
                    window=shown["id"],
                    pattern_ids=[patterns[0]],
                    claims=[claim | {"value": shown["counts"][patterns[0]][0]}],
                )
            )
    return answer(*found)
