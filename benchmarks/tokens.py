"""Tokens that Gemini is sent per 1,000 log lines, against sending the lines themselves, 100 at a time.

    python -m benchmarks.tokens FILE [FILE ...]

FILEs hold LogEntries. The whole job runs over them with Gemini on; a server in this process takes the
prompts and answers that nothing is wrong. Tokens of both ways are estimated by the same rule
(transforms/analyze/tokens.py); the raw way pays the same instruction and schema with every 100 lines. Also
checks that every pattern of errors of the store is in a prompt.
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import orjson

from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run
from transforms.analyze.prompt import MOST_PATTERN_TEXT, SYSTEM, printable
from transforms.analyze.schema import RESPONSE_SCHEMA
from transforms.analyze.tokens import estimate_tokens

RAW_LINES: Final = 100
ANSWER: Final = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": '{"findings": []}'}]}, "finishReason": "STOP"}
    ],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1},
}
_ERRORS: Final = """
SELECT DISTINCT service, pattern_id, pattern FROM current_log_patterns
WHERE errors > 0 OR severity IN ('ERROR', 'CRITICAL', 'ALERT', 'EMERGENCY')
"""


class _Server(ThreadingHTTPServer):
    """Takes prompts; says that nothing is wrong."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.prompts: list[dict[str, Any]] = []
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.prompts.append(body)
        encoded = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def main() -> None:
    files = [Path(name) for name in sys.argv[1:]]
    if not files:
        sys.exit(__doc__)
    with TemporaryDirectory() as folder:
        store = str(Path(folder) / "store.duckdb")
        prompts = run_job(files, store)
        with DuckDBStore(store, read_only=True) as opened:
            errors = opened.query(_ERRORS)
            windows = opened.query(
                "SELECT outcome, reason, count(*) AS n FROM current_gemini_calls WHERE subject = 'window' "
                "GROUP BY ALL ORDER BY n DESC"
            )
    lines, raw_tokens = raw_cost(files)
    about_windows = [text for text in map(user_text, prompts) if '"windows"' in text]
    own_tokens = sum(prompt_tokens(prompt) for prompt in prompts)
    window_tokens = sum(prompt_tokens(prompt) for prompt in prompts if '"windows"' in user_text(prompt))
    print(f"{lines:,} lines, {len(prompts):,} requests ({len(about_windows):,} about windows)")
    for row in windows:
        print(f"  {row['n']:,} windows {row['outcome']} {row['reason']}".rstrip())
    print(f"raw, {RAW_LINES} lines a request: {1_000 * raw_tokens / lines:,.0f} tokens per 1,000 lines")
    print(
        f"analysis: {1_000 * own_tokens / lines:,.1f} tokens per 1,000 lines "
        f"(windows alone {1_000 * window_tokens / lines:,.1f}), {raw_tokens / own_tokens:,.1f} × fewer"
    )
    raw_request, own_request = raw_tokens * RAW_LINES / lines, window_tokens / len(about_windows)
    print(
        f"a request: {raw_request:,.0f} tokens with {RAW_LINES} raw lines, {own_request:,.0f} about windows, "
        f"{raw_request / own_request:,.1f} × fewer"
    )
    shown = shown_patterns(about_windows)
    missing = [row for row in errors if (row["service"], text_of(row["pattern"])) not in shown]
    print(f"patterns of errors: {len(errors):,}, in a prompt {len(errors) - len(missing):,}")
    sys.exit(1 if missing or raw_tokens < 10 * own_tokens else 0)


def run_job(files: list[Path], store: str) -> list[dict[str, Any]]:
    """Every request that the job makes over `files`, with budget enough for all."""
    server = _Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    plenty = ["--gemini_tokens_per_day", "1000000000000", "--gemini_requests_per_day", "1000000000"]
    inputs = [str(file) for file in files]
    run(
        [
            *("--input", *inputs, "--store", store, "--tenant", "measured"),
            *("--enable_gemini_analysis", "--gemini_base_url", url, *plenty),
        ]
    )
    server.shutdown()
    return server.prompts


def raw_cost(files: list[Path]) -> tuple[int, int]:
    """Lines, and tokens of sending them all, RAW_LINES with each instruction and schema."""
    overhead = estimate_tokens(SYSTEM) + estimate_tokens(orjson.dumps(RESPONSE_SCHEMA).decode())
    lines = tokens = 0
    for file in files:
        with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as opened:
            while batch := list(islice(messages(opened), RAW_LINES)):
                lines += len(batch)
                tokens += overhead + sum(map(estimate_tokens, batch))
    return lines, tokens


def messages(opened: Any) -> Iterator[str]:
    """Time, severity and payload of each line: what a sample would hold at the least."""
    for line in opened:
        entry = json.loads(line)
        payload = entry.get("textPayload") or json.dumps(
            entry.get("jsonPayload") or entry.get("httpRequest") or entry.get("protoPayload") or {}
        )
        yield f"{entry.get('timestamp', '')} {entry.get('severity', '')} {payload}\n"


def user_text(prompt: dict[str, Any]) -> str:
    text: str = prompt["contents"][0]["parts"][0]["text"]
    return text


def prompt_tokens(prompt: dict[str, Any]) -> int:
    """Instruction, schema and text."""
    system = prompt["systemInstruction"]["parts"][0]["text"]
    schema = orjson.dumps(prompt["generationConfig"]["responseSchema"]).decode()
    return sum(map(estimate_tokens, (system, user_text(prompt), schema)))


def shown_patterns(texts: list[str]) -> set[tuple[str, str]]:
    bodies = map(json.loads, texts)
    return {(body["service"], pattern["text"]) for body in bodies for pattern in body["patterns"]}


def text_of(pattern: str) -> str:
    return printable(pattern, MOST_PATTERN_TEXT)


if __name__ == "__main__":
    main()
