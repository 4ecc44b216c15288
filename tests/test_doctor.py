"""`aiops doctor` on this machine: options, files, store, credentials, and how it is printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.api_core.exceptions import Forbidden
from google.auth.credentials import AnonymousCredentials
from loopback_servers import Answer, HttpServer, http_server, json_server
from sample_store import build_store
from typer.main import get_command
from typer.testing import CliRunner, Result

from aiops.cli import app
from aiops.doctor.backlog import check_backlog
from aiops.doctor.checks import Check, ServerAwayError, refused, worst
from aiops.doctor.credentials import check_credentials
from aiops.doctor.freshness import age_text
from pipeline.duckdb_store import DuckDBStore
from pipeline.settings import Settings

SUBSCRIPTION = "projects/acme-prod/subscriptions/aiops-logs"
NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    path = tmp_path / "logs.ndjson"
    path.write_text("{}\n")
    return path


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server() as opened:
        yield opened


def doctor(*arguments: str, columns: int = 80) -> Result:
    done = CliRunner().invoke(app, ["doctor", *arguments], env={"COLUMNS": str(columns)})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def checks_of(done: Result) -> dict[str, dict[str, Any]]:
    return {check["subject"]: check for check in json.loads(done.stdout)["checks"]}


# ------------------------------------------------------------------------------------ wrong use


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--input"),
        (["--input", "x", "--min_severity", "LOUD"], "--min_severity"),
        (["--input", "x", "--canari"], "unknown option"),
        (["--input", "x", "--canary"], "--input_subscription"),
        (["--input_subscription", SUBSCRIPTION, "--canary"], "--alert_topic"),
        (["--input_subscription", SUBSCRIPTION, "--logs-topic", "logs"], "projects/P/topics/T"),
        (["--input_subscription", SUBSCRIPTION, "--alert-subscription", "a"], "projects/P/subscriptions/S"),
        (["--input_subscription", SUBSCRIPTION, "--canary-tenant", "A B"], "--canary-tenant"),
        (
            ["--input_subscription", SUBSCRIPTION, "--canary-tenant", "acme", "--tenant", "globex"],
            "leave it out",
        ),
    ],
)
def test_wrong_use_is_told_before_anything_is_looked_at(arguments: list[str], says: str) -> None:
    """Exit code 2, and a sentence that names the option."""
    done = doctor(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr


# ---------------------------------------------------------------------------- options, files, store


def test_a_local_set_up_is_looked_at_from_its_options_to_its_rows(logs: Path, tmp_path: Path) -> None:
    """Files and a store need no cloud: nothing is asked but this machine."""
    store = build_store(tmp_path / "s.duckdb")
    checks = checks_of(doctor("--input", str(logs), "--store", str(store), "--json"))
    assert {check["layer"] for check in checks.values()} == {"configuration", "store", "freshness"}
    assert checks["newest window"]["state"] == "ok"
    assert checks["redaction key"]["state"] == "warning"
    assert checks[str(store)]["state"] == "ok"


def test_lines_that_were_lost_fail(logs: Path, tmp_path: Path) -> None:
    """A ledger that does not balance is exit code 1, and names the runbook."""
    store = build_store(tmp_path / "s.duckdb")
    with DuckDBStore(str(store)) as opened:
        opened.query("UPDATE ledger SET received = received + 7")
    done = doctor("--input", str(logs), "--store", str(store), "--json")
    check = checks_of(done)["ledger"]
    assert (done.exit_code, check["state"]) == (1, "failed")
    assert "do not balance" in check["found"]
    assert (Path(__file__).parent.parent / check["mend"].removeprefix("# ")).is_file()


def test_each_file_that_the_job_would_refuse_is_a_failed_check(logs: Path, tmp_path: Path) -> None:
    """All of them are told, not only the first, each with what mends it."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("rules: 7\n")
    key = tmp_path / "key"
    key.write_text("short")
    done = doctor(
        *("--input", str(tmp_path / "none.ndjson"), "--store", str(logs), "--rules", str(broken)),
        *("--baselines", str(broken), "--catalog", str(broken), "--redaction_key_file", str(key)),
        *("--warm_start", str(broken), "--alert_events", str(broken), "--json"),
        *("--enable_gemini_analysis", "--gemini_prices", str(broken)),
    )
    failed = {name for name, check in checks_of(done).items() if check["state"] == "failed"}
    assert done.exit_code == 1
    assert failed == {
        *("--input", "rules", "baselines", "catalog", "prices", "redaction key", "warm start"),
        *("past alerts", str(logs)),
    }
    assert checks_of(done)["rules"]["mend"] == f"aiops rules check {broken}"


