"""The job's own log: one line each, fields of a fixed list, and nothing of what was worked on."""

from __future__ import annotations

import ast
import gzip
import io
import json
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from aiops.run import run_command
from pipeline.main import run
from transforms.job_log import JsonLines, Said

ROOT = Path(__file__).resolve().parent.parent
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def record_of(message: object, *arguments: object, exc_info: object = None) -> logging.LogRecord:
    return logging.LogRecord("pipeline.x", logging.WARNING, "x.py", 1, message, arguments, exc_info)  # type: ignore[arg-type]


@given(st.text(), st.integers())
def test_a_field_is_part_of_one_line_whatever_it_holds(value: str, number: int) -> None:
    """A tenant's name can make neither a second line nor a second field, and is cut."""
    said = Said("Something happened", tenant_id=value, difference=number)
    for text in (str(said), JsonLines().format(record_of(said))):
        assert text.isprintable()
        assert len(text) < 3_000
    assert f" difference={number}" in str(said)
    line = json.loads(JsonLines().format(record_of(said)))
    assert (line["message"], line["tenant_id"], line["difference"]) == (said.message, value[:200], number)


def test_lines_of_json_have_the_names_that_collectors_know() -> None:
    """Severity, time and message; arguments of an ordinary line are part of its message."""
    line = json.loads(JsonLines().format(record_of("%s is damaged", "a.gz")))
    assert line.pop("time").endswith("+00:00")
    assert line == {"severity": "WARNING", "logger": "pipeline.x", "message": "a.gz is damaged"}


def test_of_an_exception_only_its_name_is_told() -> None:
    """A traceback, and an exception's text, may quote a line."""
    try:
        raise ValueError("password=hunter2")
    except ValueError:
        text = JsonLines().format(record_of("failed", exc_info=sys.exc_info()))
    assert "hunter2" not in text
    assert json.loads(text)["error"] == "ValueError"


def calls_of_loggers(path: Path) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LEVELS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"_LOGGER", "logging"}
    ]


def test_the_code_logs_constant_sentences_and_no_tracebacks() -> None:
    """What varies is an argument or a field, so that nothing is spliced into a sentence unseen."""
    calls = [
        (path.relative_to(ROOT), call)
        for room in ("transforms", "pipeline", "templates")
        for path in sorted((ROOT / room).rglob("*.py"))
        for call in calls_of_loggers(path)
    ]
    assert len(calls) >= 10
    for path, call in calls:
        where = f"{path}:{call.lineno}"
        assert call.func.attr != "exception", where  # type: ignore[attr-defined]
        assert not [keyword for keyword in call.keywords if keyword.arg == "exc_info"], where
        assert isinstance(call.args[0], ast.Constant | ast.Call), f"{where}: no f-strings"


SECRETS = ("hunter2secret", "AKIAABCDEFGHIJKLMNOP", "ann@example.com", "4111 1111 1111 1111")


def hostile_lines() -> list[bytes]:
    """Lines that are refused at every place, and some that are analyzed, each with all secrets in it."""
    text = " ".join(SECRETS)
    entry = {
        "logName": "projects/acme/logs/stdout",
        "timestamp": "2026-01-12T14:00:30Z",
        "receiveTimestamp": "2026-01-12T14:00:31Z",
        "severity": "ERROR",
        "resource": {"type": "cloud_run_revision", "labels": {"service_name": "cart"}},
        "textPayload": f"refused password={text}",
    }
    whole = [json.dumps({**entry, "insertId": str(number)}).encode() for number in range(40)]
    return [
        *whole,
        whole[0][:-20],
        text.encode(),
        b"\xff\xfe" + text.encode(),
        json.dumps([text]).encode(),
        json.dumps({**entry, "severity": [text]}).encode(),
        json.dumps({**entry, "timestamp": text, "receiveTimestamp": text}).encode(),
        json.dumps({**entry, "httpRequest": text}).encode(),
        json.dumps({**entry, "logName": f"projects/{text}/logs/x"}).encode(),
        b'{"a":' * 2_000 + text.encode(),
        json.dumps({**entry, "textPayload": text * 2_000}).encode(),
    ]


@pytest.mark.slow
def test_a_hostile_run_logs_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever comes in, of the job's own lines at every level, and of Beam's, none holds what it held."""
    caplog.set_level(logging.INFO)
    for room in ("pipeline", "transforms"):
        caplog.set_level(logging.DEBUG, logger=room)
    path = tmp_path / "logs.ndjson"
    path.write_bytes(b"\n".join(hostile_lines()))
    broken = tmp_path / "broken.ndjson.gz"
    broken.write_bytes(gzip.compress(b"\n".join(hostile_lines()))[:-30])
    store = str(tmp_path / "s.duckdb")
    run(["--input", str(path), str(broken), "--store", store, "--max_line_bytes", "100000"])
    assert "is damaged or incomplete" in caplog.text  # it was listened to
    text = caplog.text + "".join(JsonLines().format(record) for record in caplog.records)
    assert [secret for secret in SECRETS if secret in text] == []


def test_a_run_can_log_lines_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --log_format json what the job says on standard error are objects with severity and message."""
    broken = tmp_path / "broken.ndjson.gz"
    broken.write_bytes(gzip.compress(b"\n".join(hostile_lines()))[:-30])
    arguments = ["--input", str(broken), "--store", str(tmp_path / "s.duckdb"), "--log_format", "json"]
    run_command(arguments, Console(file=io.StringIO()))
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert line["severity"] == "WARNING"
    assert "is damaged or incomplete" in line["message"]