def test_files_that_the_job_takes_are_counted(logs: Path, tmp_path: Path) -> None:
    """What was read is said, so that a wrong file of the right shape shows."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "extends: none\nrules:\n- {name: a, type: error_spike, description: d, when: errors > 1}\n"
    )
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123456789abcdef")
    given = ["--input", str(logs), "--store", str(tmp_path / "s.duckdb"), "--rules", str(rules)]
    checks = checks_of(doctor(*given, "--redaction_key_file", str(key), "--json"))
    assert checks["rules"]["found"].startswith(f"1 of {rules}")
    assert checks["redaction key"]["state"] == "ok"
    assert "0123456789" not in json.dumps(checks["redaction key"])
    assert "first run makes it" in checks[str(tmp_path / "s.duckdb")]["found"]


def test_what_is_printed_fits_a_terminal_and_cannot_steer_it(logs: Path, tmp_path: Path) -> None:
    """Only commands, which are there to be copied, are longer than the terminal is wide."""
    rules = tmp_path / "a\x1b[31m.yaml"
    done = doctor("--input", str(logs), "--store", str(tmp_path / "s.duckdb"), "--rules", str(rules))
    assert done.exit_code == 1
    assert "\x1b" not in done.stdout
    assert "␛[31m" in done.stdout
    for line in done.stdout.splitlines():
        assert len(line) <= 80 or line.strip().startswith(("aiops ", "openssl ")), line
    assert done.stdout.splitlines()[-1].endswith("1 failed")


# ------------------------------------------------------------------------------------ credentials


def service_account(path: Path, token_uri: str) -> Path:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    facts = {
        "type": "service_account",
        "project_id": "acme-prod",
        "private_key": pem,
        "client_email": "worker@acme-prod.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }
    path.write_text(json.dumps(facts))
    return path


def test_credentials_are_tried_before_anything_is_asked_with_them(
    server: HttpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that the server of tokens takes is named; one that it refuses is a failed check."""
    path = service_account(tmp_path / "sa.json", f"{server.url}/token")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    token = {"access_token": "secret-token", "expires_in": 3600}
    server.answers = [Answer(200, {"Content-Type": "application/json"}, json.dumps(token).encode())]
    check, identity = check_credentials()
    assert (check.state, "worker@acme-prod" in check.found) == ("ok", True)
    assert identity is not None
    assert identity.is_service_account
    assert "secret-token" not in repr(check)
    refusal = {"error": "invalid_grant", "error_description": "account was deleted"}
    server.answers = [Answer(400, {"Content-Type": "application/json"}, json.dumps(refusal).encode())]
    check, identity = check_credentials()
    assert (check.state, identity) == ("failed", None)
    assert check.mend == "gcloud auth application-default login"


# ---------------------------------------------------------------------------------------- backlog


def series(*values: int) -> dict[str, Any]:
    points = [{"interval": {}, "value": {"int64Value": str(value)}} for value in values]
    return {"timeSeries": [{"points": points}]} if points else {}


@pytest.mark.parametrize(
    ("status", "answer", "state", "says"),
    [
        (200, series(40, 9000), "ok", "waits for 40 s"),
        (200, series(9000, 40), "failed", "waits for 2 h"),
        (200, series(), "skipped", "no figure"),
        (403, {}, "skipped", "HTTPError"),
        (200, b"<html>", "skipped", "does not say"),
        (200, {"timeSeries": [{"points": [{"value": 3}]}]}, "skipped", "does not say"),
        (200, [], "skipped", "does not say"),
    ],
)
def test_the_oldest_unread_message_is_told(status: int, answer: object, state: str, says: str) -> None:
    """The newest figure counts; where there is none, nothing is claimed."""
    asked: list[str] = []

    def reply(method: str, path: str, body: Any) -> tuple[int, Any]:
        asked.append(path)
        return status, answer

    with json_server(reply) as address:
        check = check_backlog(AnonymousCredentials(), SUBSCRIPTION, NOW, f"http://{address}")
    assert (check.state, says in check.found) == (state, True)
    (path,) = asked
    assert path.startswith("/v3/projects/acme-prod/timeSeries?filter=metric.type")
    assert "aiops-logs" in path


# ------------------------------------------------------------------------------------------ parts


def test_the_worst_check_decides() -> None:
    """What was skipped is no failure by itself, and nothing at all is well."""
    states = ("ok", "skipped", "warning", "failed")
    for number, state in enumerate(states, 1):
        assert worst([Check("store", "s", one, "") for one in states[:number]]) == state
    assert worst([]) == "ok"


def test_a_server_that_is_away_is_no_check_but_the_end_of_its_layer() -> None:
    """A timeout says nothing of the thing that was asked for; a refusal does."""
    with pytest.raises(ServerAwayError):
        refused("store", "s", TimeoutError("late"), "")
    assert refused("store", "s", Forbidden("no"), "mend").mend == "mend"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 days")],
)
def test_ages_are_told_in_two_digits_or_three(seconds: int, text: str) -> None:
    """In the largest unit of which there are two."""
    assert age_text(timedelta(seconds=seconds)) == text


def test_the_doctor_s_own_options_are_none_of_the_job_s() -> None:
    """An option that both had would never reach the job's."""
    own = {name for p in get_command(app).commands["doctor"].params for name in p.opts}  # type: ignore[attr-defined]
    taken = {f"--{name.replace('_', '-')}" for name in Settings.model_fields}
    assert own
    assert not {name.replace("_", "-") for name in own} & taken
